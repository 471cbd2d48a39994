# SPDX-License-Identifier: GPL-2.0-or-later
"""One of a node's connections, and what can be said of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..peer.session import Session
from .connection import Connection


@dataclass(frozen=True)
class PeerInfo:
    """What a node can say of one of its peers."""

    address: str
    transport: str
    """"v1" or "v2"; "" while it is not known."""
    outbound: bool
    """Whether we opened the connection."""
    established: bool
    """Whether the handshake is done; what follows is not known before it."""
    version: int
    services: int
    user_agent: str
    start_height: int
    latency: float | None
    """Seconds between the last ping and its pong."""


class Link:
    """One connection of a node.

    :ivar ready: done once the handshake is; its error when it fails
    :ivar replaced: whether a script has answered what came last
    """

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection, self.session = connection, session
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(asyncio.Future.exception)  # also if nobody waits any more: asyncio would complain
        self.task: asyncio.Task[None] | None = None
        self.replaced = False
        self.greeted = False

    @property
    def info(self) -> PeerInfo:
        peer = self.connection.peer
        said = peer.version
        return PeerInfo(
            self.connection.address, self.connection.transport.name, peer.outbound, peer.established,
            said.version if said else 0, said.services if said else 0,
            (said.user_agent or b"").decode("utf-8", "backslashreplace") if said else "",
            (said.start_height or 0) if said else 0, peer.latency)
