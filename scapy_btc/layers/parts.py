# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields that hold packets, one or a list of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scapy.fields import Field, RawVal
from scapy.packet import Packet, Raw, fuzz
from scapy.volatile import RandNum, VolatileValue

from .fields import WireField
from .listfield import UNSET, ListField, Unset
from .lists import LazyList, ListView
from .plan import BROKEN, SHORT, fixed_size, plain_class, skip_class
from .writer import Writer


class Untouched(bytes):
    """The bytes of a part that nobody looked at yet; a `BTCPacket` makes it a Packet when somebody does."""

    __slots__ = ()


class RandPackets(VolatileValue[Any]):
    """Random packets of a class, for `fuzz()`: one, or a list of up to three."""

    def __init__(self, cls: type[Packet], many: bool) -> None:
        super().__init__()
        self.cls, self.many = cls, many

    def _fix(self) -> Any:
        # iterating over a packet gives it again with its random values drawn
        drawn = [next(iter(fuzz(self.cls()))) for _ in range(RandNum(1, 3)._fix() if self.many else 1)]
        return drawn if self.many else drawn[0]


def whole(cls: Any, x: bytes, parent: Packet | None) -> Any:
    """The packet of exactly these bytes; the bytes themselves where they are none."""
    try:
        return cls.from_wire(x, parent) if cls.plan.end(x, 0, len(x), []) == len(x) else x
    except BROKEN:
        return x


class PartField(WireField):
    """One packet of a class, without a payload of its own; bytes that are no such packet are sent as given."""

    holds_packets = 1
    __slots__ = ["cls"]

    def __init__(self, name: str, cls: type[Packet]) -> None:
        Field.__init__(self, name, UNSET, "0s")
        self.cls: Any = cls

    def fresh(self, pkt: Any) -> Packet:
        made: Packet = self.cls(_internal=1, _parent=pkt)
        return made

    def any2i(self, pkt: Any, x: Any) -> Any:
        if isinstance(x, list):  # Scapy makes a packet for each
            return [self.any2i(pkt, v) for v in x]
        if isinstance(x, (bytes, bytearray)):
            return whole(self.cls, bytes(x), pkt)
        if not isinstance(x, (Packet, VolatileValue, Unset, type(None))):
            raise TypeError(f"{self.name} is a {self.cls.__name__} or its bytes, not {x!r}")
        if isinstance(x, Packet) and pkt is not None:
            x.add_parent(pkt)
        return x

    def i2repr(self, pkt: Any, x: Any) -> str:
        return repr(pkt.getfieldval(self.name) if isinstance(x, Untouched) else x)

    def do_copy(self, x: Any) -> Any:
        return x.copy() if isinstance(x, Packet) else x

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + bytes(self.fresh(pkt) if val is None or isinstance(val, Unset) else val)

    def randval(self) -> VolatileValue[Any]:
        return RandPackets(self.cls, many=False)

    def fixed_size(self) -> int | None:
        return fixed_size(self.cls)

    def emit_skip(self, w: Writer) -> None:
        skip_class(w, self.cls)

    def emit_load(self, w: Writer) -> None:
        start, v = w.new("q"), w.new()
        w.line(f"{start} = p")
        skip_class(w, self.cls)
        w.line("if p > e: " + SHORT)
        w.line(f"{v} = {w.const(Untouched)}(b[{start}:p])")
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

    def any2i(self, pkt: Any, x: Any) -> Any:
        return PartField.any2i(self, pkt, x.encode() if isinstance(x, str) else x)

    def record(self, x: bytes) -> Any:
        try:
            value, end = self.cls.plan.record(x, 0, len(x))
            return value if end == len(x) else x.hex()
        except BROKEN:
            return x.hex()

    def fixed_size(self) -> int | None:
        return None

    def emit_skip(self, w: Writer) -> None:
        w.moves.append(w.vars[self.uses[0]])

    def _slice(self, w: Writer) -> str:
        n, v = w.vars[self.uses[0]], w.new()
        w.line(f"{v} = b[p:p + {n}]")
        w.moves.append(n)
        w.vars[self.name] = v
        return v

    def emit_load(self, w: Writer) -> None:
        v = self._slice(w)
        w.line(f"{v} = {w.const(whole)}({w.const(self.cls)}, {v}, pkt)")

    def emit_plain(self, w: Writer) -> str:
        v = self._slice(w)
        w.line(f"{v} = {w.const(self.record)}({v})")
        return v


