# SPDX-License-Identifier: GPL-2.0-or-later
"""Field types that only retired and proposed messages need."""

from __future__ import annotations

from typing import Any

from scapy.fields import Field
from scapy.volatile import RandNum, VolatileValue

from ..errors import FormatError
from ..wire import base128
from .fields import CompactSizeField, FixedBytesField, OptionalField, WireField
from .txfields import OutputScriptField, coins
from .writer import Writer


class Base128Field(WireField):
    """The base-128 integer of Bitcoin Core's databases."""

    def __init__(self, name: str, default: int | None) -> None:
        Field.__init__(self, name, default, "<Q")

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + base128.encode(val or 0)

    def randval(self) -> VolatileValue[int]:
        return RandNum(0, 2**64 - 1)

    def emit_plain(self, w: Writer) -> str:
        n = w.vars[self.name] = w.new("n")
        w.line(f"{n}, p = {w.const(base128.read)}(b, p)")
        return n

    def emit_load(self, w: Writer) -> None:
        self.emit_plain(w)

    def emit_skip(self, w: Writer) -> None:
        self.emit_plain(w)


class FixedTextField(FixedBytesField):
    """Text in `size` bytes, padded with zeros; bytes are sent as given."""

    plain = "{}.rstrip(b'\\0').decode('utf-8', 'backslashreplace')"

    def any2i(self, pkt: Any, x: Any) -> Any:
        return x.encode().ljust(self.sz, b"\0") if isinstance(x, str) else FixedBytesField.any2i(self, pkt, x)

    def i2h(self, pkt: Any, x: Any) -> Any:
        """Text where that means the same bytes."""
        text = x.rstrip(b"\0").decode("utf-8", "replace") if isinstance(x, bytes) else x
        return text if self.any2i(pkt, text) == x else x

    def i2repr(self, pkt: Any, x: Any) -> str:
        return repr(self.i2h(pkt, x))


class CompressedAmountField(CompactSizeField):
    """An amount as Bitcoin Core's databases compress it, a CompactSize, shown with what it means."""

    def i2repr(self, pkt: Any, x: Any) -> str:
        return f"{x} ({coins(decompressed_amount(x))})" if isinstance(x, int) else repr(x)


def decompressed_amount(x: int) -> int:
    """Satoshi of a compressed amount: trailing decimal zeros became an exponent."""
    if x == 0:
        return 0
    n, exponent = divmod(x - 1, 10)
    if exponent < 9:
        n, digit = divmod(n, 9)
        return int((10 * n + digit + 1) * 10**exponent)
    return int((n + 1) * 10**9)


SCRIPT_SIZES = {1: 20, 2: 32, 3: 32, 4: 64, 5: 20, 6: 32, 7: 20, 8: 32}
"""Bytes after the prefix that says which kind of script they stand for; prefix 0 has a length."""


def script_size(prefix: int, length: int | None) -> int:
    """Raises FormatError for a prefix that nobody defined."""
    size = SCRIPT_SIZES.get(prefix) if prefix else length
    if size is None:
        raise FormatError(f"unknown script prefix {prefix}")
    return size


class PrefixedScriptField(OutputScriptField):
    """A script, or the hash or key that stands for it, of a size that `NAME_prefix` gives, or for 0 `NAME_length`."""

    def __init__(self, name: str, default: bytes = b"") -> None:
        OutputScriptField.__init__(self, name, default)
        self.uses = (f"{name}_prefix", f"{name}_length")

    def size(self, w: Writer) -> str:
        prefix, length = (w.vars[name] for name in self.uses)
        n = w.new("n")
        w.line(f"{n} = {w.const(script_size)}({prefix}, {length})")
        return n

    def i2repr(self, pkt: Any, x: Any) -> str:
        plain = pkt is None or pkt.getfieldval(self.uses[0]) == 0
        return OutputScriptField.i2repr(self, pkt, x) if plain or not isinstance(x, bytes) else x.hex()


class PrefixedLengthField(OptionalField):
    """The length of a script, there when the field `prefix` before it is 0."""

    def __init__(self, script: str, prefix: str) -> None:
        length = CompactSizeField(f"{script}_length", None, length_of=script)
        OptionalField.__init__(self, length, f"{prefix} == 0")

    def measures(self, pkt: Any) -> bool:
        return bool(pkt.getfieldval(self.uses[0]) == 0)
