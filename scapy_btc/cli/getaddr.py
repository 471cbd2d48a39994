# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc getaddr`: which other nodes does a node know?"""

from __future__ import annotations

from typing import Any

import click

from . import options
from .talking import node as node_options
from .talking import output, talking, waiting


@click.command(short_help="Ask a node for addresses of others.", epilog="""
\b
Examples:
  scapy-btc getaddr 127.0.0.1:18444
  scapy-btc getaddr -T jsonl --network mainnet 192.0.2.1 | jq -r .address
  scapy-btc getaddr --wait 2 | wc -l
""")
@node_options
@click.option("--wait", "seconds", type=options.POSITIVE, default=60.0, show_default=True,
              metavar="SECONDS", help="How long to wait for addresses.")
def getaddr(form: str, seconds: float, **chosen: Any) -> None:
    """Ask a node for addresses of other nodes, and print them: address, when it was last seen, services.

    Bitcoin Core answers a connection once, with at most 1,000 addresses: at once, or within a minute or so. A node
    that knows nobody says nothing.
    """
    from ..text import plural

    with talking(**chosen) as client:
        with waiting("waiting for addresses", chosen["hexdump"]):
            found = client.getaddr(seconds)
        for entry in found:
            record = record_of(entry)
            seen = record["seen"] or "(no time)"
            output(form, f"{record['address']:<40} {seen:<20} {'|'.join(record['services']) or 'none'}", record)
    click.echo(f"{len(found):,} {plural(len(found), 'address', 'addresses')}", err=True)


def record_of(entry: Any) -> dict[str, Any]:
    """An entry of `addr` or `addrv2`; entries of before 2010 have no time."""
    from ..chain.address import format_endpoint
    from ..messages.parts import BTCNetAddrV2, bip155_text
    from ..protocol import service_names
    from ..text import format_time

    if isinstance(entry, BTCNetAddrV2):
        host = bip155_text(entry.network_id, entry.getfieldval("address"))
    else:
        host = str(entry.ip)
    seen = getattr(entry, "timestamp", None)
    return {"address": format_endpoint(host, entry.port), "services": service_names(entry.services),
            "seen": None if seen is None else format_time(seen * 10**9)[:19] + "Z"}
