# SPDX-License-Identifier: GPL-2.0-or-later
"""Segments that arrived before others that belong in front of them."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple


class Piece(NamedTuple):
    """Bytes of one segment, and where they came from."""

    payload: bytes
    cut: int
    """Bytes after the payload that were sent but not captured."""
    number: int
    time_ns: int
    clock: int
    """`Waiting.clock` when it came."""


class Waiting:
    """Segments that arrived before others that belong in front of them: disjoint, in order."""

    __slots__ = ("_pieces", "_starts", "clock", "size")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[Piece] = []
        self.size = 0
        self.clock = 0
        """Frames of the connection since the direction waits."""

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def start(self) -> int:
        """Where the first piece starts."""
        return self._starts[0]

    @property
    def first(self) -> Piece:
        return self._pieces[0]

    def add(self, start: int, payload: bytes, cut: int, number: int, time_ns: int) -> int:
        """Keep what is not there yet. Returns how many bytes differ from those that are."""
        pos, stop = start, start + len(payload) + cut
        differing = 0
        at = bisect_right(self._starts, start)
        if at:
            at -= 1
        while pos < stop:
            begin = self._starts[at] if at < len(self._starts) else stop
            if pos < begin:
                upto = min(stop, begin)
                part = payload[pos - start : upto - start]
                self._starts.insert(at, pos)
                self._pieces.insert(at, Piece(part, upto - pos - len(part), number, time_ns, self.clock))
                self.size += len(part)
                pos = upto
            else:
                old = self._pieces[at]
                end = begin + len(old.payload) + old.cut
                if end > pos:
                    differing += difference(old.payload[pos - begin :], payload[pos - start :])
                    pos = end
            at += 1
        return differing

    def take(self, pos: int) -> list[Piece]:
        """Remove and return the pieces that follow each other from `pos` on."""
        count = 0
        for start, piece in zip(self._starts, self._pieces, strict=True):
            if start != pos:
                break
            pos += len(piece.payload) + piece.cut
            self.size -= len(piece.payload)
            count += 1
        taken = self._pieces[:count]
        del self._starts[:count], self._pieces[:count]
        return taken

    def cut_before(self, pos: int) -> None:
        """Forget what lies before `pos`."""
        while self._starts and self._starts[0] < pos:
            start, piece = self._starts.pop(0), self._pieces.pop(0)
            self.size -= len(piece.payload)
            if start + len(piece.payload) > pos:
                self.add(pos, piece.payload[pos - start :], piece.cut, piece.number, piece.time_ns)


def difference(old: bytes, new: bytes) -> int:
    """How many bytes differ, over the length that both have."""
    size = min(len(old), len(new))
    if old[:size] == new[:size]:
        return 0
    return sum(a != b for a, b in zip(old[:size], new[:size], strict=True))
