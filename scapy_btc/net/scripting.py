# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers of a node that a user has made up, as those of Scapy's answering machines."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import FormatError, PeerError
from ..layers.envelope import BTC
from ..layers.registry import BTCMessage, printable
from .connection import Connection


class Disconnect:
    """Ends a connection, after what was sent before has gone out."""

    def __repr__(self) -> str:
        return "DISCONNECT"


DISCONNECT = Disconnect()
PACKAGE = os.path.dirname(os.path.dirname(__file__))

Step = BTCMessage | BTC | bytes | float | Disconnect
"""What a script does: sends a message or a packet as it is, writes bytes to the stream that need not be a message,
waits so many seconds, disconnects."""
Script = Callable[[Any, Connection], "Iterable[Step] | None"]
"""Takes the packet that came; returns what to do instead of the usual answer, None for the usual one."""

CONNECT = "connect"
"""Stands in the place of a message's name for the moment in which a connection is there."""


class Ended(Exception):
    """A script has disconnected."""


class ScriptFailed(PeerError):
    """A user's script raised an exception, or returned what cannot be done. Ends the connection."""


def name_of(name: str | type[BTCMessage]) -> str:
    """The name that a script is for: of a class, or as it is. Raises FormatError for what no message can be called."""
    found = name if isinstance(name, str) else getattr(name, "msgtype", None)
    if not isinstance(found, str) or not (0 < len(found) <= 12 and found.isascii() and found.isprintable()):
        raise FormatError(f"neither {CONNECT!r}, nor the class or the name of a message (up to 12 printable ASCII "
                          f"characters): {name!r}")
    return found


async def answer(name: str, script: Script, packet: BTC | None, connection: Connection) -> bool:
    """Whether a script has answered. Raises Ended, ScriptFailed, and what sending raises of a peer."""
    try:
        steps = script(packet, connection)
        if steps is None:
            return False
        await follow(steps, connection)
    except (PeerError, Ended):
        raise
    except Exception as error:
        raise ScriptFailed(f"when({name!r}) failed: {told(error)}") from error
    return True


async def follow(steps: Iterable[Step], connection: Connection) -> None:
    """Do what a script returned. Raises Ended, and what sending raises."""
    for step in steps:
        if isinstance(step, Disconnect):
            raise Ended
        if isinstance(step, (int, float)):
            await asyncio.sleep(step)
        elif isinstance(step, bytes):
            await connection.send_bytes(step)
        elif isinstance(step, (BTCMessage, BTC)):
            await connection.send(step)
        else:
            raise TypeError(f"a step is a message, bytes, seconds or DISCONNECT, not {step!r}")
        await asyncio.sleep(0)  # others shall have their turn, too


def told(error: Exception) -> str:
    """What went wrong in a user's code, and where: one call away from where it was caught, or from `follow`."""
    calls = traceback.extract_tb(error.__traceback__)[1:]
    if calls and calls[0].filename == __file__ and calls[0].name == follow.__name__:  # steps that a generator makes
        calls = calls[1:]
    where = f" ({calls[0].filename}, line {calls[0].lineno})" if calls[:1] and _is_users(calls[0].filename) else ""
    return printable(f"{type(error).__name__}: {error}{where}")


def _is_users(filename: str) -> bool:
    return not filename.startswith(PACKAGE)
