# SPDX-License-Identifier: GPL-2.0-or-later
"""What a packet says as a message: a name and a payload. The ids of names are the caller's (`layers.registry`)."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import FormatError
from ..protocol import MESSAGE_TYPE_SIZE
from ..wire.header import HEADER_SIZE
from .packets import HEADER_SIZE as PACKET_HEADER

LONG = 0
"""The id of a message that says its name."""

Ids = Mapping[int, bytes]
"""Message names, without padding, by their one-byte ids."""


def ids_by_command(ids: Ids) -> dict[bytes, int]:
    """The ids by the 12 command bytes of a v1 header."""
    return {name.ljust(MESSAGE_TYPE_SIZE, b"\0"): number for number, name in ids.items()}


def pack(raw: bytes, ids: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The contents, in two pieces, for a message that is given with its header as in v1.

    Magic, length and checksum of the header have no place in v2. Raises FormatError for less than a header.

    :param ids: by command
    """
    if len(raw) < HEADER_SIZE:
        raise FormatError(f"{len(raw)} bytes are no message that v2 could carry")
    command = raw[4:16]
    number = ids.get(command, LONG)
    return bytes((number,)) + (b"" if number else command), raw[HEADER_SIZE:]


def unpack(plain: bytes, ids: Ids) -> tuple[bytes, bytes] | None:
    """Command (12 bytes, as they stand there or would in v1) and payload of a packet; None where there is no message.

    An id that nobody is known to use is named after its number: `(id 38)`.

    :param plain: header and contents
    """
    begin = PACKET_HEADER + 1
    if len(plain) < begin:
        return None
    number = plain[PACKET_HEADER]
    if number != LONG:
        name = ids.get(number) or b"(id %d)" % number
        return name.ljust(MESSAGE_TYPE_SIZE, b"\0"), plain[begin:]
    end = begin + MESSAGE_TYPE_SIZE
    return (plain[begin:end], plain[end:]) if len(plain) >= end else None
