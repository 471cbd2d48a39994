# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc handshake`: who is there?"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

from .talking import node as node_options
from .talking import output, talking


@click.command(short_help="Connect to a node, and say who it is.", epilog="""
\b
Examples:
  scapy-btc handshake                                    # a node on regtest on this machine
  scapy-btc handshake --network mainnet 192.0.2.1
  scapy-btc handshake -x [::1]:18444                     # with every byte that is said
  scapy-btc handshake -w handshake.pcapng 127.0.0.1:18444
  scapy-btc handshake --network mainnet --proxy 127.0.0.1:9050 NAME.onion
""")
@node_options
def handshake(form: str, **chosen: Any) -> None:
    """Agree on a connection with a node, and print who it is.

    Both sides send `version` (protocol version, services, user agent, height), then what they would like, such as
    `wtxidrelay`, then `verack`. Printed is what the node says, what it offers, and how long it takes to answer a ping.
    """
    from ..errors import PeerError
    from ..layers.registry import printable
    from ..protocol import service_names

    with talking(**chosen) as client:
        with suppress(PeerError):
            client.ping()  # what a node says after verack is there when its pong is
        said = client.peer.version
        agent = said.user_agent.decode("utf-8", "backslashreplace") if said.user_agent is not None else None
        latency = client.peer.latency
        record = {
            "address": client.address,
            "transport": client.socket.transport.name,
            "version": said.version,
            "user_agent": agent,
            "services": service_names(said.services),
            "start_height": said.start_height,
            "relay": said.relay,
            "offers": sorted(client.peer.agreed),
            "latency": None if latency is None else round(latency, 6),
        }
        output(form, "\n".join(f"{name:<13} {printable(as_text(value))}" for name, value in record.items()), record)


def as_text(value: Any) -> str:
    """A value of the record for people."""
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "not said" if value is None else str(value)
