# SPDX-License-Identifier: GPL-2.0-or-later
"""Which transaction or block a message speaks of, also where its id is not in the bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..chain.short_ids import short_id, short_id_key
from ..layers.parts import PartListField
from ..layers.registry import lookup
from ..wire.hashes import sha256d
from .blocks import BTCCmpctBlock, BTCPrefilledTx
from .inventory import headers_in
from .transactions import BTCTx, Places, TransactionMessage, txid_at


def transactions_in(msgtype: str, payload: bytes) -> Iterator[Places]:
    """Where each whole transaction that a message carries starts, its fields start, and it ends.

    Raises one of `layers.plan.BROKEN` where the payload cannot be read.
    """
    cls = lookup(msgtype)
    if cls is None or not cls.fields_desc:
        return
    starts, e = BTCTx.plan.starts, len(payload)
    if issubclass(cls, TransactionMessage):
        yield starts(payload, 0, e)
        return
    last = cls.fields_desc[-1]
    if not isinstance(last, PartListField) or last.cls not in (BTCTx, BTCPrefilledTx):
        return
    *_, p, end = cls.plan.starts(payload, 0, e)
    while p < end:
        if last.cls is BTCPrefilledTx:  # the differential index before the transaction
            p += {0xFD: 3, 0xFE: 5, 0xFF: 9}.get(payload[p], 1)
        places = starts(payload, p, e)
        yield places
        p = places[-1]


def tx_ids_in(msgtype: str, payload: bytes, wanted: Collection[bytes]) -> set[bytes]:
    """The wanted ids that a message speaks of, and the other id (txid, wtxid) of each transaction it carries whole.

    An id is spoken of where it stands in the bytes (inventories, the outpoints that spend it, merkle proofs), where
    its transaction is carried, and where its short id is in a compact block (BIP 152).

    :param wanted: txids or wtxids, 32 wire bytes each
    """
    found = {tx_id for tx_id in wanted if tx_id in payload}
    for places in transactions_in(msgtype, payload):
        ids = {txid_at(payload, places), sha256d(payload[places[0]:places[-1]])}
        if not ids.isdisjoint(wanted):
            found |= ids
    if msgtype == "cmpctblock":
        start, end = (BTCCmpctBlock.plan.starts(payload, 0, len(payload))[i] for i in (3, 4))
        key = short_id_key(payload[:80], int.from_bytes(payload[80:88], "little"))
        short = {payload[p:p + 6] for p in range(start, end, 6)}
        found |= {tx_id for tx_id in wanted if short_id(key, tx_id).to_bytes(6, "little") in short}
    return found


def mentions_block(msgtype: str, payload: bytes, wanted: Collection[bytes]) -> bool:
    """Whether a message speaks of one of the wanted blocks: by hash, or by carrying its header.

    :param wanted: block hashes, 32 wire bytes each
    """
    if any(block_hash in payload for block_hash in wanted):
        return True
    if msgtype in ("block", "merkleblock", "cmpctblock"):
        return sha256d(payload[:80]) in wanted
    if msgtype == "headers":
        return any(sha256d(header) in wanted for header in headers_in(payload))
    return False


