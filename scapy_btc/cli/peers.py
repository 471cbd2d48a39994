# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc peers`: which nodes are there, and which of them are alive?"""

from __future__ import annotations

from typing import Any

import click

from . import options
from .talking import DEFAULT, form


@click.command(short_help="List nodes, of DNS seeds or an address book, and check which are alive.", epilog="""
\b
Examples:
  scapy-btc peers                                        # a node on regtest on this machine
  scapy-btc peers --network mainnet                      # what the DNS seeds say
  scapy-btc peers --network signet --store signet.db -c 20 -T jsonl | jq 'select(.alive)'
  scapy-btc peers --network mainnet --dns --nameserver 192.0.2.53 --external
""")
@click.argument("nodes", nargs=-1, metavar="[HOST[:PORT]]...")
@click.option("--network", type=options.NetworkName(), default="regtest", show_default=True, metavar="NAME",
              help="The nodes' network; also gives the port where none is named, and the seeds.")
@click.option("--store", type=click.Path(dir_okay=False), metavar="FILE",
              help="Check the nodes of this address book, best first, and keep there what comes of it.")
@click.option("--dns", is_flag=True, help="Ask the network's DNS seeds, too. Without nodes and --store they are asked.")
@click.option("--nameserver", type=options.Endpoint(53), metavar="HOST[:PORT]",
              help="Ask this name server, not those of the system.")
@click.option("-c", "limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
              help="Check at most N nodes.")
@click.option("--concurrency", type=click.IntRange(min=1, max=1000), default=16, show_default=True, metavar="N",
              help="Connections at a time.")
@click.option("--timeout", type=options.POSITIVE, default=10.0, show_default=True,
              metavar="SECONDS", help="How long one check may take: connection, handshake, pong.")
@click.option("--transport", type=options.TRANSPORTS, default="auto", show_default=True,
              help="auto: encrypted (v2, BIP 324) with nodes that are named here or said to speak it, or v1 where they "
                   "do not answer that; v1 with all others.")
@options.written_keylog
@click.option("--proxy", type=options.ProxyAddress(), metavar="HOST:PORT",
              help="Connect through this SOCKS5 proxy (Tor). No name server is asked then; seeds are visited by name.")
@click.option("--external", is_flag=True, help="Say which address most nodes see us at.")
@click.option("--http", "url", metavar="URL", help="Ask this HTTP service, too, which address it sees us at.")
@form("text", "jsonl")
def peers(nodes: tuple[str, ...], **chosen: Any) -> None:
    """Agree on a connection with each node, ping it, and print whether it is alive, how long the pong took, and what
    it says of itself.

    Without anything named the network's DNS seeds say which nodes, and a few fixed peers when they say nothing; on a
    network without seeds it is the node on this machine. Status 1 when no node is alive.
    """
    from .checking import check

    if chosen["url"] and chosen["proxy"]:
        raise click.UsageError("--http would go past the proxy")
    if not nodes and not chosen["store"] and not chosen["network"].dns_seeds:
        nodes = (DEFAULT,)
    alive = check(nodes, **chosen)
    if not alive:
        raise click.exceptions.Exit(1)
