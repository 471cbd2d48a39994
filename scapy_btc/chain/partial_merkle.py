# SPDX-License-Identifier: GPL-2.0-or-later
"""The partial merkle tree of `merkleblock` (BIP 37): proof that some transactions are in a block.

The tree is walked depth-first, left before right. Each node visited takes one flag bit (least significant bit of
each byte first); a node that covers no match, and a matching leaf, takes one hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import FormatError
from ..protocol import MAX_MERKLEBLOCK_TXS
from ..wire.hashes import sha256d
from .merkle import parent_level


class PartialTree(NamedTuple):
    """What a partial merkle tree proves."""

    root: bytes
    """Merkle root; proves something only when it equals the root in the block header."""
    matches: list[tuple[int, bytes]]
    """Position in the block and txid of each transaction proven."""


def _width(total: int, height: int) -> int:
    return (total + (1 << height) - 1) >> height


class _Walk:
    """One pass over the hashes and flag bits of a received tree."""

    def __init__(self, total: int, hashes: Sequence[bytes], flags: bytes) -> None:
        self.total, self.hashes, self.flags = total, hashes, flags
        self.bits_used = self.hashes_used = 0
        self.matches: list[tuple[int, bytes]] = []

    def node(self, height: int, position: int) -> bytes:
        byte, bit = divmod(self.bits_used, 8)
        if byte >= len(self.flags):
            raise FormatError("the tree needs more flag bits than there are")
        self.bits_used += 1
        covers_match = self.flags[byte] >> bit & 1
        if height == 0 or not covers_match:
            if self.hashes_used >= len(self.hashes):
                raise FormatError("the tree needs more hashes than there are")
            found = self.hashes[self.hashes_used]
            self.hashes_used += 1
            if covers_match:
                self.matches.append((position, found))
            return found
        left = self.node(height - 1, 2 * position)
        right = left
        if 2 * position + 1 < _width(self.total, height - 1):
            right = self.node(height - 1, 2 * position + 1)
            if right == left:  # CVE-2012-2459: only an odd last node may be paired with itself
                raise FormatError("a right hash equals its left neighbour")
        return sha256d(left + right)


def extract(total: int, hashes: Sequence[bytes], flags: bytes) -> PartialTree:
    """Walk a received tree over `total` transactions. Raises FormatError when it breaks a rule of BIP 37."""
    if total == 0:
        raise FormatError("the block has no transactions")
    if total > MAX_MERKLEBLOCK_TXS:
        raise FormatError(f"{total} transactions do not fit a block")
    if len(hashes) > total:
        raise FormatError(f"{len(hashes)} hashes for {total} transactions")
    if 8 * len(flags) < len(hashes):
        raise FormatError("fewer flag bits than hashes")
    walk = _Walk(total, hashes, flags)
    root = walk.node((total - 1).bit_length(), 0)
    if (walk.bits_used + 7) // 8 != len(flags):
        raise FormatError("flag bits are left over")
    if walk.hashes_used != len(hashes):
        raise FormatError("hashes are left over")
    return PartialTree(root, walk.matches)


def build(txids: Sequence[bytes], matches: Sequence[bool]) -> tuple[list[bytes], bytes]:
    """The (hashes, flag bytes) that prove the transactions marked in `matches`, one mark per txid of the block.

    Raises ValueError when there are no txids or not as many marks.
    """
    if not txids or len(txids) != len(matches):
        raise ValueError(f"{len(matches)} marks for {len(txids)} transactions")
    levels, marks = [list(txids)], [[bool(match) for match in matches]]
    while len(levels[-1]) > 1:
        below = marks[-1]
        marks.append([any(below[i : i + 2]) for i in range(0, len(below), 2)])
        levels.append(parent_level(levels[-1]))
    hashes: list[bytes] = []
    bits: list[bool] = []
    stack = [(len(levels) - 1, 0)]
    while stack:
        height, position = stack.pop()
        covers_match = marks[height][position]
        bits.append(covers_match)
        if height == 0 or not covers_match:
            hashes.append(levels[height][position])
            continue
        if 2 * position + 1 < len(levels[height - 1]):
            stack.append((height - 1, 2 * position + 1))
        stack.append((height - 1, 2 * position))
    flags = bytearray((len(bits) + 7) // 8)
    for i, bit in enumerate(bits):
        flags[i // 8] |= bit << i % 8
    return hashes, bytes(flags)
