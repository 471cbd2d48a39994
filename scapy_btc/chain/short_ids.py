# SPDX-License-Identifier: GPL-2.0-or-later
"""Short transaction ids and differential indexes of compact blocks (BIP 152)."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from ..wire.hashes import siphash24

_MASK_48 = (1 << 48) - 1


def short_id_key(header: bytes, nonce: int) -> tuple[int, int]:
    """The SipHash key of a compact block, from its 80-byte header and u64 nonce."""
    digest = sha256(header + nonce.to_bytes(8, "little")).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


def short_id(key: tuple[int, int], tx_hash: bytes) -> int:
    """The 48-bit id of a transaction, given its wtxid (version 2; txid in version 1) as 32 wire bytes."""
    return siphash24(*key, tx_hash) & _MASK_48


def absolute_indexes(differences: Iterable[int]) -> list[int]:
    """Positions in the block from what stands on the wire: each number is the gap to the position before."""
    indexes = []
    following = 0
    for difference in differences:
        following += difference + 1
        indexes.append(following - 1)
    return indexes


def differential_indexes(indexes: Iterable[int]) -> list[int]:
    """What stands on the wire for these positions. Raises ValueError unless they rise from 0 or more."""
    differences = []
    following = 0
    for index in indexes:
        if index < following:
            raise ValueError(f"index {index} after {following - 1}: indexes must rise")
        differences.append(index - following)
        following = index + 1
    return differences
