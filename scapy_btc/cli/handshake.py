# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc handshake`: who is there?"""

from __future__ import annotations

from typing import Any

import click

from .talking import node as node_options
from .talking import output, talking


@click.command(short_help="Connect to a node, and say who it is.", epilog="""
\b
Examples:
  scapy-btc handshake
  scapy-btc handshake --network mainnet 192.0.2.1
  scapy-btc handshake -x -w handshake.pcapng [::1]:18444
""")
@node_options
def handshake(form: str, **chosen: Any) -> None:
    """Agree on a connection with a node, and print its version, user agent, services, height and what it offers."""
    from ..protocol import service_names

    with talking(**chosen) as client:
        client.ping()  # what a node says after verack is there when its pong is
        said = client.peer.version
        agent = said.user_agent.decode("utf-8", "backslashreplace") if said.user_agent is not None else None
        record = {
            "version": said.version,
            "user_agent": agent,
            "services": service_names(said.services),
            "start_height": said.start_height,
            "relay": said.relay,
            "offers": sorted(client.peer.agreed),
            "latency": round(client.peer.latency, 6),
        }
        output(form, "\n".join(f"{name:<13} {', '.join(value) if isinstance(value, list) else value}"
                               for name, value in record.items()), record)
