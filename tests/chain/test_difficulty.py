# SPDX-License-Identifier: GPL-2.0-or-later
"""Required bits: all retargets of mainnet with their real headers, real testnet headers, and the rules one by one."""

from __future__ import annotations

import pytest
from real_headers import bits_of, in_a_row, retargets, time_of

from scapy_btc.chain.difficulty import INTERVAL, Period, begin, follow, required_bits, warps_time
from scapy_btc.chain.proof_of_work import check_header, decode_bits
from scapy_btc.networks import MAINNET, REGTEST, SIGNET, TESTNET3, TESTNET4, Network
from scapy_btc.wire.hashes import sha256d

LIMIT = 0x1D00FFFF
WEEKS = 2 * 7 * 24 * 3600
MAINNET_HEADERS = retargets()


def end_of_period(first: int, last: int, bits: int, height: int = 2015, first_bits: int | None = None,
                  usual: int | None = None) -> Period:
    """The last block of a period, from the times of its first and last block."""
    return Period(height, last, bits, first, bits if first_bits is None else first_bits, usual or bits)


# Bitcoin Core, src/test/pow_tests.cpp: height, time of the first block, of the last, its bits, the next bits
@pytest.mark.parametrize(("height", "first", "last", "bits", "expected"), [
    (32255, 1261130161, 1262152739, 0x1D00FFFF, 0x1D00D86A),
    (2015, 1231006505, 1233061996, 0x1D00FFFF, 0x1D00FFFF),  # the limit
    (68543, 1279008237, 1279297671, 0x1C05A3F4, 0x1C0168FD),  # a quarter at least
    (46367, 1263163443, 1269211443, 0x1C387F6F, 0x1D00E1FD),  # four times at most (not the real time)
])
def test_cores_own_retargets(height: int, first: int, last: int, bits: int, expected: int) -> None:
    assert required_bits(MAINNET, end_of_period(first, last, bits, height), last) == expected


# rust-bitcoin, bitcoin/src/pow.rs: the first two retargets of signet
@pytest.mark.parametrize(("first", "last", "bits", "expected"), [
    (1598918400, 1599332177, 503543726, 503394215),
    (1599332844, 1600591200, 503394215, 503397348),
])
def test_retargets_of_signet(first: int, last: int, bits: int, expected: int) -> None:
    assert required_bits(SIGNET, end_of_period(first, last, bits), last) == expected


def test_every_retarget_of_mainnet() -> None:
    for height in range(INTERVAL, 832_609, INTERVAL):
        first, last, following = (MAINNET_HEADERS[h] for h in (height - INTERVAL, height - 1, height))
        assert check_header(following) and following[4:36] == sha256d(last), height
        before = end_of_period(time_of(first), time_of(last), bits_of(last), height - 1)
        assert required_bits(MAINNET, before, time_of(following)) == bits_of(following), height


def test_these_are_the_real_headers() -> None:
    changes = [h for h in range(INTERVAL, 832_609, INTERVAL)
               if bits_of(MAINNET_HEADERS[h]) != bits_of(MAINNET_HEADERS[h - 1])]
    assert changes[0] == 32256 and len(changes) == 398  # 15 periods at the limit came first
    assert bits_of(MAINNET_HEADERS[32256]) == 0x1D00D86A
    assert sha256d(MAINNET_HEADERS[32256])[::-1].hex() == (
        "000000004f2886a170adb7204cb0c7a824217dd24d11a74423d564c4e0904967")


@pytest.mark.parametrize(("network", "name", "height"), [
    (MAINNET, "headers-mainnet-822528.dat", 822_528),
    (TESTNET3, "headers-testnet3-4032.dat", 4032),
    (TESTNET3, "headers-testnet3-6048.dat", 6048),
    (TESTNET4, "headers-testnet4-0.dat", 0),
])
def test_real_headers_in_a_row(network: Network, name: str, height: int) -> None:
    first, *others = in_a_row(name)
    period = begin(height, time_of(first), bits_of(first))
    for header in others:
        assert required_bits(network, period, time_of(header)) == bits_of(header), period.height + 1
        period = follow(network, period, time_of(header), bits_of(header))


def test_testnet3_walks_back_over_the_easy_blocks() -> None:
    headers = in_a_row("headers-testnet3-4032.dat")
    bits = [bits_of(header) for header in headers]
    assert bits == [0x1C3FFFC0] + [LIMIT] * 176 + [0x1C3FFFC0] * 23  # back to 4032 over 176 blocks
    assert all(time_of(headers[n]) - time_of(headers[n - 1]) > 1200 for n in range(1, 177))
    assert time_of(headers[177]) - time_of(headers[176]) <= 1200


