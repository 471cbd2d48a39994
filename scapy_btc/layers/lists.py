# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of packets over a buffer: an element becomes a Packet when touched, and is its own bytes until then."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, SupportsIndex

from scapy.packet import Packet

from .plan import Plan


class LazyList(list[Any]):
    """A list of packets, each made when touched; element `i` of the wire is `buf[ends[i]:ends[i + 1]]`.

    A subclass of `list`, because Scapy tests for that. Its own storage holds an index into `ends` where an element was
    never touched, and the Packet where it was. No method of the list shows the indexes; `orjson`, and calls such as
    `list.copy(lazy)`, ask none and do see them.

    :ivar field: the field that it is a value of, which says what may become an element
    :ivar owner: the packet that is the parent of the elements
    """

    __slots__ = ("_buf", "_ends", "_touched", "field", "owner")
    __hash__ = None

    def __init__(self, buf: bytes, ends: Sequence[int], field: Any, owner: Packet | None) -> None:
        list.__init__(self, range(len(ends) - 1))
        self._buf, self._ends, self.field, self.owner = buf, ends, field, owner
        self._touched: list[int] | None = []  # indexes of the elements that are Packets; None once elements have moved

    # What the packet layer asks

    def _raw(self, stored: Any) -> bytes:
        """The bytes of one stored element, without touching it."""
        return self._buf[self._ends[stored]:self._ends[stored + 1]] if type(stored) is int else bytes(stored)

    def raws(self) -> Iterator[bytes]:
        """The bytes of every element; none becomes a Packet."""
        return map(self._raw, list.__iter__(self))

    def made(self) -> Iterator[Any]:
        """The elements that are Packets already."""
        return (v for v in list.__iter__(self) if type(v) is not int)

    def unchanged(self) -> bool:
        """Whether it still says what the wire said."""
        return self._touched is not None and all(
            bytes(list.__getitem__(self, i)) == self._raw(i) for i in self._touched)

    def __bytes__(self) -> bytes:
        if self.unchanged():
            return self._buf[self._ends[0]:self._ends[-1]]
        return b"".join(self.raws())

    def clone(self, owner: Packet | None) -> LazyList:
        """An independent list for another packet; what was never touched stays untouched."""
        clone = LazyList(self._buf, self._ends, self.field, owner)
        if self._touched != []:
            clone._touched = None if self._touched is None else self._touched.copy()
            list.__init__(clone, (v if type(v) is int else v.copy() for v in list.__iter__(self)))
            for element in clone.made():
                element.parent = owner
        return clone

    # What a list is asked

    def _make(self, i: SupportsIndex, stored: int) -> Any:
        packet = self.field.cls.from_wire(self._buf[self._ends[stored]:self._ends[stored + 1]], self.owner)
        list.__setitem__(self, i, packet)
        if self._touched is not None:
            self._touched.append(stored)
        return packet

    def __getitem__(self, i: Any) -> Any:
        stored = list.__getitem__(self, i)
        if type(stored) is int:
            return self._make(i, stored)
        if isinstance(i, slice):
            return [self._make(j, v) if type(v) is int else v
                    for j, v in zip(range(*i.indices(len(self))), stored, strict=True)]
        return stored

    def __iter__(self) -> Iterator[Any]:
        for i, stored in enumerate(list.__iter__(self)):
            yield self._make(i, stored) if type(stored) is int else stored

    def __reversed__(self) -> Iterator[Any]:
        i = len(self)
        for stored in list.__reversed__(self):
            i -= 1
            yield self._make(i, stored) if type(stored) is int else stored

    def plain(self) -> list[Any]:
        """All elements, in a plain list."""
        return [*self]

    def __repr__(self) -> str:
        return repr(self.plain())

    def __contains__(self, x: Any) -> bool:
        return any(v is x or v == x for v in self)

    def index(self, x: Any, *bounds: SupportsIndex) -> int:
        return self.plain().index(x, *bounds)

    def count(self, x: Any) -> int:
        return self.plain().count(x)

    def copy(self) -> list[Any]:
        return self.plain()

    def __deepcopy__(self, memo: Any) -> LazyList:
        return self.clone(self.owner)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return list, (self.plain(),)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list):
            return NotImplemented
        return len(self) == len(other) and all(
            self._untouched_like(i, other) or self[i] == other[i] for i in range(len(self)))

    def _untouched_like(self, i: int, other: list[Any]) -> bool:
        """Whether element `i` is the same untouched bytes in both lists."""
        if not isinstance(other, LazyList) or other.field.cls is not self.field.cls:
            return False
        here, there = list.__getitem__(self, i), list.__getitem__(other, i)
        return type(here) is type(there) is int and self._raw(here) == other._raw(there)

    def __ne__(self, other: object) -> bool:
        return NotImplemented if not isinstance(other, list) else not self == other

    def __lt__(self, other: list[Any]) -> bool:
        return self.plain() < other[:] if isinstance(other, list) else NotImplemented

    def __le__(self, other: list[Any]) -> bool:
        return self.plain() <= other[:] if isinstance(other, list) else NotImplemented

    def __gt__(self, other: list[Any]) -> bool:
        return self.plain() > other[:] if isinstance(other, list) else NotImplemented

    def __ge__(self, other: list[Any]) -> bool:
        return self.plain() >= other[:] if isinstance(other, list) else NotImplemented

    def __add__(self, other: Any) -> Any:
        return self.plain() + other

    def __radd__(self, other: Any) -> Any:
        """Only touches every element: then `list` can do both `other + self` and `other += self` by itself."""
        self.plain()
        return NotImplemented

    def __mul__(self, n: SupportsIndex) -> list[Any]:
        return self.plain() * n

    __rmul__ = __mul__

    # What changes it

    def __setitem__(self, i: Any, value: Any) -> None:
        if isinstance(i, slice):
            value = [self.field.any2element(self.owner, v) for v in value]
        else:
            value = self.field.any2element(self.owner, value)
        self._touched = None
        list.__setitem__(self, i, value)

    def __delitem__(self, i: Any) -> None:
        self._touched = None
        list.__delitem__(self, i)

    def append(self, value: Any) -> None:
        self.insert(len(self), value)

    def insert(self, i: SupportsIndex, value: Any) -> None:
        value = self.field.any2element(self.owner, value)
        self._touched = None
        list.insert(self, i, value)

    def extend(self, values: Iterable[Any]) -> None:
        self[len(self):] = values

    def __iadd__(self, values: Iterable[Any]) -> LazyList:  # type: ignore[misc]
        self.extend(values)
        return self

    def __imul__(self, n: SupportsIndex) -> LazyList:
        self[:] = self.plain() * n
        return self

    def pop(self, i: SupportsIndex = -1) -> Any:
        value = self[operator.index(i)]
        del self[i]
        return value

    def remove(self, x: Any) -> None:
        del self[self.index(x)]

    def clear(self) -> None:
        del self[:]

    def reverse(self) -> None:
        self._touched = None
        list.reverse(self)

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        self[:] = sorted(self, key=key, reverse=reverse)


def raws(values: list[Any]) -> Iterable[bytes]:
    """The bytes of every packet of a list; what a lazy list never touched does not become a Packet."""
    return values.raws() if isinstance(values, LazyList) else map(bytes, values)


class ListView(Sequence[Any]):
    """A read-only list of records over a buffer, each read when asked for: what summaries look at."""

    __slots__ = ("_buf", "_count", "_plan", "_start", "_stop")

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
            chosen = range(self._count)[i]
            if self._plan.size:
                return [self[j] for j in chosen]
            return list(self)[i] if chosen.step < 0 else list(islice(self, chosen.start, chosen.stop, chosen.step))
        i = range(self._count)[i]
        if self._plan.size:
            return self._plan.record(self._buf, self._start + i * self._plan.size, self._stop)[0]
        p = self._start
        for _ in range(i):
            p = self._plan.end(self._buf, p, self._stop, [])
        return self._plan.record(self._buf, p, self._stop)[0]
