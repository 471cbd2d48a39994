# SPDX-License-Identifier: GPL-2.0-or-later
"""How a node gets what it does not have: headers first, then blocks in their order; transactions when announced.

Functions as in `answering`: what they give is to be sent to the peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from ..chain.proof_of_work import check_header
from ..errors import FormatError, InvalidHeader, Misbehaved, Rejected
from ..layers.lists import raws
from ..layers.registry import BTCMessage
from ..messages.inventory import BTCGetData, BTCGetHeaders
from ..protocol import (
    MAX_BLOCKS_IN_TRANSIT_PER_PEER,
    MAX_GETDATA_SZ,
    MAX_HEADERS_RESULTS,
    MAX_INV_SZ,
    MSG_TYPE_MASK,
    MSG_WITNESS_FLAG,
    InvType,
    ServiceFlags,
)
from ..wire.hashes import sha256d
from .answering import inventory, vector
from .answers import vectors_in
from .block import HEADER
from .block_store import Change
from .compact import PartialBlock
from .session import BLOCKS_SERVED, NodeState, Session
from .transaction import Tx

Answers = Iterator[BTCMessage]

BLOCK_TIMEOUT = 60.0
"""Seconds that a peer may take for a block; after that another one is asked."""
MISSING_INPUTS = "bad-txns-inputs-missingorspent"
UNCERTAIN = ("time-too-new", "prev-blk-not-found", "too many blocks")
"""Reasons to refuse a block that do not say that it is wrong."""


def ask_headers(node: NodeState, session: Session) -> Answers:
    """What asks for the headers that we do not have."""
    if session.services & BLOCKS_SERVED:
        yield BTCGetHeaders(locator=node.store.headers.locator())


def inv(node: NodeState, session: Session, message: Any) -> Answers:
    """Ask for the transactions that are new, and for the headers of blocks that are."""
    if len(message.inventory) > MAX_INV_SZ:
        raise Misbehaved(f"inv of {len(message.inventory):,} entries")
    wanted = InvType.MSG_WTX if session.by_wtxid else InvType.MSG_TX
    new_block, new = False, []
    for kind, of in vectors_in(message):
        if kind & MSG_TYPE_MASK == InvType.MSG_BLOCK:
            block = node.store.get(of)
            new_block |= block is None
            if block:
                node.saw(session, block)
        elif kind == wanted:
            if not node.options.relay:
                raise Misbehaved("transactions, although we said that we want none")
            session.known.add(of)
            if of not in node.rejected and node.pool.get(of) is None:
                new.append(vector(_fetched_as(session, kind), of))
    if new_block:
        yield from ask_headers(node, session)
    for start in range(0, len(new), MAX_GETDATA_SZ):
        yield inventory(BTCGetData, new[start:start + MAX_GETDATA_SZ])


def _fetched_as(session: Session, kind: int) -> int:
    """The type to ask with: with witness, where the peer knows it."""
    witness = session.services & ServiceFlags.NODE_WITNESS and kind != InvType.MSG_WTX
    return kind | MSG_WITNESS_FLAG if witness else kind


def tx(node: NodeState, session: Session, message: Any) -> Answers:
    """Take a transaction, and announce it to the others. A wrong one is nobody's fault, as in Bitcoin Core since 30."""
    if not node.options.relay:
        raise Misbehaved("a transaction, although we said that we want none")
    found = Tx(message.self_build())
    session.learn_transaction(found)
    try:
        entry = node.pool.add(found)
    except Rejected as error:
        if error.reason != MISSING_INPUTS:  # those may still come
            node.rejected.update((found.txid, found.wtxid))
        return
    for other in node.sessions:
        other.announce(entry)
    yield from ()


def headers(node: NodeState, session: Session, message: Any) -> Answers:
    """Note which blocks are new, and ask for the first of them."""
    found = [raw[:HEADER] for raw in raws(message.headers)]
    if len(found) > MAX_HEADERS_RESULTS:
        raise Misbehaved(f"{len(found):,} headers")
    previous = found[0][4:36] if found else b""
    for header in found:
        if header[4:36] != previous:
            raise Misbehaved("headers that do not follow each other")
        if not check_header(header, node.options.network.pow_limit):
            raise Misbehaved("a header without proof of work")
        previous = sha256d(header)
    if not found:
        return
    first = found[0][4:36]
    if node.store.get(first) is None:
        if not session.to_fetch or session.to_fetch[-1] != first or len(session.to_fetch) >= MAX_HEADERS_RESULTS:
            yield from ask_headers(node, session)
            return
    else:
        session.to_fetch.clear()
    for header in found:
        block_hash = sha256d(header)
        block = node.store.get(block_hash)
        if block is None:
            session.to_fetch.append(block_hash)
        else:
            node.saw(session, block)
    session.more = len(found) == MAX_HEADERS_RESULTS
    yield from next_blocks(node, session)


