# SPDX-License-Identifier: GPL-2.0-or-later
"""Real block headers of `vectors/chain`, and cheap ones for where none are to be had."""

from __future__ import annotations

from pathlib import Path

from scapy_btc.chain.mining import mine_header
from scapy_btc.wire.hashes import sha256d

VECTORS = Path(__file__).parent / "vectors" / "chain"


def in_a_row(name: str) -> list[bytes]:
    """The headers of a file `headers-NETWORK-HEIGHT.dat`: all but the first stand there without the previous hash."""
    packed = (VECTORS / name).read_bytes()
    headers = [packed[:80]]
    for at in range(80, len(packed), 48):
        headers.append(packed[at : at + 4] + sha256d(headers[-1]) + packed[at + 4 : at + 48])
    return headers


def retargets() -> dict[int, bytes]:
    """Mainnet's headers at both sides of every retarget: 0, 2015, 2016, 4031, 4032 ... 832608."""
    packed = (VECTORS / "mainnet-retargets.dat").read_bytes()
    heights = [0, *(height for first in range(2016, 832_609, 2016) for height in (first - 1, first))]
    return {height: packed[80 * n : 80 * n + 80] for n, height in enumerate(heights)}


def mine(before: bytes, time: int, bits: int = 0x207FFFFF, mark: int = 0) -> bytes:
    """A header on another one; `mark` tells those of the same time apart."""
    return mine_header(b"\0\0\0\x20" + sha256d(before) + mark.to_bytes(32, "little") + time.to_bytes(4, "little")
                       + bits.to_bytes(4, "little") + bytes(4))


def time_of(header: bytes) -> int:
    return int.from_bytes(header[68:72], "little")


def bits_of(header: bytes) -> int:
    return int.from_bytes(header[72:76], "little")
