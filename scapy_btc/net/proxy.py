# SPDX-License-Identifier: GPL-2.0-or-later
"""A proxy between nodes: shows, records, drops, changes, delays and injects messages, in v1 and v2."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count

from ..chain.address import format_endpoint
from ..errors import PeerError, Refused, TimedOut
from ..layers.envelope import BTC
from ..layers.registry import BTCMessage
from ..networks import REGTEST, Network
from ..wire.transport import Transport
from .background import Background
from .dialing import told
from .proxied import Handle, Name, Proxied, Record, Side, log
from .stream import ByteStream
from .transports import Choice, KeyLogFile, accepted, opened

CONNECTIONS = 125
"""As many as Bitcoin Core accepts by default."""

Make = Callable[[], Transport]
"""Makes the transport of one side of one connection."""


class BTCProxy:
    """Listens, and connects whoever comes with a node. What nobody changes is passed on as it came.

    Use it with `with` or `async with`. What happens is told to the logger "scapy_btc.proxy".

    :param to: host and port of the node
    :param listen: host and port to listen on; port 0: the system picks one
    :param handle: called with each packet and its `Context`; returns what to pass on: that packet, changed or not, or
        other packets or messages, one or a list; None drops it. It may be a coroutine: what it waits for delays its
        direction of its connection. When it fails, its connection ends.
    :param record: called with each `Message`. One that was dropped, injected or (as both) changed has a `fate`.
    :param network: whose messages v2 carries
    :param listen_transport: "v1", "v2", `V2Options`, or "auto" for what the client begins with; or a function that
        makes one
    :param to_transport: "v1", "v2", `V2Options`, or "auto" for v2, and v1 where the node does not answer that;
        or such a function
    :param keylog: file that takes the keys of both sides' v2 connections
    :param limit: connections at a time; more are turned away
    :param timeout: seconds for connecting to the node
    :ivar address: host and port where it listens
    """

    def __init__(self, to: tuple[str, int], listen: tuple[str, int] = ("127.0.0.1", 0), handle: Handle | None = None,
                 record: Record | None = None, network: Network = REGTEST, listen_transport: Choice | Make = "auto",
                 to_transport: Choice | Make = "auto", keylog: KeyLogFile = None, limit: int = CONNECTIONS,
                 timeout: float = 10.0) -> None:
        self.to, self.listen, self.address = to, listen, listen
        self._handle, self._record, self._network = handle, record, network
        self._limit, self._timeout = limit, timeout
        self._make_accepted = listen_transport if callable(listen_transport) else partial(
            accepted, listen_transport, network, keylog)
        self._make_opened = to_transport if callable(to_transport) else partial(opened, to_transport, network, keylog)
        self._falls_back = to_transport == "auto"
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[int, Proxied] = {}
        self._connections, self._messages = count(), count(1)
        self._failure: BaseException | None = None
        self._background: Background | None = None

    def __repr__(self) -> str:
        return f"<BTCProxy {format_endpoint(*self.address)} > {format_endpoint(*self.to)}, {len(self._open)} open>"

    def __enter__(self) -> BTCProxy:
        self._background = Background()
        try:
            self._background.call(self.__aenter__())
        except BaseException:
            self._background.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        assert self._background
        try:
            self._background.call(self.__aexit__(kind))
        finally:
            self._background.close()

    async def __aenter__(self) -> BTCProxy:
        loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        where = format_endpoint(*self.listen)
        try:
            self._server = await loop.create_server(lambda: ByteStream(self._accept), *self.listen)
        except OSError as error:
            raise Refused(f"{where}: cannot be listened on: {error.strerror or error}") from error
        self.address = self._server.sockets[0].getsockname()[:2]
        if self.address == self.to:
            self._server.close()
            raise Refused(f"{format_endpoint(*self.to)}: the proxy would connect to itself")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self._server.close()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=2.0)  # before Python 3.12 wait_for may swallow it
        await self._server.wait_closed()
        if self._failure and kind is None:
            raise self._failure

    async def wait(self) -> None:
        """Wait until the proxy is told to `stop`, or `record` has failed: leaving the block raises its error."""
        await self._stopped.wait()

    def stop(self) -> None:
        """Let `wait` return. Not for other threads."""
        self._stopped.set()

    @property
    def connections(self) -> list[int]:
        """Numbers of the connections that are open."""
        return list(self._open)

    def inject(self, connection: int, message: BTCMessage | BTC, to: Name) -> None:
        """Send a message to the "client" or the "target" of a connection, as if it came from the other one.

        Raises PeerError where there is no such connection.
        """
        async def inject() -> None:
            self._inject(connection, message, to)

        if self._background:
            self._background.call(inject())
        else:
            self._inject(connection, message, to)

    def _inject(self, connection: int, message: BTCMessage | BTC, to: Name) -> None:
        if connection not in self._open:
            raise PeerError(f"no connection {connection} is open")
        self._open[connection].inject(message, to)

    # Connections

    def _accept(self, stream: ByteStream) -> None:
        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            stream.abort()  # also where it was cancelled before it began

        task = asyncio.ensure_future(self._serve(stream))
        self._tasks.add(task)
        task.add_done_callback(done)

    async def _serve(self, stream: ByteStream) -> None:
        """One connection, from its beginning to its end."""
        if len(self._tasks) > self._limit:
            log.warning("%s was turned away: %d connections are open", stream.address, self._limit)
            return
        number = next(self._connections)
        try:
            client = Side("client", stream, self._make_accepted())
            target = await self._dial()
            proxied = self._open[number] = Proxied(number, client, target, self._network, self._handle, self._record,
                                                   self._messages)
            await proxied.run()
        except PeerError as error:
            log.warning("connection %d: %s was turned away: %s", number, stream.address, error)
        except Exception as error:  # of what records, or of the key log
            if self._background:  # others learn it at once
                log.error("connection %d ended: %s: %s", number, type(error).__name__, error)
            self._failure = self._failure or error
            self.stop()
        finally:
            self._open.pop(number, None)

    async def _dial(self) -> Side:
        """A connection to the node. Raises Refused, TimedOut."""
        transport = self._make_opened()
        side = Side("target", await self._connect(), transport)
        if not self._falls_back:
            return side
        try:
            side.early = await asyncio.wait_for(side.read(), self._timeout)
        except asyncio.TimeoutError:
            side.stream.abort()
            raise TimedOut(f"{format_endpoint(*self.to)}: no answer to v2 within {self._timeout:g} s") from None
        except BaseException:
            side.stream.abort()
            raise
        if not transport.try_v1 or not (transport.broken or side.stream.ended):
            return side
        side.stream.abort()
        if transport.broken:  # it began like v1; one that closed may have had other reasons
            self._falls_back, self._make_opened = False, partial(opened, "v1", self._network)
            log.info("%s speaks v1: v1 from now on", format_endpoint(*self.to))
        return Side("target", await self._connect(), opened("v1", self._network))

    async def _connect(self) -> ByteStream:
        loop = asyncio.get_running_loop()
        with told(*self.to, self._timeout):
            _, stream = await asyncio.wait_for(loop.create_connection(ByteStream, *self.to), self._timeout)
        return stream
