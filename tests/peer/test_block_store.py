# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks of a recorded Bitcoin Core node, and what becomes of them when something in them is wrong."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from recordings import messages_of
from served import ANYONE, NOW, spend, spend_of

from scapy_btc.all import MAINNET, REGTEST, TESTNET4, BTCBlock, BTCTx
from scapy_btc.chain.mining import MinedTx, coinbase, mine_block, mine_header, subsidy
from scapy_btc.errors import BTCError, FormatError, InvalidHeader, Rejected
from scapy_btc.peer import block_store as module
from scapy_btc.peer.block import Block
from scapy_btc.peer.block_store import BLOCK_VERSION, BlockStore
from scapy_btc.peer.fetching import UNCERTAIN
from scapy_btc.peer.serving import mined_store
from scapy_btc.peer.transaction import Tx
from scapy_btc.wire.hashes import hex_hash

RECORDED = [message.payload for message in messages_of("core-blocks")]
LATER = NOW * 2


def stored(count: int = len(RECORDED)) -> BlockStore:
    store = BlockStore(REGTEST)
    for payload in RECORDED[:count]:
        store.add(payload, LATER)
    return store


def test_the_chain_of_a_core_node() -> None:
    store = stored()
    assert store.at(0).hash == hex_hash("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206")
    assert store.height == 125 and store.tip.payload == RECORDED[-1]
    assert [store.at(height).payload for height in range(126)] == RECORDED
    # 50 coins a block until the 150th; the fees of block 124 went to nobody, as Core's generateblock collects none
    assert sum(coin.value for coin in store._coins.values()) == 125 * 50 * 10**8 - 20_000


def test_a_block_says_what_it_spends() -> None:
    store = stored()
    block = store.at(124)
    spent = [each.outpoint for tx in block.transactions()[1:] for each in tx.inputs()]
    assert block.spent is not None and len(spent) == len(block.spent) == 2
    assert all(store.coin(outpoint) is None for outpoint in spent)
    assert [stored(124).coin(outpoint) for outpoint in spent] == list(block.spent)
    assert len(block.stripped()) < len(block.payload)


def test_what_carries_data_only_cannot_be_spent() -> None:
    store = stored()
    outputs = [(tx.outpoint(index), output) for tx in store.at(124).transactions()
               for index, output in enumerate(tx.outputs())]
    assert len([1 for _, output in outputs if output.script.startswith(b"\x6a")]) == 1
    assert [outpoint for outpoint, output in outputs if store.coin(outpoint) is None] == [
        outpoint for outpoint, output in outputs if output.script.startswith(b"\x6a")]


def test_known_blocks_and_those_without_one_before() -> None:
    store = stored(50)
    assert store.add(RECORDED[20], LATER) is None
    with pytest.raises(Rejected, match="prev-blk-not-found"):
        store.add(RECORDED[51], LATER)
    with pytest.raises(InvalidHeader, match="time-too-new"):
        store.add(RECORDED[50], 1_296_688_602)
    assert store.height == 49 and store.add(RECORDED[50], LATER) is not None


# Blocks that are wrong


def mined_on(store: BlockStore, *transactions: BTCTx, fee: int = 0, height: int | None = None,
             committed: bool = True) -> bytes:
    """A block on the tip with these transactions, whatever they are.

    :param committed: whether to their witnesses
    """
    found = [MinedTx(tx.raw, tx.txid, tx.wtxid if committed else tx.txid, fee)
             for tx in map(Tx, map(bytes, transactions))]
    return mine_block(REGTEST, store.height + 1 if height is None else height, store.tip.hash, NOW + 1,
                      store.headers.required_bits(NOW + 1), ANYONE, found, b"x", BLOCK_VERSION)


def rebuilt(payload: bytes, change: Callable[[Any], None]) -> bytes:
    """A block with something changed, and mined again."""
    block = BTCBlock(payload)
    change(block)
    block.transactions_count = None
    raw = bytes(block)
    return mine_header(raw[:80]) + raw[80:]


