# SPDX-License-Identifier: GPL-2.0-or-later
"""The base-128 integer of Bitcoin Core's databases, which only the draft of BIP 180 puts on the wire.

Seven bits a byte, most significant first, bit 7 set on all but the last; one is subtracted at every step, so that each
number has exactly one form. Not to be confused with CompactSize, which drafts also call "varint".
"""

from __future__ import annotations

from ..errors import FormatError

_MAX = 2**64 - 1


def read(buf: bytes, pos: int = 0) -> tuple[int, int]:
    """Read the number at `buf[pos]` and return (value, position after it).

    Raises FormatError when the bytes end too early or the number needs more than 64 bits.
    """
    n, p = 0, pos
    while p < len(buf):
        byte = buf[p]
        p += 1
        n = n << 7 | byte & 0x7F
        if n > _MAX:
            raise FormatError("base-128 number of more than 64 bits", offset=pos)
        if not byte & 0x80:
            return n, p
        n += 1
    raise FormatError("base-128 number cut short", offset=pos)


def encode(n: int) -> bytes:
    """Bytes of a number. Raises FormatError when it is negative or needs more than 64 bits."""
    if not 0 <= n <= _MAX:
        raise FormatError(f"a base-128 number holds 0 to 2^64-1, not {n}")
    out = [n & 0x7F]
    while n > 0x7F:
        n = (n >> 7) - 1
        out.append(n & 0x7F | 0x80)
    return bytes(reversed(out))
