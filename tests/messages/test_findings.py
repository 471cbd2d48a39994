# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of real payloads, and of the same payloads broken in one place each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from scapy_btc.messages.findings import FINDINGS, Severity, examine, severity
from scapy_btc.messages.following import mentions_block, transactions_in, tx_ids_in
from scapy_btc.networks import MAINNET, REGTEST
from scapy_btc.wire.hashes import hex_hash, sha256d

VECTORS = Path(__file__).parent.parent / "vectors" / "messages"


def vector(msgtype: str, name: str) -> bytes:
    """The payload of a known answer."""
    for row in json.loads((VECTORS / f"{msgtype}.json").read_text()):
        if row["name"] == name:
            if "payload_file" in row:
                return gzip.decompress((VECTORS / row["payload_file"]).read_bytes())
            return bytes.fromhex(row["payload"])
    raise KeyError(name)


BLOCK = vector("block", "mainnet 482683")
LEGACY = vector("block", "mainnet 1")
WITHOUT_WITNESS = vector("block", "testnet3, coinbase only, without witness")
PROOF = vector("merkleblock", "position 4 of 7")
WITNESS_TX = vector("tx", "witness, key hash")


def changed(data: bytes, position: int, bit: int = 1) -> bytes:
    return data[:position] + bytes([data[position] ^ bit]) + data[position + 1:]


@pytest.mark.parametrize("msgtype", [
    "block", "tx", "merkleblock", "cmpctblock", "headers", "blocktxn", "inv", "version",
])
def test_what_others_published_is_found_to_be_right(msgtype: str) -> None:
    seen = 0
    for row in json.loads((VECTORS / f"{msgtype}.json").read_text()):
        if not row["published"] or row.get("verdict") or "malformed" in row.get("note", ""):
            continue
        seen += 1
        payload = vector(msgtype, row["name"])
        wrong = {code for code in examine(msgtype, payload) if severity(code) == Severity.ERROR}
        # btcd's and libbitcoin's tests hold made-up headers and amounts next to real ones
        assert wrong <= {"bad-proof-of-work", "not-continuous", "bad-partial-merkle-tree", "bad-amount"}, row["name"]
        if "recorded" in row["source"] or "developer.bitcoin.org" in row["source"]:
            assert not wrong, row["name"]
    assert seen


def test_a_changed_transaction_breaks_the_merkle_root() -> None:
    assert examine("block", BLOCK) == []
    start = list(transactions_in("block", BLOCK))[5][0]
    assert examine("block", changed(BLOCK, start)) == ["bad-merkle-root", "bad-witness-commitment"]


def test_a_changed_header_breaks_the_proof_of_work() -> None:
    assert "bad-proof-of-work" in examine("block", changed(BLOCK, 76))
    assert examine("block", LEGACY, MAINNET) == []


def test_a_target_above_the_limit_of_the_network() -> None:
    regtest = vector("block", "genesis of regtest")
    assert examine("block", regtest, REGTEST) == []
    assert examine("block", regtest, MAINNET) == ["bad-proof-of-work"]


def test_a_changed_witness_breaks_the_commitment_only() -> None:
    for start, *_, end in list(transactions_in("block", BLOCK))[1:]:
        if BLOCK[start + 4] == 0:
            # the last byte before the lock time belongs to the last witness item
            assert examine("block", changed(BLOCK, end - 5)) == ["bad-witness-commitment"]
            return
    raise AssertionError("the block has no witness")


def test_a_block_asked_for_without_witnesses_is_not_accused() -> None:
    assert examine("block", WITHOUT_WITNESS) == []


def test_a_repeated_transaction() -> None:
    places = list(transactions_in("block", LEGACY))
    tx = LEGACY[places[0][0]:places[0][-1]]
    root = sha256d(sha256d(tx) * 2)
    twice = LEGACY[:36] + root + LEGACY[68:80] + b"\2" + tx * 2
    assert examine("block", twice) == ["bad-proof-of-work", "mutated-merkle-tree"]


def test_a_changed_proof() -> None:
    assert examine("merkleblock", PROOF) == []
    assert examine("merkleblock", changed(PROOF, 90)) == ["bad-partial-merkle-tree"]
    assert examine("merkleblock", PROOF[:-1] + b"\xff") == ["bad-partial-merkle-tree"]


def test_headers_that_do_not_follow_each_other() -> None:
    three = vector("headers", "mainnet 900000 to 900002")
    assert examine("headers", three, MAINNET) == []
    swapped = three[:1] + three[82:163] + three[1:82] + three[163:]
    assert examine("headers", swapped) == ["not-continuous"]


def test_encodings() -> None:
    assert examine("ping", bytes(8)) == []
    assert examine("ping", bytes(9)) == ["trailing-bytes"]
    assert examine("ping", bytes(3)) == ["malformed"]
    assert examine("inv", b"\xfd\x01\x00" + bytes(36)) == ["non-minimal-size"]
    assert examine("inv", b"\xfd\x51\xc3" + bytes(36 * 50001)) == ["over-limit"]
    assert examine("inv", b"\xff" * 9) == ["malformed"]
    assert examine("never-heard-of", b"") == ["unknown-message"]


def test_transactions() -> None:
    assert examine("tx", WITNESS_TX) == []
    assert examine("tx", vector("tx", "no witness in the extended form")) == ["superfluous-witness"]
    assert examine("tx", vector("tx", "flag 2")) == ["unknown-transaction-data"]
    assert examine("tx", vector("tx", "value -1, version ffffffff")) == ["bad-amount"]


def test_every_code_has_a_meaning() -> None:
    assert all(found.meaning and not found.meaning.endswith(".") for found in FINDINGS.values())


def test_a_transaction_is_followed_by_either_id() -> None:
    row = next(r for r in json.loads((VECTORS / "tx.json").read_text()) if r["name"] == "witness, key hash")
    txid, wtxid = (hex_hash(row["derived"][name]) for name in ("txid", "wtxid"))
    assert txid != wtxid
    assert tx_ids_in("tx", WITNESS_TX, {txid}) == tx_ids_in("tx", WITNESS_TX, {wtxid}) == {txid, wtxid}
    assert tx_ids_in("inv", b"\1\1\0\0\0" + txid, {txid}) == {txid}
    assert tx_ids_in("inv", b"\1\1\0\0\0" + txid, {bytes(31) + b"x"}) == set()


def test_a_transaction_is_found_by_its_short_id() -> None:
    row = next(r for r in json.loads((VECTORS / "cmpctblock.json").read_text())
               if r["name"] == "short id of the genesis coinbase")
    wtxid = hex_hash("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b")
    assert tx_ids_in("cmpctblock", bytes.fromhex(row["payload"]), {wtxid}) == {wtxid}


def test_a_block_is_followed_by_hash_and_by_header() -> None:
    block_hash = sha256d(BLOCK[:80])
    assert mentions_block("block", BLOCK, {block_hash})
    assert not mentions_block("block", LEGACY, {block_hash})
    assert mentions_block("headers", b"\1" + BLOCK[:80] + b"\0", {block_hash})
    assert mentions_block("inv", b"\1\2\0\0\0" + block_hash, {block_hash})
