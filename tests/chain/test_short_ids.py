# SPDX-License-Identifier: GPL-2.0-or-later
"""Compact block ids and indexes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.chain.short_ids import absolute_indexes, differential_indexes, short_id, short_id_key
from scapy_btc.networks import MAINNET
from scapy_btc.wire.hashes import hex_hash

VECTORS = Path(__file__).parents[1] / "vectors" / "chain"


def test_recorded_compact_block():
    recorded = json.loads((VECTORS / "short-ids.json").read_text())
    key = short_id_key(bytes.fromhex(recorded["header"]), recorded["nonce"])
    ids = [short_id(key, hex_hash(txid)).to_bytes(6, "little").hex() for txid in recorded["txids"]]
    assert ids == recorded["short_ids"]
    assert len(ids) == 9


def test_genesis_coinbase():
    # computed by an implementation that shares nothing with this one
    key = short_id_key(MAINNET.genesis, 0x0123456789ABCDEF)
    assert key == (0x52F1458BC3816130, 0xD82182C249AF75C6)
    coinbase = hex_hash("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b")
    assert short_id(key, coinbase).to_bytes(6, "little").hex() == "ddbd83317cd9"


# rust-bitcoin, p2p/src/bip152.rs: the indexes of getblocktxn on the wire
@pytest.mark.parametrize(
    ("wire", "indexes"),
    [
        ([0], [0]),
        ([0, 0, 0, 0, 0], [0, 1, 2, 3, 4]),
        ([1, 1, 1], [1, 3, 5]),
        ([0, 0, 255], [0, 1, 257]),
        ([0, 5, 0], [0, 6, 7]),
        ([], []),
    ],
)
def test_differential_indexes(wire, indexes):
    assert absolute_indexes(wire) == indexes
    assert differential_indexes(indexes) == wire


@pytest.mark.parametrize("indexes", [[0, 0], [3, 2], [-1]])
def test_indexes_must_rise(indexes):
    with pytest.raises(ValueError, match="must rise"):
        differential_indexes(indexes)


@given(st.sets(st.integers(0, 2**16)))
def test_round_trip_of_indexes(indexes):
    assert absolute_indexes(differential_indexes(sorted(indexes))) == sorted(indexes)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_any_differences_give_rising_indexes(differences):
    assert differential_indexes(absolute_indexes(differences)) == differences
