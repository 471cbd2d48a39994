# SPDX-License-Identifier: GPL-2.0-or-later
"""Replaying to nodes: we connect to one, or listen for one to connect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from ..capture.message import Message
from ..chain.address import format_endpoint
from ..errors import Disconnected, FormatError, PeerError, Refused, TimedOut
from ..layers.envelope import BTC, has_old_header
from ..net.connection import Connection, open_connection
from ..net.record import Recorder
from ..net.transports import Choice, KeyLogFile, accepted
from ..peer.options import PeerOptions
from .player import Outcome, Player
from .script import Script


@dataclass(frozen=True)
class Playing:
    """How a script is played; `Player` says more."""

    timeout: float = 10.0
    speed: float | None = None
    verbatim: bool = False
    step: Callable[[BTC], None] | None = None
    """Called before each message of the script is sent; blocks for as long as it likes, and the peer waits."""
    sink: Callable[[Message], object] | None = None
    """Called with everything that is said, as `read` would give it."""
    random: Random | None = None
    transport: Choice = "auto"
    """"v1", "v2" (BIP 324), or "auto": as the other end likes where that one connects to us; else as recorded, and v1
    in another connection where v2 is not answered."""
    keylog: KeyLogFile = None
    """File that gets the key of a v2 connection."""


async def play_to(script: Script, host: str, port: int, how: Playing = Playing()) -> Outcome:
    """Connect to a node and play. What goes wrong from then on is `Outcome.failure`.

    Raises as `open_connection` does.
    """
    as_recorded = how.transport == "auto" and script.messages[0].transport == "v1"
    connection = await open_connection(host, port, PeerOptions(script.network), how.timeout,
                                       transport="v1" if as_recorded else how.transport, keylog=how.keylog)
    async with connection:
        return await converse(script, connection, how)


async def play_listening(script: Script, host: str, port: int, how: Playing = Playing(),
                         listening: Callable[[str], object] = lambda address: None) -> Outcome:
    """Wait for a node to connect, and play to the first that does.

    :param port: 0 lets the system choose
    :param listening: called with the address once we listen

    Raises Refused when the address cannot be listened on; BTCError where the key log cannot be written.
    """
    played: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    begun = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        if begun:
            writer.transport.abort()
            return
        begun = True
        server.close()
        try:
            async with Connection(reader, writer, PeerOptions(script.network), outbound=False,
                                  transport=accepted(how.transport, script.network, how.keylog)) as connection:
                outcome = await converse(script, connection, how)
        except BaseException as error:
            if not played.done():
                played.set_exception(error)
        else:
            played.set_result(outcome)

    try:
        server = await asyncio.start_server(serve, host, port, start_serving=False)
        await server.start_serving()
    except OSError as error:
        raise Refused(f"{format_endpoint(host, port)}: {error.strerror or error}") from error
    try:
        listening(format_endpoint(*server.sockets[0].getsockname()[:2]))
        return await played
    finally:
        server.close()


async def converse(script: Script, connection: Connection, how: Playing) -> Outcome:
    """Play on a connection that is there."""
    player = Player(script, connection.local_address, connection.address, how.timeout, how.speed, how.verbatim,
                    how.random)
    connection.peer = player
    if how.sink:
        connection.observer = Recorder(how.sink, script.network, connection.local_address, connection.address,
                                       transport=connection.transport)
    try:
        due = player.start(connection.clock())
        while True:
            for packet in due:
                if how.step:
                    how.step(packet)
                if connection.transport.name == "v2" and has_old_header(bytes(packet)):
                    raise FormatError("v2 has no headers without checksum, as they were before February 2012")
                await connection.send(packet)
            if player.done:
                break
            with suppress(TimedOut):
                await connection.receive(max(0.001, player.wakes - connection.clock()))
            due = player.tick(connection.clock())
    except Disconnected as error:
        player.finish("" if player.complete else str(error))
    except (PeerError, FormatError) as error:
        player.finish(str(error))
    return player.outcome
