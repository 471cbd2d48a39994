# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a crawler under the eyes of somebody: what `crawl` does."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..discovery.addressbook import AddressBook
from ..discovery.crawler import Crawler, Progress, summary
from ..discovery.export import check_writable, pyarrow, write_csv, write_parquet
from ..discovery.reach import Kind, kind_to_crawl
from ..discovery.visit import Limits, Visit
from ..errors import BTCError
from ..layers.registry import printable
from ..net.transports import Choice
from ..networks import Network
from ..protocol import BIP155_NETWORK_NAMES
from ..text import plural
from .finding import End, endpoint, first_peers, line_of, record_of
from .talking import DEFAULT, output

if TYPE_CHECKING:
    from rich.live import Live

LINE = 10.0
"""Seconds between lines of progress where nobody sees a table."""


def run(starts: Iterable[str], network: Network, store: str | None, concurrency: int, rate: float,
        limit: int | None, seconds: float | None, timeout: float, transport: Choice, keylog: str | None,
        proxy: str | None, nameserver: End | None, csv: str | None, parquet: str | None, form: str) -> int:
    """Crawl, print, export; the exit status.

    :param limit: of visits; with 0 nothing but the file is looked at
    :param seconds: for all; `timeout` is for one visit
    """
    allow_open(concurrency + 100)
    exports = [(path, write) for path, write in ((csv, write_csv), (parquet, write_parquet)) if path]
    if parquet:
        pyarrow(parquet)
    for path, _ in exports:
        if store and os.path.exists(store) and os.path.exists(path) and os.path.samefile(store, path):
            raise click.UsageError(f"{path!r} is the address book, and would be overwritten")
        check_writable(path)
    ends = [endpoint(text, network.port) for text in starts]
    with AddressBook(store or ":memory:", network) as book:
        if not ends and not book.size:
            ends = _first_ends(book, nameserver, proxy)
        if ends:
            book.keep_to(kind_to_crawl(network, [host for host, _ in ends]))

        live = table() if sys.stderr.isatty() and (form == "text" or not sys.stdout.isatty()) else None

        def show(visit: Visit) -> None:
            if live and sys.stdout.isatty():
                live.console.print(line_of(visit), markup=False, highlight=False, soft_wrap=True)  # above the table
            else:
                output(form, line_of(visit), record_of(visit))

        crawler = Crawler(book, concurrency=concurrency, rate=rate, proxy=proxy, on_visit=show, transport=transport,
                          keylog=keylog, limits=Limits(connect=min(5.0, timeout), seconds=timeout))
        stopped = 0
        failure: BTCError | None = None
        try:
            with shown(crawler.progress, live) as tick:
                stopped = asyncio.run(_crawl(crawler, ends, limit, seconds, tick))
        except BTCError as error:
            failure = error
        if not failure or crawler.progress.visited:
            for line in closing(book, crawler, store):
                click.echo(line, err=True)
        if failure:
            raise failure
        for path, write in exports:
            count = write(book, path)
            click.echo(f"{path}: {count:,} {plural(count, 'address', 'addresses')}", err=True)
    return stopped or int(not crawler.progress.reached and limit != 0)


