# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc ping`: how long does a node take to answer?"""

from __future__ import annotations

from statistics import mean
from typing import Any

import click

from .talking import node as node_options
from .talking import output, talking


@click.command(short_help="Measure how long a node takes to answer.", epilog="""
\b
Examples:
  scapy-btc ping
  scapy-btc ping -c 10 --interval 0.2 127.0.0.1:18444
  scapy-btc ping -T jsonl --network mainnet 192.0.2.1 | jq .seconds
""")
@node_options
@click.option("-c", "count", type=click.IntRange(min=1), default=4, show_default=True, metavar="N",
              help="How many pings.")
@click.option("--interval", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="SECONDS",
              help="Time between them.")
def ping(form: str, count: int, interval: float, **chosen: Any) -> None:
    """Send pings, and print the time until the pong of each, which repeats its nonce.

    The first is often slower: a node has much to do after a handshake.
    """
    from ..text import plural

    times: list[float] = []
    with talking(**chosen) as client:
        for number in range(1, count + 1):
            if times:
                for _ in client.messages(interval):
                    pass  # the node's own pings are answered meanwhile
            times.append(client.ping())
            output(form, f"{number}: {times[-1] * 1e3:.3f} ms", {"number": number, "seconds": round(times[-1], 6)})
    if form == "text":
        spread = " / ".join(f"{seconds * 1e3:.3f}" for seconds in (min(times), mean(times), max(times)))
        click.echo(f"{len(times)} {plural(len(times), 'pong')}, {spread} ms (least, mean, most)")
