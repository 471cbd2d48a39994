# SPDX-License-Identifier: GPL-2.0-or-later
"""What answers a `getdata`: each object is held against the hash by which it was asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from ..chain.partial_merkle import extract
from ..errors import FormatError, NotFound, PeerError, Rejected
from ..layers.lists import raws
from ..messages.blocks import BTCBlock, BTCCmpctBlock, BTCMerkleBlock
from ..messages.inventory import BTCGetData, BTCNotFound
from ..messages.parts import BTCInvVector
from ..messages.transactions import BTCTx
from ..protocol import InvType, inv_type_name
from ..wire.hashes import hash_hex, hex_hash, sha256d
from .block import check_merkle_root, check_witnesses
from .transaction import transactions_of

Wanted = tuple[InvType | int | str, str | bytes]
"""Type and hash of an object: number or name, 32 wire bytes or reversed hex."""

_TXID, _WTXID, _BLOCK, _FILTERED, _COMPACT = range(5)
_KINDS: dict[int, int] = {
    InvType.MSG_TX: _TXID, InvType.MSG_WITNESS_TX: _TXID, InvType.MSG_WTX: _WTXID,
    InvType.MSG_BLOCK: _BLOCK, InvType.MSG_WITNESS_BLOCK: _BLOCK, InvType.MSG_CMPCT_BLOCK: _COMPACT,
    InvType.MSG_FILTERED_BLOCK: _FILTERED, InvType.MSG_FILTERED_WITNESS_BLOCK: _FILTERED,
}  # fmt: skip


class Answers:
    """The objects that a `getdata` asks for, as they come.

    :ivar request: the message that asks
    Raises ValueError for types whose answers cannot be told.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in wanted):
            raise TypeError('objects are named by pairs of type and hash, as ("MSG_TX", "4a5e1e4b...")')
        vectors = [BTCInvVector(type=kind, hash=of) for kind, of in wanted]
        self.request: BTCGetData = BTCGetData(inventory=vectors)
        self._found: list[list[Any]] = [[] for _ in vectors]
        self._open: dict[tuple[int, bytes], list[int]] = defaultdict(list)  # what is waited for, for which of them
        for number, (kind, of) in enumerate(vectors_in(self.request)):
            if kind not in _KINDS:
                raise ValueError(f"what answers {inv_type_name(kind)} is not known here")
            self._open[_KINDS[kind], of].append(number)

    @property
    def found(self) -> list[Any]:
        """The messages, in the order in which they were asked for; the transactions of a merkleblock follow it."""
        return [message for messages in self._found for message in messages]

    @property
    def complete(self) -> bool:
        return not self._open

    @property
    def next(self) -> str:
        """The hash of the first that is still waited for, as reversed hex."""
        return hash_hex(next(iter(self._open))[1])

    @property
    def wait_for_block(self) -> bool:
        """Whether that one is a block."""
        return next(iter(self._open))[0] not in (_TXID, _WTXID)

    def take(self, message: Any) -> bool:
        """Whether a message is one of the answers.

        Raises NotFound where the peer says so, PeerError for one that does not hold what its hash promises.
        """
        if isinstance(message, BTCTx):
            return self._close(message, (_TXID, hex_hash(message.txid)), (_WTXID, hex_hash(message.wtxid)))
        if isinstance(message, (BTCBlock, BTCMerkleBlock, BTCCmpctBlock)):
            return self._take_block(message, sha256d(message.self_build()[:80]))
        if isinstance(message, BTCNotFound):
            asked = {(_KINDS.get(kind), of) for kind, of in vectors_in(message)} & self._open.keys()
            if asked:
                raise NotFound(f"the peer does not have {', '.join(sorted(hash_hex(of) for _, of in asked))}")
        return False

    def _take_block(self, message: Any, block_hash: bytes) -> bool:
        if isinstance(message, BTCCmpctBlock):
            return self._close(message, (_COMPACT, block_hash))
        if isinstance(message, BTCBlock):  # also of old blocks that were asked for as compact ones
            places = ((_BLOCK, block_hash), (_COMPACT, block_hash))
            if not self._open.keys().isdisjoint(places):
                try:
                    check_contents(message.self_build())
                except (Rejected, FormatError) as error:
                    raise PeerError(f"block {hash_hex(block_hash)}: {error}") from error
            return self._close(message, *places)
        proven = proven_transactions(message) if (_FILTERED, block_hash) in self._open else []
        numbers = self._open.get((_FILTERED, block_hash), [])[:1]
        taken = self._close(message, (_FILTERED, block_hash))
        for number in numbers:
            for txid in proven:
                self._open[_TXID, txid].append(number)
        return taken

    def _close(self, message: Any, *places: tuple[int, bytes]) -> bool:
        """Give a message to the first that waits for it at one of these places."""
        for place in places:
            if place in self._open:
                self._found[self._open[place].pop(0)].append(message)
                if not self._open[place]:
                    del self._open[place]
                return True
        return False


def vectors_in(message: Any) -> Iterator[tuple[int, bytes]]:
    """Type and hash (32 wire bytes) of each entry of `inv`, `getdata` or `notfound`; none becomes a Packet."""
    for raw in raws(message.inventory):
        yield int.from_bytes(raw[:4], "little"), raw[4:]


def check_contents(payload: bytes) -> None:
    """Raises Rejected or FormatError for a block that is not what its header and its coinbase commit to.

    One without any witness passes also where the coinbase commits to some: it may have been asked for so, and before
    segwit was active there were such blocks.
    """
    transactions = transactions_of(payload)
    check_merkle_root(payload, transactions)
    if any(tx.has_witness for tx in transactions):
        check_witnesses(transactions)


def proven_transactions(message: BTCMerkleBlock) -> list[bytes]:
    """The ids (32 wire bytes) of the transactions that a `merkleblock` proves. Raises PeerError for a false proof."""
    try:
        tree = extract(message.total_transactions, message.hashes, message.flags)
    except FormatError as error:
        raise PeerError(f"block {message.block_hash}: no proof: {error}") from error
    if tree.root != message.self_build()[36:68]:
        raise PeerError(f"block {message.block_hash}: the proof is not one for its header")
    return [txid for _, txid in tree.matches]
