# SPDX-License-Identifier: GPL-2.0-or-later
"""The first of many nodes that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from ..errors import PeerError, Refused
from ..net.client import BTCClient, connect
from ..net.connection import Connection, open_connection
from ..net.transports import Choice, KeyLogFile
from ..peer.options import PeerOptions

AT_ONCE = 8
"""Nodes that are tried at the same time."""

End = tuple[str, int]


async def open_first(ends: Iterable[End], options: PeerOptions, timeout: float = 10.0, proxy: str | None = None,
                     at_once: int = AT_ONCE, transport: Choice = "auto", keylog: KeyLogFile = None) -> Connection:
    """The connection to the node whose handshake is done first; all others are closed.

    :param ends: (host, port) in the order in which they are tried
    :param timeout: seconds that each has for connecting, again for agreeing on v2, and again for the handshake
    :param transport: as `open_connection` takes it; likewise `proxy` and `keylog`

    Raises the error of the last one when none answers, Refused where there are none; BTCError where the key log cannot
    be written.
    """
    rest = iter(ends)
    errors: list[PeerError] = [Refused("no node to connect to")]

    async def work() -> Connection | None:
        for host, port in rest:
            connection = None
            try:
                connection = await open_connection(host, port, said, timeout, proxy, transport, keylog)
                await connection.handshake()
                return connection
            except PeerError as error:
                errors.append(error)
                if connection:
                    connection.abort()
            except BaseException:  # another was first
                if connection:
                    connection.abort()
                raise
        return None

    said = replace(options, handshake_timeout=timeout)
    tasks = {asyncio.create_task(work()) for _ in range(at_once)}
    try:
        while tasks:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if found := [connection for task in done if (connection := task.result())]:
                for late in found[1:]:
                    late.abort()
                return found[0]
        raise errors[-1]
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Connection):
                result.abort()


def connect_first(ends: Iterable[End], options: PeerOptions, timeout: float = 10.0, at_once: int = AT_ONCE,
                  **more: Any) -> BTCClient:
    """Likewise for programs that block: a client of the node whose handshake is done first.

    :param more: as `connect` takes it

    Raises as `open_first` does.
    """
    waiting = list(ends)
    rest, lock = iter(waiting), Lock()
    results: SimpleQueue[BTCClient | Exception] = SimpleQueue()
    won: list[BTCClient] = []

    def work() -> None:
        while True:
            with lock:
                end = None if won else next(rest, None)
            if end is None:
                return
            try:
                client = connect(*end, timeout=timeout, options=options, **more)
            except Exception as error:
                results.put(error)
                continue
            with lock:
                if won:
                    client.close()
                    return
                won.append(client)
            results.put(client)

    for _ in range(min(at_once, len(waiting))):
        Thread(target=work, daemon=True).start()
    error: Exception = Refused("no node to connect to")
    for _ in waiting:
        result = results.get()
        if isinstance(result, BTCClient):
            return result
        if not isinstance(result, PeerError):
            raise result
        error = result
    raise error
