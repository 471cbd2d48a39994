# SPDX-License-Identifier: GPL-2.0-or-later
"""So many connections kept alive: a peer that is gone is dialled again later, or replaced by another."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..chain.address import format_endpoint
from ..errors import PeerError
from ..peer.options import PeerOptions
from .connection import Connection, Observer, open_connection
from .transports import Choice, KeyLogFile

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds before a peer that failed is dialled again: doubled each time."""
CANDIDATES = 10_000
"""Addresses that are remembered to replace others with."""

Endpoint = tuple[str, int]


@dataclass(slots=True)
class _Candidate:
    not_before: float = 0.0
    pause: float = FIRST_PAUSE
    in_use: bool = False


class Candidates:
    """Whom to dial: those that were added first, unless they failed lately. Times are the caller's."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._known: OrderedDict[Endpoint, _Candidate] = OrderedDict((end, _Candidate()) for end in endpoints)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, endpoint: Endpoint) -> None:
        """Remember one more, unless there are too many."""
        if len(self._known) < CANDIDATES:
            self._known.setdefault(endpoint, _Candidate())

    def take(self, now: float) -> Endpoint | None:
        """One that may be dialled now; None: nobody."""
        for endpoint, candidate in self._known.items():
            if not candidate.in_use and candidate.not_before <= now:
                candidate.in_use = True
                return endpoint
        return None

    def give_back(self, endpoint: Endpoint, now: float, was_good: bool) -> None:
        """It is not connected any more. One that never was good for anything comes after all others."""
        candidate = self._known[endpoint]
        candidate.in_use = False
        candidate.pause = FIRST_PAUSE if was_good else min(2 * candidate.pause, LONGEST_PAUSE)
        candidate.not_before = now + candidate.pause
        if not was_good:
            self._known.move_to_end(endpoint)


class PoolHandler(Protocol):
    """What a pool tells; each call is short, and may send with `connection.post`."""

    def opened(self, connection: Connection) -> None:
        """The handshake is done."""

    def message(self, connection: Connection, packet: Any) -> None:
        """A packet came, whose checksum is right."""

    def closed(self, endpoint: str, reason: PeerError) -> None:
        """A connection ended, or could not be made."""

    def tick(self, connections: dict[str, Connection]) -> None:
        """A second has passed."""


async def keep_connected(count: int, candidates: Candidates, options: PeerOptions, handler: PoolHandler,
                         timeout: float = 10.0, proxy: str | None = None, transport: Choice = "v1",
                         keylog: KeyLogFile = None, observe: Callable[[Connection], Observer] | None = None) -> None:
    """Keep so many connections until cancelled.

    :param count: connections at a time
    :param timeout: seconds for connecting, and for the handshake
    :param transport: as `open_connection` takes it; likewise `proxy` and `keylog`
    :param observe: gives the observer of each connection, before anything is said
    """
    connections: dict[str, Connection] = {}
    only_v1: set[Endpoint] = set()  # nodes ban those who speak v2 to them again and again
    options = replace(options, handshake_timeout=timeout)
    loop = asyncio.get_running_loop()

    async def one(endpoint: Endpoint) -> bool:
        agreed, address = False, format_endpoint(*endpoint)
        try:
            choice: Choice = "v1" if endpoint in only_v1 else transport
            async with await open_connection(*endpoint, options, timeout, proxy, choice, keylog) as connection:
                address = connection.address
                if observe:
                    connection.observer = observe(connection)
                if connection.transport.name == "v1":
                    only_v1.add(endpoint)
                await connection.handshake()
                if address in connections:  # of a node that is known by two names
                    raise PeerError(f"{format_endpoint(*endpoint)} is {address}, which is connected already")
                agreed = True
                connections[address] = connection
                handler.opened(connection)
                try:
                    async for packet in connection.messages():
                        if connection.intact:
                            handler.message(connection, packet)
                finally:
                    del connections[address]
        except PeerError as error:
            handler.closed(address, error)
        return agreed

    async def slot() -> None:
        while True:
            endpoint = candidates.take(loop.time())
            if endpoint is None:
                await asyncio.sleep(0.2)
                continue
            was_good = False
            try:
                was_good = await one(endpoint)
            finally:
                candidates.give_back(endpoint, loop.time(), was_good)
            if not was_good:  # whoever tells addresses must not make us dial one after the other
                await asyncio.sleep(FIRST_PAUSE)

    async def beat() -> None:
        while True:
            await asyncio.sleep(1.0)
            handler.tick(connections)

    await asyncio.gather(beat(), *(slot() for _ in range(count)))
