# SPDX-License-Identifier: GPL-2.0-or-later
"""Bitcoin Core's block files (`blk*.dat`): magic, length (u32) and a block, one after the other.

Since version 28 they are hidden by a key of 8 bytes (`xor.dat` beside them) that is repeated over the file. Core
reserves 16 MiB at a time, so zero bytes that are not hidden may follow the last block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import CaptureError
from ..networks import Network, all_networks, by_magic
from ..protocol import MAX_SIZE
from ..wire.events import Frame
from .bytesource import CHUNK, ByteSource
from .message import Message, StreamEvent

_PREFIX = 8
_SIZES = range(81, MAX_SIZE + 1)  # bytes of a block: a header and a transaction count, at least
_COMMAND = b"block".ljust(12, b"\0")
_KEY_SIZE = 8
_NAME = re.compile(r"blk\d{5,}\.dat(\.gz|\.zst)?")


def looks_like_block_file(head: bytes, path: str) -> bool:
    """Whether a file is a block file: by its name, else by its first bytes (8 are enough)."""
    if not head:
        return False
    if _NAME.fullmatch(Path(path).name):
        return True
    clear = _Unhiding(xor_key(path)).next(head[:_PREFIX])
    return len(clear) == _PREFIX and bool(by_magic(clear[:4])) and int.from_bytes(clear[4:], "little") in _SIZES


def xor_key(path: str) -> bytes:
    """The key of the block file at `path`, 8 bytes; zero bytes where there is none.

    Raises CaptureError when `xor.dat` is there but is no key.
    """
    beside = Path(path).parent / "xor.dat"
    try:
        with beside.open("rb") as file:
            key = file.read(_KEY_SIZE + 1)
    except FileNotFoundError:
        return bytes(_KEY_SIZE)
    except OSError as error:
        raise CaptureError(f"{beside}: {error.strerror or error}") from error
    if len(key) != _KEY_SIZE:
        raise CaptureError(f"{beside}: not the key of block files, which has {_KEY_SIZE} bytes")
    return key


def read_blocks(
    source: ByteSource, network: Network | None = None, key: bytes | None = None
) -> Iterator[Message | StreamEvent]:
    """The blocks of a block file as `block` messages, at the time that each header says.

    :param network: whose blocks they are; else the magic tells
    :param key: 8 bytes; None: what `xor_key` finds

    What is no block is skipped up to the next one, and told. Raises CaptureError, after all that can be read, when
    the file ends inside a block or holds none although it holds something.
    """
    return _BlockFile(source, network, xor_key(source.name) if key is None else key).items()


class _Unhiding:
    """Applies the key to bytes that follow each other."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._offset = 0
        self._masks: dict[tuple[int, int], int] = {}

    def next(self, data: bytes) -> bytes:
        """The next bytes, with the key undone."""
        if not any(self.key):
            return data
        size = len(data)
        place = self._offset % _KEY_SIZE, size
        self._offset += size
        mask = self._masks.get(place)
        if mask is None:
            mask = int.from_bytes(self.zeros(*place), "little")
            if size == CHUNK:  # nearly all are
                self._masks[place] = mask
        return (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little")

    def zeros(self, offset: int, size: int) -> bytes:
        """What so many zero bytes at an offset of the file become."""
        turn = offset % _KEY_SIZE
        return (self.key[turn:] + self.key * (size // _KEY_SIZE + 1))[:size]


class _BlockFile:
    """One file; `_buffer` holds what was read and not yet given, from `_offset` of the file on."""

    def __init__(self, source: ByteSource, network: Network | None, key: bytes) -> None:
        self._source = source
        self._unhiding = _Unhiding(key)
        self._network = network
        self._name = Path(source.name).name
        magics = [network.magic] if network else sorted({known.magic for known in all_networks()})
        self._magic = re.compile(b"|".join(map(re.escape, magics)))
        self._buffer = bytearray()
        self._offset = 0
        self._blocks = 0
        self._time_ns = 0
        self._skipped = self._zeros = 0  # bytes since the last block, and how many zeros came after these

    def items(self) -> Iterator[Message | StreamEvent]:
        while self._holds(_PREFIX):
            size = self._size_here()
            if size and self._is_block(size):
                yield from self._what_was_skipped()
                yield self._block(size)
            elif size and not self._holds(_PREFIX + size) and not self._another_inside(size):
                break
            else:
                self._search()
        cut = bool(self._magic.match(self._buffer))
        if not cut:
            self._skip(len(self._buffer))
        skipped = bool(self._skipped)
        yield from self._what_was_skipped()
        if cut:
            yield self._event("truncated", len(self._buffer), f"the file ends inside block {self._blocks + 1}")
            raise CaptureError(f"{self._source.name}: cut short inside block {self._blocks + 1}")
        if skipped and not self._blocks:
            raise CaptureError(f"{self._source.name}: no block found; is its xor.dat missing, or another network's?")

    def _holds(self, size: int) -> bool:
        """Whether so many bytes follow, after reading on if need be."""
        buffer = self._buffer
        while len(buffer) < size:
            chunk = self._source.read()
            if not chunk:
                return False
            buffer += self._unhiding.next(chunk)
        return True

    def _size_here(self) -> int:
        """The length of the block whose magic and length come next; 0 where these do not."""
        size = int.from_bytes(self._buffer[4:_PREFIX], "little")
        return size if size in _SIZES and self._magic.match(self._buffer) else 0

    def _is_block(self, size: int) -> bool:
        """Whether a block is all there, and ends where a block may end: bytes that look like a magic do not."""
        end = _PREFIX + size
        if not self._holds(end):
            return False
        if not self._holds(end + 4):
            return True
        after = self._buffer[end : end + 4]
        if self._magic.match(after) or after == self._unhiding.zeros(self._offset + end, 4):
            return True
        return not self._another_inside(size)

    def _another_inside(self, size: int) -> bool:
        """Whether another magic stands inside what one announces."""
        return bool(self._magic.search(self._buffer, 4, _PREFIX + size))

    def _search(self) -> None:
        """Go on to the next magic, or to the end of what was read."""
        size = len(self._buffer)
        found = self._magic.search(self._buffer, 1)
        if found:
            self._skip(found.start())
        elif self._buffer == self._unhiding.zeros(self._offset, size):
            self._skip(size)
        else:
            self._skip(size - 3)  # a magic may begin at the end

    def _skip(self, size: int) -> None:
        """Take bytes out of the buffer that are no block."""
        mask = int.from_bytes(self._unhiding.zeros(self._offset, size), "little")
        told = ((int.from_bytes(self._buffer[:size], "little") ^ mask).bit_length() + 7) // 8
        if told:
            self._skipped += self._zeros + told
            self._zeros = 0
        self._zeros += size - told
        del self._buffer[:size]
        self._offset += size

    def _what_was_skipped(self) -> Iterator[StreamEvent]:
        """The event for what stood before this place; zeros alone, or many at the end of it, are not told."""
        if self._skipped:
            size = self._skipped + (self._zeros if self._zeros < _PREFIX else 0)
            yield self._event("skipped", size, "no block starts here")
        self._skipped = self._zeros = 0

    def _block(self, size: int) -> Message:
        end = _PREFIX + size
        magic = bytes(self._buffer[:4])
        with memoryview(self._buffer) as view:
            payload = bytes(view[_PREFIX:end])
        start = self._offset
        del self._buffer[:end]
        self._offset += end
        self._blocks = number = self._blocks + 1
        if self._network is None or self._network.magic != magic:
            self._network = by_magic(magic)[0]
        if number == 1:
            self._magic = re.compile(re.escape(magic))
        self._time_ns = int.from_bytes(payload[68:72], "little") * 1_000_000_000
        frame = Frame(magic, b"block", _COMMAND, size, b"", payload, start, self._offset, "none")
        return Message(
            self._time_ns, self._name, "", 0, self._network, "log", "block", payload, "none", (number, number), frame
        )

    def _event(self, event: str, size: int, reason: str) -> StreamEvent:
        number = self._blocks + 1
        return StreamEvent(event, size, self._time_ns, 0, self._name, "", reason, (number, number), self._network)
