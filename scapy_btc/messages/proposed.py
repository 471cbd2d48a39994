# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that are written down but not deployed: reconciliation, packages, templates, stale tips, shared state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import ByteEnumField, ByteField, LEIntField, LELongField, LEShortField, LESignedIntField

from ..layers.fields import BytesField, CompactSizeField, HashField, RestField, TimeField
from ..layers.packet import BTCPacket
from ..layers.parts import TO_END, PartField, PartListField
from ..layers.rarefields import CompressedAmountField, PrefixedLengthField, PrefixedScriptField
from ..layers.registry import PROPOSED, BTCMessage
from ..layers.txfields import BitsField
from ..layers.values import BytesListField, CompactSizeListField, HashListField, IntListField
from ..protocol import MAX_GETPKGTXNS_SZ
from ..wire.hashes import hash_hex, sha256d
from .blocks import CompactBlockMessage, transactions
from .transactions import BTCTx, txid_of


class BTCReqRecon(BTCMessage):
    """Begins a round of reconciliation: how many transactions the sender has to announce (BIP 330).

    `q` is the expected share of differences, times 32767.
    """

    name = "BTC reqrecon"
    msgtype = "reqrecon"
    bip, status = "330", PROPOSED
    answered_by = ("sketch",)
    fields_desc = [LEShortField("set_size", 0), LEShortField("q", 0)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"set of {v['set_size']}, q {v['q'] / 32767:.3f}"


class BTCSketch(BTCMessage):
    """The sender's set as a PinSketch: a sequence of 4-byte field elements (BIP 330)."""

    name = "BTC sketch"
    msgtype = "sketch"
    bip, status = "330", PROPOSED
    answered_by = ("reqsketchext", "reconcildiff")
    fields_desc = [
        CompactSizeField("skdata_length", None, length_of="skdata"),
        BytesField("skdata", b""),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"of capacity {v['skdata_length'] // 4}"


class BTCReqSketchExt(BTCMessage):
    """The sketch was too small: asks for more of it (BIP 330)."""

    name = "BTC reqsketchext"
    msgtype = "reqsketchext"
    bip, status = "330", PROPOSED
    answered_by = ("sketch",)


class BTCReconcilDiff(BTCMessage):
    """Ends a round of reconciliation: what the sender lacks, by short id (BIP 330)."""

    name = "BTC reconcildiff"
    msgtype = "reconcildiff"
    bip, status = "330", PROPOSED
    answered_by = ("inv",)
    fields_desc = [
        ByteField("success", 1),
        CompactSizeField("ask_shortids_count", None, count_of="ask_shortids"),
        IntListField("ask_shortids", 4),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"asks for {v['ask_shortids_count']}" if v["success"] else "failed"


class BTCAncPkgInfo(BTCMessage):
    """A transaction, last, and its unconfirmed ancestors (BIP 331)."""

    name = "BTC ancpkginfo"
    msgtype = "ancpkginfo"
    bip, status = "331", PROPOSED
    answered_by = ("getpkgtxns",)
    fields_desc = [
        CompactSizeField("wtxids_count", None, count_of="wtxids"),
        HashListField("wtxids"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{transactions(v['wtxids_count'])} up to {v['wtxids'][-1]}" if v["wtxids"] else "empty"


class BTCGetPkgTxns(BTCMessage):
    """Asks for transactions by wtxid, all or none (BIP 331)."""

    name = "BTC getpkgtxns"
    msgtype = "getpkgtxns"
    bip, status = "331", PROPOSED
    answered_by = ("pkgtxns", "notfound")
    fields_desc = [
        CompactSizeField("wtxids_count", None, count_of="wtxids", limit=MAX_GETPKGTXNS_SZ),
        HashListField("wtxids"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return transactions(v["wtxids_count"])


class BTCPkgTxns(BTCMessage):
    """The transactions that a `getpkgtxns` asked for, in its order (BIP 331)."""

    name = "BTC pkgtxns"
    msgtype = "pkgtxns"
    bip, status = "331", PROPOSED
    fields_desc = [
        CompactSizeField("transactions_count", None, count_of="transactions"),
        PartListField("transactions", BTCTx),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return transactions(v["transactions_count"])


class BTCSendTemplate(BTCMessage):
    """I answer `gettemplate`; before `verack` only (draft of BIP 153)."""

    name = "BTC sendtemplate"
    msgtype = "sendtemplate"
    before_verack = True
    bip, status = "153", PROPOSED


class BTCGetTemplate(BTCMessage):
    """Asks for the block that the peer would mine (draft of BIP 153)."""

    name = "BTC gettemplate"
    msgtype = "gettemplate"
    bip, status = "153", PROPOSED
    answered_by = ("template",)


class BTCTemplate(CompactBlockMessage):
    """The block that the sender would mine, as a compact block; its hash is only a name (draft of BIP 153)."""

    name = "BTC template"
    msgtype = "template"
    bip, status = "153", PROPOSED


class BTCOrphanHeader(BTCPacket):
    """A block header without the hash of the block before, which the reader knows."""

    name = "BTC header without previous block"
    fields_desc = [
        LESignedIntField("version", 0x20000000),
        HashField("merkle_root"),
        TimeField("timestamp", 0),
        BitsField("bits", 0x207FFFFF),
        LEIntField("nonce", 0),
    ]


class BTCStaleTip(BTCMessage):
    """Headers of a branch that is not the best chain, from the block after `fork_point` (draft of BIP 332)."""

    name = "BTC staletip"
    msgtype = "staletip"
    bip, status = "332", PROPOSED
    fields_desc = [
        HashField("fork_point"),
        CompactSizeField("headers_count", None, count_of="headers"),
        PartListField("headers", BTCOrphanHeader),
        ByteField("have_block", 0),
    ]

    @classmethod
    def derive(cls, payload: bytes) -> dict[str, Any]:
        _, _, start, end, _ = cls.plan.starts(payload, 0, len(payload))
        tip = payload[:32]
        for p in range(start, end, 48):
            tip = sha256d(payload[p:p + 4] + tip + payload[p + 4:p + 48])
        return {"tip_hash": hash_hex(tip)}

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{cls.derive(payload)['tip_hash']}: {v['headers_count']} headers after {v['fork_point']}"


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
        return f"{v['block_hash']}: {v['coins_count']} coins"


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
        return f"{v['block_hash']}: {v['data_length']} bytes in {len(v['chunk_hashes'])} chunks"


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
        return f"{hash_hex(txid_of(payload, 0, len(payload)))}: {v['entries_count']} entries"


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
        return f"{v['block_hash']}: {v['entries_count']} entries"


class BTCSegDataCov(BTCMessage):
    """For how many of the newest blocks the sender has the data (SegData draft)."""

    name = "BTC segdatacov"
    msgtype = "segdatacov"
    status = PROPOSED
    fields_desc = [ByteEnumField("tier", 0, {0: "288 blocks", 1: "4,320 blocks", 2: "52,560 blocks", 3: "all blocks"})]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"tier {v['tier']}"
