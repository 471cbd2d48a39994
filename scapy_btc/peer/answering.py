# SPDX-License-Identifier: GPL-2.0-or-later
"""What a node answers to those who ask for what it has, as Bitcoin Core does.

Each function takes the node, the peer that asks and its message, and gives the answers one by one: whoever sends them
makes the next one when there is room for it. Raises Misbehaved where Bitcoin Core disconnects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from ..chain.block_filter import filter_hash
from ..errors import FormatError, Misbehaved
from ..layers.registry import BTCMessage
from ..messages.blocks import BTCBlock
from ..messages.filters import BTCCFCheckpt, BTCCFHeaders, BTCCFilter
from ..messages.inventory import BTCHeaders, BTCHeadersEntry, BTCInv, BTCNotFound
from ..messages.transactions import BTCTx
from ..protocol import (
    CFCHECKPT_INTERVAL,
    MAX_BLOCKTXN_DEPTH,
    MAX_CMPCTBLOCK_DEPTH,
    MAX_GETBLOCKS_RESULTS,
    MAX_GETCFHEADERS_SIZE,
    MAX_GETCFILTERS_SIZE,
    MAX_HEADERS_RESULTS,
    MAX_INV_SZ,
    MAX_LOCATOR_SZ,
    InvType,
    ServiceFlags,
)
from ..wire import compactsize
from .answers import vectors_in
from .block import Block
from .compact import asked_transactions, compact
from .session import NodeState, Session

Answers = Iterator[BTCMessage]
T = TypeVar("T", bound=BTCMessage)

NOTHING = bytes(32)
BASIC = 0
TRANSACTIONS = (InvType.MSG_TX, InvType.MSG_WITNESS_TX, InvType.MSG_WTX)


def vector(kind: int, of: bytes) -> bytes:
    """An inventory vector's bytes."""
    return kind.to_bytes(4, "little") + of


def inventory(cls: type[T], vectors: list[bytes]) -> T:
    """A message of these inventory vectors; none becomes a Packet: there may be 50,000."""
    message: T = cls.from_wire(compactsize.encode(len(vectors)) + b"".join(vectors))
    return message


def headers_of(blocks: list[Block]) -> BTCHeaders:
    message: BTCHeaders = BTCHeaders(headers=[BTCHeadersEntry.from_wire(block.header + b"\0") for block in blocks])
    return message


def block_message(payload: bytes) -> BTCBlock:
    message: BTCBlock = BTCBlock.from_wire(payload)
    return message


def getheaders(node: NodeState, session: Session, message: Any) -> Answers:
    """Headers after the locator; without one, that of `stop`."""
    locator, stop = locator_of(message)
    if not locator:
        block = node.store.get(stop)
        if block:
            yield headers_of([block])
        return
    fork = node.store.fork_point(locator)
    found = []
    for height in range(fork.height + 1, min(node.store.height, fork.height + MAX_HEADERS_RESULTS) + 1):
        found.append(node.store.at(height))
        if found[-1].hash == stop:
            break
    node.saw(session, found[-1] if found else fork)
    yield headers_of(found)


def getblocks(node: NodeState, session: Session, message: Any) -> Answers:
    """The hashes of the blocks after the locator, up to the one before `stop`."""
    locator, stop = locator_of(message)
    fork = node.store.fork_point(locator)
    found = []
    for height in range(fork.height + 1, min(node.store.height, fork.height + MAX_GETBLOCKS_RESULTS) + 1):
        block = node.store.at(height)
        if block.hash == stop:
            break
        found.append(vector(InvType.MSG_BLOCK, block.hash))
    if len(found) == MAX_GETBLOCKS_RESULTS:
        session.continue_from = found[-1][4:]
    if found:
        yield inventory(BTCInv, found)


def locator_of(message: Any) -> tuple[list[bytes], bytes]:
    if len(message.locator) > MAX_LOCATOR_SZ:
        raise Misbehaved(f"a locator of {len(message.locator)} hashes")
    return message.locator, message.fields["stop"]


def getdata(node: NodeState, session: Session, message: Any) -> Answers:
    """What is there of what was asked for, in that order; the transactions that are not, in one `notfound`."""
    if len(message.inventory) > MAX_INV_SZ:
        raise Misbehaved(f"getdata of {len(message.inventory):,} entries")
    missing = []
    for kind, of in vectors_in(message):
        if kind in TRANSACTIONS:
            entry = node.pool.get(of)
            if entry is None:
                missing.append(vector(kind, of))
                continue
            session.learn_transaction(entry.tx)
            yield BTCTx.from_wire(entry.tx.stripped if kind == InvType.MSG_TX else entry.tx.raw)
            continue
        block = node.store.get(of)
        if block:
            yield from _block_as(node, session, block, kind)
            if of == session.continue_from:
                session.continue_from = b""
                yield inventory(BTCInv, [vector(InvType.MSG_BLOCK, node.store.tip.hash)])
    if missing:
        yield inventory(BTCNotFound, missing)


