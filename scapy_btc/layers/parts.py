# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields that hold packets, and lists of plain values."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from scapy.fields import Field
from scapy.packet import Packet
from scapy.volatile import VolatileValue

from .fields import as_bytes
from .lists import LazyList, ListView
from .plan import BROKEN, SHORT, Writer, fixed_size, plain_class, skip_class


class Unset(tuple[()]):
    """The default of a field whose value is made when first looked at.

    Scapy copies a list or Packet default into every new packet, where it wins over the random default that `fuzz()`
    sets; this one it leaves alone.
    """

    __slots__ = ()


UNSET = Unset()


class RandPackets(VolatileValue[Any]):
    """Random packets of a class, for `fuzz()`: one, or a list of up to three."""

    def __init__(self, cls: type[Packet], many: bool) -> None:
        super().__init__()
        self.cls, self.many = cls, many

    def _fix(self) -> Any:
        from scapy.packet import fuzz
        from scapy.volatile import RandNum

        def one() -> Packet:
            random: Packet = fuzz(self.cls())
            fixed: Packet = next(iter(random))
            return fixed

        return [one() for _ in range(RandNum(1, 3)._fix())] if self.many else one()


class PartField(Field[Any, Any]):
    """One packet of a class, without a payload of its own."""

    holds_packets = 1
    code: None = None
    __slots__ = ["cls"]

    def __init__(self, name: str, cls: type[Packet]) -> None:
        Field.__init__(self, name, UNSET, "0s")
        self.cls = cls

    def fresh(self, pkt: Any) -> Packet:
        return self.cls(_internal=1, _parent=pkt)

    def any2i(self, pkt: Any, x: Any) -> Any:
        if isinstance(x, (bytes, bytearray)):
            return self.cls(bytes(x), _internal=1, _parent=pkt)
        if isinstance(x, Packet) and pkt is not None:
            x.add_parent(pkt)
        return x

    def i2h(self, pkt: Any, x: Any) -> Any:
        return x

    def do_copy(self, x: Any) -> Any:
        return x.copy() if isinstance(x, Packet) else x

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + (bytes(self.fresh(pkt)) if isinstance(val, Unset) else bytes(val))

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Packet]:
        end = self.cls.plan.end(s, 0, len(s), [])
        return s[end:], self.any2i(pkt, s[:end])

    def randval(self) -> VolatileValue[Any]:
        return RandPackets(self.cls, many=False)

    def emit_part(self, w: Writer) -> None:
        skip_class(w, self.cls)

    emit_skip = emit_part

    def emit_load(self, w: Writer) -> None:
        start, v = w.new("q"), w.new()
        w.line(f"{start} = p")
        skip_class(w, self.cls)
        w.line("if p > e: " + SHORT)
        w.line(f"{v} = {w.const(self.cls)}(b[{start}:p], _internal=1, _parent=pkt)")
        w.vars[self.name] = v

    def emit_plain(self, w: Writer) -> str:
        v = w.vars[self.name] = w.new()
        w.line(f"{v} = {plain_class(w, self.cls)}")
        return v


class BoundedPartField(PartField):
    """A packet inside as many bytes as field `length` says; bytes that are no such packet stay bytes."""

    __slots__ = ["uses"]

    def __init__(self, name: str, cls: type[Packet], length: str | None = None) -> None:
        PartField.__init__(self, name, cls)
        self.uses = (length or f"{name}_length",)

    def m2i(self, pkt: Any, x: bytes) -> Any:
        try:
            if self.cls.plan.end(x, 0, len(x), []) == len(x) and x:
                return self.cls(x, _internal=1, _parent=pkt)
        except BROKEN:
            pass
        return x

    def any2i(self, pkt: Any, x: Any) -> Any:
        return self.m2i(pkt, as_bytes(x)) if isinstance(x, (bytes, bytearray, str)) else PartField.any2i(self, pkt, x)

    def record(self, x: bytes) -> Any:
        try:
            value, end = self.cls.plan.record(x, 0, len(x))
            return value if end == len(x) else x.hex()
        except BROKEN:
            return x.hex()

    def emit_part(self, w: Writer) -> None:
        w.moves.append(w.vars[self.uses[0]])

    emit_skip = emit_part

    def _slice(self, w: Writer) -> str:
        n, v = w.vars[self.uses[0]], w.new()
        w.line(f"{v} = b[p:p + {n}]")
        w.moves.append(n)
        w.vars[self.name] = v
        return v

    def emit_load(self, w: Writer) -> None:
        v = self._slice(w)
        w.line(f"{v} = {w.const(self.m2i)}(pkt, {v})")

    def emit_plain(self, w: Writer) -> str:
        v = self._slice(w)
        w.line(f"{v} = {w.const(self.record)}({v})")
        return v


