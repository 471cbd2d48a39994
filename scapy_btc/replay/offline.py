# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings played without a network: at their pace, to what listens to live connections. Clocks are the caller's."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from ..capture.message import Message, StreamEvent
from ..errors import Disconnected, TimedOut
from ..layers.undecoded import BTCMalformed
from ..messages.handshake import BTCVersion
from ..messages.keepalive import BTCPing
from ..net.blocking import Wanted, matcher
from ..net.connection import Observer, count
from ..net.inbox import Inbox
from ..net.pool import PoolHandler
from ..networks import MAINNET
from ..peer.behaviour import Peer
from ..peer.options import PeerOptions
from .script import CLIENT, OLDEST, ends

CONNECTIONS = 16_384
"""Connections that are followed at a time; beyond it the one that was silent for the longest time is closed."""

LONGEST = 1e9
"""Seconds of a pause, at most: no system sleeps for all the time that two numbers in a file can be apart."""

NODE = "node"
"""What a node's message capture calls the node."""

Item = TypeVar("Item", Message, Message | StreamEvent)
Step = Callable[[Any], Any]


def paced(items: Iterable[Item], speed: float | None = None, step: Step | None = None,
          clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep) -> Iterator[Item]:
    """Messages (and events) when their time has come, counted from the first.

    :param speed: so many times faster than recorded; None: without pauses
    :param step: called before each; the end where it returns False
    :param clock: seconds; `sleep` waits so many of them
    """
    start = first = None
    for item in items:
        if step:
            if step(item) is False:
                return
        elif speed:
            if start is None or first is None:
                start, first = clock(), item.time_ns
            early = start + (item.time_ns - first) / 1e9 / speed - clock()
            if early > 0:
                sleep(min(early, LONGEST))
        yield item


class RecordedPeer(Peer):
    """The rules of a connection, told what was said on it, and when. Says nothing by itself."""

    def __init__(self, first: Message) -> None:
        super().__init__(PeerOptions(first.network or MAINNET, lowest_version=OLDEST))

    def said(self, packet: Any, now: float) -> None:
        """We said it."""
        if self._started is None:
            self._started = now
        message = packet.payload
        if isinstance(message, BTCVersion):
            self.options = replace(self.options, version=message.version, services=message.services)
            self.nonce = message.nonce or 0
        elif isinstance(message, BTCPing) and message.nonce is not None:
            self._ping, self._last_ping = (message.nonce, now), now

    def heard(self, packet: Any, now: float) -> None:
        """The other side said it."""
        if packet.magic == self.options.network.magic:
            self.receive(packet, now)


class RecordedConnection:
    """A recorded connection as handlers see a live one.

    :param first: its first message
    :param side: which end is ours: CLIENT opened it, or SERVER; in a node's message capture it is always the node
    :ivar address: of the other end, as in `Message`; `local_address` is ours
    :ivar peer: what is known of the other side so far
    :ivar counts: messages received, by name
    :ivar ignored: how many were not listened to, by reason
    """

    def __init__(self, first: Message, side: str = CLIENT, observer: Observer | None = None) -> None:
        self.number = first.connection
        self.local_address, self.address = ends(first, side)
        if self.address == NODE:
            self.local_address, self.address = self.address, self.local_address
        self.peer = RecordedPeer(first)
        self.observer = observer
        self.counts: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()

    def post(self, message: Any) -> None:
        """Nothing: what was said is on record."""

    def take(self, message: Message) -> Any:
        """The packet of a message that we are to hear; None of one that we said, or with a wrong checksum."""
        packet: Any = message.packet
        sent, now = message.source == self.local_address, message.time_ns / 1e9
        if self.observer:
            self.observer(packet, sent)
        if sent:
            self.peer.said(packet, now)
            return None
        count(self.counts, message.msgtype)
        if message.checksum == "bad":
            self.ignored["with a wrong checksum"] += 1
            return None
        if isinstance(packet.payload, BTCMalformed):
            count(self.ignored, f"malformed {message.msgtype}")
        self.peer.heard(packet, now)
        return packet


