# SPDX-License-Identifier: GPL-2.0-or-later
"""An embedded node on regtest: real clients sync from it, tests and attacks script it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from logging import getLogger
from random import Random
from typing import TYPE_CHECKING, Any

from ..capture.message import Message
from ..chain.address import format_endpoint
from ..chain.script import script_of
from ..errors import BTCError, Disconnected, FormatError, PeerError, TimedOut
from ..layers.envelope import BTC
from ..layers.registry import BTCMessage, lookup
from ..messages.transactions import BTCTx
from ..peer.block_store import BlockStore
from ..peer.known_addresses import Address
from ..peer.mempool import Mempool
from ..peer.options import PeerOptions
from ..peer.serving import ANYONE_CAN_SPEND, NODE_OPTIONS, Serving, mine_chain
from ..peer.session import Session
from ..protocol import ServiceFlags
from ..wire.hashes import hash_hex
from .connection import Connection, open_connection
from .link import Link, PeerInfo
from .record import Recorder
from .scripting import CONNECT, Ended, Script, ScriptFailed, answer, name_of
from .transports import Choice, KeyLogFile, accepted

if TYPE_CHECKING:
    from .running import RunningNode

logger = getLogger("scapy_btc.node")

BEAT = 1.0
BACKLOG = 1 << 20
"""Bytes that may wait for a peer before nothing more is announced to it."""


class BTCNode:
    """A node that listens, answers, takes and relays; its blocks and transactions are in memory.

    It checks what blocks and transactions spend, not scripts and signatures (`peer.serving`). Its methods belong to
    the event loop that started it. A plain `with` starts it in a thread of its own, and gives a `RunningNode`:

        with BTCNode(blocks=120) as node:
            client = connect(*node.address)
            node.mine()

        async with BTCNode(blocks=120) as node:
            await node.connect_to("127.0.0.1", 18444)

    `when` scripts it; a number waits, bytes need not be a message:

        node.when("ping", lambda packet, connection: [BTCPong(nonce=packet.nonce + 1)])
        node.when("getheaders", lambda packet, connection: [0.5, b"garbage", DISCONNECT])
        node.when("version", lambda packet, connection: [BTCVersion(start_height=10**6), BTCVerack()])
        node.when("connect", lambda packet, connection: [3600.0])

    :param blocks: to be mined at start, ten minutes apart, the last one now
    :param mine_to: address or output script that the blocks pay to; without it anybody can spend them, with the
        witness `[b"\\x51"]`
    :param host: where to listen, an address or several
    :param port: 0 takes a free one, the same at all addresses
    :param options: what the node says of itself; also its network
    :param store: blocks to begin with, of which the node takes a copy: so many nodes can share one chain that is
        mined once (`peer.serving.mined_store`)
    :param addresses: of other nodes, which it tells those who ask
    :param max_peers: connections that others may open at a time; more are closed at once
    :param random: where nonces and choices come from: the same seed and clock give the same chain
    :param clock: what time it is, seconds since 1970
    :param transport: what is spoken with those who connect: "v1", "v2" (BIP 324), or "auto" for either; or `V2Options`
    :param keylog: file that gets the keys of v2 connections
    :param record: called with every message that comes or goes
    :param log: called with a line when a connection begins or ends, and why; without it scripts that fail are told to
        the logger "scapy_btc.node"
    :ivar listening: where it listens, as (host, port)
    """

    def __init__(self, blocks: int = 0, mine_to: str | bytes | None = None, host: str | Sequence[str] = "127.0.0.1",
                 port: int = 0, options: PeerOptions = NODE_OPTIONS, store: BlockStore | None = None,
                 addresses: Iterable[tuple[str, int]] = (), max_peers: int = 125, random: Random | None = None,
                 clock: Callable[[], float] = time.time, transport: Choice = "auto", keylog: KeyLogFile = None,
                 record: Callable[[Message], object] | None = None,
                 log: Callable[[str], object] | None = None) -> None:
        self.options, self.max_peers, self.clock = options, max_peers, clock
        self.script = script_of(mine_to, options.network) if isinstance(mine_to, str) else mine_to or ANYONE_CAN_SPEND
        self._hosts = [host] if isinstance(host, str) else list(host)
        self._port = port
        self._transport, self._keylog = transport, keylog
        if transport == "v1" and options is NODE_OPTIONS:
            self.options = replace(options, services=options.services & ~ServiceFlags.NODE_P2P_V2)
        self._random = random or Random()
        chain = store.copy() if store else BlockStore(options.network)
        mine_chain(chain, blocks, self.script, int(clock()), self._random)
        self.serving = Serving(options, chain, self._random)
        for known in addresses:
            self.serving.state.addresses.add(Address.of(*known), options.services, int(clock()))
        self.listening: list[tuple[str, int]] = []
        self._servers: list[asyncio.Server] = []
        self._stopped = False
        self._links: dict[Session, Link] = {}
        self._nonces: set[int] = set()
        self._scripts: dict[str, Script] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._ticker: asyncio.Task[None] | None = None
        self._record, self._log, self._warn = record, log or (lambda line: None), log or logger.warning
        self._connections, self._frames = count(), count(1)
        self._running: RunningNode | None = None

    # Its life

    def run(self) -> RunningNode:
        """Start it in a thread of its own. Raises BTCError where it cannot listen."""
        from .running import RunningNode

        return RunningNode(self)

    def __enter__(self) -> RunningNode:
        self._running = self.run()
        return self._running

    def __exit__(self, *exception: object) -> None:
        assert self._running is not None
        self._running.close()

    async def __aenter__(self) -> BTCNode:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen. Raises BTCError where that cannot be done."""
        self._stopped = False
        try:
            for host in self._hosts:
                port = self.listening[0][1] if self.listening else self._port
                server = await asyncio.start_server(self._accept, host, port)
                self._servers.append(server)
                self.listening.append(server.sockets[0].getsockname()[:2])
        except OSError as error:
            await self.stop()
            # asyncio has a sentence of its own, except of names that are not known
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise BTCError(f"{format_endpoint(host, port)}: cannot listen: {reason}") from error
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Close all connections, and listen no longer."""
        self._stopped = True
        for server in self._servers:
            server.close()
        await asyncio.sleep(0)  # whoever was accepted just now is turned away
        tasks = {link.task for link in self._links.values() if link.task} | ({self._ticker} if self._ticker else set())
        while tasks:
            for task in tasks:
                task.cancel()
            # before Python 3.12 wait_for() loses a cancellation that comes when what it waits for has just happened
            _, tasks = await asyncio.wait(tasks, timeout=0.5)
        self._servers, self.listening, self._ticker = [], [], None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where it listens, the first of them."""
        if not self.listening:
            raise BTCError("this node does not listen")
        return self.listening[0]

    # What it knows

    @property
    def height(self) -> int:
        return self.serving.store.height

    @property
    def tip(self) -> str:
        """Hash of the last block, as reversed hex."""
        return hash_hex(self.serving.store.tip.hash)

    @property
    def store(self) -> BlockStore:
        """Its blocks."""
        return self.serving.store

    @property
    def pool(self) -> Mempool:
        """Its unconfirmed transactions."""
        return self.serving.pool

    @property
    def peers(self) -> list[PeerInfo]:
        return [link.info for link in self._links.values()]

    async def wait_until(self, met: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait until a function says yes; it is asked whenever something has happened. Raises TimedOut."""
        deadline = time.monotonic() + timeout
        while not met():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await asyncio.wait_for(waiter, deadline - time.monotonic())
            except asyncio.TimeoutError:
                raise TimedOut(f"it did not come about within {timeout:g} s") from None

    # What it does

    def mine(self, blocks: int = 1) -> list[str]:
        """Mine blocks with what is in the memory pool, and announce them; their hashes, as reversed hex."""
        hashes = []
        for _ in range(blocks):
            change = self.serving.mine(self.script, int(self.clock()), self._random.randbytes(4))
            hashes.append(hash_hex(change.connected[-1].hash))
        self._changed()
        return hashes

    def submit(self, transaction: BTCTx | bytes) -> str:
        """Put a transaction into the memory pool, and announce it; its txid, as reversed hex.

        Raises Rejected, FormatError.
        """
        entry = self.serving.submit(transaction)
        self._changed()
        return hash_hex(entry.tx.txid)

    def when(self, name: str | type[BTCMessage], script: Script | None) -> None:
        """Do what a script says when a message comes, instead of the usual. A script that fails ends the connection.

        :param name: of the message, or its class; "connect" for the moment in which a connection is there: nothing has
            come then, and the script gets None as packet
        :param script: takes the packet and the `Connection`, and returns steps (`net.scripting.Step`), which may never
            end, or None for the usual answer; as None itself, what was there before is removed

        Raises FormatError, a ValueError, for what no message can be called.
        """
        name = name_of(name)
        if script is None:
            self._scripts.pop(name, None)
            return
        if name != CONNECT and name not in self._scripts and lookup(name) is None:
            self._warn(f"when({name!r}): no message of that name is known")
        self._scripts[name] = script

    async def connect_to(self, host: str, port: int, timeout: float = 10.0, transport: Choice = "auto") -> PeerInfo:
        """Open a connection to another node, and agree with it.

        :param timeout: seconds for connecting, and again for agreeing
        :param transport: "v1", "v2", or "auto" for v2 and v1 where the other node does not answer that

        Raises Refused, TimedOut, Disconnected, WrongNetwork or another HandshakeError.
        """
        link = self._link(await open_connection(host, port, self._said, timeout, transport=transport,
                                                keylog=self._keylog, **self._means))
        link.task = asyncio.create_task(self._run(link))
        try:
            await asyncio.wait_for(asyncio.shield(link.ready), timeout)
        except asyncio.TimeoutError:
            link.task.cancel()
            raise TimedOut(f"{format_endpoint(host, port)}: no handshake within {timeout:g} s") from None
        return link.info

    # Its connections

    @property
    def _said(self) -> PeerOptions:
        """What it says of itself now."""
        return replace(self.options, start_height=self.height)

    @property
    def _means(self) -> dict[str, Any]:
        """What connections have from the node."""
        return {"random": self._random, "own_nonces": self._nonces, "clock": self.clock}

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inbound = sum(not link.connection.peer.outbound for link in self._links.values())
        if self._stopped or inbound >= self.max_peers:
            writer.transport.abort()
            return
        try:
            spoken = accepted(self._transport, self.options.network, self._keylog)
        except BTCError as error:
            self._log(str(error))
            writer.transport.abort()
            return
        link = self._link(Connection(reader, writer, self._said, False, spoken, **self._means))
        link.task = asyncio.create_task(self._run(link))

    def _link(self, connection: Connection) -> Link:
        async def instead(packet: BTC) -> bool:
            link.replaced = await self._follow_script(str(packet.msgtype), packet, link.connection)
            return link.replaced

        connection.instead = instead
        if self._record:
            connection.observer = Recorder(
                self._record, self.options.network, connection.local_address, connection.address,
                next(self._connections), self._frames, connection.transport)
        if connection.peer.outbound:
            self._nonces.add(connection.peer.nonce)
        link = Link(connection, self.serving.join(connection.peer))
        self._links[link.session] = link
        return link

    async def _run(self, link: Link) -> None:
        connection = link.connection
        reason: Exception | None = None
        self._log(f"{connection.address} connected")
        self._notify()
        try:
            await self._talk(link)
        except (BTCError, Ended) as error:
            reason = error
        except asyncio.CancelledError:
            connection.abort()
        except Exception as error:  # of what records
            reason = error
            asyncio.get_running_loop().call_exception_handler({"message": "a connection failed", "exception": error})
        finally:
            self.serving.leave(link.session)
            self._links.pop(link.session)
            self._nonces.discard(connection.peer.nonce)
            if connection.peer.outbound and not link.ready.done():
                link.ready.set_exception(reason if isinstance(reason, PeerError) else Disconnected("disconnected"))
            tell = self._warn if isinstance(reason, ScriptFailed) else self._log
            tell(f"{connection.address} disconnected{f': {reason}' if str(reason or '') else ''}")
            self._notify()
            await connection.close()

    async def _talk(self, link: Link) -> None:
        connection = link.connection
        if await self._follow_script(CONNECT, None, connection):
            raise Ended
        for first in connection.peer.start(self.clock()):
            await connection.send(first)
        async for packet in connection.messages():
            if connection.intact and not link.replaced:
                for message in self.serving.receive(link.session, packet, self.clock()):
                    await connection.send(message)
                    await asyncio.sleep(0)  # others shall have their turn, too
            if connection.peer.established and not link.ready.done():
                self._agreed(link)
            self._changed()

    def _agreed(self, link: Link) -> None:
        link.ready.set_result(None)
        if link.connection.peer.outbound and self.listening:
            try:
                host = link.connection.local_address.rpartition(":")[0].strip("[]")
                self.serving.announce_address(Address.of(host, self.listening[0][1]), [link.session])
            except FormatError:
                pass  # of a kind that is told to nobody

    async def _follow_script(self, name: str, packet: BTC | None, connection: Connection) -> bool:
        """Whether a script has answered."""
        script = self._scripts.get(name)
        return script is not None and await answer(name, script, packet, connection)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            for session, message in self.serving.tick(self.clock()):
                self._links[session].connection.post(message)
            self._changed()

    def _changed(self) -> None:
        """Something has happened: tell peers what is new, unless they are slow to read."""
        for session, link in self._links.items():
            if session.has_news and link.connection.backlog < BACKLOG:
                for message in self.serving.news(session):
                    link.connection.post(message)
        self._notify()

    def _notify(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
