# SPDX-License-Identifier: GPL-2.0-or-later
"""What a node keeps in mind, of itself and of each of its peers. All that peers can add to is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

from ..protocol import MAX_HEADERS_RESULTS, ServiceFlags
from .behaviour import Peer
from .block import Block
from .block_store import BlockStore
from .compact import PartialBlock
from .filtering import LoadedFilter
from .known_addresses import Address, KnownAddresses
from .mempool import Mempool, PoolEntry
from .options import PeerOptions
from .transaction import Tx

KNOWN = 5_000
"""Transactions, and addresses, of which is remembered that a peer has them."""
WAITING = 5_000
"""Transactions, and addresses, that wait to be announced to a peer that reads slowly; more are not."""
REJECTED = 10_000
BLOCKS_SERVED = ServiceFlags.NODE_NETWORK | ServiceFlags.NODE_NETWORK_LIMITED

T = TypeVar("T", bound=Hashable)


class Recent(Generic[T]):
    """The latest so many of what was added."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._items: dict[T, None] = {}

    def __contains__(self, item: T) -> bool:
        return item in self._items

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        self._items.pop(item, None)
        self._items[item] = None
        if len(self._items) > self.limit:
            del self._items[next(iter(self._items))]

    def update(self, items: Iterable[T]) -> None:
        for item in items:
            self.add(item)

    def clear(self) -> None:
        self._items.clear()


class Session:
    """One peer. Hashes are 32 wire bytes.

    :param peer: the rules of its connection
    :ivar greeted: the handshake is done, and what follows it was said
    :ivar relays: it wants transactions, by what it said after `version`; None: nothing
    :ivar wants_headers: it wants new blocks announced by `headers` (BIP 130)
    :ivar compact: it takes compact blocks (BIP 152, version 2); `high_bandwidth`: without asking
    :ivar fee_filter: satoshi per 1000 virtual bytes below which it wants no transaction (BIP 133)
    :ivar filter: what a light client has loaded (BIP 37)
    :ivar known: txids and wtxids of transactions that it has
    :ivar best: the highest block of ours that it has, as far as we know
    :ivar transactions: to be announced; likewise `blocks` (hashes, in order) and `addresses`
    :ivar continue_from: last block of an answer to `getblocks`: when it is asked for, the peer wants to know of more
    :ivar to_fetch: hashes of blocks that it has announced and we do not have, in order; `more`: it knows others after
    :ivar asked: those of them that it was asked for, and until when it may take
    :ivar partial: a block whose missing transactions it was asked for
    :ivar takes_addresses: it asked for addresses or sent some, or we opened the connection
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.greeted = False
        self.relays: bool | None = None
        self.wants_headers = self.compact = self.high_bandwidth = False
        self.fee_filter = 0
        self.filter: LoadedFilter | None = None
        self.known: Recent[bytes] = Recent(2 * KNOWN)
        self.best: Block | None = None
        self.transactions: dict[bytes, PoolEntry] = {}
        self.blocks: deque[bytes] = deque(maxlen=MAX_HEADERS_RESULTS)
        self.addresses: deque[Address] = deque(maxlen=WAITING)
        self.continue_from = b""
        self.to_fetch: deque[bytes] = deque()
        self.more = False
        self.asked: dict[bytes, float] = {}
        self.partial: PartialBlock | None = None
        self.getaddr_answered = False
        self.takes_addresses = peer.outbound
        self.known_addresses: Recent[Address] = Recent(KNOWN)

    @property
    def wants_transactions(self) -> bool:
        if self.relays is None:
            return self.peer.version is not None and self.peer.version.relay != 0  # not said in older versions: yes
        return self.relays

    @property
    def by_wtxid(self) -> bool:
        """Whether transactions are announced by wtxid (BIP 339)."""
        return self.peer.options.wtxidrelay and "wtxidrelay" in self.peer.agreed

    @property
    def services(self) -> int:
        """What the peer offers."""
        return self.peer.version.services if self.peer.version else 0

    @property
    def has_news(self) -> bool:
        """Whether something waits to be announced to it."""
        return bool(self.transactions or self.blocks)

    def announce(self, entry: PoolEntry) -> None:
        """Announce a transaction with the next ones, unless the peer wants none like it."""
        if not self.wants_transactions or entry.fee_rate < self.fee_filter or len(self.transactions) >= WAITING:
            return
        if self.filter is None or self.filter.matches(entry.tx):
            self.transactions[entry.tx.txid] = entry

    def has_transaction(self, tx: Tx) -> bool:
        return tx.txid in self.known or tx.wtxid in self.known

    def learn_transaction(self, tx: Tx) -> None:
        self.known.update({tx.txid, tx.wtxid})


@dataclass
class NodeState:
    """A node without its connections.

    :ivar now: what time it is; the caller keeps it
    :ivar rejected: ids of transactions that were not accepted, since the last block
    """

    options: PeerOptions
    store: BlockStore
    pool: Mempool
    addresses: KnownAddresses
    random: Random
    now: float = 0.0
    sessions: set[Session] = field(default_factory=set)
    rejected: Recent[bytes] = field(default_factory=lambda: Recent(REJECTED))

    def saw(self, session: Session, block: Block) -> None:
        """The peer has a block, and so all before it."""
        if block in self.store and not self.peer_has(session, block):
            session.best = block

    def peer_has(self, session: Session, block: Block) -> bool:
        """Whether the peer has a block of the chain, as far as we know."""
        best = session.best
        while best is not None and best not in self.store:
            best = self.store.get(best.previous)
        return best is not None and block.height <= best.height
