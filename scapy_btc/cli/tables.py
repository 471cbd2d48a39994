# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics of captures as tables."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..analysis.statistics import Connection, Statistics
from ..capture.message import Message
from ..capture.reader import keys_of, read
from ..errors import CaptureError
from ..layers.registry import printable
from ..messages.findings import FINDINGS, Severity, severity
from .options import selection
from .reading import (
    ERRORS_FOUND,
    learn_ids,
    network_note,
    progress,
    reason_of,
    tell_no_keys,
    tell_unknown,
    tell_unread,
    unknown_names,
)

SHOWN = 50
"""Connections that the table shows before it says how many more there are."""


def count_files(files: tuple[str, ...], form: str, strict: bool, chosen: dict[str, Any]) -> int:
    """Count the messages of files and print what was found; the exit status."""
    wanted = selection(chosen)
    keylog = keys_of(chosen["keylog"])
    tell_no_keys(keylog)
    learn_ids(wanted, files, chosen["network"], keylog)
    statistics, failed = Statistics(), 0
    noting, unknown = network_note(chosen["network"]), unknown_names(wanted)
    seen = 0
    for name in files:
        statistics.next_source()
        found = keylog.found if keylog else 0
        try:
            with progress(name) as report, read(name, events=True, network=chosen["network"], keylog=keylog) as reader:
                for item in noting(report(reader)):
                    if not isinstance(item, Message):
                        if wanted.covers(item):
                            statistics.add_event(item)
                        continue
                    seen += 1
                    unknown.discard(item.msgtype)
                    if wanted(item):
                        statistics.add(item)
            tell_unread(name, reader.counts, keylog, found)
        except CaptureError as error:
            failed += 1
            click.echo(f"scapy-btc: {reason_of(name, error)}", err=True)
    if form == "json":
        import orjson
        click.echo(orjson.dumps(statistics.as_record(), option=orjson.OPT_INDENT_2).decode())
    elif seen or statistics.events or failed < len(files):
        show(statistics)
    if seen and not statistics.total.messages:
        click.echo(f"0 of {seen:,} message{'' if seen == 1 else 's'} were chosen", err=True)
    tell_unknown(unknown)
    bad = any(severity(code) == Severity.ERROR for code in statistics.findings)
    return 1 if failed or unknown else ERRORS_FOUND if strict and bad else 0


def show(statistics: Statistics) -> None:
    """Print tables; in a pipe as wide as they need be."""
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:  # rich has an exit of its own for readers that go away
        console.print(types_table(statistics))
        console.print(connections_table(statistics))
        if handshakes := handshakes_table(statistics):
            console.print(handshakes)
        if statistics.findings or statistics.events:
            console.print(findings_table(statistics))
        else:
            console.print("Nothing was found wrong.")
    click.echo(captured.get(), nl=False)


def grid(title: str, *columns: str) -> Table:
    """A plain table; columns named with a leading `#` hold numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.lstrip("#"), justify="right" if column.startswith("#") else "left", overflow="fold")
    return table


def types_table(statistics: Statistics) -> Table:
    table = grid("Messages", "message", "#messages", "#bytes", "#share")
    for name, tally in sorted(statistics.by_type.items(), key=lambda item: -item[1].bytes):
        share = tally.bytes / statistics.total.bytes if statistics.total.bytes else 0
        table.add_row(name or "(no name)", f"{tally.messages:,}", f"{tally.bytes:,}", f"{share:.1%}")
    table.add_row("total", f"{statistics.total.messages:,}", f"{statistics.total.bytes:,}", "", style="bold")
    return table


def connections_table(statistics: Statistics) -> Table:
    table = grid(f"\nConnections ({len(statistics.connections):,})", "#number", "first sender", "other end", "network",
                 "transport", "#from first", "#from other", "#seconds")
    for connection in list(statistics.connections.values())[:SHOWN]:
        table.add_row(str(connection.number), *map(printable, connection.ends), connection.network or "unknown",
                      connection.transport, *directions(connection), seconds(connection))
    if len(statistics.connections) > SHOWN:
        table.add_row("", f"... {len(statistics.connections) - SHOWN:,} more")
    return table


def directions(connection: Connection) -> list[str]:
    """Messages and bytes from the first sender, and from the other end."""
    tallies = [connection.sent.get(end) for end in connection.ends]
    return [f"{t.messages:,} ({t.bytes:,} B)" if t else "0" for t in tallies]


def seconds(connection: Connection) -> str:
    first = min(t.first_ns for t in connection.sent.values() if t.first_ns is not None)
    return f"{(max(t.last_ns for t in connection.sent.values()) - first) / 1e9:,.1f}"


def handshakes_table(statistics: Statistics) -> Table | None:
    table = grid("\nHandshakes", "#connection", "node", "#version", "user agent", "#height", "services")
    for connection in list(statistics.connections.values())[:SHOWN]:
        for end, said in connection.versions.items():
            agent = printable(said["user_agent"] or "")
            version, height = ("" if said[name] is None else str(said[name]) for name in ("version", "start_height"))
            table.add_row(str(connection.number), printable(end), version, agent, height,
                          "|".join(said["services"]) or "none")
    return table if table.row_count else None


def findings_table(statistics: Statistics) -> Table:
    table = grid("\nFindings", "what", "#count", "meaning")
    for code, count in statistics.findings.most_common():
        table.add_row(code, f"{count:,}", FINDINGS[code].meaning if code in FINDINGS else "")
    for code, count in statistics.events.most_common():
        meaning = FINDINGS[code].meaning if code in FINDINGS else ""
        size = f" ({statistics.event_bytes[code]:,} bytes)" if code in ("gap", "encrypted") else ""
        table.add_row(code, f"{count:,}", meaning + size)
    return table
