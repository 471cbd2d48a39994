# SPDX-License-Identifier: GPL-2.0-or-later
"""The bloom filter that a light client loads into a peer (BIP 37)."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import NamedTuple

from ..errors import FormatError
from ..protocol import MAX_BLOOM_FILTER_SIZE, MAX_HASH_FUNCS
from ..wire.hashes import murmur3

_SEED_STEP = 0xFBA4C795
_LN2 = log(2)


class BloomSize(NamedTuple):
    """Dimensions of a filter."""

    size: int
    """Bytes of the bit field."""
    hash_funcs: int


def recommended_size(elements: int, false_positive_rate: float) -> BloomSize:
    """Dimensions for that many elements and that rate of false hits, within the limits, as Bitcoin Core computes them.

    Raises ValueError unless there is at least one element and the rate lies between 0 and 1.
    """
    if elements < 1 or not 0 < false_positive_rate < 1:
        raise ValueError(f"no filter for {elements} elements with a false positive rate of {false_positive_rate}")
    bits = int(-1 / _LN2**2 * elements * log(false_positive_rate))
    size = min(bits, 8 * MAX_BLOOM_FILTER_SIZE) // 8
    return BloomSize(size, min(int(8 * size // elements * _LN2), MAX_HASH_FUNCS))


class BloomFilter:
    """A filter that takes elements and tells whether it may hold one.

    `data` is the bit field (bit k is in byte k/8, value 1 << k%8), as in `filterload`. Raises FormatError for more
    than 36,000 bytes or 50 hash functions, which no node accepts.
    """

    def __init__(self, data: bytes, hash_funcs: int, tweak: int = 0) -> None:
        if len(data) > MAX_BLOOM_FILTER_SIZE:
            raise FormatError(f"a bloom filter has at most {MAX_BLOOM_FILTER_SIZE} bytes, not {len(data)}")
        if not 0 <= hash_funcs <= MAX_HASH_FUNCS:
            raise FormatError(f"a bloom filter has at most {MAX_HASH_FUNCS} hash functions, not {hash_funcs}")
        self.data = bytearray(data)
        self.hash_funcs, self.tweak = hash_funcs, tweak

    @classmethod
    def for_elements(cls, elements: int, false_positive_rate: float, tweak: int = 0) -> BloomFilter:
        """An empty filter of the recommended size."""
        size, hash_funcs = recommended_size(elements, false_positive_rate)
        return cls(bytes(size), hash_funcs, tweak)

    def _bits(self, element: bytes) -> Iterator[int]:
        modulus = 8 * len(self.data)
        return (murmur3(i * _SEED_STEP + self.tweak, element) % modulus for i in range(self.hash_funcs))

    def insert(self, element: bytes) -> None:
        """Add an element; hashes in wire order. A filter without bytes stays as it is."""
        if self.data:
            for bit in self._bits(element):
                self.data[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, element: bytes) -> bool:
        """Whether the element may have been inserted. A filter without bytes holds everything."""
        return not self.data or all(self.data[bit >> 3] >> (bit & 7) & 1 for bit in self._bits(element))

    def __bytes__(self) -> bytes:
        """The bit field as `filterload` carries it."""
        return bytes(self.data)
