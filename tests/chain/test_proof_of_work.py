# SPDX-License-Identifier: GPL-2.0-or-later
"""Compact targets, difficulty and work, with the values of Bitcoin Core's own tests."""

from math import inf, isclose

import pytest
from bitcoin.core.serialize import compact_from_uint256, uint256_from_compact
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.chain.proof_of_work import (
    check_header,
    check_proof_of_work,
    decode_bits,
    difficulty,
    encode_bits,
    work,
)
from scapy_btc.errors import FormatError
from scapy_btc.networks import MAINNET, REGTEST
from scapy_btc.wire.hashes import hex_hash, sha256d

MAIN_LIMIT = MAINNET.pow_limit


# Bitcoin Core, src/test/arith_uint256_tests.cpp, bignum_SetCompact
@pytest.mark.parametrize(
    ("bits", "target", "negative", "again"),
    [
        (0, 0, False, 0),
        (0x00123456, 0, False, 0),
        (0x01003456, 0, False, 0),
        (0x02000056, 0, False, 0),
        (0x03000000, 0, False, 0),
        (0x04000000, 0, False, 0),
        (0x00923456, 0, False, 0),
        (0x01803456, 0, False, 0),
        (0x02800056, 0, False, 0),
        (0x03800000, 0, False, 0),
        (0x04800000, 0, False, 0),
        (0x01123456, 0x12, False, 0x01120000),
        (0x01FEDCBA, 0x7E, True, 0x017E0000),
        (0x02123456, 0x1234, False, 0x02123400),
        (0x03123456, 0x123456, False, 0x03123456),
        (0x04123456, 0x12345600, False, 0x04123456),
        (0x04923456, 0x12345600, True, 0x04123456),
        (0x05009234, 0x92340000, False, 0x05009234),
        (0x20123456, 0x123456 << 232, False, 0x20123456),
    ],
)
def test_decode_and_encode(bits, target, negative, again):
    compact = decode_bits(bits)
    assert (compact.target, compact.negative, compact.overflow) == (target, negative, False)
    assert compact.valid == (target > 0 and not negative)
    assert encode_bits(target) == again


def test_sign_bit_stays_clear():
    assert encode_bits(0x80) == 0x02008000


@pytest.mark.parametrize(
    ("bits", "overflow"),
    [
        (0xFF123456, True),
        (0x23000001, True),
        (0x22000001, False),
        (0x22000100, True),
        (0x2100FFFF, False),
        (0x21010000, True),
        (0xFF000000, False),
    ],
)
def test_overflow(bits, overflow):
    assert decode_bits(bits).overflow is overflow
    assert not (overflow and decode_bits(bits).valid)


@given(st.integers(0, 2**32 - 1))
def test_overflow_is_cores_rule(bits):
    mantissa, exponent = bits & 0x7FFFFF, bits >> 24
    rule = (mantissa and exponent > 34) or (mantissa > 0xFF and exponent > 33) or (mantissa > 0xFFFF and exponent > 32)
    assert decode_bits(bits).overflow == bool(rule)


@pytest.mark.parametrize("target", [-1, 1 << 256])
def test_encode_refuses_what_is_no_target(target):
    with pytest.raises(ValueError, match="256 bits"):
        encode_bits(target)


@given(st.integers(0, 2**256 - 1))
def test_encoding_keeps_the_leading_bits(target):
    again = decode_bits(encode_bits(target))
    assert again.target <= target < again.target + max(1, again.target >> 15) + (target < 1 << 16) * 256
    assert encode_bits(again.target) == encode_bits(target)
    assert not again.negative
    assert not again.overflow


@given(st.integers(1 << 24, 2**255))
def test_agrees_with_python_bitcoinlib(target):
    bits = compact_from_uint256(target)
    assert encode_bits(target) == bits
    assert decode_bits(bits).target == uint256_from_compact(bits)


# Bitcoin Core, src/test/blockchain_tests.cpp
@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x1F111111, 0.000001),
        (0x1EF88F6F, 0.000016),
        (0x1DF88F6F, 0.004023),
        (0x1CF88F6F, 1.029916),
        (0x12345678, 5913134931067755359633408.0),
    ],
)
def test_difficulty(bits, expected):
    assert isclose(difficulty(bits), expected, rel_tol=1e-12, abs_tol=1e-6)


def test_difficulty_at_the_edges():
    assert difficulty(0x1D00FFFF) == 1.0
    assert difficulty(0x207FFFFF) == pytest.approx(4.6565423739069247e-10, rel=1e-15)  # getdifficulty on regtest
    assert difficulty(0x1D000000) == inf
    assert difficulty(0xFFFFFFFF) == 0.0


def test_work():
    assert work(0x1D00FFFF) == 0x100010001  # chainwork of mainnet's genesis block
    assert work(0x207FFFFF) == 2
    assert work(0x04923456) == work(0xFF123456) == work(0) == 0


@given(st.integers(0, 2**32 - 1))
def test_work_of_any_bits(bits):
    compact = decode_bits(bits)
    assert (work(bits) > 0) == compact.valid
    if compact.valid:
        assert work(bits) * (compact.target + 1) <= 1 << 256 < (work(bits) + 1) * (compact.target + 1)


# Bitcoin Core, src/test/pow_tests.cpp, CheckProofOfWork_test_*
@pytest.mark.parametrize(
    ("hash_value", "bits"),
    [
        pytest.param(1, encode_bits(MAIN_LIMIT) | 0x00800000, id="negative"),
        pytest.param(1, 0xFF7FFFFF, id="overflow"),
        pytest.param(1, encode_bits(MAIN_LIMIT * 2), id="too easy"),
        pytest.param(MAIN_LIMIT * 2, encode_bits(MAIN_LIMIT), id="hash above target"),
        pytest.param(0, 0, id="zero target"),
    ],
)
def test_proof_of_work_that_does_not_hold(hash_value, bits):
    assert not check_proof_of_work(hash_value.to_bytes(32, "little"), bits, MAIN_LIMIT)


def test_proof_of_work_is_inclusive_and_the_limit_optional():
    target = decode_bits(0x1D00FFFF).target
    assert check_proof_of_work(target.to_bytes(32, "little"), 0x1D00FFFF, MAIN_LIMIT)
    assert not check_proof_of_work((target + 1).to_bytes(32, "little"), 0x1D00FFFF, MAIN_LIMIT)
    assert check_proof_of_work(bytes(32), 0x207FFFFF)
    assert not check_proof_of_work(bytes(32), 0x207FFFFF, MAIN_LIMIT)


def test_a_changed_header_fails():
    header = bytearray(MAINNET.genesis)
    assert sha256d(header) == hex_hash("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
    assert check_header(bytes(header))
    header[76] ^= 1
    assert not check_header(bytes(header))
    assert not check_header(REGTEST.genesis, MAIN_LIMIT)


@pytest.mark.parametrize("size", [0, 79, 81])
def test_header_of_another_length(size):
    with pytest.raises(FormatError):
        check_header(bytes(size))
