# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages to a capture: every connection becomes a TCP stream that Wireshark and our own reader take apart again.

What is written is the v1 form of a message (`Message.frame_bytes`), so messages of logs, block files and decrypted
v2 connections become readable for every tool. Frames are raw IP (LINKTYPE_RAW) with right checksums: a handshake in
the microseconds before a connection's first message, the messages at their own time, the end when the file is closed.
"""

from __future__ import annotations

import gzip
import os
import sys
import time
from collections import OrderedDict
from ipaddress import ip_address
from itertools import count
from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct
from types import TracebackType
from typing import Any, BinaryIO

from ..errors import CaptureError
from ..networks import MAINNET
from .link import ACK, FIN, SYN
from .message import Message

LINKTYPE_RAW = 101
SEGMENT = 44 * 1460
"""Payload bytes of a TCP segment at most, as an interface with segmentation offload has them."""
CONNECTIONS = 16_384
"""Streams open at a time; beyond it the one that was silent for the longest time is ended."""
GZIP_FLUSH = 1.0
"""Seconds between two flushes of a compressed file: each costs some bytes."""

_PUSH = 0x08
# segments of SEGMENT bytes; windows of up to 1 GiB, since much is sent before the other end says anything again
_OPTIONS = b"\x02\x04" + SEGMENT.to_bytes(2, "big") + b"\x03\x03\x0e\0"
_SNAPLEN = 262_144

Endpoint = tuple[bytes, int]
"""IP address (4 or 16 bytes) and port."""

_ipv4 = Struct(">BBHHHBBH8s").pack
_ipv6 = Struct(">IHBB32s").pack
_tcp = Struct(">HHIIBBHHH").pack
_pseudo = Struct(">xBH").pack


def open_writer(target: str | os.PathLike[str] | BinaryIO, live: bool = False) -> CaptureWriter:
    """A context manager whose `write` takes messages.

    :param target: a path, or a binary file, which is left open. "-" is standard output; a name that ends in ".pcap"
        makes a pcap (with nanoseconds), everything else is pcapng; with ".gz" at the end it is compressed
    :param live: of what is said now: each message is in the file at once, for whoever looks into it and for the case
        that nobody closes it; in a compressed one what was written up to a second before the last. Standard output
        and open files have it always

    Raises CaptureError when the file cannot be made.
    """
    if not isinstance(target, (str, os.PathLike)):
        return CaptureWriter(target, PcapngFormat(), live=True, owned=False)
    name = os.fspath(target)
    if name == "-":
        return CaptureWriter(sys.stdout.buffer, PcapngFormat(), live=True, owned=False)
    file: Any
    try:
        file = gzip.open(name, "wb", 6) if name.endswith(".gz") else open(name, "wb", buffering=1 << 18)  # noqa: SIM115
    except OSError as error:
        raise CaptureError(f"{name}: cannot be written: {error.strerror or error}") from error
    capture = PcapFormat() if name.removesuffix(".gz").endswith(".pcap") else PcapngFormat()
    return CaptureWriter(file, capture, live, flush_every=GZIP_FLUSH if name.endswith(".gz") else 0.0)


class PcapFormat:
    """pcap, little-endian, with nanoseconds."""

    def __init__(self) -> None:
        self.header = Struct("<IHHiIII").pack(0xA1B23C4D, 2, 4, 0, 0, _SNAPLEN, LINKTYPE_RAW)
        self._record = Struct("<IIII").pack

    def frame(self, time_ns: int, data: bytes) -> bytes:
        """The record of a frame; its time is 1970 at the earliest and 2106 at the latest."""
        seconds, fraction = divmod(min(max(time_ns, 0), 0xFFFFFFFF * 1_000_000_000), 1_000_000_000)
        return self._record(seconds, fraction, len(data), len(data)) + data


class PcapngFormat:
    """pcapng, little-endian: one section with one interface that counts nanoseconds."""

    def __init__(self) -> None:
        section = Struct("<IIIHHqI").pack(0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
        interface = Struct("<IIHHIHHB3xHHI").pack(1, 32, LINKTYPE_RAW, 0, _SNAPLEN, 9, 1, 9, 0, 0, 32)
        self.header = section + interface
        self._packet = Struct("<IIIIIII").pack
        self._size = Struct("<I").pack

    def frame(self, time_ns: int, data: bytes) -> bytes:
        """The enhanced packet block of a frame; its time is 1970 at the earliest."""
        time_ns = min(max(time_ns, 0), (1 << 64) - 1)
        padding = -len(data) % 4
        size = 32 + len(data) + padding
        head = self._packet(6, size, 0, time_ns >> 32, time_ns & 0xFFFFFFFF, len(data), len(data))
        return b"".join((head, data, bytes(padding), self._size(size)))


class CaptureWriter:
    """Writes messages as TCP streams. Closing it ends the streams.

    Ports may be used again: a connection with another number (`Message.connection`) between the same endpoints ends
    the stream before it and begins one with a handshake and sequence numbers of its own, so sources may follow each
    other in one file. With the same number, too, the stream goes on.

    Endpoints that are no IP addresses ("node", Tor and I2P names, names of block files) get stand-ins in the order in
    which they appear: 240.0.0.1, 240.0.0.2 and so on (reserved, RFC 1112), or 100::1 and so on (for nothing, RFC
    6666) where the other end has IPv6; at the port of the network if they name none.

    :param live: hand on each message at once
    :param owned: close the file at the end
    :param flush_every: seconds between two times that the file is told to hand on what it has
    """

    def __init__(self, file: BinaryIO, capture: PcapFormat | PcapngFormat, live: bool = False, owned: bool = True,
                 flush_every: float = 0.0) -> None:
        self._file = file
        self._format = capture
        self._live, self._owned = live, owned
        self._flush_every, self._flushed = flush_every, float("-inf")
        self._stand_ins: dict[str, int] = {}
        self._streams: OrderedDict[tuple[str, str], _Stream] = OrderedDict()
        self._numbers = count(1)
        self._latest = 0
        file.write(capture.header)
        if live:
            file.flush()  # a capture without messages is one, too

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, message: Message) -> None:
        """Write a message, at the end of its connection's stream; not one that a proxy dropped."""
        if message.fate == "dropped":
            return
        source, destination, time_ns = message.source, message.destination, message.time_ns
        ends = (source, destination) if source <= destination else (destination, source)
        stream = self._streams.get(ends)
        if stream is None or stream.connection != message.connection:
            if stream:
                self._put(time_ns, stream.end())
            elif len(self._streams) >= CONNECTIONS:
                self._put(time_ns, self._streams.popitem(last=False)[1].end())
            stream = self._streams[ends] = self._opened(message)
            for before, frame in zip((3000, 2000, 1000), stream.begin(), strict=True):
                self._put(time_ns - before, [frame])
        self._streams.move_to_end(ends)
        self._put(time_ns, stream.data(source == stream.client_name, message.frame_bytes))
        self._latest = max(self._latest, time_ns)
        if self._live:
            self.flush()

    def flush(self) -> None:
        """Hand on what was written so far; not again within `flush_every`."""
        if self._flush_every:
            now = time.monotonic()
            if now - self._flushed < self._flush_every:
                return
            self._flushed = now
        self._file.flush()

    def close(self) -> None:
        """End all streams, at the latest time that was written."""
        try:
            for stream in self._streams.values():
                self._put(self._latest, stream.end())
            self._streams.clear()
            self._file.flush()
        finally:
            if self._owned:
                self._file.close()

    def _put(self, time_ns: int, frames: list[bytes]) -> None:
        self._file.write(b"".join([self._format.frame(time_ns, frame) for frame in frames]))

    def _opened(self, message: Message) -> _Stream:
        """A stream for a connection; its client is the end that is not at the network's port, or speaks first."""
        port = (message.network or MAINNET).port
        source, destination = self._endpoints(message.source, message.destination, port)
        number = next(self._numbers)
        if source[1] == port and destination[1] != port:
            return _Stream(message.connection, message.destination, destination, source, number)
        return _Stream(message.connection, message.source, source, destination, number)

    def _endpoints(self, source: str, destination: str, port: int) -> tuple[Endpoint, Endpoint]:
        """Both ends, of one IP version: that of the ends that are addresses, IPv6 if they differ."""
        hosts, ports = zip(*(_parts(name, port) for name in (source, destination)), strict=True)
        addresses = [_address(host) for host in hosts]
        six = any(address is not None and len(address) == 16 for address in addresses)
        packed = []
        for host, address in zip(hosts, addresses, strict=True):
            if address is None:
                number = self._stand_ins.setdefault(host, len(self._stand_ins) + 1)
                address = inet_pton(AF_INET6, "100::") if six else inet_pton(AF_INET, "240.0.0.0")
                address = (int.from_bytes(address, "big") + number).to_bytes(len(address), "big")
            elif six and len(address) == 4:
                address = bytes(10) + b"\xff\xff" + address
            packed.append(address)
        ends = (packed[0], ports[0]), (packed[1], ports[1])
        if ends[0] == ends[1]:  # a node that is connected with itself: TCP would allow it, readers are confused
            return ends[0], (packed[1], ports[1] ^ 0x8000)
        return ends


