# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes Scapy see Bitcoin inside TCP; importing this module binds.

Scapy takes the first binding that fits, so only the ports of Bitcoin's own networks are bound like any other layer's.
Everything else (their onion ports, sister chains, what a user registers, and any port where a segment starts with a
known magic) is only tried where Scapy would otherwise say `Raw`: nobody's own bindings are shadowed.
"""

from __future__ import annotations

from typing import Any

from scapy.config import conf
from scapy.layers.inet import TCP
from scapy.packet import Packet, bind_bottom_up, bind_top_down

from ..networks import MAINNET, REGTEST, SIGNET, TESTNET3, TESTNET4, by_magic, by_port
from .envelope import BTC


def bind() -> None:
    """Bind `BTC` to TCP; done before, it does nothing."""
    last_resort: Any = TCP.default_payload_class
    if hasattr(last_resort, "sees_bitcoin"):
        return

    def default_payload_class(tcp: Any, payload: bytes) -> type[Packet]:
        found: type[Packet] = last_resort(tcp, payload)
        if found is conf.raw_layer and (by_magic(payload[:4]) or by_port(tcp.sport) or by_port(tcp.dport)):
            return BTC
        return found

    default_payload_class.sees_bitcoin = True  # type: ignore[attr-defined]
    TCP.default_payload_class = default_payload_class  # type: ignore[method-assign,assignment]
    for network in (MAINNET, TESTNET3, TESTNET4, SIGNET, REGTEST):
        bind_bottom_up(TCP, BTC, sport=network.port)
        bind_bottom_up(TCP, BTC, dport=network.port)
    bind_top_down(TCP, BTC, dport=MAINNET.port)


bind()
