# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages of BIPs that were closed before anybody deployed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import ByteField, EnumField, LEIntField

from ..layers.fields import CompactSizeField, FixedBytesField, HashField, OptionalField, RestField, TailField
from ..layers.parts import PartField, PartListField
from ..layers.rarefields import Base128Field, FixedTextField
from ..layers.registry import NEVER, BTCMessage
from ..layers.values import HashListField
from ..protocol import MAX_LOCATOR_SZ, PROTOCOL_VERSION
from ..text import plural
from .parts import BTCOutPoint
from .transactions import TransactionMessage


class BTCDandelionTx(TransactionMessage):
    """A transaction on its stem, which one peer hands to one other (BIP 156)."""

    name = "BTC dandeliontx"
    msgtype = "dandeliontx"
    bip, status = "156", NEVER


class BTCEncInit(BTCMessage):
    """Offers encryption: an ephemeral public key, and the cipher to use (BIP 151)."""

    name = "BTC encinit"
    msgtype = "encinit"
    bip, status = "151", NEVER
    before_verack = None
    answered_by = ("encack",)
    fields_desc = [
        FixedBytesField("public_key", bytes(33), 33),
        EnumField("cipher", 0, {0: "chacha20-poly1305@openssh.com"}, "b"),
    ]


class BTCEncAck(BTCMessage):
    """Accepts encryption with a public key of its own; all zeros ask for new keys (BIP 151)."""

    name = "BTC encack"
    msgtype = "encack"
    bip, status = "151", NEVER
    before_verack = None
    fields_desc = [FixedBytesField("public_key", bytes(33), 33)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return "" if v["public_key"].strip("0") else "new keys"


class _Challenge(BTCMessage):
    bip, status = "150", NEVER
    before_verack = None
    fields_desc = [HashField("hash")]


class BTCAuthChallenge(_Challenge):
    """Asks the peer to prove its identity (BIP 150); the name is too long for a v1 header."""

    name = "BTC authchallenge"
    msgtype = "authchallenge"
    answered_by = ("authreply",)


class BTCAuthReply(BTCMessage):
    """Proves an identity, or with 64 zeros that it is not the one asked for (BIP 150)."""

    name = "BTC authreply"
    msgtype = "authreply"
    bip, status = "150", NEVER
    before_verack = None
    answered_by = ("authpropose",)
    fields_desc = [FixedBytesField("signature", bytes(64), 64)]


class BTCAuthPropose(_Challenge):
    """Asks to be challenged in turn (BIP 150)."""

    name = "BTC authpropose"
    msgtype = "authpropose"
    answered_by = ("authchallenge",)


class BTCGetOutputs(BTCMessage):
    """Asks for the outputs that pay to an address (BIP 33)."""

    name = "BTC getoutputs"
    msgtype = "getoutputs"
    bip, status = "33", NEVER
    answered_by = ("outputs",)
    fields_desc = [ByteField("payment_type", 0), FixedBytesField("address_hash", bytes(16), 16)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"of {v['address_hash']}"


class BTCOutputs(BTCMessage):
    """The outputs that pay to an address (BIP 33)."""

    name = "BTC outputs"
    msgtype = "outputs"
    bip, status = "33", NEVER
    echoes = ("payment_type", "address_hash")
    fields_desc = [
        ByteField("payment_type", 0),
        FixedBytesField("address_hash", bytes(16), 16),
        CompactSizeField("outpoints_count", None, count_of="outpoints"),
        PartListField("outpoints", BTCOutPoint),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['outpoints_count']} of {v['address_hash']}"


class BTCGetSpend(BTCMessage):
    """Asks which input spends an output (BIP 33)."""

    name = "BTC getspend"
    msgtype = "getspend"
    bip, status = "33", NEVER
    answered_by = ("spend",)
    fields_desc = [PartField("outpoint", BTCOutPoint)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"of {v['outpoint']['hash']}:{v['outpoint']['index']}"


class BTCSpend(BTCMessage):
    """Which input spends an output; it is named like an output, by transaction and index (BIP 33)."""

    name = "BTC spend"
    msgtype = "spend"
    bip, status = "33", NEVER
    echoes = ("outpoint",)
    fields_desc = [PartField("outpoint", BTCOutPoint), PartField("spending_input", BTCOutPoint)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return "{hash}:{index} by ".format(**v["outpoint"]) + "{hash}:{index}".format(**v["spending_input"])


class BTCGetFraud(BTCMessage):
    """Asks for a proof that blocks of a chain are invalid (BIP 180)."""

    name = "BTC getfraud"
    msgtype = "getfraud"
    bip, status = "180", NEVER
    answered_by = ("fraud",)
    fields_desc = [
        LEIntField("version", PROTOCOL_VERSION),
        CompactSizeField("locator_count", None, count_of="locator", limit=MAX_LOCATOR_SZ),
        HashListField("locator"),
    ]


class BTCFraud(BTCMessage):
    """The verdict on the newest block of the locator that was checked; empty when none is known (BIP 180).

    `type_code` is 0 for a valid block, 1 when there is no proof, 2 with a proof of excessive size.
    """

    name = "BTC fraud"
    msgtype = "fraud"
    bip, status = "180", NEVER
    fields_desc = [
        TailField(HashField("block_hash", None)),
        OptionalField(Base128Field("type_code", None), "block_hash is not None"),
        OptionalField(RestField("proof", None), "type_code == 2"),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        if "block_hash" not in v:
            return "no such block"
        verdict = {0: "valid", 1: "no proof", 2: "too large"}.get(v["type_code"], f"code {v['type_code']}")
        return f"{v['block_hash']}: {verdict}"


class BTCCustomService(BTCMessage):
    """A message of a service that anybody may define, whose name begins with an underscore (BIP 36)."""

    name = "BTC custom service message"
    msgtype = "_*"
    bip, status = "36", NEVER
    fields_desc = [FixedTextField("sub_command", bytes(12), 12), RestField("data")]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        size = len(payload) - 12
        return f"{v['sub_command']}, {size} {plural(size, 'byte')}"
