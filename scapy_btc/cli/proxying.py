# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a proxy until it is to end, and showing what passes: what `proxy` does."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from ..capture.message import Message
from ..chain.address import format_endpoint
from ..errors import BTCError
from ..layers.registry import printable
from ..net.proxied import log
from ..net.proxy import BTCProxy
from ..net.scripting import told
from ..networks import Network
from . import ending
from .options import refuse_idle, selection
from .reading import Show
from .talking import host_and_port


def run(listen: str, node: str, network: Network, listen_transport: Any, to_transport: Any, script: str | None,
        keylog: str | None, most: int, **chosen: Any) -> int:
    """Pass messages on and show them until Ctrl-C, or until enough were shown; the exit status."""
    refuse_idle(chosen)
    host, port = host_and_port(node)
    where, listen_port = host_and_port(listen)
    if listen_port is None:
        raise click.UsageError("--listen needs a port")
    handle = load(script) if script else None
    stop = None
    with ExitStack() as stack:
        show = Show(chosen, selection(chosen), stack, live=True)
        proxy = BTCProxy((host, network.port if port is None else port), (where, listen_port), handle, network=network,
                         listen_transport=listen_transport, to_transport=to_transport, keylog=keylog, limit=most,
                         record=lambda message: take(message, show, proxy))
        show.tell_unknown()
        stack.enter_context(Teller())
        try:
            ending.run(until_stopped(proxy))
        except KeyboardInterrupt as interrupt:
            stop = interrupt
        status = show.close(failed=False)
    return ending.status_after(stop, normal=True) or status


def take(message: Message, show: Show, proxy: BTCProxy) -> None:
    """Show a message, unless enough were shown."""
    if not show.full:
        show.take([message])
    if show.full:
        proxy.stop()


async def until_stopped(proxy: BTCProxy) -> None:
    """Run a proxy until Ctrl-C, or until it is stopped."""
    async with proxy:
        log.info("listening on %s for %s; Ctrl-C ends it", format_endpoint(*proxy.address), format_endpoint(*proxy.to))
        await proxy.wait()


class Teller(logging.Handler):
    """While it is entered, what the proxy logs is told on standard error."""

    def __enter__(self) -> None:
        log.setLevel(logging.INFO)
        log.addHandler(self)

    def __exit__(self, *exception: object) -> None:
        log.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"scapy-btc: {printable(record.getMessage())}", err=True)


def load(path: str) -> Any:
    """The function `handle` of a script. Raises BTCError where there is none, or the script fails."""
    module = ModuleType("scapy_btc_script")
    module.__file__ = path
    sys.modules[module.__name__] = module  # as dataclasses want it
    try:
        exec(compile(Path(path).read_bytes(), path, "exec"), module.__dict__)
    except Exception as error:
        raise BTCError(f"{printable(path)}: {told(error)}") from error
    handle = getattr(module, "handle", None)
    if not callable(handle):
        raise BTCError(f"{printable(path)} has no function handle(packet, context)")
    return handle
