# SPDX-License-Identifier: GPL-2.0-or-later
"""A block as a node keeps it, and what can be said of it without the blocks before it."""

from __future__ import annotations

from collections.abc import Sequence

from ..chain.merkle import check_witness_commitment, merkle_root
from ..errors import Rejected
from ..messages.blocks import basic_filter
from ..protocol import MAX_BLOCK_WEIGHT, WITNESS_SCALE_FACTOR
from ..wire import compactsize
from ..wire.hashes import sha256d
from .mempool import Coin
from .transaction import Tx, transactions_of

HEADER = 80


class Block:
    """A block at its place in a chain. It does not change, so several stores may hold the same one.

    :ivar payload: as `block` carries it, with witnesses
    :ivar hash: 32 wire bytes
    :ivar spent: the coins that its transactions spend, in their order; None until it was part of a chain
    """

    __slots__ = ("_filter", "filter_header", "hash", "height", "payload", "spent")

    def __init__(self, payload: bytes, height: int) -> None:
        self.payload, self.height = payload, height
        self.hash = sha256d(payload[:HEADER])
        self.spent: tuple[Coin, ...] | None = None
        self._filter: bytes | None = None
        self.filter_header: bytes | None = None
        """Of the chain of filter headers, once somebody asked (`BlockStore.filter_header`)."""

    @property
    def header(self) -> bytes:
        return self.payload[:HEADER]

    @property
    def previous(self) -> bytes:
        """Hash of the block before it."""
        return self.payload[4:36]

    @property
    def time(self) -> int:
        """Of its header, seconds since 1970."""
        return int.from_bytes(self.payload[68:72], "little")

    def transactions(self) -> list[Tx]:
        return transactions_of(self.payload)

    def stripped(self) -> bytes:
        """The payload without witnesses."""
        transactions = self.transactions()
        if not any(tx.has_witness for tx in transactions):
            return self.payload
        return b"".join((self.header, compactsize.encode(len(transactions)), *(tx.stripped for tx in transactions)))

    def filter(self) -> bytes:
        """Its basic filter (BIP 158), encoded. It must have been part of a chain."""
        if self._filter is None:
            assert self.spent is not None
            self._filter = basic_filter(self.payload, (coin.script for coin in self.spent))
        return self._filter


def check_block(payload: bytes) -> list[Tx]:
    """The transactions of a block that is well-formed in itself; scripts and amounts are not looked at.

    Raises Rejected, with Bitcoin Core's word for the reason, and FormatError for bytes that are no block.
    """
    transactions = transactions_of(payload)
    if not transactions or not transactions[0].is_coinbase:
        raise Rejected("bad-cb-missing", "the first transaction is no coinbase")
    if any(tx.is_coinbase for tx in transactions[1:]):
        raise Rejected("bad-cb-multiple", "more than one coinbase")
    check_merkle_root(payload, transactions)
    check_witnesses(transactions)
    around = len(payload) - sum(len(tx.raw) for tx in transactions)  # header and count
    if WITNESS_SCALE_FACTOR * around + sum(tx.weight for tx in transactions) > MAX_BLOCK_WEIGHT:
        raise Rejected("bad-blk-weight", "the block is too large")
    return transactions


def check_merkle_root(payload: bytes, transactions: Sequence[Tx]) -> None:
    """Raises Rejected for transactions to which the header of a block does not commit."""
    root = merkle_root([tx.txid for tx in transactions])
    if root.root != payload[36:68]:
        raise Rejected("bad-txnmrklroot", "the merkle root does not fit the transactions")
    if root.mutated:
        raise Rejected("bad-txns-duplicate", "transactions are repeated")


def check_witnesses(transactions: Sequence[Tx]) -> None:
    """Raises Rejected for witnesses to which the coinbase, the first of the transactions, does not commit."""
    coinbase = transactions[0]
    witness = coinbase.witness()
    holds = check_witness_commitment([tx.wtxid for tx in transactions], [out.script for out in coinbase.outputs()],
                                     witness[0] if witness else [])
    if holds is None and any(tx.has_witness for tx in transactions):
        raise Rejected("unexpected-witness", "witnesses to which the block does not commit")
    if holds is False:
        raise Rejected("bad-witness-merkle-match", "the witness commitment does not hold")

