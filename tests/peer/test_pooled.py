# SPDX-License-Identifier: GPL-2.0-or-later
"""What the memory pool takes and refuses, and what of it survives a new block. Reasons are Bitcoin Core's words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random

import pytest
from served import ANYONE, NOW, spend, spend_of

from scapy_btc.all import BTCOutPoint, BTCTx, BTCTxIn, BTCTxOut
from scapy_btc.errors import Rejected
from scapy_btc.peer.block_store import BlockStore
from scapy_btc.peer.mempool import Mempool
from scapy_btc.peer.serving import mined_store
from scapy_btc.peer.transaction import Tx
from scapy_btc.wire.hashes import hash_hex


@pytest.fixture
def store() -> BlockStore:
    return mined_store(105, NOW, random=Random(1))


def tx(message: BTCTx) -> Tx:
    return Tx(bytes(message))


def changed(message: BTCTx, change: Callable[[BTCTx], object]) -> BTCTx:
    change(message)
    return BTCTx(bytes(message))


def locked(message: BTCTx, lock_time: int, sequence: int = 0xFFFFFFFE) -> BTCTx:
    message.lock_time, message.inputs[0].sequence = lock_time, sequence
    return BTCTx(bytes(message))


REFUSED: list[tuple[str, Callable[[BlockStore], BTCTx]]] = [
    ("bad-txns-inputs-missingorspent", lambda store: spend_of("ab" * 32, [1])),
    ("bad-txns-inputs-missingorspent", lambda store: changed(
        spend(store, 1), lambda m: setattr(m.inputs[0].previous_output, "index", 1))),
    ("bad-txns-premature-spend-of-coinbase", lambda store: spend(store, 7)),
    ("bad-txns-in-belowout", lambda store: spend(store, 1, fee=-1)),
    ("bad-txns-vout-empty", lambda store: BTCTx(inputs=spend(store, 1).inputs, outputs=[])),
    ("bad-txns-vin-empty", lambda store: BTCTx(inputs=[], outputs=[])),
    ("bad-txns-vout-toolarge", lambda store: changed(spend(store, 1), lambda m: setattr(m.outputs[0], "value", -1))),
    ("bad-txns-vout-toolarge", lambda store: changed(
        spend(store, 1), lambda m: setattr(m.outputs[0], "value", 21_000_001 * 10**8))),
    ("bad-txns-inputs-duplicate", lambda store: BTCTx(inputs=[spend(store, 1).inputs[0]] * 2, outputs=[BTCTxOut()])),
    ("bad-txns-inputs-missingorspent", lambda store: BTCTx(
        inputs=[BTCTxIn(previous_output=BTCOutPoint(index=0xFFFFFFFF))], outputs=[BTCTxOut()])),
    ("tx-size", lambda store: spend(store, 1, script=bytes(100_000))),
    ("non-final", lambda store: locked(spend(store, 1), 106)),
    ("non-final", lambda store: locked(spend(store, 1), store.median_time)),
]


@pytest.mark.parametrize(("reason", "made"), REFUSED, ids=[f"{n} {row[0]}" for n, row in enumerate(REFUSED)])
def test_what_is_refused(store: BlockStore, reason: str, made: Callable[[BlockStore], BTCTx]) -> None:
    pool = Mempool(store)
    with pytest.raises(Rejected) as error:
        pool.add(tx(made(store)))
    assert error.value.reason == reason and len(pool) == 0


@pytest.mark.parametrize("made", [
    lambda store: spend(store, 6), lambda store: spend(store, 1, fee=0), lambda store: locked(spend(store, 1), 105),
    lambda store: locked(spend(store, 1), store.median_time - 1),
    lambda store: locked(spend(store, 1), 10**6, sequence=0xFFFFFFFF),
    lambda store: spend(store, 1, script=bytes(99_000)),
])
def test_what_is_taken(store: BlockStore, made: Callable[[BlockStore], BTCTx]) -> None:
    assert Mempool(store).add(tx(made(store)))


def test_the_second_of_two_that_spend_the_same_is_refused(store: BlockStore) -> None:
    pool = Mempool(store)
    entry = pool.add(tx(spend(store, 1)))
    assert pool.get(entry.tx.txid) is pool.get(entry.tx.wtxid) is entry
    other = spend(store, 1, fee=9)
    for again, reason in ((spend(store, 1), "txn-already-in-mempool"), (other, "txn-mempool-conflict")):
        with pytest.raises(Rejected) as error:
            pool.add(tx(again))
        assert error.value.reason == reason


def test_fees(store: BlockStore) -> None:
    entry = Mempool(store).add(tx(spend(store, 1, fee=1_000)))
    # 51 bytes around, 43 of the output, all times four; 2 + 3 bytes of marker, flag and witness
    assert (entry.fee, entry.vsize) == (1_000, 96) and entry.fee_rate == 10_416


def test_chains_of_transactions_survive_and_go_together(store: BlockStore) -> None:
    pool = Mempool(store)
    first = spend(store, 1, outputs=2)
    second = spend_of(first.txid, [1_000])
    third = spend_of(second.txid, [900])
    for each in (first, second, third):
        pool.add(tx(each))
    unrelated = pool.add(tx(spend(store, 2)))
    assert [entry.tx.txid for entry in pool.for_block()] == [tx(each).txid for each in (first, second, third)] + [
        unrelated.tx.txid]
    rival = store.copy()
    alone = Mempool(rival)
    alone.add(tx(spend(store, 1, fee=5)))  # spends the same as the first
    change = rival.mine(ANYONE, NOW + 1, list(alone))
    store.add(change.connected[0].payload)
    pool.follow((), {each.txid for each in change.connected[0].transactions()})
    assert [entry.tx.txid for entry in pool] == [unrelated.tx.txid]


def test_what_was_in_blocks_that_are_none_any_more_comes_back(store: BlockStore) -> None:
    pool = Mempool(store)
    first = spend(store, 1, outputs=2)
    pool.add(tx(first))
    rival = store.copy()
    confirmed = store.mine(ANYONE, NOW + 1, list(pool)).connected[0].transactions()
    pool.follow((), {each.txid for each in confirmed})
    pool.add(tx(spend_of(first.txid, [5])))
    assert len(pool) == 1
    for extra in (b"1", b"2"):
        rival.mine(ANYONE, NOW + 2, extra=extra)
        change = store.add(rival.tip.payload)
    assert change is not None
    pool.follow((each for block in reversed(change.disconnected) for each in block.transactions()), ())
    assert [entry.tx.txid for entry in pool] == [tx(first).txid, tx(spend_of(first.txid, [5])).txid]


def test_a_block_takes_what_fits(store: BlockStore) -> None:
    while store.height < 112:
        store.mine(ANYONE, NOW)
    pool = Mempool(store)
    large = [pool.add(tx(spend(store, height, script=bytes(99_000)))) for height in range(1, 12)]
    small = pool.add(tx(spend(store, 12)))
    pool.add(tx(spend_of(hash_hex(large[-1].tx.txid), [1])))  # which cannot come without what it spends
    chosen = pool.for_block()
    assert chosen == [*large[:10], small] and sum(entry.tx.weight for entry in chosen) <= 4_000_000 - 8_000


def test_its_size_is_bounded(store: BlockStore) -> None:
    for pool in (Mempool(store, max_count=2), Mempool(store, max_bytes=250)):
        pool.add(tx(spend(store, 1)))
        pool.add(tx(spend(store, 2)))
        with pytest.raises(Rejected) as error:
            pool.add(tx(spend(store, 3)))
        assert error.value.reason == "mempool full"


def test_a_child_of_many_outputs_costs_what_it_is_long(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, read = Mempool(store), BTCTxOut.plan.starts
    parent = tx(spend(store, 1, outputs=3_000, script=b"\x51"))
    pool.add(parent)
    txid, calls = hash_hex(parent.txid), count()
    child = tx(BTCTx(inputs=[BTCTxIn(previous_output=BTCOutPoint(hash=txid, index=number)) for number in range(2_000)],
                     outputs=[BTCTxOut(value=1)]))
    monkeypatch.setattr(BTCTxOut.plan, "starts", lambda *place: (next(calls), read(*place))[1])
    assert pool.add(child).fee == 2_000 * (4_999_990_000 // 3_000) - 1
    assert next(calls) < 10_000  # outputs read: those of the parent once, and one for each input
    for missing in (3_000, 2**32 - 1):
        with pytest.raises(Rejected, match="missingorspent"):
            pool.add(tx(spend_of(txid, [1], missing)))