SHOWN = 100
"""Elements of a list that `show()` prints before it says how many more there are."""

TO_END = "to end"
"""The `count` of a list that has none: it goes on to the end of the payload."""


class ListField(Field[Any, Any]):
    """A list whose length field `count` gives (by default `NAME_count`)."""

    islist = 1
    code: None = None
    __slots__ = ["uses"]

    def __init__(self, name: str, count: str | None = None) -> None:
        Field.__init__(self, name, UNSET, "0s")
        self.uses = () if count == TO_END else (count or f"{name}_count",)

    def fresh(self, pkt: Any) -> list[Any]:
        return []

    def i2count(self, pkt: Any, x: Any) -> int:
        return len(x) if isinstance(x, (list, tuple)) else 1

    def i2len(self, pkt: Any, x: Any) -> int:
        return len(self.addfield(pkt, b"", x))

    def i2h(self, pkt: Any, x: Any) -> Any:
        return x

    def do_copy(self, x: Any) -> Any:
        return list(x) if isinstance(x, list) else x

    def element_size(self) -> int | None:
        """Bytes that every element takes, where that is one number."""
        return None

    def _count(self, w: Writer, size: int) -> str:
        """The number of elements, which take `size` bytes each."""
        if self.uses:
            return w.vars[self.uses[0]]
        w.flush()
        return f"max(0, (e - p) // {size})"

    def _each(self, w: Writer) -> AbstractContextManager[None]:
        """A loop over the elements."""
        size = self.element_size()
        if self.uses or size:
            return w.block(f"for _ in range({self._count(w, size or 1)}):")
        return w.block("while p < e:")

    def any2i(self, pkt: Any, x: Any) -> Any:
        if isinstance(x, VolatileValue) or x is None:
            return x
        items = x if isinstance(x, (list, tuple)) and not isinstance(x, Packet) else [x]
        return [self.any2element(pkt, v) for v in items]

    def any2element(self, pkt: Any, x: Any) -> Any:
        return x

    def emit_list_into(self, w: Writer, target: str) -> None:
        """Code that fills a list in place, so that what was read is there when the rest is not."""
        add, size = w.new("add"), self.element_size()
        w.line(f"{target} = []")
        if size is not None and w.mode != "trace":
            self._check(w, size)  # slices do not notice the end of the buffer
        w.line(f"{add} = {target}.append")
        with self._each(w):
            expression = self.emit_element(w)
            if w.mode == "trace":
                w.line("if p > e: " + SHORT)
            w.line(f"{add}({expression})")

    def emit_plain(self, w: Writer) -> str:
        v = w.vars[self.name] = w.new("l")
        self.emit_list_into(w, v)
        return v

    def emit_element(self, w: Writer) -> str:
        """Code that reads one element; the expression of its record value."""
        raise NotImplementedError

    def _check(self, w: Writer, size: int) -> str:
        """Code that sets a local to the end of elements of a fixed size, and knows that they are all there."""
        q = w.new("q")
        w.line(f"{q} = p + {size} * {self._count(w, size)}")
        w.line(f"if {q} > e: {SHORT}")
        return q