def next_blocks(node: NodeState, session: Session) -> Answers:
    """Ask for the next blocks that are not on their way, and for more headers when all are there."""
    while session.to_fetch and node.store.get(session.to_fetch[0]):
        session.to_fetch.popleft()
    if not session.to_fetch:
        if session.more:
            session.more = False
            yield from ask_headers(node, session)
        return
    awaited = {of for other in node.sessions for of, until in other.asked.items() if until > node.now}
    room = MAX_BLOCKS_IN_TRANSIT_PER_PEER - len(session.asked)
    wanted = [of for of in islice(session.to_fetch, MAX_BLOCKS_IN_TRANSIT_PER_PEER)
              if of not in awaited and node.store.get(of) is None][:max(0, room)]
    if not wanted:
        return
    kind = InvType.MSG_WITNESS_BLOCK if session.services & ServiceFlags.NODE_WITNESS else InvType.MSG_BLOCK
    if session.compact and len(session.to_fetch) == 1:
        kind = InvType.MSG_CMPCT_BLOCK
    session.asked.update(dict.fromkeys(wanted, node.now + BLOCK_TIMEOUT))
    yield inventory(BTCGetData, [vector(kind, of) for of in wanted])


def give_up(node: NodeState, session: Session) -> None:
    """Forget what a peer announced and does not send."""
    if any(until <= node.now for until in session.asked.values()):
        session.asked.clear()
        session.to_fetch.clear()
        session.partial, session.more = None, False


def block(node: NodeState, session: Session, message: Any) -> Answers:
    """Take a block."""
    yield from _take(node, session, message.self_build())


def cmpctblock(node: NodeState, session: Session, message: Any) -> Answers:
    """Make the block of what is in the memory pool, and ask for the rest."""
    header = bytes(message.header)
    block_hash = sha256d(header)
    known = node.store.get(block_hash)
    if known:
        node.saw(session, known)
        return
    if node.store.get(header[4:36]) is None:
        yield from ask_headers(node, session)
        return
    if not check_header(header, node.options.network.pow_limit):
        raise Misbehaved("a compact block without proof of work")
    try:
        partial = PartialBlock(message, (entry.tx for entry in node.pool))
    except FormatError:
        yield from _whole(session, block_hash)
        return
    if not partial.missing:
        yield from _take_made(node, session, partial)
        return
    if session.partial:
        session.asked.pop(session.partial.block_hash, None)
    session.partial = partial
    session.asked[block_hash] = node.now + BLOCK_TIMEOUT
    yield partial.request()


def blocktxn(node: NodeState, session: Session, message: Any) -> Answers:
    """Complete the compact block that waits for it."""
    partial = session.partial
    if partial is None or partial.block_hash != message.fields["block_hash"]:
        return
    session.partial = None
    try:
        partial.fill(list(raws(message.transactions)))
    except FormatError as error:
        raise Misbehaved(str(error)) from error
    yield from _take_made(node, session, partial)


def _take_made(node: NodeState, session: Session, partial: PartialBlock) -> Answers:
    """Take a block that was made of a compact one; short ids are short, so it may be another than was meant."""
    try:
        yield from _take(node, session, partial.payload())
    except Misbehaved:
        yield from _whole(session, partial.block_hash)


def _whole(session: Session, block_hash: bytes) -> Answers:
    yield inventory(BTCGetData, [vector(InvType.MSG_WITNESS_BLOCK, block_hash)])


def _take(node: NodeState, session: Session, payload: bytes) -> Answers:
    block_hash = sha256d(payload[:HEADER])
    session.asked.pop(block_hash, None)
    try:
        change = node.store.add(payload, node.now)
    except (Rejected, InvalidHeader, FormatError) as error:
        if getattr(error, "reason", "") == "prev-blk-not-found" and node.store.get(payload[4:36]) is None:
            yield from ask_headers(node, session)
        elif getattr(error, "reason", "") not in UNCERTAIN:
            raise Misbehaved(f"a block that is wrong: {error}") from error
        return
    taken = node.store.get(block_hash)
    if taken:
        node.saw(session, taken)
    if change:
        chain_changed(node, change)
    yield from next_blocks(node, session)


def chain_changed(node: NodeState, change: Change) -> None:
    """The chain has another tip: have the memory pool follow, and announce the blocks."""
    node.rejected.clear()
    confirmed = {each.txid for block in change.connected for each in block.transactions()}
    node.pool.follow((each for block in reversed(change.disconnected) for each in block.transactions()), confirmed)
    for session in node.sessions:
        session.blocks.extend(block.hash for block in change.connected)
