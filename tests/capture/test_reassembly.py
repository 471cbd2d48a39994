# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP reassembly against a model: what arrived is handed on once, in order; what did not is told."""

from __future__ import annotations

import random
import time
import tracemalloc
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segments import ACK, CLIENT, FIN, PSH, RST, SECOND, SERVER, START, SYN, Endpoint, ethernet, ip4, segment, tcp

from scapy_btc.capture.direction import CUT_OFF, NOT_CAPTURED, Direction, Limits
from scapy_btc.capture.link import endpoints
from scapy_btc.capture.reassembly import Reassembly


@dataclass
class Kept:
    """A receiver that keeps everything."""

    direction: Direction
    data: list[Any] = field(default_factory=list)  # bytes, or the size of a hole
    marks: list[tuple[int, int]] = field(default_factory=list)
    differing: int = 0
    ended: bool = False
    wanted: int = 1

    def receive(self, parts: list[bytes], number: int, time_ns: int) -> list[Any]:
        assert not self.ended
        assert sum(map(len, parts[:-1])) < self.wanted
        self.data += parts
        self.marks.append((number, time_ns))
        return []

    def lost(self, size: int, reason: str, number: int, time_ns: int) -> list[Any]:
        assert size > 0
        self.data.append(size)
        return [(reason, size, number)]

    def differs(self, size: int, number: int, time_ns: int) -> list[Any]:
        self.differing += size
        return [("differs", size, number)]

    def end(self) -> list[Any]:
        assert not self.ended
        self.ended = True
        return []

    @property
    def held(self) -> int:
        return 0

    @property
    def text(self) -> bytes:
        """The bytes, with "?" for each that is missing."""
        return b"".join(b"?" * item if isinstance(item, int) else item for item in self.data)


class Network:
    """A table whose receivers keep everything, and frames to feed it."""

    def __init__(self, **limits: Any) -> None:
        self.kept: list[Kept] = []
        self.table = Reassembly(self.open, Limits(**limits))
        self.number = 0
        self.time_ns = START
        self.told: list[Any] = []
        self.wanted = 1

    def open(self, direction: Direction) -> Kept:
        self.kept.append(Kept(direction, wanted=self.wanted))
        return self.kept[-1]

    def frame(self, data: bytes, original: int | None = None, later: int = 1000, linktype: int = 1) -> None:
        self.number += 1
        self.time_ns += later
        size = len(data) if original is None else original
        self.told += self.table.feed(self.number, self.time_ns, linktype, data, size)

    def send(self, seq: int, payload: bytes = b"", flags: int = ACK, ack: int = 0, later: int = 1000,
             source: Endpoint = CLIENT, target: Endpoint = SERVER) -> None:  # fmt: skip
        self.frame(segment(source, target, seq, ack, flags, payload), later=later)

    def answer(self, ack: int, seq: int = 5000, payload: bytes = b"", flags: int = ACK, later: int = 1000) -> None:
        self.send(seq, payload, flags, ack, later, SERVER, CLIENT)

    def open_connection(self, seq: int = 999) -> None:
        self.send(seq, flags=SYN)
        self.answer(seq + 1, 4999, flags=SYN | ACK)
        self.send(seq + 1, ack=5000)

    def close(self) -> list[Kept]:
        self.told += self.table.close()
        assert all(kept.ended for kept in self.kept)
        return self.kept


# --- order -----------------------------------------------------------------------------------------------------------


def test_in_order() -> None:
    net = Network()
    net.open_connection()
    net.send(1000, b"abc")
    net.answer(1003, payload=b"12")
    net.send(1003, b"de")
    net.send(1005, flags=ACK | FIN)
    assert net.kept[0].ended
    there, back = net.close()
    assert (there.text, back.text) == (b"abcde", b"12")
    assert there.marks == [(4, START + 4000), (6, START + 6000)]
    assert endpoints(there.direction.key) == ("10.0.0.1:40000", "10.0.0.2:8333")
    assert endpoints(back.direction.key) == ("10.0.0.2:8333", "10.0.0.1:40000")
    assert there.direction.connection == back.direction.connection == 0
    assert net.told == []


def test_parts_keep_the_number_and_time_of_their_segment() -> None:
    net = Network()
    net.open_connection()
    net.send(1003, b"def")  # 4
    net.send(1006, b"ghi")  # 5
    net.send(1000, b"abc")  # 6
    kept = net.close()[0]
    assert kept.data == [b"abc", b"def", b"ghi"]
    assert [number for number, _ in kept.marks] == [6, 4, 5]
    assert net.table.counts["out-of-order"] == 2


