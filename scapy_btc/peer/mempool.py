# SPDX-License-Identifier: GPL-2.0-or-later
"""Transactions that wait for a block. Scripts and signatures are not checked: what looks right is taken."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ..errors import Rejected
from ..protocol import LOCKTIME_THRESHOLD, MAX_BLOCK_WEIGHT, MAX_MONEY
from .transaction import Tx

MAX_TX_WEIGHT = 400_000
"""Of a transaction that is relayed."""
COINBASE_MATURITY = 100
"""Blocks before what a coinbase pays can be spent."""
RESERVED_WEIGHT = 8_000
"""Of a block, for its header and its coinbase."""
FINAL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that is not spent."""

    value: int
    script: bytes
    height: int
    coinbase: bool


class Coins(Protocol):
    """What the pool asks of the chain."""

    @property
    def height(self) -> int:
        """Of the tip."""

    @property
    def median_time(self) -> int:
        """Of the last 11 blocks, seconds since 1970."""

    def coin(self, outpoint: bytes) -> Coin | None:
        """The output that 36 wire bytes name; None where it is not there, or spent."""


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """A transaction of the pool."""

    tx: Tx
    fee: int
    vsize: int

    @property
    def fee_rate(self) -> int:
        """Satoshi per 1000 virtual bytes, as `feefilter` counts."""
        return self.fee * 1000 // self.vsize


class Mempool:
    """Transactions in an order in which a block may hold them. Hashes are 32 wire bytes.

    :param max_count: transactions at most, and `max_bytes` of them; one more is refused
    """

    def __init__(self, coins: Coins, max_count: int = 10_000, max_bytes: int = 20_000_000) -> None:
        self._coins, self.max_count, self.max_bytes = coins, max_count, max_bytes
        self._entries: dict[bytes, PoolEntry] = {}
        self._by_wtxid: dict[bytes, PoolEntry] = {}
        self._spent: set[bytes] = set()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[PoolEntry]:
        return iter(self._entries.values())

    def get(self, tx_hash: bytes) -> PoolEntry | None:
        """The transaction of that txid or wtxid."""
        return self._entries.get(tx_hash) or self._by_wtxid.get(tx_hash)

    def add(self, tx: Tx) -> PoolEntry:
        """Take a transaction. Raises Rejected, with Bitcoin Core's word for the reason."""
        if tx.txid in self._entries:
            raise Rejected("txn-already-in-mempool", "it is in the memory pool already")
        if tx.weight > MAX_TX_WEIGHT:
            raise Rejected("tx-size", f"a weight of {tx.weight:,}")
        spent = [spent.outpoint for spent in tx.inputs()]
        fee = check_amounts(tx, [self._coin(outpoint) for outpoint in spent], self._coins.height + 1)
        if not self._spent.isdisjoint(spent):
            raise Rejected("txn-mempool-conflict", "another transaction of the memory pool spends the same output")
        if not is_final(tx, self._coins.height + 1, self._coins.median_time):
            raise Rejected("non-final", "its lock time has not come")
        size = len(tx.raw)
        if len(self._entries) >= self.max_count or self._bytes + size > self.max_bytes:
            raise Rejected("mempool full", "the memory pool is full")
        entry = PoolEntry(tx, fee, tx.vsize)
        self._entries[tx.txid] = self._by_wtxid[tx.wtxid] = entry
        self._spent.update(spent)
        self._bytes += size
        return entry

    def _coin(self, outpoint: bytes) -> Coin | None:
        parent = self._entries.get(outpoint[:32])
        if parent is None:
            return self._coins.coin(outpoint)
        output = parent.tx.output(int.from_bytes(outpoint[32:], "little"))
        return Coin(*output, self._coins.height + 1, False) if output else None

    def follow(self, returned: Iterable[Tx], confirmed: Collection[bytes]) -> None:
        """The chain has changed: drop what is confirmed or no longer possible.

        :param returned: transactions of blocks that are no longer in the chain, in their order
        :param confirmed: txids in blocks that now are
        """
        candidates = [tx for tx in returned if not tx.is_coinbase] + [entry.tx for entry in self]
        self._entries, self._by_wtxid, self._spent, self._bytes = {}, {}, set(), 0
        for tx in candidates:
            if tx.txid not in confirmed:
                try:
                    self.add(tx)
                except Rejected:
                    continue

    def for_block(self) -> list[PoolEntry]:
        """What fits into a block, in order."""
        chosen: list[PoolEntry] = []
        left_out: set[bytes] = set()
        room = MAX_BLOCK_WEIGHT - RESERVED_WEIGHT
        for entry in self:
            if entry.tx.weight > room or any(spent.outpoint[:32] in left_out for spent in entry.tx.inputs()):
                left_out.add(entry.tx.txid)
                continue
            room -= entry.tx.weight
            chosen.append(entry)
        return chosen


def check_amounts(tx: Tx, coins: list[Coin | None], height: int) -> int:
    """The fee of a transaction in a block of that height.

    :param coins: what each of its inputs spends

    Raises Rejected, with Bitcoin Core's word for the reason.
    """
    if not coins:
        raise Rejected("bad-txns-vin-empty", "no inputs")
    outpoints = [spent.outpoint for spent in tx.inputs()]
    if len(set(outpoints)) != len(outpoints):
        raise Rejected("bad-txns-inputs-duplicate", "two inputs spend the same output")
    values = [output.value for output in tx.outputs()]
    if not values:
        raise Rejected("bad-txns-vout-empty", "no outputs")
    if min(values) < 0 or sum(values) > MAX_MONEY:
        raise Rejected("bad-txns-vout-toolarge", "an amount that does not exist")
    brought = 0
    for coin in coins:
        if coin is None:
            raise Rejected("bad-txns-inputs-missingorspent", "an output that it spends is not there, or spent")
        if coin.coinbase and height - coin.height < COINBASE_MATURITY:
            raise Rejected("bad-txns-premature-spend-of-coinbase", "a coinbase cannot be spent yet")
        brought += coin.value
    if brought < sum(values):
        raise Rejected("bad-txns-in-belowout", "it pays more than it spends")
    return brought - sum(values)


def is_final(tx: Tx, height: int, median_time: int) -> bool:
    """Whether a block of that height may hold it, by its lock time (BIP 113)."""
    reached = height if tx.lock_time < LOCKTIME_THRESHOLD else median_time
    return tx.lock_time < reached or not tx.lock_time or all(spent.sequence == FINAL for spent in tx.inputs())