class PartListField(ListField):
    """A list of packets of one class, which are made when touched.

    What is put into it may also be bytes (those that are no such packet become a `Raw`), or a list that `record_as`
    names the field for.
    """

    holds_packets = 1
    __slots__ = ["cls"]

    def __init__(self, name: str, cls: type[Packet], count: str | None = None) -> None:
        ListField.__init__(self, name, count)
        self.cls: Any = cls

    def fresh(self, pkt: Any) -> list[Any]:
        return LazyList(b"", (0,), self, pkt)

    def any2i(self, pkt: Any, x: Any) -> Any:
        if not isinstance(x, LazyList):
            return ListField.any2i(self, pkt, x)
        return x if x.owner is pkt else x.clone(pkt)

    def any2element(self, pkt: Any, x: Any) -> Packet:
        if isinstance(x, (list, tuple)) and self.cls.record_as:
            x = self.cls(**{self.cls.record_as: list(x)})
        elif isinstance(x, (bytes, bytearray, RawVal)):
            x = whole(self.cls, bytes(x), pkt)
        if isinstance(x, bytes):
            x = Raw(load=x)
        if not isinstance(x, Packet):
            raise TypeError(f"an element of {self.name} is a packet or its bytes, not {x!r}")
        x.add_parent(pkt)
        return x

    def do_copy(self, x: Any) -> Any:
        return x.clone(x.owner) if isinstance(x, LazyList) else x

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + (bytes(val) if isinstance(val, LazyList) else b"".join(map(bytes, val)))

    def randval(self) -> VolatileValue[Any]:
        return RandPackets(self.cls, many=True)

    def element_size(self) -> int | None:
        return fixed_size(self.cls)

    def emit_skip(self, w: Writer) -> None:
        size = self.element_size()
        if size is not None:
            w.moves.append(f"{size} * {self._count(w, size)}")
            return
        with self._each(w):
            skip_class(w, self.cls)

    def emit_load(self, w: Writer) -> None:
        size, v = self.element_size(), w.new()
        new, field = w.const(LazyList), w.const(self)
        if size is not None:
            q = self._check(w, size)
            w.line(f"{v} = {new}(b, range(p, {q} + 1, {size}), {field}, pkt)")
            w.line(f"p = {q}")
        else:
            ends = w.new("ends")
            w.line(f"{ends} = [p]")
            with self._each(w):
                skip_class(w, self.cls)
                w.line(f"{ends}.append(p)")
            w.line("if p > e: " + SHORT)
            w.line(f"{v} = {new}(b, {ends}, {field}, pkt)")
        w.vars[self.name] = v

    def emit_element(self, w: Writer) -> str:
        return plain_class(w, self.cls)

    def emit_view(self, w: Writer) -> str:
        """Code that makes a `ListView`; the elements of a last list are not looked for, only their bytes."""
        if not self.uses:
            return self.emit_plain(w)
        size, v, q = self.element_size(), w.new(), w.new("q")
        w.line(f"{q} = p")
        if size is not None:
            w.line(f"p = {self._check(w, size)}")
        elif not w.last:
            self.emit_skip(w)
        w.line(f"{v} = {w.const(ListView)}(b, {q}, e, {w.vars[self.uses[0]]}, {w.const(self.cls.plan)})")
        w.vars[self.name] = v
        return v


class OldPartListField(PartListField):
    """A list whose elements had another form once: `old`, told by the number of bytes that are left."""

    __slots__ = ["new", "old"]

    def __init__(self, name: str, cls: type[Packet], old: type[Packet], count: str | None = None) -> None:
        PartListField.__init__(self, name, cls, count)
        self.new, self.old = PartListField(name, cls, count), PartListField(name, old, count)

    def _either(self, w: Writer, emit: Callable[[PartListField], Any]) -> None:
        count = w.vars[self.uses[0]]
        with w.block(f"if {count} and e - p == {count} * {fixed_size(self.old.cls)}:"):
            emit(self.old)
        with w.block("else:"):
            emit(self.new)

    def emit_skip(self, w: Writer) -> None:
        self._either(w, lambda f: f.emit_skip(w))

    def emit_load(self, w: Writer) -> None:
        v = w.new()

        def load(f: PartListField) -> None:
            f.emit_load(w)
            w.line(f"{v} = {w.vars[f.name]}")

        self._either(w, load)
        w.vars[self.name] = v

    def emit_list_into(self, w: Writer, target: str) -> None:
        self._either(w, lambda f: f.emit_list_into(w, target))

    def emit_view(self, w: Writer) -> str:
        v = w.new()
        self._either(w, lambda f: w.line(f"{v} = {f.emit_view(w)}"))
        w.vars[self.name] = v
        return v
