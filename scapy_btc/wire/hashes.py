# SPDX-License-Identifier: GPL-2.0-or-later
"""The hash functions of the protocol, and hashes as people read them.

A hash is 32 bytes in the order in which the hash function produced them ("wire order"); the hex that users know
is that of the reversed bytes.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any

import mmh3
import siphash24 as _siphash  # type: ignore[import-not-found]  # a C module without stubs

from ..errors import FormatError


def sha256d(data: Any) -> bytes:
    """SHA-256 of the SHA-256: block hash, txid, merkle trees (32 bytes, wire order)."""
    return sha256(sha256(data).digest()).digest()


def checksum(payload: Any) -> bytes:
    """The 4 checksum bytes of a v1 message header: the first four of `sha256d(payload)`."""
    return sha256(sha256(payload).digest()).digest()[:4]


@lru_cache(maxsize=32)
def _tag_prefix(tag: str) -> bytes:
    return sha256(tag.encode()).digest() * 2


def tagged_hash(tag: str, data: bytes) -> bytes:
    """BIP 340 tagged hash: SHA-256 over the tag's hash, twice, and the data (32 bytes)."""
    return sha256(_tag_prefix(tag) + data).digest()


def siphash24(k0: int, k1: int, data: bytes) -> int:
    """SipHash-2-4 of `data` as an unsigned 64-bit number; the key is two 64-bit numbers (BIP 152, BIP 158)."""
    key = k0.to_bytes(8, "little") + k1.to_bytes(8, "little")
    return int.from_bytes(_siphash.siphash24(data, key=key).digest(), "little")


def murmur3(seed: int, data: bytes) -> int:
    """MurmurHash3 (x86, 32 bit) of `data` as an unsigned 32-bit number; the seed is taken modulo 2^32 (BIP 37)."""
    return mmh3.mmh3_32_uintdigest(data, seed & 0xFFFFFFFF)


def hash_hex(wire: bytes) -> str:
    """A hash as people write it: the bytes reversed, in hex."""
    return wire[::-1].hex()


def hex_hash(text: str) -> bytes:
    """The 32 wire bytes of a hash that is written as 64 hex digits. Raises FormatError for anything else."""
    try:
        wire = bytes.fromhex(text)[::-1]
    except (ValueError, TypeError) as exc:
        raise FormatError(f"not a hash in hex: {text!r}") from exc
    if len(wire) != 32 or len(text) != 64:
        raise FormatError(f"a hash has 64 hex digits, not {len(text)}: {text!r}")
    return wire
