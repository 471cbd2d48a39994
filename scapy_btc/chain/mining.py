# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks of one's own, where proof of work is next to free: on regtest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import BTCError
from ..networks import Network
from ..protocol import COIN
from ..wire import compactsize
from ..wire.hashes import sha256d
from .merkle import merkle_root, witness_commitment
from .proof_of_work import check_proof_of_work

VERSION = 0x20000000
"""Of a block that signals nothing (BIP 9)."""
_OP_0, _OP_1, _OP_16 = 0x00, 0x51, 0x60
_COMMITMENT = bytes.fromhex("6a24aa21a9ed")  # OP_RETURN, a push of 36 bytes, and BIP 141's mark
_RESERVED = bytes(32)


class MinedTx(NamedTuple):
    """A transaction for a block, with its ids (32 wire bytes each) and its fee in satoshi."""

    raw: bytes
    txid: bytes
    wtxid: bytes
    fee: int = 0


def subsidy(network: Network, height: int) -> int:
    """New coins in the block at that height, in satoshi."""
    halvings = height // network.halving_interval
    return 50 * COIN >> halvings if halvings < 64 else 0


def push_height(height: int) -> bytes:
    """The height as a coinbase's script must begin with it (BIP 34)."""
    if height <= 16:
        return bytes((_OP_1 - 1 + height if height else _OP_0,))
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")  # the top bit is the sign
    return bytes((len(number),)) + number


def coinbase(height: int, value: int, script: bytes, commitment: bytes | None = None,
             extra: bytes = b"") -> tuple[bytes, bytes]:
    """A coinbase that pays `value` satoshi to an output script.

    :param commitment: 32 bytes over the witnesses of the block, with a reserved value of zeros (BIP 141); None: none
    :param extra: up to 90 bytes for the script, by which blocks that are else the same differ
    :returns: the whole transaction, and the form without witness, of which the hash is the txid

    Raises BTCError for a script of more than 100 bytes.
    """
    data = push_height(height) + bytes((_OP_0,)) + extra  # Core wants two bytes at least
    if len(data) > 100:
        raise BTCError(f"the script of a coinbase has at most 100 bytes, not {len(data)}")
    outputs = [(value, script)] + ([] if commitment is None else [(0, _COMMITMENT + commitment)])
    body = b"".join((b"\x01", bytes(32), b"\xff" * 4, compactsize.encode(len(data)), data, b"\xff" * 4,
                     compactsize.encode(len(outputs)),
                     *(amount.to_bytes(8, "little") + compactsize.encode(len(to)) + to for amount, to in outputs)))
    version, lock_time = (2).to_bytes(4, "little"), bytes(4)
    stripped = version + body + lock_time
    return stripped if commitment is None else version + b"\0\1" + body + b"\x01\x20" + _RESERVED + lock_time, stripped


def mine_header(header: bytes, tries: int = 1_000_000) -> bytes:
    """The 80-byte header with a nonce that gives it proof of work, the first from its own on.

    Raises BTCError when there is none in so many tries: on regtest every second one does.
    """
    start, bits = header[:76], int.from_bytes(header[72:76], "little")
    first = int.from_bytes(header[76:], "little")
    for nonce in range(first, min(first + tries, 1 << 32)):
        mined = start + nonce.to_bytes(4, "little")
        if check_proof_of_work(sha256d(mined), bits):
            return mined
    raise BTCError(f"no proof of work in {tries:,} tries")


def mine_block(network: Network, height: int, previous: bytes, time: int, bits: int, script: bytes,
               transactions: Sequence[MinedTx] = (), extra: bytes = b"", version: int = VERSION) -> bytes:
    """A block (the payload of `block`) on a tip, mined. It commits to witnesses where there are any.

    :param previous: hash of the tip, 32 wire bytes
    :param time: later than the median of the last 11 blocks' times, seconds since 1970
    :param script: output script that gets subsidy and fees
    :param transactions: in the order in which they shall stand; nothing about them is checked
    :param extra: bytes for the coinbase's script, by which blocks that are else the same differ
    """
    wtxids = [bytes(32), *(tx.wtxid for tx in transactions)]
    witnesses = any(tx.wtxid != tx.txid for tx in transactions)
    commitment = witness_commitment(wtxids, _RESERVED) if witnesses else None
    value = subsidy(network, height) + sum(tx.fee for tx in transactions)
    first, stripped = coinbase(height, value, script, commitment, extra)
    root = merkle_root([sha256d(stripped), *(tx.txid for tx in transactions)]).root
    header = b"".join((version.to_bytes(4, "little"), previous, root, time.to_bytes(4, "little"),
                       bits.to_bytes(4, "little"), bytes(4)))
    return b"".join((mine_header(header), compactsize.encode(1 + len(transactions)), first,
                     *(tx.raw for tx in transactions)))
