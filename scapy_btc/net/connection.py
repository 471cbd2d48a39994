# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection of an asyncio program: node, crawler, monitor, replay and proxy stand on it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from random import Random
from typing import Any

from ..chain.address import format_endpoint
from ..errors import Disconnected, HandshakeError, TimedOut, TooMuch
from ..layers.envelope import BTC, framed, sweep
from ..layers.registry import BTCMessage
from ..peer.behaviour import Peer
from ..peer.options import PeerOptions
from ..protocol import MAX_PROTOCOL_MESSAGE_LENGTH
from ..wire.events import Frame
from ..wire.transport import Transport, V1Transport
from .dialing import open_streams
from .timeouts import timeout as limited
from .transports import Choice, KeyLogFile, no_agreement, opened

READ = 1 << 16
SEND_TIMEOUT = 60.0
"""Seconds that a peer may let what we send wait."""
SEND_BUFFER = 16 << 20
"""Bytes that may wait for a peer that reads slowly, where nobody waits for it."""

MAX_UNFINISHED = MAX_PROTOCOL_MESSAGE_LENGTH + READ
"""Bytes that may come before they make a message."""
NAMES = 1000
"""Names of messages that are counted one by one: a peer may make up as many as it likes."""

Observer = Callable[[BTC, bool], None]
"""Called with every packet, and whether we sent it."""


def end_text(end: Any) -> str:
    """An end of a socket, as "192.0.2.1:8333"; "" where it has none."""
    return format_endpoint(*end[:2]) if end else ""


def remote_of(end: Any) -> tuple[str, int] | None:
    """IP address and port of the other end, as it is told in `version`."""
    return (str(end[0]).partition("%")[0], end[1]) if end else None


def count(counts: Counter[str], name: str) -> None:
    """Count a message by its name, or among the others where there are too many names."""
    counts[name if name in counts or len(counts) < NAMES else "others"] += 1


