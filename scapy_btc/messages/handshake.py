# SPDX-License-Identifier: GPL-2.0-or-later
"""Setting up a connection: `version`, `verack`, and what two nodes agree on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from scapy.fields import ByteField, LEIntField, LELongField, LESignedIntField, LESignedLongField

from ..layers.fields import (
    BytesField,
    CompactSizeField,
    LongTimeField,
    OptionalField,
    ServicesField,
    TailField,
    TextField,
)
from ..layers.parts import PartField
from ..layers.registry import NEVER, OPTIONAL, PROPOSED, BTCMessage
from ..protocol import (
    MAX_FEATUREDATA_LENGTH,
    MAX_FEATUREID_LENGTH,
    MAX_SUBVERSION_LENGTH,
    PROTOCOL_VERSION,
    service_names,
)
from .parts import BTCNetAddr


class NowField(LongTimeField):
    """The time of building where it is None."""

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return LESignedLongField.addfield(self, pkt, s, int(time.time()) if val is None else val)


class BTCVersion(BTCMessage):
    """The first message of each side: who I am, what I speak and offer.

    The tail is optional: older nodes end after `receiver_address`, `nonce`, `user_agent` or `start_height`.
    """

    name = "BTC version"
    msgtype = "version"
    answered_by = ("version", "verack", "reject")
    fields_desc = [
        LESignedIntField("version", PROTOCOL_VERSION),
        ServicesField("services", 0),
        NowField("timestamp", None),
        PartField("receiver_address", BTCNetAddr),
        TailField(PartField("sender_address", BTCNetAddr)),
        OptionalField(LELongField("nonce", 0), "sender_address is not None"),
        TailField(CompactSizeField("user_agent_length", None, length_of="user_agent", limit=MAX_SUBVERSION_LENGTH)),
        OptionalField(TextField("user_agent", b"/scapy_btc/"), "user_agent_length is not None"),
        TailField(LESignedIntField("start_height", 0)),
        TailField(ByteField("relay", 1)),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        services = "|".join(service_names(v["services"])) or "no services"
        agent = f" {v['user_agent']}" if "user_agent" in v else ""
        height = f", height {v['start_height']}" if "start_height" in v else ""
        return f"{v['version']}{agent} {services}{height}{', no relay' if v.get('relay') == 0 else ''}"


class BTCVerack(BTCMessage):
    """The peer's `version` was accepted."""

    name = "BTC verack"
    msgtype = "verack"
    since = 209


class BTCWtxidRelay(BTCMessage):
    """Announce transactions to me by wtxid; before `verack` only (BIP 339)."""

    name = "BTC wtxidrelay"
    msgtype = "wtxidrelay"
    before_verack = True
    bip, since = "339", 70016


class BTCSendAddrV2(BTCMessage):
    """Send me addresses as `addrv2`; before `verack` only (BIP 155)."""

    name = "BTC sendaddrv2"
    msgtype = "sendaddrv2"
    before_verack = True
    bip, since = "155", 70016


class BTCSendTxRcncl(BTCMessage):
    """Offers transaction reconciliation, with the sender's half of the salt; before `verack` only (BIP 330)."""

    name = "BTC sendtxrcncl"
    msgtype = "sendtxrcncl"
    before_verack = True
    bip, status = "330", OPTIONAL
    fields_desc = [LEIntField("version", 1), LELongField("salt", 0)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"version {v['version']}, salt {v['salt']:#x}"


class BTCFeature(BTCMessage):
    """Announces one optional feature by name; before `verack` only (BIP 434)."""

    name = "BTC feature"
    msgtype = "feature"
    before_verack = True
    short_id = 37
    bip, since = "434", 70017
    fields_desc = [
        CompactSizeField("featureid_length", None, length_of="featureid", limit=MAX_FEATUREID_LENGTH),
        TextField("featureid", b"BIP434"),
        CompactSizeField("featuredata_length", None, length_of="featuredata", limit=MAX_FEATUREDATA_LENGTH),
        BytesField("featuredata", b""),
    ]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['featureid']} {v['featuredata']}".rstrip()


class BTCSendPackages(BTCMessage):
    """Offers package relay; before `verack` only (BIP 331)."""

    name = "BTC sendpackages"
    msgtype = "sendpackages"
    before_verack = True
    bip, status = "331", PROPOSED
    fields_desc = [LELongField("versions", 3)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['versions']:#x}"


class BTCDisableTx(BTCMessage):
    """No transactions on this connection, ever; before `verack` only (BIP 338, closed)."""

    name = "BTC disabletx"
    msgtype = "disabletx"
    before_verack = True
    bip, since, status = "338", 70017, NEVER


class BTCSendHeaders(BTCMessage):
    """Announce new blocks to me with `headers` (BIP 130)."""

    name = "BTC sendheaders"
    msgtype = "sendheaders"
    before_verack = None
    bip, since = "130", 70012


class BTCSendCmpct(BTCMessage):
    """How I want blocks announced: `announce` 1 asks for unsolicited compact blocks (BIP 152)."""

    name = "BTC sendcmpct"
    msgtype = "sendcmpct"
    before_verack = None
    short_id = 20
    bip, since = "152", 70014
    fields_desc = [ByteField("announce", 0), LELongField("version", 2)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"version {v['version']}, {'high' if v['announce'] else 'low'} bandwidth"


class BTCFeeFilter(BTCMessage):
    """Do not announce transactions that pay less, in satoshi per 1000 virtual bytes (BIP 133)."""

    name = "BTC feefilter"
    msgtype = "feefilter"
    short_id = 5
    bip, since = "133", 70013
    fields_desc = [LESignedLongField("feerate", 1000)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['feerate']} sat/kvB"
