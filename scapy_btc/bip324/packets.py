# SPDX-License-Identifier: GPL-2.0-or-later
"""What one end of a v2 connection sends after its public key: garbage, its terminator, packets.

Any split of the stream gives the same packets. Time is linear in the bytes fed. Memory holds at most the packet that is
arriving, as far as it has arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import FormatError
from .ciphers import LENGTH_SIZE, FSChaCha20, FSChaCha20Poly1305
from .keys import PUBLIC_SIZE, TERMINATOR_SIZE, DirectionKeys

MAX_GARBAGE_LEN = 4095
HEADER_SIZE = 1
TAG_SIZE = 16
OVERHEAD = LENGTH_SIZE + HEADER_SIZE + TAG_SIZE
"""Bytes of a packet beside its contents."""
MAX_LENGTH = 0xFFFFFF
"""Bytes of contents that the length of a packet can announce."""
IGNORE = 0x80
"""The bit of a header that makes a decoy of a packet."""

_LONGEST = MAX_GARBAGE_LEN + TERMINATOR_SIZE


Packet = tuple[bytes, int, int]
"""One that is authentic: header (1 byte) and contents; the stream offsets between which it stands, key at 0."""


class PacketReader:
    """Reads what follows the public key of one end.

    :param keys: those of that direction
    :param limit: bytes that the contents of a packet may have
    :ivar garbage: what stood between key and terminator; None while the terminator has not come
    :ivar broken: why nothing more can be read; "" while it can
    :ivar offset: stream offset up to which everything was read
    :ivar broken_at: stream offset behind what cannot be read, once it is known where that ends
    """

    __slots__ = ("_aad", "_buffer", "_ciphers", "_count", "_length", "_limit", "_needed", "_terminator", "broken",
                 "broken_at", "garbage", "offset")  # fmt: skip

    def __init__(self, keys: DirectionKeys, limit: int = MAX_LENGTH) -> None:
        self._ciphers = FSChaCha20(keys.length), FSChaCha20Poly1305(keys.packet)
        self._terminator = keys.terminator
        self._limit = limit
        self._aad = b""  # of the next packet
        self._buffer = bytearray()  # what cannot be read yet
        self._needed = 1  # bytes that the buffer must have before there is anything to do
        self._length = -1  # of the contents of the packet that is arriving
        self._count = 0
        self.garbage: bytes | None = None
        self.broken = ""
        self.broken_at: int | None = None
        self.offset = PUBLIC_SIZE

    @property
    def held(self) -> int:
        """Bytes kept in memory."""
        return len(self._buffer)

    @property
    def wanted(self) -> int:
        """How many bytes are needed at least before anything more can be said."""
        return max(1, self._needed - len(self._buffer))

    @property
    def expected(self) -> int | None:
        """Stream offset at which the packet ends that has begun to arrive; None when that is not known."""
        return None if self._length < 0 else self.offset + OVERHEAD + self._length

    def feed(self, data: bytes) -> Sequence[Packet]:
        """Take the next bytes and return the packets that they complete. After `broken` nothing is read."""
        if self.broken:
            return ()
        buffer = self._buffer
        if len(buffer) + len(data) < self._needed:
            buffer += data
            return ()
        if self.garbage is None:
            searched = max(0, len(buffer) - TERMINATOR_SIZE + 1)
            buffer += data
            if not self._find_terminator(searched):
                return ()
            data = bytes(buffer)
            buffer.clear()
        packets: list[Packet] = []
        pos = 0
        with memoryview(data) as view:
            while buffer and pos < len(data):  # the packet that has begun to arrive
                end = pos + self._needed - len(buffer)
                buffer += view[pos:end]
                pos = end
                with memoryview(buffer) as begun:
                    read = self._read(begun, packets)
                del buffer[:read]
            if pos < len(data) and not self.broken:
                pos += self._read(view[pos:], packets)
                buffer += view[pos:]
        return packets

    def _find_terminator(self, start: int) -> bool:
        """Look for the terminator from that place of the buffer on, and take away what stands before its end."""
        buffer = self._buffer
        found = buffer.find(self._terminator, start, _LONGEST)
        if found < 0:
            self._needed = len(buffer) + 1
            if len(buffer) >= _LONGEST:
                self.broken = f"no garbage terminator within {_LONGEST:,} bytes after the key"
                self._buffer = bytearray()
            return False
        self.garbage = self._aad = bytes(buffer[:found])
        del buffer[: found + TERMINATOR_SIZE]
        self.offset += found + TERMINATOR_SIZE
        self._needed = LENGTH_SIZE
        return True

    def _read(self, view: memoryview, packets: list[Packet]) -> int:
        """Read the packets that are whole; returns where the next one starts."""
        lengths, contents = self._ciphers
        size, pos, offset = len(view), 0, self.offset
        while size - pos >= self._needed:
            if self._length < 0:
                length = self._length = lengths.crypt(int.from_bytes(view[pos : pos + LENGTH_SIZE], "little"))
                if length > self._limit:
                    self.broken = f"packet {self._count} announces {length:,} bytes, more than {self._limit:,}"
                    return size
                self._needed = OVERHEAD + length
                continue
            end = pos + self._needed
            try:
                plain = contents.decrypt(view[pos + LENGTH_SIZE : end], self._aad)
            except FormatError:
                blame = ", or the garbage was changed" if not self._count else ""
                self.broken = f"packet {self._count} is not authentic: wrong tag{blame}"
                self.broken_at = offset + self._needed
                return size
            start, offset = offset, offset + self._needed
            self.offset = offset
            packets.append((plain, start, offset))
            self._aad = b""
            self._count += 1
            self._length, self._needed = -1, LENGTH_SIZE
            pos = end
        return pos


class PacketWriter:
    """Makes the packets of one direction.

    :param keys: those of that direction
    :param garbage: what was sent between key and terminator: the first packet authenticates it
    """

    __slots__ = ("_aad", "_ciphers")

    def __init__(self, keys: DirectionKeys, garbage: bytes) -> None:
        self._ciphers = FSChaCha20(keys.length), FSChaCha20Poly1305(keys.packet)
        self._aad = garbage

    def packet(self, contents: Iterable[bytes], decoy: bool = False) -> bytes:
        """The next packet, of contents in several pieces. Raises FormatError for more than 16,777,215 bytes."""
        plain = b"".join((bytes((IGNORE if decoy else 0,)), *contents))
        length = len(plain) - HEADER_SIZE
        if length > MAX_LENGTH:
            raise FormatError(f"a packet cannot hold {length:,} bytes")
        lengths, cipher = self._ciphers
        sealed = cipher.encrypt(plain, self._aad)
        self._aad = b""
        return lengths.crypt(length).to_bytes(LENGTH_SIZE, "little") + sealed
