# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from a message without standing in it: ids of nested transactions, addresses, scripts as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..chain.proof_of_work import difficulty
from ..chain.script import address, disassemble, script_type
from ..chain.short_ids import absolute_indexes
from ..layers.registry import BTCMessage
from ..networks import MAINNET, Network
from ..wire.hashes import hash_hex, sha256d
from .following import transactions_in
from .inventory import headers_in
from .transactions import BTCTx, Places, txid_at


def enrich(cls: type[BTCMessage], payload: bytes, record: Mapping[str, Any], network: Network | None) -> dict[str, Any]:
    """Derived values of a whole, well-formed payload.

    :param record: its record
    :param network: whose addresses to print; None means mainnet's
    """
    found: dict[str, Any] = {}
    header = record.get("header")
    if header:
        found["difficulty"] = difficulty(header["bits"])
    if cls.msgtype == "headers":
        found["block_hashes"] = [hash_hex(sha256d(header)) for header in headers_in(payload)]
    if cls.msgtype in ("getblocktxn", "getsegdata"):
        found.update(_positions(record["indexes"]))
    if cls.msgtype == "cmpctblock":
        found.update(_positions([entry["index"] for entry in record["prefilled"]]))
    places = list(transactions_in(cls.msgtype, payload))
    if cls is BTCTx:
        found.update(_spoken(record, network))
    elif places:
        found["transactions"] = [_transaction(payload, place, network) for place in places]
    return found


def _positions(differences: list[int]) -> dict[str, list[int]]:
    """Positions in the block; nothing where they are none, beyond 64 bits, which JSON could not hold either."""
    indexes = absolute_indexes(differences)
    return {} if indexes and indexes[-1] >> 64 else {"absolute_indexes": indexes}


def _transaction(payload: bytes, places: Places, network: Network | None) -> dict[str, Any]:
    p, e = places[0], places[-1]
    record = BTCTx.plan.record(payload, p, e)[0]
    return {"txid": hash_hex(txid_at(payload, places)), "wtxid": hash_hex(sha256d(payload[p:e])),
            **_spoken(record, network)}


def _spoken(record: Mapping[str, Any], network: Network | None) -> dict[str, Any]:
    """Inputs and outputs as people speak of them."""
    return {
        "inputs": [{"script_text": disassemble(bytes.fromhex(i["script"]))} for i in record["inputs"]],
        "outputs": [_output(bytes.fromhex(o["script"]), network or MAINNET) for o in record["outputs"]],
    }


def _output(script: bytes, network: Network) -> dict[str, Any]:
    spoken: dict[str, Any] = {"script_text": disassemble(script), "script_type": script_type(script)}
    if paid := address(script, network):
        spoken["address"] = paid
    return spoken
