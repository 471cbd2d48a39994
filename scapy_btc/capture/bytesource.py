# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes of a file, pipe or compressed file, one after the other in chunks: never sought in, never held as a whole."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

from ..errors import CaptureError, MissingDependency

CHUNK = 1 << 17
LARGEST_RECORD = 16 << 20  # bytes; a record that announces more is taken for damage (tcpdump writes 256 KiB at most)

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW = 1 << 27  # what zstd needs for its highest levels; --long=31 would need 2 GiB of memory
_ZSTD_STEP = 1 << 8  # bytes put in at a time: a bomb makes at most 8 MiB of them


class Readable(Protocol):
    """What is needed of a binary file object."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes, b"" at the end."""


class ByteSource:
    """Reads a binary file object to its end.

    gzip and zstd are told by their first bytes and undone, also one inside the other, and several one after the other.
    """

    def __init__(self, file: Readable, name: str) -> None:
        self.name = name
        self.position = 0
        """Bytes read from the file itself, for a progress bar."""
        self._head = b""
        self._chunks = self._read(file)
        for _ in range(2):
            head = self.peek(4)
            if head[:2] == _GZIP:
                self._chunks = _gunzip(self._rest(self._head, self._chunks), name)
            elif head == _ZSTD:
                self._chunks = _unzstd(self._rest(self._head, self._chunks), name)
            else:
                break
            self._head = b""

    def peek(self, size: int) -> bytes:
        """The next bytes without taking them; fewer where the source ends."""
        while len(self._head) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._head += chunk
        return self._head[:size]

    def read(self) -> bytes:
        """The next bytes, as many as are at hand; b"" at the end."""
        if self._head:
            head, self._head = self._head, b""
            return head
        return next(self._chunks, b"")

    def put_back(self, data: bytes) -> None:
        """Let the next `read` begin with these bytes."""
        self._head = data + self._head

    def read_at_least(self, size: int, already: bytes = b"") -> bytes:
        """`already` and what follows, at least `size` bytes unless the source ends before."""
        parts = [already]
        have = len(already)
        while have < size:
            chunk = self.read()
            if not chunk:
                break
            parts.append(chunk)
            have += len(chunk)
        return b"".join(parts)

    def _read(self, file: Readable) -> Iterator[bytes]:
        # of a pipe, read1 gives what is there; read would wait for the whole chunk
        read: Any = getattr(file, "read1", file.read)
        try:
            while chunk := read(CHUNK):
                self.position += len(chunk)
                yield bytes(chunk)
        except OSError as error:
            raise CaptureError(f"{self.name}: reading failed: {error.strerror or error}") from error

    @staticmethod
    def _rest(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        yield head
        yield from chunks


def _gunzip(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    member = zlib.decompressobj(31)
    fresh = True
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), CHUNK >> 4):
                data = chunk[start : start + (CHUNK >> 4)]
                while data:
                    if member.eof:
                        data = data.lstrip(b"\0")  # padding between or after members
                        member, fresh = zlib.decompressobj(31), True
                        continue
                    out = member.decompress(data, CHUNK)
                    fresh = False
                    if out:
                        yield out
                    data = member.unused_data if member.eof else member.unconsumed_tail
    except zlib.error as error:
        raise CaptureError(f"{name}: the gzip data are damaged: {error}") from error
    if not fresh and not member.eof:
        raise CaptureError(f"{name}: cut short (the gzip data end too early)")


def _unzstd(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise MissingDependency(f"{name}: zstd needs the package zstandard: pip install zstandard") from error
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    frame = decompressor.decompressobj()
    fresh = True
    gathered: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), _ZSTD_STEP):
                data = chunk[start : start + _ZSTD_STEP]
                while data:
                    if frame.eof:
                        frame, fresh = decompressor.decompressobj(), True
                    out = frame.decompress(data)
                    fresh = False
                    gathered.append(out)
                    size += len(out)
                    data = frame.unused_data if frame.eof else b""
                if size >= CHUNK >> 2:
                    yield b"".join(gathered)
                    gathered, size = [], 0
            if size:
                yield b"".join(gathered)
                gathered, size = [], 0
    except zstandard.ZstdError as error:
        raise CaptureError(f"{name}: the zstd data are damaged: {error}") from error
    if not fresh and not frame.eof:
        raise CaptureError(f"{name}: cut short (the zstd data end too early)")
