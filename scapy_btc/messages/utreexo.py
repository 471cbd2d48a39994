# SPDX-License-Identifier: GPL-2.0-or-later
"""Utreexo (draft of BIP 183), spoken by utreexod and Floresta: validating blocks with proofs instead of a UTXO set.

Where the draft and utreexod differ, the layout is utreexod's, which is what connections carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from scapy.fields import ByteEnumField, ByteField, LEIntField, XByteField

from ..layers.fields import BytesField, CompactSizeField, HashField, OptionalField
from ..layers.listfield import TO_END
from ..layers.packet import BTCPacket
from ..layers.parts import PartField, PartListField
from ..layers.rarefields import PrefixedLengthField
from ..layers.registry import PROPOSED, BTCMessage
from ..layers.txfields import AmountField, OutputScriptField
from ..layers.values import CompactSizeListField, HashListField, IntListField
from ..layers.writer import Writer
from ..text import plural
from .transactions import BTCTx, BTCTxIn


class BTCCompactLeaf(BTCPacket):
    """An output that gets spent; its script is left out where the spending input tells it.

    `header_code` is the height of its block times 2, plus 1 for a coinbase.
    """

    name = "BTC compact leaf"
    fields_desc = [
        LEIntField("header_code", 0),
        AmountField("amount", 0),
        ByteEnumField("script_tag", 1, {0: "other", 1: "P2PKH", 2: "P2WPKH", 3: "P2SH", 4: "P2WSH"}),
        PrefixedLengthField("script", prefix="script_tag"),
        OptionalField(OutputScriptField("script", None), "script_tag == 0"),
    ]


class BTCUProof(BTCMessage):
    """Proves that the outputs which a block spends exist (draft of BIP 183)."""

    name = "BTC uproof"
    msgtype = "uproof"
    short_id = 29
    bip, status = "183", PROPOSED
    echoes = ("block_hash",)
    fields_desc = [
        HashField("block_hash"),
        CompactSizeField("proof_hashes_count", None, count_of="proof_hashes"),
        HashListField("proof_hashes"),
        CompactSizeField("targets_count", None, count_of="targets"),
        CompactSizeListField("targets"),
        CompactSizeField("leaves_count", None, count_of="leaves"),
        PartListField("leaves", BTCCompactLeaf),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}: {hashes(v['proof_hashes_count'])}, {leaves(v['leaves_count'])}"


class BTCGetUProof(BTCMessage):
    """Asks for the proof of a block (draft of BIP 183).

    Of `request_bitmap`, bit 0 asks for the targets, bit 1 for all proof hashes, bit 2 for all leaves. That is
    utreexod's layout; the draft has a boolean `include_all` in its place.
    """

    name = "BTC getuproof"
    msgtype = "getuproof"
    short_id = 30
    bip, status = "183", PROPOSED
    answered_by = ("uproof",)
    fields_desc = [
        HashField("block_hash"),
        XByteField("request_bitmap", 7),
        CompactSizeField("proof_bitmap_length", None, length_of="proof_bitmap"),
        BytesField("proof_bitmap", b""),
        CompactSizeField("leaf_bitmap_length", None, length_of="leaf_bitmap"),
        BytesField("leaf_bitmap", b""),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}"


class BTCUTTL(BTCPacket):
    """When an output got spent: the height, and which spent output of that block it is; 0 and 0 where it is unspent."""

    name = "BTC time to live"
    fields_desc = [LEIntField("death_height", 0), LEIntField("index", 0)]


class BTCBlockTTLs(BTCPacket):
    """When each output of one block got spent."""

    name = "BTC times to live of a block"
    fields_desc = [
        LEIntField("height", 0),
        CompactSizeField("ttls_count", None, count_of="ttls"),
        PartListField("ttls", BTCUTTL),
    ]


class BTCUTTLs(BTCMessage):
    """When the outputs of some blocks got spent (draft of BIP 183, layout of utreexod)."""

    name = "BTC uttls"
    msgtype = "uttls"
    short_id = 31
    bip, status = "183", PROPOSED
    fields_desc = [
        CompactSizeField("blocks_count", None, count_of="blocks", limit=32),
        PartListField("blocks", BTCBlockTTLs),
        CompactSizeField("proof_hashes_count", None, count_of="proof_hashes"),
        HashListField("proof_hashes"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['blocks_count']} {plural(v['blocks_count'], 'block')}, {hashes(v['proof_hashes_count'])}"


class BTCGetUTTLs(BTCMessage):
    """Asks for `uttls` of 2^`exponent` blocks, at most 32 (draft of BIP 183)."""

    name = "BTC getuttls"
    msgtype = "getuttls"
    short_id = 32
    bip, status = "183", PROPOSED
    answered_by = ("uttls",)
    fields_desc = [LEIntField("version", 0), LEIntField("start_height", 0), ByteField("exponent", 0)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"2^{v['exponent']} blocks from {v['start_height']}"


class BTCUSummary(BTCMessage):
    """Which leaves a block spends, and how many it adds (draft of BIP 183; utreexod no longer sends it)."""

    name = "BTC usummary"
    msgtype = "usummary"
    short_id = 33
    bip, status = "183", PROPOSED
    fields_desc = [
        HashField("block_hash"),
        CompactSizeField("number_of_additions", 0),
        CompactSizeField("targets_count", None, count_of="targets"),
        IntListField("targets", 8),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}: {v['targets_count']} spent, {v['number_of_additions']} added"


def confirmed_inputs(b: bytes, p: int, e: int) -> int:
    """How many inputs of the transaction at `b[p]` spend a confirmed output: their outpoint's index is even."""
    starts = BTCTx.plan.starts(b, p, e)
    q, end, count = starts[4], starts[5], 0
    while q < end:
        count += not b[q + 32] & 1
        q = BTCTxIn.plan.end(b, q, e, [])
    return count


