# SPDX-License-Identifier: GPL-2.0-or-later
"""CompactSize, the variable-length unsigned integer of counts and lengths (1, 3, 5 or 9 bytes, little-endian)."""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Any, final

from ..errors import FormatError

_U16 = Struct("<H")
_U32 = Struct("<I")
_U64 = Struct("<Q")

# whole width in bytes -> prefix byte and layout of the rest
_LONG_FORMS = {3: (b"\xfd", _U16), 5: (b"\xfe", _U32), 9: (b"\xff", _U64)}


@final
class CompactSize(int):
    """An integer that remembers the width in bytes (1, 3, 5, 9) in which it stands on the wire.

    `read` returns one only for a value in a longer form than needed, so that writing it again gives the same bytes.
    """

    width: int

    def __new__(cls, value: int = 0, width: int | None = None) -> CompactSize:
        self = super().__new__(cls, value)
        self.width = _check(self, minimal_width(self) if width is None else width)
        return self

    def __reduce__(self) -> tuple[type[CompactSize], tuple[int, int]]:
        return CompactSize, (int(self), self.width)

    def __repr__(self) -> str:
        return f"CompactSize({int(self)}, {self.width})"

    __str__ = int.__repr__


def minimal_width(n: int) -> int:
    """Bytes of the shortest form of `n`. Raises FormatError when `n` is negative or needs more than 64 bits."""
    if 0 <= n < 0xFD:
        return 1
    if 0 < n <= 0xFFFF:
        return 3
    if 0 < n <= 0xFFFFFFFF:
        return 5
    if 0 < n <= 0xFFFFFFFFFFFFFFFF:
        return 9
    raise FormatError(f"a CompactSize holds 0 to 2^64-1, not {int(n)}")


def _check(n: int, width: int) -> int:
    if width not in (1, 3, 5, 9):
        raise FormatError(f"a CompactSize is 1, 3, 5 or 9 bytes wide, not {width}")
    if minimal_width(n) > width:
        raise FormatError(f"{int(n)} does not fit a CompactSize of {width} bytes")
    return width


def read(buf: Any, pos: int = 0) -> tuple[int, int]:
    """Read the CompactSize at `buf[pos]` (any bytes-like object) and return (value, position after it).

    A value in a longer form than needed is a `CompactSize`, any other a plain int. No range limit is applied.
    Raises FormatError when the bytes end too early.
    """
    try:
        first = buf[pos]
        if first < 0xFD:
            return first, pos + 1
        if first == 0xFD:
            value, width, smallest = _U16.unpack_from(buf, pos + 1)[0], 3, 0xFD
        elif first == 0xFE:
            value, width, smallest = _U32.unpack_from(buf, pos + 1)[0], 5, 1 << 16
        else:
            value, width, smallest = _U64.unpack_from(buf, pos + 1)[0], 9, 1 << 32
    except (IndexError, struct_error) as exc:
        raise FormatError("CompactSize cut short", offset=pos) from exc
    if value < smallest:
        value = CompactSize(value, width)
    return value, pos + width


def encode(n: int, width: int | None = None) -> bytes:
    """Bytes of `n`: in `width` bytes if given, else in the width a `CompactSize` remembers, else in the shortest form.

    Raises FormatError when `n` does not fit.
    """
    if width is None:
        if isinstance(n, CompactSize):
            width = n.width
        elif 0 <= n < 0xFD:
            return bytes((n,))
        else:
            width = minimal_width(n)
    if _check(n, width) == 1:
        return bytes((n,))
    prefix, layout = _LONG_FORMS[width]
    return prefix + layout.pack(n)
