# SPDX-License-Identifier: GPL-2.0-or-later
"""v2 connections in captures: with keys, without, and with segments lost, late, twice, or in another order."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any

import frames as plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_v2 import IDS, MAINNET, REGTEST, Peer, v1
from recordings import ENCRYPTED, INDEX, keylog_of, messages_of, path_of
from scapy.sendrecv import sniff
from segments import ACK, CLIENT, FIN, SERVER, START, SYN, Endpoint, pcap, segment

from scapy_btc.bip324.keylog import KeyLog
from scapy_btc.capture.message import Message, StreamEvent
from scapy_btc.capture.reader import read, read_live
from scapy_btc.capture.session import BTCSession
from scapy_btc.capture.streams import StreamTable
from scapy_btc.capture.writers import open_writer
from scapy_btc.errors import CaptureError

PING = b"\x12" + bytes(8)
VERACK = b"\0verack\0\0\0\0\0\0"
V2 = "v2 by the shape of its handshake, "


def line(peer: Peer) -> str:
    return f"BIP324_EPHEMERAL {peer.public.hex()} {peer.private.hex()}\n"


class Talk:
    """A v2 connection on port 8333, as segments (sequence number, payload, is from the initiator) in order."""

    def __init__(self, magic: bytes = MAINNET, garbage: int = 30, seed: int = 1) -> None:
        rng = random.Random(seed)
        self.first = Peer(True, magic, rng.randbytes(32), rng.randbytes(garbage))
        self.second = Peer(False, magic, rng.randbytes(32), rng.randbytes(garbage))
        self.first.meet(self.second.public)
        self.second.meet(self.first.public)
        self.lengths = [0, 0]
        self.segments: list[tuple[int, bytes, bool]] = []
        self.said: list[list[bytes]] = [[], []]
        self.put(True, self.first.hello)
        self.put(False, self.second.hello + self.second.opening())
        self.put(True, self.first.opening())

    def put(self, there: bool, data: bytes, size: int = 1400) -> None:
        base = 1000 if there else 5000
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            self.segments.append((base + self.lengths[not there], piece, there))
            self.lengths[not there] += len(piece)

    def say(self, there: bool, contents: bytes, size: int = 1400) -> None:
        self.put(there, (self.first if there else self.second).packet(contents), size)
        self.said[not there].append(contents)

    def frames(self, chosen: list[tuple[int, bytes, bool]] | None = None, handshake: bool = True,
               client: Endpoint = CLIENT, server: Endpoint = SERVER, end: bool = False) -> list[bytes]:
        out = []
        if handshake:
            out = [segment(client, server, 999, 0, SYN), segment(server, client, 4999, 1000, SYN | ACK)]
        for seq, payload, there in self.segments if chosen is None else chosen:
            ends = (client, server) if there else (server, client)
            out.append(segment(*ends, seq, 0, ACK, payload))
        if end:
            out += [segment(client, server, 1000 + self.lengths[0], 0, ACK | FIN),
                    segment(server, client, 5000 + self.lengths[1], 0, ACK | FIN)]
        return out


def chat(count: int = 20, seed: int = 1, **how: Any) -> Talk:
    talk = Talk(seed=seed, **how)
    rng = random.Random(seed)
    for n in range(count):
        contents = bytes([rng.choice([18, 19, 2])]) + n.to_bytes(8, "little") + bytes(rng.choice([8, 8, 8, 300, 5000]))
        talk.say(bool(n % 2), contents, rng.randint(1, 1400))
    return talk


def items(frames: list[bytes], keys: Path | None = None, fast: bool = True) -> list[Any]:
    table = StreamTable(keylog=KeyLog(keys) if keys else None)
    numbered = list(enumerate(frames, 1))
    if fast:
        found = list(table.read((n, START + n, 1, frame, 0, len(frame), len(frame)) for n, frame in numbered))
    else:
        found = [item for n, frame in numbered for item in table.feed(n, START + n, 1, frame)]
    found += table.close()
    assert table.counts["messages"] == sum(isinstance(item, Message) for item in found)
    for event, count in Counter(item.event for item in found if isinstance(item, StreamEvent)).items():
        assert table.counts[event] == count
    return found


def messages(found: list[Any], there: bool) -> list[bytes]:
    """The contents of the packets of one direction, as the recording says them."""
    source = f"{CLIENT[0]}:{CLIENT[1]}" if there else f"{SERVER[0]}:{SERVER[1]}"
    numbers = {name.decode(): number for number, name in IDS.items()}
    return [bytes([numbers[item.msgtype]]) + item.payload for item in found
            if isinstance(item, Message) and item.source == source]


def events(found: list[Any]) -> list[tuple[str, int]]:
    return [(item.event, item.bytes) for item in found if isinstance(item, StreamEvent)]


def told(found: list[Any]) -> int:
    """Bytes of messages and events, except those that were lost."""
    return sum(item.frame.end - item.frame.start if isinstance(item, Message) else item.bytes
               for item in found if isinstance(item, Message) or item.event != "gap")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("", encoding="ascii")
    return path


# --- with a key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("which", ["first", "second"])
@pytest.mark.parametrize("magic", [MAINNET, REGTEST])
def test_a_connection(keys: Path, fast: bool, which: str, magic: bytes) -> None:
    talk = Talk(magic)
    talk.say(True, PING)
    talk.say(False, VERACK)
    keys.write_text(line(getattr(talk, which)), encoding="ascii")
    found = items(talk.frames(), keys, fast)
    back, there, ping, verack = found
    assert events([back, there]) == [("handshake", 130), ("handshake", 130)]
    assert (back.frames, there.frames, ping.frames, verack.frames) == ((4, 4), (3, 5), (6, 6), (7, 7))
    assert [item.time_ns - START for item in found] == [4, 5, 6, 7]
    assert (ping.msgtype, ping.payload, ping.transport, ping.checksum) == ("ping", bytes(8), "v2", "none")
    assert (ping.network.magic, ping.connection, ping.findings) == (magic, 0, [])
    assert ping.frame_bytes == v1(b"ping", bytes(8), magic) == bytes(ping.packet)
    assert verack.frame_bytes == v1(b"verack", b"", magic)
    assert (verack.source, verack.destination) == ("10.0.0.2:8333", "10.0.0.1:40000")
    assert ping.record["transport"] == "v2" and ping.record["checksum"] == "none"
    assert told(found) == sum(talk.lengths)


def test_the_order_of_the_handshake_is_looked_at(keys: Path) -> None:
    talk = Talk()
    for contents in (b"\0version" + bytes(5), VERACK, b"\0wtxidrelay\0\0"):
        talk.say(True, contents)
    keys.write_text(line(talk.first), encoding="ascii")
    assert [item.frame_findings for item in items(talk.frames(), keys) if isinstance(item, Message)] == [
        [], [], ["after-verack"]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(30, 300), st.sampled_from([0, 0, 4, 40]), st.booleans())
def test_any_segments_in_any_order_with_repeats(tmp_path_factory: pytest.TempPathFactory, seed: int, size: int,
                                                window: int, handshake: bool) -> None:
    rng = random.Random(seed)
    talk = Talk(garbage=rng.choice([0, 5, 500, 4095]), seed=seed)
    whole = talk.segments
    talk.segments, talk.lengths = [], [0, 0]
    for _, payload, there in whole:
        talk.put(there, payload, size)
    for n in range(12):
        talk.say(bool(n % 2), bytes([18]) + n.to_bytes(8, "little") + bytes(rng.choice([0, 400])), rng.randint(1, 900))
    keys = tmp_path_factory.mktemp("v2") / "keys"
    keys.write_text(line(rng.choice([talk.first, talk.second])), encoding="ascii")
    slots = [(n + rng.random() * window, item) for n, item in enumerate(talk.segments)]
    slots += [(place + rng.random() * (window + 5), item) for place, item in slots if rng.random() < 0.1]
    chosen = [item for _, item in sorted(slots, key=lambda slot: slot[0])]
    found = items(talk.frames(chosen, handshake or window > 0), keys)
    assert [messages(found, True), messages(found, False)] == talk.said
    assert {event for event, _ in events(found)} == {"handshake"}
    assert told(found) == sum(talk.lengths)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 6), st.booleans())
def test_what_is_lost_ends_a_direction(tmp_path_factory: pytest.TempPathFactory, seed: int, lost: int,
                                       fast: bool) -> None:
    """Each direction gives the messages before its first hole, and no other; every byte that came is told once."""
    rng = random.Random(seed)
    garbage = rng.choice([0, 100, 3000])
    talk = chat(24, seed, garbage=garbage)
    keys = tmp_path_factory.mktemp("v2") / "keys"
    keys.write_text(line(rng.choice([talk.first, talk.second])), encoding="ascii")
    gone = set(rng.sample(range(len(talk.segments)), min(lost, len(talk.segments) - 1)))
    chosen = [item for n, item in enumerate(talk.segments) if n not in gone]
    found = items(talk.frames(chosen, end=True), keys, fast)
    holes = [min((talk.segments[n][0] - (1000 if there else 5000) for n in gone if talk.segments[n][2] == there),
                 default=talk.lengths[not there]) for there in (True, False)]
    readable = min(holes) >= 64 and max(holes) >= 64 + garbage + 16
    for number, hole in enumerate(holes):
        sizes = [len(contents) + 20 for contents in talk.said[number]]
        ends = [talk.lengths[number] - sum(sizes[n + 1 :]) for n in range(len(sizes))]
        before = [one for one, end in zip(talk.said[number], ends, strict=True) if readable and end <= hole]
        assert messages(found, not number) == before
    assert told(found) == sum(len(payload) for _, payload, _ in chosen)
    gaps = [item for item in found if isinstance(item, StreamEvent) and item.event == "gap"]
    if readable:
        assert sum(item.bytes for item in gaps) == sum(len(talk.segments[n][1]) for n in gone)
        assert gaps[0].reason.endswith("; what follows in this direction cannot be decrypted")


def test_a_loss_ends_one_direction_only(keys: Path) -> None:
    talk = Talk()
    for n in range(10):
        talk.say(bool(n % 2), b"\x12" + n.to_bytes(8, "little"))
    keys.write_text(line(talk.first), encoding="ascii")
    chosen = [item for n, item in enumerate(talk.segments) if n != 7]  # the third of the second end
    found = items(talk.frames(chosen), keys)
    assert messages(found, True) == talk.said[0]
    assert messages(found, False) == talk.said[1][:2]
    assert events(found) == [("handshake", 130), ("handshake", 130), ("gap", 29), ("encrypted", 58)]
    assert [item.reason for item in found if isinstance(item, StreamEvent)][2:] == [
        "never captured; what follows in this direction cannot be decrypted", "after lost bytes"]


def test_the_loss_of_a_key_leaves_all_unread(keys: Path) -> None:
    talk = chat(6)
    keys.write_text(line(talk.first), encoding="ascii")
    found = items(talk.frames(talk.segments[1:]), keys)
    assert {event for event, _ in events(found)} == {"encrypted", "unrecognised"}
    assert not [item for item in found if isinstance(item, Message)]


def test_a_key_that_is_written_late(keys: Path) -> None:
    """While its connection is young: what came before is read, too."""
    talk = chat(30)
    table = StreamTable(keylog=KeyLog(keys))
    found: list[Any] = []
    for n, frame in enumerate(talk.frames(), 1):
        if n == 20:
            assert not found
            keys.write_text(line(talk.second), encoding="ascii")
        found += table.feed(n, START + n, 1, frame)
    found += table.close()
    assert [messages(found, True), messages(found, False)] == talk.said


def test_a_key_that_comes_too_late(keys: Path) -> None:
    talk = Talk()
    for _ in range(20):
        talk.say(True, b"\x02" + bytes(5000))
    talk.say(False, PING)
    table = StreamTable(keylog=KeyLog(keys))
    found: list[Any] = []
    frames = talk.frames()
    for n, frame in enumerate(frames, 1):
        if n == len(frames):
            keys.write_text(line(talk.second), encoding="ascii")
        found += table.feed(n, START + n, 1, frame)
    found += table.close()
    assert messages(found, True) == [] and messages(found, False) == [PING]
    assert events(found) == [("handshake", 130), ("encrypted", talk.lengths[0])]
    assert found[-1].reason == "its key was in the key log too late"


def test_ports_and_the_beginning_do_not_matter_with_a_key(keys: Path) -> None:
    talk = chat(6)
    keys.write_text(line(talk.first), encoding="ascii")
    found = items(talk.frames(handshake=False, client=("10.0.0.1", 40000), server=("10.0.0.2", 12345)), keys)
    assert len([item for item in found if isinstance(item, Message)]) == 6


def test_a_capture_of_a_few_frames_without_the_beginning_of_tcp(keys: Path) -> None:
    """Where the stream begins is known only when the capture ends, for both directions."""
    talk = Talk()
    talk.say(True, PING)
    talk.say(False, VERACK)
    keys.write_text(line(talk.first), encoding="ascii")
    found = items(talk.frames(handshake=False), keys)
    assert [item.msgtype for item in found if isinstance(item, Message)] == ["ping", "verack"]
    assert {event for event, _ in events(found)} == {"handshake"}


def test_a_hole_before_the_keys_are_known(keys: Path) -> None:
    """The snapshot length cut the garbage of one end off: the other end can be read."""
    talk = Talk(garbage=500)
    for _ in range(3):
        talk.say(True, PING)
        talk.say(False, PING)
    keys.write_text(line(talk.first), encoding="ascii")
    table = StreamTable(keylog=KeyLog(keys))
    found: list[Any] = []
    for n, frame in enumerate(talk.frames(), 1):
        captured = frame[:-100] if n == 3 else frame
        found += table.feed(n, START + n, 1, captured, len(frame))
    found += table.close()
    assert messages(found, True) == [] and messages(found, False) == [PING] * 3
    assert sorted(events(found)) == [("encrypted", talk.lengths[0] - 100), ("gap", 100), ("handshake", 600)]
    assert table.counts["gap"] == 1
    gap = next(item for item in found if isinstance(item, StreamEvent) and item.event == "gap")
    assert gap.network is not None and (gap.network.name, gap.frames) == ("mainnet", (3, 3))
    assert told(found) == sum(talk.lengths) - 100


def test_an_end_that_is_over_before_the_other_speaks(keys: Path) -> None:
    """No node does that; what was told of it is not told again."""
    talk = Talk()
    talk.say(True, PING)
    keys.write_text(line(talk.first), encoding="ascii")
    there = [item for item in talk.segments if item[2]]
    back = [item for item in talk.segments if not item[2]]
    frames = [*talk.frames(there), segment(CLIENT, SERVER, 1000 + talk.lengths[0], 0, ACK | FIN)]
    found = items(frames + talk.frames(back, handshake=False), keys)
    assert events(found) == [("encrypted", talk.lengths[0]), ("handshake", talk.lengths[1])]
    assert not messages(found, True)


def test_more_connections_at_once(keys: Path) -> None:
    talks = [chat(10, seed) for seed in range(5)]
    keys.write_text("".join(line(talk.first) for talk in talks[:4]), encoding="ascii")
    frames = [talk.frames(client=("10.0.0.1", 50000 + k)) for k, talk in enumerate(talks)]
    mixed = [frame for together in zip_longest(*frames) for frame in together if frame]
    found = items(mixed, keys)
    by_port = Counter(item.source if item.source[:8] == "10.0.0.1" else item.destination for item in found
                      if isinstance(item, Message))
    assert by_port == {f"10.0.0.1:{50000 + k}": 10 for k in range(4)}
    assert [event for event, _ in events(found)].count("encrypted") == 2


@pytest.mark.parametrize("name", ENCRYPTED)
@pytest.mark.parametrize("seed", range(4))
def test_a_recording_in_small_segments_in_another_order(name: str, seed: int) -> None:
    """What a real node said, cut anew, reordered, repeated; then some of it lost: only what is before stays."""
    rng = random.Random(seed)
    sent = plain.streams(plain.parse(frame.data) for frame in plain.read(path_of(name)))
    slots, cut = [], Counter[tuple[str, str]]()
    for way, data in sent.items():
        at = 0
        slots.append((-1.0 + 0.1 * (way[1][1] != 18444), way, 999, b"", SYN))
        while at < len(data):
            size = rng.choice([1, 40, 700, 1400])
            slots.append((at / len(data), way, 1000 + at, data[at : at + size], ACK))
            if rng.random() < 0.002 and seed % 2:
                slots.pop()
                ends = tuple(f"{host}:{port}" for host, port in way)
                cut[ends] = min(cut[ends] or at, at)  # type: ignore[index]
            at += size
    slots = [(place + rng.random() / 5000, *rest) for place, *rest in slots]  # type: ignore[misc]
    slots.sort(key=lambda slot: slot[0])
    frames = [segment(*way, seq, 0, flags, data) for _, way, seq, data, flags in slots]
    capture = io.BytesIO(pcap((START + n * 1000, frame) for n, frame in enumerate(frames)))
    found = [item for item in read(capture, events=True, keylog=keylog_of(name)) if isinstance(item, Message)]

    def lines(some: Any) -> Counter[Any]:
        return Counter((item.source, item.destination, item.msgtype, item.payload) for item in some)

    kept = [item for item in messages_of(name)
            if not cut[item.source, item.destination] or item.frame.end <= cut[item.source, item.destination]]
    assert lines(found) == lines(kept)
    assert len(kept) == INDEX[name]["messages"] or seed % 2


# --- broken ----------------------------------------------------------------------------------------------------------


def test_a_packet_that_is_not_authentic(keys: Path) -> None:
    talk = Talk()
    for _ in range(3):
        talk.say(True, PING)
    keys.write_text(line(talk.first), encoding="ascii")
    seq, payload, there = talk.segments[4]
    talk.segments[4] = seq, payload[:-1] + bytes([payload[-1] ^ 1]), there
    found = items(talk.frames(), keys)
    assert messages(found, True) == [PING]
    assert events(found)[2:] == [("bad-tag", 29), ("encrypted", 29)]
    bad = found[-2]
    assert bad.reason == "packet 2 is not authentic: wrong tag" and bad.frames == (7, 7)


def test_the_end_of_the_capture_in_a_packet(keys: Path) -> None:
    talk = Talk()
    talk.say(True, b"\x02" + bytes(3000))
    keys.write_text(line(talk.first), encoding="ascii")
    found = items(talk.frames(talk.segments[:-1]), keys)
    assert events(found)[2:] == [("truncated", 2800)]
    assert found[-1].text == "truncated: 2,800 bytes, a packet at the end of the stream"


def test_a_wrong_key_is_told(keys: Path) -> None:
    talk = chat(4)
    keys.write_text(line(talk.first).replace(talk.first.private.hex(), "11" * 32), encoding="ascii")
    found = items(talk.frames(), keys)
    assert {item.reason for item in found} == {V2 + "the private key in the key log is not that of the public one"}
    assert "1111" not in str(found)


# --- without a key ---------------------------------------------------------------------------------------------------


def test_without_a_key_its_shape_is_told(keys: Path) -> None:
    talk = chat(10)
    for keylog, reason in ((None, "no key log"), (keys, "its key is not in the key log")):
        found = items(talk.frames(), keylog)
        assert events(found) == [("encrypted", talk.lengths[0]), ("encrypted", talk.lengths[1])]
        assert {item.reason for item in found} == {V2 + reason}


def stranger(there: bytes, back: bytes, size: int = 1400) -> list[Any]:
    talk = Talk()
    talk.segments, talk.lengths = [], [0, 0]
    talk.put(True, there, size)
    talk.put(False, back, size)
    return items(talk.frames())


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize(("there", "back", "why"), [
    (noise(500), b"", "one direction only"),
    (noise(500), noise(63), "fewer than 64 bytes one way"),
    (noise(63), noise(500), "fewer than 64 bytes one way"),
    (noise(5000), noise(500), "more than 4,159 bytes before the other end said 64"),
    (b"\x16\x03\x01\x02\x00" + noise(500), noise(500), "it begins as TLS does"),
    (bytes(30) + noise(500), noise(500), "it does not begin with random bytes"),
])  # fmt: skip
def test_what_speaks_against_v2(there: bytes, back: bytes, why: str) -> None:
    reasons = {item.reason for item in stranger(there, back)}
    assert reasons == {f"v2, or another protocol: {why}"}


def test_4159_bytes_may_come_before_the_answer() -> None:
    assert {item.reason for item in stranger(noise(4159), noise(64, 2))} == {V2 + "no key log"}


def test_streams_of_other_ports_are_not_kept(keys: Path) -> None:
    """Neither memory nor time: TLS on 500 connections, with a key log."""
    table = StreamTable(keylog=KeyLog(keys))
    data = b"\x16\x03\x01" + noise(1397)
    tracemalloc.start()
    for number in range(1, 20_000):
        ends = [("10.0.0.1", 1000 + number % 500), ("10.0.0.9", 443)]
        if number // 500 % 2:
            ends.reverse()
        frame = segment(*ends, 1400 * (number // 1000), 0, ACK, data)  # type: ignore[arg-type]
        table.feed(number, START + number * 1000, 1, frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500 * 100_000 + 500 * 20_000


def test_what_waits_for_a_key_is_bounded(keys: Path) -> None:
    talk = Talk()
    for _ in range(100):
        talk.say(True, b"\x02" + bytes(50_000))
    table = StreamTable(keylog=KeyLog(keys))
    tracemalloc.start()
    for n, frame in enumerate(talk.frames(), 1):
        table.feed(n, START + n, 1, frame)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 7_000_000  # of which the frames of the test are 5,000,000


# --- reading, writing, sniffing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCRYPTED)
def test_what_is_written_is_v1(tmp_path: Path, name: str) -> None:
    """Decrypted traffic becomes a capture that needs no key."""
    target = tmp_path / "clear.pcapng"
    with open_writer(target) as writer:
        for message in messages_of(name):
            writer.write(message)
    again = list(read(target, network="regtest"))
    assert [(item.source, item.msgtype, item.payload) for item in again] == [
        (item.source, item.msgtype, item.payload) for item in messages_of(name)]
    assert {(item.transport, item.checksum) for item in again} == {("v1", "ok")}


@pytest.mark.parametrize("name", ENCRYPTED)
def test_sniffing(name: str) -> None:
    packets = sniff(offline=str(path_of(name)), session=BTCSession(keylog=keylog_of(name)))
    assert [bytes(packet["BTC"]) for packet in packets] == [item.frame_bytes for item in messages_of(name)]
    assert not sniff(offline=str(path_of(name)), session=BTCSession())


def test_a_key_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="none: no such key log"):
        read(path_of(ENCRYPTED[0]), keylog=tmp_path / "none")
    talk = chat(4)
    later = tmp_path / "later"
    live = ((n, START + n, 1, frame, len(frame)) for n, frame in enumerate(talk.frames(), 1)
            if n != 2 or later.write_text(line(talk.first), encoding="ascii"))
    assert len(list(read_live(live, keylog=later).only_messages())) == 4


def test_several_files_share_a_key_log() -> None:
    name = ENCRYPTED[0]
    both = list(read([path_of(name), path_of(name)], keylog=keylog_of(name)))
    assert len(both) == 2 * INDEX[name]["messages"]
    assert {item.connection for item in both} >= {0, 1, 3, 4}
