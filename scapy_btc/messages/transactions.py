# SPDX-License-Identifier: GPL-2.0-or-later
"""Transactions, and the message that carries one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import ByteField, LEIntField

from ..layers.fields import CompactSizeField
from ..layers.packet import BTCPacket
from ..layers.parts import PartField, PartListField
from ..layers.registry import BTCMessage
from ..layers.txfields import AmountField, OutputScriptField, ScriptField, SegwitField, coins
from ..layers.values import BytesListField
from ..protocol import LOCKTIME_THRESHOLD
from ..wire.hashes import hash_hex, sha256d
from .parts import BTCOutPoint


class BTCTxIn(BTCPacket):
    """An input: which output it spends, and the signature script that allows it."""

    name = "BTC input"
    fields_desc = [
        PartField("previous_output", BTCOutPoint),
        CompactSizeField("script_length", None, length_of="script"),
        ScriptField("script", b""),
        LEIntField("sequence", 0xFFFFFFFF),
    ]


class BTCTxOut(BTCPacket):
    """An output: an amount in satoshi, and the script that guards it."""

    name = "BTC output"
    fields_desc = [
        AmountField("value", 0),
        CompactSizeField("script_length", None, length_of="script"),
        OutputScriptField("script", b""),
    ]


class BTCTxWitness(BTCPacket):
    """The witness stack of one input (BIP 144)."""

    name = "BTC witness"
    record_as = "items"
    fields_desc = [
        CompactSizeField("items_count", None, count_of="items"),
        BytesListField("items"),
    ]


class TransactionMessage(BTCMessage):
    """A message that is a transaction."""

    fields_desc = [
        LEIntField("version", 2),
        SegwitField(ByteField("marker", None), "b[p] == 0 and b[p + 1] != 0", written=0),
        SegwitField(ByteField("flag", None), "marker is not None", written=1),
        CompactSizeField("inputs_count", None, count_of="inputs"),
        PartListField("inputs", BTCTxIn),
        CompactSizeField("outputs_count", None, count_of="outputs"),
        PartListField("outputs", BTCTxOut),
        SegwitField(PartListField("witness", BTCTxWitness, count="inputs_count"), "flag is not None and flag & 1"),
        LEIntField("lock_time", 0),
    ]

    @property
    def txid(self) -> str:
        """SHA256d of the form without witness, as reversed hex."""
        raw = self.self_build()
        return hash_hex(txid_of(raw, 0, len(raw)))

    @property
    def wtxid(self) -> str:
        """SHA256d of the form that is sent, as reversed hex; the txid where there is no witness."""
        return hash_hex(sha256d(self.self_build()))

    @classmethod
    def derive(cls, payload: bytes) -> dict[str, Any]:
        end = cls.plan.end(payload, 0, len(payload), [])
        return {"txid": hash_hex(txid_of(payload, 0, end)), "wtxid": hash_hex(sha256d(payload[:end]))}

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        txid = hash_hex(txid_of(payload, 0, len(payload)))
        total = coins(sum(output["value"] for output in v["outputs"]))
        return f"{txid}: {v['inputs_count']} in, {v['outputs_count']} out, {total}{lock(v['lock_time'])}"

    def belongs_to(self, request: Any) -> bool:
        """Whether a `getdata` asked for this transaction, by either id."""
        ids = (self.txid, self.wtxid)
        return any(getattr(vector, "hash", None) in ids for vector in request.inventory)


class BTCTx(TransactionMessage):
    """A transaction; in the extended form of BIP 144 when it has a witness.

    `marker` and `flag` stand on the wire when there is a witness, or when they are set.
    """

    name = "BTC tx"
    msgtype = "tx"
    short_id = 21


Places = tuple[int, ...]
"""Where each field of a transaction starts, and its end, as `BTCTx.plan.starts` gives them."""


def txid_of(b: bytes, p: int, e: int) -> bytes:
    """The txid (32 wire bytes) of the transaction that starts at `b[p]`."""
    return txid_at(b, BTCTx.plan.starts(b, p, e))


def txid_at(b: bytes, places: Places) -> bytes:
    """The txid of a transaction of which is known where its fields are."""
    version, marker, _, inputs, _, _, _, witness, lock_time, end = places
    if inputs == marker:
        return sha256d(b[version:end])
    return sha256d(b[version:marker] + b[inputs:witness] + b[lock_time:end])


def amounts_at(b: bytes, places: Places) -> list[int]:
    """The amounts of its outputs, in satoshi."""
    p, stop = places[6], places[7]
    behind = BTCTxOut.plan.end
    amounts = []
    while p < stop:
        amounts.append(int.from_bytes(b[p:p + 8], "little", signed=True))
        p = behind(b, p, stop, None)
    return amounts


def lock(lock_time: int) -> str:
    """What a lock time means; nothing when there is none."""
    if not lock_time:
        return ""
    return f", locked until {'block' if lock_time < LOCKTIME_THRESHOLD else 'time'} {lock_time}"
