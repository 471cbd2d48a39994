# SPDX-License-Identifier: GPL-2.0-or-later
"""Which target the next block must state, by the rules of its network.

What it depends on is carried along a chain in a `Period`, from block to block, so nothing is looked up or walked back.
Times are the u32 of headers (seconds since 1970), targets stand in their compact form ("bits").
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ..networks import Network
from .proof_of_work import decode_bits, encode_bits

INTERVAL = 2016
"""Blocks of a period, in which the target stays the same."""
SPACING = 600
"""Seconds that a block is meant to take."""
TIMESPAN = INTERVAL * SPACING
MAX_TIMEWARP = 600
"""Seconds that the first block of a period may be before the one before it (BIP 94)."""


class Period(NamedTuple):
    """A block, and what of its period counts for the next one."""

    height: int
    time: int
    bits: int
    first_time: int
    """Of the first block of the period, as `first_bits`."""
    first_bits: int
    usual_bits: int
    """Of the latest block that did not make use of the 20-minute rule; of the first where all did."""


def begin(height: int, time: int, bits: int) -> Period:
    """The first block of a period: its height is a multiple of 2016, or the network does not change its target."""
    return Period(height, time, bits, time, bits, bits)


def follow(network: Network, before: Period, time: int, bits: int) -> Period:
    """The next block of a chain."""
    height = before.height + 1
    if height % INTERVAL == 0:
        return begin(height, time, bits)
    exceptional = network.min_difficulty_blocks and bits == easiest_bits(network)
    return Period(height, time, bits, before.first_time, before.first_bits, before.usual_bits if exceptional else bits)


@lru_cache(maxsize=16)
def easiest_bits(network: Network) -> int:
    """The bits of the network's limit."""
    assert network.pow_limit is not None
    return encode_bits(network.pow_limit)


def required_bits(network: Network, before: Period, time: int) -> int:
    """The bits that the block after `before` must state; `time` is its own."""
    if not network.retarget:
        return before.bits
    if (before.height + 1) % INTERVAL == 0:
        return retarget(network, before)
    if not network.min_difficulty_blocks:
        return before.bits
    return easiest_bits(network) if time > before.time + 2 * SPACING else before.usual_bits


def retarget(network: Network, last: Period) -> int:
    """The bits of the period after the one that this block ends.

    The time of 2016 blocks is taken from 2015 intervals, first to last block of the period, and counts for at least a
    quarter and at most four times of what it should be.
    """
    assert network.pow_limit is not None
    taken = min(max(last.time - last.first_time, TIMESPAN // 4), TIMESPAN * 4)
    target = decode_bits(last.first_bits if network.bip94 else last.bits).target
    return encode_bits(min(target * taken // TIMESPAN, network.pow_limit))


def warps_time(network: Network, before: Period, time: int) -> bool:
    """Whether BIP 94 forbids this time for the block after `before`."""
    return network.bip94 and (before.height + 1) % INTERVAL == 0 and time < before.time - MAX_TIMEWARP
