# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a crawler under the eyes of somebody: what `crawl` does."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..discovery.addressbook import AddressBook
from ..discovery.crawler import Crawler, Progress, summary
from ..discovery.export import write_csv, write_parquet
from ..discovery.reach import kind_to_crawl
from ..discovery.visit import Limits, Visit
from ..layers.registry import printable
from ..net.transports import Choice
from ..networks import Network
from ..protocol import BIP155_NETWORK_NAMES
from ..text import plural
from .finding import End, endpoint, first_peers, line_of, record_of
from .talking import DEFAULT, output

LINE = 10.0
"""Seconds between lines of progress where nobody sees a table."""


def run(starts: Iterable[str], network: Network, store: str | None, concurrency: int, rate: float,
        max_nodes: int | None, max_time: float | None, peer_time: float, transport: Choice, keylog: str | None,
        proxy: str | None, nameserver: str | None, csv: str | None, parquet: str | None, form: str) -> int:
    """Crawl, print, export; the exit status."""
    allow_open(concurrency + 100)
    ends = [endpoint(text, network.port) for text in starts]
    with AddressBook(store or ":memory:", network) as book:
        if not ends and not book.size:
            ends = _first_ends(book, nameserver, proxy)
        if ends:
            book.keep_to(kind_to_crawl(network, [host for host, _ in ends]))

        table = sys.stderr.isatty() and (form == "text" or not sys.stdout.isatty())

        def show(visit: Visit) -> None:
            if not table or not sys.stdout.isatty():  # lines would break the table
                output(form, line_of(visit), record_of(visit))

        crawler = Crawler(book, concurrency=concurrency, rate=rate, proxy=proxy, on_visit=show, transport=transport,
                          keylog=keylog, limits=Limits(connect=min(5.0, peer_time), seconds=peer_time))
        with shown(crawler.progress, table) as tick:
            stopped = asyncio.run(_crawl(crawler, ends, max_nodes, max_time, tick))
        for line in closing(book, crawler, store):
            click.echo(line, err=True)
        for path, write in ((csv, write_csv), (parquet, write_parquet)):
            if path:
                count = write(book, path)
                click.echo(f"{path}: {count:,} {plural(count, 'address', 'addresses')}", err=True)
    return stopped


def allow_open(count: int) -> None:
    """Let this process have so many open files. Raises UsageError where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise click.UsageError(f"only {hard:,} files may be open here (ulimit -n): take a lower --concurrency")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _first_ends(book: AddressBook, nameserver: str | None, proxy: str | None) -> list[End]:
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


async def _crawl(crawler: Crawler, ends: list[End], max_nodes: int | None, max_time: float | None,
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
        await crawler.run(ends, max_nodes, max_time)
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
    yield "addresses told", f"{progress.told:,}, {progress.refused:,} not taken"


@contextmanager
def shown(progress: Progress, as_table: bool) -> Iterator[Callable[[], None]]:
    """Shows the progress when what is yielded is called: as a live table on standard error, or a line now and then."""
    if not as_table:
        last = time.monotonic()

        def tell() -> None:
            nonlocal last
            if time.monotonic() - last >= LINE:
                last = time.monotonic()
                click.echo("; ".join(f"{name.strip()} {value}" for name, value in facts(progress)), err=True)

        yield tell
        return
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    def table() -> Table:
        seconds = time.time() - progress.started if progress.started else 0.0
        drawn = Table(show_header=False, title=f"crawl, {seconds:,.0f} s", title_justify="left")
        for name, value in facts(progress):
            drawn.add_row(name, value)
        return drawn

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield lambda: live.update(table(), refresh=True)


def closing(book: AddressBook, crawler: Crawler, store: str | None) -> Iterator[str]:
    """What was found, and how to go on."""
    progress, found = crawler.progress, summary(book)
    if progress.resumed:
        yield "went on with the crawl that was not finished"
    yield (f"{progress.visited:,} {plural(progress.visited, 'node')} visited, {progress.reached:,} reached, "
           f"{progress.answered:,} told addresses; {progress.known:,} "
           f"{plural(progress.known, 'address', 'addresses')} known")
    for title, counts in (("reached, in all", named(found["reached"])), ("transports", found["transports"]),
                          ("not reached", found["errors"]), ("user agents", found["user_agents"]),
                          ("not visited", named(found["pending"]))):
        if counts:
            yield f"{title}: " + ", ".join(f"{printable(str(key))} {count:,}" for key, count in counts.items())
    for address, votes in crawler.external.votes[:1]:
        yield f"own address: {address}, say {votes} of {progress.reached}"
    if not progress.finished:
        yield "not finished; " + ("the same command goes on" if store else "without --store nothing is kept")


def named(by_id: dict[int, Any]) -> dict[str, Any]:
    """Counts by the names of networks."""
    return {BIP155_NETWORK_NAMES.get(key, f"network {key}"): count for key, count in by_id.items()}
