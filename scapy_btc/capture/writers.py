# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages to pcap and pcapng: each connection as a TCP stream that other tools and this reader can follow.

Frames are raw IP (no link addresses are made up) with times in nanoseconds. A connection begins with a handshake at
the time of its first message; a message is sent in segments of at most 1,460 bytes (1,440 over IPv6) at its own time
and acknowledged. Its envelope is the one that was captured, faults included; what came through v2 or from a log gets
the envelope of v1. Ends that have no IP address get a stand-in: 198.18.0.1 and up (set aside by RFC 2544) if the
other end is IPv4, else 2001:db8::1 and up (RFC 3849), in the order in which they occur.
"""

from __future__ import annotations

import os
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from types import TracebackType
from typing import BinaryIO

from ..networks import MAINNET, by_port
from .message import Message

_RAW_IP = 101
_SNAPLEN = 262_144
_STAND_IN_4 = int(IPv4Address("198.18.0.0"))
_STAND_INS_4 = (1 << 17) - 2
_STAND_IN_6 = int(IPv6Address("2001:db8::"))
_FIRST_NUMBER = 1_000_003  # a prime: initial sequence numbers are multiples of it, far apart

_SYN, _PSH, _ACK = 0x02, 0x08, 0x10
_HANDSHAKE_OPTIONS = b"\x02\x04\x05\xb4\x01\x03\x03\x0e"  # largest segment 1460, window in units of 16 KiB

_pcap_header = Struct("<IIII").pack
_block_head = Struct("<IIIIIII").pack
_tcp = Struct(">HHIIBBHHH").pack
_ipv4 = Struct(">BBHHHBBH4s4s").pack
_ipv6 = Struct(">IHBB16s16s").pack


def open_writer(target: str | os.PathLike[str] | BinaryIO, pcapng: bool | None = None) -> CaptureWriter:
    """A writer of messages; use it as a context manager.

    :param target: a path ("-" is standard output) or a binary file object, which is left open
    :param pcapng: the format; without it pcapng where the name ends so, else pcap
    """
    if not isinstance(target, (str, os.PathLike)):
        return CaptureWriter(target, bool(pcapng), owned=False)
    if target == "-":
        return CaptureWriter(sys.stdout.buffer, bool(pcapng), owned=False)
    named = os.fspath(target).lower().endswith(".pcapng")
    return CaptureWriter(open(target, "wb"), named if pcapng is None else pcapng, owned=True)


class CaptureWriter:
    """Writes messages as they come; what was written stays, also when the program is interrupted."""

    def __init__(self, file: BinaryIO, pcapng: bool, owned: bool) -> None:
        self._file = file
        self._owned = owned
        self._record = _pcapng_block if pcapng else _pcap_record
        self._streams: dict[frozenset[str], _Stream] = {}
        self._opened = 0
        self._stand_ins: dict[str, int] = {}
        file.write(_PCAPNG_START if pcapng else _PCAP_START)

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write out what is buffered, and close the file if it was opened here."""
        if self._owned:
            self._file.close()
        else:
            self._file.flush()

    def write(self, message: Message) -> None:
        """Append a message."""
        ends = frozenset((message.source, message.destination))
        stream = self._streams.get(ends)
        frames: list[bytes] = []
        if stream is None or stream.connection != message.connection:
            stream = self._streams[ends] = self._connect(message)
            frames += stream.handshake()
        frames += stream.message(message.source, message.frame_bytes)
        record = self._record
        self._file.write(b"".join([record(message.time_ns, frame) for frame in frames]))
        if not self._owned:
            self._file.flush()

    def _connect(self, message: Message) -> _Stream:
        """Begin a connection. The client is the end that does not listen, or else the one that speaks first."""
        self._opened += 1
        client, server = message.source, message.destination
        port = (message.network or MAINNET).port
        addresses = dict(zip((client, server), self._addresses((client, server), port), strict=True))
        if by_port(addresses[client][1]) and not by_port(addresses[server][1]):
            client, server = server, client
        first = self._opened * 2 * _FIRST_NUMBER
        return _Stream(message.connection, client, server, addresses, first, first + _FIRST_NUMBER)

    def _addresses(self, ends: tuple[str, str], port: int) -> list[tuple[bytes, int]]:
        """Packed address and port of both ends, in the same family."""
        parsed = [_parse(end) for end in ends]
        known = [address for address, _ in parsed if address]
        four = bool(known) and all(isinstance(address, IPv4Address) for address in known)
        out = []
        for end, (address, own_port) in zip(ends, parsed, strict=True):
            if address is None:
                host = end if own_port is None else end.rpartition(":")[0]
                number = self._stand_ins.setdefault(host, len(self._stand_ins))
                packed = (
                    (_STAND_IN_4 + 1 + number % _STAND_INS_4).to_bytes(4, "big")
                    if four
                    else (_STAND_IN_6 + 1 + number).to_bytes(16, "big")
                )
            elif isinstance(address, IPv4Address) and not four:
                packed = bytes(10) + b"\xff\xff" + address.packed
            else:
                packed = address.packed
            out.append((packed, port if own_port is None else own_port))
        return out