def _block_as(node: NodeState, session: Session, block: Block, kind: int) -> Answers:
    if kind == InvType.MSG_BLOCK:
        yield block_message(block.stripped())
    elif kind == InvType.MSG_CMPCT_BLOCK and block.height >= node.store.height - MAX_CMPCTBLOCK_DEPTH:
        yield compact(block.header, block.transactions(), node.random.getrandbits(64))
    elif kind in (InvType.MSG_WITNESS_BLOCK, InvType.MSG_CMPCT_BLOCK):
        yield block_message(block.payload)
    elif kind == InvType.MSG_FILTERED_BLOCK and session.filter:
        proof, matching = session.filter.merkle_block(block.header, block.transactions())
        yield proof
        for tx in matching:
            yield BTCTx.from_wire(tx.stripped)


def getblocktxn(node: NodeState, session: Session, message: Any) -> Answers:
    """Transactions of a block; of one that lies deeper, the whole block."""
    block = node.store.get(message.fields["block_hash"])
    if block is None:
        return
    if block.height < node.store.height - MAX_BLOCKTXN_DEPTH:
        yield block_message(block.payload)
        return
    try:
        yield asked_transactions(message, block.transactions())
    except FormatError as error:
        raise Misbehaved(str(error)) from error


def mempool(node: NodeState, session: Session, message: Any) -> Answers:
    """The ids of the memory pool that the peer's filters let through (BIP 35)."""
    need_bloom(node, "mempool")
    kind = InvType.MSG_WTX if session.by_wtxid else InvType.MSG_TX
    found = []
    for entry in list(node.pool):
        if entry.fee_rate < session.fee_filter or (session.filter and not session.filter.matches(entry.tx)):
            continue
        session.learn_transaction(entry.tx)
        found.append(vector(kind, entry.tx.wtxid if session.by_wtxid else entry.tx.txid))
    for start in range(0, len(found), MAX_INV_SZ):
        yield inventory(BTCInv, found[start:start + MAX_INV_SZ])


def need_bloom(node: NodeState, what: str) -> None:
    if not node.options.services & ServiceFlags.NODE_BLOOM:
        raise Misbehaved(f"{what}, and bloom filters are not offered")


def getaddr(node: NodeState, session: Session, message: Any) -> Answers:
    """Addresses, once, and only to those who connected to us."""
    session.takes_addresses = True
    if session.peer.outbound or session.getaddr_answered:
        return
    session.getaddr_answered = True
    answer = node.addresses.message(node.addresses.some(), "sendaddrv2" in session.peer.agreed)
    if answer:
        yield answer


# Compact filters (BIP 157)


def getcfilters(node: NodeState, session: Session, message: Any) -> Answers:
    """One filter for each block."""
    for block in _range(node, message, MAX_GETCFILTERS_SIZE):
        yield BTCCFilter(filter_type=BASIC, block_hash=block.hash, filter=block.filter())


def getcfheaders(node: NodeState, session: Session, message: Any) -> Answers:
    """The hash of each block's filter."""
    blocks = _range(node, message, MAX_GETCFHEADERS_SIZE)
    before = node.store.get(blocks[0].previous)
    yield BTCCFHeaders(filter_type=BASIC, stop_hash=blocks[-1].hash,
                       previous_filter_header=node.store.filter_header(before) if before else NOTHING,
                       filter_hashes=[filter_hash(block.filter()) for block in blocks])


def getcfcheckpt(node: NodeState, session: Session, message: Any) -> Answers:
    """Every thousandth filter header."""
    stop = _stop(node, message)
    branch = node.store.branch(0, stop)
    yield BTCCFCheckpt(filter_type=BASIC, stop_hash=stop.hash,
                       filter_headers=[node.store.filter_header(block) for block in branch[CFCHECKPT_INTERVAL::
                                                                                           CFCHECKPT_INTERVAL]])


def _stop(node: NodeState, message: Any) -> Block:
    if not node.options.services & ServiceFlags.NODE_COMPACT_FILTERS or message.filter_type != BASIC:
        raise Misbehaved(f"filters of type {message.filter_type} are not offered")
    stop = node.store.get(message.fields["stop_hash"])
    if stop is None or stop.spent is None:
        raise Misbehaved("filters up to a block that is not known")
    return stop


def _range(node: NodeState, message: Any, limit: int) -> list[Block]:
    stop = _stop(node, message)
    start = message.start_height
    if not stop.height - limit < start <= stop.height:
        raise Misbehaved(f"filters from height {start:,} to {stop.height:,}")
    return node.store.branch(start, stop)
