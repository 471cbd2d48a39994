# SPDX-License-Identifier: GPL-2.0-or-later
"""Search for the next message in bytes whose framing is lost, without inventing messages and in linear time.

A magic alone proves nothing: payloads may hold one, and a hostile stream may hold thousands. A candidate counts as
found when its checksum holds, or when its command is well-formed and another well-formed header with the same magic
stands exactly where its payload ends. Candidates are judged from left to right and never both of two that overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from ..protocol import MAX_SIZE
from .events import Frame
from .hashes import checksum
from .header import (
    HEADER_SIZE,
    OLD_HEADER_SIZE,
    VERACK,
    is_plausible,
    is_well_formed,
    looks_like_old_version,
    message_name,
    old_frame,
    unpack_header,
)

# Bytes hashed for candidates since the framing was lost: a fixed start, then so many per byte of the stream. Fake
# headers cannot make a stream cost more; beyond it only the header that follows counts as evidence.
_HASHING_AT_FIRST = 1 << 14
_HASHING_PER_BYTE = 4


@lru_cache(maxsize=64)
def _pattern(magics: frozenset[bytes]) -> re.Pattern[bytes]:
    """Magic, any command, and a length whose top byte says at most 0x02ffffff."""
    return re.compile(b"(?:" + b"|".join(re.escape(magic) for magic in sorted(magics)) + rb")[\s\S]{15}[\0-\2]")


class HeaderSearch:
    """Bytes not yet understood, and how far the search in them has come."""

    __slots__ = (
        "_hashed",
        "_judged",
        "_limit",
        "_lost_at",
        "_magics",
        "_needed",
        "_verdict",
        "buffer",
        "offset",
        "pos",
    )

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.offset = 0
        """Stream offset of the first byte in the buffer."""
        self.pos = 0
        """Where in the buffer the search goes on."""
        self._lost_at = 0  # stream offset
        self._limit: int | None = None  # stream offset from which on no header is searched
        self._magics: frozenset[bytes] = frozenset()
        self._needed = 0  # buffer size at which it is worth while to look again
        self._hashed = 0
        self._judged = -1  # stream offset of the candidate that was hashed last
        self._verdict = ""

    def begin(self, data: bytes, offset: int, magics: frozenset[bytes], limit: int | None = None) -> None:
        """Search these magics in `data`, which stands at that offset of the stream, and in what will follow.

        A header may start at stream offset `limit` at the latest.
        """
        self.buffer = bytearray(data)
        self.offset = offset
        self.restart(0, magics)
        self._limit = limit

    def restart(self, pos: int, magics: frozenset[bytes]) -> None:
        """Go on searching from that place of the buffer."""
        self.pos, self._needed, self._magics = pos, 0, magics
        self._lost_at = self.offset + pos
        self._limit = None
        self._hashed = 0

    @property
    def exhausted(self) -> bool:
        """Whether the limit was passed without a header."""
        return self._limit is not None and self.offset + self.pos > self._limit

    def clear(self) -> None:
        """Let go of the buffer: everything in it was understood."""
        self.buffer = bytearray()

    def extend(self, data: bytes) -> None:
        """Append bytes that arrived."""
        self.buffer += data

    def find(self, final: bool = False) -> Frame | None:
        """The next frame, or None when more bytes are needed. `final`: no more will come, decide now."""
        buffer = self.buffer
        if len(buffer) < self._needed and not final:
            return None
        search = _pattern(self._magics).search
        self._needed = 0
        while match := search(buffer, self.pos):
            self.pos = match.start()
            if self.exhausted:
                break
            judgement = self._judge(self.pos, final)
            if isinstance(judgement, Frame):
                judgement.resynchronised = True
                return judgement
            if judgement:
                self._needed = judgement
                break
            self.pos += 1
        else:
            self.pos = len(buffer) if final else max(self.pos, len(buffer) - OLD_HEADER_SIZE + 1)
        self._forget()
        return None

    def _forget(self) -> None:
        """Drop what is known to belong to no message."""
        if self.pos:
            del self.buffer[: self.pos]
            self.offset += self.pos
            self._needed -= self.pos
            self.pos = 0

    def _judge(self, pos: int, final: bool) -> Frame | int:
        """The frame at `pos`; or the size the buffer must reach before that can be said; or 0: there is none."""
        size = len(self.buffer)
        if size < pos + HEADER_SIZE:
            return self._cut_off(pos, size) if final else pos + HEADER_SIZE
        magic, command, length, check = unpack_header(self.buffer, pos)
        if length > MAX_SIZE:
            return 0
        body = pos + HEADER_SIZE
        stop = body + length
        if size < stop:
            return self._cut_off(pos, size) if final else stop
        verdict = self._hash(pos, body, stop, check)
        if verdict != "ok":
            for end in self._ends(pos, command, length, check):
                follows = self._header_at(end, magic, final)
                if follows is None:
                    return end + HEADER_SIZE
                if follows:
                    break
            else:
                return 0
            if end != stop:
                return old_frame(magic, command, bytes(self.buffer[pos + OLD_HEADER_SIZE : end]), self.offset + pos)
        payload = bytes(self.buffer[body:stop])
        start = self.offset + pos
        end = self.offset + stop
        verdict = verdict or ("ok" if checksum(payload) == check else "bad")
        return Frame(magic, message_name(command), command, length, check, payload, start, end, verdict)

    def _hash(self, pos: int, body: int, stop: int, check: bytes) -> str:
        """The checksum's verdict on a candidate, computed once; "" when that would be too much hashing."""
        start = self.offset + pos
        if self._judged != start:
            if self._hashed + stop - body > _HASHING_AT_FIRST + _HASHING_PER_BYTE * (
                self.offset + stop - self._lost_at
            ):
                return ""
            self._hashed += stop - body
            with memoryview(self.buffer) as view:
                self._verdict = "ok" if checksum(view[body:stop]) == check else "bad"
            self._judged = start
        return self._verdict

    def _ends(self, pos: int, command: bytes, length: int, check: bytes) -> Iterator[int]:
        """Where the next header must stand if a message without a right checksum is to be believed."""
        if looks_like_old_version(command, length, check) or (command == VERACK and not length):
            yield pos + OLD_HEADER_SIZE + length
        if is_well_formed(command):
            yield pos + HEADER_SIZE + length

    def _header_at(self, pos: int, magic: bytes, final: bool) -> bool | None:
        """Whether a well-formed header with that magic stands there; None: 24 bytes are not there yet."""
        if len(self.buffer) >= pos + HEADER_SIZE:
            return is_plausible(self.buffer, pos, magic)
        return False if final or not magic.startswith(self.buffer[pos : pos + 4]) else None

    def _cut_off(self, pos: int, size: int) -> Frame | int:
        """The message with a 20-byte header at the very end of the bytes, if there is one at `pos`, else 0."""
        magic = bytes(self.buffer[pos : pos + 4])
        command = bytes(self.buffer[pos + 4 : pos + 16])
        length = int.from_bytes(self.buffer[pos + 16 : pos + 20], "little")
        stop = pos + OLD_HEADER_SIZE + length
        if stop > size or not magic.startswith(self.buffer[stop:size]):
            return 0
        body = bytes(self.buffer[pos + OLD_HEADER_SIZE : stop])
        if (command == VERACK and not length) or looks_like_old_version(command, length, body[:4].ljust(4, b"\0")):
            return old_frame(magic, command, body, self.offset + pos)
        return 0
