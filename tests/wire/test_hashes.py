# SPDX-License-Identifier: GPL-2.0-or-later
"""Hash functions against published values."""

import json
from pathlib import Path

import pytest
from bitcoin.bloom import MurmurHash3
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.errors import FormatError
from scapy_btc.networks import MAINNET
from scapy_btc.wire.hashes import checksum, hash_hex, hex_hash, murmur3, sha256d, siphash24, tagged_hash

VECTORS = Path(__file__).parents[1] / "vectors" / "chain"
K0, K1 = 0x0706050403020100, 0x0F0E0D0C0B0A0908


def test_checksum_of_nothing():
    assert checksum(b"").hex() == "5df6e0e2"


def test_sha256d_of_the_genesis_header():
    expected = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    assert hash_hex(sha256d(MAINNET.genesis)) == expected
    assert hex_hash(expected) == sha256d(memoryview(MAINNET.genesis))
    assert checksum(MAINNET.genesis) == sha256d(MAINNET.genesis)[:4]


def test_siphash_reference_vectors():
    expected = [int(number, 16) for number in json.loads((VECTORS / "siphash24.json").read_text())]
    assert len(expected) == 64
    assert [siphash24(K0, K1, bytes(range(n))) for n in range(64)] == expected


# Bitcoin Core, src/test/hash_tests.cpp
@pytest.mark.parametrize(
    ("expected", "seed", "data"),
    [
        (0x00000000, 0x00000000, ""),
        (0x6A396F08, 0xFBA4C795, ""),
        (0x81F16F39, 0xFFFFFFFF, ""),
        (0x514E28B7, 0x00000000, "00"),
        (0xEA3F0B17, 0xFBA4C795, "00"),
        (0xFD6CF10D, 0x00000000, "ff"),
        (0x16C6B7AB, 0x00000000, "0011"),
        (0x8EB51C3D, 0x00000000, "001122"),
        (0xB4471BF8, 0x00000000, "00112233"),
        (0xE2301FA8, 0x00000000, "0011223344"),
        (0xFC2E4A15, 0x00000000, "001122334455"),
        (0xB074502C, 0x00000000, "00112233445566"),
        (0x8034D2A0, 0x00000000, "0011223344556677"),
        (0xB4698DEF, 0x00000000, "001122334455667788"),
    ],
)
def test_murmur_vectors(expected, seed, data):
    assert murmur3(seed, bytes.fromhex(data)) == expected
    assert murmur3(seed + (5 << 32), bytes.fromhex(data)) == expected


@given(st.integers(0, 2**32 - 1), st.binary(max_size=80))
def test_murmur_agrees_with_python_bitcoinlib(seed, data):
    assert murmur3(seed, data) == MurmurHash3(seed, data)


def test_tagged_hash():
    # BIP 341, wallet test vectors: the leaf hash of the first one-leaf tree
    script = bytes.fromhex("20d85a959b0290bf19bb89ed43c916be835475d013da4b362117393e25a48229b8ac")
    leaf = b"\xc0" + bytes((len(script),)) + script
    assert tagged_hash("TapLeaf", leaf).hex() == "5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21"


@pytest.mark.parametrize("text", ["", "00", "0" * 63, "0" * 66, "g" * 64, " " + "00" * 32, "00 " * 32])
def test_what_is_no_hash(text):
    with pytest.raises(FormatError):
        hex_hash(text)


@given(st.binary(min_size=32, max_size=32))
def test_hex_round_trip(wire):
    assert hex_hash(hash_hex(wire)) == wire
    assert hex_hash(hash_hex(wire).upper()) == wire
