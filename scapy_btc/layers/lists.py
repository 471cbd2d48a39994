# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of packets over a buffer: an element becomes a Packet when touched, and is its own bytes until then."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, SupportsIndex

from scapy.packet import Packet

from .plan import Plan


class LazyList(list[Any]):
    """A list of `cls` packets, made when touched.

    A subclass of `list`, because Scapy tests for that. Its own storage holds an index into `ends` where an element was
    never touched, and the Packet where it was. Element `i` of the wire is `buf[ends[i]:ends[i + 1]]`.
    """

    __slots__ = ("_buf", "_ends", "_cls", "_owner", "_moved")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, buf: bytes, ends: Sequence[int], cls: type[Packet], owner: Packet | None) -> None:
        list.__init__(self, range(len(ends) - 1))
        self._buf, self._ends, self._cls, self._owner = buf, ends, cls, owner
        self._moved = False

    def _make(self, i: int, stored: Any) -> Packet:
        if type(stored) is int:
            stored = self._cls(self._raw(stored), _internal=1, _parent=self._owner)
            list.__setitem__(self, i, stored)
        packet: Packet = stored
        return packet

    def _raw(self, stored: Any) -> bytes:
        """The bytes of one stored element, without touching it."""
        if type(stored) is int:
            return self._buf[self._ends[stored]:self._ends[stored + 1]]
        return bytes(stored)

    def raws(self) -> Iterator[bytes]:
        """The bytes of every element; none becomes a Packet."""
        return map(self._raw, list.__iter__(self))

    def __bytes__(self) -> bytes:
        if self.unchanged():
            return self._buf[self._ends[0]:self._ends[-1]]
        return b"".join(self.raws())

    def unchanged(self) -> bool:
        """Whether it still says what the wire said."""
        return not self._moved and all(
            type(v) is int or bytes(v) == self._buf[self._ends[i]:self._ends[i + 1]]
            for i, v in enumerate(list.__iter__(self)))

    def made(self) -> Iterator[Packet]:
        """The elements that are Packets already."""
        return (v for v in list.__iter__(self) if type(v) is not int)

    def owned_by(self, owner: Packet | None) -> None:
        self._owner = owner
        for packet in self.made():
            packet.parent = owner

    def __getitem__(self, i: Any) -> Any:
        stored = list.__getitem__(self, i)
        if isinstance(i, slice):
            return [self._make(j, v) for j, v in zip(range(*i.indices(len(self))), stored, strict=True)]
        return self._make(operator.index(i), stored) if type(stored) is int else stored

    def __iter__(self) -> Iterator[Any]:
        i = 0
        while i < len(self):
            yield self[i]
            i += 1

    def __reversed__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self) - 1, -1, -1))

    def __repr__(self) -> str:
        return repr(self[:])

    def __contains__(self, x: Any) -> bool:
        return any(x is v or x == v for v in self)

    def index(self, x: Any, start: SupportsIndex = 0, stop: SupportsIndex = 2**63 - 1) -> int:
        for i in range(*slice(start, stop).indices(len(self))):
            if self[i] is x or self[i] == x:
                return i
        raise ValueError(f"{x!r} is not in list")

    def count(self, x: Any) -> int:
        return sum(1 for v in self if v is x or v == x)

    def remove(self, x: Any) -> None:
        del self[self.index(x)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list) or len(self) != len(other):
            return False
        if isinstance(other, LazyList) and self._cls is other._cls:
            return all(a == b for a, b in zip(self.raws(), other.raws(), strict=True))
        return all(a == b for a, b in zip(self, other, strict=True))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __add__(self, other: Any) -> list[Any]:
        return self[:] + (other[:] if isinstance(other, LazyList) else other)

    def __radd__(self, other: list[Any]) -> list[Any]:
        return other + self[:]

    def __mul__(self, n: SupportsIndex) -> list[Any]:
        return self[:] * n

    __rmul__ = __mul__

    def copy(self) -> LazyList:
        """An independent copy; what was never touched stays untouched."""
        clone = LazyList.__new__(LazyList)
        list.__init__(clone, (v if type(v) is int else v.copy() for v in list.__iter__(self)))
        clone._buf, clone._ends, clone._cls, clone._owner = self._buf, self._ends, self._cls, self._owner
        clone._moved = self._moved
        return clone

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> LazyList:
        return self.copy()

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return list, (self[:],)

    def pop(self, i: SupportsIndex = -1) -> Any:
        value = self[i]
        del self[i]
        return value

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        self[:] = sorted(self, key=key, reverse=reverse)

    def __setitem__(self, i: Any, value: Any) -> None:
        if isinstance(value, LazyList):
            value = value[:]
        self._moved = True
        list.__setitem__(self, i, value)

    def __iadd__(self, other: Iterable[Any]) -> LazyList:  # type: ignore[override,misc]
        self.extend(other)
        return self

    def extend(self, other: Iterable[Any]) -> None:
        self._moved = True
        list.extend(self, other[:] if isinstance(other, LazyList) else other)


def _moving(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    def moved(self: LazyList, *args: Any) -> Any:
        self._moved = True
        return method(self, *args)

    moved.__name__ = name
    return moved


for _name in ("append", "insert", "clear", "reverse", "__delitem__", "__imul__"):
    setattr(LazyList, _name, _moving(_name))


class ListView(Sequence[Any]):
    """A read-only list of records over a buffer, each read when asked for: what summaries look at."""

    __slots__ = ("_buf", "_start", "_stop", "_count", "_plan")

    def __init__(self, buf: bytes, start: int, stop: int, count: int, plan: Plan) -> None:
        self._buf, self._start, self._stop, self._count, self._plan = buf, start, stop, count, plan

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        p, record = self._start, self._plan.record
        for _ in range(self._count):
            value, p = record(self._buf, p, self._stop)
            yield value

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(self._count))]
        i = range(self._count)[i]
        if self._plan.size:
            return self._plan.record(self._buf, self._start + i * self._plan.size, self._stop)[0]
        p = self._start
        for _ in range(i):
            p = self._plan.end(self._buf, p, self._stop, [])
        return self._plan.record(self._buf, p, self._stop)[0]