def pay_more(block: Any) -> None:
    raw = coinbase(102, subsidy(REGTEST, 102) + 1, ANYONE)[0]
    block.transactions = [BTCTx(raw)]
    block.header.merkle_root = block.transactions[0].txid


WRONG: list[tuple[str, Callable[[BlockStore], bytes]]] = [
    ("high-hash", lambda store: without_work(mined_on(store))),
    ("bad-txnmrklroot", lambda store: rebuilt(mined_on(store, spend(store, 1)), lambda b: b.transactions.pop())),
    ("bad-txns-duplicate", lambda store: rebuilt(
        mined_on(store, spend(store, 1), spend(store, 2)), lambda b: b.transactions.append(b.transactions[2]))),
    ("bad-cb-missing", lambda store: rebuilt(mined_on(store, spend(store, 1)), lambda b: b.transactions.pop(0))),
    ("bad-cb-height", lambda store: mined_on(store, height=100)),
    ("bad-cb-amount", lambda store: rebuilt(mined_on(store), pay_more)),
    ("bad-txns-inputs-missingorspent", lambda store: mined_on(store, spend_of("ab" * 32, [1]))),
    ("bad-txns-inputs-missingorspent", lambda store: mined_on(store, spend(store, 1), spend(store, 1, fee=5))),
    ("bad-txns-premature-spend-of-coinbase", lambda store: mined_on(store, spend(store, 3))),
    ("bad-txns-in-belowout", lambda store: mined_on(store, spend(store, 1, fee=-1))),
    ("bad-blk-weight", lambda store: mined_on(store, spend(store, 1, outputs=11, script=bytes(99_000)))),
    ("bad-txns-nonfinal", lambda store: mined_on(store, locked(store, 103))),
    ("bad-witness-merkle-match", lambda store: rebuilt(
        mined_on(store, spend(store, 1)), lambda b: setattr(b.transactions[1], "witness", [[b"\x52"]]))),
    ("bad-witness-merkle-match", lambda store: Block(mined_on(store, spend(store, 1)), 102).stripped()),
    ("unexpected-witness", lambda store: mined_on(store, spend(store, 1), committed=False)),
]


def without_work(payload: bytes) -> bytes:
    for nonce in range(100):
        tried = payload[:76] + nonce.to_bytes(4, "little") + payload[80:]
        if mine_header(tried[:80]) != tried[:80]:
            return tried
    raise AssertionError


def locked(store: BlockStore, lock_time: int) -> BTCTx:
    tx = spend(store, 1)
    tx.lock_time, tx.inputs[0].sequence = lock_time, 0
    return BTCTx(bytes(tx))


@pytest.mark.parametrize(("reason", "block"), WRONG, ids=[f"{n} {row[0]}" for n, row in enumerate(WRONG)])
def test_what_is_wrong_with_a_block(reason: str, block: Callable[[BlockStore], bytes]) -> None:
    store = mined_store(101, NOW, random=Random(1))
    before = dict(store._coins), store.tip, store.headers.tip
    with pytest.raises((Rejected, InvalidHeader)) as error:
        store.add(block(store), LATER)
    assert error.value.reason == reason
    assert (store._coins, store.tip, store.headers.tip) == before
    right = mined_on(store, spend(store, 1), spend(store, 2), fee=10_000)
    assert store.add(right, LATER) is not None


@pytest.mark.parametrize("payload", [b"", RECORDED[5][:-1], RECORDED[5] + b"\0", RECORDED[5][:80] + b"\0"])
def test_what_is_no_block(payload: bytes) -> None:
    store = stored(5)
    with pytest.raises((FormatError, Rejected)):
        store.add(payload, LATER)
    assert store.height == 4


# Branches


