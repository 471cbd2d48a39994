# SPDX-License-Identifier: GPL-2.0-or-later
"""Field types of Bitcoin's encodings, beside Scapy's own `LEIntField`, `LELongField`, `ByteField` ...

A field knows how to show and build one value (Scapy's side) and how to emit the code that reads it (`plan`). Scapy's
own fields of fixed size need nothing more: their struct code says it all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from keyword import iskeyword
from typing import Any

from scapy.fields import ConditionalField, Field, LEIntField, LELongField, LESignedLongField
from scapy.volatile import RandBin, RandNum, VolatileValue

from ..chain.address import format_legacy, parse, to_legacy
from ..protocol import parse_services, service_names
from ..wire import compactsize
from ..wire.hashes import hash_hex, hex_hash
from .writer import NAME, Writer


def as_bytes(value: Any, name: str) -> Any:
    """The value of bytes field `name`: text becomes UTF-8, bytes and random values stay. Raises TypeError for an int.

    `bytes()` would make that many zeros of an int.
    """
    if isinstance(value, int):
        raise TypeError(f"{name} is bytes or text, not the number {value}")
    if isinstance(value, list):  # Scapy makes a packet for each
        return [as_bytes(v, name) for v in value]
    return value.encode() if isinstance(value, str) else bytes(value) if isinstance(value, bytearray) else value


class WireField(Field[Any, Any]):
    """A field that the plan of a `BTCPacket` reads.

    One of fixed size has `code`, its struct code; any other has `emit_skip`, `emit_load` and `emit_plain`: they write
    code that moves `p` behind the field, and name the local that holds the Packet's value, or return an expression for
    the record's value.

    :cvar plain: the record's value as an expression over the bytes `{}`
    :cvar helpers: functions that `plain` calls
    :cvar uses: names of the fields that must have been read before
    """

    code: str | None = None
    plain = "{}"
    helpers: dict[str, Callable[..., Any]] = {}
    uses: tuple[str, ...] = ()

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        raise TypeError(f"{type(self).__name__} {self.name!r} can only be read as a field of a BTCPacket")

    def fixed_size(self) -> int | None:
        """Bytes that every value takes, where that is one number that no `code` says."""
        return None

    def emit_skip(self, w: Writer) -> None:
        raise NotImplementedError

    def emit_load(self, w: Writer) -> None:
        raise NotImplementedError

    def emit_plain(self, w: Writer) -> str:
        raise NotImplementedError


class CompactSizeField(WireField):
    """CompactSize: 1, 3, 5 or 9 bytes, little-endian; a value, or the count or length of another field.

    None computes it from `count_of` or `length_of`. Read in a longer form than needed it is a
    `wire.compactsize.CompactSize`, which remembers its width, so that fields alone rebuild the bytes.
    """

    __slots__ = ["count_of", "length_of", "limit"]

    def __init__(self, name: str, default: Any = None, count_of: str | None = None, length_of: str | None = None,
                 limit: int | None = None) -> None:
        Field.__init__(self, name, default, "<Q")
        self.count_of, self.length_of, self.limit = count_of, length_of, limit

    def i2m(self, pkt: Any, x: Any) -> Any:
        if x is None and pkt is not None and (target := self.count_of or self.length_of):
            field, value = pkt.getfield_and_val(target)
            if self.count_of:
                return field.i2count(pkt, value)
            return len(field.addfield(pkt, b"", value))
        return 0 if x is None else x

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + compactsize.encode(self.i2m(pkt, val), getattr(val, "width", None))

    def randval(self) -> Any:
        return None if self.count_of or self.length_of else RandNum(0, 2**64 - 1)

    def _read(self, w: Writer) -> str:
        n, offset = w.new("n"), w.offset()
        at = f"p + {offset}" if offset else "p"
        notes = f", notes, {self.name!r}" if w.mode == "end" else ""
        w.line(f"{n} = b[{at}]")
        w.line(f"if {n} < 253: p += {offset + 1}")
        w.line(f"else: {n}, p = wide(b, {at}{notes})")
        w.vars[self.name] = n
        return n

    def emit_skip(self, w: Writer) -> None:
        n = self._read(w)
        if self.limit is not None and w.mode == "end":
            w.line(f"if {n} > {self.limit}: notes.append(('over-limit', {self.name!r}))")

    def emit_load(self, w: Writer) -> None:
        self._read(w)

    def emit_plain(self, w: Writer) -> str:
        return self._read(w)


class _BytesBase(WireField):
    """Bytes, given as bytes or as text; a list of them makes Scapy give a packet for each."""

    plain = "{}.hex()"

    def any2i(self, pkt: Any, x: Any) -> Any:
        return [self.h2i(pkt, v) for v in x] if isinstance(x, list) else self.h2i(pkt, x)

    def h2i(self, pkt: Any, x: Any) -> Any:
        return as_bytes(x, self.name)

    def i2m(self, pkt: Any, x: Any) -> bytes:
        return b"" if x is None else bytes(as_bytes(x, self.name))

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + self.i2m(pkt, val)

    def i2len(self, pkt: Any, x: Any) -> int:
        return len(self.i2m(pkt, x))

    def i2repr(self, pkt: Any, x: Any) -> str:
        return x.hex() if isinstance(x, bytes) else repr(x)

    def randval(self) -> VolatileValue[bytes]:
        return RandBin(RandNum(0, 80))


class BytesField(_BytesBase):
    """Bytes whose number another field gives, `length` (by default `NAME_length`)."""

    __slots__ = ["uses"]

    def __init__(self, name: str, default: bytes | None = b"", length: str | None = None) -> None:
        Field.__init__(self, name, default, "0s")
        self.uses = (length or f"{name}_length",)

    def size(self, w: Writer) -> str:
        """The expression for the number of bytes."""
        return w.vars[self.uses[0]]

    def emit_skip(self, w: Writer) -> None:
        w.moves.append(self.size(w))

    def emit_load(self, w: Writer) -> None:
        n, v, offset = self.size(w), w.new(), w.offset()
        at = f"p + {offset}" if offset else "p"
        w.line(f"{v} = b[{at}:{at} + {n}]")
        w.pending, w.moves = offset, [n]
        w.vars[self.name] = v

    def emit_plain(self, w: Writer) -> str:
        self.emit_load(w)
        w.space.update(self.helpers)
        return w.expression(self.plain).format(w.vars[self.name])


class TextField(BytesField):
    """Bytes meant as text; what is no UTF-8 is shown as `\\xNN`."""

    plain = "{}.decode('utf-8', 'backslashreplace')"

    def i2repr(self, pkt: Any, x: Any) -> str:
        return repr(x.decode("utf-8", "backslashreplace")) if isinstance(x, bytes) else repr(x)


class RestField(_BytesBase):
    """All bytes up to the end of the payload."""

    def __init__(self, name: str, default: bytes | None = b"") -> None:
        Field.__init__(self, name, default, "0s")

    def emit_skip(self, w: Writer) -> None:
        w.line("if p < e: p = e")

    def emit_load(self, w: Writer) -> None:
        v = w.vars[self.name] = w.new()
        w.line(f"{v} = b[p:e]")
        w.line("if p < e: p = e")

    def emit_plain(self, w: Writer) -> str:
        self.emit_load(w)
        return self.plain.format(w.vars[self.name])


class FixedBytesField(_BytesBase):
    """Exactly `size` bytes; what is given shorter or longer is sent as given."""

    __slots__ = ["code"]

    def __init__(self, name: str, default: bytes | None, size: int) -> None:
        Field.__init__(self, name, default, f"{size}s")
        self.code = f"{size}s"

    def randval(self) -> VolatileValue[bytes]:
        return RandBin(self.sz)


class HashField(FixedBytesField):
    """A 32-byte hash: wire bytes inside, shown and accepted as the reversed hex that users know."""

    plain = "{}[::-1].hex()"

    def __init__(self, name: str, default: bytes | None = bytes(32)) -> None:
        FixedBytesField.__init__(self, name, default, 32)

    def h2i(self, pkt: Any, x: Any) -> Any:
        return hex_hash(x) if isinstance(x, str) else as_bytes(x, self.name)

    def i2h(self, pkt: Any, x: Any) -> Any:
        return hash_hex(x) if isinstance(x, bytes) and len(x) == 32 else x

    def i2repr(self, pkt: Any, x: Any) -> str:
        x = self.i2h(pkt, x)
        return x if isinstance(x, str) else repr(x)


class LegacyIPField(FixedBytesField):
    """The 16-byte address of `addr` and `version`: IPv4-mapped, IPv6, or OnionCat, shown as text."""

    plain = "format_legacy({})"
    helpers = {"format_legacy": format_legacy}

    def __init__(self, name: str, default: bytes = bytes(16)) -> None:
        FixedBytesField.__init__(self, name, default, 16)

    def h2i(self, pkt: Any, x: Any) -> Any:
        return to_legacy(*parse(x)) if isinstance(x, str) else as_bytes(x, self.name)

    def i2h(self, pkt: Any, x: Any) -> Any:
        return format_legacy(x) if isinstance(x, bytes) and len(x) == 16 else x

    def i2repr(self, pkt: Any, x: Any) -> str:
        x = self.i2h(pkt, x)
        return x if isinstance(x, str) else repr(x)


def services_repr(x: Any) -> str:
    return f"{x:#x} ({'|'.join(service_names(x)) or 'none'})" if isinstance(x, int) else repr(x)


class ServicesField(LELongField):
    """Service flags, u64 little-endian, shown with their names; text is read as names: "NETWORK|WITNESS"."""

    def any2i(self, pkt: Any, x: Any) -> Any:
        return parse_services(x) if isinstance(x, str) else x

    def i2repr(self, pkt: Any, x: Any) -> str:
        return services_repr(x)


class CompactServicesField(CompactSizeField):
    """Service flags as a CompactSize (BIP 155); text is read as names."""

    def any2i(self, pkt: Any, x: Any) -> Any:
        return parse_services(x) if isinstance(x, str) else x

    def i2repr(self, pkt: Any, x: Any) -> str:
        return services_repr(x)


def time_repr(x: Any) -> str:
    if not isinstance(x, int):
        return repr(x)
    try:
        return f"{x} ({datetime.fromtimestamp(x, timezone.utc):%Y-%m-%d %H:%M:%S} UTC)"
    except (ValueError, OverflowError, OSError):
        return str(x)


class TimeField(LEIntField):
    """Seconds since 1970-01-01 UTC, u32 little-endian."""

    def i2repr(self, pkt: Any, x: Any) -> str:
        return time_repr(x)


class LongTimeField(LESignedLongField):
    """Seconds since 1970-01-01 UTC, i64 little-endian."""

    def i2repr(self, pkt: Any, x: Any) -> str:
        return time_repr(x)


class OptionalField(ConditionalField):
    """A field that is on the wire only under a condition.

    :param fld: the field; None means absent, and stays absent when building
    :param condition: a Python expression over the names of fields before this one (None where they are absent) and over
        `b, p, e`: the payload, the current position, and its end
    """

    __slots__ = ["condition", "uses"]

    def __init__(self, fld: Any, condition: str) -> None:
        name = fld.name
        ConditionalField.__init__(self, fld, lambda pkt: pkt.getfieldval(name) is not None)
        self.condition = condition
        self.uses = tuple(n for n in NAME.findall(condition) if n not in ("b", "p", "e") and not iskeyword(n))

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s if val is None and not self.measures(pkt) else self.fld.addfield(pkt, s, val)

    def measures(self, pkt: Any) -> bool:
        """Whether this is the count or length of a field that is there."""
        target = getattr(self.fld, "count_of", None) or getattr(self.fld, "length_of", None)
        return target is not None and pkt.getfieldval(target) is not None

    def any2i(self, pkt: Any, x: Any) -> Any:
        return None if x is None else self.fld.any2i(pkt, x)

    def i2h(self, pkt: Any, x: Any) -> Any:
        return None if x is None else self.fld.i2h(pkt, x)


def TailField(fld: Any) -> OptionalField:
    """A field that older or shorter forms of a message leave out: present while bytes remain."""
    return OptionalField(fld, "p < e")
