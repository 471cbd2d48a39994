# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands that talk to a node have in common: whom to talk to, how to print, clear errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from . import options

DEFAULT = "127.0.0.1"

Command = Callable[..., Any]

node = options.stacked(
    click.argument("node", default=DEFAULT, metavar="[HOST[:PORT]]"),
    click.option("--network", type=options.NetworkName(), default="regtest", show_default=True, metavar="NAME",
                 help="The node's network; also gives the port where none is named."),
    click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
                 metavar="SECONDS", help="How long to wait for each answer."),
    click.option("-T", "form", type=click.Choice(["text", "jsonl"]), default="text", show_default=True,
                 help="How to print."),
    click.option("-x", "hexdump", is_flag=True, help="Print all that is said, with its bytes, on standard error."),
    click.option("-w", "write", type=click.Path(dir_okay=False), metavar="FILE",
                 help="Write what is said as a capture."),
)


def host_and_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[::1]:port`, `::1`."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if port and not (port.isdecimal() and int(port) < 65536):
        raise click.BadParameter(f"not a port: {port}", param_hint="HOST[:PORT]")
    return host, int(port) if port else None


@contextmanager
def talking(node: str, network: Any, timeout: float, hexdump: bool, write: str | None, **said: Any) -> Iterator[Any]:
    """A client after its handshake; says and records what it does where that is wished."""
    from ..capture.writers import open_writer
    from ..chain.address import format_endpoint
    from ..net.client import connect
    from ..net.record import Recorder
    from ..peer.options import PeerOptions
    from .printing import Printer, use_colour

    host, port = host_and_port(node)
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(write)) if write else None
        client = connect(host, port, timeout=timeout, options=PeerOptions(network=network, **said), handshake=False)
        stack.callback(client.close)
        ours, theirs = (format_endpoint(*end[:2]) for end in (client.socket.ins.getsockname(),
                                                            client.socket.ins.getpeername()))
        printer = Printer(sys.stderr, hexdump=True, colour=use_colour(sys.stderr)) if hexdump else None

        def sink(message: Any) -> None:
            if printer:
                printer.message(message, message.findings)
            if writer:
                writer.write(message)

        if printer or writer:
            client.observer = Recorder(sink, network, ours, theirs)
        client.handshake()
        yield client


def output(form: str, text: str, record: dict[str, Any]) -> None:
    """One line, for people or for programs."""
    if form == "jsonl":
        import orjson

        text = orjson.dumps(record).decode()
    click.echo(text)
