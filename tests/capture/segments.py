# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames and capture files made by hand with struct, for the tests of this folder."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from hashlib import sha256

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MAGIC = bytes.fromhex("f9beb4d9")
REGTEST = bytes.fromhex("fabfb5da")
CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 8333)
SECOND = 10**9
START = 1_700_000_000 * SECOND

Endpoint = tuple[str, int]


def message(command: bytes, payload: bytes = b"", magic: bytes = MAGIC) -> bytes:
    check = sha256(sha256(payload).digest()).digest()[:4]
    return magic + command.ljust(12, b"\0") + struct.pack("<I", len(payload)) + check + payload


def version() -> bytes:
    return message(b"version", struct.pack("<iQq", 70016, 9, 1700000000) + bytes(60) + b"\0" + bytes(5))


def tcp(source: int, target: int, seq: int, ack: int, flags: int, payload: bytes = b"", options: bytes = b"") -> bytes:
    offset = (20 + len(options)) << 2
    return (
        struct.pack(">HHIIBBHHH", source, target, seq % 2**32, ack % 2**32, offset, flags, 8192, 0, 0)
        + options
        + payload
    )


def ip4(source: str, target: str, body: bytes, options: bytes = b"", total: int | None = None, fragment: int = 0,
        ident: int = 7, protocol: int = 6) -> bytes:  # fmt: skip
    size = 20 + len(options)
    total = size + len(body) if total is None else total
    head = struct.pack(">BBHHHBBH", 0x40 | size >> 2, 0, total, ident, fragment, 64, protocol, 0)
    return head + socket.inet_aton(source) + socket.inet_aton(target) + options + body


def ip6(source: str, target: str, body: bytes, following: int = 6, size: int | None = None) -> bytes:
    head = struct.pack(">IHBB", 0x60000000, len(body) if size is None else size, following, 64)
    return head + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target) + body


def ethernet(packet: bytes, kind: int = 0x0800) -> bytes:
    return b"\2\0\0\0\0\1\2\0\0\0\0\2" + struct.pack(">H", kind) + packet


def segment(
    source: Endpoint, target: Endpoint, seq: int, ack: int = 0, flags: int = ACK, payload: bytes = b""
) -> bytes:
    """An Ethernet frame with a TCP segment."""
    body = tcp(source[1], target[1], seq, ack, flags, payload)
    if ":" in source[0]:
        return ethernet(ip6(source[0], target[0], body), 0x86DD)
    return ethernet(ip4(source[0], target[0], body))


def pcap(frames: Iterable[tuple[int, bytes]], magic: int = 0xA1B23C4D, order: str = "<", linktype: int = 1,
         snaplen: int = 0) -> bytes:  # fmt: skip
    """A capture file of (nanoseconds, frame)."""
    unit = 1 if magic == 0xA1B23C4D else 1000
    out = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snaplen, linktype)]
    for time_ns, data in frames:
        kept = data[:snaplen] if snaplen else data
        extra = struct.pack(f"{order}IHBB", 1, 8, 0, 0) if magic == 0xA1B2CD34 else b""
        out.append(struct.pack(f"{order}IIII", time_ns // SECOND, time_ns % SECOND // unit, len(kept), len(data)))
        out.append(extra + kept)
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    size = 12 + len(body) + -len(body) % 4
    return struct.pack(f"{order}II", kind, size) + body + bytes(-len(body) % 4) + struct.pack(f"{order}I", size)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(linktype: int = 1, snaplen: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    return block(1, struct.pack(f"{order}HHI", linktype, 0, snaplen) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def packet(units: int, data: bytes, number: int = 0, original: int | None = None, order: str = "<") -> bytes:
    """An enhanced packet block; time in units of its interface."""
    head = struct.pack(f"{order}IIIII", number, units >> 32, units & 0xFFFFFFFF, len(data), original or len(data))
    return block(6, head + data, order)
