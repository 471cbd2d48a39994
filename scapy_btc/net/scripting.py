# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers of a node that a user has made up, as those of Scapy's answering machines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from ..layers.envelope import BTC
from ..layers.registry import BTCMessage
from .connection import Connection


class Disconnect:
    """Ends a connection, after what was sent before has gone out."""

    def __repr__(self) -> str:
        return "DISCONNECT"


DISCONNECT = Disconnect()

Step = BTCMessage | BTC | bytes | float | Disconnect
"""What a script does: sends a message or a packet as it is, writes bytes to the stream that need not be a message,
waits so many seconds, disconnects."""
Script = Callable[[Any, Connection], "Iterable[Step] | None"]
"""Takes the packet that came; returns what to do instead of the usual answer, None for the usual one."""

CONNECT = "connect"
"""Stands in the place of a message's name for the moment in which a connection is there."""


class Ended(Exception):
    """A script has disconnected."""


async def follow(steps: Iterable[Step], connection: Connection) -> None:
    """Do what a script returned. Raises Ended, and what sending raises."""
    for step in steps:
        if isinstance(step, Disconnect):
            raise Ended
        if isinstance(step, (int, float)):
            await asyncio.sleep(step)
        elif isinstance(step, bytes):
            await connection.send_bytes(step)
        else:
            await connection.send(step)
        await asyncio.sleep(0)  # others shall have their turn, too
