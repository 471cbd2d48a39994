# SPDX-License-Identifier: GPL-2.0-or-later
"""The record format, its schema, and the selection of messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from scapy_btc.capture.message import Message, StreamEvent
from scapy_btc.capture.records import event_record, message_record
from scapy_btc.capture.schema import record_schema
from scapy_btc.capture.select import Selection
from scapy_btc.layers.registry import messages
from scapy_btc.networks import MAINNET, by_name
from scapy_btc.text import format_time
from scapy_btc.wire.events import Frame
from scapy_btc.wire.hashes import checksum, hex_hash

VECTORS = Path(__file__).parent.parent / "vectors" / "messages"
SECOND = 10**9


def message(msgtype: str, payload: bytes, network: str = "mainnet", **changes: Any) -> Message:
    found = by_name(network)
    frame = Frame(found.magic, msgtype.encode(), msgtype.encode().ljust(12, b"\0"), len(payload), checksum(payload),
                  payload, 0, 24 + len(payload), "ok")
    values: dict[str, Any] = {
        "time_ns": 1_352_000_000 * SECOND + 5, "source": "1.2.3.4:8333", "destination": "[::1]:50000", "connection": 3,
        "network": found, "transport": "v1", "msgtype": msgtype, "payload": payload, "checksum": "ok",
        "frames": (7, 9), "frame": frame}
    return Message(**{**values, **changes})


def known_answers() -> list[tuple[str, dict[str, Any]]]:
    return [(file.stem, row) for file in sorted(VECTORS.glob("*.json")) if ".fields." not in file.name
            for row in json.loads(file.read_text()) if "payload" in row]


def test_a_record_is_what_the_documentation_says() -> None:
    record = message_record(message("ping", bytes(7) + b"\x80"))
    assert record == {
        "time": "2012-11-04T03:33:20.000000005Z", "frame": 9, "connection": 3, "source": "1.2.3.4:8333",
        "destination": "[::1]:50000", "network": "mainnet", "transport": "v1", "msgtype": "ping", "size": 8,
        "checksum": "ok", "findings": [], "fields": {"nonce": 0x80 << 56}}
    assert list(record) == ["time", "frame", "connection", "source", "destination", "network", "transport", "msgtype",
                            "size", "checksum", "findings", "fields"]


def test_shown_shortly() -> None:
    assert repr(message("ping", bytes(8))) == (
        "<Message 2012-11-04 03:33:20.000000005 1.2.3.4:8333 > [::1]:50000 ping, 8 bytes>")
    assert repr(message("", b"1", source="node", destination="", checksum="bad")) == (
        "<Message 2012-11-04 03:33:20.000000005 node (no name), 1 byte, bad checksum>")
    event = StreamEvent("gap", 1_000, SECOND, 0, "1.2.3.4:8333", "[::1]:50000", "never captured", (1, 2))
    assert repr(event) == (
        "<StreamEvent 1970-01-01 00:00:01.000000000 1.2.3.4:8333 > [::1]:50000 gap: 1,000 bytes, never captured>")
    nowhere = StreamEvent("skipped", 1, 0, None, None, None, "", (1, 1))
    assert repr(nowhere) == "<StreamEvent 1970-01-01 00:00:00.000000000 skipped: 1 byte>"
    assert repr(by_name("regtest")) == "<Network regtest>"


def test_fields_and_payload_come_and_go() -> None:
    ping = message("ping", bytes(8))
    assert "fields" not in message_record(ping, fields=False)
    assert message_record(ping, payload=True)["payload"] == "00" * 8
    assert message_record(ping, fields=False, payload=True)["payload"] == "00" * 8


def test_what_cannot_be_read_keeps_its_bytes() -> None:
    unknown = message_record(message("whatever", b"\1\2"))
    assert (unknown["findings"], unknown["payload"], "fields" in unknown) == (["unknown-message"], "0102", False)
    broken = message_record(message("sendcmpct", b"\1\2"))
    assert (broken["findings"], broken["fields"], broken["payload"]) == (["malformed"], {"announce": 1}, "0102")


def test_derived_values() -> None:
    tx = next(row for name, row in known_answers() if name == "tx" and row["name"] == "witness, key hash")
    payload = bytes.fromhex(tx["payload"])
    assert message_record(message("tx", payload))["derived"] == {k: tx["derived"][k] for k in ("txid", "wtxid")}
    everything = message_record(message("tx", payload, "testnet3"), derived=True)["derived"]
    assert everything["outputs"][0]["script_type"]
    assert all("script_text" in output for output in everything["outputs"])


def test_times_out_of_range_are_numbers() -> None:
    assert format_time(-1) == "1969-12-31T23:59:59.999999999Z"
    assert format_time(2**63 * SECOND) == f"{2**63}.000000000Z"


def test_every_known_answer_fits_the_schema() -> None:
    schema = record_schema()
    Draft202012Validator.check_schema(schema)
    # one validator for each message: the whole schema tries all of them on every record
    by_type = {branch["if"]["properties"]["msgtype"]["const"]: Draft202012Validator(branch["then"])
               for branch in schema["oneOf"][0]["allOf"]}
    whole = Draft202012Validator(schema)
    seen = set()
    for name, row in known_answers():
        record = json.loads(orjson.dumps(message_record(message(name, bytes.fromhex(row["payload"])))))
        if name in by_type and "malformed" not in record["findings"]:
            by_type[name].validate(record)
            if name not in seen:
                whole.validate(record)
            seen.add(name)
    assert seen >= {cls.msgtype for cls in messages() if not cls.msgtype.endswith("*")}


def test_the_schema_refuses_what_is_no_record() -> None:
    whole = Draft202012Validator(record_schema())
    good = message_record(message("ping", bytes(8)))
    assert whole.is_valid(good)
    assert not whole.is_valid({**good, "fields": {"nonce": "0"}})
    assert not whole.is_valid({**good, "fields": {"nonce": 0, "more": 1}})
    assert not whole.is_valid({**good, "size": None})


def test_an_event_is_a_line_without_msgtype() -> None:
    event = StreamEvent("gap", 1448, SECOND, 2, "1.2.3.4:1", "1.2.3.4:2", "never captured", (4, 5))
    record = event_record(event)
    assert record["event"] == "gap" and record["bytes"] == 1448 and "msgtype" not in record
    assert Draft202012Validator(record_schema()).is_valid(record)


@pytest.mark.parametrize(("filters", "wanted"), [
    ({}, True),
    ({"msgtypes": frozenset({"ping"})}, True),
    ({"msgtypes": frozenset({"pong"})}, False),
    ({"peers": frozenset({"1.2.3.4"})}, True),
    ({"peers": frozenset({"1.2.3.4:8333"})}, True),
    ({"peers": frozenset({"1.2.3.4:8334"})}, False),
    ({"peers": frozenset({"::1"})}, True),
    ({"peers": frozenset({"[::1]:50000"})}, True),
    ({"peers": frozenset({"1.2.3.5"})}, False),
    ({"connections": frozenset({3})}, True),
    ({"connections": frozenset({4})}, False),
    ({"since": 1_352_000_000 * SECOND + 5}, True),
    ({"since": 1_352_000_000 * SECOND + 6}, False),
    ({"until": 1_352_000_000 * SECOND + 5}, False),
    ({"until": 1_352_000_000 * SECOND + 6}, True),
    ({"msgtypes": frozenset({"ping"}), "connections": frozenset({4})}, False),
    ({"transactions": {bytes(32)}}, False),
])
def test_selection(filters: dict[str, Any], wanted: bool) -> None:
    assert Selection(**filters)(message("ping", bytes(8))) is wanted


def test_following_learns_the_other_id_of_a_transaction() -> None:
    tx = next(row for name, row in known_answers() if name == "tx" and row["name"] == "witness, key hash")
    txid, wtxid = hex_hash(tx["derived"]["txid"]), hex_hash(tx["derived"]["wtxid"])
    follow = Selection(transactions={txid})
    by_wtxid = message("inv", b"\1\5\0\0\0" + wtxid)
    assert not follow(by_wtxid)
    assert follow(message("tx", bytes.fromhex(tx["payload"])))
    assert follow(by_wtxid)


def test_following_looks_into_broken_messages() -> None:
    broken = message("tx", b"\1\0\0\0\2" + b"\7" * 32, network=MAINNET.name)
    assert Selection(transactions={b"\7" * 32})(broken)
    assert not Selection(transactions={b"\6" * 32})(broken)
