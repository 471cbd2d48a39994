# SPDX-License-Identifier: GPL-2.0-or-later
"""Compact blocks (BIP 152, version 2): making one, and making a block of one again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..chain.short_ids import absolute_indexes, differential_indexes, short_id, short_id_key
from ..errors import FormatError
from ..layers.lists import raws
from ..messages.blocks import BTCBlockTxn, BTCCmpctBlock, BTCGetBlockTxn, BTCPrefilledTx
from ..messages.transactions import BTCTx
from ..protocol import MAX_CMPCTBLOCK_INDEX
from ..wire import compactsize
from ..wire.hashes import hash_hex, sha256d
from .transaction import Tx


def compact(header: bytes, transactions: Sequence[Tx], nonce: int) -> BTCCmpctBlock:
    """A block by short ids; its coinbase, which nobody can have, is sent whole.

    :param header: 80 bytes
    :param nonce: u64, another for each block and sender
    """
    key = short_id_key(header, nonce)
    coinbase = BTCPrefilledTx(index=0, transaction=BTCTx.from_wire(transactions[0].raw))
    message: BTCCmpctBlock = BTCCmpctBlock(
        header=header, nonce=nonce, shortids=[short_id(key, tx.wtxid) for tx in transactions[1:]],
        prefilled=[coinbase])
    return message


class PartialBlock:
    """A block of which some transactions may be missing.

    :param message: what came as `cmpctblock`
    :param known: transactions that may be in it
    :ivar block_hash: 32 wire bytes
    :ivar missing: positions of the transactions that have to be asked for

    Raises FormatError for a message that no block can be made of, or whose short ids are not different.
    """

    def __init__(self, message: BTCCmpctBlock, known: Iterable[Tx] = ()) -> None:
        self.header = bytes(message.header)
        self.block_hash = sha256d(self.header)
        count = len(message.shortids) + len(message.prefilled)
        if not 0 < count <= MAX_CMPCTBLOCK_INDEX + 1:
            raise FormatError(f"a compact block of {count:,} transactions")
        prefilled = _prefilled(message)
        if max(prefilled, default=0) >= count:
            raise FormatError(f"a compact block of {count} transactions, and one outside of it")
        self._raw: list[bytes | None] = [prefilled.get(position) for position in range(count)]
        empty = [position for position, raw in enumerate(self._raw) if raw is None]
        positions = dict(zip(message.shortids, empty, strict=True))
        if len(positions) != len(empty):
            raise FormatError("two transactions of the compact block have the same short id")
        self._take(known, positions, short_id_key(self.header, message.nonce))
        self.missing = [position for position in empty if self._raw[position] is None]

    def _take(self, known: Iterable[Tx], positions: dict[int, int], key: tuple[int, int]) -> None:
        if not positions:
            return
        taken: set[int] = set()
        for tx in known:
            position = positions.get(short_id(key, tx.wtxid))
            if position is not None:  # one of two with the same id may be right, so neither is taken
                self._raw[position] = None if position in taken else tx.raw
                taken.add(position)

    def request(self) -> BTCGetBlockTxn:
        """What asks for the missing transactions."""
        message: BTCGetBlockTxn = BTCGetBlockTxn(block_hash=hash_hex(self.block_hash),
                                                 indexes=differential_indexes(self.missing))
        return message

    def fill(self, transactions: Sequence[bytes]) -> None:
        """Put the missing transactions in, in their order. Raises FormatError unless they are as many."""
        if len(transactions) != len(self.missing):
            raise FormatError(f"{len(transactions)} transactions for {len(self.missing)} that were asked for")
        for position, raw in zip(self.missing, transactions, strict=True):
            self._raw[position] = raw
        self.missing = []

    def payload(self) -> bytes:
        """The block, as `block` carries it, when nothing is missing; its merkle root still has to be checked."""
        assert not self.missing
        return b"".join((self.header, compactsize.encode(len(self._raw)), *(raw or b"" for raw in self._raw)))


def _prefilled(message: BTCCmpctBlock) -> dict[int, bytes]:
    """The transactions that came whole, by their position; none becomes a Packet."""
    entries = [(raw, *compactsize.read(raw)) for raw in raws(message.prefilled)]
    positions = absolute_indexes(difference for _, difference, _ in entries)
    return {position: raw[start:] for position, (raw, _, start) in zip(positions, entries, strict=True)}


def asked_transactions(request: BTCGetBlockTxn, transactions: Sequence[Tx]) -> BTCBlockTxn:
    """The answer to `getblocktxn`. Raises FormatError for indexes outside the block."""
    indexes = absolute_indexes(request.indexes)
    if not indexes or indexes[-1] >= len(transactions):
        raise FormatError("transactions outside the block were asked for")
    message: BTCBlockTxn = BTCBlockTxn(block_hash=request.block_hash,
                                       transactions=[BTCTx.from_wire(transactions[index].raw) for index in indexes])
    return message
