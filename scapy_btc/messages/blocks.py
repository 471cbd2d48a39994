# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks: whole, filtered (BIP 37), compact (BIP 152)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scapy.fields import LEIntField, LELongField

from ..chain.block_filter import basic_elements, build
from ..layers.fields import BytesField, CompactSizeField, HashField
from ..layers.lists import raws
from ..layers.packet import BTCPacket
from ..layers.parts import PartField, PartListField
from ..layers.registry import BTCMessage
from ..layers.values import CompactSizeListField, HashListField, IntListField
from ..text import plural
from ..wire.hashes import hash_hex, sha256d
from .parts import BTCBlockHeader
from .transactions import BTCTx, BTCTxOut, txid_of


class _HeaderFirst(BTCMessage):
    """A message that begins with a block header."""

    fields_desc = [PartField("header", BTCBlockHeader)]

    @property
    def block_hash(self) -> str:
        """SHA256d of the header, as reversed hex."""
        found: str = self.header.block_hash
        return found

    @classmethod
    def derive(cls, payload: bytes) -> dict[str, Any]:
        return {"block_hash": hash_hex(sha256d(payload[:80]))}


class BTCBlock(_HeaderFirst):
    """A block: its header and all transactions, with witnesses where the request asked for them."""

    name = "BTC block"
    msgtype = "block"
    short_id = 2
    fields_desc = [
        PartField("header", BTCBlockHeader),
        CompactSizeField("transactions_count", None, count_of="transactions"),
        PartListField("transactions", BTCTx),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{hash_hex(sha256d(payload[:80]))}: {transactions(v['transactions_count'])}"

    def txids(self) -> list[str]:
        """The txid of every transaction, as reversed hex; none becomes a Packet."""
        return [hash_hex(txid_of(raw, 0, len(raw))) for raw in raws(self.transactions)]

    def belongs_to(self, request: Any) -> bool:
        return asked_for(request, self.block_hash)


class BTCMerkleBlock(_HeaderFirst):
    """A block for a bloom filter: the header, and a partial merkle tree that proves the matches (BIP 37)."""

    name = "BTC merkleblock"
    msgtype = "merkleblock"
    short_id = 16
    bip, since = "37", 70001
    fields_desc = [
        PartField("header", BTCBlockHeader),
        LEIntField("total_transactions", 0),
        CompactSizeField("hashes_count", None, count_of="hashes"),
        HashListField("hashes"),
        CompactSizeField("flags_length", None, length_of="flags"),
        BytesField("flags", b""),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        total = transactions(v["total_transactions"])
        count = v["hashes_count"]
        return f"{hash_hex(sha256d(payload[:80]))}: {count} {plural(count, 'hash', 'hashes')} of {total}"

    def belongs_to(self, request: Any) -> bool:
        return asked_for(request, self.block_hash)


class BTCPrefilledTx(BTCPacket):
    """A transaction of a compact block that is sent whole; `index` counts from the one before."""

    name = "BTC prefilled transaction"
    fields_desc = [CompactSizeField("index", 0), PartField("transaction", BTCTx)]


class CompactBlockMessage(_HeaderFirst):
    """A message with a block by short transaction ids."""

    answered_by = ("getblocktxn",)
    fields_desc = [
        PartField("header", BTCBlockHeader),
        LELongField("nonce", 0),
        CompactSizeField("shortids_count", None, count_of="shortids"),
        IntListField("shortids", 6),
        CompactSizeField("prefilled_count", None, count_of="prefilled"),
        PartListField("prefilled", BTCPrefilledTx),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        count = v["shortids_count"]
        return (f"{hash_hex(sha256d(payload[:80]))}: {count} {plural(count, 'short id')}, "
                f"{v['prefilled_count']} prefilled")


class BTCCmpctBlock(CompactBlockMessage):
    """A block by short transaction ids, for nodes that have most transactions already (BIP 152)."""

    name = "BTC cmpctblock"
    msgtype = "cmpctblock"
    short_id = 4
    bip, since = "152", 70014

    def belongs_to(self, request: Any) -> bool:
        return asked_for(request, self.block_hash)


class BTCGetBlockTxn(BTCMessage):
    """Asks for transactions of a compact block by index, each counted from the one before (BIP 152)."""

    name = "BTC getblocktxn"
    msgtype = "getblocktxn"
    short_id = 10
    bip, since = "152", 70014
    answered_by = ("blocktxn", "block")
    fields_desc = [
        HashField("block_hash"),
        CompactSizeField("indexes_count", None, count_of="indexes"),
        CompactSizeListField("indexes"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}: {transactions(v['indexes_count'])}"

    def belongs_to(self, request: Any) -> bool:
        return bool(self.block_hash == request.block_hash)


class BTCBlockTxn(BTCMessage):
    """The transactions that a `getblocktxn` asked for, in its order (BIP 152)."""

    name = "BTC blocktxn"
    msgtype = "blocktxn"
    short_id = 3
    bip, since = "152", 70014
    echoes = ("block_hash",)
    fields_desc = [
        HashField("block_hash"),
        CompactSizeField("transactions_count", None, count_of="transactions"),
        PartListField("transactions", BTCTx),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}: {transactions(v['transactions_count'])}"


def transactions(count: int) -> str:
    return f"{count} {plural(count, 'transaction')}"


def asked_for(request: Any, block_hash: str) -> bool:
    """Whether a `getdata` or `getblocktxn` asked for that block."""
    if request.msgtype == "getdata":
        return any(getattr(vector, "hash", None) == block_hash for vector in request.inventory)
    return bool(getattr(request, "block_hash", block_hash) == block_hash)


def block_transactions(payload: bytes) -> Iterator[tuple[int, int]]:
    """Where each transaction of a `block` payload starts and ends."""
    view = BTCBlock.plan.starts(payload, 0, len(payload))
    p = view[2]
    for _ in range(BTCBlock.plan.view(payload, 0, len(payload))[0]["transactions_count"]):
        end = BTCTx.plan.end(payload, p, len(payload), [])
        yield p, end
        p = end


def output_scripts(payload: bytes) -> Iterator[bytes]:
    """The scripts of all outputs in a `block` payload, in order."""
    places = BTCTxOut.plan.starts
    for start, end in block_transactions(payload):
        p, stop = BTCTx.plan.starts(payload, start, end)[6:8]
        while p < stop:
            _, _, script, p = places(payload, p, stop)
            yield payload[script:p]


def basic_filter(payload: bytes, spent_scripts: Iterable[bytes]) -> bytes:
    """The encoded basic filter (BIP 158) of a `block` payload; the block does not hold the scripts that it spends."""
    return build(sha256d(payload[:80]), basic_elements(output_scripts(payload), spent_scripts))