class RecordedClient(RecordedConnection):
    """One recorded connection in place of a `BTCClient`: what listens to a live one listens to this.

    :param messages: a recording, as `read` gives it, or `paced` does
    :param connection: the number of the connection; without it that of the first message
    :param side: likewise as of `RecordedConnection`
    :ivar now: when the latest message came, in seconds since 1970

    Raises Disconnected where there is no message of the connection.
    """

    def __init__(self, messages: Iterable[Message], connection: int | None = None, side: str = CLIENT,
                 observer: Observer | None = None) -> None:
        self._messages = (m for m in messages if isinstance(m, Message))
        first = next((m for m in self._messages if connection is None or m.connection == connection), None)
        if first is None:
            raise Disconnected("nothing of the connection is on record")
        super().__init__(first, side, observer)
        self._ahead: Message | None = first
        self.now = first.time_ns / 1e9
        self.inbox = Inbox()
        self._subscriptions: list[tuple[Callable[[Any], bool], Callable[[Any], object]]] = []

    def on(self, wanted: Wanted, callback: Callable[[Any], object]) -> Callable[[], None]:
        """Call a function with every message that is wanted; the function that is returned ends this."""
        entry = matcher(wanted), callback
        self._subscriptions.append(entry)

        def end() -> None:
            with suppress(ValueError):
                self._subscriptions.remove(entry)

        return end

    def receive(self, timeout: float | None = None) -> Any:
        """The next packet. Raises TimedOut when none came in so many recorded seconds, Disconnected at the end."""
        return self.inbox.take() or self._read(timeout)

    def wait_for(self, wanted: Wanted, timeout: float | None = None) -> Any:
        """The oldest message in the inbox that is wanted, or the next that comes. Raises as `receive` does."""
        test = matcher(wanted)
        packet = self.inbox.take(test)
        until = None if timeout is None else self.now + timeout
        while packet is None:
            packet = self._read(None if until is None else until - self.now)
            if not test(packet.payload):
                self.inbox.put(packet)
                packet = None
        return packet.payload

    def messages(self, seconds: float | None = None) -> Iterator[Any]:
        """Every packet that came in so many recorded seconds; to the end of the recording without them."""
        until = None if seconds is None else self.now + seconds
        with suppress(TimedOut, Disconnected):
            while True:
                yield self.receive(None if until is None else until - self.now)

    def _read(self, timeout: float | None) -> Any:
        until = None if timeout is None else self.now + timeout
        while True:
            message = self._ahead or next((m for m in self._messages if m.connection == self.number), None)
            self._ahead = message
            if message is None:
                raise Disconnected("the recording is over")
            if until is not None and message.time_ns / 1e9 > until:
                self.now = until
                raise TimedOut("no message in time")
            self._ahead, self.now = None, message.time_ns / 1e9
            packet = self.take(message)
            if packet is not None:
                for test, callback in tuple(self._subscriptions):
                    if test(packet.payload):
                        callback(packet.payload)
                return packet


def play(messages: Iterable[Message], handler: PoolHandler, side: str = CLIENT) -> int:
    """Tell a monitor of any number of connections what a recording holds; the number of messages.

    As when it is live, it hears of a connection once that has its handshake.

    :param messages: as `read` gives them, or `paced` does
    :param handler: what `net.pool.keep_connected` takes
    :param side: as of `RecordedConnection`
    """
    known: OrderedDict[int, RecordedConnection] = OrderedDict()
    opened: dict[str, Any] = {}
    total = second = 0
    for total, message in enumerate(messages, 1):
        connection = known.get(message.connection)
        if connection is None:
            if len(known) >= CONNECTIONS:
                _over(known.popitem(last=False)[1], opened, handler)
            connection = known[message.connection] = RecordedConnection(message, side)
        known.move_to_end(message.connection)
        packet = connection.take(message)
        if opened.get(connection.address) is connection:
            if packet is not None:
                handler.message(connection, packet)  # type: ignore[arg-type]
        elif connection.peer.established:
            opened[connection.address] = connection
            handler.opened(connection)  # type: ignore[arg-type]
        if second != message.time_ns // 10**9:
            second = message.time_ns // 10**9
            handler.tick(opened)
    for connection in known.values():
        _over(connection, opened, handler)
    return total


def _over(connection: RecordedConnection, opened: dict[str, Any], handler: PoolHandler) -> None:
    if opened.get(connection.address) is connection:
        del opened[connection.address]
        handler.closed(connection.address, Disconnected("the recording is over"))
