# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding out what bytes are, and showing them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..capture.records import fields_of
from ..errors import FormatError
from ..layers.envelope import BTC, dissected, has_old_header, starts_message
from ..layers.plan import BROKEN
from ..layers.registry import lookup
from ..layers.undecoded import BTCMalformed
from ..messages.enrich import enrich
from ..messages.findings import FINDINGS, examine
from ..messages.parts import BTCBlockHeader
from ..networks import Network, by_magic
from ..wire.hashes import checksum
from ..wire.header import HEADER_SIZE, OLD_HEADER_SIZE
from .options import suggestion

HEADER = "header"
WINDOW = 2048
"""Bytes that tell which header a message has: `version` had fewer when it could be the old one."""


def kind_of(data: bytes) -> str:
    """What bytes are: "message", "header", "block" or "tx". Raises FormatError when they are none of these."""
    if len(data) >= OLD_HEADER_SIZE and by_magic(data[:4]) and starts_message(data):
        return "message"
    if len(data) == 80:
        return HEADER
    guesses = []
    for name in ("tx", "block"):
        cls = lookup(name)
        assert cls is not None
        try:
            end = cls.plan.end(data, 0, len(data), [])
            if end == len(data):
                return name
            guesses.append((end, f"as {name}: ends at byte {end} of {len(data)}"))
        except BROKEN:
            error, _ = cls.plan.failure(data, 0, len(data))
            guesses.append((error.offset or 0, f"as {name}: {error}"))
    if len(data) >= HEADER_SIZE and starts_message(data):  # of a network that nobody registered
        return "message"
    best = max(guesses)[1]
    if by_magic(data[:4]):
        best = f"as message: {len(data)} of {HEADER_SIZE} header bytes, or no name and length as they must be"
    raise FormatError(f"{len(data)} bytes that are no message, transaction, block or header ({best}); "
                      "--as says what they are meant to be")


def glued(data: bytes, kind: str | None) -> Iterator[bytes]:
    """The messages that stand one after the other in a piece; the piece itself where it is anything else."""
    start = 0
    while kind in (None, "message") and starts_known(data, start):
        size = OLD_HEADER_SIZE if has_old_header(data[start:start + WINDOW]) else HEADER_SIZE
        end = start + size + int.from_bytes(data[start + 16:start + 20], "little")
        if not starts_known(data, end):
            break
        yield data[start:end]
        start = end
    yield data[start:]


def starts_known(data: bytes, start: int) -> bool:
    """Whether a message of a known network starts there."""
    return bool(by_magic(data[start:start + 4])) and starts_message(data[start:start + WINDOW])


def decode_piece(data: bytes, kind: str | None, network: Network | None, form: str) -> tuple[str, bool]:
    """Text or JSON of one piece, and whether it could be read to its end.

    Raises FormatError for bytes that nothing can be made of.
    """
    kind = kind or kind_of(data)
    if kind == HEADER:
        packet: Any = BTCBlockHeader(data)
        packet_bytes, findings, derived = data, [], {"block_hash": packet.block_hash}
        fields: Any = BTCBlockHeader.plan.record(packet_bytes, 0, len(data))[0]
        msgtype, readable = HEADER, True
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
            readable = not isinstance(packet.payload, BTCMalformed)
        else:
            cls = lookup(kind)
            if cls is None:
                raise FormatError(f"no message is called {kind!r}{suggestion(kind) or '; see scapy-btc messages'}")
            msgtype, payload = kind, data
            packet = dissected(cls, data)
            readable = not isinstance(packet, BTCMalformed)
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
        return orjson.dumps(record, option=orjson.OPT_INDENT_2).decode(), readable
    lines = [str(packet.show(dump=True)).rstrip("\n")]
    lines += [f"  {name:<10}= {value}" for name, value in derived.items() if isinstance(value, (str, int, float))]
    lines += [f"! {code}: {FINDINGS[code].meaning}" for code in findings]
    return "\n".join(lines), readable