def test_a_longer_branch_takes_over_and_what_was_spent_comes_back() -> None:
    common = mined_store(101, NOW, random=Random(1))
    one, other = common.copy(), common.copy()
    first = spend(one, 1)
    one.add(mined_on(one, first, fee=10_000), LATER)
    one.mine(ANYONE, NOW + 5)
    for extra in range(3):
        other.mine(ANYONE, NOW + 1 + extra, extra=bytes([extra]))
    changes = [one.add(other.at(height).payload) for height in range(102, 105)]
    assert changes[:2] == [None, None] and changes[2] is not None
    assert [block.height for block in changes[2].disconnected] == [103, 102]
    assert [block.height for block in changes[2].connected] == [102, 103, 104]
    assert one._coins == other._coins and one.tip.hash == other.tip.hash == one.headers.tip
    assert one.coin(common.at(1).transactions()[0].outpoint(0)) is not None
    stale = changes[2].disconnected[0]
    assert one.get(stale.hash) is stale and stale not in one
    assert [block.height for block in one.branch(100, stale)] == [100, 101, 102, 103]


def test_a_longer_branch_that_is_invalid_changes_nothing() -> None:
    one = mined_store(101, NOW, random=Random(1))
    other = one.copy()
    one.mine(ANYONE, NOW + 5)
    before = dict(one._coins), one.tip, one.headers.tip
    other.add(mined_on(other), LATER)
    beside = other.tip.payload
    for _ in range(2):
        assert one.add(beside, LATER) is None
        with pytest.raises(Rejected, match="bad-txns-inputs-missingorspent"):
            one.add(mined_on(other, spend_of("ab" * 32, [1])), LATER)
        assert (one._coins, one.tip, one.headers.tip) == before
    one.add(beside, LATER)
    assert one.add(mined_on(other, spend(other, 1), fee=10_000), LATER) is not None and one.height == 103


def test_memory_is_bounded() -> None:
    store = mined_store(10, NOW, random=Random(1))
    size = len(store.tip.payload) + 5
    store.max_bytes = store._bytes + 3 * size
    side = mined_store(8, NOW, random=Random(2))
    for height in range(1, 4):
        store.add(side.at(height).payload)
    with pytest.raises(Rejected, match="too many blocks"):
        for height in range(4, 9):
            store.add(side.at(height).payload)
    assert store._bytes <= store.max_bytes and store.height == 10
    with pytest.raises(Rejected, match="too many blocks"):
        for _ in range(10):
            store.mine(ANYONE, NOW)
    assert store._bytes <= store.max_bytes and 13 <= store.height < 20


def test_coins_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    store = mined_store(101, NOW, random=Random(1))
    monkeypatch.setattr(module, "MAX_COINS", 110)
    before = dict(store._coins), store.tip, store.headers.tip
    assert len(store._coins) == 101
    for _ in range(2):
        with pytest.raises(Rejected, match="outputs that are not spent") as refusal:
            store.add(mined_on(store, spend(store, 1, outputs=10), fee=10_000), LATER)
        assert refusal.value.reason in UNCERTAIN and (store._coins, store.tip, store.headers.tip) == before
    store.add(mined_on(store, spend(store, 1, outputs=9), fee=10_000), LATER)
    assert len(store._coins) == 110


def test_copies_go_their_own_way() -> None:
    store = mined_store(5, NOW, random=Random(1))
    copies = [store.copy() for _ in range(2)]
    copies[0].mine(ANYONE, NOW, extra=b"1")
    assert [each.height for each in (store, *copies)] == [5, 6, 5]
    assert copies[1].at(5) is store.at(5)


def test_only_networks_whose_first_block_is_known() -> None:
    assert BlockStore(MAINNET).height == 0
    with pytest.raises(BTCError, match="the genesis block of testnet4 is not known"):
        BlockStore(TESTNET4)


def test_filters_of_a_branch_that_is_no_longer_the_chain() -> None:
    one = mined_store(10, NOW, random=Random(1))
    other = one.copy()
    one.mine(ANYONE, NOW + 5)
    stale, header = one.tip, one.filter_header(one.tip)
    for extra in (b"1", b"2"):
        other.mine(ANYONE, NOW + 1, extra=extra)
        one.add(other.tip.payload)
    assert stale not in one and one.filter_header(stale) == header
    fresh = BlockStore(REGTEST)
    for height in range(1, 13):
        fresh.add(one.at(height).payload)
    assert fresh.filter_header(fresh.tip) == one.filter_header(one.tip) != header
