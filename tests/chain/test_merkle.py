# SPDX-License-Identifier: GPL-2.0-or-later
"""Merkle roots and witness commitments: real blocks, a naive model, and python-bitcoinlib."""

import json
from pathlib import Path

import pytest
from bitcoin.core import CBlock
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.chain.merkle import (
    check_witness_commitment,
    find_witness_commitment,
    merkle_root,
    witness_commitment,
    witness_root,
)
from scapy_btc.wire.hashes import hex_hash, sha256d

VECTORS = Path(__file__).parents[1] / "vectors" / "chain"
TREES = json.loads((VECTORS / "merkle-trees.json").read_text())
BLOCKS = [
    CBlock.deserialize(bytes.fromhex(row["block"])) for row in json.loads((VECTORS / "block-filters.json").read_text())
]

HASH = st.binary(min_size=32, max_size=32)
COMMITMENT = bytes.fromhex("6a24aa21a9ed")


def naive_root(hashes):
    """Bitcoin's rule as a sentence: pair up, double the odd one out, repeat."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else bytes(32)
    padded = hashes + hashes[-1:] * (len(hashes) % 2)
    return naive_root([sha256d(a + b) for a, b in zip(padded[::2], padded[1::2], strict=True)])


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree["block_hash"][8:20])
def test_root_of_real_blocks(tree):
    root, mutated = merkle_root([hex_hash(txid) for txid in tree["txids"]])
    assert root == bytes.fromhex(tree["header"])[36:68]
    assert not mutated


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.GetHash()[:4].hex())
def test_blocks_of_bip158(block):
    assert merkle_root([tx.GetTxid() for tx in block.vtx]).root == block.hashMerkleRoot


@given(st.lists(HASH, max_size=40))
def test_root_agrees_with_the_naive_model(hashes):
    assert merkle_root(hashes).root == naive_root(hashes)


@given(st.lists(HASH, min_size=1, max_size=40))
def test_root_agrees_with_python_bitcoinlib(hashes):
    assert merkle_root(hashes).root == CBlock.build_merkle_tree_from_txids(hashes)[-1]


def test_no_hashes():
    assert merkle_root([]) == (bytes(32), False)


@given(st.lists(HASH, min_size=1, max_size=40, unique=True))
def test_mutation_that_keeps_the_root_is_told(hashes):
    assert not merkle_root(hashes).mutated
    # CVE-2012-2459: where a level has an odd end, repeating the leaves below that end gives the same root
    below_odd_end = len(hashes) & -len(hashes)
    if below_odd_end < len(hashes):
        assert merkle_root(hashes + hashes[-below_odd_end:]) == (merkle_root(hashes).root, True)


def test_published_mutation():
    # Bitcoin Core, src/test/pmt_tests.cpp, pmt_malleability: ten transactions, the last two repeated
    hashes = [bytes((n,)) + bytes(31) for n in range(1, 11)]
    assert merkle_root(hashes + hashes[8:]) == (merkle_root(hashes).root, True)


@pytest.mark.parametrize("height", [926485, 1263442])
def test_witness_commitment_of_real_blocks(height):
    row = next(row for row in json.loads((VECTORS / "block-filters.json").read_text()) if row["height"] == height)
    block = CBlock.deserialize(bytes.fromhex(row["block"]))
    wtxids = [tx.GetHash() for tx in block.vtx]
    scripts = [bytes(output.scriptPubKey) for output in block.vtx[0].vout]
    witness = [bytes(32)]  # what the coinbases of both blocks hold
    assert check_witness_commitment(wtxids, scripts, witness) is True
    # whatever the coinbase hashes to does not count, everything else does
    assert check_witness_commitment([bytes(32), *wtxids[1:]], scripts, witness) is True
    assert check_witness_commitment([*wtxids, bytes(32)], scripts, witness) is False
    assert check_witness_commitment(wtxids, scripts, [bytes(31) + b"\1"]) is False


@pytest.mark.parametrize("witness", [[], [bytes(31)], [bytes(32), b""]])
def test_reserved_value_must_be_one_item_of_32_bytes(witness):
    scripts = [COMMITMENT + witness_commitment([bytes(32)], bytes(32))]
    assert check_witness_commitment([bytes(32)], scripts, [bytes(32)]) is True
    assert check_witness_commitment([bytes(32)], scripts, witness) is False


@given(st.lists(HASH, min_size=1, max_size=9), HASH)
def test_commitment_round_trip(wtxids, reserved):
    commitment = witness_commitment(wtxids, reserved)
    assert commitment == sha256d(naive_root([bytes(32), *wtxids[1:]]) + reserved)
    assert witness_root(wtxids) == naive_root([bytes(32), *wtxids[1:]])
    assert check_witness_commitment(wtxids, [b"\x51", COMMITMENT + commitment], [reserved]) is True


def test_the_last_commitment_counts():
    first, second = COMMITMENT + bytes(32), COMMITMENT + b"\1" * 32 + b"more"
    assert find_witness_commitment([first, second, b""]) == b"\1" * 32
    assert find_witness_commitment([second, first]) == bytes(32)
    assert find_witness_commitment([first[:-1], b"\x6a"]) is None
    assert check_witness_commitment([bytes(32)], [b"\x51"], []) is None
