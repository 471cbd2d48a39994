# SPDX-License-Identifier: GPL-2.0-or-later
"""Every name for the Scapy shell: the envelope, all messages and parts, and what `command()` writes.

    >>> from scapy_btc.all import *
"""

from __future__ import annotations

from .layers.envelope import BTC
from .layers.packet import BTCPacket
from .layers.registry import BTCMessage
from .layers.undecoded import BTCEncrypted, BTCMalformed, BTCTrailing, BTCUnknown
from .layers.values import LongBytes
from .messages import TOPICS
from .wire.compactsize import CompactSize

_declared = {
    name: value
    for topic in TOPICS
    for name, value in vars(topic).items()
    if isinstance(value, type) and issubclass(value, BTCPacket) and value.__module__ == topic.__name__
    and name.startswith("BTC")
}
globals().update(_declared)

_core = (BTC, BTCMessage, BTCPacket, BTCUnknown, BTCMalformed, BTCTrailing, BTCEncrypted, CompactSize, LongBytes)
__all__ = [cls.__name__ for cls in _core]
__all__ += _declared
