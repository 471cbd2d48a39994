# SPDX-License-Identifier: GPL-2.0-or-later
"""Every name for the Scapy shell: reading, talking, envelope, messages, parts, networks, and what `command()` writes.

    >>> from scapy_btc.all import *
"""

from __future__ import annotations

from scapy.config import conf

from .capture.message import Message, StreamEvent
from .capture.reader import read
from .capture.session import BTCSession
from .chain.headers import HeaderChain
from .discovery.header_store import HeaderStore
from .errors import BTCError, Disconnected, InvalidHeader, NotFound, PeerError, Refused, TimedOut
from .layers import bindings as bindings  # Scapy sees Bitcoin inside TCP from here on
from .layers.envelope import BTC
from .layers.packet import BTCPacket
from .layers.registry import BTCMessage
from .layers.undecoded import BTCEncrypted, BTCMalformed, BTCTrailing, BTCUnknown
from .layers.values import LongBytes
from .messages import TOPICS
from .net.client import BTCClient, connect
from .net.node import BTCNode
from .net.proxy import BTCProxy
from .net.scripting import DISCONNECT
from .net.socket import BTCStreamSocket
from .networks import MAINNET, REGTEST, SIGNET, TESTNET3, TESTNET4, Network, register
from .peer.options import PeerOptions
from .wire.compactsize import CompactSize

__all__ = [
    "BTC", "DISCONNECT", "MAINNET", "REGTEST", "SIGNET", "TESTNET3", "TESTNET4", "BTCClient", "BTCEncrypted",
    "BTCError", "BTCMalformed", "BTCMessage", "BTCNode", "BTCProxy", "BTCSession", "BTCStreamSocket", "BTCTrailing",
    "BTCUnknown", "CompactSize", "Disconnected", "HeaderChain", "HeaderStore", "InvalidHeader", "LongBytes",
    "Message", "Network", "NotFound", "PeerError", "PeerOptions", "Refused", "StreamEvent", "TimedOut", "connect",
    "read", "register",
]

_declared = {
    name: value
    for topic in TOPICS
    for name, value in vars(topic).items()
    if isinstance(value, type) and issubclass(value, BTCPacket) and value.__module__ == topic.__name__
    and name.startswith("BTC")
}
globals().update(_declared)
__all__ += _declared

# explore() only finds what is filed below "scapy", and its menu fails on anything else
_filed = conf.layers.ldict
_ours = [cls for module in list(_filed) if module.startswith("scapy_btc.") for cls in _filed.pop(module)]
_filed.setdefault("scapy.contrib.bitcoin", []).extend(_ours)
