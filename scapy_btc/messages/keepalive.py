# SPDX-License-Identifier: GPL-2.0-or-later
"""Are you still there?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import LELongField

from ..layers.fields import TailField
from ..layers.registry import BTCMessage


class BTCPing(BTCMessage):
    """Asks for a `pong` with the same nonce; without a nonce (before 60001) it wants no answer (BIP 31)."""

    name = "BTC ping"
    msgtype = "ping"
    short_id = 18
    bip = "31"
    answered_by = ("pong",)
    fields_desc = [TailField(LELongField("nonce", 0))]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['nonce']:#018x}" if "nonce" in v else "without nonce"


class BTCPong(BTCMessage):
    """The answer to a `ping` (BIP 31)."""

    name = "BTC pong"
    msgtype = "pong"
    short_id = 19
    bip, since = "31", 60001
    echoes = ("nonce",)
    fields_desc = [LELongField("nonce", 0)]

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        return f"{v['nonce']:#018x}"
