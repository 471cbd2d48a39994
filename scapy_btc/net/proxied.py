# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection through a proxy: who connected to it, the node it connected to, and what passes between them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from itertools import count
from logging import INFO, WARNING, getLogger
from time import monotonic, time_ns
from typing import Any, Literal

from ..capture.message import Message, msgtype_text
from ..capture.streams import network_of
from ..errors import Disconnected, HandshakeError, PeerError, TimedOut
from ..layers.envelope import BTC
from ..layers.registry import BTCMessage
from ..networks import Network
from ..peer.passing import Passed, as_raw, to_handle, to_pass, unfit_for_v2
from ..text import plural
from ..wire.events import Frame
from ..wire.transport import Transport
from .record import frame_of
from .scripting import told
from .stream import ByteStream

HANDSHAKE_TIMEOUT = 60.0
"""Seconds in which both ends must have agreed on their transport."""
LINGER = 60.0
"""Seconds that one end may be silent after the other has ended, or go on speaking after the other is gone."""
TURN = 0.005
"""Seconds for which the messages of one end are passed on before others have their turn."""
FLUSH_TIMEOUT = 10.0
"""Seconds that an end has to take what was sent to it before the connection ended."""

log = getLogger("scapy_btc.proxy")

Name = Literal["client", "target"]
Handle = Callable[[Any, "Context"], Passed | Awaitable[Passed]]
"""A user's function: packet and context in, what is to be passed on out."""
Record = Callable[[Message], object]
"""Called with every message that came, was passed on, or both."""


class Context:
    """One direction of a connection, for a user's function; the same object for all messages of that direction.

    :ivar connection: number of the connection, from 0
    :ivar sender: who sent the message: "client" (who connected to the proxy) or "target"
    :ivar source: address of the sender; `destination` that of the other end
    """

    def __init__(self, proxied: Proxied, source: Side, sink: Side) -> None:
        self._proxied = proxied
        self.connection = proxied.number
        self.sender: Name = source.name
        self.source, self.destination = source.address, sink.address

    def __repr__(self) -> str:
        return f"<Context of connection {self.connection}, {self.source} > {self.destination}>"

    def inject(self, message: BTCMessage | BTC, to: Name) -> None:
        """Send a message to the "client" or the "target", as if it came from the other one."""
        self._proxied.inject(message, to)


class Side:
    """One end, as the proxy sees it: a stream, and how messages travel on it.

    :ivar agreed: set when messages can be sent
    :ivar said: the last of "version" and "verack" that it sent; `heard` likewise what was passed on to it
    """

    def __init__(self, name: Name, stream: ByteStream, transport: Transport) -> None:
        self.name, self.stream, self.transport = name, stream, transport
        self.address = stream.address
        self.agreed = asyncio.Event()
        self.said = self.heard = ""
        self.early: list[Frame] = []  # messages that came while it was found out how to speak
        self._settle()

    def __str__(self) -> str:
        return f"the {self.name} {self.address}"

    async def read(self) -> list[Frame]:
        """The messages that the next bytes complete. Raises HandshakeError when what came before was none."""
        if self.early:
            frames, self.early = self.early, []
            return frames
        if self.transport.broken:
            raise HandshakeError(f"{self}: {self.transport.broken}")
        data = await self.stream.read()
        frames = self.transport.receive(data) if data else self.transport.close()
        self._settle()
        return frames

    def _settle(self) -> None:
        """Send what the transport says by itself."""
        self.stream.write(self.transport.to_send())
        if self.transport.handshake_done:
            self.agreed.set()

    def send(self, raw: bytes) -> None:
        """Send a message; it goes out with `drain`."""
        self.transport.send(raw)

    async def drain(self) -> None:
        """Let go out what was sent, and wait while too much waits."""
        self.stream.write(self.transport.to_send())
        await self.stream.drain()


