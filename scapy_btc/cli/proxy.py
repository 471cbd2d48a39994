# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc proxy`: between a node and its peers."""

from __future__ import annotations

from typing import Any

import click

from . import options


@click.command(short_help="Stand between a node and its peers: show, record, change what they say.", epilog="""
\b
Examples:
  scapy-btc proxy --listen 18445 --to 127.0.0.1:18444
  scapy-btc proxy --to 127.0.0.1:18444 --script handle.py -w changed.pcapng
  scapy-btc proxy --to 192.168.1.5 --network mainnet --listen 8334 -T jsonl | jq -c '[.source, .msgtype, .size]'
  scapy-btc proxy --listen-transport v1 --to-transport v2    # old tools talk to a node that speaks v2
""")
@click.option("--listen", default="127.0.0.1:18445", show_default=True, metavar="[HOST:]PORT",
              help="Where peers connect; port 0 takes a free one.")
@click.option("--to", "node", default="127.0.0.1", show_default=True, metavar="HOST[:PORT]",
              help="The node that they are connected with.")
@click.option("--network", type=options.NetworkName(), default="regtest", show_default=True, metavar="NAME",
              help="The network of both; also gives the node's port where none is named.")
@click.option("--listen-transport", type=options.TRANSPORTS, default="auto", show_default=True,
              help="How peers are spoken with; auto: as they begin.")
@click.option("--to-transport", type=options.TRANSPORTS, default="auto", show_default=True,
              help="How the node is spoken with; auto: v2, or v1 where it does not answer that.")
@click.option("--script", type=click.Path(exists=True, dir_okay=False), metavar="FILE.py",
              help="Its handle(packet, context) says what to pass on of each message.")
@options.written_keylog
@click.option("--limit", "most", type=click.IntRange(min=1), default=125, show_default=True, metavar="N",
              help="Connections at a time; more are turned away.")
@options.output
@options.live_filters
def proxy(listen: str, **chosen: Any) -> None:
    """Connect whoever connects here with a node, and print every message that passes, until Ctrl-C.

    Towards each side v1 or v2 is spoken, whatever the other one speaks. What a script drops, and what it sends itself,
    is marked [dropped] and [injected]; a changed message is both. A capture (-w) has what was passed on. Filters
    choose what is printed and written; everything is passed on.
    """
    from .proxying import run

    raise SystemExit(run(f"127.0.0.1:{listen}" if listen.isdecimal() else listen, **chosen))
