# SPDX-License-Identifier: GPL-2.0-or-later
"""pcap and pcapng in all their variants, compressed or not, whole or cut, from files and pipes."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from segments import SECOND, START, block, interface, option, packet, pcap, section

from scapy_btc.capture.bytesource import LARGEST_RECORD, ByteSource
from scapy_btc.capture.pcap import CapturedFrame, pcap_frames
from scapy_btc.capture.pcapng import pcapng_frames
from scapy_btc.errors import CaptureError, MissingDependency

FRAMES = [
    (START + n * SECOND + 123_456_000 * (n % 3), bytes([n]) * size)
    for n, size in enumerate([60, 0, 1, 1514, 3, 70_000])
]
PCAPNG = section() + interface() + b"".join(packet(time_ns // 1000, data) for time_ns, data in FRAMES)

Found = list[tuple[int, int, int, bytes, int]]


def frames(read: Callable[[ByteSource], Iterator[CapturedFrame]], data: bytes, name: str = "x") -> tuple[Found, str]:
    """What was read, and the error at the end."""
    found: Found = []
    try:
        for number, time_ns, linktype, buffer, start, end, original in read(ByteSource(io.BytesIO(data), name)):
            found.append((number, time_ns, linktype, bytes(buffer[start:end]), original))
    except CaptureError as error:
        return found, str(error)
    return found, ""


def expected(unit: int = 1, linktype: int = 1) -> Found:
    return [
        (number, time_ns // unit * unit, linktype, data, len(data)) for number, (time_ns, data) in enumerate(FRAMES, 1)
    ]


# --- pcap ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1), (0xA1B2CD34, 1000)])
@pytest.mark.parametrize("linktype", [1, 101, 276])
def test_pcap_variants(order: str, magic: int, unit: int, linktype: int) -> None:
    data = pcap(FRAMES, magic, order, linktype)
    assert frames(pcap_frames, data) == (expected(unit, linktype), "")


def test_pcap_link_type_with_the_length_of_the_check_sequence() -> None:
    data = bytearray(pcap(FRAMES[:1]))
    data[23] = 0x54
    assert frames(pcap_frames, bytes(data))[0][0][2] == 1


def test_pcap_cut_by_the_snapshot_length() -> None:
    found, error = frames(pcap_frames, pcap(FRAMES, snaplen=50))
    assert [(len(item[3]), item[4]) for item in found] == [(min(50, len(d)), len(d)) for _, d in FRAMES]
    assert error == ""


def test_pcap_every_truncation() -> None:
    data = pcap(FRAMES[:5])
    ends = [24]
    for _, frame in FRAMES[:5]:
        ends.append(ends[-1] + 16 + len(frame))
    for size in range(len(data) + 1):
        found, error = frames(pcap_frames, data[:size], "some.pcap") if size >= 4 else ([], "some.pcap: cut short")
        whole = sum(end <= size for end in ends) - 1
        assert found == expected()[: max(0, whole)]
        assert (error == "") == (size in ends)
        assert error == "" or ("some.pcap" in error and "cut short" in error)


def test_absurd_record_length_is_one_error_and_no_allocation() -> None:
    bad = struct.pack("<IIII", 1, 1, LARGEST_RECORD + 1, LARGEST_RECORD + 1)
    for data, read in (
        (pcap(FRAMES[:2]) + bad, pcap_frames),
        (section() + struct.pack("<II", 6, LARGEST_RECORD + 4), pcapng_frames),
    ):
        tracemalloc.start()
        _, error = frames(read, data + bytes(1000))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "damaged" in error and "announces" in error
        assert peak < 30_000_000  # of 256 MiB announced


# --- pcapng ----------------------------------------------------------------------------------------------------------


def test_pcapng() -> None:
    assert frames(pcapng_frames, PCAPNG) == (expected(1000), "")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "units", "time_ns"),
    [
        (b"\x06", 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (b"\x09", 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (b"\x03", 1_700_000_000_123, 1_700_000_000_123_000_000),
        (b"\x00", 1_700_000_000, 1_700_000_000_000_000_000),
        (b"\x0c", 1_700_000_000_123_456, 1_700_000_000_123),
        (b"\x8a", 1_700_000_000 << 10 | 512, 1_700_000_000_500_000_000),
        (b"\xa0", (5 << 32) + (1 << 31), 5_500_000_000),
    ],
)
def test_pcapng_resolution_and_offset_of_time(order: str, resolution: bytes, units: int, time_ns: int) -> None:
    for offset in (0, 3600, -7200):
        options = option(2, b"eth0", order) + option(9, resolution, order)
        options += option(14, struct.pack(f"{order}q", offset), order) + option(0, b"", order)
        data = section(order) + interface(options=options, order=order) + packet(units, b"frame", order=order)
        assert frames(pcapng_frames, data) == ([(1, time_ns + offset * SECOND, 1, b"frame", 5)], "")


def test_pcapng_sections_interfaces_and_all_kinds_of_blocks() -> None:
    big = random.Random(1).randbytes(300_000)
    old = block(2, struct.pack("<HHIIII", 1, 0, 0, 7_000_000, 3, 9) + b"old")
    simple = block(3, struct.pack("<I", 6) + b"simple")
    data = (
        section() + interface(1) + interface(113) + block(4, b"names") + packet(5_000_000, b"one", 1, 77)
        + block(0x0BAD, big) + old + simple + block(0x40000BAD, b"") + section(">") + interface(101, order=">")
        + packet(9_000_000, b"two", order=">") + block(5, big, ">")
    )  # fmt: skip
    assert frames(pcapng_frames, data) == (
        [
            (1, 5 * SECOND, 113, b"one", 77),
            (2, 7 * SECOND, 113, b"old", 9),
            (3, 7 * SECOND, 1, b"simple", 6),
            (4, 9 * SECOND, 101, b"two", 3),
        ],
        "",
    )


def test_pcapng_simple_packet_keeps_to_the_snapshot_length() -> None:
    data = section() + interface(snaplen=4) + block(3, struct.pack("<I", 9) + b"simp")
    assert frames(pcapng_frames, data) == ([(1, 0, 1, b"simp", 9)], "")


def test_pcapng_every_truncation() -> None:
    data = section() + interface() + block(0x0BAD, bytes(20)) + packet(1, b"abcde") + packet(2, b"fg") + block(5, b"")
    whole, _ = frames(pcapng_frames, data)
    assert len(whole) == 2
    starts = [0, 28, 48, 80, 120, 156, len(data)]
    for size in range(len(data) + 1):
        found, error = frames(pcapng_frames, data[:size], "some.pcapng")
        assert found == whole[: (size >= 120) + (size >= 156)]
        assert (error == "") == (size in starts)
        assert error == "" or ("some.pcapng" in error and "cut short" in error)


@pytest.mark.parametrize(
    "data",
    [
        section() + packet(1, b"no interface"),
        section() + interface() + packet(1, b"abc", number=1),
        section() + block(3, struct.pack("<I", 3) + b"abc"),
        section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 500, 500) + b"abc"),
        section() + struct.pack("<II", 6, 31) + bytes(40),
        section() + struct.pack("<II", 77, 8) + bytes(40),
        b"\x0a\x0d\x0d\x0a\x1c\0\0\0abcd" + bytes(40),
    ],
)
def test_pcapng_that_contradicts_itself(data: bytes) -> None:
    found, error = frames(pcapng_frames, data)
    assert found == [] and "damaged" in error


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_end_in_one_error(data: st.DataObject) -> None:
    read, whole = data.draw(st.sampled_from([(pcap_frames, pcap(FRAMES[:5])), (pcapng_frames, PCAPNG[:2000])]))
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    found, error = frames(read, bytes(damaged))
    assert len(found) <= len(damaged) // 12
    assert error == "" or error.startswith("x: ")


# --- compressed ------------------------------------------------------------------------------------------------------


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(PCAPNG),
        gzip.compress(PCAPNG[:1000]) + gzip.compress(PCAPNG[1000:]),
        gzip.compress(PCAPNG[:1000]) + bytes(512) + gzip.compress(PCAPNG[1000:]) + bytes(512),
        zstd(PCAPNG),
        zstd(PCAPNG[:1000]) + zstd(PCAPNG[1000:]),
        gzip.compress(zstd(PCAPNG)),
        zstd(gzip.compress(PCAPNG)),
    ],
)
def test_compressed(packed: bytes) -> None:
    assert frames(pcapng_frames, packed) == (expected(1000), "")


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_compressed_every_truncation(pack: Callable[[bytes], bytes]) -> None:
    data = pcap([*FRAMES[:5], (START, random.Random(2).randbytes(400))])
    whole, _ = frames(pcap_frames, data)
    packed = pack(data)
    for size in range(5, len(packed)):
        try:
            found, error = frames(pcap_frames, packed[:size])
        except CaptureError as exc:  # not even the file header
            found, error = [], str(exc)
        assert found == whole[: len(found)]
        assert "cut short" in error


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_damaged_compression(pack: Callable[[bytes], bytes]) -> None:
    packed = bytearray(pack(pcap([(START, random.Random(n).randbytes(1000)) for n in range(500)])))
    packed[len(packed) // 2] ^= 0xFF
    packed[-6] ^= 0xFF
    assert "damaged" in frames(pcap_frames, bytes(packed))[1]


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_bombs_need_little_memory(kind: str) -> None:
    size = 48 << 20

    def bomb() -> bytes:
        squeezer = zlib.compressobj(9, wbits=31)
        data = pcap([]) + struct.pack("<IIII", 1, 1, 1 << 20, 1 << 20) + bytes(1 << 20)
        data += (struct.pack("<IIII", 1, 1, 1 << 20, 1 << 20) + bytes(1 << 20)) * (size >> 20)
        return zstd(data) if kind == "zstd" else squeezer.compress(data) + squeezer.flush()

    packed = bomb()
    assert len(packed) < 100_000
    tracemalloc.start()
    count = sum(1 for _ in pcap_frames(ByteSource(io.BytesIO(packed), "bomb")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == (size >> 20) + 1
    assert peak < 45 << 20


def test_zstd_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependency, match="pip install zstandard"):
        ByteSource(io.BytesIO(zstd(PCAPNG)), "x.zst")


# --- pipes and odd files ---------------------------------------------------------------------------------------------


def test_pipe_gives_frames_as_they_come() -> None:
    """A frame that was written must not wait for the next ones."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as out:
        data = pcap(FRAMES[:2])
        out.write(data)
        found = pcap_frames(ByteSource(file, "pipe"))
        assert next(found)[0] == 1
        assert next(found)[0] == 2
        timer = threading.Timer(0.05, lambda: (out.write(pcap(FRAMES[2:3])[24:]), out.close()))
        timer.start()
        assert [item[0] for item in found] == [3]
        timer.join()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=50), st.sampled_from([pcap(FRAMES[:5]), PCAPNG]))
def test_reads_of_any_size(sizes: list[int], data: bytes) -> None:
    class Dribble(io.BytesIO):
        turn = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.turn += 1
            return super().read(sizes[self.turn % len(sizes)])

        read1 = read

    read = pcapng_frames if data is PCAPNG else pcap_frames
    found = [(item[0], item[3][item[4] : item[5]]) for item in read(ByteSource(Dribble(data), "x"))]
    assert found == [(number, frame) for number, (_, frame) in enumerate(FRAMES[: len(found)], 1)]
    assert len(found) == (6 if data is PCAPNG else 5)


def test_failing_reads_are_capture_errors() -> None:
    class Failing(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 200:
                raise OSError(5, "Input/output error")
            return super().read1(100)

    found = pcap_frames(ByteSource(Failing(pcap(FRAMES)), "disk"))
    with pytest.raises(CaptureError, match="disk: reading failed: Input/output error"):
        for _ in found:
            pass
