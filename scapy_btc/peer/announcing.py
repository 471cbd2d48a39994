# SPDX-License-Identifier: GPL-2.0-or-later
"""What a node tells its peers unasked: new blocks, transactions, addresses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ..layers.registry import BTCMessage
from ..messages.inventory import BTCInv
from ..protocol import MAX_ADDR_TO_SEND, MAX_BLOCKS_TO_ANNOUNCE, InvType
from .answering import headers_of, vector
from .block import Block
from .compact import compact
from .known_addresses import Address
from .session import NodeState, Session

MAX_INV_ANNOUNCED = 1_000
"""Transactions in one announcement."""
RELAYED_TO = 2
"""Peers to which a fresh address is told."""
MAX_ADDR_RELAYED = 10
"""Addresses in a message that are told to others."""


def news(node: NodeState, session: Session) -> Iterator[BTCMessage]:
    """Blocks and transactions that wait to be announced to a peer."""
    if session.blocks:
        yield from _blocks(node, session)
    while session.transactions:
        entries = [session.transactions.pop(txid) for txid in list(islice(session.transactions, MAX_INV_ANNOUNCED))]
        yield from _transactions(node, session, [entry.tx.txid for entry in entries])


def addresses(node: NodeState, session: Session) -> Iterator[BTCMessage]:
    """The addresses that wait to be told to a peer. Not at once: those of many messages go in one."""
    if session.addresses:
        told = [session.addresses.popleft() for _ in range(min(len(session.addresses), MAX_ADDR_TO_SEND))]
        message = node.addresses.message(told, "sendaddrv2" in session.peer.agreed)
        if message:
            yield message


def _transactions(node: NodeState, session: Session, txids: list[bytes]) -> Iterator[BTCMessage]:
    kind = InvType.MSG_WTX if session.by_wtxid else InvType.MSG_TX
    inventory = []
    for entry in filter(None, map(node.pool.get, txids)):  # some may be in a block meanwhile
        if session.has_transaction(entry.tx):
            continue
        session.learn_transaction(entry.tx)
        inventory.append(vector(kind, entry.tx.wtxid if session.by_wtxid else entry.tx.txid))
    if inventory:
        yield BTCInv(inventory=inventory)


def _blocks(node: NodeState, session: Session) -> Iterator[BTCMessage]:
    """New blocks in the form that the peer asked for; where that does not do, an `inv` of the tip."""
    found = [block for block in map(node.store.get, session.blocks) if block and block in node.store]
    session.blocks.clear()
    new = [block for block in found if not node.peer_has(session, block)]
    if not new:
        return
    tip = new[-1]
    if len(found) > MAX_BLOCKS_TO_ANNOUNCE or not _connects(node, session, new):
        yield BTCInv(inventory=[vector(InvType.MSG_BLOCK, tip.hash)])
        return
    if len(new) == 1 and session.high_bandwidth:
        yield compact(tip.header, tip.transactions(), node.random.getrandbits(64))
    elif session.wants_headers:
        yield headers_of(new)
    else:
        yield BTCInv(inventory=[vector(InvType.MSG_BLOCK, tip.hash)])
        return
    node.saw(session, tip)


def _connects(node: NodeState, session: Session, blocks: list[Block]) -> bool:
    """Whether the peer has the block before these."""
    before = node.store.get(blocks[0].previous)
    return before is not None and node.peer_has(session, before)


def relay_addresses(node: NodeState, source: Session, addresses: list[Address], count: int) -> None:
    """Tell fresh addresses to two others.

    :param count: of addresses in the message they came in
    """
    source.known_addresses.update(addresses)
    others = [session for session in node.sessions if session is not source and session.takes_addresses]
    if count > MAX_ADDR_RELAYED or not others:
        return
    for address in addresses:
        for session in node.random.sample(others, min(RELAYED_TO, len(others))):
            if address not in session.known_addresses:
                session.known_addresses.add(address)
                session.addresses.append(address)
