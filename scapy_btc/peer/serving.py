# SPDX-License-Identifier: GPL-2.0-or-later
"""A node without sockets: packets of its peers and times go in, messages for them come out.

It answers, takes and announces what Bitcoin Core does, and raises Misbehaved where Bitcoin Core disconnects. What it
does not do is check scripts, signatures and relative lock times: it believes blocks and transactions that look right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

from ..errors import FormatError, Misbehaved
from ..layers.registry import BTCMessage
from ..messages.addresses import BTCGetAddr
from ..messages.transactions import BTCTx
from ..networks import REGTEST, Network
from ..protocol import MAX_ADDR_TO_SEND, MAX_MONEY, MAX_SCRIPT_ELEMENT_SIZE, ServiceFlags
from . import answering, fetching
from .announcing import addresses, news, relay_addresses
from .behaviour import Peer
from .block_store import BlockStore, Change
from .filtering import LoadedFilter
from .known_addresses import Address, KnownAddresses
from .mempool import Mempool, PoolEntry
from .options import PeerOptions
from .session import NodeState, Session
from .transaction import Tx

SERVICES = (ServiceFlags.NODE_NETWORK | ServiceFlags.NODE_BLOOM | ServiceFlags.NODE_WITNESS
            | ServiceFlags.NODE_COMPACT_FILTERS | ServiceFlags.NODE_NETWORK_LIMITED | ServiceFlags.NODE_P2P_V2)
COMPACT_VERSION = 2
BEFORE_VERACK = ("wtxidrelay", "sendaddrv2", "feature")
"""For these Bitcoin Core disconnects when they come later; others it does not know, or ignores."""

Handler = Callable[[NodeState, Session, Any], Iterator[BTCMessage]]


NODE_OPTIONS = PeerOptions(services=int(SERVICES), sendheaders=True, sendcmpct=COMPACT_VERSION)
"""What a node says of itself."""

ANYONE_CAN_SPEND = bytes.fromhex("00204ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260")
"""Pays to the witness script OP_TRUE: the witness `[b"\\x51"]` spends it."""
SPACING = 600


def mine_chain(store: BlockStore, blocks: int, script: bytes, now: int, random: Random) -> None:
    """Mine blocks on a chain, ten minutes apart (closer where there is no time for that), the last one now."""
    spacing = min(SPACING, max(1, (now - store.tip.time) // (blocks + 1)))
    for left in range(blocks - 1, -1, -1):
        store.mine(script, now - left * spacing, extra=random.randbytes(4))


def mined_store(blocks: int, now: int, network: Network = REGTEST, script: bytes = ANYONE_CAN_SPEND,
                random: Random | None = None) -> BlockStore:
    """A chain of so many blocks, which nodes can share; see `mine_chain`."""
    store = BlockStore(network)
    mine_chain(store, blocks, script, now, random or Random())
    return store


class Serving:
    """The node.

    :param options: what it says of itself
    :param store: its blocks, which it may change
    :param random: where nonces and choices come from
    """

    def __init__(self, options: PeerOptions, store: BlockStore, random: Random) -> None:
        self.state = NodeState(options, store, Mempool(store), KnownAddresses(random), random)

    @property
    def store(self) -> BlockStore:
        return self.state.store

    @property
    def pool(self) -> Mempool:
        return self.state.pool

    @property
    def sessions(self) -> set[Session]:
        return self.state.sessions

    def join(self, peer: Peer) -> Session:
        """A connection is there."""
        session = Session(peer)
        self.sessions.add(session)
        return session

    def leave(self, session: Session) -> None:
        """A connection has ended."""
        self.sessions.discard(session)

    def receive(self, session: Session, packet: Any, now: float) -> Iterator[BTCMessage]:
        """A packet, after the rules (`Peer.receive`) had it; what to answer, made one by one.

        Raises Misbehaved where the connection has to end.
        """
        self.state.now = now
        peer, message = session.peer, packet.payload
        if peer.established and not session.greeted:
            session.greeted = True
            yield from self._greet(session)
        if not isinstance(message, BTCMessage):
            return  # nobody knows it, or it cannot be read: Core ignores both
        if message.msgtype in BEFORE_VERACK and session.greeted:
            raise Misbehaved(f"{message.msgtype} after verack")
        handler = HANDLERS.get(message.msgtype)
        if handler and (session.greeted or (message.before_verack is None and peer.version is not None)):
            try:
                yield from handler(self.state, session, message)
            except FormatError as error:
                raise Misbehaved(f"{message.msgtype}: {error}") from error

    def _greet(self, session: Session) -> Iterator[BTCMessage]:
        if session.peer.outbound:
            yield BTCGetAddr()
        yield from fetching.ask_headers(self.state, session)
        for entry in self.pool:
            session.announce(entry)

    def news(self, session: Session) -> Iterator[BTCMessage]:
        """What waits to be announced to a peer."""
        return news(self.state, session) if session.greeted else iter(())

    def tick(self, now: float) -> Iterator[tuple[Session, BTCMessage]]:
        """Time has passed: what to send, and to whom."""
        self.state.now = now
        for session in list(self.sessions):
            fetching.give_up(self.state, session)
        for session in [session for session in self.sessions if session.greeted]:
            for message in (*fetching.next_blocks(self.state, session), *addresses(self.state, session)):
                yield session, message

    # What the owner of the node does

    def mine(self, script: bytes, time: int, extra: bytes = b"") -> Change:
        """Mine a block with what is in the memory pool; see `BlockStore.mine`."""
        change = self.store.mine(script, time, self.pool.for_block(), extra)
        fetching.chain_changed(self.state, change)
        return change

    def submit(self, transaction: BTCTx | bytes) -> PoolEntry:
        """Put a transaction into the memory pool, from where it is announced. Raises Rejected, FormatError."""
        raw = transaction if isinstance(transaction, bytes) else transaction.self_build()
        entry = self.pool.add(Tx(raw))
        for session in self.sessions:
            session.announce(entry)
        return entry

    def announce_address(self, address: Address, sessions: Iterable[Session] | None = None) -> None:
        """Tell peers where we listen."""
        self.state.addresses.add(address, self.state.options.services, int(self.state.now))
        for session in self.sessions if sessions is None else sessions:
            session.addresses.append(address)


# What peers say of what they want


def _sendheaders(node: NodeState, session: Session, message: Any) -> Iterator[BTCMessage]:
    session.wants_headers = True
    return iter(())


def _sendcmpct(node: NodeState, session: Session, message: Any) -> Iterator[BTCMessage]:
    if message.announce > 1:
        raise Misbehaved(f"sendcmpct with {message.announce}")
    if message.version == COMPACT_VERSION:
        session.compact, session.high_bandwidth = True, bool(message.announce)
    return iter(())


def _feefilter(node: NodeState, session: Session, message: Any) -> Iterator[BTCMessage]:
    if 0 <= message.feerate <= MAX_MONEY:
        session.fee_filter = message.feerate
    return iter(())


def _filterload(node: NodeState, session: Session, message: Any) -> Iterator[BTCMessage]:
    answering.need_bloom(node, "filterload")
    session.filter, session.relays = LoadedFilter(message), True
    return iter(())


def _filteradd(node: NodeState, session: Session, message: Any) -> Iterator[BTCMessage]:
    answering.need_bloom(node, "filteradd")
    if session.filter is None or len(message.data) > MAX_SCRIPT_ELEMENT_SIZE:
        raise Misbehaved(f"filteradd of {len(message.data)} bytes, or without a filter")
    session.filter.bloom.insert(message.data)
    return iter(())


def _filterclear(node: NodeState, session: Session, message: Any) -> Iterator[BTCMessage]:
    answering.need_bloom(node, "filterclear")
    session.filter, session.relays = None, True
    return iter(())


def _addr(node: NodeState, session: Session, message: Any) -> Iterator[BTCMessage]:
    if len(message.addresses) > MAX_ADDR_TO_SEND:
        raise Misbehaved(f"{len(message.addresses):,} addresses")
    session.takes_addresses = True
    relay_addresses(node, session, node.addresses.learn(message, node.now), len(message.addresses))
    return iter(())


HANDLERS: dict[str, Handler] = {
    "sendheaders": _sendheaders, "sendcmpct": _sendcmpct, "feefilter": _feefilter,
    "filterload": _filterload, "filteradd": _filteradd, "filterclear": _filterclear,
    "addr": _addr, "addrv2": _addr,
    **{handler.__name__: handler for handler in (
        answering.getheaders, answering.getblocks, answering.getdata, answering.getblocktxn, answering.mempool,
        answering.getaddr, answering.getcfilters, answering.getcfheaders, answering.getcfcheckpt,
        fetching.inv, fetching.tx, fetching.headers, fetching.block, fetching.cmpctblock, fetching.blocktxn)},
}
"""What is done with a message, by its name."""
