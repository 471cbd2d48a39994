# SPDX-License-Identifier: GPL-2.0-or-later
"""Just enough of pcap, TCP and the Bitcoin envelope to make and to count the files of this folder.

It shares no code with the package, so that its counts are a second opinion. It reads clean captures of TCP over
Ethernet or raw IP only, and raises on anything else.
"""

from __future__ import annotations

import gzip
import hashlib
import ipaddress
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

MAGIC = bytes.fromhex("fabfb5da")
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

Endpoint = tuple[str, int]


class Frame(NamedTuple):
    """One record of a capture: nanoseconds since 1970 and the bytes on the wire."""

    time_ns: int
    data: bytes


class Segment(NamedTuple):
    """The TCP segment in a frame."""

    source: Endpoint
    destination: Endpoint
    sequence: int
    acknowledged: int
    flags: int
    payload: bytes


class Message(NamedTuple):
    """A whole message and its place in the bytes of one direction of a connection."""

    msgtype: str
    start: int
    end: int
    raw: bytes

    @property
    def checksum_ok(self) -> bool:
        return hashlib.sha256(hashlib.sha256(self.raw[24:]).digest()).digest()[:4] == self.raw[20:24]


def read(path: Path) -> list[Frame]:
    """All frames of a pcap or pcapng of little-endian byte order, compressed or not; a cut last record is left out."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return _read_pcapng(data) if data[:4] == b"\x0a\x0d\x0d\x0a" else _read_pcap(data)


def write(path: Path, frames: Iterable[Frame]) -> None:
    """A pcap with nanoseconds, compressed when the name ends with .gz; the same frames give the same bytes."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)]
    for frame in frames:
        seconds, nanoseconds = divmod(frame.time_ns, 10**9)
        parts.append(struct.pack("<IIII", seconds, nanoseconds, len(frame.data), len(frame.data)) + frame.data)
    data = b"".join(parts)
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)


def parse(frame: bytes) -> Segment:
    """The TCP segment of an Ethernet or raw IP frame; on loopback an Ethernet frame begins with zeros."""
    if frame[0] >> 4 in (4, 6):
        frame = bytes(12) + (b"\x08\x00" if frame[0] >> 4 == 4 else b"\x86\xdd") + frame
    kind = int.from_bytes(frame[12:14], "big")
    if kind == 0x0800:
        start = 14 + (frame[14] & 15) * 4
        end = 14 + int.from_bytes(frame[16:18], "big")
        protocol, addresses = frame[23], (frame[26:30], frame[30:34])
    elif kind == 0x86DD:
        start, end = 54, 54 + int.from_bytes(frame[18:20], "big")
        protocol, addresses = frame[20], (frame[22:38], frame[38:54])
    else:
        raise ValueError(f"not IP: {kind:#06x}")
    if protocol != 6:
        raise ValueError(f"not TCP: {protocol}")
    source, destination, sequence, acknowledged, offset, flags = struct.unpack_from(">HHIIBB", frame, start)
    sender, receiver = (str(ipaddress.ip_address(address)) for address in addresses)
    payload = frame[start + (offset >> 4) * 4 : end]
    return Segment((sender, source), (receiver, destination), sequence, acknowledged, flags, payload)


def build(segment: Segment) -> bytes:
    """An Ethernet frame for a segment, with right checksums."""
    sender, receiver = (ipaddress.ip_address(host) for host, _ in (segment.source, segment.destination))
    ports = segment.source[1], segment.destination[1]
    tcp = struct.pack(">HHIIBBHHH", *ports, segment.sequence, segment.acknowledged, 0x50, segment.flags, 65535, 0, 0)
    size = len(tcp) + len(segment.payload)
    pseudo = sender.packed + receiver.packed + struct.pack(">II", size, 6)
    tcp = tcp[:16] + _internet_checksum(pseudo + tcp + segment.payload) + tcp[18:]
    if sender.version == 4:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, 6, 0) + sender.packed + receiver.packed
        ip = ip[:10] + _internet_checksum(ip) + ip[12:]
    else:
        ip = struct.pack(">IHBB", 6 << 28, size, 6, 64) + sender.packed + receiver.packed
    return bytes(12) + (b"\x08\x00" if sender.version == 4 else b"\x86\xdd") + ip + tcp + segment.payload


