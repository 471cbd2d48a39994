# SPDX-License-Identifier: GPL-2.0-or-later
"""One visit to a node: handshake, ping, its addresses; bounded in time, messages and bytes, whatever the node does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ..chain.address import format_endpoint
from ..errors import (
    BTCError,
    Disconnected,
    HandshakeError,
    PeerError,
    ProxyDown,
    Refused,
    TimedOut,
    TooMuch,
    WrongNetwork,
)
from ..layers.plan import BROKEN
from ..messages.addresses import BTCAddr, BTCAddrV2, BTCGetAddr
from ..net.connection import Connection, open_over
from ..net.dialing import reach_proxy
from ..net.timeouts import timeout as limited
from ..net.transports import Choice, KeyLogFile, opened
from ..peer.options import PeerOptions
from ..protocol import MAX_ADDR_TO_SEND, ServiceFlags
from ..wire.transport import Transport, V1Transport
from .addressbook import Told

_CODES = (
    (Refused, "refused"),
    (TimedOut, "timed-out"),
    (Disconnected, "disconnected"),
    (WrongNetwork, "wrong-network"),
    (HandshakeError, "no-handshake"),
    (TooMuch, "too-much"),
)


def error_code(error: BTCError) -> str:
    """A short name of what went wrong, the same for all errors of a kind."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), "failed")


@dataclass(frozen=True)
class Limits:
    """What one visit may cost. Times are seconds."""

    connect: float = 5.0
    """For connecting, and again for agreeing on v2."""
    seconds: float = 60.0
    """For everything, also where v1 is spoken in a second connection. Bitcoin Core answers `getaddr` at once, or
    within a minute or so."""
    linger: float = 2.0
    """How long more addresses are waited for after a message of one (the node's own) or of 1,000 (a full page)."""
    messages: int = 1_000
    size: int = 1 << 20
    """Bytes."""
    pages: int = 4
    """Messages with addresses that are read; of each at most 1,000 entries."""


@dataclass(slots=True)
class Visit:
    """What came of it.

    :ivar version: what the node said of itself, as its record; None where there was no handshake
    :ivar transport: by which it said that, "v1" or "v2"; "" where there was no handshake
    :ivar latency: seconds until the pong; None where none came
    :ivar told: addresses; None where it was not asked
    :ivar error: a code, "" for none; after a handshake the reason why the conversation ended early
    """

    host: str
    port: int
    version: dict[str, Any] | None = None
    transport: str = ""
    latency: float | None = None
    told: list[Told] | None = None
    error: str = ""
    reason: str = ""

    def failed(self, error: PeerError) -> None:
        """Keep why the conversation ended."""
        self.error = error_code(error)
        self.reason = str(error).removeprefix(f"{format_endpoint(self.host, self.port)}: ")


@dataclass(slots=True)
class _Answers:
    """Addresses of one conversation, as they come in."""

    told: list[Told] = field(default_factory=list)
    pages: int = 0
    more: bool = False
    """Others may follow the last message."""


def suiting(transport: Choice, services: int) -> Choice:
    """What to speak with a node that was told, as Bitcoin Core does it: "auto" is v1 unless its services say v2."""
    return "v1" if transport == "auto" and not services & ServiceFlags.NODE_P2P_V2 else transport


async def visit(host: str, port: int, options: PeerOptions, limits: Limits, proxy: str | None = None, ask: bool = True,
                transport: Choice = "v1", keylog: KeyLogFile = None,
                turn: Callable[[], Awaitable[object]] | None = None,
                on_handshake: Callable[[Visit], object] = lambda visit: None) -> Visit:
    """Visit a node. What goes wrong with it is in the result.

    :param ask: whether to ask for addresses
    :param transport: as `open_connection` takes it; likewise `proxy` and `keylog`
    :param turn: awaited before the second connection that "auto" may need; that time is not counted
    :param on_handshake: called at the handshake with what becomes the result

    Raises ProxyDown; BTCError where the key log cannot be written.
    """
    clock = asyncio.get_running_loop().time
    spoken, begun = opened(transport, options.network, keylog), clock()
    result = await _converse(spoken, Visit(host, port), options, limits, limits.seconds, proxy, ask,
                             on_handshake)
    if transport != "auto" or not spoken.try_v1 or result.error == "timed-out":
        return result
    left = limits.seconds - (clock() - begun)
    if turn:
        await turn()
    return await _converse(V1Transport(options.network), Visit(host, port), options, limits, left, proxy, ask,
                           on_handshake)


