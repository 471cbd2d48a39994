# SPDX-License-Identifier: GPL-2.0-or-later
"""The basic block filter: BIP 158's own vectors, filters that are broken, and no false negatives."""

import json
from pathlib import Path

import pytest
from bitcoin.core import CBlock
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.chain.block_filter import (
    BASIC_FILTER_M,
    basic_elements,
    build,
    decode,
    filter_hash,
    filter_header,
    match,
    match_any,
)
from scapy_btc.errors import FormatError
from scapy_btc.networks import MAINNET
from scapy_btc.wire.hashes import hash_hex, hex_hash, sha256d

VECTORS = Path(__file__).parents[1] / "vectors" / "chain"
ROWS = json.loads((VECTORS / "block-filters.json").read_text())
SCRIPTS = st.lists(st.binary(min_size=1, max_size=40), unique=True, max_size=60)
KEY = st.binary(min_size=32, max_size=32)


def elements_of(row):
    block = CBlock.deserialize(bytes.fromhex(row["block"]))
    outputs = [bytes(output.scriptPubKey) for tx in block.vtx for output in tx.vout]
    return basic_elements(outputs, [bytes.fromhex(script) for script in row["spent_scripts"]])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["height"]))
def test_bip158(row):
    block_hash, elements = hex_hash(row["block_hash"]), elements_of(row)
    encoded = build(block_hash, elements)
    assert encoded.hex() == row["filter"]
    assert hash_hex(filter_header(filter_hash(encoded), hex_hash(row["previous_header"]))) == row["header"]
    assert len(decode(encoded)) == len(elements)
    assert all(match(block_hash, encoded, element) for element in elements)
    assert match_any(block_hash, encoded, [b"not in it", *elements]) == bool(elements)
    assert not match(block_hash, encoded, b"not in it")


def test_mainnet_genesis():
    # computed by an implementation that shares nothing with this one
    script = bytes.fromhex(
        "4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"
        "49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac"
    )
    encoded = build(sha256d(MAINNET.genesis), [script])
    assert encoded.hex() == "017fa880"
    digest = filter_hash(encoded)
    assert hash_hex(digest) == "68b83ead19e023c91ae25811737541d3398fc7b5110feb5d4ddb343a6228bf12"
    assert hash_hex(filter_header(digest)) == "02c2392180d0ce2b5b6f8b08d39a11ffe831c673311a3ecf77b97fc3f0303c9f"


def test_elements():
    # Bitcoin Core, src/test/blockfilter_tests.cpp, blockfilter_basic_test: OP_RETURN and empty scripts stay out
    outputs = [b"\x51", b"", b"\x6a\x04abcd", b"\x6a\x54\x93\x58\x87", b"\x51", b"\x52"]
    assert basic_elements(outputs, [b"\x53", b"", b"\x51"]) == {b"\x51", b"\x52", b"\x53"}


@given(KEY, SCRIPTS)
def test_no_false_negative(block_hash, scripts):
    encoded = build(block_hash, scripts)
    values = decode(encoded)
    assert len(values) == len(scripts)
    assert values == sorted(values)
    assert not values or values[-1] < len(scripts) * BASIC_FILTER_M
    assert all(match(block_hash, encoded, script) for script in scripts)
    assert match_any(block_hash, encoded, scripts) == bool(scripts)
    assert not match_any(block_hash, encoded, [])


def test_false_positives_are_rare():
    scripts = [n.to_bytes(4, "big") for n in range(2_000)]
    encoded = build(bytes(32), scripts)
    hits = sum(
        match_any(bytes(32), encoded, [b"x" + n.to_bytes(4, "big") for n in range(s, s + 500)])
        for s in range(0, 20_000, 500)
    )
    assert hits <= 1  # expected: 20,000 / 784,931


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("", "cut short"),
        ("fd", "cut short"),
        ("01", "do not fit"),
        ("017fa8", "do not fit"),
        ("01ffffffff", "cut short"),
        ("01ffff0000", "cut short"),
        ("017fa88000", "after the last"),
        ("0000", "after the last"),
        ("ffffffffffffffffff00", "do not fit"),
    ],
)
def test_broken_filters(encoded, reason):
    with pytest.raises(FormatError, match=reason):
        decode(bytes.fromhex(encoded))
    with pytest.raises(FormatError, match=reason):
        match(bytes(32), bytes.fromhex(encoded), b"\x51")


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(encoded):
    try:
        values = decode(encoded)
    except FormatError:
        return
    assert values == sorted(values)
    assert 8 * len(encoded) >= 20 * len(values)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("filling", [b"\xff", b"\x00", b"\xaa", b"\xfe"])
def test_four_megabytes_of_anything(filling):
    body = filling * 4_000_000
    for count in (b"\x01", b"\xfe\x00\x00\x10\x00"):
        with pytest.raises(FormatError):
            decode(count + body)
