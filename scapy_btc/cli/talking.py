# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands that talk to a node have in common: whom to talk to, how to print, clear errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from . import options

DEFAULT = "127.0.0.1"

Command = Callable[..., Any]
T = TypeVar("T")


def a_file(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The callback of options that name a file to write. Raises BadParameter for standard output."""
    if value == "-":
        raise click.BadParameter("the answers go to standard output", ctx, param)
    return value


connection = options.stacked(
    click.option("--network", type=options.NetworkName(), default="regtest", show_default=True, metavar="NAME",
                 help="The node's network; also gives the port where none is named."),
    click.option("--timeout", type=options.POSITIVE, default=10.0, show_default=True,
                 metavar="SECONDS", help="How long to wait for the connection, and for each answer."),
    click.option("--transport", type=options.TRANSPORTS, default="auto", show_default=True,
                 help="auto: encrypted (v2, BIP 324), or v1 where the node closes the connection on that."),
    options.written_keylog,
    click.option("--proxy", type=options.ProxyAddress(), metavar="HOST:PORT",
                 help="Connect through this SOCKS5 proxy, as 127.0.0.1:9050 for Tor; it also resolves names."),
    click.option("-x", "hexdump", is_flag=True,
                 help="Print all that is said, with its bytes as in v1, on standard error."),
    click.option("-w", "write", type=click.Path(dir_okay=False), metavar="FILE", callback=a_file,
                 help="Write what is said as a capture (pcapng, or pcap by name)."),
)


def form(*forms: str) -> Callable[[Command], Command]:
    """The option that chooses how to print; the first is the default."""
    return click.option("-T", "form", type=click.Choice(forms), default=forms[0], show_default=True,
                        help="How to print.")


node = options.stacked(click.argument("node", default=DEFAULT, metavar="[HOST[:PORT]]"), connection,
                       form("text", "jsonl"))


def host_and_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[::1]:port`, `::1`."""
    from ..chain.address import parse_endpoint
    from ..errors import FormatError

    try:
        return parse_endpoint(text)
    except FormatError as error:
        raise click.BadParameter(str(error), param_hint="HOST[:PORT]") from error


@contextmanager
def talking(node: str, network: Any, timeout: float, transport: Any, keylog: str | None, hexdump: bool,
            write: str | None, proxy: str | None, **said: Any) -> Iterator[Any]:
    """A client after its handshake; prints and records what is said where that is wished."""
    from ..errors import PeerError
    from ..net.client import connect
    from ..peer.options import PeerOptions

    host, port = host_and_port(node)
    with connect(host, port, timeout=timeout, transport=transport, keylog=keylog, proxy=proxy, record=write,
                 handshake=False, options=PeerOptions(network=network, **said)) as client:
        if hexdump:
            from .dumping import Dump

            client.observer = client.recorder(Dump(client.local_address))
        client.handshake()
        try:
            yield client
        except PeerError as error:
            if client.address not in str(error):
                error.args = (f"{client.address}: {error}",)
            raise


def tracked(items: Iterable[T], count: int, text: str, hexdump: bool = False) -> Iterator[T]:
    """The items, with a bar where there are several, somebody watches, and nothing else is printed there.

    :param hexdump: whether what is said is printed there
    """
    from .reading import is_kept

    if count < 2 or hexdump or not sys.stderr.isatty() or not is_kept(sys.stdout):
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, text, count, console=Console(stderr=True), transient=True)


@contextmanager
def waiting(text: str, hexdump: bool) -> Iterator[None]:
    """Says to somebody who watches that it takes a while.

    :param hexdump: whether what is said is printed anyway
    """
    if hexdump or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def output(form: str, text: str, record: dict[str, Any]) -> None:
    """One line, for people or for programs."""
    if form == "jsonl":
        import orjson

        text = orjson.dumps(record).decode()
    click.echo(text)
