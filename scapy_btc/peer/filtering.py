# SPDX-License-Identifier: GPL-2.0-or-later
"""What a bloom filter that a light client has loaded lets through (BIP 37)."""

from __future__ import annotations

from collections.abc import Sequence

from ..chain.bloom import BloomFilter
from ..chain.partial_merkle import build
from ..chain.script import operations, script_type
from ..messages.blocks import BTCMerkleBlock
from ..messages.bloom import BTCFilterLoad
from ..protocol import BLOOM_UPDATE_MASK, BloomUpdate
from .transaction import Tx


class LoadedFilter:
    """The filter of one connection. Raises FormatError for one over the limits."""

    def __init__(self, message: BTCFilterLoad) -> None:
        self.bloom = BloomFilter(message.filter, message.n_hash_funcs, message.n_tweak)
        self._update = message.n_flags & BLOOM_UPDATE_MASK

    def matches(self, tx: Tx) -> bool:
        """Whether the client wants a transaction; what spends its outputs then matches, too, if it said so."""
        found: bool = tx.txid in self.bloom
        for index, output in enumerate(tx.outputs()):
            if self._pushes(output.script):
                found = True
                if self._updates(output.script):
                    self.bloom.insert(tx.outpoint(index))
        for spent in tx.inputs():
            found = found or spent.outpoint in self.bloom or self._pushes(spent.script)
        return found

    def _pushes(self, script: bytes) -> bool:
        return any(step.data in self.bloom for step in operations(script) if step.data)

    def _updates(self, script: bytes) -> bool:
        if self._update == BloomUpdate.BLOOM_UPDATE_P2PUBKEY_ONLY:
            return script_type(script) in ("p2pk", "multisig")
        return bool(self._update == BloomUpdate.BLOOM_UPDATE_ALL)

    def merkle_block(self, header: bytes, transactions: Sequence[Tx]) -> tuple[BTCMerkleBlock, list[Tx]]:
        """The proof of those transactions of a block that match, and these."""
        marks = [self.matches(tx) for tx in transactions]
        hashes, flags = build([tx.txid for tx in transactions], marks)
        message: BTCMerkleBlock = BTCMerkleBlock(header=header, total_transactions=len(transactions),
                                                 hashes=hashes, flags=flags)
        return message, [tx for tx, wanted in zip(transactions, marks, strict=True) if wanted]