@pytest.mark.parametrize("start", [2**32 - 4, 2**32 - 1, 0, 2**31 - 3])
def test_sequence_numbers_wrap(start: int) -> None:
    net = Network()
    net.open_connection(start - 1)
    for place in (0, 6, 3, 9):
        net.send(start + place, b"abcdefghijkl"[place : place + 3])
    assert net.close()[0].text == b"abcdefghijkl"


def test_overlap_is_counted_once_and_the_first_bytes_count() -> None:
    net = Network()
    net.open_connection()
    net.send(1000, b"abcdef")
    net.send(1003, b"DEFghi")
    net.send(1012, b"mno")
    net.send(1011, b"LMNOP")
    net.send(1009, b"jk!")
    kept = net.close()[0]
    assert kept.text == b"abcdefghijkLmnoP"
    assert kept.differing == 3 + 3 + 1


def test_retransmission_and_keep_alive() -> None:
    net = Network()
    net.open_connection()
    net.send(1000, b"abc")
    net.send(1003, b"def")
    net.send(1000, b"abcdef")
    net.send(1003, b"def")
    net.send(1005, b"\0")  # keep-alive with a byte of garbage
    net.send(1005)
    net.send(1006, b"g")  # zero-window probe: the byte is part of the stream
    net.send(1006, b"ghi")
    kept = net.close()[0]
    assert kept.text == b"abcdefghi"
    assert (net.told, net.table.counts["retransmitted"]) == ([], 4)


def test_retransmission_with_other_bytes_is_told() -> None:
    net = Network()
    net.open_connection()
    for place in range(0, 30, 3):
        net.send(1000 + place, b"abc")
    net.send(1010, b"bcaxxabc")
    assert net.close()[0].text == b"abc" * 10
    assert net.told == [("differs", 2, 14)]


def test_frames_captured_twice() -> None:
    """A loopback or bridge shows each frame two times, also those of the handshake and the end."""
    net = Network()
    frames = [
        segment(CLIENT, SERVER, 999, 0, SYN),
        segment(SERVER, CLIENT, 4999, 1000, SYN | ACK),
        segment(CLIENT, SERVER, 1000, 5000),
        segment(CLIENT, SERVER, 1000, 5000, ACK | PSH, b"abc"),
        segment(SERVER, CLIENT, 5000, 1003, ACK | PSH, b"12"),
        segment(CLIENT, SERVER, 1003, 5002, ACK | FIN, b"de"),
        segment(SERVER, CLIENT, 5002, 1006, ACK | FIN),
        segment(CLIENT, SERVER, 1006, 5003, ACK),
    ]
    for frame in frames:
        net.frame(frame)
        net.frame(frame)
    there, back = net.close()
    assert (there.text, back.text, net.told) == (b"abcde", b"12", [])
    assert net.table.counts["connections"] == 1


# --- beginnings and ends ---------------------------------------------------------------------------------------------


def test_start_in_the_middle_of_a_connection() -> None:
    net = Network()
    net.send(1003, b"def")
    net.send(1000, b"abc")
    for _ in range(20):
        net.answer(1006)
    assert net.kept[0].text == b"abcdef"
    net.send(1006, b"ghi")
    assert net.kept[0].text == b"abcdefghi"
    assert not net.kept[0].direction.from_the_start
    net.close()


def test_start_in_the_middle_does_not_wait_for_long() -> None:
    net = Network()
    net.send(1000, b"abc")
    assert not net.kept
    net.send(1003, b"def", later=SECOND)
    assert net.kept[0].text == b"abcdef"


def test_syn_captured_after_the_data() -> None:
    net = Network()
    net.send(1003, b"def")
    net.answer(1000, 4999, flags=SYN | ACK)
    net.send(1000, b"abc")
    net.send(999, flags=SYN)
    assert net.kept[0].text == b"abcdef"
    net.close()
    assert net.table.counts["connections"] == 1


def test_ports_used_again() -> None:
    net = Network()
    net.open_connection()
    net.send(1000, b"first")
    net.open_connection(70_000_000)
    net.send(70_000_001, b"second")
    net.send(70_000_007, flags=ACK | FIN)
    net.open_connection(5)
    net.send(6, b"third")
    kept = net.close()
    assert [(k.direction.connection, k.text) for k in kept] == [(0, b"first"), (1, b"second"), (2, b"third")]


