# SPDX-License-Identifier: GPL-2.0-or-later
"""What one end of a v2 connection sends after its public key: garbage, its terminator, packets.

Any split of the stream gives the same packets. Time is linear in the bytes fed. Memory holds at most the packet that is
arriving, as far as it has arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock

from ..errors import FormatError
from ..protocol import MAX_CONTENTS_LEN
from .ciphers import LENGTH_SIZE, FSChaCha20, FSChaCha20Poly1305
from .contents import PACKET_HEADER as HEADER_SIZE
from .contents import Message, unpack
from .keys import PUBLIC_SIZE, TERMINATOR_SIZE, DirectionKeys

MAX_GARBAGE_LEN = 4095
TAG_SIZE = 16
OVERHEAD = LENGTH_SIZE + HEADER_SIZE + TAG_SIZE
"""Bytes of a packet beside its contents."""
MAX_LENGTH = 0xFFFFFF
"""Bytes of contents that the length of a packet can announce."""
IGNORE = 0x80
"""The bit of a header that makes a decoy of a packet."""

_LONGEST = MAX_GARBAGE_LEN + TERMINATOR_SIZE


Packet = tuple[bool, Message | None, int, int]
"""One that is authentic: whether it is a decoy, the message in it, the stream offsets between which it stands."""

_SMALL = 512  # shorter pieces of a packet share one buffer: a packet in single bytes must not cost an object each

# A large packet needs as much memory again to be decrypted, which the kernel would have to give, page by page, for
# each. Such memory is kept, once for the process: room for what is encrypted, then for what is not.
_LARGE, _LARGEST = 1 << 17, MAX_CONTENTS_LEN + HEADER_SIZE + TAG_SIZE
_room = bytearray(0)
_room_is_free = Lock()


class PacketReader:
    """Reads what follows the public key of one end.

    :param keys: those of that direction
    :param commands: names of messages, as `contents.commands_of` gives them
    :param limit: bytes that the contents of a packet may have
    :ivar garbage: what stood between key and terminator; None while the terminator has not come
    :ivar broken: why nothing more can be read; "" while it can
    :ivar offset: stream offset up to which everything was read
    :ivar broken_at: stream offset behind what cannot be read, once it is known where that ends
    """

    __slots__ = ("_aad", "_ciphers", "_commands", "_count", "_held", "_length", "_limit", "_needed", "_parts",
                 "_terminator", "broken", "broken_at", "garbage", "offset")  # fmt: skip

    def __init__(self, keys: DirectionKeys, commands: Sequence[bytes], limit: int = MAX_LENGTH) -> None:
        self._ciphers = FSChaCha20(keys.length), FSChaCha20Poly1305(keys.packet)
        self._terminator = keys.terminator
        self._commands, self._limit = commands, limit
        self._aad = b""  # of the next packet
        self._parts: list[bytes | bytearray] = [bytearray()]  # of what has begun to arrive
        self._held = 0  # bytes in them
        self._needed = 1  # bytes that they must have before there is anything to do
        self._length = -1  # of the contents of the packet whose body is arriving
        self._count = 0
        self.garbage: bytes | None = None
        self.broken = ""
        self.broken_at: int | None = None
        self.offset = PUBLIC_SIZE

    @property
    def held(self) -> int:
        """Bytes that wait for others."""
        return self._held + (LENGTH_SIZE if self._length >= 0 else 0)

    @property
    def wanted(self) -> int:
        """How many bytes are needed at least before anything more can be said."""
        return max(1, self._needed - self._held)

    @property
    def expected(self) -> int | None:
        """Stream offset at which the packet ends that has begun to arrive; None when that is not known."""
        return None if self._length < 0 else self.offset + OVERHEAD + self._length

    def feed(self, data: bytes) -> Sequence[Packet]:
        """Take the next bytes and return the packets that they complete. After `broken` nothing is read."""
        if self.broken:
            return ()
        if self._held + len(data) < self._needed:
            self._keep(data)
            return ()
        if self.garbage is None:
            found = self._find_terminator(data)
            if found is None:
                return ()
            data = found
        packets: list[Packet] = []
        pos, size = 0, len(data)
        with memoryview(data) as view:
            while not self.broken:
                end = pos + self._needed - self._held
                if end > size:
                    self._keep(data[pos:])
                    break
                if self._held:
                    pieces = [*self._parts, view[pos:end]]
                    self._parts, self._held = [], 0
                else:
                    pieces = [view[pos:end]]
                pos = end
                if self._length < 0:
                    self._begin(pieces)
                else:
                    self._complete(pieces, packets)
        return packets

    def _keep(self, piece: bytes) -> None:
        self._held += len(piece)
        if len(piece) < _SMALL and self._parts and isinstance(self._parts[-1], bytearray):
            self._parts[-1] += piece
        else:
            self._parts.append(piece if len(piece) >= _SMALL else bytearray(piece))

    def _find_terminator(self, data: bytes) -> bytes | None:
        """Look for the terminator with the next bytes; what follows it, or None."""
        (buffer,) = self._parts
        assert isinstance(buffer, bytearray)
        start = max(0, len(buffer) - TERMINATOR_SIZE + 1)
        buffer += data
        found = buffer.find(self._terminator, start, _LONGEST)
        if found < 0:
            self._held = len(buffer)
            self._needed = self._held + 1
            if self._held >= _LONGEST:
                self._break(f"no garbage terminator within {_LONGEST:,} bytes after the key")
            return None
        self.garbage = self._aad = bytes(buffer[:found])
        self.offset += found + TERMINATOR_SIZE
        self._parts, self._held, self._needed = [], 0, LENGTH_SIZE
        return bytes(buffer[found + TERMINATOR_SIZE :])

    def _begin(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        """The length of a packet is there."""
        length = self._ciphers[0].crypt(int.from_bytes(pieces[0] if len(pieces) == 1 else b"".join(pieces), "little"))
        if length > self._limit:
            self._break(f"packet {self._count} announces {length:,} bytes, more than {self._limit:,}")
            return
        self._length, self._needed = length, HEADER_SIZE + length + TAG_SIZE

    def _complete(self, pieces: Sequence[bytes | bytearray | memoryview], packets: list[Packet]) -> None:
        """The rest of a packet is there."""
        start, end = self.offset, self.offset + LENGTH_SIZE + self._needed
        large = _LARGE <= self._needed <= _LARGEST and _room_is_free.acquire(blocking=False)
        try:
            if large:
                is_decoy, message = self._open_large(pieces)
            else:
                is_decoy, message = self._said(self._ciphers[1].decrypt(
                    pieces[0] if len(pieces) == 1 else b"".join(pieces), self._aad))
        except FormatError:
            self.broken_at = end
            blame = ", or the garbage was changed" if not self._count else ""
            self._break(f"packet {self._count} is not authentic: wrong tag{blame}")
            return
        finally:
            if large:
                _room_is_free.release()
        packets.append((is_decoy, message, start, end))
        self.offset = end
        self._aad = b""
        self._count += 1
        self._length, self._needed = -1, LENGTH_SIZE

    def _open_large(self, pieces: Sequence[bytes | bytearray | memoryview]) -> tuple[bool, Message | None]:
        """Decrypt in the room that is kept."""
        if not _room:
            _room.extend(bytes(2 * _LARGEST))
        with memoryview(_room) as room:
            pos = 0
            for piece in pieces if len(pieces) > 1 else ():
                room[pos : pos + len(piece)] = piece
                pos += len(piece)
            plain = room[_LARGEST : _LARGEST + self._needed - TAG_SIZE]
            self._ciphers[1].decrypt_into(room[:pos] if pos else pieces[0], plain, self._aad)
            return self._said(plain)

    def _said(self, plain: bytes | memoryview) -> tuple[bool, Message | None]:
        if plain[0] & IGNORE:
            return True, None
        return False, unpack(plain, self._commands)

    def _break(self, reason: str) -> None:
        self.broken = reason
        self._parts, self._held, self._length = [], 0, -1


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
