# SPDX-License-Identifier: GPL-2.0-or-later
"""Checking which nodes are alive, and printing it: what `peers` does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

import click

from ..discovery.addressbook import AddressBook
from ..discovery.external import ExternalAddress, http_address
from ..discovery.reach import Kind, kind_to_crawl
from ..discovery.visit import Limits, Visit, suiting, visit_all
from ..errors import FormatError, StoreError
from ..net.transports import Choice
from ..networks import Network
from ..peer.options import PeerOptions
from ..text import plural
from .finding import End, can_be_dialled, endpoint, first_peers, line_of, reachable, record_of
from .talking import output


class Checks:
    """Prints, counts and keeps what comes of visits."""

    def __init__(self, form: str, book: AddressBook | None, kind: Kind) -> None:
        self.form, self.book = form, book
        self.count = self.alive = 0
        self.external = ExternalAddress(kind)

    def __call__(self, visit: Visit) -> None:
        self.count += 1
        output(self.form, line_of(visit), record_of(visit))
        if visit.version is not None:
            self.alive += 1
            self.external.add(visit.host, str(visit.version["receiver_address"]["ip"]))
        if self.book:
            self.book.tried(visit.host, visit.port, int(time.time()), visit.error, visit.reason, visit.version,
                            visit.latency, transport=visit.transport)

    def close(self, external: bool) -> None:
        """The closing lines."""
        click.echo(f"{self.count:,} {plural(self.count, 'node')}, {self.alive:,} alive", err=True)
        if not external:
            return
        votes = self.external.votes
        for address, number in votes:
            output(self.form, f"own address: {address}, say {number} of {self.alive} nodes",
                   {"external": address, "votes": number, "of": self.alive})
        if not votes:
            click.echo("no node says which address it sees us at", err=True)


def check(nodes: Iterable[str], network: Network, store: str | None, dns: bool, nameserver: End | None, limit: int,
          concurrency: int, timeout: float, transport: Choice, keylog: str | None, proxy: str | None, external: bool,
          url: str | None, form: str) -> int:
    """Check nodes and print what comes of it; how many are alive."""
    named = [endpoint(text, network.port) for text in nodes]
    kind = kind_to_crawl(network, [host for host, _ in named])
    if store and not (named or dns) and not Path(store).exists():
        raise StoreError(f"{store}: no such address book")
    with ExitStack() as stack:
        book = stack.enter_context(AddressBook(store, network)) if store else None
        ends = dict.fromkeys(named, transport)
        if book:
            for host, port in named:
                with suppress(FormatError):  # a name
                    book.add_user(host, port, int(time.time()))
        if dns or not (named or store):
            for source, told in asyncio.run(first_peers(network, nameserver, proxy)).items():
                if book:
                    book.add(told, source, int(time.time()))
                for entry in told:  # a seed itself may speak v2: Bitcoin Core tries it, too
                    spoken = transport if proxy else suiting(transport, entry.services)
                    ends.setdefault((entry.address, entry.port), spoken)
        if book:
            for host, port, services in book.best(limit, reachable(proxy), int(time.time())):
                ends.setdefault((host, port), suiting(transport, services))
        chosen, passed = _choose(ends, limit, proxy)
        if passed:
            click.echo(f"{passed} {plural(passed, 'node')} on networks that cannot be reached"
                       f"{'' if proxy else ' without --proxy'}", err=True)
        checks = Checks(form, book, kind)
        limits = Limits(connect=timeout, seconds=timeout)
        asyncio.run(visit_all([(*end, ends[end]) for end in chosen], PeerOptions(network, relay=False), limits,
                              concurrency, checks, proxy, keylog=keylog))
    checks.close(external)
    if url:
        address = http_address(url, timeout)
        output(form, f"own address: {address}, says {url}", {"external": address, "url": url})
    return checks.alive


def _choose(ends: Iterable[End], limit: int, proxy: str | None) -> tuple[list[End], int]:
    """Those to check, and how many cannot be reached."""
    ends = list(ends)
    usable = [end for end in ends if can_be_dialled(end[0], proxy)]
    return usable[:limit], len(ends) - len(usable)
