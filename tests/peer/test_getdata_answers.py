# SPDX-License-Identifier: GPL-2.0-or-later
"""What answers a `getdata`: real blocks and proofs, and such as were tampered with."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from scapy_btc.all import BTCBlock, BTCCmpctBlock, BTCMerkleBlock, BTCNotFound, BTCPing, BTCTx
from scapy_btc.errors import NotFound, PeerError
from scapy_btc.peer.answers import Answers
from scapy_btc.peer.transaction import Tx
from scapy_btc.protocol import InvType

VECTORS = Path(__file__).parent.parent / "vectors" / "messages"
SEGWIT = gzip.decompress((VECTORS / "block-mainnet-482683.bin.gz").read_bytes())
SEGWIT_HASH = "000000000000000000c238240ef6dcb26c37e75e16514e6ffc0aef7eee73e747"
PLAIN = gzip.decompress((VECTORS / "block-mainnet-898352.bin.gz").read_bytes())
PLAIN_HASH = "00000000c269ad542ed9ac684cb5fa6df340d5feee0e040590225c7332b98fca"


def vector(msgtype: str, name: str) -> Any:
    cls = {"cmpctblock": BTCCmpctBlock, "merkleblock": BTCMerkleBlock}[msgtype]
    entries = json.loads((VECTORS / f"{msgtype}.json").read_text())
    return cls(bytes.fromhex(next(entry["payload"] for entry in entries if entry["name"] == name)))


def transactions() -> list[BTCTx]:
    """Those of the block with witnesses, as messages."""
    return [BTCTx(bytes(tx)) for tx in BTCBlock(SEGWIT).transactions]


def stripped(tx: BTCTx) -> BTCTx:
    return BTCTx(Tx(bytes(tx)).stripped)


def test_the_order_is_that_of_the_question() -> None:
    coinbase, first, second, *_ = transactions()
    answers = Answers([("MSG_WTX", second.wtxid), (InvType.MSG_WITNESS_BLOCK, SEGWIT_HASH),
                       (InvType.MSG_TX, bytes.fromhex(first.txid)[::-1])])
    assert [(v.type, v.hash) for v in answers.request.inventory] == [
        (5, second.wtxid), (0x40000002, SEGWIT_HASH), (1, first.txid)]
    assert not answers.take(BTCPing()) and not answers.take(coinbase)
    assert answers.take(first) and not answers.take(first)
    assert (answers.next, answers.wait_for_block) == (second.wtxid, False)
    assert answers.take(second)
    assert (answers.next, answers.wait_for_block, answers.complete) == (SEGWIT_HASH, True, False)
    assert answers.take(BTCBlock(SEGWIT)) and answers.complete
    assert [m.msgtype for m in answers.found] == ["tx", "block", "tx"] and answers.found[0].txid == second.txid


def test_the_same_twice() -> None:
    tx = transactions()[1]
    answers = Answers([("MSG_TX", tx.txid)] * 2)
    assert answers.take(tx) and not answers.complete and answers.take(tx) and answers.complete


def test_a_transaction_by_either_id() -> None:
    coinbase = transactions()[0]
    assert coinbase.txid != coinbase.wtxid
    by_txid, by_wtxid = Answers([("MSG_WITNESS_TX", coinbase.txid)]), Answers([("MSG_WTX", coinbase.wtxid)])
    assert not by_wtxid.take(stripped(coinbase)) and by_txid.take(stripped(coinbase))
    assert by_wtxid.take(coinbase)
    assert not Answers([("MSG_WTX", coinbase.txid)]).take(coinbase)


def test_not_found() -> None:
    answers = Answers([("MSG_TX", "ab" * 32), ("MSG_TX", "cd" * 32)])
    other = BTCNotFound(inventory=[Answers([("MSG_TX", "ef" * 32)]).request.inventory[0],
                                   Answers([("MSG_BLOCK", "ab" * 32)]).request.inventory[0]])
    assert not answers.take(other)
    with pytest.raises(NotFound, match=f"^the peer does not have {'cd' * 32}$"):
        answers.take(BTCNotFound(inventory=[Answers([("MSG_WITNESS_TX", "cd" * 32)]).request.inventory[0]]))


def test_types_whose_answers_are_not_known() -> None:
    with pytest.raises(ValueError, match="MSG_PKGTXNS"):
        Answers([("MSG_PKGTXNS", "ab" * 32)])
    with pytest.raises(ValueError, match="no inventory type is named"):
        Answers([("MSG_NONSENSE", "ab" * 32)])


def test_blocks_that_are_not_what_their_hash_says() -> None:
    assert not Answers([("MSG_BLOCK", "ab" * 32)]).take(BTCBlock(PLAIN))
    assert Answers([("MSG_WITNESS_BLOCK", PLAIN_HASH)]).take(BTCBlock(PLAIN))  # no witness, and none is missing
    tampered = BTCBlock(PLAIN[:-1] + bytes([PLAIN[-1] ^ 1]))
    for kind in ("MSG_BLOCK", "MSG_WITNESS_BLOCK", "MSG_CMPCT_BLOCK"):
        with pytest.raises(PeerError, match=f"^block {PLAIN_HASH}: the merkle root does not fit"):
            Answers([(kind, PLAIN_HASH)]).take(tampered)
    repeated = BTCBlock(PLAIN[:80] + b"\x0c" + PLAIN[81:] + b"".join(
        bytes(tx) for tx in BTCBlock(PLAIN).transactions[-2:]))  # CVE-2012-2459
    with pytest.raises(PeerError, match="block"):
        Answers([("MSG_BLOCK", PLAIN_HASH)]).take(repeated)


def test_witnesses() -> None:
    bare = BTCBlock(SEGWIT)
    bare.transactions = [stripped(tx) for tx in transactions()]
    bare = BTCBlock(bytes(bare))
    assert bare.block_hash == SEGWIT_HASH and len(bytes(bare)) < len(SEGWIT)
    for kind in ("MSG_BLOCK", "MSG_WITNESS_BLOCK"):  # mainnet has blocks that commit to witnesses and have none
        assert Answers([(kind, SEGWIT_HASH)]).take(bare)
    other = BTCBlock(SEGWIT)
    number = next(n for n, tx in enumerate(other.transactions) if n and tx.flag)
    stack = other.transactions[number].witness[0]
    stack.items = [b"other"] * len(stack.items)
    with pytest.raises(PeerError, match="the witness commitment does not hold"):
        Answers([("MSG_WITNESS_BLOCK", SEGWIT_HASH)]).take(BTCBlock(bytes(other)))


def test_a_compact_block_or_a_whole_one() -> None:
    compact = vector("cmpctblock", "mainnet 898352")
    for message in (compact, BTCBlock(PLAIN)):
        answers = Answers([("MSG_CMPCT_BLOCK", PLAIN_HASH)])
        assert answers.take(message) and answers.found == [message]
    assert not Answers([("MSG_BLOCK", PLAIN_HASH)]).take(compact)


def test_a_filtered_block_and_what_it_proves() -> None:
    """The proof of developer.bitcoin.org: one of seven transactions matches."""
    proof = vector("merkleblock", "position 4 of 7")
    answers = Answers([("MSG_FILTERED_BLOCK", proof.block_hash), ("MSG_FILTERED_BLOCK", "ab" * 32)])
    assert answers.take(proof)
    [txid] = [key[1].hex() for key in answers._open if key[0] == 0]
    assert txid == "019f5b01d4195ecbc9398fbf3c3b1fa9bb3183301d7a1fb3bd174fcfa40a2b65"
    assert not answers.take(transactions()[1]) and not answers.complete


def test_a_filtered_block_with_its_transactions() -> None:
    from scapy_btc.chain.partial_merkle import build
    block = BTCBlock(SEGWIT)
    ids = [bytes.fromhex(txid)[::-1] for txid in block.txids()]
    hashes, flags = build(ids, [number in (1, 4) for number in range(len(ids))])
    proof = BTCMerkleBlock(header=block.header, total_transactions=len(ids), hashes=hashes, flags=flags)
    answers = Answers([("MSG_FILTERED_BLOCK", SEGWIT_HASH), ("MSG_TX", transactions()[2].txid)])
    all_of_it = transactions()
    for message, taken in [(all_of_it[1], False), (proof, True), (all_of_it[4], True), (all_of_it[3], False),
                           (all_of_it[2], True), (all_of_it[1], True)]:
        assert answers.take(message) is taken
    assert answers.complete
    assert answers.found == [proof, all_of_it[4], all_of_it[1], all_of_it[2]]


@pytest.mark.parametrize(("change", "text"), [
    ({"flags": b"\0"}, "no proof"), ({"total_transactions": 0}, "no proof"), ({"total_transactions": 100}, "no proof"),
    ({"hashes": []}, "no proof"), ({"hashes": [bytes(32)] * 4}, "no proof"),
    ({"hashes": [bytes([number] * 32) for number in range(4)]}, "not one for its header"),
])
def test_false_proofs(change: dict[str, Any], text: str) -> None:
    proof = vector("merkleblock", "position 4 of 7")
    answers = Answers([("MSG_FILTERED_BLOCK", proof.block_hash)])
    for name, value in change.items():
        setattr(proof, name, value)
    proof.hashes_count = proof.flags_length = None
    with pytest.raises(PeerError, match=f"^block {proof.block_hash}: .*({text})"):
        answers.take(BTCMerkleBlock(bytes(proof)))
    assert not answers.complete
