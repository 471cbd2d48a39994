# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc crawl`: map a network."""

from __future__ import annotations

from typing import Any

import click

from . import options
from .talking import a_file, form


@click.command(short_help="Ask nodes for nodes, and those again: a map of the network.", epilog="""
\b
Examples:
  scapy-btc crawl --store regtest.db 127.0.0.1:18444
  scapy-btc crawl --network signet --store signet.db --for 600 --csv signet.csv
  scapy-btc crawl --network mainnet --store main.db --proxy 127.0.0.1:9050    # by way of Tor, onion addresses, too
  scapy-btc crawl --network signet --store signet.db -c 0 --parquet signet.parquet    # only the file
""")
@click.argument("starts", nargs=-1, metavar="[START[:PORT]]...")
@click.option("--network", type=options.NetworkName(), default="regtest", show_default=True, metavar="NAME",
              help="The network; also gives the port where none is named, and the seeds.")
@click.option("--store", type=click.Path(dir_okay=False), metavar="FILE",
              help="Keep everything in this SQLite file, and go on with the crawl in it that was not finished.")
@click.option("--concurrency", type=click.IntRange(min=1, max=10_000), default=100, show_default=True, metavar="N",
              help="Connections at a time.")
@click.option("--rate", type=options.POSITIVE, default=20.0, show_default=True, metavar="N",
              help="New connections in a second.")
@click.option("-c", "limit", type=click.IntRange(min=0), metavar="N", help="Stop after N visits.")
@click.option("--for", "seconds", type=options.POSITIVE, metavar="SECONDS", help="Stop after so long.")
@click.option("--timeout", type=options.POSITIVE, default=60.0, show_default=True,
              metavar="SECONDS", help="How long one visit may take; Bitcoin Core may take a minute to tell addresses.")
@click.option("--transport", type=options.TRANSPORTS, default="auto", show_default=True,
              help="auto: encrypted (v2, BIP 324) with START and with nodes that are said to speak it, or v1 where "
                   "they do not answer that; v1 with all others.")
@options.written_keylog
@click.option("--proxy", type=options.ProxyAddress(), metavar="HOST:PORT",
              help="Connect through this SOCKS5 proxy, as 127.0.0.1:9050 for Tor; it also resolves names.")
@click.option("--nameserver", type=options.Endpoint(53), metavar="HOST[:PORT]",
              help="Ask this name server, not those of the system.")
@click.option("--csv", type=click.Path(dir_okay=False), metavar="FILE", callback=a_file,
              help="Write all addresses of the store as CSV at the end.")
@click.option("--parquet", type=click.Path(dir_okay=False), metavar="FILE", callback=a_file,
              help="Write them as Parquet at the end (needs pyarrow).")
@form("text", "jsonl")
def crawl(starts: tuple[str, ...], **chosen: Any) -> None:
    """Visit nodes, beginning with START: agree on a connection, ping, ask for addresses; then visit those, each once.

    Without START the unfinished crawl of the store goes on, or it begins with the network's DNS seeds (regtest: this
    machine). On a network without seeds a crawl stays on loopback, or in private networks, where it began there; on
    others it visits routable addresses only. With `-T jsonl` each visit is printed when it is done; the closing lines
    are on standard error. Ctrl-C ends it; the same command goes on. Status 1 when no node was reached.

    A node of Bitcoin Core tells at most 1,000 addresses, and at most 23 % of those that it knows. Tor addresses are
    visited with --proxy, those of I2P and CJDNS are only collected.
    """
    from .crawling import run

    status = run(starts, **chosen)
    if status:
        raise click.exceptions.Exit(status)
