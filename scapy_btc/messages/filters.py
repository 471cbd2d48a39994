# SPDX-License-Identifier: GPL-2.0-or-later
"""Compact block filters (BIP 157), served by nodes with NODE_COMPACT_FILTERS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import ByteEnumField, LEIntField

from ..layers.fields import BytesField, CompactSizeField, HashField
from ..layers.registry import OPTIONAL, BTCMessage
from ..layers.values import HashListField
from ..protocol import BLOCK_FILTER_TYPES
from ..text import plural


class _Range(BTCMessage):
    bip, status = "157", OPTIONAL
    fields_desc = [
        ByteEnumField("filter_type", 0, BLOCK_FILTER_TYPES),
        LEIntField("start_height", 0),
        HashField("stop_hash"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"from {v['start_height']} to {v['stop_hash']}"


class BTCGetCFilters(_Range):
    """Asks for the filters of up to 1,000 blocks (BIP 157)."""

    name = "BTC getcfilters"
    msgtype = "getcfilters"
    short_id = 22
    answered_by = ("cfilter",)


class BTCCFilter(BTCMessage):
    """The filter of one block (BIP 157, BIP 158)."""

    name = "BTC cfilter"
    msgtype = "cfilter"
    short_id = 23
    bip, status = "157", OPTIONAL
    echoes = ("filter_type",)
    fields_desc = [
        ByteEnumField("filter_type", 0, BLOCK_FILTER_TYPES),
        HashField("block_hash"),
        CompactSizeField("filter_length", None, length_of="filter"),
        BytesField("filter", b"\0"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}: {v['filter_length']} {plural(v['filter_length'], 'byte')}"


class BTCGetCFHeaders(_Range):
    """Asks for the filter hashes of up to 2,000 blocks (BIP 157)."""

    name = "BTC getcfheaders"
    msgtype = "getcfheaders"
    short_id = 24
    answered_by = ("cfheaders",)


class BTCCFHeaders(BTCMessage):
    """Filter hashes, and the filter header before them, from which the chain of filter headers follows (BIP 157)."""

    name = "BTC cfheaders"
    msgtype = "cfheaders"
    short_id = 25
    bip, status = "157", OPTIONAL
    echoes = ("filter_type", "stop_hash")
    fields_desc = [
        ByteEnumField("filter_type", 0, BLOCK_FILTER_TYPES),
        HashField("stop_hash"),
        HashField("previous_filter_header"),
        CompactSizeField("filter_hashes_count", None, count_of="filter_hashes"),
        HashListField("filter_hashes"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        count = v["filter_hashes_count"]
        return f"{count} {plural(count, 'filter hash', 'filter hashes')} up to {v['stop_hash']}"


class BTCGetCFCheckpt(BTCMessage):
    """Asks for every thousandth filter header up to a block (BIP 157)."""

    name = "BTC getcfcheckpt"
    msgtype = "getcfcheckpt"
    short_id = 26
    bip, status = "157", OPTIONAL
    answered_by = ("cfcheckpt",)
    fields_desc = [ByteEnumField("filter_type", 0, BLOCK_FILTER_TYPES), HashField("stop_hash")]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"up to {v['stop_hash']}"


class BTCCFCheckpt(BTCMessage):
    """Filter headers at heights 1000, 2000, ... (BIP 157)."""

    name = "BTC cfcheckpt"
    msgtype = "cfcheckpt"
    short_id = 27
    bip, status = "157", OPTIONAL
    echoes = ("filter_type", "stop_hash")
    fields_desc = [
        ByteEnumField("filter_type", 0, BLOCK_FILTER_TYPES),
        HashField("stop_hash"),
        CompactSizeField("filter_headers_count", None, count_of="filter_headers"),
        HashListField("filter_headers"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        count = v["filter_headers_count"]
        return f"{count} {plural(count, 'filter header')} up to {v['stop_hash']}"
