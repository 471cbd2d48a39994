# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers on loopback that treat their connections as a function says: peers that misbehave, and small proxies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from scapy_btc.all import BTC, BTCMessage, BTCStreamSocket, BTCVerack, BTCVersion
from scapy_btc.errors import FormatError
from scapy_btc.net import client
from scapy_btc.networks import REGTEST

Treat = Callable[[socket.socket], object]


def packet(message: BTCMessage | bytes) -> bytes:
    """A message as it is sent on regtest; bytes as they are."""
    return message if isinstance(message, bytes) else bytes(BTC(magic="regtest") / message)


connect = partial(client.connect, transport="v1")
"""Connect to a server that follows a script: those know no v2."""
VERACK = packet(BTCVerack())
GREETING = packet(BTCVersion()) + VERACK
"""A whole handshake of the accepting side."""


@contextmanager
def serving(treat: Treat, host: str = "127.0.0.1") -> Iterator[int]:
    """A server; its port. Each connection has its thread, in which socket errors end the treatment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError, FormatError):  # the latter of those who try v2
            connection.settimeout(20)
            treat(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        listener.close()
        acceptor.join(5)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)


@contextmanager
def nobody() -> Iterator[int]:
    """A port on 127.0.0.1 at which nobody listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def says(*what: BTCMessage | bytes) -> Treat:
    """Sends that at once, and then listens until the other end closes."""
    def treat(peer: socket.socket) -> None:
        peer.sendall(b"".join(map(packet, what)))
        while peer.recv(1 << 16):
            pass

    return treat


def answers(answer: Callable[[Any], Iterable[BTCMessage | bytes] | None], greeting: bytes = GREETING) -> Treat:
    """Agrees on the connection, then answers each message with what the function returns for it."""
    def treat(peer: socket.socket) -> None:
        peer.sendall(greeting)
        listening = BTCStreamSocket(peer, REGTEST)
        while True:
            for message in answer(listening.recv().payload) or ():
                peer.sendall(packet(message))

    return treat
