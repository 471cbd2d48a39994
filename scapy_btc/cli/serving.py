# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a node until it is to end, and showing what is said: what `serve` does."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack, suppress

import click

from ..capture.message import Message
from ..chain.address import format_endpoint
from ..layers.registry import printable
from ..net.node import BTCNode
from ..text import plural
from .printing import Printer, use_colour


class Said:
    """Prints and writes the messages of a node.

    :param limit: after so many it is `over`
    :ivar over: enough was shown, or it cannot be shown any more
    :ivar failure: why
    """

    def __init__(self, form: str, hexdump: bool, quiet: bool, limit: int | None, write: str | None) -> None:
        out = sys.stderr if write == "-" else sys.stdout
        self.printer = Printer(out, form, hexdump=hexdump, colour=use_colour(out))
        self.quiet, self.limit = quiet, limit
        self.messages = self.bytes = 0
        self.over = asyncio.Event()
        self.failure: Exception | None = None
        self._stack = ExitStack()
        self.writer = None
        if write:
            from ..capture.writers import open_writer

            self.writer = self._stack.enter_context(open_writer(write, live=True))

    def __enter__(self) -> Said:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def take(self, message: Message) -> None:
        """Show a message, unless it is over."""
        if self.over.is_set():
            return
        self.messages += 1
        self.bytes += len(message.payload)
        try:
            if not self.quiet:
                self.printer.message(message, self.printer.findings(message))
                self.printer.flush()
            if self.writer:
                self.writer.write(message)
        except Exception as error:  # raised again by `run`: here it would end the connection only
            self.failure = error
            self.over.set()
        if self.messages == self.limit:
            self.over.set()

    def tell(self, line: str) -> None:
        """Say what is no message."""
        click.echo(f"scapy-btc: {printable(line)}", err=True)


def run(node: BTCNode, said: Said, peers: list[tuple[str, int]], mine_every: float | None) -> None:
    """Run a node until Ctrl-C, or until what is said is over.

    :param peers: to connect to
    :param mine_every: seconds between blocks
    """
    with suppress(KeyboardInterrupt):  # the way to end it
        asyncio.run(_run(node, said, peers, mine_every))
    if said.failure:
        raise said.failure
    said.tell(f"{said.messages:,} {plural(said.messages, 'message')}, {said.bytes:,} payload bytes; "
              f"{node.height:,} {plural(node.height, 'block')}")


async def _run(node: BTCNode, said: Said, peers: list[tuple[str, int]], mine_every: float | None) -> None:
    async with node:
        where = ", ".join(format_endpoint(*end) for end in node.listening)
        said.tell(f"listening on {where} ({node.options.network}, {node.height:,} {plural(node.height, 'block')}, "
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
