# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc headers`: the chain of block headers."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from . import options
from .talking import node as node_options
from .talking import output, talking


@click.command(short_help="Fetch and check the chain of block headers.", epilog="""
\b
Examples:
  scapy-btc headers
  scapy-btc headers --after 0f9188f13cb7b2c7... -c 10
  scapy-btc headers --network mainnet -T jsonl 192.0.2.1 > headers.jsonl
""")
@node_options
@click.option("--after", type=options.HashHex(), metavar="HASH", help="After this block; default: after the first one.")
@click.option("-c", "count", type=click.IntRange(min=1), metavar="N", help="Stop after N headers.")
def headers(form: str, after: bytes | None, count: int | None, **chosen: Any) -> None:
    """Fetch block headers up to the node's tip. Each must follow the one before it and have its proof of work."""
    from ..chain.proof_of_work import difficulty
    from ..text import format_time, plural

    number = 0
    with talking(**chosen) as client:
        for number, header in enumerate(islice(client.get_headers([after] if after else None), count), 1):
            when = format_time(header.timestamp * 10**9)[:19] + "Z"
            output(form, f"{number:>7} {header.block_hash} {when} difficulty {difficulty(header.bits):.8g}",
                   {"number": number, "block_hash": header.block_hash, **header.plan.record(bytes(header), 0, 80)[0]})
    click.echo(f"{number:,} {plural(number, 'header')}, linked, each with its proof of work", err=True)
