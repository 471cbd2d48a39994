# SPDX-License-Identifier: GPL-2.0-or-later
"""The known answers themselves: well formed, made of their fields to the last byte, ids as python-bitcoinlib's."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from bitcoin.core import CBlock, CBlockHeader, CTransaction, b2lx

VECTORS = Path(__file__).parent / "vectors"
MESSAGES = VECTORS / "messages"
MAGICS = {
    "mainnet": "f9beb4d9",
    "testnet3": "0b110907",
    "testnet4": "1c163f28",
    "signet": "0a03cf40",
    "regtest": "fabfb5da",
}
KEYS = {
    *("name", "source", "published", "network", "payload", "payload_file", "message", "fields", "fields_file"),
    *("trailing", "widths", "derived", "verdict", "note"),
}

_spec = importlib.util.spec_from_file_location("independent_encoder", VECTORS / "independent_encoder.py")
assert _spec is not None and _spec.loader is not None
encoder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(encoder)


def load(path: Path) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return vectors


def payload_of(vector: dict[str, Any]) -> bytes:
    if "payload_file" in vector:
        return gzip.decompress((MESSAGES / vector["payload_file"]).read_bytes())
    return bytes.fromhex(vector["payload"])


def with_fields(vector: dict[str, Any]) -> dict[str, Any]:
    if "fields_file" in vector:
        return {**vector, "fields": json.loads(gzip.decompress((MESSAGES / vector["fields_file"]).read_bytes()))}
    return vector


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


ALL = [(p.stem, v) for p in sorted(MESSAGES.glob("*.json")) for v in load(p)]


def those(wanted: Callable[[dict[str, Any]], bool] = lambda v: True) -> pytest.MarkDecorator:
    """Parametrizes a test with the vectors that are wanted."""
    chosen = [(m, v) for m, v in ALL if wanted(v)]
    return pytest.mark.parametrize(("msgtype", "vector"), chosen, ids=[f"{m}: {v['name']}" for m, v in chosen])


def test_every_message_has_a_file_and_every_file_an_encoder() -> None:
    assert {p.stem for p in MESSAGES.glob("*.json")} == set(encoder.ENCODERS)
    assert all(load(p) for p in MESSAGES.glob("*.json"))


def test_no_file_is_left_over() -> None:
    named = {v[k] for p in MESSAGES.glob("*.json") for v in load(p) for k in ("payload_file", "fields_file") if k in v}
    assert {p.name for p in MESSAGES.glob("*.gz")} == named


@pytest.mark.parametrize("path", sorted(MESSAGES.glob("*.json")), ids=lambda p: p.stem)
def test_names_are_unique(path: Path) -> None:
    names = [v["name"] for v in load(path)]
    assert len(set(names)) == len(names)


@those()
def test_form(msgtype: str, vector: dict[str, Any]) -> None:
    assert set(vector) <= KEYS
    assert {"name", "source", "network"} <= set(vector) and isinstance(vector["published"], bool)
    assert vector["network"] in MAGICS
    assert ("payload" in vector) != ("payload_file" in vector)
    malformed = vector.get("verdict") == "malformed"
    assert [k in vector for k in ("fields", "fields_file")].count(True) == (0 if malformed else 1)
    assert vector.get("verdict") in (None, "malformed", "invalid", "nonminimal", "trailing")
    assert ("widths" in vector) == (vector.get("verdict") == "nonminimal")
    assert ("trailing" in vector) == (vector.get("verdict") == "trailing")
    assert "note" in vector or vector.get("verdict") != "invalid"


@those(lambda v: "message" in v)
def test_message_is_header_and_payload(msgtype: str, vector: dict[str, Any]) -> None:
    payload = payload_of(vector)
    header = bytes.fromhex(MAGICS[vector["network"]]) + msgtype.encode().ljust(12, b"\0")
    header += len(payload).to_bytes(4, "little") + sha256d(payload)[:4]
    assert vector["message"] == (header + payload).hex()


@those(lambda v: v.get("verdict") != "malformed")
def test_fields_account_for_every_byte(msgtype: str, vector: dict[str, Any]) -> None:
    assert encoder.encode(msgtype, with_fields(vector)) == payload_of(vector)


def test_writing_the_unpublished_anew_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in MESSAGES.glob("*.json"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(encoder, "HERE", tmp_path)
    encoder.main()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        p.name: p.read_bytes() for p in MESSAGES.glob("*.json")
    }


@those(lambda v: "derived" in v)
def test_ids_as_python_bitcoinlib_has_them(msgtype: str, vector: dict[str, Any]) -> None:
    derived, payload = vector["derived"], payload_of(vector)
    if "wtxid" in derived:
        tx = CTransaction.deserialize(payload[: len(payload) - len(vector.get("trailing", "")) // 2])
        assert (derived["txid"], derived["wtxid"]) == (b2lx(tx.GetTxid()), b2lx(tx.GetHash()))
    if "block_hash" in derived:
        assert derived["block_hash"] == b2lx(CBlockHeader.deserialize(payload[:80]).GetHash())
    if "block_hashes" in derived:
        headers = (payload[n : n + 80] for n in range(1, len(payload), 81))
        assert derived["block_hashes"] == [b2lx(CBlockHeader.deserialize(h).GetHash()) for h in headers]
    if "txids" in derived:
        assert derived["txids"] == [b2lx(tx.GetTxid()) for tx in CBlock.deserialize(payload).vtx]


@those(lambda v: "tip_hash" in v.get("derived", {}))
def test_stale_headers_lead_to_the_tip(msgtype: str, vector: dict[str, Any]) -> None:
    payload = payload_of(vector)
    tip = payload[:32]
    for n in range(33, len(payload) - 1, 48):
        tip = sha256d(payload[n : n + 4] + tip + payload[n + 4 : n + 48])
    assert b2lx(tip) == vector["derived"]["tip_hash"]


@those(lambda v: "indexes" in v.get("derived", {}))
def test_absolute_indexes(msgtype: str, vector: dict[str, Any]) -> None:
    assert vector["derived"]["indexes"] == [n + k for n, k in enumerate(accumulate(vector["fields"]["indexes"]))]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        *((0, "00"), (252, "fc"), (253, "fdfd00"), (65535, "fdffff"), (65536, "fe00000100"), (2**32 - 1, "feffffffff")),
        *((2**32, "ff0000000001000000"), ((5, 3), "fd0500"), ((5, 5), "fe05000000"), ((5, 9), "ff0500000000000000")),
    ],
)
def test_compact_size_of_the_encoder(number: int | tuple[int, int], expected: str) -> None:
    assert encoder.compact(number).hex() == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "00"), (127, "7f"), (128, "8000"), (255, "807f"), (16383, "fe7f"), (16511, "ff7f"), (0x1234, "a334")],
)
def test_varint_of_the_encoder(number: int, expected: str) -> None:
    assert encoder.varint(number).hex() == expected


def test_text_of_the_encoder() -> None:
    assert encoder.text("a\\xff\u00e9\\x41") == b"a\xff\xc3\xa9\\x41"


def test_the_encoder_shares_nothing_with_the_package() -> None:
    source = (VECTORS / "independent_encoder.py").read_text("utf-8")
    assert "scapy" not in source and "bitcoin." not in source
    imports = {line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert {name.split(".")[0] for name in imports} <= set(sys.stdlib_module_names)