def test_ports_used_again_without_a_syn() -> None:
    net = Network()
    net.open_connection()
    net.send(1000, b"first")
    net.send(1000 - (1 << 30) - 1, b"second")
    assert [k.text for k in net.close()] == [b"first", b"second"]
    assert net.table.counts["connections"] == 2


def test_answer_with_another_number_to_the_same_syn() -> None:
    net = Network()
    net.send(999, flags=SYN)
    net.answer(1000, 4999, flags=SYN | ACK)
    net.answer(1000, 9999, flags=SYN | ACK)
    net.answer(1000, 10_000, b"abc")
    assert [k.text for k in net.close()] == [b"abc"]
    assert net.table.counts["connections"] == 1


def test_data_with_the_syn() -> None:
    net = Network()
    net.send(999, b"abc", flags=SYN)
    net.send(1003, b"def")
    assert net.close()[0].text == b"abcdef"


@pytest.mark.parametrize("flag", [FIN, RST])
def test_end_before_the_last_data(flag: int) -> None:
    net = Network()
    net.open_connection()
    net.send(1000, b"abc")
    net.send(1006, flags=flag | ACK)
    assert not net.kept[0].ended
    net.send(1003, b"def")
    assert net.kept[0].ended
    net.send(1003, b"def")
    assert net.close()[0].text == b"abcdef"
    assert net.told == []


def test_reset_with_a_wrong_number_ends_nothing() -> None:
    net = Network()
    net.open_connection()
    net.send(1000, b"abc")
    net.send(500, flags=RST)
    net.send(1003, b"no such port", flags=RST | ACK)
    assert net.kept[0].text == b"abc"
    assert net.kept[0].ended
    net.send(1003, b"def")  # somebody else sent that reset: it goes on, as another connection
    net.close()
    assert [k.text for k in net.kept] == [b"abc", b"def"]


def test_connection_with_itself() -> None:
    net = Network()
    for seq, payload, flags in ((999, b"", SYN), (1000, b"abc", ACK), (1003, b"def", ACK)):
        net.send(seq, payload, flags, source=CLIENT, target=CLIENT)
    assert net.close()[0].text == b"abcdef"


# --- lost segments ---------------------------------------------------------------------------------------------------


def test_acknowledged_hole_is_lost_after_some_frames() -> None:
    net = Network(acknowledged_frames=5)
    net.open_connection()
    net.send(1000, b"abc")
    net.send(1006, b"ghi")
    net.answer(1009)
    for _ in range(3):
        assert net.told == []
        net.answer(1009)
    net.answer(1009)
    assert net.told == [(NOT_CAPTURED, 3, 5)]
    net.send(1009, b"jkl")
    assert net.close()[0].text == b"abc???ghijkl"


