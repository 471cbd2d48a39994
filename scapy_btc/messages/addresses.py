# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses of other nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..chain.address import format_endpoint
from ..layers.fields import CompactSizeField
from ..layers.parts import OldPartListField, PartListField
from ..layers.registry import BTCMessage
from ..protocol import MAX_ADDR_TO_SEND
from .parts import BTCNetAddr, BTCNetAddrV2, BTCTimedNetAddr, listed


class BTCGetAddr(BTCMessage):
    """Asks for addresses of other nodes."""

    name = "BTC getaddr"
    msgtype = "getaddr"
    answered_by = ("addr", "addrv2")


class BTCAddr(BTCMessage):
    """Addresses in the legacy form; entries of before 31402 have no timestamp."""

    name = "BTC addr"
    msgtype = "addr"
    short_id = 1
    fields_desc = [
        CompactSizeField("addresses_count", None, count_of="addresses", limit=MAX_ADDR_TO_SEND),
        OldPartListField("addresses", BTCTimedNetAddr, old=BTCNetAddr),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return listed(v["addresses_count"], "address", "addresses",
                      [format_endpoint(a["ip"], a["port"]) for a in v["addresses"][:1]])


class BTCAddrV2(BTCMessage):
    """Addresses of any network (BIP 155)."""

    name = "BTC addrv2"
    msgtype = "addrv2"
    short_id = 28
    bip = "155"
    fields_desc = [
        CompactSizeField("addresses_count", None, count_of="addresses", limit=MAX_ADDR_TO_SEND),
        PartListField("addresses", BTCNetAddrV2),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return listed(v["addresses_count"], "address", "addresses",
                      [format_endpoint(a["address"], a["port"]) for a in v["addresses"][:1]])