class LocatedPartField(PartField):
    """A part that `LeavesField` looks into: generated code keeps where it starts."""

    def emit_skip(self, w: Writer) -> None:
        w.line("located = p")
        PartField.emit_skip(self, w)

    def emit_load(self, w: Writer) -> None:
        w.line("located = p")
        PartField.emit_load(self, w)

    def emit_plain(self, w: Writer) -> str:
        w.line("located = p")
        return PartField.emit_plain(self, w)


class LeavesField(PartListField):
    """Leaves without a count: one for each input of the `LocatedPartField` before that spends a confirmed output."""

    def __init__(self, name: str) -> None:
        PartListField.__init__(self, name, BTCCompactLeaf, count=TO_END)

    def _each(self, w: Writer) -> AbstractContextManager[None]:
        return w.block(f"for _ in range({w.const(confirmed_inputs)}(b, located, e)):")


class BTCUtreexoTx(BTCMessage):
    """A transaction with proofs for its inputs (draft of BIP 183, layout of utreexod).

    The index of each outpoint is twice the real one, plus 1 where the output is not confirmed and has no leaf. The
    draft has the transaction first, no targets, and a count before the leaves.
    """

    name = "BTC utreexotx"
    msgtype = "utreexotx"
    short_id = 34
    bip, status = "183", PROPOSED
    fields_desc = [
        CompactSizeField("targets_count", None, count_of="targets"),
        CompactSizeListField("targets"),
        CompactSizeField("proof_hashes_count", None, count_of="proof_hashes"),
        HashListField("proof_hashes"),
        LocatedPartField("transaction", BTCTx),
        LeavesField("leaves"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        transaction = v["transaction"]
        return f"{transaction['inputs_count']} in, {transaction['outputs_count']} out, {leaves(len(v['leaves']))}"


class BTCURoot(BTCMessage):
    """The roots of the accumulator at a block, with a proof for them (draft of BIP 183)."""

    name = "BTC uroot"
    msgtype = "uroot"
    short_id = 35
    bip, status = "183", PROPOSED
    echoes = ("block_hash",)
    fields_desc = [
        CompactSizeField("number_of_leaves", 0),
        CompactSizeField("target", 0),
        HashField("block_hash"),
        CompactSizeField("roots_count", None, count_of="roots"),
        HashListField("roots"),
        CompactSizeField("proof_count", None, count_of="proof"),
        HashListField("proof"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        roots = v["roots_count"]
        return f"{v['block_hash']}: {roots} {plural(roots, 'root')} of {leaves(v['number_of_leaves'])}"


class BTCGetURoot(BTCMessage):
    """Asks for the roots of the accumulator at a block (draft of BIP 183)."""

    name = "BTC geturoot"
    msgtype = "geturoot"
    short_id = 36
    bip, status = "183", PROPOSED
    answered_by = ("uroot",)
    fields_desc = [HashField("block_hash")]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['block_hash']}"


def hashes(count: int) -> str:
    return f"{count} {plural(count, 'hash', 'hashes')}"


def leaves(count: int) -> str:
    return f"{count} {plural(count, 'leaf', 'leaves')}"
