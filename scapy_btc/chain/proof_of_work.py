# SPDX-License-Identifier: GPL-2.0-or-later
"""Proof of work: the compact target ("bits") of a block header, difficulty, work, and whether a hash is good enough.

Targets are plain integers. A block hash is 32 bytes in wire order and counts as a little-endian number.
"""

from __future__ import annotations

from math import inf, ldexp
from typing import NamedTuple

from ..errors import FormatError
from ..wire.hashes import sha256d

HEADER_SIZE = 80
_MASK_256 = (1 << 256) - 1


class CompactTarget(NamedTuple):
    """What the 32 bits of a compact target stand for, as Bitcoin Core reads them."""

    target: int
    """Magnitude modulo 2^256."""
    negative: bool
    overflow: bool

    @property
    def valid(self) -> bool:
        """Whether a header may carry it, the network's own limit aside."""
        return self.target > 0 and not self.negative and not self.overflow


def decode_bits(bits: int) -> CompactTarget:
    """Read a compact target, given as the u32 of the header's `bits` field."""
    exponent, mantissa = bits >> 24 & 0xFF, bits & 0x007FFFFF
    target = mantissa >> 8 * (3 - exponent) if exponent <= 3 else mantissa << 8 * (exponent - 3)
    return CompactTarget(
        target=target & _MASK_256,
        # Core looks at the mantissa after the shift to the right, so 0x01803456 is a plain zero
        negative=bool(bits & 0x00800000) and (mantissa if exponent > 3 else target) != 0,
        overflow=target > _MASK_256,
    )


def encode_bits(target: int) -> int:
    """The compact form of a target of 0 to 2^256-1; what does not fit its 23-bit mantissa is cut off.

    Raises ValueError for a number outside that range.
    """
    if not 0 <= target <= _MASK_256:
        raise ValueError(f"a target has 0 to 256 bits, not {target:#x}")
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & 0x00800000:  # the sign bit must stay clear
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def difficulty(bits: int) -> float:
    """How many times harder the target is than mainnet's easiest, as `getdifficulty` of Bitcoin Core computes it."""
    mantissa = bits & 0x00FFFFFF
    if mantissa == 0:
        return inf
    return ldexp(0x0000FFFF / mantissa, 8 * (29 - (bits >> 24 & 0xFF)))


def work(bits: int) -> int:
    """Expected number of hashes behind a header with these bits; 0 for a target that is not valid."""
    compact = decode_bits(bits)
    return (1 << 256) // (compact.target + 1) if compact.valid else 0


def check_proof_of_work(block_hash: bytes, bits: int, pow_limit: int | None = None) -> bool:
    """Whether a block hash (32 wire bytes) is at or below the target and this one allowed by the network's limit."""
    compact = decode_bits(bits)
    if not compact.valid or (pow_limit is not None and compact.target > pow_limit):
        return False
    return int.from_bytes(block_hash, "little") <= compact.target


def check_header(header: bytes, pow_limit: int | None = None) -> bool:
    """Whether an 80-byte block header satisfies the target that it states. Raises FormatError for another length."""
    if len(header) != HEADER_SIZE:
        raise FormatError(f"a block header has 80 bytes, not {len(header)}")
    return check_proof_of_work(sha256d(header), int.from_bytes(header[72:76], "little"), pow_limit)
