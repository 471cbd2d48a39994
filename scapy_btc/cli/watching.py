# SPDX-License-Identifier: GPL-2.0-or-later
"""Watching transactions, on connections and on captures, and printing them: what `mempool` does."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import click

from ..analysis.mempool import MempoolWatch, Sighting
from ..capture.message import Message
from ..capture.reader import read
from ..capture.writers import open_writer
from ..discovery.reach import kind_of_text, kind_to_crawl
from ..errors import PeerError
from ..layers.registry import printable
from ..layers.txfields import coins
from ..messages.addresses import BTCAddr, BTCAddrV2, BTCGetAddr
from ..net.connection import Connection, Observer
from ..net.pool import Candidates, keep_connected
from ..net.record import Recorder
from ..net.timeouts import timeout as limited
from ..networks import Network
from ..peer.options import PeerOptions
from ..protocol import MAX_ADDR_TO_SEND
from ..text import format_time, plural
from . import ending
from .dumping import Dump
from .finding import can_be_dialled
from .talking import output

SHOWN = 3
"""Outputs that a line shows."""


class Enough(Exception):
    """What was to be shown was shown."""


class Lines:
    """Prints transactions, and counts.

    :param limit: raise `Enough` after so many
    :param hold: print a transaction so many seconds after it came: then more peers have announced it
    :ivar connected: peers that could be spoken with
    """

    def __init__(self, watch: MempoolWatch, form: str, limit: int | None, hold: float = 0.0) -> None:
        self.watch, self.form, self.limit, self.hold = watch, form, limit, hold
        self.count = self.connected = 0
        self._held: deque[Sighting] = deque()

    def take(self, seen: Sighting) -> None:
        """A transaction came."""
        self._held.append(seen)
        self.tick(seen.time)

    def tick(self, now: float) -> None:
        """Print what was held for long enough."""
        while self._held and self._held[0].time + self.hold <= now:
            self._show(self._held.popleft())

    def _show(self, seen: Sighting) -> None:
        output(self.form, line(seen) if self.form == "text" else "", record(seen) if self.form != "text" else {})
        self.count += 1
        if self.limit and self.count >= self.limit:
            raise Enough

    def close(self) -> None:
        """Print what is still held, and the closing counts: one line for each peer."""
        with suppress(Enough):
            if not self.limit or self.count < self.limit:
                self.tick(float("inf"))
        click.echo(f"{self.count:,} {plural(self.count, 'transaction')}", err=True)
        for peer, tally in sorted(self.watch.peers.items(), key=lambda entry: -entry[1].first):
            later = tally.announced - tally.first
            mean = f", {tally.behind / later * 1e3:.1f} ms behind the first on average" if later else ""
            click.echo(f"  {peer:<40} announced {tally.announced:,}, first {tally.first:,}{mean}", err=True)


def line(seen: Sighting) -> str:
    """One transaction for people."""
    moment = format_time(int(seen.time * 1e9))[:26].replace("T", " ")
    outputs = ", ".join(f"{where or kind} {coins(amount)}" for amount, where, kind in seen.outputs[:SHOWN])
    more = len(seen.outputs) - SHOWN
    fee = "fee unknown" if seen.feerate is None else f"{seen.feerate:.2f} sat/vB"
    first, others = seen.announced[0][0], len(seen.announced) - 1
    return (f"{moment} {seen.txid} {seen.vsize} vB, {fee}, {seen.inputs} in, {len(seen.outputs)} out: {outputs}"
            f"{f' and {more} more' if more > 0 else ''}; first {first}{f' of {others + 1}' if others else ''}")


def record(seen: Sighting) -> dict[str, Any]:
    """One transaction for programs."""
    start = seen.announced[0][1]
    found: dict[str, Any] = {
        "time": format_time(int(seen.time * 1e9)), "txid": seen.txid, "wtxid": seen.wtxid, "size": seen.size,
        "vsize": seen.vsize, "weight": seen.weight, "inputs": seen.inputs,
        "outputs": [{"value": amount, "script_type": kind, **({"address": where} if where else {})}
                    for amount, where, kind in seen.outputs],
        "announced": [{"peer": peer, "seconds": round(when - start, 6)} for peer, when in seen.announced],
    }
    if seen.fee is not None:
        found |= {"fee": seen.fee, "feerate": round(seen.fee / seen.vsize, 3)}
    return found


def watch_capture(source: str, lines: Lines, keylog: str | None) -> None:
    """The transactions of a capture, at its times."""
    with read(source, keylog=keylog) as messages:
        for message in messages:
            if message.msgtype in ("inv", "tx", "block") and message.checksum != "bad":
                _, seen = lines.watch.receive(message.source, message.packet.payload, message.time_ns / 1e9)
                try:
                    lines.tick(message.time_ns / 1e9)
                    if seen:
                        lines.take(seen)
                except Enough:
                    return


class Watching:
    """Tells a watch what the connections of a pool say, and asks what it wants."""

    def __init__(self, lines: Lines, learn: Callable[[str, int], None] | None) -> None:
        self.lines, self.watch, self.learn = lines, lines.watch, learn

    def opened(self, connection: Connection) -> None:
        said: Any = connection.peer.version
        agent = printable((said.user_agent or b"").decode("utf-8", "backslashreplace"))
        click.echo(f"connected to {connection.address} {agent}", err=True)
        self.lines.connected += 1
        self.watch.join(connection.address)
        if self.learn:
            connection.post(BTCGetAddr())

    def message(self, connection: Connection, packet: Any) -> None:
        message = packet.payload
        asked, seen = self.watch.receive(connection.address, message, time.time())
        for question in asked:
            connection.post(question)
        if self.learn and isinstance(message, (BTCAddr, BTCAddrV2)):
            for entry in message.addresses[:MAX_ADDR_TO_SEND]:
                self.learn(str(getattr(entry, "ip", None) or entry.address), entry.port)
        if seen:
            self.lines.take(seen)

    def closed(self, endpoint: str, reason: PeerError) -> None:
        text = printable(str(reason))
        click.echo(text if text.startswith(endpoint) else f"{endpoint}: {text}", err=True)
        self.watch.forget(endpoint, time.time())

    def tick(self, connections: dict[str, Connection]) -> None:
        self.lines.tick(time.time())
        for peer, question in self.watch.tick(time.time()):
            if peer in connections:
                connections[peer].post(question)


def watch_nodes(ends: list[tuple[str, int]], count: int, network: Network, lines: Lines, seconds: float | None,
                hexdump: bool, write: str | None, **how: Any) -> None:
    """Watch nodes until enough was seen, the time is over, or Ctrl-C.

    :param ends: those that were named; more than these are learned from them, as a crawl would (`discovery.reach`)
    :param how: timeout, transport, key log and proxy, as `keep_connected` takes them
    """
    candidates = Candidates(ends)
    kind = kind_to_crawl(network, (host for host, _ in ends))

    def learn(host: str, port: int) -> None:
        if port and kind_of_text(host) == kind and can_be_dialled(host, how["proxy"]):
            candidates.add((host, port))

    handler = Watching(lines, learn if count > len(ends) else None)
    options = PeerOptions(network=network)

    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(write, live=True)) if write else None
        connections, messages = itertools.count(), itertools.count(1)

        def observe(connection: Connection) -> Observer:
            sinks: list[Callable[[Message], object]] = [writer.write] if writer else []
            if hexdump:
                sinks.append(Dump(connection.local_address))

            def sink(message: Message) -> None:
                for each in sinks:
                    each(message)

            return Recorder(sink, network, connection.local_address, connection.address, next(connections), messages,
                            connection.transport)

        async def run() -> None:
            async with limited(seconds):
                await keep_connected(count, candidates, options, handler, **how,
                                     observe=observe if hexdump or write else None)

        with suppress(asyncio.TimeoutError, Enough):
            ending.run(run())