async def visit_all(ends: Iterable[tuple[str, int, Choice]], options: PeerOptions, limits: Limits, concurrency: int,
                    on_visit: Callable[[Visit], object], proxy: str | None = None, ask: bool = False,
                    keylog: KeyLogFile = None) -> None:
    """Visit (host, port, transport), so many at a time; each result is told when it comes. Raises as `visit` does."""
    if proxy:
        await reach_proxy(proxy, limits.connect)
    rest = iter(ends)

    async def work() -> None:
        for host, port, transport in rest:
            on_visit(await visit(host, port, options, limits, proxy, ask, transport, keylog))

    workers = [asyncio.ensure_future(work()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _converse(spoken: Transport, result: Visit, options: PeerOptions, limits: Limits, seconds: float,
                    proxy: str | None, ask: bool, on_handshake: Callable[[Visit], object]) -> Visit:
    """One connection and all that is said on it, in so many seconds; what comes of it goes into the result."""
    result.told = [] if ask else None
    count = 0

    def observe(packet: object, sent: bool) -> None:
        nonlocal count
        count += not sent
        if count > limits.messages:
            raise TooMuch(f"the peer sent more than {limits.messages:,} messages")

    connection: Connection | None = None
    try:
        async with limited(seconds):
            connection = await open_over(spoken, result.host, result.port, options, limits.connect, proxy,
                                         observer=observe, limit=limits.size)
            result.version = record_of(await connection.handshake())
            result.transport = connection.transport.name
            on_handshake(result)
            await _talk(connection, result, limits, ask)
            await connection.close()
    except ProxyDown:
        raise
    except PeerError as error:
        result.failed(error)
    except asyncio.TimeoutError:
        if result.version is None:
            result.failed(TimedOut(f"no handshake within {limits.seconds:g} s"))
    finally:
        if connection:
            connection.abort()
    return result


async def _talk(connection: Connection, result: Visit, limits: Limits, ask: bool) -> None:
    """Fills in the result. Raises PeerError where the conversation ends before it has to."""
    answers = _Answers()
    if ask:
        result.told = answers.told
    connection.post(connection.peer.ping(time.time()), *([BTCGetAddr()] if ask else []))
    clock = asyncio.get_running_loop().time
    linger: float | None = None
    while (ask and answers.pages < limits.pages) or connection.peer.latency is None:
        try:
            packet: Any = await connection.receive(None if linger is None else max(0.001, linger - clock()))
        except TimedOut:
            break
        finally:
            result.latency = connection.peer.latency
        if ask and isinstance(packet.payload, (BTCAddr, BTCAddrV2)):
            take_up(packet.payload, answers)
            linger = clock() + limits.linger * answers.more


def record_of(message: Any) -> dict[str, Any]:
    """A message as plain values."""
    raw = bytes(message)
    record: dict[str, Any] = type(message).plan.record(raw, 0, len(raw))[0]
    return record


def take_up(message: Any, answers: _Answers) -> None:
    """Add the addresses of a message to what was told."""
    raw = bytes(message)
    try:
        entries = type(message).plan.view(raw, 0, len(raw))[0]["addresses"]  # read one by one
        found = [Told(host_of(entry), entry["port"], entry["services"], entry.get("timestamp", 0))
                 for entry in islice(entries, MAX_ADDR_TO_SEND)]
    except BROKEN:
        return
    answers.told += found
    answers.pages += 1
    answers.more = len(found) < 2 or len(found) >= MAX_ADDR_TO_SEND


def host_of(entry: Mapping[str, Any]) -> str:
    """The address in an entry of `addr` or `addrv2`."""
    return str(entry["ip"] if "ip" in entry else entry["address"])
