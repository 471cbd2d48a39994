# SPDX-License-Identifier: GPL-2.0-or-later
"""Announcing and requesting objects: inventories, block locators, headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from scapy.fields import LEIntField

from ..layers.fields import CompactSizeField, HashField
from ..layers.packet import BTCPacket
from ..layers.parts import PartField, PartListField
from ..layers.registry import BTCMessage
from ..layers.values import HashListField
from ..protocol import MAX_HEADERS_RESULTS, MAX_INV_SZ, MAX_LOCATOR_SZ, PROTOCOL_VERSION, inv_type_name
from ..wire.hashes import hash_hex, sha256d
from .parts import BTCBlockHeader, BTCInvVector


class _Inventory(BTCMessage):
    fields_desc = [
        CompactSizeField("inventory_count", None, count_of="inventory", limit=MAX_INV_SZ),
        PartListField("inventory", BTCInvVector),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        inventory = v["inventory"]
        if len(inventory) == 1:
            return f"{inv_type_name(inventory[0]['type'])} {inventory[0]['hash']}"
        start = len(payload) - 36 * len(inventory)
        kinds = Counter(payload[p:p + 4] for p in range(start, len(payload), 36))
        return ", ".join(f"{n} {inv_type_name(int.from_bytes(kind, 'little'))}"
                         for kind, n in kinds.most_common(3)) or "empty"


class BTCInv(_Inventory):
    """Announces objects that the sender has."""

    name = "BTC inv"
    msgtype = "inv"
    short_id = 14
    answered_by = ("getdata",)


class BTCGetData(_Inventory):
    """Asks for objects by type and hash."""

    name = "BTC getdata"
    msgtype = "getdata"
    short_id = 11
    answered_by = ("tx", "block", "merkleblock", "cmpctblock", "notfound",
                   "ancpkginfo", "dandeliontx", "txent", "utreexotx")


class BTCNotFound(_Inventory):
    """The entries of a `getdata` that could not be served."""

    name = "BTC notfound"
    msgtype = "notfound"
    short_id = 17
    since = 70001

    def belongs_to(self, request: Any) -> bool:
        """Whether a `getdata` asked for one of these."""
        asked = {bytes(vector) for vector in getattr(request, "inventory", self.inventory)}
        return any(bytes(vector) in asked for vector in self.inventory)


class _Locator(BTCMessage):
    fields_desc = [
        LEIntField("version", PROTOCOL_VERSION),
        CompactSizeField("locator_count", None, count_of="locator", limit=MAX_LOCATOR_SZ),
        HashListField("locator"),
        HashField("stop"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        stop = f", up to {v['stop']}" if v["stop"].strip("0") else ""
        return f"{'after ' + v['locator'][0] if v['locator'] else 'no locator'}{stop}"


class BTCGetBlocks(_Locator):
    """Asks for an `inv` of the blocks after the newest one of the locator that the receiver knows."""

    name = "BTC getblocks"
    msgtype = "getblocks"
    short_id = 9
    answered_by = ("inv",)


class BTCGetHeaders(_Locator):
    """Asks for the headers after the newest block of the locator that the receiver knows."""

    name = "BTC getheaders"
    msgtype = "getheaders"
    short_id = 12
    since = 31800
    answered_by = ("headers",)


class BTCHeadersEntry(BTCPacket):
    """A header, and the number of its transactions: always 0, none follow."""

    name = "BTC headers entry"
    fields_desc = [PartField("header", BTCBlockHeader), CompactSizeField("transaction_count", 0)]

    @property
    def block_hash(self) -> str:
        """SHA256d of the header, as reversed hex."""
        found: str = self.header.block_hash
        return found


class BTCHeaders(BTCMessage):
    """Block headers, in the order of the chain; 2,000 of them mean that there are more."""

    name = "BTC headers"
    msgtype = "headers"
    short_id = 13
    since = 31800
    fields_desc = [
        CompactSizeField("headers_count", None, count_of="headers", limit=MAX_HEADERS_RESULTS),
        PartListField("headers", BTCHeadersEntry),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        last = list(headers_in(payload))[-1:]
        return f"{v['headers_count']} up to {hash_hex(sha256d(last[0]))}" if last else "none"


def headers_in(payload: bytes) -> Iterator[bytes]:
    """The 80 bytes of each header of a `headers` payload. Raises one of `layers.plan.BROKEN` where it is cut short."""
    _, p, end = BTCHeaders.plan.starts(payload, 0, len(payload))
    while p < end:
        yield payload[p:p + 80]
        p = BTCHeadersEntry.plan.end(payload, p, end, [])


class BTCMempool(BTCMessage):
    """Asks for an `inv` of the whole memory pool (BIP 35)."""

    name = "BTC mempool"
    msgtype = "mempool"
    short_id = 15
    bip, since = "35", 60002
    answered_by = ("inv",)