class Proxied:
    """Passes messages between two ends until both have ended.

    :param number: of the connection, from 0
    :param network: whose messages v2 carries
    :param handle: a user's function
    :param record: called with each message: as it was passed on, and as it came where that differs
    :param numbers: gives the numbers of messages
    """

    def __init__(self, number: int, client: Side, target: Side, network: Network, handle: Handle | None,
                 record: Record | None, numbers: count[int]) -> None:
        self.number, self.client, self.target = number, client, target
        self._undelivered = {"client": 0, "target": 0}
        self._network, self._handle, self._record, self._numbers = network, handle, record, numbers
        self._magic = network.magic
        self._agreed = asyncio.Event()

    async def run(self) -> None:
        """Pass on until both ends have ended, or one of them does what ends the connection."""
        running = {asyncio.ensure_future(work) for work in (
            self._agree(), self._pass_all(self.client, self.target), self._pass_all(self.target, self.client))}
        patience = 1.0
        try:
            await self._watch(running)
            patience = FLUSH_TIMEOUT
            log.info("connection %d ended", self.number)
        except PeerError as error:
            patience = FLUSH_TIMEOUT
            log.warning("connection %d ended: %s", self.number, error)
        finally:
            for name, lost in self._undelivered.items():
                if lost:
                    log.warning("connection %d: %d %s for the %s came too late for it", self.number, lost,
                                plural(lost, "message"), name)
            streams = self.client.stream, self.target.stream
            for task in running:
                task.cancel()
            for stream in streams:
                stream.close()
            await asyncio.gather(*running, *(stream.closed(patience) for stream in streams), return_exceptions=True)

    async def _watch(self, running: set[asyncio.Task[None]]) -> None:
        """Wait until all is done, and bound how long that takes at begin and end. Raises what was raised, TimedOut."""
        sides = self.client, self.target
        deadline = monotonic() + HANDSHAKE_TIMEOUT
        while running:
            ending = any(side.stream.ended or side.stream.gone for side in sides)
            patience = LINGER if ending else None
            if not self._agreed.is_set():
                patience = max(0.001, deadline - monotonic())
            before = sum(side.stream.received for side in sides)
            done, _ = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            running -= done
            errors = [error for task in done if (error := task.exception())]  # of all: both ends may fail at once
            if errors:
                raise errors[0]
            late = next((side for side in sides if not side.agreed.is_set()), None)
            if not done and late:
                raise TimedOut(f"{late}: no agreement on a transport within {HANDSHAKE_TIMEOUT:g} s")
            silent = before == sum(side.stream.received for side in sides)
            if not done and (silent or any(side.stream.gone for side in sides)):
                raise TimedOut(f"one end has ended, and {LINGER:g} s later the other still is there")

    async def _agree(self) -> None:
        """Both ends have their transport."""
        sides = self.client, self.target
        for side in sides:
            await side.agreed.wait()
        log.info("connection %d: %s", self.number, " > ".join(f"{s.address} ({s.transport.name})" for s in sides))
        self._agreed.set()

    async def _pass_all(self, source: Side, sink: Side) -> None:
        """Pass on one direction until its sender ends. Raises HandshakeError, Disconnected."""
        context = Context(self, source, sink)
        while not source.stream.ended:
            frames = await source.read()
            if frames:
                self._magic = frames[-1].magic
                await self._agreed.wait()
            until = monotonic() + TURN
            for frame in frames:
                if self._handle:
                    await self._pass_handled(self._handle, frame, context, source, sink)
                else:
                    self._pass(frame, frame.header + frame.payload, source, sink)
                if monotonic() > until:
                    await asyncio.sleep(0)
                    until = monotonic() + TURN
            await sink.drain()
        if not source.agreed.is_set():
            raise Disconnected(f"{source} closed it before it said anything"
                               if not source.stream.received else f"{source} closed it during the v2 handshake")
        self._tell_end(source)
        sink.stream.finish()

    def _tell_end(self, source: Side) -> None:
        """Say how one end ended, and what of it does not reach the other."""
        reset, cut = source.stream.reset, source.transport.held
        how = f"broke off: {reset}" if reset else "closed it"
        lost = f"; {cut:,} {plural(cut, 'byte')} of an unfinished message were not passed on" if cut else ""
        log.log(WARNING if cut else INFO, "connection %d: %s %s%s", self.number, source, how, lost)

    def _pass(self, frame: Frame, raw: bytes, source: Side, sink: Side, fate: str = "") -> None:
        """Send a message on, unless that is not possible."""
        sent = False
        if not sink.stream.writable:
            self._undelivered[sink.name] += 1
        elif sink.transport.name == "v2" and (unfit := unfit_for_v2(frame, raw, self._network.magic)):
            log.warning("connection %d: %s of %s was not passed on: v2 cannot carry %s", self.number,
                        msgtype_text(frame.msgtype), source, unfit)
        else:
            sink.send(raw)
            sent = True
        if sent or not fate:
            self._tell(frame, source, sink, fate if sent else "dropped")

    async def _pass_handled(self, handle: Handle, frame: Frame, context: Context, source: Side, sink: Side) -> None:
        """Let the user's function decide."""
        raw = frame.header + frame.payload
        await sink.drain()  # what came before must not wait for what the function waits for
        try:
            returned: Any = handle(to_handle(raw, frame), context)
            if inspect.isawaitable(returned):
                returned = await returned
            passed = to_pass(returned, frame.magic)
        except Exception as error:
            raise PeerError(f"handle() failed on {msgtype_text(frame.msgtype)} of {source}: {told(error)}") from error
        if raw not in passed:
            self._tell(frame, source, sink, "dropped")
        for each in passed:
            if each == raw:
                self._pass(frame, raw, source, sink)
            else:
                self._pass(frame_of(each), each, source, sink, "injected")
        await source.drain()  # the function may have sent something back

    def inject(self, message: BTCMessage | BTC, to: Name) -> None:
        """Send a message to one end, as if it came from the other one; one that has ended gets nothing."""
        source, sink = (self.client, self.target) if to == "target" else (self.target, self.client)
        raw = as_raw(message, self._magic)
        self._pass(frame_of(raw), raw, source, sink, "injected")
        sink.stream.write(sink.transport.to_send())

    def _tell(self, frame: Frame, source: Side, sink: Side, fate: str) -> None:
        if not self._record:
            return
        said = sink.heard if fate == "injected" else source.said
        if frame.msgtype in (b"version", b"verack"):
            if fate != "injected":
                source.said = frame.msgtype.decode()
            if fate != "dropped":
                sink.heard = frame.msgtype.decode()
        number = next(self._numbers)
        travels = sink if fate == "injected" else source
        self._record(Message(
            time_ns(), source.address, sink.address, self.number, network_of(frame.magic, said=self._network),
            travels.transport.name, msgtype_text(frame.msgtype), frame.payload, frame.verdict, (number, number), frame,
            said, fate))
