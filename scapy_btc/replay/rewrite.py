# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recorded message has to say anew: nonces, times and addresses of this connection, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Any

from ..capture.message import Message
from ..chain.address import format_endpoint
from ..errors import FormatError
from ..layers.envelope import BTC
from ..messages.addresses import BTCAddr, BTCAddrV2
from ..messages.handshake import BTCVersion
from ..messages.keepalive import BTCPing


class Rewriter:
    """Makes of a recorded message the packet to be sent. What cannot be read is sent as it is.

    - `version`: the nonce, by which nodes know connections to themselves, the time, and addresses that were those of
      the recorded connection's ends
    - `ping`: the nonce
    - `addr`, `addrv2`: times, which keep their distance to the present
    - the checksum of what was changed, unless the recorded one was wrong

    :param ends: recorded to present ends, "192.0.2.1:8333"
    :param nonce: that of this connection
    :param random: where nonces of pings come from
    """

    def __init__(self, ends: Mapping[str, str], nonce: int, random: Random) -> None:
        self._ends, self._nonce, self._random = ends, nonce, random

    def __call__(self, message: Message, now: float) -> BTC:
        """The packet to be sent at a time, in seconds since 1970."""
        packet: Any = BTC(message.frame_bytes)
        said = packet.payload
        if isinstance(said, BTCVersion):
            said.timestamp = int(now)
            if said.nonce is not None:
                said.nonce = self._nonce
            for address in (said.receiver_address, said.sender_address):
                if address is not None:
                    self._move(address)
        elif isinstance(said, BTCPing) and said.nonce is not None:
            said.nonce = self._random.getrandbits(64) or 1
        elif isinstance(said, (BTCAddr, BTCAddrV2)):
            later = int(now) - message.time_ns // 10**9
            for entry in said.addresses:
                if getattr(entry, "timestamp", None) is not None:  # entries of before 31402 have none
                    entry.timestamp = min(max(entry.timestamp + later, 0), 0xFFFFFFFF)
        else:
            return packet  # type: ignore[no-any-return]
        if packet.checksum and message.checksum != "bad":
            packet.checksum = None
        return packet  # type: ignore[no-any-return]

    def _move(self, address: Any) -> None:
        """Write the present end over an address that is a recorded one."""
        moved = self._ends.get(format_endpoint(address.ip, address.port))
        if moved:
            host, _, port = moved.rpartition(":")
            with suppress(FormatError):  # a link-local address with its interface
                address.ip = host.strip("[]")
                address.port = int(port)