class _Stream:
    """One connection; makes its IP packets."""

    def __init__(self, connection: int, client_name: str, client: Endpoint, server: Endpoint, number: int) -> None:
        self.connection = connection
        self.client_name = client_name
        first = number * 0x01000193 & 0xFFFFFFFF  # a stream between the same ports must not look like this one again
        self._next = [first, ~first & 0xFFFFFFFF]
        self._ways = [_Way(client, server), _Way(server, client)]

    def begin(self) -> list[bytes]:
        """SYN, SYN with ACK, ACK."""
        return [self._packet(0, SYN), self._packet(1, SYN | ACK), self._packet(0, ACK)]

    def data(self, by_client: bool, data: bytes) -> list[bytes]:
        """Segments with data."""
        side = 0 if by_client else 1
        parts = [data[start : start + SEGMENT] for start in range(0, len(data), SEGMENT)]
        return [self._packet(side, ACK | _PUSH, part) for part in parts]

    def end(self) -> list[bytes]:
        """FIN from both ends, and the last ACK."""
        return [self._packet(0, FIN | ACK), self._packet(1, FIN | ACK), self._packet(0, ACK)]

    def _packet(self, side: int, flags: int, payload: bytes = b"") -> bytes:
        sequence = self._next[side]
        self._next[side] = (sequence + len(payload) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF
        return self._ways[side].packet(sequence, self._next[1 - side] if flags & ACK else 0, flags, payload)


class _Way:
    """One direction of a connection: IP packets from one end to the other."""

    def __init__(self, source: Endpoint, destination: Endpoint) -> None:
        self._addresses = source[0] + destination[0]
        self._ports = source[1], destination[1]

    def packet(self, sequence: int, acknowledged: int, flags: int, payload: bytes) -> bytes:
        options = _OPTIONS if flags & SYN else b""
        size = 20 + len(options) + len(payload)
        head = (*self._ports, sequence, acknowledged, 20 + len(options) << 2, flags, 0xFFFF)
        rest = options + payload
        covered = b"".join((self._addresses, _pseudo(6, size), _tcp(*head, 0, 0), rest))
        segment = _tcp(*head, _checksum(covered), 0) + rest
        if len(self._addresses) == 32:
            return _ipv6(6 << 28, size, 6, 64, self._addresses) + segment
        fields = (0x45, 0, 20 + size, 0, 0x4000, 64, 6)
        return _ipv4(*fields, _checksum(_ipv4(*fields, 0, self._addresses)), self._addresses) + segment


def _checksum(data: bytes) -> int:
    """The Internet checksum: 2^16 is 1 modulo 65535, so the sum of all words is the whole number modulo 65535."""
    number = int.from_bytes(data, "big") << 8 * (len(data) & 1)
    return 0xFFFF - (number % 0xFFFF or 0xFFFF)


def _parts(name: str, port: int) -> tuple[str, int]:
    """Host and port of an endpoint; the network's port if it names none."""
    host, colon, digits = name.rpartition(":")
    if colon and digits.isdecimal() and digits.isascii() and int(digits) <= 0xFFFF:
        return host, int(digits)
    return name, port


def _address(host: str) -> bytes | None:
    """An IP address as it stands in a packet; None if it is none."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).packed
    except ValueError:
        return None
