# SPDX-License-Identifier: GPL-2.0-or-later
"""From frames to messages: which ones, of which frames, of which network, and what is told of the rest."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segments import (
    ACK,
    CLIENT,
    FIN,
    MAGIC,
    REGTEST,
    SECOND,
    SERVER,
    START,
    SYN,
    Endpoint,
    message,
    segment,
    version,
)

from scapy_btc.capture.message import Message, StreamEvent
from scapy_btc.capture.streams import StreamTable, network_of
from scapy_btc.networks import MAINNET, SIGNET, by_name

PING = message(b"ping", bytes(8))
THERE = (f"{CLIENT[0]}:{CLIENT[1]}", f"{SERVER[0]}:{SERVER[1]}")


class Capture:
    """Frames of TCP connections, one microsecond apart."""

    def __init__(self, table: StreamTable | None = None) -> None:
        self.table = table or StreamTable()
        self.frames: list[bytes] = []

    def send(self, seq: int, payload: bytes = b"", flags: int = ACK, source: Endpoint = CLIENT,
             target: Endpoint = SERVER, ack: int = 0) -> Capture:  # fmt: skip
        self.frames.append(segment(source, target, seq, ack, flags, payload))
        return self

    def handshake(self, source: Endpoint = CLIENT, target: Endpoint = SERVER) -> Capture:
        return self.send(999, b"", SYN, source, target).send(4999, b"", SYN | ACK, target, source, 1000)

    def stream(self, data: bytes, size: int = 1448, source: Endpoint = CLIENT, target: Endpoint = SERVER,
               base: int = 1000) -> Capture:  # fmt: skip
        """Data from sequence number `base` on, in segments of that size."""
        for place in range(0, len(data), size):
            self.send(base + place, data[place : place + size], ACK, source, target)
        return self

    def items(self, fast: bool = True) -> list[Any]:
        if fast:
            records = [
                (n, START + 1000 * n, 1, frame, 0, len(frame), len(frame)) for n, frame in enumerate(self.frames, 1)
            ]
            found = list(self.table.read(records))
        else:
            found = [
                item
                for n, frame in enumerate(self.frames, 1)
                for item in self.table.feed(n, START + 1000 * n, 1, frame)
            ]
        return found + self.table.close()


def messages(items: Iterable[Any]) -> list[Message]:
    return [item for item in items if isinstance(item, Message)]


def events(items: Iterable[Any]) -> list[tuple[str, int]]:
    return [(item.event, item.bytes) for item in items if isinstance(item, StreamEvent)]


def raw(found: Iterable[Message]) -> list[bytes]:
    return [item.frame_bytes for item in found]


# --- messages, and the frames they come with -------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [True, False])
def test_a_message(fast: bool) -> None:
    (found,) = Capture().handshake().stream(PING).items(fast)
    assert (found.time_ns, found.frames, found.connection) == (START + 3000, (3, 3), 0)
    assert (found.source, found.destination) == THERE
    assert (found.network, found.transport, found.msgtype, found.checksum) == (MAINNET, "v1", "ping", "ok")
    assert found.payload == bytes(8)
    assert found.frame_bytes == PING
    assert found.frame_findings == []


@pytest.mark.parametrize("fast", [True, False])
def test_frames_of_messages_across_segments(fast: bool) -> None:
    big = message(b"block", random.Random(1).randbytes(10_000))
    stream = version() + big + PING + PING
    at = len(version()) + len(big)
    capture = Capture().handshake()
    for begin, end in (
        (0, 10),
        (10, 200),
        (200, 5000),
        (5000, at - 1),
        (at - 1, at + 20),
        (at + 20, at + 40),
        (at + 40, at + 64),
    ):
        capture.send(1000 + begin, stream[begin:end])
    found = capture.items(fast)
    assert raw(found) == [version(), big, PING, PING]
    assert [item.frames for item in found] == [(3, 4), (4, 7), (7, 8), (8, 9)]
    assert [(item.time_ns - START) // 1000 for item in found] == [4, 7, 8, 9]


@pytest.mark.parametrize("fast", [True, False])
def test_time_is_that_of_the_segment_that_completed_the_message(fast: bool) -> None:
    first, second, third = (message(b"ping", bytes([n]) * 8) for n in range(3))
    stream = first + second + third
    capture = Capture().handshake()
    for begin, end in ((32, 40), (64, 96), (40, 64), (0, 32)):
        capture.send(1000 + begin, stream[begin:end])
    found = capture.items(fast)
    assert raw(found) == [first, second, third]
    assert [item.frames for item in found] == [(6, 6), (3, 5), (4, 4)]
    assert [(item.time_ns - START) // 1000 for item in found] == [6, 5, 4]


def test_frames_of_a_message_in_very_many_segments() -> None:
    big = message(b"block", bytes(40_000))
    capture = Capture().handshake().stream(PING + big + PING, 4)
    first, found, last = capture.items()
    assert (first.frames, found.frames, last.frames) == ((3, 10), (11, 10_016), (10_017, 10_024))


def test_old_version_keeps_its_own_frame_though_the_next_one_decides() -> None:
    payload = struct.pack("<iQq", 32001, 1, 1310000000) + bytes(60) + b"\0" + struct.pack("<i", 130000)
    old = MAGIC + b"version\0\0\0\0\0" + struct.pack("<I", len(payload)) + payload
    verack = MAGIC + b"verack".ljust(16, b"\0")
    capture = Capture().handshake().send(1000, old).send(1000 + len(old), verack)
    found = capture.send(1000 + len(old + verack), PING).items()
    assert [(item.msgtype, item.frames, item.checksum) for item in found] == [
        ("version", (3, 3), "none"),
        ("verack", (4, 4), "none"),
        ("ping", (5, 5), "ok"),
    ]
    assert found[0].frame_findings == ["no-checksum"]
    assert found[1].frame_bytes == verack


def test_findings_of_the_envelope() -> None:
    long = message(b"block", bytes(4_000_001))
    bad = PING[:20] + b"abcd" + PING[24:]
    padded = message(b"tx\0\0\0\0\0\0\0\0\0x", b"abc")
    verack = message(b"verack")
    capture = Capture().handshake().stream(version() + verack + bad + padded + b"garbage" + PING + long, 60_000)
    found = capture.items()
    assert [item.frame_findings for item in messages(found)] == [
        [],
        [],
        ["bad-checksum"],
        ["bad-msgtype"],
        ["resynchronised"],
        ["over-size"],
    ]
    assert events(found) == [("skipped", 7)]
    assert messages(found)[3].msgtype == "tx"


def test_both_directions_and_several_connections() -> None:
    other = ("2001:db8::1", 50000), ("2001:db8::2", 18444)
    ping = message(b"ping", bytes(8), REGTEST)
    capture = Capture().handshake().handshake(*other)
    capture.send(1000, PING).send(5000, PING + PING, source=SERVER, target=CLIENT)
    capture.send(1000, ping, source=other[0], target=other[1]).send(1032, PING)
    found = capture.items()
    assert [(item.connection, item.source, str(item.network)) for item in found] == [
        (0, "10.0.0.1:40000", "mainnet"),
        (0, "10.0.0.2:8333", "mainnet"),
        (0, "10.0.0.2:8333", "mainnet"),
        (1, "[2001:db8::1]:50000", "regtest"),
        (0, "10.0.0.1:40000", "mainnet"),
    ]
    assert capture.table.counts["connections"] == 2


# --- what is lost, left out or of others -----------------------------------------------------------------------------


def test_events_of_a_hole() -> None:
    tx = message(b"tx", bytes(3000))
    stream = version() + tx + tx + PING
    capture = Capture().handshake()
    for place in range(0, len(stream), 1000):
        if place not in (1000, 3000):
            capture.send(1000 + place, stream[place : place + 1000])
    found = capture.items()
    assert raw(messages(found)) == [version(), PING]
    # version ends at 110, the first tx at 3134, the second at 6158: the second hole goes over the end of the first tx
    assert [(item.event, item.bytes, item.frames) for item in found if isinstance(item, StreamEvent)] == [
        ("gap", 1000, (4, 4)),
        ("truncated", 1890, (3, 4)),
        ("gap", 1000, (5, 5)),
        ("skipped", 2158, (5, 7)),
    ]


def test_other_content_is_told() -> None:
    capture = Capture().handshake().send(1000, PING).send(1010, b"??" + PING[12:]).send(1032, PING)
    found = capture.items()
    assert events(found) == [("overlap-differs", 2)]
    assert raw(messages(found)) == [PING, PING]


def test_v2_on_a_port_of_bitcoin_is_told_at_its_end() -> None:
    noise = random.Random(3).randbytes(9000)
    capture = Capture().handshake().stream(noise[:5000]).stream(noise, 1448, SERVER, CLIENT, 5000)
    found = capture.items()
    assert [(item.event, item.bytes, item.source, item.frames) for item in found] == [
        ("encrypted", 5000, "10.0.0.1:40000", (3, 6)),
        ("encrypted", 9000, "10.0.0.2:8333", (7, 13)),
    ]


def test_text_and_unknown_beginnings_on_a_port_of_bitcoin() -> None:
    found = Capture().handshake().stream(b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n").items()
    assert events(found) == [("unrecognised", 35)]
    found = Capture().stream(random.Random(3).randbytes(5000)).items()
    assert events(found) == [("unrecognised", 5000)]


def test_other_protocols_on_other_ports_are_only_counted() -> None:
    web = ("10.0.0.9", 443)
    data = b"\x16\x03\x01\x02\x00" + random.Random(4).randbytes(20_000)
    capture = Capture().handshake(CLIENT, web).stream(data, 1000, CLIENT, web)
    del capture.frames[8]
    assert capture.items() == []
    assert capture.table.counts["streams of other protocols"] == 1


def test_bitcoin_on_any_port_also_from_the_middle_on() -> None:
    ends = (("10.0.0.1", 1234), ("10.0.0.9", 443))
    found = Capture().stream(bytes(1000) + PING + PING, 300, *ends).items()
    assert events(found) == [("skipped", 1000)]
    assert raw(messages(found)) == [PING, PING]


def test_holes_before_the_first_message_are_told_once_it_is_found() -> None:
    capture = Capture().handshake()
    stream = bytes(1000) + PING
    for place in range(0, len(stream), 100):
        if place not in (0, 300, 500):
            capture.send(1000 + place, stream[place : place + 100])
    found = capture.items()
    assert raw(messages(found)) == [PING]
    assert [pair for pair in events(found) if pair[0] == "gap"] == [("gap", 100)] * 3
    assert sum(size for event, size in events(found) if event == "skipped") == 700
    assert capture.table.counts["gap"] == 3


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("magic", "port", "said", "name"),
    [
        ("fabfb5da", 18444, None, "regtest"),
        ("fabfb5da", 4444, None, "regtest"),
        ("fabfb5da", 18333, None, "testnet2"),
        ("fabfb5da", 19444, None, "litecoin-regtest"),
        ("fabfb5da", 18444, "dogecoin-regtest", "dogecoin-regtest"),
        ("fabfb5da", 18444, "mainnet", "regtest"),
        ("1c163f28", 48333, None, "testnet4"),
        ("e3e1f3e8", 8333, None, "bitcoincash"),
        ("f9beb4d9", 18444, None, "mainnet"),
        ("c0c0c0c0", 1, None, "dogecoin"),
    ],
)
def test_networks(magic: str, port: int, said: str | None, name: str) -> None:
    table = StreamTable(by_name(said) if said else None)
    ends = ("10.0.0.1", 50000), ("10.0.0.2", port)
    (found,) = Capture(table).stream(message(b"ping", bytes(8), bytes.fromhex(magic)), 1448, *ends).items()
    assert str(found.network) == name


def test_custom_networks() -> None:
    magic = bytes.fromhex("01020304")
    mine = replace(SIGNET, name="mine", magic=magic)
    ping = message(b"ping", bytes(8), magic)
    (found,) = Capture(StreamTable(mine)).stream(ping).items()
    assert found.network is mine
    assert events(Capture().stream(ping).items()) == [("unrecognised", 32)]
    found = Capture().handshake().stream(message(b"version", version()[24:], magic) + ping).items()
    assert [(item.network, item.frame.magic) for item in found] == [(None, magic)] * 2
    assert network_of(magic) is None


# --- loss, order and repeats -----------------------------------------------------------------------------------------


def spoiled(seed: int, lost: int, window: int) -> tuple[Capture, list[bytes], int, int]:
    """A capture of both directions with segments missing, out of order and repeated; the messages whose bytes all
    arrived, the number of bytes that are missing and of those that belong to no whole message."""
    rng = random.Random(seed)
    capture = Capture().handshake()
    slots: list[tuple[float, tuple]] = []
    carrying: list[tuple[int, bytes, Endpoint, Endpoint]] = []
    streams = []
    for source, target, base in ((CLIENT, SERVER, 1000), (SERVER, CLIENT, 5000)):
        parts = [version()] + [
            message(rng.choice([b"tx", b"inv", b"block"]), rng.randbytes(rng.choice([0, 37, 250, 1100, 9000])))
            for _ in range(120)
        ]
        data = b"".join(parts)
        place = 0
        while place < len(data):
            size = rng.choice([1, 100, 700, 1448, 1448])
            carrying.append((base + place, data[place : place + size], source, target))
            place += size
        streams.append((source, base, parts, bytearray(len(data))))
    gone = set(rng.sample(range(len(carrying)), lost))
    for number, item in enumerate(carrying):
        if number in gone:
            continue
        slots.append((number + rng.random() * window, item))
        if rng.random() < 0.2:
            slots.append((number + rng.random() * (window + 20), item))
        for source, base, _, arrived in streams:
            if source == item[2]:
                arrived[item[0] - base : item[0] - base + len(item[1])] = b"\1" * len(item[1])
    for _, (seq, payload, source, target) in sorted(slots, key=lambda slot: slot[0]):
        capture.send(seq, payload, ACK, source, target)
    whole, missing, rest = [], 0, 0
    for _, _, parts, arrived in streams:
        end = arrived.rfind(b"\1") + 1
        missing += arrived[:end].count(b"\0")
        rest += sum(arrived)
        place = 0
        for part in parts:
            if all(arrived[place : place + len(part)]):
                whole.append(part)
                rest -= len(part)
            place += len(part)
    return capture, whole, missing, rest


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_forty_lost_segments_with_reordering_and_repeats(seed: int, fast: bool) -> None:
    capture, whole, missing, rest = spoiled(seed, 40, 8)
    found = capture.items(fast)
    assert sorted(raw(messages(found))) == sorted(whole)
    assert sum(size for event, size in events(found) if event == "gap") == missing
    assert sum(size for event, size in events(found) if event in ("skipped", "truncated")) == rest
    assert {event for event, _ in events(found)} <= {"gap", "skipped", "truncated"}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([0, 0, 1, 5, 20]), st.sampled_from([0, 2, 8, 30]))
def test_any_order_and_any_repeats(seed: int, lost: int, window: int) -> None:
    capture, whole, missing, rest = spoiled(seed, lost, window)
    found = capture.items()
    assert sorted(raw(messages(found))) == sorted(whole)
    assert sum(size for event, size in events(found) if event == "gap") == missing
    assert sum(size for event, size in events(found) if event in ("skipped", "truncated")) == rest


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.binary(max_size=60) | st.just(PING), st.integers(0, 300), st.sampled_from([ACK, ACK | FIN, SYN])),
        max_size=30,
    )
)
def test_any_payloads(steps: list[tuple[bytes, int, int]]) -> None:
    capture = Capture()
    for payload, place, flags in steps:
        capture.send(1000 + place, payload, flags)
    for item in capture.items():
        assert isinstance(item, Message) or item.bytes >= 0


# --- time and memory -------------------------------------------------------------------------------------------------


def best(count: int, records: list[Any]) -> float:
    times = []
    for _ in range(count):
        table = StreamTable()
        begin = time.perf_counter()
        assert sum(1 for _ in table.read(records)) > 0
        times.append(time.perf_counter() - begin)
    return min(times)


@pytest.mark.parametrize("segment_size", [40, 640])
def test_time_is_linear(segment_size: int) -> None:
    """One message in N segments, and 20 messages in each of N segments."""

    def records(count: int) -> list[Any]:
        data = message(b"block", bytes(segment_size * count)) if segment_size < 100 else PING * (count * 20)
        frames = Capture().handshake().stream(data, segment_size).frames
        return [(n, START + n, 1, frame, 0, len(frame), len(frame)) for n, frame in enumerate(frames, 1)]

    small, large = records(200), records(2000)
    assert best(3, large) < 20 * best(5, small) + 0.01


def test_memory_does_not_grow_with_the_capture() -> None:
    def frames(count: int) -> Iterable[Any]:
        yield 1, START, 1, segment(CLIENT, SERVER, 999, 0, SYN), 0, 54, 54
        block = message(b"block", bytes(20_000)) + PING
        stream, seq = b"", 1000
        for number in range(2, count):
            if len(stream) < 1448:
                stream += block
            frame = segment(CLIENT, SERVER, seq, 0, ACK, stream[:1448])
            stream, seq = stream[1448:], seq + 1448
            yield number, START + number * SECOND // 1000, 1, frame, 0, len(frame), len(frame)

    def peak(count: int) -> int:
        tracemalloc.start()
        table = StreamTable()
        for _ in table.read(frames(count)):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(20_000) < peak(2_000) + 200_000


def test_streams_of_other_protocols_cost_little_memory() -> None:
    tracemalloc.start()
    table = StreamTable()
    data = random.Random(5).randbytes(1400)
    for number in range(1, 20_000):
        port = 1000 + number % 500
        frame = segment(("10.0.0.1", port), ("10.0.0.9", 443), 1400 * (number // 500), 0, ACK, data)
        table.feed(number, START + number * 1000, 1, frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500 * 100_000