def test_acknowledged_hole_is_lost_after_a_second_but_not_before() -> None:
    net = Network()
    net.open_connection()
    net.send(1003, b"def")
    net.answer(1006)
    net.answer(1006, later=SECOND // 2)
    assert net.told == []
    net.answer(1006, later=SECOND)
    assert net.told == [(NOT_CAPTURED, 3, 4)]
    net.close()


def test_hole_that_nobody_acknowledges_stays_open_for_long() -> None:
    net = Network()
    net.open_connection()
    net.send(1003, b"def")
    for _ in range(70):
        net.send(1006, b"")
    net.answer(1000, later=29 * SECOND)
    assert net.told == []
    net.answer(1000, later=SECOND)
    assert net.told == [(NOT_CAPTURED, 3, 4)]
    net.close()


def test_too_much_behind_a_hole() -> None:
    net = Network(waiting_bytes=1000, waiting_segments=50)
    net.open_connection()
    for place in range(1, 12):
        net.send(1000 + 100 * place, bytes(100))
    assert net.told == [(NOT_CAPTURED, 100, 4)]
    net = Network(waiting_bytes=1000, waiting_segments=50)
    net.open_connection()
    for place in range(1, 52):
        net.send(1000 + 2 * place, b"x")
    assert net.told == [(NOT_CAPTURED, 2, 4)]


def test_end_of_capture_tells_all_holes_and_the_missing_end() -> None:
    net = Network()
    net.open_connection()
    net.send(1003, b"def")
    net.send(1009, b"jkl")
    net.answer(1030)
    assert net.close()[0].text == b"???def???jkl" + b"?" * 18
    net = Network()
    net.open_connection()
    net.send(1000, b"abc")
    net.send(1010, flags=FIN | ACK)
    net.answer(1011)
    assert net.close()[0].text == b"abc" + b"?" * 7
    net = Network()
    net.open_connection()
    net.send(1000, b"abc")
    net.answer(1004)  # of a FIN that was not captured
    assert net.close()[0].text == b"abc"


def test_snapshot_length_makes_holes_at_once() -> None:
    net = Network()
    net.open_connection()
    whole = segment(CLIENT, SERVER, 1000, 0, ACK, bytes(100))
    net.frame(whole[:64], len(whole))
    assert net.told == [(CUT_OFF, 90, 4)]
    late = segment(CLIENT, SERVER, 1200, 0, ACK, bytes(100))
    net.frame(late[:64], len(late))
    whole = segment(CLIENT, SERVER, 1100, 0, ACK, bytes(100))
    net.frame(whole[:64], len(whole))
    assert net.told[1:] == [(CUT_OFF, 90, 6), (CUT_OFF, 90, 5)]
    assert net.close()[0].text == (bytes(10) + b"?" * 90) * 3


# --- limits ----------------------------------------------------------------------------------------------------------


def test_connections_are_dropped_when_there_are_too_many() -> None:
    net = Network(connections=16)
    for port in range(2000, 2100):
        net.send(1000, flags=SYN, source=("10.0.0.1", port))
        net.send(1001, b"abc", source=("10.0.0.1", port))
        net.send(1004, b"def", source=("10.0.0.1", 2000))
    kept = net.close()
    assert len(net.table._directions) == 0
    assert net.table.counts["connections"] == 100
    assert net.table.counts["evicted"] > 80
    assert kept[0].text == b"abcdef"  # active all the time
    assert all(k.text == b"abc" for k in kept[1:])


def test_flood_of_syns_costs_little_memory() -> None:
    tracemalloc.start()
    table = Reassembly(Kept, Limits(connections=1000))
    for number in range(1, 20_000):
        table.feed(number, number, 1, segment((f"10.1.{number >> 8 & 255}.{number & 255}", 1024), SERVER, 5, 0, SYN))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_memory_held_for_all_connections_is_bounded() -> None:
    class Hoarder(Kept):
        @property
        def held(self) -> int:
            return sum(map(len, self.data))

    kept: list[Hoarder] = []

    def open_receiver(direction: Direction) -> Hoarder:
        kept.append(Hoarder(direction))
        return kept[-1]

    table = Reassembly(open_receiver, Limits(memory=1_000_000))
    payload = bytes(1000)
    for number in range(1, 0x4001):
        port, turn = 1000 + number // 64, number % 64
        table.feed(
            number, number, 1, segment(("10.0.0.1", port), SERVER, 1000 * turn, 0, SYN if not turn else ACK, payload)
        )
    assert table.counts["evicted"] > 200
    assert sum(k.held for k in kept if not k.ended) <= 1_000_000
    assert not kept[-1].ended


def test_ended_connections_are_forgotten() -> None:
    net = Network()
    net.open_connection()
    net.send(1000, b"abc", flags=ACK | FIN)
    net.answer(1004, flags=ACK | FIN)
    net.number = 0x8000 - 1
    net.frame(b"")
    assert not net.table._directions


def test_out_of_order_delivery_is_linear() -> None:
    def seconds(count: int) -> float:
        net = Network()
        net.open_connection()
        frames = [segment(CLIENT, SERVER, 1000 + place, 0, ACK, b"x") for place in range(count)]
        begin = time.perf_counter()
        for frame in frames[1:]:
            net.frame(frame)
        net.frame(frames[0])
        assert net.close()[0].text == b"x" * count
        return time.perf_counter() - begin

    small = min(seconds(1_000) for _ in range(3))
    assert seconds(10_000) < 25 * small


# --- properties ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    start: int
    payload: bytes


@st.composite
def transmissions(draw: st.DrawFn) -> tuple[bytes, int, list[Sent], bool]:
    """The bytes of a stream, its first number, segments in the order in which they are captured, and a FIN or not."""
    rng = random.Random(draw(st.integers(0, 1 << 32)))
    data = rng.randbytes(draw(st.integers(1, 400)))
    base = draw(st.sampled_from([0, 1000, 2**32 - 50, 2**31 - 50]))
    sent: list[tuple[float, Sent]] = []
    place = 0
    window = draw(st.sampled_from([0, 3, 20]))
    loss, again = draw(st.sampled_from([0, 0.1, 0.4])), draw(st.sampled_from([0, 0.3]))
    while place < len(data):
        size = rng.choice([1, 3, 10, 40])
        begin = max(0, place - rng.choice([0, 0, 0, 2, 15]))
        item = Sent(begin, data[begin : place + size])
        if rng.random() >= loss:
            sent.append((len(sent) + rng.random() * window, item))
        if rng.random() < again:
            sent.append((len(sent) + rng.random() * (window + 5), item))
        place += size
    return data, base, [item for _, item in sorted(sent, key=lambda pair: pair[0])], draw(st.booleans())


@settings(max_examples=300, deadline=None)
@given(transmissions(), st.sampled_from([1, 50]))
def test_model(sent: tuple[bytes, int, list[Sent], bool], patience: int) -> None:
    data, base, items, fin = sent
    net = Network()
    net.open_connection(base - 1)
    for item in items:
        net.send(base + item.start, item.payload)
    if fin:
        net.send(base + len(data), flags=FIN | ACK)
    kept = net.close()
    arrived = bytearray(b"\0" * len(data))
    for item in items:
        arrived[item.start : item.start + len(item.payload)] = b"\1" * len(item.payload)
    end = len(data) if fin else arrived.rfind(b"\1") + 1
    expected = bytes(byte if there else 63 for byte, there in zip(data[:end], arrived, strict=False))
    found = next((k for k in kept if k.direction.key[8:10] == b"\x9c\x40"), None)
    assert (found.text if found else b"") == (expected if any(arrived) else b"")
    assert not [told for told in net.told if told[0] == "differs"]
    assert sum(told[1] for told in net.told) == (end - sum(arrived) if any(arrived) else 0)


@settings(max_examples=150, deadline=None)
@given(st.lists(transmissions(), min_size=1, max_size=3), st.integers(0, 1 << 32), st.sampled_from([1, 30, 10**6]))
def test_read_does_what_feed_does(many: list, seed: int, wanted: int) -> None:
    """The fast path of `read` against `feed`, several connections over IPv4 and IPv6 mixed."""
    rng = random.Random(seed)
    frames = []
    for port, (data, base, items, fin) in enumerate(many, 40000):
        client, server = (("2001:db8::1", port), ("2001:db8::2", 8333)) if port & 1 else (("10.0.0.1", port), SERVER)
        own = [segment(client, server, base - 1, 0, SYN)] if rng.random() < 0.8 else []
        for item in items:
            own.append(segment(client, server, base + item.start, 7, ACK, item.payload))
            if rng.random() < 0.5:
                own.append(segment(server, client, 7, base + item.start, ACK, rng.choice([b"", b"answer"])))
        if fin:
            own.append(segment(client, server, base + len(data), 7, ACK | FIN))
        frames.append(own)
    mixed = []
    while any(frames):
        own = rng.choice([own for own in frames if own])
        mixed.append(own.pop(0))
    slow = Network()
    slow.number = 0x3FF0  # so that a sweep falls into the middle
    fast = Network()
    fast.wanted = wanted
    buffer = b"".join(mixed)
    captured, place = [], 0
    for number, frame in enumerate(mixed, slow.number + 1):
        captured.append((number, START + number, 1, buffer, place, place + len(frame), len(frame)))
        place += len(frame)
    fast.told += list(fast.table.read(captured))
    for frame in mixed:
        slow.frame(frame)
    for net in (fast, slow):
        net.close()
    assert [k.text for k in fast.kept] == [k.text for k in slow.kept]
    assert sorted(map(str, fast.told)) == sorted(map(str, slow.told))
    counts = [{name: net.table.counts[name] for name in ("connections", "evicted")} for net in (fast, slow)]
    assert counts[0] == counts[1]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 2**32 - 1) | st.integers(990, 1100), st.integers(0, 63),
                  st.integers(900, 1200), st.binary(max_size=40)),
        max_size=40,
    )
)  # fmt: skip
def test_any_segments(steps: list) -> None:
    """No sequence of segments, however absurd, raises or is handed on twice."""
    net = Network()
    for back, seq, flags, ack, payload in steps:
        source, target = (SERVER, CLIENT) if back else (CLIENT, SERVER)
        net.frame(ethernet(ip4(source[0], target[0], tcp(source[1], target[1], seq, ack, flags, payload))))
    received = sum(len(step[4]) for step in steps)
    assert sum(len(part) for kept in net.close() for part in kept.data if isinstance(part, bytes)) <= received
