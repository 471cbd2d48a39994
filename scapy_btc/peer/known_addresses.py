# SPDX-License-Identifier: GPL-2.0-or-later
"""The addresses that a node can tell others. They are forgotten with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, NamedTuple

from ..chain.address import from_legacy, parse, to_legacy
from ..errors import FormatError
from ..layers.registry import BTCMessage
from ..messages.addresses import BTCAddr, BTCAddrV2
from ..messages.parts import BTCNetAddrV2, BTCTimedNetAddr
from ..protocol import BIP155_ADDRESS_SIZES, MAX_ADDR_TO_SEND

FRESH = 600
"""Seconds for which an address that somebody told is told to others at once."""
OLDEST_TIME, PENALTY = 100_000_000, 5 * 24 * 3600
"""A time before, or one in the future, counts as so many seconds ago."""


class Address(NamedTuple):
    """Where a node listens."""

    network_id: int
    """BIP 155."""
    data: bytes
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> Address:
        """Raises FormatError for a host that is no address."""
        return cls(*parse(host), port)


class Entry(NamedTuple):
    """What is known of an address."""

    services: int
    time: int
    """When it was last heard of, seconds since 1970."""


class KnownAddresses:
    """Addresses, at most `limit` of them: when there are more, the first is forgotten."""

    def __init__(self, random: Random, limit: int = 10_000) -> None:
        self._random, self.limit = random, limit
        self._entries: dict[Address, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Address]:
        return iter(self._entries)

    def add(self, address: Address, services: int, time: int) -> None:
        known = self._entries.get(address)
        if known is None and len(self._entries) >= self.limit:
            del self._entries[next(iter(self._entries))]
        self._entries[address] = Entry(services, max(time, known.time if known else 0))

    def learn(self, message: BTCAddr | BTCAddrV2, now: float) -> list[Address]:
        """Take what a peer tells; those of them that are new, and fresh enough to be told to others at once."""
        fresh = []
        for address, entry in addresses_in(message):
            time = entry.time
            if time <= OLDEST_TIME or time > now + FRESH:
                time = int(now) - PENALTY
            if time > now - FRESH and address not in self._entries:
                fresh.append(address)
            self.add(address, entry.services, time)
        return fresh

    def some(self) -> list[Address]:
        """As many as one message holds, any ones."""
        return self._random.sample(list(self._entries), min(len(self._entries), MAX_ADDR_TO_SEND))

    def message(self, addresses: Iterable[Address], v2: bool) -> BTCMessage | None:
        """The message that tells them, in one of the two forms; None where none of them can be told in it."""
        found: list[Any] = []
        for address in addresses:
            services, time = self._entries.get(address, Entry(0, 0))
            if v2:
                found.append(BTCNetAddrV2(timestamp=time, services=services, network_id=address.network_id,
                                          address=address.data, port=address.port))
                continue
            try:
                ip = to_legacy(address.network_id, address.data)
            except FormatError:
                continue  # the older form has no place for it
            found.append(BTCTimedNetAddr(timestamp=time, services=services, ip=ip, port=address.port))
        message: BTCMessage = BTCAddrV2(addresses=found) if v2 else BTCAddr(addresses=found)
        return message if found else None


def addresses_in(message: BTCAddr | BTCAddrV2) -> Iterator[tuple[Address, Entry]]:
    """The addresses of a message that are of a known network."""
    for each in message.addresses:
        if isinstance(each, BTCNetAddrV2):
            network_id, data = each.network_id, each.fields["address"]
        else:
            network_id, data = from_legacy(each.fields["ip"])
        if BIP155_ADDRESS_SIZES.get(network_id) == len(data):
            yield Address(network_id, data, each.port), Entry(each.services, getattr(each, "timestamp", 0))
