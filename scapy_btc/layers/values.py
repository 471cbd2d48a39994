# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields that hold lists of numbers, hashes or byte strings."""

from __future__ import annotations

from typing import Any

from scapy.volatile import RandBin, RandNum, VolatileValue

from ..wire import compactsize
from ..wire.hashes import hash_hex, hex_hash
from .fields import as_bytes
from .listfield import ListField, shown
from .writer import Writer


class RandList(VolatileValue[Any]):
    """Up to three random elements, for `fuzz()`."""

    def __init__(self, element: VolatileValue[Any]) -> None:
        super().__init__()
        self.element = element

    def _fix(self) -> list[Any]:
        return [self.element._fix() for _ in range(RandNum(1, 3)._fix())]


class HashListField(ListField):
    """A list of 32-byte hashes: wire bytes inside, shown and accepted as reversed hex."""

    def any2element(self, pkt: Any, x: Any) -> Any:
        return hex_hash(x) if isinstance(x, str) else as_bytes(x, self.name)

    def i2repr(self, pkt: Any, x: Any) -> str:
        return shown(x, lambda v: hash_hex(v) if isinstance(v, bytes) and len(v) == 32 else repr(v))

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + b"".join(self.any2element(pkt, v) for v in val)

    def randval(self) -> VolatileValue[Any]:
        return RandList(RandBin(32))

    def element_size(self) -> int:
        return 32

    def emit_skip(self, w: Writer) -> None:
        w.moves.append(f"32 * {self._count(w, 32)}")

    def emit_load(self, w: Writer) -> None:
        q, v = self._check(w, 32), w.new()
        w.line(f"{v} = [b[i:i + 32] for i in range(p, {q}, 32)]")
        w.line(f"p = {q}")
        w.vars[self.name] = v

    def emit_element(self, w: Writer) -> str:
        v = w.new()
        w.line(f"{v} = b[p:p + 32]")
        w.pending += 32
        return f"{v}[::-1].hex()"


class IntListField(ListField):
    """A list of integers of `size` bytes each, little-endian."""

    __slots__ = ["signed", "size"]

    def i2repr(self, pkt: Any, x: Any) -> str:
        return shown(x, str)

    def __init__(self, name: str, size: int, count: str | None = None, signed: bool = False) -> None:
        ListField.__init__(self, name, count)
        self.size, self.signed = size, signed

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + b"".join(int(v).to_bytes(self.size, "little", signed=v < 0) for v in val)

    def randval(self) -> VolatileValue[Any]:
        return RandList(RandNum(0, 2**(8 * self.size - 1) - 1))

    def element_size(self) -> int:
        return self.size

    def emit_skip(self, w: Writer) -> None:
        w.moves.append(f"{self.size} * {self._count(w, self.size)}")

    def _one(self, start: str) -> str:
        return f"from_bytes(b[{start}:{start} + {self.size}], 'little', signed={self.signed})"

    def emit_load(self, w: Writer) -> None:
        w.space["from_bytes"] = int.from_bytes
        q, v = self._check(w, self.size), w.new()
        w.line(f"{v} = [{self._one('i')} for i in range(p, {q}, {self.size})]")
        w.line(f"p = {q}")
        w.vars[self.name] = v

    def emit_element(self, w: Writer) -> str:
        w.space["from_bytes"] = int.from_bytes
        v = w.new()
        w.line(f"{v} = {self._one('p')}")
        w.pending += self.size
        return v


def read_number(f: ListField, w: Writer) -> str:
    """Code that reads a CompactSize in an element of list `f`; the local that holds it."""
    n = w.new("n")
    notes = f", notes, {f.name!r}" if w.mode == "end" else ""
    w.line(f"{n} = b[p]")
    w.line(f"if {n} < 253: p += 1")
    w.line(f"else: {n}, p = wide(b, p{notes})")
    return n


class CompactSizeListField(ListField):
    """A list of CompactSize numbers (the differential indexes of BIP 152)."""

    def i2repr(self, pkt: Any, x: Any) -> str:
        return shown(x, repr)

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + b"".join(compactsize.encode(v, getattr(v, "width", None)) for v in val)

    def randval(self) -> VolatileValue[Any]:
        return RandList(RandNum(0, 2**16 - 1))

    def emit_skip(self, w: Writer) -> None:
        with self._each(w):
            read_number(self, w)

    def emit_load(self, w: Writer) -> None:
        v = w.new()
        self.emit_list_into(w, v)
        w.vars[self.name] = v

    def emit_element(self, w: Writer) -> str:
        return read_number(self, w)


class LongBytes(bytes):
    """Bytes whose length stood before them in a longer form than needed: `width` bytes."""

    width: int

    def __new__(cls, value: bytes, width: int) -> LongBytes:
        self = bytes.__new__(cls, value)
        self.width = width
        return self

    def __repr__(self) -> str:
        return f"LongBytes({bytes(self)!r}, {self.width})"

    def __reduce__(self) -> Any:
        return LongBytes, (bytes(self), self.width)


def counted(value: bytes, n: int) -> bytes:
    """The bytes, which remember how their length `n` was written where that was not the shortest form."""
    return value if type(n) is int else LongBytes(value, n.width)  # type: ignore[attr-defined]


class BytesListField(ListField):
    """A list of byte strings, each with its CompactSize length before it (a witness stack)."""

    plain = "{}.hex()"

    def any2element(self, pkt: Any, x: Any) -> Any:
        return as_bytes(x, self.name)

    def i2repr(self, pkt: Any, x: Any) -> str:
        return shown(x, lambda v: v.hex() if isinstance(v, bytes) else repr(v))

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        items = [self.any2element(pkt, v) for v in val]
        return s + b"".join(compactsize.encode(len(v), getattr(v, "width", None)) + v for v in items)

    def randval(self) -> VolatileValue[Any]:
        return RandList(RandBin(RandNum(0, 80)))

    def emit_skip(self, w: Writer) -> None:
        with self._each(w):
            w.moves.append(read_number(self, w))

    def emit_load(self, w: Writer) -> None:
        w.space["counted"] = counted
        v = w.new()
        w.line(f"{v} = []")
        with self._each(w):
            n = read_number(self, w)
            w.line(f"{v}.append(counted(b[p:p + {n}], {n}))")
            w.moves.append(n)
        w.vars[self.name] = v

    def emit_element(self, w: Writer) -> str:
        n, v = read_number(self, w), w.new()
        w.line(f"{v} = b[p:p + {n}]")
        w.moves.append(n)
        return self.plain.format(v)


class TextListField(BytesListField):
    """A list of texts, each with its CompactSize length before it."""

    plain = "{}.decode('utf-8', 'backslashreplace')"

    def i2repr(self, pkt: Any, x: Any) -> str:
        return shown(x, lambda v: repr(v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else v))
