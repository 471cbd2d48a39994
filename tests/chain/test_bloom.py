# SPDX-License-Identifier: GPL-2.0-or-later
"""Bloom filters: the filters of Bitcoin Core's tests, python-bitcoinlib, and no false negatives."""

import pytest
from bitcoin.bloom import CBloomFilter
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.chain import bloom as module
from scapy_btc.chain.bloom import BloomFilter, recommended_size
from scapy_btc.errors import FormatError
from scapy_btc.wire.hashes import murmur3

# Bitcoin Core, src/test/bloom_tests.cpp, bloom_create_insert_serialize(_with_tweak)
INSERTED = [
    bytes.fromhex(element)
    for element in (
        "99108ad8ed9bb6274d3980bab5a85c048f0950c8",
        "b5a2c786d9ef4658287ced5914b37a1b4aa32eee",
        "b9300670b4c5366e95b2699e8b18bc75e5f729c5",
    )
]
ABSENT = bytes.fromhex("19108ad8ed9bb6274d3980bab5a85c048f0950c8")

ELEMENTS = st.lists(st.binary(max_size=40), max_size=30)
TWEAK = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(("tweak", "data"), [(0, "614e9b"), (2147483649, "ce4299")])
def test_filters_of_bitcoin_core(tweak, data):
    bloom = BloomFilter.for_elements(3, 0.01, tweak)
    assert bloom.hash_funcs == 5
    for element in INSERTED:
        assert element not in bloom
        bloom.insert(element)
        assert element in bloom
        assert ABSENT not in bloom
    assert bytes(bloom).hex() == data


def test_filter_of_the_developer_reference():
    # developer.bitcoin.org: 11 functions, 2 bytes, no tweak, a txid
    bloom = BloomFilter(bytes(2), 11)
    bloom.insert(bytes.fromhex("019f5b01d4195ecbc9398fbf3c3b1fa9bb3183301d7a1fb3bd174fcfa40a2b65"))
    assert bytes(bloom).hex() == "b50f"


@pytest.mark.parametrize(
    ("elements", "rate", "size", "hash_funcs"),
    [(3, 0.01, 3, 5), (20_000, 0.001, 35_943, 9), (1_000_000, 0.0001, 36_000, 0), (1, 1e-60, 35, 50), (1, 0.9, 0, 0)],
)
def test_recommended_size(elements, rate, size, hash_funcs):
    assert recommended_size(elements, rate) == (size, hash_funcs)


@pytest.mark.parametrize(("elements", "rate"), [(0, 0.1), (-1, 0.1), (1, 0), (1, 1), (1, -0.5), (1, float("nan"))])
def test_no_size_for_nonsense(elements, rate):
    with pytest.raises(ValueError, match="no filter"):
        recommended_size(elements, rate)


@given(st.integers(1, 50), st.floats(1e-9, 0.5), TWEAK, ELEMENTS, st.binary(max_size=40))
def test_agrees_with_python_bitcoinlib(count, rate, tweak, elements, probe):
    theirs = CBloomFilter(count, rate, tweak, 0)
    ours = BloomFilter(bytes(len(theirs.vData)), theirs.nHashFuncs, tweak)
    for element in elements:
        theirs.insert(element)
        ours.insert(element)
    assert bytes(ours) == bytes(theirs.vData)
    assert recommended_size(count, rate).size == len(theirs.vData)
    if theirs.vData:
        assert (probe in ours) == theirs.contains(probe)


@given(st.integers(0, 100), st.integers(0, 50), TWEAK, ELEMENTS)
def test_no_false_negative(size, hash_funcs, tweak, elements):
    bloom = BloomFilter(bytes(size), hash_funcs, tweak)
    for element in elements:
        bloom.insert(element)
    assert all(element in bloom for element in elements)


def test_filter_without_bytes_holds_everything():
    # CVE-2013-5700: the modulus would be zero
    bloom = BloomFilter(b"", 5)
    bloom.insert(b"x")
    assert bytes(bloom) == b""
    assert b"y" in bloom


def test_full_filter_holds_everything_and_an_empty_one_nothing():
    assert b"x" in BloomFilter(b"\xff" * 10, 50, 7)
    assert b"x" not in BloomFilter(bytes(10), 50, 7)


def test_filter_does_not_change_the_bytes_it_was_made_of():
    data = bytearray(4)
    bloom = BloomFilter(data, 3)
    bloom.insert(b"x")
    assert data == bytes(4)
    assert bytes(bloom) != bytes(4)


@pytest.mark.parametrize(("size", "hash_funcs"), [(36_001, 1), (1, 51), (1, 2**32 - 1), (1, -1)])
def test_over_the_limits(size, hash_funcs):
    with pytest.raises(FormatError):
        BloomFilter(bytes(size), hash_funcs)


def test_at_the_limits():
    bloom = BloomFilter(bytes(36_000), 50, 2**32 - 1)
    bloom.insert(b"x")
    assert b"x" in bloom


def test_the_first_bit_that_is_missing_ends_the_look(monkeypatch):
    seeds = []
    monkeypatch.setattr(module, "murmur3", lambda seed, data: seeds.append(seed) or murmur3(seed, data))
    assert b"anything" not in BloomFilter(bytes(36_000), 50)
    assert len(seeds) == 1
    assert b"anything" in BloomFilter(b"\xff" * 36_000, 50)
    assert len(seeds) == 51
