# SPDX-License-Identifier: GPL-2.0-or-later
"""Field types that only transactions and headers need: amounts, scripts, the compact target, the witness."""

from __future__ import annotations

from typing import Any

from scapy.fields import LEIntField, LESignedLongField
from scapy.packet import NoPayload, Packet

from ..chain.proof_of_work import difficulty
from ..chain.script import address, disassemble
from ..networks import Network, by_magic
from ..protocol import COIN
from .envelope import default_network
from .fields import BytesField, OptionalField


def network_of(pkt: Packet | None) -> Network | None:
    """The network of the envelope around a packet; None where there is none or its magic is unknown."""
    while pkt is not None and not isinstance(pkt, NoPayload):
        if isinstance(magic := pkt.fields.get("magic"), bytes):
            found = by_magic(magic)
            return found[0] if found else None
        pkt = pkt.parent or pkt.underlayer
    return None


def coins(satoshi: int) -> str:
    """An amount as people write it: "0.5 BTC"."""
    sign, satoshi = ("-" if satoshi < 0 else ""), abs(satoshi)
    whole, rest = divmod(satoshi, COIN)
    return f"{sign}{whole}.{rest:08d}".rstrip("0").rstrip(".") + " BTC"


class AmountField(LESignedLongField):
    """Satoshi, i64 little-endian."""

    def i2repr(self, pkt: Any, x: Any) -> str:
        return f"{x} ({coins(x)})" if isinstance(x, int) else repr(x)


class BitsField(LEIntField):
    """The compact form of a target, u32 little-endian, shown with the difficulty it means."""

    def i2repr(self, pkt: Any, x: Any) -> str:
        return f"{x:#010x} (difficulty {difficulty(x):.8g})" if isinstance(x, int) else repr(x)


class ScriptField(BytesField):
    """A script, shown disassembled."""

    def i2repr(self, pkt: Any, x: Any) -> str:
        return disassemble(x) if isinstance(x, bytes) else repr(x)


class OutputScriptField(ScriptField):
    """A scriptPubKey, shown disassembled and with its address on the packet's network."""

    def i2repr(self, pkt: Any, x: Any) -> str:
        if not isinstance(x, bytes):
            return repr(x)
        paid = address(x, network_of(pkt) or default_network())
        return disassemble(x) + (f" ({paid})" if paid else "")


class SegwitField(OptionalField):
    """A field of the extended form of a transaction (BIP 144): there when there is a witness, or when set.

    :param written: what None stands for when there is a witness
    """

    __slots__ = ["written"]

    def __init__(self, fld: Any, condition: str, written: int | None = None) -> None:
        OptionalField.__init__(self, fld, condition)
        name = fld.name
        self.cond = lambda pkt: pkt.getfieldval(name) not in (None, [])
        self.written = written

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        if val is None and pkt.getfieldval("witness"):
            val = self.written
        return OptionalField.addfield(self, pkt, s, val)
