# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks put together of compact ones, as Bitcoin Core nodes did it while they were recorded."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from recordings import items_of

from scapy_btc.all import BTCBlock, BTCCmpctBlock, BTCPrefilledTx, Message
from scapy_btc.chain.short_ids import short_id, short_id_key
from scapy_btc.errors import FormatError
from scapy_btc.layers.lists import raws
from scapy_btc.peer.block import check_block
from scapy_btc.peer.compact import PartialBlock
from scapy_btc.peer.transaction import Tx

HASH = "5e243aeee74583a13a745a289e5cc3c1be1d19993fa280edd983961868133bf4"
"""Of the block whose two transactions the recorded node did not know."""


def recorded() -> dict[str, Any]:
    """The messages of that exchange: what one node sent, what the other asked for and got, and the whole block."""
    found: dict[str, Any] = {}
    for item in items_of("core-v1-regtest.pcapng"):
        if isinstance(item, Message) and item.msgtype in ("cmpctblock", "getblocktxn", "blocktxn", "block"):
            message = item.packet.payload
            if message.block_hash == HASH and len(bytes(message)) > len(bytes(found.get(item.msgtype, b""))):
                found[item.msgtype] = message
    return found


RECORDED = recorded()
TRANSACTIONS = [Tx(raw) for raw in raws(RECORDED["block"].transactions)]


def test_what_the_node_asked_for_and_made_of_the_answer() -> None:
    partial = PartialBlock(RECORDED["cmpctblock"])
    assert partial.missing == [1, 2]
    assert bytes(partial.request()) == bytes(RECORDED["getblocktxn"])
    partial.fill(list(raws(RECORDED["blocktxn"].transactions)))
    assert partial.missing == []
    assert partial.payload() == bytes(RECORDED["block"])
    check_block(partial.payload())


@pytest.mark.parametrize("known", [c for n in range(3) for c in combinations((1, 2), n)])
def test_only_what_is_not_known_is_missing(known: tuple[int, ...]) -> None:
    stranger = Tx(bytes(RECORDED["cmpctblock"].prefilled[0].transaction))
    partial = PartialBlock(RECORDED["cmpctblock"], [stranger, *(TRANSACTIONS[number] for number in known)])
    assert partial.missing == [number for number in (1, 2) if number not in known]
    partial.fill([TRANSACTIONS[number].raw for number in partial.missing])
    assert partial.payload() == bytes(RECORDED["block"])


def test_too_few_and_too_many_transactions() -> None:
    for count in (0, 1, 3):
        with pytest.raises(FormatError, match=f"{count} transactions for 2"):
            PartialBlock(RECORDED["cmpctblock"]).fill([TRANSACTIONS[1].raw] * count)


def test_a_transaction_with_the_short_id_of_another() -> None:
    """It is taken, and only the merkle root tells."""
    partial = PartialBlock(RECORDED["cmpctblock"])
    partial.fill([TRANSACTIONS[2].raw, TRANSACTIONS[1].raw])
    assert BTCBlock(partial.payload()).block_hash == HASH
    with pytest.raises(Exception, match="merkle root"):
        check_block(partial.payload())


def changed(**fields: Any) -> BTCCmpctBlock:
    message = RECORDED["cmpctblock"].copy()
    for name, value in fields.items():
        setattr(message, name, value)
    message.shortids_count = message.prefilled_count = None
    return BTCCmpctBlock(bytes(message))


def test_two_known_transactions_with_one_short_id_are_both_doubted() -> None:
    class Twin(Tx):
        __slots__ = ()

    twin = Twin(TRANSACTIONS[0].raw)
    twin.wtxid = TRANSACTIONS[1].wtxid
    assert PartialBlock(RECORDED["cmpctblock"], [TRANSACTIONS[1], twin]).missing == [1, 2]


@pytest.mark.parametrize("fields", [
    {"shortids": [7, 7]},  # the same twice: BIP 152 wants the whole block then
    {"shortids": [], "prefilled": []},
    {"prefilled": [BTCPrefilledTx(index=3)]},  # of three
    {"prefilled": [BTCPrefilledTx(index=2), BTCPrefilledTx(index=1)]},  # at 2 and 4 of four
    {"prefilled": [BTCPrefilledTx(index=2**64 - 1), BTCPrefilledTx(index=2**64 - 1)]},
    {"shortids": list(range(0x10000))},  # 65,537 transactions
])
def test_what_is_no_compact_block(fields: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        PartialBlock(changed(**fields))


def test_short_ids_are_those_of_the_recording() -> None:
    key = short_id_key(bytes(RECORDED["cmpctblock"].header), RECORDED["cmpctblock"].nonce)
    assert [short_id(key, tx.wtxid) for tx in TRANSACTIONS[1:]] == RECORDED["cmpctblock"].shortids