# From here on the numbers follow from the rules by hand

NEXT = 1_700_000_000


def row(network: Network, height: int, *blocks: tuple[int, int]) -> Period:
    """Blocks of one period, from (time, bits) each."""
    (time, bits), *others = blocks
    period = begin(height, time, bits)
    for time, bits in others:
        period = follow(network, period, time, bits)
    return period


@pytest.mark.parametrize("network", [TESTNET3, TESTNET4])
def test_twenty_minutes(network: Network) -> None:
    usual = row(network, 4032, (NEXT, 0x1C3FFFC0))
    assert required_bits(network, usual, NEXT + 1200) == 0x1C3FFFC0
    assert required_bits(network, usual, NEXT + 1201) == LIMIT
    easy = row(network, 4032, (NEXT, 0x1C3FFFC0), (NEXT + 1201, LIMIT), (NEXT + 3000, LIMIT))
    assert required_bits(network, easy, NEXT + 3001) == 0x1C3FFFC0
    assert required_bits(network, easy, NEXT + 4201) == LIMIT
    # a whole period is easy where its first block is: there is nothing else to go back to
    storm = row(network, 4032, (NEXT, LIMIT), (NEXT + 1, LIMIT))
    assert required_bits(network, storm, NEXT + 2) == LIMIT


@pytest.mark.parametrize("network", [MAINNET, SIGNET, REGTEST])
def test_no_twenty_minutes_elsewhere(network: Network) -> None:
    period = row(network, 2016, (NEXT, 0x1C3FFFC0))
    assert required_bits(network, period, NEXT + 10**6) == 0x1C3FFFC0


# In half the time the target becomes half: 0x0ffff0 << 192 becomes 0x07fff8 << 192; 0x00ffff << 208 is 0x7fff80 << 200.
# Testnet3 starts from its last block, which used the 20-minute rule, testnet4 from its first.
@pytest.mark.parametrize(("network", "expected"), [(TESTNET3, 0x1C7FFF80), (TESTNET4, 0x1B07FFF8)])
def test_what_a_retarget_starts_from(network: Network, expected: int) -> None:
    last = end_of_period(NEXT, NEXT + WEEKS // 2, LIMIT, first_bits=0x1B0FFFF0, usual=0x1B0FFFF0)
    assert required_bits(network, last, NEXT + WEEKS) == expected  # 20 minutes do not count at a retarget


@pytest.mark.parametrize(("taken", "expected"), [
    (WEEKS, 0x1B0FFFF0),
    (WEEKS * 2, 0x1B1FFFE0),
    (WEEKS * 4, 0x1B3FFFC0),
    (WEEKS * 4 + 1, 0x1B3FFFC0),
    (WEEKS // 4, 0x1B03FFFC),
    (WEEKS // 4 - 1, 0x1B03FFFC),
    (-5, 0x1B03FFFC),
])
@pytest.mark.parametrize("network", [MAINNET, TESTNET3, TESTNET4, SIGNET])
def test_a_retarget_is_at_most_fourfold(network: Network, taken: int, expected: int) -> None:
    assert required_bits(network, end_of_period(NEXT, NEXT + taken, 0x1B0FFFF0), NEXT + taken + 5) == expected


def test_the_limit_is_never_passed() -> None:
    for network, limit in ((MAINNET, LIMIT), (TESTNET4, LIMIT), (SIGNET, 0x1E0377AE)):
        assert required_bits(network, end_of_period(NEXT, NEXT + 3 * WEEKS, limit), NEXT) == limit
        assert network.pow_limit is not None and decode_bits(limit).target <= network.pow_limit


def test_regtest_never_changes() -> None:
    for height in (0, 1, 2015, 2016):
        assert required_bits(REGTEST, end_of_period(NEXT, NEXT + 9, 0x207FFFFF, height), NEXT + 10**6) == 0x207FFFFF


# BIP 94: the first block of a period is not more than 600 seconds before the last of the one before
def test_time_may_not_warp_between_periods_of_testnet4() -> None:
    last = end_of_period(NEXT - WEEKS, NEXT, LIMIT, height=2015)
    assert warps_time(TESTNET4, last, NEXT - 601)
    assert not warps_time(TESTNET4, last, NEXT - 600)
    assert not warps_time(TESTNET4, last._replace(height=2014), NEXT - 601)
    assert not any(warps_time(network, last, NEXT - 601) for network in (MAINNET, TESTNET3, SIGNET, REGTEST))