class PartListField(ListField):
    """A list of packets of one class, lazy when it comes from bytes."""

    holds_packets = 1
    __slots__ = ["cls"]

    def __init__(self, name: str, cls: type[Packet], count: str | None = None) -> None:
        ListField.__init__(self, name, count)
        self.cls = cls

    def any2i(self, pkt: Any, x: Any) -> Any:
        if isinstance(x, LazyList):
            if x._owner is pkt:
                return x
            x = x.copy()
            x.owned_by(pkt)
            return x
        return ListField.any2i(self, pkt, x)

    def any2element(self, pkt: Any, x: Any) -> Any:
        only = getattr(self.cls, "record_as", None)
        if only and isinstance(x, (list, tuple)):
            x = self.cls(**{only: list(x)})
        elif isinstance(x, (bytes, bytearray)):
            x = self.cls(bytes(x), _internal=1)
        if isinstance(x, Packet) and pkt is not None:
            x.add_parent(pkt)
        return x

    def do_copy(self, x: Any) -> Any:
        if isinstance(x, LazyList):
            return x.copy()
        return [v.copy() if isinstance(v, Packet) else v for v in x] if isinstance(x, list) else x

    def element_size(self) -> int | None:
        return fixed_size(self.cls)

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        if isinstance(val, LazyList):
            return s + bytes(val)
        if isinstance(val, VolatileValue):
            val = val._fix()
        return s + b"".join(map(bytes, val))

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, LazyList]:
        ends = [0]
        for _ in range(pkt.getfieldval(self.uses[0])):
            ends.append(self.cls.plan.end(s, ends[-1], len(s), []))
        return s[ends[-1]:], LazyList(s, ends, self.cls, pkt)

    def randval(self) -> VolatileValue[Any]:
        return RandPackets(self.cls, many=True)

    def emit_skip(self, w: Writer) -> None:
        size = self.element_size()
        if size is not None:
            w.moves.append(f"{size} * {self._count(w, size)}")
            return
        with self._each(w):
            skip_class(w, self.cls)

    def emit_load(self, w: Writer) -> None:
        size, v = self.element_size(), w.new()
        new, cls = w.const(LazyList), w.const(self.cls)
        if size is not None:
            q = self._check(w, size)
            w.line(f"{v} = {new}(b, range(p, {q} + 1, {size}), {cls}, pkt)")
            w.line(f"p = {q}")
        else:
            ends = w.new("ends")
            w.line(f"{ends} = [p]")
            with self._each(w):
                skip_class(w, self.cls)
                w.line(f"{ends}.append(p)")
            w.line("if p > e: " + SHORT)
            w.line(f"{v} = {new}(b, {ends}, {cls}, pkt)")
        w.vars[self.name] = v

    def emit_element(self, w: Writer) -> str:
        return plain_class(w, self.cls)

    def emit_view(self, w: Writer) -> str:
        if not self.uses:
            return self.emit_plain(w)
        v, q, size = w.new(), w.new("q"), self.element_size()
        w.line(f"{q} = p")
        if size is not None:
            w.line(f"p = {self._check(w, size)}")
        elif not w.last:  # a summary need not know where the last list ends
            self.emit_skip(w)
        w.line(f"{v} = {w.const(ListView)}(b, {q}, e, {w.vars[self.uses[0]]}, {w.const(self.cls.plan)})")
        w.vars[self.name] = v
        return v


class OldPartListField(PartListField):
    """A list whose elements had another form once: `old`, told by the number of bytes that are left."""

    __slots__ = ["old"]

    def __init__(self, name: str, cls: type[Packet], old: type[Packet], count: str | None = None) -> None:
        PartListField.__init__(self, name, cls, count)
        self.old = PartListField(name, old, count)

    def _either(self, w: Writer, emit: Callable[[PartListField], None]) -> None:
        count = w.vars[self.uses[0]]
        with w.block(f"if {count} and e - p == {count} * {fixed_size(self.old.cls)}:"):
            emit(self.old)
        variable = w.vars.get(self.name)
        with w.block("else:"):
            emit(self.new)
            if variable:
                w.line(f"{variable} = {w.vars[self.name]}")
        if variable:
            w.vars[self.name] = variable

    @property
    def new(self) -> PartListField:
        """The list in its form of today."""
        return PartListField(self.name, self.cls, *self.uses)

    def emit_skip(self, w: Writer) -> None:
        self._either(w, lambda f: f.emit_skip(w))

    def emit_load(self, w: Writer) -> None:
        self._either(w, lambda f: f.emit_load(w))

    def emit_list_into(self, w: Writer, target: str) -> None:
        self._either(w, lambda f: f.emit_list_into(w, target))

    def emit_view(self, w: Writer) -> str:
        self._either(w, lambda f: None if f.emit_view(w) else None)
        return w.vars[self.name]
