# SPDX-License-Identifier: GPL-2.0-or-later
"""The pcap format: a 24-byte file header, then per frame a record header and what was captured."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from ..errors import CaptureError
from .bytesource import LARGEST_RECORD, ByteSource

CapturedFrame = tuple[int, int, int, bytes, int, int, int]
"""Number (from 1), time in nanoseconds since 1970, LINKTYPE_ number, a buffer and where in it what was captured starts
and ends, bytes that were sent."""

_FILE_HEADER = 24
# magic in file order -> byte order, nanoseconds per unit of the fraction, size of a record header
_FORMATS: dict[bytes, tuple[str, int, int]] = {}
for _magic, _unit, _size in ((0xA1B2C3D4, 1000, 16), (0xA1B23C4D, 1, 16), (0xA1B2CD34, 1000, 24)):
    _FORMATS[_magic.to_bytes(4, "big")] = (">", _unit, _size)
    _FORMATS[_magic.to_bytes(4, "little")] = ("<", _unit, _size)

MAGICS = frozenset(_FORMATS)
"""First 4 bytes: microseconds, nanoseconds, and the variant of patched libpcaps with longer record headers."""


def pcap_frames(source: ByteSource) -> Iterator[CapturedFrame]:
    """The frames of a pcap file. Raises CaptureError when it is damaged or cut short, after all that can be read."""
    buffer = source.read_at_least(_FILE_HEADER)
    if len(buffer) < _FILE_HEADER:
        raise CaptureError(f"{source.name}: cut short inside the file header")
    order, unit, header_size = _FORMATS[buffer[:4]]
    linktype = int.from_bytes(buffer[20:24], "big" if order == ">" else "little") & 0xFFFF
    header = Struct(f"{order}IIII").unpack_from
    pos = _FILE_HEADER
    number = 0
    while True:
        limit = len(buffer)
        start = pos + header_size
        needed = header_size
        while start <= limit:
            seconds, fraction, captured, original = header(buffer, pos)
            end = start + captured
            if end > limit:
                if captured > LARGEST_RECORD:
                    raise CaptureError(f"{source.name}: damaged: frame {number + 1} announces {captured:,} bytes")
                needed += captured
                break
            number += 1
            yield number, seconds * 1_000_000_000 + fraction * unit, linktype, buffer, start, end, original
            pos = end
            start = end + header_size
        buffer = source.read_at_least(needed, buffer[pos:])
        pos = 0
        if len(buffer) < needed:
            if buffer:
                raise CaptureError(f"{source.name}: cut short inside frame {number + 1}")
            return
