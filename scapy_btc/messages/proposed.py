# SPDX-License-Identifier: GPL-2.0-or-later
"""Proposals for relay that nobody deployed: reconciliation, packages of transactions, block templates, stale tips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import ByteField, LEIntField, LEShortField, LESignedIntField

from ..layers.fields import BytesField, CompactSizeField, HashField, TimeField
from ..layers.packet import BTCPacket
from ..layers.parts import PartListField
from ..layers.registry import PROPOSED, BTCMessage
from ..layers.txfields import BitsField
from ..layers.values import HashListField, IntListField
from ..protocol import MAX_GETPKGTXNS_SZ
from ..text import plural
from ..wire.hashes import hash_hex, sha256d
from .blocks import CompactBlockMessage, transactions
from .transactions import BTCTx


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


class BTCShortHeader(BTCPacket):
    """A block header without the hash of the block before, which the reader knows."""

    name = "BTC short header"
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
        PartListField("headers", BTCShortHeader),
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
        count = v["headers_count"]
        return f"{cls.derive(payload)['tip_hash']}: {count} {plural(count, 'header')} after {v['fork_point']}"
