# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a node until it is to end, and showing what is said: what `serve` does."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

import click

from ..capture.message import Message
from ..chain.address import format_endpoint
from ..layers.registry import printable
from ..net.node import BTCNode
from ..networks import REGTEST
from ..text import plural
from . import ending
from .options import refuse_idle, selection
from .reading import Show
from .talking import host_and_port


class Said:
    """Shows the messages of a node.

    :ivar over: enough was shown, or it cannot be shown any more
    :ivar failure: why
    """

    def __init__(self, show: Show) -> None:
        self.show = show
        self.over = asyncio.Event()
        self.failure: Exception | None = None

    def take(self, message: Message) -> None:
        """Show a message, unless it is over."""
        if self.over.is_set():
            return
        try:
            self.show.take([message])
        except Exception as error:  # raised again by `run`: here it would end the connection only
            self.failure = error
        if self.show.full or self.failure:
            self.over.set()


def tell(line: str) -> None:
    """Say what is no message."""
    click.echo(f"scapy-btc: {printable(line)}", err=True)


def run(hosts: tuple[str, ...], port: int | None, blocks: int, mine_to: str | None, mine_every: float | None,
        connect: tuple[str, ...], addresses: tuple[str, ...], transport: Any, keylog: str | None, **chosen: Any) -> int:
    """Run a node until Ctrl-C, or until enough was shown; the exit status."""
    refuse_idle(chosen)
    peers, known = ([(host, REGTEST.port if named is None else named) for host, named in map(host_and_port, texts)]
                    for texts in (connect, addresses))
    stop = None
    with ExitStack() as stack:
        show = Show(chosen, selection(chosen), stack, live=True)
        said = Said(show)
        node = BTCNode(blocks, mine_to, hosts or "127.0.0.1", REGTEST.port if port is None else port,
                       addresses=known, transport=transport, keylog=keylog, record=said.take, log=tell)
        show.tell_unknown()
        try:
            ending.run(_run(node, said, peers, mine_every))
        except KeyboardInterrupt as interrupt:
            stop = interrupt
        if said.failure:
            raise said.failure
        show.more.append(f"{node.height:,} {plural(node.height, 'block')}")
        status = show.close(failed=False)
    return ending.status_after(stop, normal=True) or status


async def _run(node: BTCNode, said: Said, peers: list[tuple[str, int]], mine_every: float | None) -> None:
    async with node:
        where = ", ".join(format_endpoint(*end) for end in node.listening)
        tell(f"listening on {where} ({node.options.network}, {node.height:,} {plural(node.height, 'block')}, "
             f"tip {node.tip}); Ctrl-C ends it")
        for peer in peers:
            await node.connect_to(*peer)
        miner = asyncio.create_task(_mine(node, mine_every)) if mine_every else None
        try:
            await said.over.wait()
        finally:
            if miner:
                miner.cancel()


async def _mine(node: BTCNode, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        node.mine()
