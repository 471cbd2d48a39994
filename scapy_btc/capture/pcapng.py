# SPDX-License-Identifier: GPL-2.0-or-later
"""The pcapng format: sections of blocks, with interfaces of any link type and resolution of time."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from ..errors import CaptureError
from .bytesource import LARGEST_RECORD, ByteSource
from .pcap import CapturedFrame

MAGIC = b"\x0a\x0d\x0d\x0a"
"""Type of a section header block, the same in both byte orders."""

_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_SMALLEST = {_SECTION: 28, _INTERFACE: 20, _OLD_PACKET: 32, _SIMPLE_PACKET: 16, _ENHANCED_PACKET: 32}
_MOST_INTERFACES = 1 << 16  # in a section
_SECOND = 1_000_000_000
_LARGEST = dict.fromkeys(_SMALLEST, LARGEST_RECORD)
_LARGEST_PASSED = 256 << 20  # bytes of a block that is not held
_OPTION_END, _OPTION_TSRESOL, _OPTION_TSOFFSET = 0, 9, 14


class _Interface(NamedTuple):
    linktype: int
    snaplen: int
    unit_ns: int
    """Nanoseconds per unit of its time stamps; 0: no whole number."""
    per_second: int
    """Units per second."""
    offset_ns: int


class _Layouts:
    """The structures of one byte order."""

    def __init__(self, order: str) -> None:
        self.head = Struct(f"{order}II").unpack_from  # type, size
        self.enhanced = Struct(f"{order}8xIIIII").unpack_from  # interface, time (2), captured, original
        self.old = Struct(f"{order}8xHHIIII").unpack_from  # interface, drops, time (2), captured, original
        self.simple = Struct(f"{order}8xI").unpack_from  # original
        self.interface = Struct(f"{order}8xHHI").unpack_from  # link type, reserved, snaplen
        self.option = Struct(f"{order}HH").unpack_from  # code, size
        self.seconds = Struct(f"{order}q").unpack


_LAYOUTS = {b"\x4d\x3c\x2b\x1a": _Layouts("<"), b"\x1a\x2b\x3c\x4d": _Layouts(">")}


def pcapng_frames(source: ByteSource) -> Iterator[CapturedFrame]:
    """The frames of a pcapng file. Raises CaptureError when it is damaged or cut short, after all that can be read.

    A simple packet block has no time: it gets that of the frame before it.
    """
    layouts = next(iter(_LAYOUTS.values()))
    interfaces: list[_Interface] = []
    buffer = b""
    pos = frames = time_ns = 0
    while True:
        needed = 12
        limit = len(buffer)
        while limit - pos >= needed:
            kind, size = layouts.head(buffer, pos)
            if kind == _SECTION:
                try:
                    layouts = _LAYOUTS[buffer[pos + 8 : pos + 12]]
                except KeyError:
                    raise CaptureError(f"{source.name}: damaged: a section without byte order") from None
                interfaces = []
                kind, size = layouts.head(buffer, pos)
            if size < _SMALLEST.get(kind, 12) or (size > LARGEST_RECORD and size > _LARGEST.get(kind, _LARGEST_PASSED)):
                raise CaptureError(f"{source.name}: damaged: the block after frame {frames} announces {size:,} bytes")
            end = pos + size
            if end > limit:
                needed = size
                break
            if kind == _ENHANCED_PACKET or kind == _OLD_PACKET:  # noqa: SIM109  (faster)
                if kind == _ENHANCED_PACKET:
                    index, high, low, captured, original = layouts.enhanced(buffer, pos)
                else:
                    index, _, high, low, captured, original = layouts.old(buffer, pos)
                if captured > size - 32 or index >= len(interfaces):
                    raise CaptureError(f"{source.name}: damaged: frame {frames + 1} contradicts itself")
                linktype, _, unit_ns, per_second, offset_ns = interfaces[index]
                units = high << 32 | low
                time_ns = units * unit_ns + offset_ns if unit_ns else units * _SECOND // per_second + offset_ns
                frames += 1
                start = pos + 28
                yield frames, time_ns, linktype, buffer, start, start + captured, original
            elif kind == _SIMPLE_PACKET:
                if not interfaces:
                    raise CaptureError(f"{source.name}: damaged: frame {frames + 1} has no interface")
                (original,) = layouts.simple(buffer, pos)
                captured = min(original, interfaces[0].snaplen or original, size - 16)
                frames += 1
                start = pos + 12
                yield frames, time_ns, interfaces[0].linktype, buffer, start, start + captured, original
            elif kind == _INTERFACE:
                if len(interfaces) >= _MOST_INTERFACES:
                    raise CaptureError(f"{source.name}: damaged: more than {_MOST_INTERFACES:,} interfaces")
                interfaces.append(_interface(layouts, buffer[pos:end]))
            pos = end
        if needed > 12 and kind not in _SMALLEST:  # not for us: its bytes need not be held
            _pass_over(source, needed - (len(buffer) - pos), frames)
            buffer, pos = b"", 0
            continue
        buffer = source.read_at_least(needed, buffer[pos:])
        pos = 0
        if len(buffer) < needed:
            if buffer:
                raise CaptureError(f"{source.name}: cut short after frame {frames}")
            return


def _interface(layouts: _Layouts, block: bytes) -> _Interface:
    """What an interface description block says."""
    linktype, _, snaplen = layouts.interface(block)
    per_second, offset = 1_000_000, 0
    pos, end = 16, len(block) - 4
    while pos + 4 <= end:
        code, size = layouts.option(block, pos)
        value = block[pos + 4 : pos + 4 + size]
        if code == _OPTION_END:
            break
        if code == _OPTION_TSRESOL and size == 1:
            per_second = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == _OPTION_TSOFFSET and size == 8 and len(value) == 8:
            (offset,) = layouts.seconds(value)
        pos += 4 + size + -size % 4
    unit_ns = 0 if _SECOND % per_second else _SECOND // per_second
    return _Interface(linktype, snaplen, unit_ns, per_second, offset * _SECOND)


def _pass_over(source: ByteSource, size: int, frames: int) -> None:
    """Read and forget so many bytes; what comes after them in a chunk is put back."""
    while size > 0:
        chunk = source.read()
        if not chunk:
            raise CaptureError(f"{source.name}: cut short after frame {frames}")
        if len(chunk) > size:
            source.put_back(chunk[size:])
        size -= len(chunk)