class Connection:
    """One connection: its stream, its transport and the rules (`Peer`). One task reads; any may send.

    :param outbound: whether we opened it
    :param transport: how messages travel; without it in the clear (v1)
    :param limit: bytes that the peer may send in all; after more, nothing is received any more (TooMuch)
    :param clock: what time it is, seconds since 1970
    :param address: of the other end, where the socket does not tell, as behind a proxy
    :param instead: called with every packet; where it says yes, what the rules would answer is not sent
    :ivar address: of the other end, "192.0.2.1:8333"
    :ivar local_address: of ours
    :ivar counts: messages received, by name
    :ivar intact: whether the checksum of the packet that came last is right, or there is none
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, options: PeerOptions,
                 outbound: bool, transport: Transport | None = None, observer: Observer | None = None,
                 random: Random | None = None, own_nonces: Collection[int] = (), limit: int | None = None,
                 clock: Callable[[], float] = time.time,
                 instead: Callable[[BTC], Awaitable[bool]] | None = None, address: str = "") -> None:
        self._reader, self._writer = reader, writer
        self._limit, self._received = limit, 0
        self.transport: Transport = transport or V1Transport(options.network)
        self.peer = Peer(options, outbound, random, own_nonces)
        self.observer, self.clock, self.instead = observer, clock, instead
        theirs, ours = map(writer.get_extra_info, ("peername", "sockname"))
        self.address, self.local_address = address or end_text(theirs), end_text(ours)
        self.peer.remote = None if address else remote_of(theirs)
        self.counts: Counter[str] = Counter()
        self.intact = True
        self._queue: deque[Frame] = deque()
        self._ended = False

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; what was sent before still goes out, for a second."""
        self._writer.close()
        try:
            async with limited(1.0):
                await self._writer.wait_closed()
        except (OSError, asyncio.TimeoutError):
            self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()

    # Speaking

    async def send(self, message: BTCMessage | BTC) -> None:
        """Send a message, or a whole packet as it is, and wait while too much waits to go. Raises Disconnected."""
        self._put(message)
        await self._drain()

    def post(self, *messages: BTCMessage | BTC) -> None:
        """Send without waiting. A peer that lets more than `SEND_BUFFER` wait is disconnected."""
        self._put(*messages)
        if self.backlog > SEND_BUFFER:
            self.abort()

    async def send_bytes(self, data: bytes) -> None:
        """Write bytes to the stream that are no message, past transport and observer. Raises Disconnected."""
        self._writer.write(data)
        await self._drain()

    @property
    def backlog(self) -> int:
        """Bytes that wait to go."""
        return self._writer.transport.get_write_buffer_size()

    async def receive(self, timeout: float | None = None) -> BTC:
        """The next packet; what the rules ask for is answered on the way. One with a wrong checksum they ignore.

        :param timeout: seconds; None waits for ever

        Raises TimedOut, Disconnected, HandshakeError, TooMuch.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        await asyncio.sleep(0)  # a peer that says much must not keep others from their turn
        while not self._queue:  # a peer that drips does not stretch the time
            await self._fill(None if deadline is None else max(0.001, deadline - time.monotonic()))
        frame = self._queue.popleft()
        packet: Any = framed(frame.header + frame.payload)
        self.intact = frame.verdict != "bad"
        count(self.counts, str(packet.msgtype))
        if self.observer:
            self.observer(packet, False)
        if self.intact:
            answers = self.peer.receive(packet, self.clock())
            if self.instead is None or not await self.instead(packet):
                self._put(*answers)
            await self._drain()
        received: BTC = packet
        return received

    async def messages(self) -> AsyncIterator[BTC]:
        """Every packet until the connection ends; keeps it alive. Raises as `receive`; TimedOut without a pong."""
        beat = max(0.05, min(1.0, self.peer.options.ping_interval / 2))
        while True:
            for packet in self.peer.tick(self.clock()):
                await self.send(packet)
            with suppress(TimedOut):
                yield await self.receive(beat)

    async def agree(self, timeout: float) -> None:
        """Wait until both ends speak the transport. Raises TimedOut, Disconnected, HandshakeError."""
        deadline = time.monotonic() + timeout
        self._flush()
        try:
            while not self.transport.handshake_done:
                await self._fill(max(0.001, deadline - time.monotonic()))
        except TimedOut:
            raise TimedOut(no_agreement(self.transport, timeout)) from None

    async def handshake(self) -> Any:
        """Agree on the connection; the peer's `version`. Raises HandshakeError, TimedOut, Disconnected."""
        wait = self.peer.options.handshake_timeout
        deadline = time.monotonic() + wait
        for packet in self.peer.start(self.clock()):
            self._put(packet)
        await self._drain()
        while not self.peer.established:
            try:
                await self.receive(max(0.001, deadline - time.monotonic()))
            except TimedOut:
                raise TimedOut(f"no handshake within {wait:g} s") from None
        return self.peer.version

    # The stream

    def _put(self, *messages: BTCMessage | BTC) -> None:
        for message in messages:
            packet = message if isinstance(message, BTC) else self.peer.envelope(message)
            if self.observer:
                self.observer(packet, True)
            raw = bytes(packet)
            sweep(len(raw))
            self.transport.send(raw)
        self._flush()

    def _flush(self) -> None:
        data = self.transport.to_send()
        if data and not self._writer.is_closing():  # asyncio complains of writing to what broke
            self._writer.write(data)

    async def _drain(self) -> None:
        if not self.backlog and not self._writer.transport.is_closing():
            return
        try:
            async with limited(SEND_TIMEOUT):
                await self._writer.drain()
        except asyncio.TimeoutError:
            self.abort()
            raise TimedOut(f"the peer read nothing for {SEND_TIMEOUT:g} s") from None
        except OSError as error:  # asyncio has no reason where the end was seen before
            raise Disconnected(self._whence(error.strerror or "the connection was closed")) from error

    async def _fill(self, timeout: float | None) -> None:
        if self.transport.broken:
            raise HandshakeError(self.transport.broken)
        if self._ended:
            raise Disconnected(self._whence("the peer closed the connection"))
        try:
            async with limited(timeout):
                data = await self._reader.read(READ)
        except asyncio.TimeoutError:
            raise TimedOut("no message in time") from None
        except OSError as error:
            raise Disconnected(self._whence(error.strerror or str(error))) from error
        self._received += len(data)
        if self._limit is not None and self._received > self._limit:
            raise TooMuch(f"the peer sent more than {self._limit:,} bytes")
        frames = self.transport.receive(data) if data else self.transport.close()
        if self.transport.held > MAX_UNFINISHED:
            raise TooMuch(f"the peer sends a message of more than {MAX_PROTOCOL_MESSAGE_LENGTH:,} bytes")
        self._ended = not data
        self._queue.extend(frames)
        self._flush()

    def _whence(self, text: str) -> str:
        return text if self.peer.established else f"{text} during the handshake"


async def open_connection(host: str, port: int, options: PeerOptions, timeout: float = 10.0, proxy: str | None = None,
                          transport: Choice = "v1", keylog: KeyLogFile = None, **more: Any) -> Connection:
    """Connect to a node, and agree on a transport, without a handshake.

    :param timeout: seconds for each of the two
    :param proxy: "host:port" of a SOCKS5 proxy
    :param transport: "v1", "v2" (BIP 324), or "auto" for v2 and, as Bitcoin Core does it, v1 in another connection
        where the node closes the first one without an answer
    :param keylog: file that gets the key of a v2 connection
    :param more: as `Connection` takes it

    Raises Refused, TimedOut, Disconnected, HandshakeError; BTCError where the key log cannot be written.
    """
    spoken = opened(transport, options.network, keylog)
    try:
        return await open_over(spoken, host, port, options, timeout, proxy, **more)
    except (Disconnected, HandshakeError):
        if transport != "auto" or not spoken.try_v1:
            raise
    return await open_over(V1Transport(options.network), host, port, options, timeout, proxy, **more)


async def open_over(spoken: Transport, host: str, port: int, options: PeerOptions, timeout: float = 10.0,
                    proxy: str | None = None, **more: Any) -> Connection:
    """Likewise with a transport of the caller's, whose `try_v1` then says whether v1 may do. Raises as it does."""
    if proxy:
        more["address"] = format_endpoint(host, port)
    connection = Connection(*await open_streams(host, port, timeout, proxy), options, True, spoken, **more)
    try:
        await connection.agree(timeout)
    except BaseException:
        connection.abort()
        raise
    return connection
