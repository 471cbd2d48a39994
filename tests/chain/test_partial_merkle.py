# SPDX-License-Identifier: GPL-2.0-or-later
"""Partial merkle trees: published messages, every rule that makes one invalid, and round trips."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.chain.merkle import merkle_root
from scapy_btc.chain.partial_merkle import build, extract
from scapy_btc.errors import FormatError
from scapy_btc.wire.hashes import hex_hash, sha256d

VECTORS = Path(__file__).parents[1] / "vectors" / "chain"
TREES = {tree["block_hash"]: tree for tree in json.loads((VECTORS / "merkle-trees.json").read_text())}
SEVEN = TREES["000000000000b731f2eef9e8c63173adfb07e41bd53eb0ef0a6b720d6cb6dea4"]
SEVEN_TXIDS = [hex_hash(txid) for txid in SEVEN["txids"]]
# developer.bitcoin.org, reference of merkleblock: transaction 4 of that block
SEVEN_HASHES = [
    bytes.fromhex(wire)
    for wire in (
        "3612262624047ee87660be1a707519a443b1c1ce3d248cbfc6c15870f6c5daa2",
        "019f5b01d4195ecbc9398fbf3c3b1fa9bb3183301d7a1fb3bd174fcfa40a2b65",
        "41ed70551dd7e841883ab8f0b16bf04176b7d1480e4f0af9f3d4c3595768d068",
        "20d2a7bc994987302e5b1ac80fc425fe25f8b63169ea78e68fbaaefa59379bbf",
    )
]
SEVEN_FLAGS = b"\x1d"


def numbered(count):
    return [sha256d(n.to_bytes(4, "little")) for n in range(count)]


def test_published_tree():
    root, matches = extract(7, SEVEN_HASHES, SEVEN_FLAGS)
    assert root == bytes.fromhex(SEVEN["header"])[36:68]
    assert matches == [(4, hex_hash("652b0aa4cf4f17bdb31f7a1d308331bba91f3b3cbf8f39c9cb5e19d4015b9f01"))]
    assert build(SEVEN_TXIDS, [n == 4 for n in range(7)]) == (SEVEN_HASHES, SEVEN_FLAGS)


def test_block_of_one_transaction():
    # Bitcoin Core, src/test/bloom_tests.cpp, merkle_block_3_and_serialize
    txid = hex_hash("63194f18be0af63f2c6bc9dc0f777cbefed3d9415c4af83f3ee3a3d669c00cb5")
    assert build([txid], [True]) == ([txid], b"\x01")
    assert extract(1, [txid], b"\x01") == (txid, [(0, txid)])


# Bitcoin Core, src/test/bloom_tests.cpp, merkle_block_1, 2 and 4
@pytest.mark.parametrize(
    ("block_hash", "positions", "txids"),
    [
        (
            "0000000000013b8ab2cd513b0261a14096412195a72a0c4827d229dcc7e0f7af",
            [7, 8],
            [
                "dd1fd2a6fc16404faf339881a90adbde7f4f728691ac62e8f168809cdfae1053",
                "74d681e0e03bafa802c8aa084379aa98d9fcd632ddc2ed9782b586ec87451f20",
            ],
        ),
        (
            "000000005a4ded781e667e06ceefafb71410b511fe0d5adc3e5a27ecbec34ae6",
            [0, 1, 3],
            [
                "e980fe9f792d014e73b95203dc1335c5f9ce19ac537a419e6df5b47aecb93b70",
                "28204cad1d7fc1d199e8ef4fa22f182de6258a3eaafe1bbe56ebdcacd3069a5f",
                "3c1d7e82342158e4109df2e0b6348b6e84e403d8b4046d7007663ace63cddb23",
            ],
        ),
        (
            "000000000000b731f2eef9e8c63173adfb07e41bd53eb0ef0a6b720d6cb6dea4",
            [3, 6],
            [
                "02981fa052f0481dbc5868f4fc2166035a10f27a03cfd2de67326471df5bc041",
                "0a2a92f0bda4727d0a13eaddf4dd9ac6b5c61a1429e6b2b818f19b15df0ac154",
            ],
        ),
    ],
)
def test_matches_of_real_blocks(block_hash, positions, txids):
    tree = TREES[block_hash]
    all_txids = [hex_hash(txid) for txid in tree["txids"]]
    hashes, flags = build(all_txids, [n in positions for n in range(len(all_txids))])
    root, matches = extract(len(all_txids), hashes, flags)
    assert root == bytes.fromhex(tree["header"])[36:68]
    assert matches == [(n, hex_hash(txid)) for n, txid in zip(positions, txids, strict=True)]


def test_equal_neighbours_are_refused():
    # Bitcoin Core, src/test/pmt_tests.cpp, pmt_malleability
    txids = [bytes((n,)) + bytes(31) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 9, 10)]
    hashes, flags = build(txids, [n in (9, 10) for n in range(12)])
    with pytest.raises(FormatError, match="equals its left"):
        extract(12, hashes, flags)


@pytest.mark.parametrize(
    ("total", "hashes", "flags", "reason"),
    [
        (0, [], b"", "no transactions"),
        (16_667, SEVEN_HASHES, SEVEN_FLAGS, "do not fit a block"),
        (2**32 - 1, SEVEN_HASHES, SEVEN_FLAGS, "do not fit a block"),
        (3, SEVEN_HASHES, SEVEN_FLAGS, "4 hashes for 3"),
        (16_666, numbered(9), SEVEN_FLAGS, "fewer flag bits"),
        (7, [], b"", "more flag bits"),
        (7, SEVEN_HASHES[:3], SEVEN_FLAGS, "more hashes"),
        (7, SEVEN_HASHES + numbered(1), SEVEN_FLAGS, "hashes are left"),
        (7, SEVEN_HASHES, SEVEN_FLAGS + b"\0", "flag bits are left"),
        (16_666, numbered(8), b"\xff", "more flag bits"),
    ],
)
def test_rules(total, hashes, flags, reason):
    with pytest.raises(FormatError, match=reason):
        extract(total, hashes, flags)


@pytest.mark.parametrize(("txids", "marks"), [([], []), (numbered(2), [True]), (numbered(1), [True, False])])
def test_build_needs_one_mark_per_transaction(txids, marks):
    with pytest.raises(ValueError, match="marks for"):
        build(txids, marks)


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_round_trip(marks):
    txids = numbered(len(marks))
    hashes, flags = build(txids, marks)
    root, matches = extract(len(marks), hashes, flags)
    assert root == merkle_root(txids).root
    assert matches == [(n, txids[n]) for n, mark in enumerate(marks) if mark]
    # the size that BIP 37 promises: a path for each match
    height = (len(marks) - 1).bit_length() + 1
    assert len(hashes) <= min(len(marks), 1 + sum(marks) * height)


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.data())
def test_a_flipped_bit_breaks_the_proof(marks, data):
    txids = numbered(len(marks))
    hashes, flags = build(txids, marks)
    victim = data.draw(st.integers(0, len(hashes) - 1))
    bit = data.draw(st.integers(0, 255))
    hashes[victim] = (int.from_bytes(hashes[victim], "big") ^ 1 << bit).to_bytes(32, "big")
    assert extract(len(marks), hashes, flags).root != merkle_root(txids).root


@given(st.integers(0, 40), st.lists(st.binary(min_size=32, max_size=32), max_size=12), st.binary(max_size=8))
def test_any_tree_is_proven_or_refused(total, hashes, flags):
    try:
        proof = extract(total, hashes, flags)
    except FormatError:
        return
    assert all(position < total for position, _ in proof.matches)
    # walking it again from what it proved uses every hash
    assert {txid for _, txid in proof.matches} <= set(hashes)


@pytest.mark.timeout(20)
def test_largest_tree():
    txids = numbered(16_666)
    hashes, flags = build(txids, [True] * 16_666)
    assert hashes == txids
    assert len(extract(16_666, hashes, flags).matches) == 16_666
