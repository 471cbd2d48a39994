# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc serve`: a node on regtest for clients to talk to."""

from __future__ import annotations

from typing import Any

import click

from . import options


@click.command(short_help="Be a regtest node that clients can talk to and sync from.", epilog="""
\b
Examples:
  scapy-btc serve                                    # on 127.0.0.1:18444, until Ctrl-C
  scapy-btc serve --port 0 --blocks 200 --mine-to bcrt1q... --mine-every 30
  scapy-btc serve --connect 127.0.0.1:18445 -T jsonl -w said.pcapng
  scapy-btc serve --msgtype tx,block -V
""")
@click.option("--host", "hosts", multiple=True, metavar="ADDRESS",
              help="Where to listen; may be given several times.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="0 takes a free one.  [default: 18444]")
@click.option("--blocks", type=click.IntRange(min=0), default=120, show_default=True, metavar="N",
              help="Blocks to mine at start, ten minutes apart, the last one now.")
@click.option("--mine-to", metavar="ADDRESS",
              help="Whom the blocks pay; without it anybody can spend them (the witness is one byte, 51).")
@click.option("--mine-every", type=options.POSITIVE, metavar="SECONDS",
              help="Mine a block so often, with the transactions that came.")
@click.option("--connect", "connect", multiple=True, metavar="HOST[:PORT]", help="Connect to this node, too.")
@click.option("--address", "addresses", multiple=True, metavar="HOST[:PORT]",
              help="Tell this address to those who ask for addresses.")
@click.option("--transport", type=options.TRANSPORTS, default="auto", show_default=True,
              help="What is spoken with those who connect; auto: encrypted (v2, BIP 324) or not, as they begin.")
@options.written_keylog
@options.output
@options.live_filters
def serve(**chosen: Any) -> None:
    """Listen as a node on regtest that has mined its own chain, and print every message that comes and goes.

    It answers, takes and relays blocks and transactions as Bitcoin Core does, serves bloom and compact filters, but
    believes scripts and signatures without checking them.
    """
    from .serving import run

    raise SystemExit(run(**chosen))
