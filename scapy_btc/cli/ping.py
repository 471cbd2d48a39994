# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc ping`: how long does a node take to answer?"""

from __future__ import annotations

import time
from statistics import mean
from typing import Any

import click

from . import options
from .talking import node as node_options
from .talking import output, talking


@click.command(short_help="Measure how long a node takes to answer.", epilog="""
\b
Examples:
  scapy-btc ping
  scapy-btc ping -c 10 --interval 0.2 127.0.0.1:18444
""")
@node_options
@click.option("-c", "count", type=click.IntRange(min=1), default=4, show_default=True, metavar="N",
              help="How many pings.")
@click.option("--interval", type=options.NOT_NEGATIVE, default=1.0, show_default=True, metavar="SECONDS",
              help="Time between them.")
def ping(form: str, count: int, interval: float, **chosen: Any) -> None:
    """Send pings and print the time until the pong of each, and a summary, also where Ctrl-C or the node ends it.

    The exit status is 1 when no pong came at all.
    """
    from ..errors import TimedOut

    times: list[float] = []
    sent = 0
    with talking(**chosen) as client:
        try:
            for number in range(1, count + 1):
                if sent:
                    time.sleep(interval)
                sent = number
                try:
                    times.append(client.ping())
                except TimedOut as error:
                    output(form, f"{number}: {error}", {"number": number, "seconds": None})
                    continue
                output(form, f"{number}: {times[-1] * 1e3:.3f} ms", {"number": number, "seconds": round(times[-1], 6)})
        finally:
            if form == "text" and sent:
                click.echo(summary(sent, times))
    if not times:
        raise SystemExit(1)


def summary(sent: int, times: list[float]) -> str:
    """The closing line."""
    from ..text import plural

    lost = f" of {sent}" if len(times) < sent else ""
    spread = " / ".join(f"{seconds * 1e3:.3f}" for seconds in (min(times), mean(times), max(times))) if times else ""
    return f"{len(times)}{lost} {plural(len(times), 'pong')}" + (f", {spread} ms (least, mean, most)" if spread else "")
