# SPDX-License-Identifier: GPL-2.0-or-later
"""What a proxy passes on of a message, after a user's function has had it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scapy.packet import Packet

from ..layers.envelope import BTC
from ..layers.registry import BTCMessage
from ..layers.undecoded import BTCMalformed
from ..wire.events import Frame
from ..wire.hashes import checksum
from ..wire.header import HEADER_SIZE, unpack_header

Passed = BTC | BTCMessage | Iterable[BTC | BTCMessage] | None
"""What such a function returns: a packet or a message, several of them, None for nothing."""


def to_pass(returned: Any, frame: Frame) -> list[bytes]:
    """The messages that are to go on in the place of one, with their headers.

    :param returned: what the function returned for the packet of `frame`

    Raises TypeError when that is no `Passed`, and what Scapy raises for values that cannot be built.
    """
    if returned is None:
        return []
    items = [returned] if isinstance(returned, Packet) else returned
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise TypeError(f"packets are to be returned, not {type(returned).__name__}")
    return [as_raw(item, frame) for item in items]


def as_raw(item: Any, frame: Frame) -> bytes:
    """A packet or a message with its header.

    A length and a checksum that are still those of `frame` follow the payload where that was changed: whoever
    changes a field wants the message to be read. Other values are sent as told.
    """
    if isinstance(item, BTCMessage):
        item = BTC(magic=frame.magic) / item
    if isinstance(item, BTCMalformed) and item.underlayer is None:  # so strange that it has no envelope
        return bytes(item)
    if not isinstance(item, BTC):
        raise TypeError(f"packets are to be returned, not {type(item).__name__}")
    if bytes(item.payload) != frame.payload:
        if item.length == frame.length:
            item.length = None
        if frame.checksum and item.checksum == frame.checksum:
            item.checksum = None
    return bytes(item)


def unfit_for_v2(raw: bytes, magic: bytes) -> str:
    """Why v2 cannot carry a message, given with its header; "" when it can.

    It has no place for magic and checksum, and a length of its own.

    :param magic: of the network that both ends of the connection mean
    """
    if len(raw) < HEADER_SIZE:
        return "a header of less than 24 bytes"
    found, _, length, said = unpack_header(raw)
    payload = raw[HEADER_SIZE:]
    if found != magic:
        return f"the magic {found.hex()}"
    if length != len(payload):
        return f"a length of {length:,} before {len(payload):,} bytes"
    return "" if said == checksum(payload) else "a checksum that is not that of its payload"