class _Stream:
    """One connection: who talks to whom, and the next sequence number of each."""

    def __init__(
        self, connection: int, client: str, server: str, addresses: dict[str, tuple[bytes, int]], *numbers: int
    ) -> None:
        self.connection = connection
        self._client, self._server = client, server
        self._addresses = addresses
        self._next = dict(zip((client, server), numbers, strict=True))
        self._largest = 1460 if len(addresses[client][0]) == 4 else 1440

    def handshake(self) -> list[bytes]:
        """The three packets that open the connection."""
        client, server = self._client, self._server
        return [
            self._packet(client, server, _SYN, options=_HANDSHAKE_OPTIONS),
            self._packet(server, client, _SYN | _ACK, options=_HANDSHAKE_OPTIONS),
            self._packet(client, server, _ACK),
        ]

    def message(self, source: str, data: bytes) -> list[bytes]:
        """The packets of a message, and the one that acknowledges it."""
        destination = self._server if source == self._client else self._client
        packets = []
        for start in range(0, len(data), self._largest):
            part = data[start : start + self._largest]
            last = start + len(part) == len(data)
            packets.append(self._packet(source, destination, _ACK | (_PSH if last else 0), part))
        packets.append(self._packet(destination, source, _ACK))
        return packets

    def _packet(self, source: str, destination: str, flags: int, payload: bytes = b"", options: bytes = b"") -> bytes:
        (host, port), (to_host, to_port) = self._addresses[source], self._addresses[destination]
        number = self._next[source] & 0xFFFFFFFF
        self._next[source] += len(payload) + bool(flags & _SYN)
        heard = self._next[destination] & 0xFFFFFFFF if flags & _ACK else 0
        offset = (20 + len(options)) << 2
        size = 20 + len(options) + len(payload)
        pseudo = host + to_host + size.to_bytes(4, "big") + b"\0\0\0\x06"
        tcp = _tcp(port, to_port, number, heard, offset, flags, 0xFFFF, 0, 0) + options
        total = _internet_checksum(pseudo + tcp + payload)
        tcp = tcp[:16] + total.to_bytes(2, "big") + tcp[18:]
        if len(host) == 16:
            return _ipv6(0x60000000, size, 6, 64, host, to_host) + tcp + payload
        ip = _ipv4(0x45, 0, 20 + size, 0, 0x4000, 64, 6, 0, host, to_host)
        return ip[:10] + _internet_checksum(ip).to_bytes(2, "big") + ip[12:] + tcp + payload


def _parse(end: str) -> tuple[IPv4Address | IPv6Address | None, int | None]:
    """Address, if it is one, and port, if there is one, of "1.2.3.4:8333", "[::1]:8333", "xyz.onion:8333", "node"."""
    host, colon, port = end.rpartition(":")
    number = int(port) if colon and port.isdecimal() and int(port) <= 0xFFFF else None
    try:
        return ip_address(host.strip("[]") if number is not None else end), number
    except ValueError:
        return None, number


def _internet_checksum(data: bytes) -> int:
    """RFC 1071, over data padded to an even length."""
    value = int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big") % 0xFFFF
    return 0xFFFF - (value or 0xFFFF)


_INTERFACE = _RAW_IP.to_bytes(4, "little") + _SNAPLEN.to_bytes(4, "little")
_PCAP_START = _pcap_header(0xA1B23C4D, 0x00040002, 0, 0) + _INTERFACE[4:] + _INTERFACE[:4]
_NANOSECONDS = b"\x09\0\x01\0\x09\0\0\0" + bytes(4)  # if_tsresol, end of options
_PCAPNG_START = (
    b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0" + b"\xff" * 8 + b"\x1c\0\0\0"
    b"\x01\0\0\0\x20\0\0\0" + _INTERFACE + _NANOSECONDS + b"\x20\0\0\0"
)


def _pcap_record(time_ns: int, frame: bytes) -> bytes:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return _pcap_header(seconds & 0xFFFFFFFF, rest, len(frame), len(frame)) + frame


def _pcapng_block(time_ns: int, frame: bytes) -> bytes:
    size = len(frame)
    padded = frame + bytes(-size % 4)
    total = 32 + len(padded)
    head = _block_head(6, total, 0, time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF, size, size)
    return head + padded + total.to_bytes(4, "little")
