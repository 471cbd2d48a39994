# SPDX-License-Identifier: GPL-2.0-or-later
"""IP fragments put together again, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_DATAGRAMS = 256  # waiting at a time; beyond it the oldest is given up
MAX_FRAGMENTS = 16_384  # of all of them together; likewise
MAX_DATAGRAM = 65_535  # bytes


@dataclass(slots=True)
class _Datagram:
    pieces: dict[int, bytes] = field(default_factory=dict)
    received: int = 0
    total: int | None = None  # known once the last fragment is there


class Fragments:
    """Datagrams of which some fragments are still missing, by any key that tells them apart."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[bytes, int], _Datagram] = {}
        self._fragments = 0

    def add(self, key: tuple[bytes, int], offset: int, more: bool, data: bytes) -> bytes | None:
        """Take a fragment; returns the datagram's payload when it is complete.

        A repeated fragment is ignored. A datagram whose fragments overlap otherwise, or that would be longer than IP
        allows, is dropped (RFC 5722).
        """
        if not data or offset + len(data) > MAX_DATAGRAM:
            return None
        datagram = self._waiting.get(key)
        if datagram is None:
            if len(self._waiting) >= MAX_DATAGRAMS:
                self._drop(next(iter(self._waiting)))
            datagram = self._waiting[key] = _Datagram()
        if offset in datagram.pieces:
            return None
        datagram.pieces[offset] = data
        datagram.received += len(data)
        self._fragments += 1
        if datagram.received > MAX_DATAGRAM:  # they overlap
            self._drop(key)
            return None
        if self._fragments > MAX_FRAGMENTS:
            self._drop(next(iter(self._waiting)))
        if not more:
            datagram.total = offset + len(data)
        if datagram.total is None or datagram.received < datagram.total:
            return None
        self._drop(key)
        return _joined(datagram)

    def _drop(self, key: tuple[bytes, int]) -> None:
        datagram = self._waiting.pop(key, None)
        self._fragments -= len(datagram.pieces) if datagram else 0


def _joined(datagram: _Datagram) -> bytes | None:
    """The payload if the fragments lie end to end."""
    out: list[bytes] = []
    end = 0
    for offset, piece in sorted(datagram.pieces.items()):
        if offset != end:
            return None
        out.append(piece)
        end += len(piece)
    return b"".join(out) if end == datagram.total else None
