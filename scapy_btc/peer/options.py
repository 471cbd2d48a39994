# SPDX-License-Identifier: GPL-2.0-or-later
"""What we say of ourselves, and how long we wait."""

from __future__ import annotations

from dataclasses import dataclass

from ..networks import REGTEST, Network, by_name
from ..protocol import MIN_PEER_PROTO_VERSION, PROTOCOL_VERSION

AGENT = b"/scapy_btc/"


@dataclass(frozen=True)
class PeerOptions:
    """How one side of a connection presents itself. Times are seconds of the caller's clock."""

    network: Network = REGTEST
    """Also given by its name."""
    version: int = PROTOCOL_VERSION
    services: int = 0
    user_agent: bytes = AGENT
    start_height: int = 0
    relay: bool = True
    """Whether we want transactions announced."""
    lowest_version: int = MIN_PEER_PROTO_VERSION
    """Peers below are obsolete to us."""
    wtxidrelay: bool = True
    sendaddrv2: bool = True
    sendtxrcncl: int | None = None
    """Salt of transaction reconciliation (BIP 330); None: not offered."""
    sendheaders: bool = False
    sendcmpct: int | None = None
    """Version of compact blocks that we announce (BIP 152), low bandwidth; None: none."""
    feefilter: int | None = None
    """Satoshi per 1000 virtual bytes below which nothing is to be announced; None: not sent."""
    handshake_timeout: float = 60.0
    ping_interval: float = 120.0
    ping_timeout: float = 1200.0

    def __post_init__(self) -> None:
        if isinstance(self.network, str):
            object.__setattr__(self, "network", by_name(self.network))
