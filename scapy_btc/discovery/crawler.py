# SPDX-License-Identifier: GPL-2.0-or-later
"""A crawler: asks every node that it hears of for others, once, within limits of connections, rate and time.

Everything it knows and has still to do is in the address book, so a run that was stopped, or killed, goes on with the
same file. A node is dialled once in a run; only those whose conversation was cut off by the end of the process are
dialled again by the next one.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..chain.address import parse
from ..errors import FormatError, PeerError, Refused
from ..net.dialing import reach_proxy
from ..net.timeouts import timeout as limited
from ..net.transports import Choice, KeyLogFile
from ..peer.options import PeerOptions
from .addressbook import USER, Added, AddressBook
from .external import ExternalAddress
from .reach import ANONYMOUS, DIRECT
from .visit import Limits, Visit, suiting, visit

CONCURRENCY = 100
RATE = 20.0
AGENT = b"/scapy_btc:crawler/"
"""What we say we are."""


@dataclass
class Progress:
    """Counts of this process's part of a run.

    :ivar known: addresses in the book
    :ivar open: conversations at this moment
    :ivar visited: nodes that were spoken with, or not reached; a node counts from its handshake on
    :ivar new: told addresses that nobody had told before
    :ivar refused: told addresses that were not taken, by why (`addressbook.Added`)
    :ivar errors: visits that did not come to a handshake, by code
    """

    started: float = 0.0
    resumed: bool = False
    finished: bool = False
    known: int = 0
    visited: int = 0
    reached: int = 0
    answered: int = 0
    told: int = 0
    new: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    open: int = 0
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Target:
    host: str
    port: int
    transport: Choice
    row: int | None = None
    """Its id in the book; None for a name that only the proxy can resolve, which is never in the book."""


class Crawler:
    """Maps a network.

    :param book: where everything is kept; its `kind` says which addresses may be dialled because others told them
    :param concurrency: connections at a time
    :param rate: new connections in a second, evenly spaced
    :param proxy: "host:port" of a SOCKS5 proxy for every connection; with it Tor addresses are visited, too
    :param on_visit: called with everything that comes of a visit
    :param transport: "v1", "v2" (BIP 324), or "auto": v2 with those that were named, or are said to speak it, and then
        v1, in another connection, where they do not; v1 with all others
    :param keylog: file that gets the keys of v2 connections
    """

    def __init__(self, book: AddressBook, options: PeerOptions | None = None, concurrency: int = CONCURRENCY,
                 rate: float = RATE, limits: Limits | None = None, proxy: str | None = None,
                 on_visit: Callable[[Visit], object] | None = None, transport: Choice = "auto",
                 keylog: KeyLogFile = None) -> None:
        self.book, self.concurrency, self.rate, self.proxy = book, concurrency, rate, proxy
        self.transport, self.keylog = transport, keylog
        self.options = options or PeerOptions(book.network, user_agent=AGENT, relay=False)
        self.limits = limits or Limits()
        self.progress = Progress(known=book.size)
        self.external = ExternalAddress(book.kind)
        self._on_visit = on_visit
        self._reachable = (*DIRECT, *ANONYMOUS) if proxy else DIRECT
        self._queue: deque[_Target] = deque()
        self._flying: dict[asyncio.Task[None], _Target] = {}
        self._event, self._stopped = asyncio.Event(), asyncio.Event()
        self._failure: BaseException | None = None
        self._turns = asyncio.Lock()
        self._next_slot = 0.0

    def stop(self) -> None:
        """End the crawl now; what is open is cut off and stays to be done."""
        self._stopped.set()
        self._event.set()

    async def run(self, starts: Iterable[tuple[str, int]] = (), max_nodes: int | None = None,
                  max_time: float | None = None) -> Progress:
        """Go on with the run that the book holds, or begin a new one, until everything was visited.

        :param starts: hosts, or names, and ports to begin with
        :param max_nodes: stop after so many visits
        :param max_time: stop after so many seconds

        Raises StoreError; Refused where no start can be resolved; ProxyDown, for which no node is blamed.
        """
        progress, loop = self.progress, asyncio.get_running_loop()
        if self.proxy:
            await reach_proxy(self.proxy, self.limits.connect)
        progress.started = time.time()
        timer = loop.call_later(max_time, self.stop) if max_time is not None else None
        with self.book.alone():
            progress.resumed = self.book.begin_run(int(time.time()))
            await self._begin_with(list(starts))
            try:
                progress.finished = await self._dispatch(max_nodes)
            finally:
                if timer:
                    timer.cancel()
                await self._cut_off()
            if progress.finished:
                self.book.end_run(int(time.time()))
        return progress

    async def _begin_with(self, starts: list[tuple[str, int]]) -> None:
        failures: list[PeerError] = []
        for host, port in starts:
            try:
                await self._begin_with_one(host, port)
            except PeerError as error:
                failures.append(error)
        if failures and len(failures) == len(starts):
            raise failures[0]
        self.progress.known = self.book.size

    async def _begin_with_one(self, host: str, port: int) -> None:
        try:
            parse(host)
            hosts = [host]
        except FormatError:
            if self.proxy:  # a name would be told to a name server, so the proxy gets it
                self._queue.append(_Target(host, port, self.transport))
                return
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                raise Refused(f"{host}: the name is not known: {getattr(error, 'strerror', '') or error}") from error
            hosts = [str(address[0]) for *_, address in found]
        taken = 0
        for each in hosts:
            with suppress(FormatError):  # an IPv6 address with a zone
                self.book.add_user(each, port, int(time.time()))
                taken += 1
        if not taken:
            raise Refused(f"{host}: no address that can be kept: one with a zone, or of no known network")

    # Whom to visit, and when

    async def _dispatch(self, max_nodes: int | None) -> bool:
        """Visit one after the other; whether everything was visited."""
        dialled = 0
        while not self._stopped.is_set():
            target = None
            if len(self._flying) < self.concurrency and (max_nodes is None or dialled < max_nodes):
                target = self._next()
            if target:
                await self._slot()
                if not self._stopped.is_set():
                    self._launch(target)
                    dialled += 1
            elif self._flying:
                self._event.clear()
                await self._event.wait()
            else:
                return self._next() is None
            if self._failure:
                raise self._failure
        return False

    def _next(self) -> _Target | None:
        """Something that is to be visited and is not being visited."""
        if not self._queue:
            busy = {target.row for target in self._flying.values()}
            for row, host, port, source, services in self.book.pending(self.concurrency + len(busy), self._reachable):
                if row in busy:
                    continue
                if self.book.may_dial(host, source):
                    transport = self.transport if source == USER else suiting(self.transport, services)
                    self._queue.append(_Target(host, port, transport, row))
                else:
                    self.book.done(row)
        return self._queue.popleft() if self._queue else None

    async def _slot(self) -> None:
        """Wait until the rate allows one more connection, or the crawl is to end; who waits longest is the next."""
        clock = asyncio.get_running_loop().time
        async with self._turns:
            if (wait := self._next_slot - clock()) > 0:
                with suppress(asyncio.TimeoutError):
                    async with limited(wait):
                        await self._stopped.wait()
            self._next_slot = clock() + 1 / self.rate

    async def _again(self) -> None:
        """Wait until the rate allows the second connection of a visit; for ever, when the crawl is to end."""
        await self._slot()
        if self._stopped.is_set():
            await asyncio.get_running_loop().create_future()  # until `_cut_off`

    def _launch(self, target: _Target) -> None:
        task = asyncio.get_running_loop().create_task(self._visit(target))
        self._flying[task] = target
        self.progress.open = len(self._flying)
        task.add_done_callback(self._landed)

    async def _cut_off(self) -> None:
        """Cancel what is open; more than once, as a time limit that is over at the same moment may swallow it
        (Python 3.10)."""
        while self._flying:
            for task in self._flying:
                task.cancel()
            await asyncio.wait(self._flying, timeout=0.1)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._flying[task]
        self.progress.open = len(self._flying)
        if not task.cancelled() and (error := task.exception()):
            self._failure = error
        self._event.set()

    # What comes of it

    async def _visit(self, target: _Target) -> None:
        agreed: list[Visit] = []

        def on_handshake(result: Visit) -> None:
            agreed.append(result)
            self.progress.visited += 1
            self.progress.reached += 1

        try:
            result = await visit(target.host, target.port, self.options, self.limits, self.proxy,
                                 transport=target.transport, keylog=self.keylog, turn=self._again,
                                 on_handshake=on_handshake)
        except asyncio.CancelledError:
            for result in agreed:
                self._keep(target, result, done=False)
            raise
        self._keep(target, result, done=True)

    def _keep(self, target: _Target, result: Visit, done: bool) -> None:
        """Put what came of a visit into the book, and count it.

        :param done: whether that was all, and the node need not be visited again
        """
        now = int(time.time())
        told = result.told or []
        with self.book.transaction():
            added = self.book.add(told, target.host, now)
            if done and target.row is not None:
                self.book.done(target.row)
            self.book.tried(target.host, target.port, now, result.error, result.reason, result.version, result.latency,
                            len(told), result.transport)
        self._count(result, added)
        if self._on_visit:
            self._on_visit(result)

    def _count(self, result: Visit, added: Added) -> None:
        progress, told, version = self.progress, result.told or [], result.version
        progress.known = self.book.size
        progress.told += len(told)
        progress.new += added.new
        progress.refused += added.refused
        if version is None:
            progress.visited += 1
            progress.errors[result.error] += 1
            return
        progress.answered += bool(told)
        self.external.add(result.host, str(version["receiver_address"]["ip"]))


def summary(book: AddressBook) -> dict[str, Any]:
    """What the last runs found, as counts: nodes reached by network, transport and user agent; errors."""
    reached = "success = tried"
    return {
        "reached": dict(book.counts("network_id", reached)),
        "known": dict(book.counts("network_id")),
        "pending": dict(book.counts("network_id", "pending")),
        "transports": dict(book.counts("transport", reached)),
        "user_agents": dict(book.counts("user_agent", reached, 10)),
        "errors": dict(book.counts("error", f"tried IS NOT NULL AND NOT ifnull({reached}, 0)")),
    }
