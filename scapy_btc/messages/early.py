# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages of Bitcoin 0.1: paying to an IP address, and the marketplace that was never finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import EnumField, LEIntField, LESignedIntField, SignedByteField

from ..layers.fields import BytesField, CompactSizeField, HashField, OptionalField, RestField, TailField, TimeField
from ..layers.packet import BTCPacket
from ..layers.parts import PartField, PartListField
from ..layers.registry import HISTORIC, BTCMessage
from ..layers.txfields import OutputScriptField
from ..layers.values import HashListField
from .parts import BTCKeyValue, BTCNetAddr
from .transactions import BTCTx

REPLY_CODES = {0: "ok", 1: "failure", 2: "denied"}


class BTCMerkleTx(BTCPacket):
    """A transaction with the merkle branch that leads from it to its block."""

    name = "BTC merkle transaction"
    fields_desc = [
        PartField("transaction", BTCTx),
        HashField("block_hash"),
        CompactSizeField("merkle_branch_count", None, count_of="merkle_branch"),
        HashListField("merkle_branch"),
        LESignedIntField("position_in_block", -1),
    ]


class BTCWalletTx(BTCPacket):
    """A transaction as the wallet of 0.1 kept it, with what the payer wants to say in `order_form`."""

    name = "BTC wallet transaction"
    fields_desc = [
        *BTCMerkleTx.fields_desc,
        CompactSizeField("previous_transactions_count", None, count_of="previous_transactions"),
        PartListField("previous_transactions", BTCMerkleTx),
        CompactSizeField("map_count", None, count_of="map"),
        PartListField("map", BTCKeyValue),
        CompactSizeField("order_form_count", None, count_of="order_form"),
        PartListField("order_form", BTCKeyValue),
        LEIntField("f_time_received_is_tx_time", 0),
        TimeField("time_received", 0),
        SignedByteField("f_from_me", 0),
        SignedByteField("f_spent", 0),
    ]


class _Order(BTCMessage):
    status = HISTORIC
    answered_by = ("reply",)
    fields_desc = [HashField("hash_reply"), PartField("order", BTCWalletTx)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return ", ".join(f"{pair['key']}: {pair['value']}" for pair in v["order"]["order_form"][:3])


class BTCCheckOrder(_Order):
    """Asks a payee, by IP address, for the script to pay to; `hash_reply` ties the answer to it."""

    name = "BTC checkorder"
    msgtype = "checkorder"


class BTCSubmitOrder(_Order):
    """Sends the payee the finished transaction."""

    name = "BTC submitorder"
    msgtype = "submitorder"


class BTCReply(BTCMessage):
    """Answers `checkorder`, with the script to pay to, and `submitorder`, without."""

    name = "BTC reply"
    msgtype = "reply"
    status = HISTORIC
    echoes = ("hash_reply",)
    fields_desc = [
        HashField("hash_reply"),
        EnumField("code", 0, REPLY_CODES, "<i"),
        TailField(CompactSizeField("script_length", None, length_of="script")),
        OptionalField(OutputScriptField("script", None), "script_length is not None"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        answer = REPLY_CODES.get(v["code"], f"code {v['code']}")
        return f"{answer}, script {v['script']}" if v.get("script") else answer


class BTCReview(BTCMessage):
    """A signed review of a product of the marketplace."""

    name = "BTC review"
    msgtype = "review"
    status = HISTORIC
    fields_desc = [
        LESignedIntField("version", 1),
        HashField("hash"),
        CompactSizeField("map_count", None, count_of="map"),
        PartListField("map", BTCKeyValue),
        CompactSizeField("public_key_length", None, length_of="public_key"),
        BytesField("public_key", b""),
        CompactSizeField("signature_length", None, length_of="signature"),
        BytesField("signature", b""),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"of {v['hash']}"


class BTCProduct(BTCMessage):
    """A signed offer in the marketplace."""

    name = "BTC product"
    msgtype = "product"
    status = HISTORIC
    fields_desc = [
        LESignedIntField("version", 1),
        PartField("address", BTCNetAddr),
        CompactSizeField("map_count", None, count_of="map"),
        PartListField("map", BTCKeyValue),
        CompactSizeField("details_count", None, count_of="details"),
        PartListField("details", BTCKeyValue),
        CompactSizeField("order_form_count", None, count_of="order_form"),
        PartListField("order_form", BTCKeyValue),
        LEIntField("sequence", 0),
        CompactSizeField("public_key_length", None, length_of="public_key"),
        BytesField("public_key", b""),
        CompactSizeField("signature_length", None, length_of="signature"),
        BytesField("signature", b""),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return ", ".join(f"{pair['key']}: {pair['value']}" for pair in v["map"][:3])


class _Channel(BTCMessage):
    status = HISTORIC

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"channel {v['channel']}"


class BTCSubscribe(_Channel):
    """Asks for what is published on a channel."""

    name = "BTC subscribe"
    msgtype = "subscribe"
    fields_desc = [LEIntField("channel", 0), LEIntField("hops", 0)]


class BTCSubCancel(_Channel):
    """Ends a subscription."""

    name = "BTC sub-cancel"
    msgtype = "sub-cancel"
    fields_desc = [LEIntField("channel", 0)]


class BTCPublish(_Channel):
    """Publishes an object, of any form, on a channel."""

    name = "BTC publish"
    msgtype = "publish"
    fields_desc = [LEIntField("channel", 0), LEIntField("hops", 0), RestField("object")]


class BTCPubCancel(_Channel):
    """Withdraws an object from a channel."""

    name = "BTC pub-cancel"
    msgtype = "pub-cancel"
    fields_desc = [LEIntField("channel", 0), LEIntField("hops", 0), HashField("hash")]
