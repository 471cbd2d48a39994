# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection of a program that waits, as Scapy's shell does: speaks, listens, keeps the rules, and records."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any

from scapy.packet import Packet

from ..capture.message import Message
from ..capture.writers import open_writer
from ..errors import Disconnected, FormatError, HandshakeError, PeerError, TimedOut
from ..layers.envelope import BTC, framed
from ..layers.registry import BTCMessage
from ..layers.undecoded import BTCMalformed
from ..peer.behaviour import Peer
from ..peer.options import PeerOptions
from .connection import Observer, count, end_text, remote_of
from .inbox import Inbox
from .record import Recorder
from .socket import BTCStreamSocket

Wanted = str | type[BTCMessage] | Callable[[Any], bool]
"""A message by its name, also an unknown one, by its class, or by a function that says yes."""
Test = Callable[[Any], bool]

MOMENT = 0.001
"""Seconds that are waited at least, so that what is there already is seen."""


class BlockingConnection:
    """A connection that we opened. Not for several threads.

    Whatever comes is given to observers and subscribers, pings are answered, and what nobody waits for stays in the
    inbox (`Inbox` says how much), where `receive`, `wait_for` and `messages` look first. What has a wrong checksum is
    shown and recorded, but not heard, as nodes do it.

    :param sock: a connected socket
    :param options: what we say of ourselves; also the network
    :param timeout: seconds that every answer is waited for
    :param observer: called with every packet, and whether we sent it
    :param record: a file for what is said, as `capture.writers.open_writer` takes it
    :param address: of the other end, where the socket does not tell, as behind a proxy
    :ivar socket: the `BTCStreamSocket`, for Scapy's own functions
    :ivar peer: the rules of the connection, and what is known of the other side
    :ivar counts: messages received, by name
    :ivar ignored: how many were not listened to, by reason

    Raises CaptureError when the file cannot be made.
    """

    def __init__(self, sock: BTCStreamSocket, options: PeerOptions, timeout: float = 10.0,
                 observer: Observer | None = None, random: Random | None = None,
                 record: str | os.PathLike[str] | None = None, address: str = "") -> None:
        self.options, self.timeout, self.observer = options, timeout, observer
        self.socket = sock
        self.address = address or end_text(_end(sock.ins.getpeername))
        self.local_address = end_text(_end(sock.ins.getsockname))
        self._writer = open_writer(record, live=True) if record is not None else None
        self._recorder = self._writer and self.recorder(self._writer.write)
        self.peer = Peer(options, outbound=True, random=random)
        self.peer.remote = None if address else remote_of(_end(sock.ins.getpeername))
        self.counts: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.inbox = Inbox()
        self._subscriptions: list[tuple[Test, Callable[[Any], object]]] = []

    def recorder(self, sink: Callable[[Message], object]) -> Recorder:
        """An observer that hands on what is said as messages."""
        return Recorder(sink, self.options.network, self.local_address, self.address, transport=self.socket.transport)

    def __repr__(self) -> str:
        said = self.peer.version
        agent = f" {(said.user_agent or b'').decode('utf-8', 'backslashreplace')}" if said else ""
        return f"<{type(self).__name__} {self.address} {self.socket.transport.name}{agent}>"

    def close(self) -> None:
        """Close the connection, and the record."""
        self.socket.close()
        writer, self._writer, self._recorder = self._writer, None, None
        if writer:
            writer.close()

    # Speaking

    def send(self, message: BTCMessage | BTC) -> None:
        """Send a message, or a whole packet as it is.

        Raises Disconnected; TimedOut when the peer does not read; TypeError for what is no packet.
        """
        if not isinstance(message, Packet):
            raise TypeError(f"a message or a packet is sent, not {message!r}")
        packet = message if isinstance(message, BTC) else self.peer.envelope(message)
        try:
            self.socket.ins.settimeout(self.timeout)
            self.socket.send(packet)
        except TimeoutError:
            self.close()  # half a message may be out
            raise TimedOut(f"the peer read nothing for {self.timeout:g} s") from None
        except BrokenPipeError:
            raise Disconnected(self._while("the peer closed the connection")) from None
        except OSError as error:
            raise Disconnected(self._while(error.strerror or str(error))) from error
        self._said(packet, True)

    def handshake(self) -> Any:
        """Agree on the connection; the peer's `version`. Raises HandshakeError, TimedOut, Disconnected."""
        deadline = time.monotonic() + self.timeout
        try:
            for packet in self.peer.start(time.time()):
                self.send(packet)
            while not self.peer.established:
                self.inbox.put(self._read(deadline))
        except TimeoutError:
            raise TimedOut(self._remarked(f"{self.address}: no handshake within {self.timeout:g} s")) from None
        except PeerError as error:
            error.args = (f"{self.address}: {error}",)
            raise
        return self.peer.version

    # Listening

    def receive(self, timeout: float | None = None) -> Any:
        """The next packet: the oldest of the inbox, or what comes. Raises TimedOut, Disconnected, HandshakeError."""
        seconds = self.timeout if timeout is None else timeout
        try:
            return self.inbox.take() or self._read(time.monotonic() + max(seconds, MOMENT))
        except TimeoutError:
            raise TimedOut(self._remarked(f"no message within {seconds:g} s")) from None

    def wait_for(self, wanted: Wanted, timeout: float | None = None) -> Any:
        """The oldest message in the inbox that is wanted, or the next that comes. Raises as `receive` does."""
        test = matcher(wanted)
        packet = self.inbox.take(test)
        return packet.payload if packet else self._await(test, timeout)

    def messages(self, seconds: float) -> Iterator[Any]:
        """Every packet of the inbox, and that comes in so many seconds; keeps the connection alive.

        Raises as `receive` does, and TimedOut when the peer leaves a ping unanswered.
        """
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            for packet in self.peer.tick(time.time()):
                self.send(packet)
            with suppress(TimeoutError):
                yield self.inbox.take() or self._read(
                    time.monotonic() + max(MOMENT, min(remaining, 1.0, self.options.ping_interval / 2)))

    def on(self, wanted: Wanted, callback: Callable[[Any], object]) -> Callable[[], None]:
        """Call a function with every message that is wanted, whenever something is read; it stays in the inbox.

        The function that is returned ends this.
        """
        entry = matcher(wanted), callback
        self._subscriptions.append(entry)

        def end() -> None:
            with suppress(ValueError):
                self._subscriptions.remove(entry)

        return end

    def _await(self, test: Test, timeout: float | None = None, hint: str = "") -> Any:
        """The next message that comes and passes; others go into the inbox.

        :param hint: what it may mean when none does
        """
        seconds = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + max(seconds, MOMENT)
        try:
            while True:
                packet = self._read(deadline)
                if test(packet.payload):
                    return packet.payload
                self.inbox.put(packet)
        except TimeoutError:
            raise TimedOut(self._remarked(f"no answer within {seconds:g} s", hint)) from None
        except Disconnected as error:
            raise Disconnected(self._remarked(str(error), hint)) from error

    def _read(self, deadline: float) -> Any:
        """The next packet from the socket, after everything that it means was done. Raises TimeoutError."""
        while True:
            frame = self._frame(deadline)
            packet: Any = framed(frame.header + frame.payload)
            count(self.counts, str(packet.msgtype))
            self._said(packet, False)
            if frame.verdict != "bad":
                break
            self.ignored["with a wrong checksum"] += 1
        if isinstance(packet.payload, BTCMalformed):
            count(self.ignored, f"malformed {packet.msgtype}")
        for answer in self.peer.receive(packet, time.time()):
            self.send(answer)
        for test, callback in tuple(self._subscriptions):
            if test(packet.payload):
                callback(packet.payload)
        return packet

    def _frame(self, deadline: float) -> Any:
        try:
            while not self.socket.waiting():
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError
                self.socket.ins.settimeout(remaining)
                self.socket.fill()
            return self.socket.recv_frame()
        except TimeoutError:
            raise
        except EOFError:
            raise Disconnected(self._while("the peer closed the connection")) from None
        except FormatError as error:
            hint = "" if self.counts else f"; a node of another network than {self.options.network.name} may do that"
            raise HandshakeError(f"{error}{hint}") from error
        except OSError as error:
            raise Disconnected(self._while(error.strerror or str(error))) from error

    # Telling

    def _said(self, packet: BTC, sent: bool) -> None:
        for observer in (self._recorder, self.observer):
            if observer:
                observer(packet, sent)

    def _while(self, text: str) -> str:
        if self.peer.established:
            return text
        silent = f", without a word: nodes of other networks than {self.options.network.name} do that"
        return f"{text} during the handshake{'' if self.counts else silent}"

    def _remarked(self, text: str, remark: str = "") -> str:
        """A text, with what may be why nothing came: a remark, and what came and was not listened to."""
        ignored = ", ".join(f"{number} {reason}" for reason, number in self.ignored.most_common(3))
        remarks = "; ".join(filter(None, (remark, ignored and f"ignored: {ignored}")))
        return f"{text} ({remarks})" if remarks else text


def matcher(wanted: Wanted) -> Test:
    """A function that says of a message whether it is wanted."""
    if isinstance(wanted, str):
        return lambda message: (not isinstance(message, BTCMalformed)
                                and getattr(message.underlayer, "msgtype", None) == wanted)
    if isinstance(wanted, type):
        return lambda message: isinstance(message, wanted)
    return wanted


def _end(name: Callable[[], Any]) -> Any:
    """An end of a socket; None where it has none, or none any more."""
    with suppress(OSError):
        return name() or None
    return None
