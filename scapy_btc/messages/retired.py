# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that released nodes spoke once: errors, alerts, and the UTXO query of Bitcoin XT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import ByteEnumField, ByteField, LEIntField, LESignedIntField

from ..layers.fields import BytesField, CompactSizeField, HashField, LongTimeField, OptionalField, TextField
from ..layers.packet import BTCPacket
from ..layers.parts import BoundedPartField, PartField, PartListField
from ..layers.registry import HISTORIC, BTCMessage
from ..layers.values import IntListField, TextListField
from ..protocol import MAX_REJECT_MESSAGE_LENGTH, MESSAGE_TYPE_SIZE, REJECT_CODE_NAMES
from ..text import plural
from .parts import BTCOutPoint
from .transactions import BTCTxOut


class BTCReject(BTCMessage):
    """Says that a message was refused, and why (BIP 61); btcd and bcoin still send it.

    `data` is there when at least 32 bytes are left: the hash of the transaction or block that was refused.
    """

    name = "BTC reject"
    msgtype = "reject"
    bip, since, status = "61", 70002, HISTORIC
    before_verack = None
    fields_desc = [
        CompactSizeField("message_length", None, length_of="message", limit=MESSAGE_TYPE_SIZE),
        TextField("message", b""),
        ByteEnumField("ccode", 1, REJECT_CODE_NAMES),
        CompactSizeField("reason_length", None, length_of="reason", limit=MAX_REJECT_MESSAGE_LENGTH),
        TextField("reason", b""),
        OptionalField(HashField("data", None), "e - p >= 32"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        code = REJECT_CODE_NAMES.get(v["ccode"], f"code {v['ccode']:#04x}").removeprefix("REJECT_")
        subject = f"{v['message']} {v['data']}" if "data" in v else v["message"]
        return f"{subject}: {code} {v['reason']}".strip()


class BTCAlertPayload(BTCPacket):
    """What the signature of an alert signs."""

    name = "BTC alert payload"
    fields_desc = [
        LESignedIntField("version", 1),
        LongTimeField("relay_until", 0),
        LongTimeField("expiration", 0),
        LESignedIntField("id", 0),
        LESignedIntField("cancel", 0),
        CompactSizeField("cancel_set_count", None, count_of="cancel_set"),
        IntListField("cancel_set", 4, signed=True),
        LESignedIntField("min_ver", 0),
        LESignedIntField("max_ver", 0),
        CompactSizeField("subver_set_count", None, count_of="subver_set"),
        TextListField("subver_set"),
        LESignedIntField("priority", 0),
        CompactSizeField("comment_text_length", None, length_of="comment_text"),
        TextField("comment_text", b""),
        CompactSizeField("status_bar_length", None, length_of="status_bar"),
        TextField("status_bar", b""),
        CompactSizeField("reserved_length", None, length_of="reserved"),
        TextField("reserved", b""),
    ]


class BTCAlert(BTCMessage):
    """A signed warning to all users; its key was retired in 2016, and only the final alert is still sent.

    `signature` is the DER form of ECDSA over SHA256d(`alert`). Bytes that are no alert payload stay bytes.
    """

    name = "BTC alert"
    msgtype = "alert"
    since, status = 311, HISTORIC
    before_verack = None
    fields_desc = [
        CompactSizeField("alert_length", None, length_of="alert"),
        BoundedPartField("alert", BTCAlertPayload),
        CompactSizeField("signature_length", None, length_of="signature"),
        BytesField("signature", b""),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        alert = v["alert"]
        if isinstance(alert, dict):
            return f"{alert['id']} {alert['status_bar']}".rstrip()
        return f"{v['alert_length']} {plural(v['alert_length'], 'byte')}"


class BTCGetUTXOs(BTCMessage):
    """Asks which outputs are unspent (BIP 64); served by Bitcoin XT with NODE_GETUTXO."""

    name = "BTC getutxos"
    msgtype = "getutxos"
    bip, since, status = "64", 70004, HISTORIC
    answered_by = ("utxos",)
    fields_desc = [
        ByteField("check_mempool", 0),
        CompactSizeField("outpoints_count", None, count_of="outpoints"),
        PartListField("outpoints", BTCOutPoint),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        count = v["outpoints_count"]
        return f"{count} {plural(count, 'outpoint')}{', also in the mempool' if v['check_mempool'] else ''}"


class BTCUnspentOutput(BTCPacket):
    """An output that is unspent; `height` 0x7fffffff means that its transaction is in the mempool (BIP 64)."""

    name = "BTC unspent output"
    fields_desc = [LEIntField("tx_version", 0), LEIntField("height", 0), PartField("output", BTCTxOut)]


class BTCUTXOs(BTCMessage):
    """The unspent outputs among those asked for (BIP 64).

    `bitmap` has one bit for each outpoint of the request, least significant first; `results` an entry for each set bit.
    """

    name = "BTC utxos"
    msgtype = "utxos"
    bip, since, status = "64", 70004, HISTORIC
    fields_desc = [
        LEIntField("height", 0),
        HashField("tip"),
        CompactSizeField("bitmap_length", None, length_of="bitmap"),
        BytesField("bitmap", b""),
        CompactSizeField("results_count", None, count_of="results"),
        PartListField("results", BTCUnspentOutput),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['results_count']} unspent at height {v['height']}"
