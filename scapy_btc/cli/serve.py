# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc serve`: a node on regtest for clients to talk to."""

from __future__ import annotations

from typing import Any

import click

from . import options
from .talking import form as form_option


@click.command(short_help="Be a regtest node that clients can talk to and sync from.", epilog="""
\b
Examples:
  scapy-btc serve                                    # on 127.0.0.1:18444, until Ctrl-C
  scapy-btc serve --port 0 --blocks 200 --mine-to bcrt1q... --mine-every 30
  scapy-btc serve --connect 127.0.0.1:18445 -T jsonl -w said.pcapng
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
@click.option("-c", "limit", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@form_option("text", "jsonl")
@click.option("-x", "hexdump", is_flag=True, help="Print the bytes, too.")
@click.option("-q", "quiet", is_flag=True, help="Print no messages.")
@click.option("-w", "write", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE",
              help="Write what is said as a capture (pcapng, or pcap by name).")
def serve(hosts: tuple[str, ...], port: int | None, blocks: int, mine_to: str | None, connect: tuple[str, ...],
          addresses: tuple[str, ...], form: str, hexdump: bool, transport: Any, keylog: str | None,
          **chosen: Any) -> None:
    """Listen as a node on regtest that has mined its own chain, and print every message that comes and goes.

    It answers, takes and relays blocks and transactions as Bitcoin Core does, serves bloom and compact filters, but
    believes scripts and signatures without checking them.
    """
    if hexdump and form != "text":
        raise click.UsageError("-x is for -T text; -w keeps the bytes")
    from ..net.node import BTCNode
    from ..networks import REGTEST
    from .serving import Said, run
    from .talking import host_and_port

    peers, known = ([(host, REGTEST.port if named is None else named) for host, named in map(host_and_port, texts)]
                    for texts in (connect, addresses))
    mine_every = chosen.pop("mine_every")
    with Said(form, hexdump, **chosen) as said:
        node = BTCNode(blocks, mine_to, hosts or "127.0.0.1", REGTEST.port if port is None else port,
                       addresses=known, transport=transport, keylog=keylog, record=said.take, log=said.tell)
        run(node, said, peers, mine_every)
