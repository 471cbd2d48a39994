# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding out what bytes are, and showing them."""

from __future__ import annotations

from typing import Any

from ..capture.records import fields_of
from ..errors import FormatError
from ..layers.envelope import BTC, dissected, starts_message
from ..layers.plan import BROKEN
from ..layers.registry import lookup
from ..messages.enrich import enrich
from ..messages.findings import FINDINGS, examine
from ..messages.parts import BTCBlockHeader
from ..networks import Network, by_magic
from ..wire.hashes import checksum

HEADER = "header"


def kind_of(data: bytes) -> str:
    """What bytes are: "message", "header", "block" or "tx". Raises FormatError when they are none of these."""
    if len(data) >= 20 and by_magic(data[:4]) and starts_message(data):
        return "message"
    if len(data) == 80:
        return HEADER
    for name in ("tx", "block"):
        cls = lookup(name)
        try:
            if cls and cls.plan.end(data, 0, len(data), []) == len(data):
                return name
        except BROKEN:
            continue
    raise FormatError(f"{len(data)} bytes that are no message, transaction, block or header; "
                      "--as says what they are meant to be")


def decode_piece(data: bytes, kind: str | None, network: Network | None, form: str) -> str:
    """Text or JSON of one piece. Raises FormatError for bytes that nothing can be made of."""
    kind = kind or kind_of(data)
    if kind == HEADER:
        packet: Any = BTCBlockHeader(data)
        packet_bytes, findings, derived = data, [], {"block_hash": packet.block_hash}
        fields: Any = BTCBlockHeader.plan.record(packet_bytes, 0, len(data))[0]
        msgtype = HEADER
    else:
        if kind == "message":
            packet = BTC(data)
            if not isinstance(packet, BTC):
                raise FormatError(packet.reason)
            msgtype = packet.msgtype if isinstance(packet.msgtype, str) else packet.msgtype.hex()
            start = len(packet.self_build())
            payload = data[start:start + packet.length]
            found = by_magic(packet.magic)
            network = network or (found[0] if found else None)
        else:
            cls = lookup(kind)
            if cls is None:
                raise FormatError(f"no message is called {kind!r}; see scapy-btc messages")
            msgtype, payload = kind, data
            packet = BTC(magic=network, msgtype=kind) / dissected(cls, data)
        findings = examine(msgtype, payload, network)
        if kind == "message" and packet.checksum not in (b"", checksum(payload)):
            findings.insert(0, "bad-checksum")
        fields = fields_of(msgtype, payload)
        known = lookup(msgtype)
        derived = {}
        if known and fields is not None and "malformed" not in findings:
            derived = {**known.derive(payload), **enrich(known, payload, fields, network)}
    if form == "json":
        import orjson
        record = {"msgtype": msgtype, "size": len(data), "findings": findings, "fields": fields, "derived": derived}
        return orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()
    lines = [str(packet.show(dump=True)).rstrip("\n")]
    lines += [f"  {name:<10}= {value}" for name, value in derived.items() if isinstance(value, (str, int, float))]
    lines += [f"! {code}: {FINDINGS[code].meaning}" for code in findings]
    return "\n".join(lines)
