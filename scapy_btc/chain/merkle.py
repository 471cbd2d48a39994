# SPDX-License-Identifier: GPL-2.0-or-later
"""Merkle root of a block, and the witness commitment in its coinbase (BIP 141). Hashes are 32 bytes in wire order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..wire.hashes import sha256d

_COMMITMENT_HEADER = bytes.fromhex("6a24aa21a9ed")
_COMMITMENT_SCRIPT_SIZE = 38


class MerkleRoot(NamedTuple):
    """The root over a list of hashes."""

    root: bytes
    """32 zero bytes for an empty list."""
    mutated: bool
    """Two neighbours of a pair are equal, so that a shorter list has the same root (CVE-2012-2459)."""


def parent_level(level: Sequence[bytes]) -> list[bytes]:
    """The next level towards the root: pairs hashed with SHA-256d, an odd last hash paired with itself."""
    parents = [sha256d(level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) & 1:
        parents.append(sha256d(level[-1] * 2))
    return parents


def merkle_root(hashes: Sequence[bytes]) -> MerkleRoot:
    """Merkle root over txids in block order."""
    level = list(hashes)
    mutated = False
    while len(level) > 1:
        mutated = mutated or any(level[i] == level[i + 1] for i in range(0, len(level) - 1, 2))
        level = parent_level(level)
    return MerkleRoot(level[0] if level else bytes(32), mutated)


def witness_root(wtxids: Sequence[bytes]) -> bytes:
    """Merkle root over the wtxids of a block, the coinbase's (the first) counted as 32 zero bytes (BIP 141)."""
    return merkle_root([bytes(32), *wtxids[1:]]).root


def find_witness_commitment(output_scripts: Sequence[bytes]) -> bytes | None:
    """The 32-byte commitment among the output scripts of a coinbase, None without one; the last of several counts."""
    for script in reversed(output_scripts):
        if len(script) >= _COMMITMENT_SCRIPT_SIZE and script.startswith(_COMMITMENT_HEADER):
            return bytes(script[6:_COMMITMENT_SCRIPT_SIZE])
    return None


def witness_commitment(wtxids: Sequence[bytes], reserved_value: bytes) -> bytes:
    """The commitment to the witness data of a block: its wtxids and the coinbase's 32-byte reserved value."""
    return sha256d(witness_root(wtxids) + reserved_value)


def check_witness_commitment(
    wtxids: Sequence[bytes], output_scripts: Sequence[bytes], coinbase_witness: Sequence[bytes]
) -> bool | None:
    """Whether the coinbase commits to these wtxids; None when it commits to nothing (then no witness is allowed).

    `output_scripts` and `coinbase_witness` (its one stack, which must be a single item of 32 bytes) are the coinbase's.
    A block that was sent without its witness data cannot be checked: it gives False.
    """
    commitment = find_witness_commitment(output_scripts)
    if commitment is None:
        return None
    if len(coinbase_witness) != 1 or len(coinbase_witness[0]) != 32:
        return False
    return witness_commitment(wtxids, coinbase_witness[0]) == commitment
