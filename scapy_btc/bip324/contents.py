# SPDX-License-Identifier: GPL-2.0-or-later
"""What a packet says as a message: a name and a payload. The ids of names are the caller's (`layers.registry`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import FormatError
from ..protocol import MESSAGE_TYPE_SIZE
from ..wire.header import HEADER_SIZE

PACKET_HEADER = 1
"""Bytes before the contents of a packet."""
LONG = 0
"""The id of a message that says its name."""

Ids = Mapping[int, bytes]
"""Message names, without padding, by their one-byte ids."""

Message = tuple[bytes, bytes]
"""Command (12 bytes, as they stand there or would in v1) and payload."""

_LONG_AT = PACKET_HEADER + 1
_LONG_END = _LONG_AT + MESSAGE_TYPE_SIZE


def commands_of(ids: Ids) -> tuple[bytes, ...]:
    """The 12 command bytes by id, as a v1 header has them; an id that nobody is known to use is called `(id 38)`."""
    return tuple((ids.get(number) or b"(id %d)" % number).ljust(MESSAGE_TYPE_SIZE, b"\0") for number in range(256))


def pack(raw: bytes, numbers: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The contents, in two pieces, for a message that is given with its header as in v1.

    Magic, length and checksum of the header have no place in v2. Raises FormatError for less than a header.

    :param numbers: ids by command
    """
    if len(raw) < HEADER_SIZE:
        raise FormatError(f"{len(raw)} bytes are no message that v2 could carry")
    command = raw[4:16]
    number = numbers.get(command, LONG)
    return bytes((number,)) + (b"" if number else command), raw[HEADER_SIZE:]


def unpack(plain: bytes | memoryview, commands: Sequence[bytes]) -> Message | None:
    """The message of a packet; None where there is none.

    :param plain: header and contents
    :param commands: as `commands_of` gives them
    """
    size = len(plain)
    if size < _LONG_AT:
        return None
    number = plain[PACKET_HEADER]
    if number != LONG:
        return commands[number], bytes(plain[_LONG_AT:])
    return (bytes(plain[_LONG_AT:_LONG_END]), bytes(plain[_LONG_END:])) if size >= _LONG_END else None
