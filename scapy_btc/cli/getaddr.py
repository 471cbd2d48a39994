# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc getaddr`: which other nodes does a node know?"""

from __future__ import annotations

from typing import Any

import click

from .talking import node as node_options
from .talking import output, talking


@click.command(short_help="Ask a node for addresses of others.", epilog="""
\b
Examples:
  scapy-btc getaddr 127.0.0.1:18444
  scapy-btc getaddr -T jsonl | jq -r .address
""")
@node_options
def getaddr(form: str, **chosen: Any) -> None:
    """Ask a node for addresses of other nodes and print them: address, services, when it was last seen.

    Bitcoin Core answers once per connection, with at most 1,000 addresses, after half a minute on average: give it a
    --timeout of 60.
    """
    from ..chain.address import format_endpoint
    from ..protocol import service_names
    from ..text import format_time

    with talking(**chosen) as client:
        found = client.getaddr()
        for entry in found:
            where = format_endpoint(str(getattr(entry, "ip", None) or entry.address), entry.port)
            services = service_names(entry.services)
            seen = format_time(entry.timestamp * 10**9)[:19] + "Z"
            output(form, f"{where:<40} {seen} {'|'.join(services)}",
                   {"address": where, "seen": seen, "services": services})
    click.echo(f"{len(found)} address{'' if len(found) == 1 else 'es'}", err=True)
