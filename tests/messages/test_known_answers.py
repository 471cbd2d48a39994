# SPDX-License-Identifier: GPL-2.0-or-later
"""Every vector of `tests/vectors/messages`: read to the expected values, rebuilt, broken in every way."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scapy.config import conf
from scapy.packet import NoPayload, Packet, Raw

import scapy_btc.all as everything
from scapy_btc.all import BTC, BTCAddr, BTCBlock, BTCCmpctBlock, BTCHeaders, BTCMalformed, BTCMessage, BTCTrailing
from scapy_btc.chain.short_ids import absolute_indexes, short_id, short_id_key
from scapy_btc.layers.envelope import dissected
from scapy_btc.layers.fields import HashField, LegacyIPField, TextField
from scapy_btc.layers.plan import inner
from scapy_btc.layers.rarefields import FixedTextField
from scapy_btc.layers.registry import lookup
from scapy_btc.layers.values import HashListField, TextListField
from scapy_btc.messages.parts import BIP155AddressField
from scapy_btc.networks import by_name
from scapy_btc.wire.compactsize import encode
from scapy_btc.wire.hashes import hash_hex

FOLDER = Path(__file__).parent.parent / "vectors" / "messages"
LONG = 2_000
"""Payloads above this many bytes are cut at a sample of places only."""


class Vector(NamedTuple):
    msgtype: str
    name: str
    network: str
    payload: bytes
    fields: dict[str, Any]
    rest: dict[str, Any]

    @property
    def cls(self) -> type[BTCMessage]:
        found = lookup(self.msgtype)
        assert found is not None
        return found

    @property
    def trailing(self) -> bytes:
        return bytes.fromhex(self.rest.get("trailing", ""))

    @property
    def end(self) -> int:
        """Where the last field ends."""
        return len(self.payload) - len(self.trailing)

    def size(self, name: str) -> int:
        """Bytes of one of its CompactSizes."""
        return int(self.rest.get("widths", {}).get(name) or len(encode(self.fields[name])))


def unzipped(name: str) -> bytes:
    return gzip.decompress((FOLDER / name).read_bytes())


def vectors() -> Iterator[Vector]:
    for path in sorted(FOLDER.glob("*.json")):
        for rest in json.loads(path.read_text(encoding="utf-8")):
            payload = unzipped(rest["payload_file"]) if "payload_file" in rest else bytes.fromhex(rest["payload"])
            fields = json.loads(unzipped(rest["fields_file"])) if "fields_file" in rest else rest.get("fields", {})
            yield Vector(path.stem, rest["name"], rest["network"], payload, fields, rest)


ALL = list(vectors())
BROKEN = [vector for vector in ALL if vector.rest.get("verdict") == "malformed"]
READABLE = [vector for vector in ALL if vector.rest.get("verdict") != "malformed"]


def each(chosen: list[Vector]) -> Any:
    return pytest.mark.parametrize("vector", chosen, ids=lambda vector: f"{vector.msgtype}: {vector.name}")


def message(vector: Vector, payload: bytes) -> bytes:
    """A payload behind a v1 header that was not made by the package."""
    digest = hashlib.sha256(hashlib.sha256(payload).digest()).digest()
    name = vector.msgtype.encode().ljust(12, b"\0")
    return by_name(vector.network).magic + name + len(payload).to_bytes(4, "little") + digest[:4] + payload


def layer(vector: Vector, payload: bytes) -> Packet:
    """What a payload is dissected to, inside its message; the message gives back all bytes and has no `Raw`."""
    if len(vector.msgtype) > 12:  # authchallenge fits no v1 header
        alone = dissected(vector.cls, payload)
        assert bytes(alone) == payload
        return alone
    raw = message(vector, payload)
    packet = BTC(raw)
    assert bytes(packet) == raw
    assert not packet.haslayer(Raw)
    return packet.payload


def plain(packet: Packet) -> Any:
    """The record of a Packet, by way of its attributes."""
    there = [f for f in packet.fields_desc if f is inner(f) or f.name in packet.fields]
    values = {f.name: plain_value(inner(f), packet, packet.getfieldval(f.name)) for f in there}
    only = getattr(packet, "record_as", None)
    return values[only] if only else {name: value for name, value in values.items() if value is not None}


def plain_value(f: Any, packet: Packet, value: Any) -> Any:
    if isinstance(value, Packet):
        return plain(value)
    if isinstance(value, list):
        return [plain_value(f, packet, element) for element in value]
    if not isinstance(value, bytes):
        return value
    if isinstance(f, HashListField):
        return hash_hex(value)
    if isinstance(f, (TextField, TextListField)):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(f, FixedTextField):
        return value.rstrip(b"\0").decode()
    shown = f.i2h(packet, value) if isinstance(f, (HashField, LegacyIPField, BIP155AddressField)) else value
    return shown.hex() if isinstance(shown, bytes) else shown


@each(READABLE)
def test_record(vector: Vector) -> None:
    record, end = vector.cls.plan.record(vector.payload, 0, len(vector.payload))
    assert json.dumps(record) == json.dumps(vector.fields)  # the order of the keys too
    assert end == vector.end == vector.cls.plan.end(vector.payload, 0, len(vector.payload), [])


@each(READABLE)
def test_packet(vector: Vector) -> None:
    packet = layer(vector, vector.payload)
    assert type(packet) is vector.cls
    assert json.dumps(plain(packet)) == json.dumps(vector.fields)
    if vector.trailing:
        assert type(packet.payload) is BTCTrailing
        assert packet.payload.load == vector.trailing
    else:
        assert isinstance(packet.payload, NoPayload)


@each(READABLE)
def test_rebuilt_from_fields_alone(vector: Vector) -> None:
    packet = layer(vector, vector.payload)
    packet.clear_cache()
    assert packet.raw_packet_cache is None
    assert bytes(packet) == vector.payload


@each(READABLE)
def test_rebuilt_from_the_command(vector: Vector) -> None:
    packet = layer(vector, vector.payload)
    copied = eval(packet.command(), vars(everything))
    assert type(copied) is vector.cls
    assert bytes(copied) == vector.payload


DERIVED: dict[str, Callable[[Any], Any]] = {
    "txid": lambda p: p.txid,
    "wtxid": lambda p: p.wtxid,
    "block_hash": lambda p: p.block_hash,
    "block_hashes": lambda p: [entry.block_hash for entry in p.headers],
    "txids": lambda p: p.txids(),
    "tip_hash": lambda p: p.derive(bytes(p))["tip_hash"],
    "indexes": lambda p: absolute_indexes(p.indexes),
}


@each([vector for vector in READABLE if "derived" in vector.rest])
def test_derived(vector: Vector) -> None:
    expected = dict(vector.rest["derived"])
    packet: Any = layer(vector, vector.payload)
    if txid := expected.pop("transaction_of_short_id", None):
        assert isinstance(packet, BTCCmpctBlock)
        key = short_id_key(bytes(packet.header), packet.nonce)
        assert short_id(key, bytes.fromhex(txid)[::-1]) in packet.shortids
    assert {name: DERIVED[name](packet) for name in expected} == expected
    derived = vector.cls.derive(vector.payload)
    assert {name: expected.get(name, value) for name, value in derived.items()} == derived


def test_derived_values_are_tested() -> None:
    assert {name for vector in READABLE for name in vector.rest.get("derived", {})} >= set(DERIVED)
    assert {BTCBlock, BTCHeaders} <= {vector.cls for vector in READABLE if "derived" in vector.rest}


@each([vector for vector in ALL if "message" in vector.rest])
def test_whole_message(vector: Vector) -> None:
    raw = bytes.fromhex(vector.rest["message"])
    packet = BTC(raw)
    assert packet.msgtype == vector.msgtype
    assert packet.magic == by_name(vector.network).magic
    assert bytes(packet.payload) == vector.payload
    assert packet.right_checksum() == packet.checksum
    built = BTC(magic=vector.network, msgtype=vector.msgtype) / packet.payload.copy()
    assert bytes(built) == raw


@each([vector for vector in READABLE if "widths" in vector.rest])
def test_longer_sizes_than_needed_are_told(vector: Vector) -> None:
    notes: list[tuple[str, str]] = []
    vector.cls.plan.end(vector.payload, 0, len(vector.payload), notes)
    told = {name for code, name in notes if code == "non-minimal-size"}
    # the elements of a list of byte strings have no name of their own
    assert told == {[part for part in path.split(".") if not part.isdigit()][-1] for path in vector.rest["widths"]}


OVER_LIMIT = {("filteradd", "521 bytes"): "data_length", ("addrv2", "address of 513 bytes"): "address_length"}


@each(READABLE)
def test_lengths_over_the_limit_are_told(vector: Vector) -> None:
    notes: list[tuple[str, str]] = []
    vector.cls.plan.end(vector.payload, 0, len(vector.payload), notes)
    assert dict(notes).get("over-limit") == OVER_LIMIT.get((vector.msgtype, vector.name))


@each(BROKEN)
def test_malformed(vector: Vector) -> None:
    packet = layer(vector, vector.payload)
    assert type(packet) is BTCMalformed
    assert packet.load == vector.payload
    assert packet.reason
    assert 0 <= packet.offset <= len(vector.payload)


# Cut short. Most payloads say themselves where they end: every prefix of one is malformed.

WHOLE, TRAILING, MALFORMED = "whole", "trailing", "malformed"


def end_of_version(vector: Vector, k: int) -> str:
    if k <= 80:
        return WHOLE if k in (46, 80) else MALFORMED
    agent = 80 + vector.size("user_agent_length") + vector.fields["user_agent_length"]
    return WHOLE if k in (agent, agent + 4) else MALFORMED


def end_of_reject(vector: Vector, k: int) -> str:
    base = 3 + vector.fields["message_length"] + vector.fields["reason_length"]
    return WHOLE if k == base else TRAILING if k > base else MALFORMED


def end_of_addr(vector: Vector, k: int) -> str:
    """The entries of before 31402 have four bytes less."""
    count = vector.fields["addresses_count"]
    return WHOLE if k == vector.size("addresses_count") + 26 * count else MALFORMED


def end_of_utxotree(vector: Vector, k: int) -> str:
    return MALFORMED if k < 42 else TRAILING if (k - 42) % 32 else WHOLE


def end_of_fraud(vector: Vector, k: int) -> str:
    return WHOLE if k == 0 or (k > 32 and vector.fields["type_code"] == 2) else MALFORMED


MAY_END: dict[str, Callable[[Vector, int], str]] = {
    "version": end_of_version,
    "reject": end_of_reject,
    "addr": end_of_addr,  # how many bytes are left says which form the entries have
    "utxotree": end_of_utxotree,
    "fraud": end_of_fraud,
    "ping": lambda _, k: WHOLE if k == 0 else MALFORMED,
    "reply": lambda _, k: WHOLE if k == 36 else MALFORMED,
    "publish": lambda _, k: WHOLE if k >= 8 else MALFORMED,
    "utxoset": lambda _, k: WHOLE if k >= 36 else MALFORMED,
    "_MySampleSvc": lambda _, k: WHOLE if k >= 12 else MALFORMED,
}
"""Messages with optional tails, or with a field that goes on to the end: how a prefix of `k` bytes must be read."""


def prefixes(vector: Vector) -> list[int]:
    """Places to cut at: all, or those near both ends and some between."""
    n = vector.end
    return [k for k in range(n) if n <= LONG or k < 120 or k > n - 120 or k % (n // 40) == 0]


def verdict(packet: Packet, payload: bytes) -> str:
    if type(packet) is BTCMalformed:
        assert packet.load == payload
        assert packet.reason
        assert 0 <= packet.offset <= len(payload)
        return MALFORMED
    assert isinstance(packet, BTCMessage)
    if isinstance(packet.payload, NoPayload):
        return WHOLE
    assert type(packet.payload) is BTCTrailing
    return TRAILING


@pytest.mark.parametrize("debug", [False, True])
@each(READABLE)
def test_cut_short(vector: Vector, debug: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "debug_dissector", debug)
    expected = MAY_END.get(vector.msgtype, lambda _, k: MALFORMED)
    for k in prefixes(vector):
        packet = layer(vector, vector.payload[:k])
        assert verdict(packet, vector.payload[:k]) == expected(vector, k), f"cut after {k} bytes"
        if type(packet) is BTCMalformed and "26-byte" not in vector.name:  # cut off they look like today's entries
            for name, value in (packet.readable or {}).items():
                whole = vector.fields[name]
                assert value == (whole[:len(value)] if isinstance(value, list) else whole)


@pytest.mark.parametrize("debug", [False, True])
@each(READABLE)
def test_bytes_too_many(vector: Vector, debug: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "debug_dissector", debug)
    for extra in (b"\0", b"\xff\x01", b"\x00\x01\x02"):
        payload = vector.payload + extra
        packet = layer(vector, payload)
        found = verdict(packet, payload)
        if vector.msgtype not in MAY_END:
            assert found == TRAILING
            assert packet.payload.load == vector.trailing + extra


def test_an_addr_of_old_entries_is_told_by_its_size() -> None:
    old = BTCAddr(b"\x02" + bytes(52))
    assert [entry.timestamp if "timestamp" in entry.fields else None for entry in old.addresses] == [None, None]
