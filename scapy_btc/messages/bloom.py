# SPDX-License-Identifier: GPL-2.0-or-later
"""Bloom filters (BIP 37), served by nodes with NODE_BLOOM (BIP 111)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import ByteEnumField, LEIntField

from ..layers.fields import BytesField, CompactSizeField
from ..layers.registry import BTCMessage
from ..protocol import BLOOM_UPDATE_NAMES, MAX_BLOOM_FILTER_SIZE, MAX_SCRIPT_ELEMENT_SIZE
from ..text import plural


class BTCFilterLoad(BTCMessage):
    """Sets the bloom filter of this connection (BIP 37)."""

    name = "BTC filterload"
    msgtype = "filterload"
    short_id = 8
    bip, since = "37", 70001
    fields_desc = [
        CompactSizeField("filter_length", None, length_of="filter", limit=MAX_BLOOM_FILTER_SIZE),
        BytesField("filter", b""),
        LEIntField("n_hash_funcs", 1),
        LEIntField("n_tweak", 0),
        ByteEnumField("n_flags", 0, BLOOM_UPDATE_NAMES),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        update = BLOOM_UPDATE_NAMES.get(v["n_flags"], hex(v["n_flags"]))
        size, functions = v["filter_length"], v["n_hash_funcs"]
        return f"{size} {plural(size, 'byte')}, {functions} {plural(functions, 'function')}, {update}"


class BTCFilterAdd(BTCMessage):
    """Adds an element to the bloom filter of this connection (BIP 37)."""

    name = "BTC filteradd"
    msgtype = "filteradd"
    short_id = 6
    bip, since = "37", 70001
    fields_desc = [
        CompactSizeField("data_length", None, length_of="data", limit=MAX_SCRIPT_ELEMENT_SIZE),
        BytesField("data", b""),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['data'][:64]}{'...' if len(v['data']) > 64 else ''}"


class BTCFilterClear(BTCMessage):
    """Removes the bloom filter of this connection (BIP 37)."""

    name = "BTC filterclear"
    msgtype = "filterclear"
    short_id = 7
    bip, since = "37", 70001
