# SPDX-License-Identifier: GPL-2.0-or-later
"""Which message answers which request, where more than the name and an echoed field decides."""

from __future__ import annotations

from typing import Any

import pytest

from scapy_btc.all import (
    BTC,
    BTCAncPkgInfo,
    BTCBlock,
    BTCBlockHeader,
    BTCBlockTxn,
    BTCCmpctBlock,
    BTCDandelionTx,
    BTCGetBlockTxn,
    BTCGetData,
    BTCGetPkgTxns,
    BTCInvVector,
    BTCMerkleBlock,
    BTCNotFound,
    BTCPkgTxns,
    BTCTemplate,
    BTCTx,
    BTCTxIn,
    BTCTxOut,
)
from scapy_btc.messages import transactions

TX = BTCTx(inputs=[BTCTxIn()], outputs=[BTCTxOut(value=1)], witness=[[b"\1"]])
HEADER = BTCBlockHeader(nonce=9)
HASH = HEADER.block_hash
OTHER = "12" * 32


def getdata(*hashes: str) -> BTCGetData:
    return BTCGetData(inventory=[BTCInvVector(type=1, hash=found) for found in hashes])


def test_both_ids_of_the_transaction_differ() -> None:
    assert TX.txid != TX.wtxid


@pytest.mark.parametrize(("request_", "answer", "expected"), [
    (getdata(OTHER, TX.txid), TX, True),
    (getdata(TX.wtxid), TX, True),
    (getdata(OTHER), TX, False),
    (getdata(), TX, False),
    (getdata(TX.txid), BTCDandelionTx(bytes(TX)), True),
    (getdata(HASH), BTCBlock(header=HEADER), True),
    (getdata(OTHER), BTCBlock(header=HEADER), False),
    (getdata(HASH), BTCMerkleBlock(header=HEADER), True),
    (getdata(OTHER), BTCMerkleBlock(header=HEADER), False),
    (getdata(HASH), BTCCmpctBlock(header=HEADER), True),
    (getdata(OTHER), BTCCmpctBlock(header=HEADER), False),
    (getdata(HASH, OTHER), BTCNotFound(inventory=getdata(OTHER).inventory), True),
    (getdata(HASH), BTCNotFound(inventory=getdata(OTHER).inventory), False),
    (BTCGetPkgTxns(wtxids=[OTHER]), BTCNotFound(inventory=[BTCInvVector(type=6, hash=HASH)]), True),
    (BTCGetPkgTxns(wtxids=[OTHER]), BTCPkgTxns(), True),
    (getdata(OTHER), BTCAncPkgInfo(wtxids=[OTHER]), True),
    (BTCCmpctBlock(header=HEADER), BTCGetBlockTxn(block_hash=HASH), True),
    (BTCCmpctBlock(header=HEADER), BTCGetBlockTxn(block_hash=OTHER), False),
    (BTCTemplate(header=HEADER), BTCGetBlockTxn(block_hash=HASH), True),
    (BTCGetBlockTxn(block_hash=HASH), BTCBlockTxn(block_hash=HASH), True),
    (BTCGetBlockTxn(block_hash=HASH), BTCBlockTxn(block_hash=OTHER), False),
    (BTCGetBlockTxn(block_hash=HASH), BTCBlock(header=HEADER), True),
    (BTCGetBlockTxn(block_hash=OTHER), BTCBlock(header=HEADER), False),
])
def test_answers(request_: Any, answer: Any, expected: bool) -> None:
    assert bool(answer.answers(request_)) is expected
    from_wire = BTC(bytes(BTC() / answer)), BTC(bytes(BTC() / request_))
    assert bool(from_wire[0].answers(from_wire[1])) is expected


def test_the_ids_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = transactions.txid_of
    monkeypatch.setattr(transactions, "txid_of", lambda *given: calls.append(1) or original(*given))
    assert TX.answers(getdata(*[OTHER] * 1000)) == 0
    assert len(calls) == 1
