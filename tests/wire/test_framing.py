# SPDX-License-Identifier: GPL-2.0-or-later
"""The v1 decoder: any split gives the same events, every byte is accounted for, nothing is invented."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scapy_btc.networks import MAINNET, REGTEST, TESTNET3
from scapy_btc.wire import framing, resync
from scapy_btc.wire.events import Frame, Gap, Skipped, Truncated, Unrecognised
from scapy_btc.wire.framing import V1Decoder

MAGIC = bytes.fromhex("f9beb4d9")
OTHER = bytes.fromhex("0b110907")
# Bitcoin wiki, "Protocol documentation": verack on mainnet
WIKI_VERACK = bytes.fromhex("f9beb4d976657261636b000000000000000000005df6e0e2")
# a capture of 2011: the same message before checksums
OLD_VERACK = bytes.fromhex("f9beb4d976657261636b00000000000000000000")


def message(command: bytes, payload: bytes = b"", magic: bytes = MAGIC, check: bytes | None = None) -> bytes:
    if check is None:
        check = sha256(sha256(payload).digest()).digest()[:4]
    return magic + command.ljust(12, b"\0") + struct.pack("<I", len(payload)) + check + payload


def old_message(command: bytes, payload: bytes = b"") -> bytes:
    return MAGIC + command.ljust(12, b"\0") + struct.pack("<I", len(payload)) + payload


def old_version(number: int = 32001) -> bytes:
    payload = struct.pack("<iQq", number, 1, 1310000000) + bytes(60) + b"\0" + struct.pack("<i", 130000)
    return old_message(b"version", payload)


def version(number: int = 70016) -> bytes:
    return message(b"version", struct.pack("<iQq", number, 9, 1700000000) + bytes(60) + b"\0" + bytes(5))


def decode(stream: bytes, cuts: list[int] | None = None, decoder: V1Decoder | None = None) -> list:
    decoder = decoder or V1Decoder()
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts or []), len(stream)]
    out: list = []
    for begin, end in pairwise(places):
        out += decoder.feed(stream[begin:end])
    return out + decoder.close()


def frames(events: list) -> list[Frame]:
    return [event for event in events if isinstance(event, Frame)]


def accounted(events: list) -> int:
    total = 0
    for event in events:
        if isinstance(event, (Frame, Skipped)):
            total += event.end - event.start
        elif isinstance(event, Truncated):
            total += event.received
    return total


# --- in step ---------------------------------------------------------------------------------------------------------


def test_known_verack() -> None:
    (frame,) = decode(WIKI_VERACK)
    assert frame == Frame(
        magic=MAGIC,
        msgtype=b"verack",
        command=b"verack\0\0\0\0\0\0",
        length=0,
        checksum=bytes.fromhex("5df6e0e2"),
        payload=b"",
        start=0,
        end=24,
        verdict="ok",
    )
    assert frame.header == WIKI_VERACK


@pytest.mark.parametrize("size", [1, 23, 24, 25, 1448, 10**6])
def test_many_messages_any_feed_size(size: int) -> None:
    rng = random.Random(5)
    parts = [message(b"tx", rng.randbytes(rng.choice([0, 1, 8, 400, 3000]))) for _ in range(200)]
    stream = version() + b"".join(parts)
    events = decode(stream, list(range(size, len(stream), size)))
    assert [frame.header + frame.payload for frame in events] == [version(), *parts]
    assert {frame.verdict for frame in events} == {"ok"}


def test_wrong_checksum_in_step_is_a_frame_and_costs_nothing_else() -> None:
    stream = version() + message(b"tx", b"abc", check=b"abcd") + message(b"ping", bytes(8))
    events = decode(stream)
    assert [(f.msgtype, f.verdict, f.resynchronised) for f in events] == [
        (b"version", "ok", False),
        (b"tx", "bad", False),
        (b"ping", "ok", False),
    ]


@pytest.mark.parametrize(
    "command", [b"tx\0\0\0\0\0\0\0\0\0x", b"\xff\xfe\0\0\0\0\0\0\0\0\0\0", bytes(12), b"twelve.chars"]
)
def test_strange_command_in_step_is_kept_raw(command: bytes) -> None:
    events = decode(WIKI_VERACK + message(command, b"abc") + WIKI_VERACK)
    assert [f.command for f in events][1] == command
    assert events[1].msgtype == command.split(b"\0")[0]
    assert len(events) == 3


@pytest.mark.parametrize("length", [4_000_001, 0x02000000])
def test_long_but_once_legal_lengths_are_frames(length: int) -> None:
    decoder = V1Decoder()
    payload = bytes(length)
    assert list(decoder.feed(message(b"block", payload))) == frames(decode(message(b"block", payload)))
    assert decoder.close() == []


def test_absurd_length_is_left_out() -> None:
    bad = MAGIC + b"tx".ljust(12, b"\0") + struct.pack("<I", 0x02000001) + b"abcd"
    events = decode(version() + bad + WIKI_VERACK + message(b"ping", bytes(8)))
    start = len(version())
    assert events[1] == Skipped(start, start + 24, "bad-length")
    assert [f.msgtype for f in frames(events)] == [b"version", b"verack", b"ping"]
    assert [f.resynchronised for f in frames(events)] == [False, True, False]


def test_another_networks_magic_in_the_stream_is_not_followed() -> None:
    foreign = message(b"ping", bytes(8), magic=OTHER)
    events = decode(version() + foreign + WIKI_VERACK)
    assert events[1] == Skipped(len(version()), len(version() + foreign), "bad-magic")
    assert [f.magic for f in frames(events)] == [MAGIC, MAGIC]


def test_end_inside_a_message() -> None:
    stream = version() + message(b"tx", bytes(100))[:77]
    assert decode(stream)[1:] == [Truncated(len(version()), len(version()) + 124, 77, b"tx", "end")]
    assert decode(version() + MAGIC + b"tx")[1:] == [Truncated(len(version()), None, 6, b"", "end")]


# --- beginning of a stream -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.9",
        bytes(64),
        MAGIC[:3] + b"x" * 9,
    ],
)
def test_another_protocol_is_told_at_once_and_costs_no_memory(head: bytes) -> None:
    decoder = V1Decoder()
    head = head.ljust(16, b"?")
    events = [event for byte in head for event in decoder.feed(bytes([byte]))]
    assert events == [Unrecognised(0, head[:16])]
    data = random.Random(1).randbytes(1 << 16)
    for _ in range(20):
        assert not decoder.feed(data)
        assert decoder.held < 64
    assert decoder.close() == [Skipped(0, len(head) + 20 * len(data), "no-magic")]


def test_start_in_the_middle_of_a_message() -> None:
    stream = bytes(range(256)) * 9 + message(b"ping", bytes(8), OTHER) + message(b"pong", bytes(8), OTHER)
    events = decode(stream, [7, 100, 2310])
    assert events[0] == Unrecognised(0, bytes(range(16)))
    assert events[1] == Skipped(0, 2304, "no-magic")
    assert [(f.msgtype, f.resynchronised) for f in events[2:]] == [(b"ping", True), (b"pong", False)]


def test_unknown_network_is_learnt_from_its_version() -> None:
    magic = b"\x01\x02\x03\x04"
    payload = version()[24:]
    stream = message(b"version", payload, magic) + message(b"verack", b"", magic)
    for cut in range(len(stream)):
        assert [(f.magic, f.verdict) for f in decode(stream, [cut])] == [(magic, "ok")] * 2


def test_only_the_given_networks() -> None:
    stream = message(b"ping", bytes(8), OTHER)
    assert isinstance(decode(stream, decoder=V1Decoder([MAINNET]))[0], Unrecognised)
    assert isinstance(decode(stream, decoder=V1Decoder([TESTNET3, REGTEST]))[0], Frame)


def test_search_in_a_foreign_stream_ends_after_the_longest_message() -> None:
    decoder = V1Decoder()
    chunk = bytes(1 << 20)
    for _ in range(33):
        decoder.feed(chunk)
    assert list(decoder.feed(message(b"ping", bytes(8)) * 2)) == []
    assert decoder.close() == [Skipped(0, (33 << 20) + 64, "no-magic")]


# --- headers without checksum (before 20 February 2012) --------------------------------------------------------------


@pytest.mark.parametrize("number", [105, 209, 32001, 60000])
def test_old_handshake_at_every_split(number: int) -> None:
    stream = old_version(number) + OLD_VERACK + message(b"inv", bytes(37)) + OLD_VERACK + message(b"addr", b"\0")
    expected = None
    for cut in range(len(stream) + 1):
        events = decode(stream, [cut])
        expected = expected or events
        assert events == expected
    assert [(f.msgtype, f.verdict, f.checksum == b"") for f in expected] == [
        (b"version", "none", True),
        (b"verack", "none", True),
        (b"inv", "ok", False),
        (b"verack", "none", True),
        (b"addr", "ok", False),
    ]
    assert b"".join(f.header + f.payload for f in expected) == stream


def test_old_handshake_at_the_end_of_the_stream() -> None:
    first = old_version()
    assert [(f.msgtype, f.end) for f in decode(first)] == [(b"version", len(first))]
    both = first + OLD_VERACK
    assert [(f.msgtype, f.end) for f in decode(both)] == [(b"version", len(first)), (b"verack", len(both))]
    for more in (1, 2, 3):
        events = decode(both + MAGIC[:more])
        assert events[2:] == [Truncated(len(both), None, more, b"", "end")]
        events = decode(first + MAGIC[:more])
        assert events[1:] == [Truncated(len(first), None, more, b"", "end")]


def test_old_version_before_a_hole() -> None:
    decoder = V1Decoder()
    events = list(decoder.feed(old_version())) + decoder.gap(50)
    assert [type(event) for event in events] == [Frame, Gap]


def test_old_messages_after_a_hole() -> None:
    decoder = V1Decoder()
    stream = b"x" * 30 + old_version() + OLD_VERACK + message(b"inv", bytes(37))
    events = decoder.gap() + list(decoder.feed(stream)) + decoder.close()
    assert [f.msgtype for f in frames(events)] == [b"version", b"verack", b"inv"]
    decoder = V1Decoder()
    events = decoder.gap() + list(decoder.feed(b"x" * 30 + OLD_VERACK)) + decoder.close()
    assert [f.msgtype for f in frames(events)] == [b"verack"]


def test_new_version_whose_checksum_is_wrong_stays_a_frame_of_24_bytes() -> None:
    stream = message(b"version", version()[24:], check=b"\xff\xff\xff\xff") + WIKI_VERACK
    assert [(f.msgtype, f.verdict) for f in decode(stream)] == [(b"version", "bad"), (b"verack", "ok")]


# --- holes -----------------------------------------------------------------------------------------------------------


def test_hole_inside_a_payload_costs_that_message_only_and_hides_nothing_in_it() -> None:
    inner = message(b"ping", bytes(8)) + message(b"pong", bytes(8))
    outer = message(b"tx", bytes(300) + inner + bytes(300))
    stream = version() + outer + WIKI_VERACK
    for lost_at, lost in [(30, 200), (24, 1), (100, 224), (290, 100), (500, len(outer) - 500)]:
        decoder = V1Decoder()
        at = len(version()) + lost_at
        events = list(decoder.feed(stream[:at])) + decoder.gap(lost) + list(decoder.feed(stream[at + lost :]))
        events += decoder.close()
        assert [f.msgtype for f in frames(events)] == [b"version", b"verack"]
        assert Gap(at, at + lost) in events
        torn = Truncated(len(version()), len(version() + outer), len(outer) - lost, b"tx", "gap")
        assert torn in events
        assert accounted(events) == len(stream) - lost


def test_hole_over_a_message_boundary_searches() -> None:
    parts = [version(), message(b"tx", bytes(300)), message(b"inv", bytes(37)), WIKI_VERACK, message(b"ping", bytes(8))]
    stream = b"".join(parts)
    begin, end = len(parts[0]) + 100, len(parts[0] + parts[1]) + 10
    decoder = V1Decoder()
    events = list(decoder.feed(stream[:begin])) + decoder.gap(end - begin) + list(decoder.feed(stream[end:]))
    assert events[1:4] == [
        Truncated(len(parts[0]), len(parts[0] + parts[1]), 100, b"tx", "gap"),
        Gap(begin, end),
        Skipped(end, len(b"".join(parts[:3])), "after-gap"),
    ]
    assert [(f.msgtype, f.resynchronised) for f in frames(events)[1:]] == [(b"verack", True), (b"ping", False)]


def test_hole_inside_a_header_whose_length_is_known() -> None:
    decoder = V1Decoder()
    tx = message(b"tx", bytes(300))
    events = list(decoder.feed(version() + tx[:21])) + decoder.gap(103) + list(decoder.feed(tx[124:] + WIKI_VERACK))
    assert [f.msgtype for f in frames(events)] == [b"version", b"verack"]
    assert events[2] == Truncated(len(version()), len(version() + tx), 324 - 103, b"tx", "gap")


def test_hole_of_unknown_size() -> None:
    decoder = V1Decoder()
    events = list(decoder.feed(version() + message(b"tx", bytes(300))[:100])) + decoder.gap()
    events += list(decoder.feed(b"rest" + WIKI_VERACK)) + decoder.close()
    at = len(version()) + 100
    assert events[1:] == [
        Truncated(len(version()), len(version()) + 324, 100, b"tx", "gap"),
        Gap(at, None),
        Skipped(at, at + 4, "after-gap"),
        Frame(MAGIC, b"verack", WIKI_VERACK[4:16], 0, WIKI_VERACK[20:], b"", at + 4, at + 28, "ok", True),
    ]


def test_several_holes_in_one_message() -> None:
    decoder = V1Decoder()
    tx = message(b"tx", bytes(1000))
    events = list(decoder.feed(tx[:100])) + decoder.gap(50) + list(decoder.feed(tx[150:200])) + decoder.gap(300)
    events += list(decoder.feed(tx[500:] + WIKI_VERACK))
    assert [type(e) for e in events] == [Gap, Gap, Truncated, Frame]
    assert events[2].received == 1024 - 350
    assert decoder.gap(0) == []


# --- what counts as evidence -----------------------------------------------------------------------------------------


def lost(stream: bytes, cuts: list[int] | None = None) -> list:
    decoder = V1Decoder([MAINNET])
    before = decoder.gap()
    return before + decode(stream, cuts, decoder)


def test_after_a_hole_a_header_alone_is_no_message() -> None:
    fake = message(b"tx", bytes(50), check=b"fake")
    assert frames(lost(b"junk" + fake + b"junk" * 20)) == []
    assert frames(lost(b"junk" + fake)) == []


def test_after_a_hole_a_wrong_checksum_needs_the_next_header() -> None:
    events = lost(b"junk" + message(b"tx", bytes(50), check=b"fake") + message(b"ping", bytes(8)))
    assert [(f.msgtype, f.verdict, f.resynchronised) for f in frames(events)] == [
        (b"tx", "bad", True),
        (b"ping", "ok", False),
    ]


def test_after_a_hole_a_strange_command_needs_its_checksum() -> None:
    follower = message(b"ping", bytes(8))
    assert [f.msgtype for f in frames(lost(message(b"\xff\xfe", bytes(50)) + follower))] == [b"\xff\xfe", b"ping"]
    assert [f.msgtype for f in frames(lost(message(b"\xff", bytes(50), check=b"fake") + follower))] == [b"ping"]


def test_fake_header_with_a_long_length_only_delays() -> None:
    fake = MAGIC + b"block".ljust(12, b"\0") + struct.pack("<I", 1_000_000) + b"fake"
    real = [message(b"tx", bytes([n]) * 400) for n in range(100)]
    stream = fake + b"".join(real)
    assert [f.header + f.payload for f in frames(lost(stream))] == real  # at the end
    padded = stream + bytes(1_000_100 - len(stream)) + message(b"ping", bytes(8)) * 2
    decoder = V1Decoder([MAINNET])
    decoder.gap()
    events = [event for at in range(0, len(padded), 1448) for event in decoder.feed(padded[at : at + 1448])]
    assert [f.header + f.payload for f in frames(events)][:100] == real


def test_hashing_is_bounded_for_a_stream_of_fake_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    real = resync.checksum
    monkeypatch.setattr(resync, "checksum", lambda data: hashed.append(len(data)) or real(data))
    fake = b"".join(
        MAGIC + b"block".ljust(12, b"\0") + struct.pack("<I", 1_000_000 - 24 * n) + b"fake" for n in range(20_000)
    )
    stream = fake + bytes(1_200_000)
    for size in (1448, len(stream)):
        hashed.clear()
        assert frames(lost(stream, list(range(size, len(stream), size)))) == []
        assert 0 < sum(hashed) < 5 * len(stream)
    tail = [message(b"ping", bytes([n]) * 8) for n in range(3)]
    found = [f.header + f.payload for f in frames(lost(stream + b"".join(tail)))]
    assert found in (tail, tail[:2])  # the follower is evidence enough when no more may be hashed


def test_a_header_with_a_wrong_length_does_not_swallow_the_messages_behind_it() -> None:
    inside = [message(b"ping", bytes([n]) * 8) for n in range(5)]
    fake = MAGIC + b"tx".ljust(12, b"\0") + struct.pack("<I", 100) + b"fake"
    events = decode(version() + fake + b"".join(inside))
    assert [f.header + f.payload for f in frames(events)] == [version(), *inside]
    assert events[1] == Skipped(len(version()), len(version()) + 24, "bad-checksum")
    bad = message(b"tx", bytes(100), check=b"fake")  # nothing in it, garbage behind it: still a message
    events = decode(version() + bad + b"garbage" + inside[0])
    assert [(type(e), getattr(e, "verdict", "")) for e in events] == [
        (Frame, "ok"), (Frame, "bad"), (Skipped, ""), (Frame, "ok"),
    ]  # fmt: skip


def test_hashing_is_bounded_for_messages_inside_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """In step, each fake header spans everything that follows, with a valid message behind it."""
    hashed = []
    for module in (resync, framing):
        real = module.checksum
        monkeypatch.setattr(module, "checksum", lambda data, real=real: hashed.append(len(data)) or real(data))
    count = 800
    unit = 24 + 32
    stream = b"".join(
        MAGIC
        + b"tx".ljust(12, b"\0")
        + struct.pack("<I", (count - n) * unit - 24)
        + b"fake"
        + message(b"ping", bytes(8))
        for n in range(count)
    )
    for size in (1448, len(stream)):
        hashed.clear()
        events = decode(stream + b"end", list(range(size, len(stream), size)))
        assert accounted(events) == len(stream) + 3
        assert sum(hashed) < 12 * len(stream)


def test_parts_are_the_same_as_one_feed() -> None:
    stream = version() + message(b"block", bytes(range(256)) * 40) + WIKI_VERACK
    for size in (7, 100, 3000):
        decoder, events, parts = V1Decoder(), [], []
        for place in range(0, len(stream), size):
            parts.append(stream[place : place + size])
            if sum(map(len, parts)) >= decoder.wanted:
                events += decoder.feed_parts(parts)
                parts = []
        events += decoder.feed_parts(parts) if parts else []
        assert events == frames(decode(stream))
        assert list(V1Decoder().feed_parts([stream[:50], stream[50:150], stream[150:]])) == events


def test_time_is_linear_for_hostile_streams() -> None:
    """Valid messages and garbage in turn behind a held-up candidate: each loss of step must cost its own bytes only."""

    def seconds(count: int) -> float:
        body = b"".join(message(b"ping", struct.pack("<Q", n)) + b"!" for n in range(count))
        fake = MAGIC + b"block".ljust(12, b"\0") + struct.pack("<I", len(body) + 10) + b"fake"
        begin = time.perf_counter()
        assert len(frames(lost(fake + body))) == count
        return time.perf_counter() - begin

    small = min(seconds(2_000) for _ in range(3))
    assert seconds(20_000) < 30 * small  # 100 times if it were quadratic


def test_message_in_single_bytes_is_linear_in_time_and_memory() -> None:
    stream = message(b"block", bytes(400_000))
    tracemalloc.start()
    decoder = V1Decoder()
    for byte in stream[:-1]:
        assert not decoder.feed(bytes((byte,)))
    assert decoder.held == 399_999
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_500_000
    assert [f.verdict for f in decoder.feed(stream[-1:])] == ["ok"]


def test_announced_length_allocates_nothing() -> None:
    header = message(b"block", b"")[:16] + struct.pack("<I", 0x02000000) + b"abcd"
    tracemalloc.start()
    decoder = V1Decoder()
    decoder.feed(header + bytes(10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


# --- properties ------------------------------------------------------------------------------------------------------

commands = st.sampled_from([b"tx", b"inv", b"ping", b"verack", b"version", b"getcfheaders", b"\x80odd", b"pad\0x"])
payloads = st.one_of(st.binary(max_size=60), st.integers(0, 3000).map(bytes))
pieces = st.one_of(
    st.builds(message, commands, payloads),
    st.builds(message, commands, payloads, check=st.just(b"abcd")),
    st.builds(message, commands, payloads, st.just(OTHER)),
    st.just(OLD_VERACK),
    st.just(old_version()),
    st.binary(max_size=40),
    st.just(MAGIC),
    st.just(MAGIC + b"block".ljust(12, b"\0") + struct.pack("<I", 2000) + b"fake"),
    st.just(MAGIC + b"block".ljust(12, b"\0") + struct.pack("<I", 0xFFFFFFFF) + b"fake"),
)
streams = st.lists(pieces, max_size=12).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(streams, st.lists(st.integers(0, 6000), max_size=20), st.integers(0, 30))
def test_any_split_gives_the_same_events(stream: bytes, cuts: list[int], cut_off: int) -> None:
    stream = stream[: max(0, len(stream) - cut_off)]
    whole = decode(stream)
    assert decode(stream, cuts) == whole
    assert decode(stream, list(range(1, len(stream)))) == whole
    assert accounted(whole) == len(stream)


@settings(max_examples=200, deadline=None)
@given(
    streams,
    st.lists(st.tuples(st.integers(0, 3000), st.none() | st.integers(1, 500)), max_size=5),
    st.lists(st.integers(0, 6000), max_size=10),
)
def test_any_split_with_holes_gives_the_same_events(stream: bytes, holes: list, cuts: list[int]) -> None:
    def run(cuts: list[int]) -> list:
        decoder, out, pos = V1Decoder(), [], 0
        places = dict.fromkeys(cuts, 0) | dict(holes)
        for place in sorted(places):
            out += decoder.feed(stream[pos : max(pos, place)])
            pos = max(pos, place)
            if places[place] != 0:
                out += decoder.gap(places[place])
        return out + list(decoder.feed(stream[pos:])) + decoder.close()

    events = run([])
    assert run(cuts) == events
    assert accounted(events) == len(stream)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_with_holes_nothing_is_lost_beyond_them_and_nothing_invented(data: st.DataObject) -> None:
    rng = random.Random(data.draw(st.integers(0, 1 << 32)))
    parts = [
        message(rng.choice([b"tx", b"inv", b"block", b"ping"]), rng.randbytes(rng.choice([0, 8, 36, 500, 5000])))
        for _ in range(rng.randrange(1, 30))
    ]
    stream = version() + b"".join(parts)
    decoder, events, pos = V1Decoder(), [], 0
    intact = bytearray(len(stream))
    while pos < len(stream):
        size = rng.choice([1, 24, 100, 1448])
        if rng.random() < 0.2 and pos:
            events += decoder.gap(min(size, len(stream) - pos) if rng.random() < 0.8 else size)
        else:
            events += decoder.feed(stream[pos : pos + size])
            intact[pos : pos + size] = b"\1" * len(stream[pos : pos + size])
        pos += size
    events += decoder.close()
    expected, at = [], 0
    for part in (version(), *parts):
        if all(intact[at : at + len(part)]):
            expected.append((at, part))
        at += len(part)
    assert [(frame.start, frame.header + frame.payload) for frame in frames(events)] == expected
    assert accounted(events) == sum(intact)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=200), st.none(), st.integers(1, 100)), max_size=30))
def test_arbitrary_bytes_never_raise(steps: list) -> None:
    decoder = V1Decoder()
    events = []
    for step in steps:
        events += decoder.feed(step) if isinstance(step, bytes) else decoder.gap(step)
    events += decoder.close()
    assert accounted(events) == sum(len(step) for step in steps if isinstance(step, bytes))
