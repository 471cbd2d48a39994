# SPDX-License-Identifier: GPL-2.0-or-later
"""Proposals for sharing state: the outputs that a block spends, the UTXO set, data of transactions kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import ByteEnumField, LEIntField, LELongField, LEShortField

from ..layers.fields import CompactSizeField, HashField, RestField
from ..layers.listfield import TO_END
from ..layers.packet import BTCPacket
from ..layers.parts import PartField, PartListField
from ..layers.rarefields import CompressedAmountField, PrefixedLengthField, PrefixedScriptField
from ..layers.registry import PROPOSED, BTCMessage
from ..layers.values import BytesListField, CompactSizeListField, HashListField
from ..text import plural
from ..wire.hashes import hash_hex
from .transactions import BTCTx, txid_of


class BTCGetBSpent(BTCMessage):
    """Asks for the outputs that a block spends, those created below height `cutoff`; 0 means all (draft of BIP 455)."""

    name = "BTC getbspent"
    msgtype = "getbspent"
    bip, status = "455", PROPOSED
    answered_by = ("bspent",)
    fields_desc = [HashField("block_hash"), LEIntField("cutoff", 0)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}"


SCRIPT_PREFIXES = {
    0: "script",
    1: "P2PKH",
    2: "P2PK, even",
    3: "P2PK, odd",
    4: "P2PK, uncompressed",
    5: "P2SH",
    6: "P2WSH",
    7: "P2WPKH",
    8: "P2TR",
}


class BTCSpentCoin(BTCPacket):
    """An output that an input of a block spends, in the form of Bitcoin Core's undo data.

    `code` is the height of its block times 2, plus 1 for a coinbase; `script` is what the prefix says: a whole script
    (0), or the hash or key of a standard one; `amount` is compressed.
    """

    name = "BTC spent coin"
    fields_desc = [
        LEIntField("input_index", 0),
        LEIntField("code", 0),
        ByteEnumField("script_prefix", 0, SCRIPT_PREFIXES),
        PrefixedLengthField("script", prefix="script_prefix"),
        PrefixedScriptField("script"),
        CompressedAmountField("amount", 0),
    ]


class BTCBSpent(BTCMessage):
    """The outputs that a block spends (draft of BIP 455)."""

    name = "BTC bspent"
    msgtype = "bspent"
    bip, status = "455", PROPOSED
    echoes = ("block_hash",)
    fields_desc = [
        HashField("block_hash"),
        CompactSizeField("coins_count", None, count_of="coins"),
        PartListField("coins", BTCSpentCoin),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}: {v['coins_count']} {plural(v['coins_count'], 'coin')}"


class _OfBlock(BTCMessage):
    status = PROPOSED
    fields_desc = [HashField("block_hash")]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}"


class BTCGetUTXOTree(_OfBlock):
    """Asks for the hashes of the chunks of the UTXO set at a block (draft)."""

    name = "BTC getutxotree"
    msgtype = "getutxotree"
    answered_by = ("utxotree",)


class BTCUTXOTree(_OfBlock):
    """The hashes of the chunks of the UTXO set at a block, which have 3,900,000 bytes each (draft).

    The draft shows no count before the hashes: they go on to the end.
    """

    name = "BTC utxotree"
    msgtype = "utxotree"
    echoes = ("block_hash",)
    fields_desc = [
        HashField("block_hash"),
        LEShortField("format_version", 0),
        LELongField("data_length", 0),
        HashListField("chunk_hashes", count=TO_END),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        size, chunks = v["data_length"], len(v["chunk_hashes"])
        return f"{v['block_hash']}: {size} {plural(size, 'byte')} in {chunks} {plural(chunks, 'chunk')}"


class _Chunk(BTCMessage):
    status = PROPOSED

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}: chunk {v['chunk_index']}"


class BTCGetUTXOSet(_Chunk):
    """Asks for one chunk of the UTXO set at a block (draft)."""

    name = "BTC getutxoset"
    msgtype = "getutxoset"
    answered_by = ("utxoset",)
    fields_desc = [HashField("block_hash"), LEIntField("chunk_index", 0)]


class BTCUTXOSet(_Chunk):
    """One chunk of the UTXO set at a block (draft)."""

    name = "BTC utxoset"
    msgtype = "utxoset"
    echoes = ("block_hash", "chunk_index")
    fields_desc = [HashField("block_hash"), LEIntField("chunk_index", 0), RestField("chunk")]


class BTCSendSegData(BTCMessage):
    """Send me transactions as `txent`; before `verack` only (SegData draft)."""

    name = "BTC sendsegdata"
    msgtype = "sendsegdata"
    before_verack = True
    status = PROPOSED


class BTCTxEnt(BTCMessage):
    """A transaction, with its data carried apart from it (SegData draft)."""

    name = "BTC txent"
    msgtype = "txent"
    status = PROPOSED
    fields_desc = [
        PartField("transaction", BTCTx),
        CompactSizeField("entries_count", None, count_of="entries"),
        BytesListField("entries"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{hash_hex(txid_of(payload, 0, len(payload)))}: {entries(v['entries_count'])}"


class BTCGetSegData(_OfBlock):
    """Asks for the data of transactions of a block, by index, each counted from the one before; none means all.

    (SegData draft)
    """

    name = "BTC getsegdata"
    msgtype = "getsegdata"
    answered_by = ("segdata",)
    fields_desc = [
        HashField("block_hash"),
        CompactSizeField("indexes_count", None, count_of="indexes"),
        CompactSizeListField("indexes"),
    ]


class BTCSegData(BTCMessage):
    """The data of transactions of a block (SegData draft)."""

    name = "BTC segdata"
    msgtype = "segdata"
    status = PROPOSED
    echoes = ("block_hash",)
    fields_desc = [
        HashField("block_hash"),
        CompactSizeField("entries_count", None, count_of="entries"),
        BytesListField("entries"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}: {entries(v['entries_count'])}"


class BTCSegDataCov(BTCMessage):
    """For how many of the newest blocks the sender has the data (SegData draft)."""

    name = "BTC segdatacov"
    msgtype = "segdatacov"
    status = PROPOSED
    fields_desc = [ByteEnumField("tier", 0, {0: "288 blocks", 1: "4,320 blocks", 2: "52,560 blocks", 3: "all blocks"})]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"tier {v['tier']}"


def entries(count: int) -> str:
    return f"{count} {plural(count, 'entry', 'entries')}"
