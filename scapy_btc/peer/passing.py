# SPDX-License-Identifier: GPL-2.0-or-later
"""What a proxy gives to a user's function, and what it passes on then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scapy.packet import Packet

from ..bip324.packets import MAX_LENGTH
from ..layers.envelope import BTC
from ..layers.registry import BTCMessage
from ..layers.undecoded import BTCMalformed
from ..protocol import MESSAGE_TYPE_SIZE
from ..wire.events import Frame

Passed = BTC | BTCMessage | Iterable[BTC | BTCMessage] | None
"""What such a function returns: a packet or a message, several of them, None for nothing."""


def to_handle(raw: bytes, frame: Frame) -> Any:
    """The packet of a message. Length and checksum are None where they were right, so that they follow every change.

    :param raw: the message with its header; `frame` is the same
    """
    packet = BTC(raw)
    if isinstance(packet, BTC) and frame.verdict != "bad":
        packet.length = None
        packet.checksum = None if frame.checksum else b""
        packet.explicit = 1  # as after dissecting: what holds no list of values is not copied to be built
    return packet


def to_pass(returned: Any, magic: bytes) -> list[bytes]:
    """The messages that are to go on in the place of one, with their headers.

    :param returned: what the function returned
    :param magic: for messages without envelope

    Raises TypeError when it is no `Passed`, and what Scapy raises for values that cannot be built.
    """
    if returned is None:
        return []
    items = [returned] if isinstance(returned, Packet) else returned
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise TypeError(f"packets are to be returned, not {type(returned).__name__}")
    return [as_raw(item, magic) for item in items]


def as_raw(item: Any, magic: bytes) -> bytes:
    """A packet as it is, or a message with an envelope. Raises as `to_pass` does."""
    if isinstance(item, BTCMessage):
        item = BTC(magic=magic) / item
    alone = isinstance(item, BTCMalformed) and item.underlayer is None  # so strange that it has no envelope
    if not alone and not isinstance(item, BTC):
        raise TypeError(f"a packet or a message is to be sent, not {type(item).__name__}")
    return bytes(item)


def unfit_for_v2(frame: Frame, raw: bytes, magic: bytes) -> str:
    """Why v2 cannot carry a message; "" when it can. It has no place for magic and checksum, and a length of its own.

    :param raw: the same with its header, as a user's function may have made it
    :param magic: of the network that both ends of the connection mean
    """
    if frame.magic != magic:
        return f"the magic {frame.magic.hex()}"
    if not frame.checksum:
        return "a header without checksum"
    if raw[16:20] != frame.length.to_bytes(4, "little"):
        return "a length that is not that of the payload"
    if frame.length > MAX_LENGTH - 1 - MESSAGE_TYPE_SIZE:
        return f"{frame.length:,} bytes"
    return "a checksum that is not that of the payload" if frame.verdict == "bad" else ""
