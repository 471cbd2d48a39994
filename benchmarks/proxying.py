# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks through the proxy, against a bare asyncio relay of bytes."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from scapy_btc.layers.envelope import BTC
from scapy_btc.net.background import Background
from scapy_btc.net.proxy import BTCProxy

from .measure import Row, in_turn

Address = tuple[str, int]


def rows(quick: bool = False) -> Iterator[Row]:
    """The lines of the table that concern the proxy."""
    logging.getLogger("scapy_btc").setLevel(logging.ERROR)
    size = 1_500_000
    block = bytes(BTC(magic="regtest", msgtype="block") / bytes(size))
    count = 20 if quick else 150

    def in_clear(to: Address) -> BTCProxy:
        return BTCProxy(to, listen_transport="v1", to_transport="v1")

    def through(way: Callable[[Address], Any]) -> None:
        with sink(count * len(block)) as (address, done), way(address) as relay, \
                socket.create_connection(relay.address) as source:
            for _ in range(count):
                source.sendall(block)
            assert done.wait(60)

    ours, bare = in_turn(lambda: through(in_clear), lambda: through(BareRelay), rounds=3 if quick else 5)
    yield Row(f"{count} blocks of {size / 1e6:.1f} MB through the proxy (asyncio relay)", ours, bare, 3, faster=False)


@contextmanager
def sink(size: int) -> Iterator[tuple[Address, threading.Event]]:
    """A server that takes so many bytes of one connection."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def take() -> None:
            connection, _ = listener.accept()
            with connection:
                buffer, left = bytearray(1 << 18), size
                while left > 0 and (came := connection.recv_into(buffer)):
                    left -= came
                if not left:
                    done.set()

        taker = threading.Thread(target=take)
        taker.start()
        yield listener.getsockname(), done
        taker.join()


class BareRelay(AbstractContextManager["BareRelay"]):
    """Passes bytes on, and knows nothing of them; `address` is where it listens."""

    def __init__(self, to: Address) -> None:
        self._to = to

    def __enter__(self) -> BareRelay:
        self._background = Background()
        self.address: Address = self._background.call(self._listen())
        return self

    def __exit__(self, *exception: object) -> None:
        self._background.call(self._close())
        self._background.close()

    async def _listen(self) -> Address:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        address: Address = self._server.sockets[0].getsockname()
        return address

    async def _close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, onward = await asyncio.open_connection(*self._to)
        while data := await reader.read(1 << 18):
            onward.write(data)
            await onward.drain()
        for each in (writer, onward):
            each.close()