def streams(segments: Iterable[Segment]) -> dict[tuple[Endpoint, Endpoint], bytes]:
    """The bytes of each direction, for captures where nothing is lost and every connection starts with a SYN."""
    start: dict[tuple[Endpoint, Endpoint], int] = {}
    held: dict[tuple[Endpoint, Endpoint], bytearray] = {}
    for segment in segments:
        way = segment.source, segment.destination
        if segment.flags & SYN:
            start[way] = segment.sequence + 1
            held[way] = bytearray()
        elif segment.payload:
            at = (segment.sequence - start[way]) % 2**32
            if at > len(held[way]):
                raise ValueError(f"bytes are lost between {way[0]} and {way[1]}")
            held[way][at : at + len(segment.payload)] = segment.payload
    return {way: bytes(data) for way, data in held.items()}


def messages(data: bytes) -> list[Message]:
    """Cut a direction's bytes at the headers; raises if they do not follow each other to the end."""
    found = []
    position = 0
    while position < len(data):
        if data[position : position + 4] != MAGIC:
            raise ValueError(f"no header at {position}")
        end = position + 24 + int.from_bytes(data[position + 16 : position + 20], "little")
        if end > len(data):
            raise ValueError(f"the message at {position} is not whole")
        name = data[position + 4 : position + 16].rstrip(b"\0").decode("ascii")
        found.append(Message(name, position, end, data[position:end]))
        position = end
    return found


def totals(found: Iterable[tuple[Endpoint, Endpoint, Message]]) -> dict[str, Any]:
    """What index.toml says of messages: how many, of which types, how large, and a digest over all of them."""
    types: Counter[str] = Counter()
    payload_bytes = bad = 0
    lines = []
    for source, destination, message in found:
        types[message.msgtype] += 1
        payload_bytes += len(message.raw) - 24
        bad += not message.checksum_ok
        lines.append(digest_line(source, destination, message.msgtype, message.raw[24:]))
    return {
        "messages": len(lines),
        "payload_bytes": payload_bytes,
        "bad_checksums": bad,
        "digest": digest(lines),
        "types": dict(sorted(types.items())),
    }


def digest_line(source: Endpoint, destination: Endpoint, msgtype: str, payload: bytes) -> str:
    """One message in the digest: endpoints, type and the SHA-256 of its payload."""
    ends = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in (source, destination))
    return " ".join((*ends, msgtype, hashlib.sha256(payload).hexdigest()))


def digest(lines: Iterable[str]) -> str:
    """SHA-256 over the sorted lines: the same for every order in which a reader may list the messages."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _internet_checksum(data: bytes) -> bytes:
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def _read_pcap(data: bytes) -> list[Frame]:
    magic, link = struct.unpack_from("<I16xI", data)
    if magic not in (0xA1B23C4D, 0xA1B2C3D4) or link != 1:
        raise ValueError("not a little-endian Ethernet pcap")
    unit = 1 if magic == 0xA1B23C4D else 1000
    frames = []
    position = 24
    while position + 16 <= len(data):
        seconds, fraction, size = struct.unpack_from("<III", data, position)
        if position + 16 + size > len(data):
            break
        frames.append(Frame(seconds * 10**9 + fraction * unit, data[position + 16 : position + 16 + size]))
        position += 16 + size
    return frames


def _read_pcapng(data: bytes) -> list[Frame]:
    frames = []
    position = 0
    while position < len(data):
        kind, size = struct.unpack_from("<II", data, position)
        if kind == 1 and struct.unpack_from("<HHB", data, position + 16) != (9, 1, 9):  # the only option we write
            raise ValueError("not a capture in nanoseconds")
        if kind == 6:
            high, low, captured = struct.unpack_from("<III", data, position + 12)
            frames.append(Frame((high << 32) + low, data[position + 28 : position + 28 + captured]))
        position += size
    return frames
