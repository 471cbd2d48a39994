# SPDX-License-Identifier: GPL-2.0-or-later
"""The blocks that a node has: the best chain, branches beside it, and what is not spent. Everything is in memory.

A block must be well-formed, follow a block that is there, and spend what exists; scripts and signatures are not
checked, nor relative lock times. Hashes are 32 wire bytes, times seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..chain.block_filter import filter_hash, filter_header
from ..chain.headers import MEDIAN_TIME_SPAN, HeaderChain
from ..chain.merkle import merkle_root
from ..chain.mining import MinedTx, mine_block, push_height, subsidy
from ..errors import BTCError, Rejected
from ..networks import Network
from ..wire.hashes import sha256d
from .block import HEADER, Block, check_block
from .mempool import Coin, PoolEntry, check_amounts, is_final

GENESIS_COINBASE = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054"
    "696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420"
    "666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61"
    "deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000")
"""Of every network of Bitcoin but testnet4."""
BLOCK_VERSION = 0x20000003
"""BIP 9 with bits 0 and 1: says yes to CSV and segwit, which nodes such as bcoin still count on regtest."""
DATA_SCRIPT = b"\x6a"
"""OP_RETURN: what it begins cannot be spent."""
MAX_COINS = 5_000_000
"""Outputs that are not spent, at most: each takes about 300 bytes, and as few as nine of a block."""


class Change(NamedTuple):
    """What happened to the best chain."""

    disconnected: Sequence[Block]
    """From the old tip down."""
    connected: Sequence[Block]
    """Up to the new tip."""


class BlockStore:
    """Blocks of a network whose genesis block has the coinbase that all Bitcoin networks but testnet4 share.

    :param max_bytes: of all blocks; then the branches beside the chain are forgotten, and what makes it longer refused
    :ivar headers: of the best chain, and their rules
    """

    def __init__(self, network: Network, max_bytes: int = 500_000_000) -> None:
        genesis = (network.genesis or bytes(HEADER)) + b"\1" + GENESIS_COINBASE
        if merkle_root([sha256d(GENESIS_COINBASE)]).root != genesis[36:68]:
            raise BTCError(f"the genesis block of {network} is not known")
        self.network, self.max_bytes = network, max_bytes
        self.headers = HeaderChain(network)
        first = Block(genesis, 0)
        first.spent = ()
        self._chain = [first]
        self._blocks = {first.hash: first}
        self._coins: dict[bytes, Coin] = {}
        self._bytes = len(genesis)

    def copy(self) -> BlockStore:
        """A store with the same blocks that goes its own way from here."""
        clone = BlockStore(self.network, self.max_bytes)
        clone.headers = HeaderChain(self.network, b"".join(self.headers))
        clone._chain, clone._coins = self._chain.copy(), self._coins.copy()
        clone._blocks = {block.hash: block for block in clone._chain}
        clone._bytes = sum(len(block.payload) for block in clone._chain)
        return clone

    # What is there

    @property
    def tip(self) -> Block:
        return self._chain[-1]

    @property
    def height(self) -> int:
        return len(self._chain) - 1

    @property
    def median_time(self) -> int:
        """Of the last 11 blocks."""
        return self.headers.median_time

    def coin(self, outpoint: bytes) -> Coin | None:
        """The output that 36 wire bytes name; None where it is not there, or spent."""
        return self._coins.get(outpoint)

    def get(self, block_hash: bytes) -> Block | None:
        """A block, of the chain or beside it."""
        return self._blocks.get(block_hash)

    def at(self, height: int) -> Block:
        """The chain's block at a height. Raises IndexError."""
        return self._chain[height]

    def __contains__(self, block: Block) -> bool:
        """Whether a block is in the chain."""
        return block.height <= self.height and self._chain[block.height] is block

    def fork_point(self, locator: Iterable[bytes]) -> Block:
        """The block of the chain up to which somebody with that locator has it, too."""
        for block_hash in locator:
            block = self._blocks.get(block_hash)
            if block is not None and block in self:
                return block
        return self._chain[0]

    def branch(self, start: int, stop: Block) -> list[Block]:
        """The blocks from a height up to a block, which may be beside the chain."""
        found = []
        block = stop
        while block not in self and block.height >= start:
            found.append(block)
            block = self._blocks[block.previous]
        return self._chain[start:block.height + 1] + found[::-1]

    def filter_header(self, block: Block) -> bytes:
        """Of a block that is or was part of the chain (BIP 157)."""
        todo = []
        before: Block | None = block
        while before is not None and before.filter_header is None:
            todo.append(before)
            before = self._blocks.get(before.previous)
        header = bytes(32) if before is None or before.filter_header is None else before.filter_header
        for missing in reversed(todo):
            header = missing.filter_header = filter_header(filter_hash(missing.filter()), header)
        return header

    # Growing

    def mine(self, script: bytes, time: int, entries: Sequence[PoolEntry] = (), extra: bytes = b"") -> Change:
        """Mine a block on the tip.

        :param time: its time, or the earliest later one that is allowed
        :param script: output script that gets subsidy and fees
        :param entries: transactions, in order
        :param extra: bytes for the coinbase, by which blocks that are else the same differ
        """
        time = max(time, self.median_time + 1)
        transactions = [MinedTx(entry.tx.raw, entry.tx.txid, entry.tx.wtxid, entry.fee) for entry in entries]
        payload = mine_block(self.network, self.height + 1, self.tip.hash, time, self.headers.required_bits(time),
                             script, transactions, extra, BLOCK_VERSION)
        change = self.add(payload)
        assert change is not None
        return change

    def add(self, payload: bytes, now: float | None = None) -> Change | None:
        """Take a block; None where the best chain stays as it is.

        :param now: what time it is, for blocks that claim to be of the future

        Raises Rejected or InvalidHeader, each with Bitcoin Core's word for the reason, and FormatError.
        """
        block_hash = sha256d(payload[:HEADER])
        if block_hash in self._blocks:
            return None
        parent = self._blocks.get(payload[4:36])
        if parent is None:
            raise Rejected("prev-blk-not-found", "the block before it is not known")
        transactions = check_block(payload)
        self._make_room(len(payload))
        if parent.hash not in self._blocks:
            raise Rejected("too many blocks", "the block before it had to be forgotten")
        block = Block(payload, parent.height + 1)
        if not next(transactions[0].inputs()).script.startswith(push_height(block.height)):
            raise Rejected("bad-cb-height", f"the coinbase does not begin with the height, {block.height}")
        changed = self.headers.add(block.header, None if now is None else int(now))
        self._blocks[block.hash] = block
        self._bytes += len(payload)
        return None if changed is None else self._follow_headers(changed, block)

    def _make_room(self, size: int) -> None:
        if self._bytes + size > self.max_bytes:
            self._forget_branches()
            if self._bytes + size > self.max_bytes:
                raise Rejected("too many blocks", f"the blocks have more than {self.max_bytes:,} bytes")

    def _forget_branches(self) -> None:
        self._blocks = {block.hash: block for block in self._chain}
        self._bytes = sum(len(block.payload) for block in self._chain)

    def _follow_headers(self, height: int, tip: Block) -> Change:
        """The best chain of headers is another from a height on, up to a new tip: so are the blocks, if they can be."""
        new, old = self.branch(height, tip), self._chain[height:]
        for _ in old:
            self._disconnect()
        try:
            for block in new:
                self._connect(block)
        except Rejected:
            while self.height >= height:
                self._disconnect()
            for block in old:
                self._connect(block)
            self.headers = HeaderChain(self.network, b"".join(block.header for block in self._chain))
            self._forget_branches()
            raise
        return Change(old[::-1], new)

    def _connect(self, block: Block) -> None:
        """Spend and create the coins of the next block. Raises Rejected, and has done nothing then."""
        transactions = block.transactions()
        coinbase = transactions[0]
        spent: dict[bytes, Coin] = {}
        created: dict[bytes, Coin] = {}
        allowed = subsidy(self.network, block.height)
        times = sorted(each.time for each in self._chain[-MEDIAN_TIME_SPAN:])
        for tx in transactions:
            if tx is not coinbase:
                outpoints = [each.outpoint for each in tx.inputs()]
                coins = [None if outpoint in spent else created.get(outpoint) or self._coins.get(outpoint)
                         for outpoint in outpoints]
                allowed += check_amounts(tx, coins, block.height)
                spent.update((outpoint, coin) for outpoint, coin in zip(outpoints, coins, strict=True) if coin)
            if not is_final(tx, block.height, times[len(times) // 2]):
                raise Rejected("bad-txns-nonfinal", "a transaction whose lock time has not come")
            for index, output in enumerate(tx.outputs()):
                if not output.script.startswith(DATA_SCRIPT):
                    created[tx.outpoint(index)] = Coin(*output, block.height, tx is coinbase)
        if sum(output.value for output in coinbase.outputs()) > allowed:
            raise Rejected("bad-cb-amount", "the coinbase pays more than subsidy and fees")
        if len(self._coins) + len(created) - len(spent) > MAX_COINS:
            raise Rejected("too many blocks", f"more than {MAX_COINS:,} outputs that are not spent")
        for outpoint in spent:
            if created.pop(outpoint, None) is None:
                del self._coins[outpoint]
        self._coins.update(created)
        block.spent = tuple(spent.values())
        self._chain.append(block)

    def _disconnect(self) -> None:
        """Undo what the tip did to the coins."""
        block = self._chain.pop()
        assert block.spent is not None
        transactions = block.transactions()
        outpoints = (each.outpoint for tx in transactions[1:] for each in tx.inputs())
        self._coins.update(zip(outpoints, block.spent, strict=True))
        for tx in transactions:
            for index, _ in enumerate(tx.outputs()):
                self._coins.pop(tx.outpoint(index), None)