def allow_open(count: int) -> None:
    """Let this process have so many open files. Raises UsageError where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise click.UsageError(f"only {hard:,} files may be open here (ulimit -n): take a lower --concurrency")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _first_ends(book: AddressBook, nameserver: End | None, proxy: str | None) -> list[End]:
    """Where a new crawl begins that was told nothing: addresses of seeds come into the book, their names are returned
    where only the proxy may resolve them."""
    network = book.network
    if not network.dns_seeds:
        return [(DEFAULT, network.port)]
    found = asyncio.run(first_peers(network, nameserver, proxy))
    if proxy:
        return [(entry.address, entry.port) for told in found.values() for entry in told]
    for source, told in found.items():
        book.add(told, source, int(time.time()))
    return []


async def _crawl(crawler: Crawler, ends: list[End], limit: int | None, seconds: float | None,
                 tick: Callable[[], None]) -> int:
    """Run the crawler; 128 and the number of the signal that ended it, or 0."""
    loop = asyncio.get_running_loop()
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        crawler.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)

    async def beat() -> None:
        while True:
            tick()
            await asyncio.sleep(0.25)

    beating = asyncio.create_task(beat())
    try:
        await crawler.run(ends, limit, seconds)
    finally:
        beating.cancel()
    return 128 + received[0] if received else 0


# What is seen of it


def facts(progress: Progress) -> Iterator[tuple[str, str]]:
    """The progress as names and values."""
    seconds = max(1e-3, time.time() - progress.started) if progress.started else 1.0
    yield "known addresses", f"{progress.known:,}"
    yield "visited", f"{progress.visited:,} ({progress.visited / seconds:.1f} a second)"
    yield "reached", f"{progress.reached:,}, of which {progress.answered:,} told addresses"
    for code, count in progress.errors.most_common():
        yield f"  {code}", f"{count:,}"
    yield "open connections", f"{progress.open:,}"
    yield "addresses told", f"{progress.told:,}, {progress.refused.total():,} not taken"


def table() -> Live:
    """A table on standard error that is drawn anew, below what its console prints."""
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(stderr=True), transient=True, auto_refresh=False, redirect_stdout=False)


@contextmanager
def shown(progress: Progress, live: Live | None) -> Iterator[Callable[[], None]]:
    """Shows the progress when what is yielded is called: as a table, or as a line on standard error now and then."""
    if not live:
        last = time.monotonic()

        def tell() -> None:
            nonlocal last
            if time.monotonic() - last >= LINE:
                last = time.monotonic()
                click.echo("; ".join(f"{name.strip()} {value}" for name, value in facts(progress)), err=True)

        yield tell
        return
    from rich.table import Table

    def draw() -> None:
        seconds = time.time() - progress.started if progress.started else 0.0
        drawn = Table(show_header=False, title=f"crawl, {seconds:,.0f} s", title_justify="left")
        for name, value in facts(progress):
            drawn.add_row(name, value)
        live.update(drawn, refresh=True)

    with live:
        yield draw


def closing(book: AddressBook, crawler: Crawler, store: str | None) -> Iterator[str]:
    """What this run found, what is known in all, and how to go on."""
    progress, found = crawler.progress, summary(book)
    if progress.resumed:
        yield "went on with the crawl that was not finished"
    yield (f"{progress.visited:,} {plural(progress.visited, 'node')} visited, {progress.reached:,} reached, "
           f"{progress.answered:,} told addresses")
    if progress.told:
        yield taken(progress, book.kind)
    for address, votes in crawler.external.votes[:1]:
        yield f"own address: {address}, say {votes} of {progress.reached}"
    if store:
        yield f"in {printable(store)}, of all runs:"
    for title, counts in (("known", named(found["known"])), ("reached", named(found["reached"])),
                          ("transports", found["transports"]),
                          ("not reached", found["errors"]), ("user agents", found["user_agents"]),
                          ("left to visit", named(found["pending"]))):
        if counts:
            yield f"{title}: {listed(counts)}"
    if not progress.finished:
        yield "not finished; " + ("the same command goes on" if store else "without --store nothing is kept")


def taken(progress: Progress, kind: Kind) -> str:
    """What became of the addresses that were told."""
    text = f"{progress.told:,} {plural(progress.told, 'address', 'addresses')} told, {progress.new:,} new"
    if not progress.refused:
        return text
    text += f", {progress.refused.total():,} not taken ({listed(dict(progress.refused.most_common()))})"
    if set(progress.refused) == {"too many"}:
        return text
    return f"{text}: only {kind.value} addresses are" + ("" if kind is Kind.ROUTABLE else ", as the crawl began there")


def listed(counts: Mapping[Any, int]) -> str:
    """Counts in one line."""
    return ", ".join(f"{printable(str(key))} {count:,}" for key, count in counts.items())


def named(by_id: dict[int, Any]) -> dict[str, Any]:
    """Counts by the names of networks."""
    return {BIP155_NETWORK_NAMES.get(key, f"network {key}"): count for key, count in by_id.items()}
