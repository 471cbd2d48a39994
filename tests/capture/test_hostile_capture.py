# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures made to cost much: work stays linear, memory bounded."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from segments import ACK, CLIENT, MAGIC, SERVER, START, SYN, segment, version

from scapy_btc.capture.fragments import MAX_DATAGRAM, MAX_DATAGRAMS, MAX_FRAGMENTS, Fragments
from scapy_btc.capture.reader import read
from scapy_btc.capture.streams import StreamTable
from scapy_btc.errors import CaptureError

SECTION = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
INTERFACE = struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def test_retransmissions_after_many_small_segments_cost_little() -> None:
    start = version() + MAGIC + b"tx".ljust(12, b"\0") + struct.pack("<I", 4_000_000) + b"abcd"
    frames = [segment(CLIENT, SERVER, 99, 0, SYN), segment(CLIENT, SERVER, 100, 0, ACK, start)]
    at = 100 + len(start)
    frames += [segment(CLIENT, SERVER, at + place, 0, ACK, b"a") for place in range(30_000)]
    frames += [segment(CLIENT, SERVER, at, 0, ACK, b"b")] * 3_000
    captured = [(number, START, 1, frame, 0, len(frame), len(frame)) for number, frame in enumerate(frames, 1)]
    assert seconds(lambda: list(StreamTable().read(captured))) < 5


def test_block_file_full_of_magics_is_linear() -> None:
    fakes = struct.pack("<4sI", MAGIC, 30_000_000) * 100_000
    data = struct.pack("<4sI", MAGIC, 100) + bytes(100) + fakes

    def whole() -> None:
        with pytest.raises(CaptureError), read(io.BytesIO(data)) as reader:
            list(reader)

    assert seconds(whole) < 10


def test_interfaces_without_end() -> None:
    with pytest.raises(CaptureError, match="more than 65,536 interfaces"), read(
        io.BytesIO(SECTION + INTERFACE * 70_000)
    ) as reader:
        list(reader)


def test_fragments_that_overlap_are_not_gathered() -> None:
    fragments = Fragments()
    piece = bytes(1400)
    for number in range(10_000):
        assert fragments.add((b"k", 1), number % 5_000 * 8, True, piece) is None
    held = [sum(map(len, datagram.pieces.values())) for datagram in fragments._waiting.values()]
    assert len(held) <= 1 and sum(held) <= MAX_DATAGRAM


def test_tiny_fragments_are_bounded_in_number() -> None:
    fragments = Fragments()
    for ident in range(MAX_DATAGRAMS):
        for offset in range(0, 1600, 8):
            fragments.add((b"k", ident), offset, True, b"12345678")
    assert sum(len(datagram.pieces) for datagram in fragments._waiting.values()) <= MAX_FRAGMENTS
    assert fragments.add((b"new", 1), 8, False, b"b") is None
    assert fragments.add((b"new", 1), 0, True, b"a" * 8) == b"a" * 8 + b"b"


def test_directory_in_the_place_of_a_block_file(tmp_path: Path) -> None:
    (tmp_path / "blk00000.dat").mkdir()
    with pytest.raises(CaptureError, match="Is a directory"), read(tmp_path) as reader:
        list(reader)


def test_records_that_are_too_long_are_not_held() -> None:
    size = 20_000_000
    packet = struct.pack("<IIIIIII", 6, size + 32, 0, 0, 0, size, size)
    pcap = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + struct.pack("<IIII", 0, 0, size, size)
    for head in (SECTION + INTERFACE + packet, pcap):
        with pytest.raises(CaptureError, match="announces 20,000,0"), read(io.BytesIO(head + bytes(size))) as reader:
            list(reader)


def test_long_blocks_that_are_not_for_us_are_passed_over() -> None:
    size = 20_000_000
    block = struct.pack("<II", 0x0BAD, size) + bytes(size - 12) + struct.pack("<I", size)
    with read(io.BytesIO(SECTION + block + INTERFACE)) as reader:
        assert list(reader) == []
