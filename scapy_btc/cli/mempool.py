# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc mempool`: which transactions wait?"""

from __future__ import annotations

from typing import Any

import click

from .talking import node as node_options
from .talking import output, talking


@click.command(short_help="Ask a node what is in its memory pool.", epilog="""
\b
Examples:
  scapy-btc mempool 127.0.0.1:18444
""")
@node_options
def mempool(form: str, **chosen: Any) -> None:
    """Print the ids of the transactions in a node's memory pool. Only nodes that offer NODE_BLOOM answer; others
    close the connection.
    """
    with talking(**chosen) as client:
        found = client.mempool()
        for tx_id in found:
            output(form, tx_id, {"id": tx_id})
    click.echo(f"{len(found):,} transaction{'' if len(found) == 1 else 's'}", err=True)
