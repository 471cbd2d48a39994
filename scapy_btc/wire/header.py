# SPDX-License-Identifier: GPL-2.0-or-later
"""The v1 message header: 24 bytes, or 20 for `version` and `verack` before 20 February 2012 (no checksum then)."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from ..protocol import MAX_SIZE
from .events import Frame

HEADER_SIZE = 24
OLD_HEADER_SIZE = 20
VERSION = b"version".ljust(12, b"\0")
VERACK = b"verack".ljust(12, b"\0")

unpack_header = Struct("<4s12sI4s").unpack_from
_number = Struct("<i").unpack

# what the first 4 payload bytes of a 20-byte-header version say, where a 24-byte header has its checksum
_OLD_VERSIONS = range(105, 70_100)
_VERSION_LENGTHS = range(46, 1_025)


@lru_cache(maxsize=1024)
def message_name(command: bytes) -> bytes:
    """The 12 command bytes up to the first zero byte."""
    return command.partition(b"\0")[0]


@lru_cache(maxsize=1024)
def is_well_formed(command: bytes) -> bool:
    """Whether the 12 bytes are printable ASCII, at least one character, padded with zero bytes."""
    name = command.rstrip(b"\0")
    return bool(name) and all(0x20 <= byte <= 0x7E for byte in name)


def is_plausible(data: bytes | bytearray, pos: int, magic: bytes) -> bool:
    """Whether a well-formed header with that magic starts at `pos`, where 24 bytes are there."""
    found, command, length, _ = unpack_header(data, pos)
    return bool(found == magic and length <= MAX_SIZE and is_well_formed(command))


def looks_like_old_version(command: bytes, length: int, after_length: bytes) -> bool:
    """Whether 4 bytes after the length field are the version number of a `version` whose header has 20 bytes.

    True for one in 61,000 random checksums too: ask only when the checksum does not hold.
    """
    return command == VERSION and length in _VERSION_LENGTHS and _number(after_length)[0] in _OLD_VERSIONS


def old_frame(magic: bytes, command: bytes, payload: bytes, start: int) -> Frame:
    """The frame of a message whose header has 20 bytes."""
    length = len(payload)
    end = start + OLD_HEADER_SIZE + length
    return Frame(magic, message_name(command), command, length, b"", payload, start, end, "none")


def doubtful_frame(magic: bytes, start: int, command: bytes, check: bytes, payload: bytes) -> Frame:
    """The frame of a message whose checksum does not hold: wrong, or the header has none and 20 bytes only."""
    length = len(payload)
    if looks_like_old_version(command, length, check):
        return old_frame(magic, command, check + payload[:-4], start)
    if command == VERACK and not payload and check == magic:
        return old_frame(magic, command, b"", start)
    end = start + HEADER_SIZE + length
    return Frame(magic, message_name(command), command, length, check, payload, start, end, "bad")
