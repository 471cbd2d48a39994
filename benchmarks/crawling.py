# SPDX-License-Identifier: GPL-2.0-or-later
"""The crawler against a bare asyncio loop that connects and exchanges the same bytes, with nodes in another process."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory

from scapy_btc.all import (
    BTC,
    BTCAddrV2,
    BTCGetAddr,
    BTCNetAddrV2,
    BTCPing,
    BTCPong,
    BTCSendAddrV2,
    BTCVerack,
    BTCVersion,
    BTCWtxidRelay,
)
from scapy_btc.discovery.addressbook import AddressBook
from scapy_btc.discovery.crawler import AGENT, Crawler
from scapy_btc.discovery.reach import Kind
from scapy_btc.networks import REGTEST

from .measure import Row, in_turn

AT_A_TIME = 50
TOLD = 20
"""Addresses in an answer: those of nodes that are known already."""


def raw(*messages: object) -> bytes:
    return b"".join(bytes(BTC(magic="regtest") / message) for message in messages)


GREETING = raw(BTCVersion(user_agent=b"/Satoshi:28.1.0/", services=9), BTCWtxidRelay(), BTCSendAddrV2(), BTCVerack())
PING = raw(BTCPing(nonce=7))
PONG = raw(BTCPong(nonce=7))
OUR_VERSION = raw(BTCVersion(user_agent=AGENT, relay=0))
OUR_REST = raw(BTCWtxidRelay(), BTCSendAddrV2(), BTCVerack()) + PING + raw(BTCGetAddr())


def hosts(count: int) -> list[str]:
    return [f"127.78.{i // 250}.{1 + i % 250}" for i in range(count)]


def answer(count: int) -> bytes:
    return raw(BTCAddrV2(addresses=[BTCNetAddrV2(timestamp=int(time.time()), services=9, address=host, port=8333)
                                    for host in hosts(count)[:TOLD]]))


def serve(count: int, pipe: Pipe) -> None:
    """Nodes that answer with bytes made beforehand; their port goes into the pipe."""
    told = answer(count)

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = b""
        try:
            while b"getaddr" not in said:
                if not said:
                    said = await reader.readexactly(24)
                    writer.write(GREETING)
                said += await reader.read(65536)
            nonce = said[said.index(b"ping\0") + 20:][:8]
            writer.write(raw(BTCPong(nonce=int.from_bytes(nonce, "little"))) if nonce != PING[24:] else PONG)
            writer.write(told)
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async def run() -> None:
        first, *others = hosts(count)
        servers = [await asyncio.start_server(node, first, 0, backlog=1000)]
        port = servers[0].sockets[0].getsockname()[1]
        for host in others:
            servers.append(await asyncio.start_server(node, host, port, backlog=1000))
        pipe.send(port)
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def nodes(count: int) -> Iterator[int]:
    """The port of so many nodes."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(count, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def crawl(count: int, port: int, folder: str) -> None:
    """Visit all of them with the crawler, and keep what comes of it in a file."""
    path = Path(folder, f"{time.time_ns()}.db")
    with AddressBook(path, REGTEST) as book:
        book.keep_to(Kind.LOOPBACK)
        crawler = Crawler(book, concurrency=AT_A_TIME, rate=1e6, transport="v1")
        progress = asyncio.run(crawler.run([(host, port) for host in hosts(count)]))
    assert progress.reached == progress.answered == count, progress


def bare(count: int, port: int) -> None:
    """Connect to all of them, and exchange the same bytes."""
    wanted = len(GREETING) + len(PONG) + len(answer(count))
    rest = iter(hosts(count))

    async def work() -> None:
        for host in rest:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(OUR_VERSION)
            await reader.readexactly(len(GREETING))
            writer.write(OUR_REST)
            await reader.readexactly(wanted - len(GREETING))
            writer.close()
            await writer.wait_closed()

    async def run() -> None:
        await asyncio.gather(*(work() for _ in range(AT_A_TIME)))

    asyncio.run(run())


def rows(quick: bool) -> Iterator[Row]:
    count = 200 if quick else 1000
    with nodes(count) as port, TemporaryDirectory() as folder:
        ours, peer = in_turn(lambda: crawl(count, port, folder), lambda: bare(count, port), 3)
    yield Row(f"crawl {count} nodes: handshake, ping, addresses, SQLite (asyncio loop)", ours, peer, 20, faster=False)
