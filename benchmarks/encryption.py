# SPDX-License-Identifier: GPL-2.0-or-later
"""v2 packets to messages, against the bare calls of the cipher's library on the same packets."""

from __future__ import annotations

import random
from collections.abc import Iterator
from struct import pack

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from scapy_btc.bip324.keys import SessionKeys, derive, new_key
from scapy_btc.bip324.packets import PacketWriter
from scapy_btc.bip324.passive import V2Decoder
from scapy_btc.networks import REGTEST

from .measure import Row, in_turn

READ = 1 << 16
"""Bytes that are fed at a time, as the capture reader does."""


def rows(quick: bool) -> Iterator[Row]:
    for size, total, wanted in ((10_000, 50_000_000, 2), (100_000, 50_000_000, 2), (4_000_000, 80_000_000, 2),
                                (100, 2_000_000, 20)):
        yield decryption(size, total // (10 if quick else 1), wanted)


def decryption(size: int, total: int, wanted: float) -> Row:
    """`total` bytes in packets of that size; more than 224 of them change the key."""
    theirs = new_key()
    keys = derive(new_key(), theirs.public, True, REGTEST.magic)
    count = max(2, total // size)
    stream = theirs.public + sent(keys, size, count)
    pieces = [stream[at : at + READ] for at in range(0, len(stream), READ)]

    def ours() -> int:
        decoder = V2Decoder(keys, REGTEST.magic, False, {2: b"block"})
        return sum(1 for piece in pieces for event in decoder.feed_parts([piece]))

    assert ours() == count + 1
    body = b"\0\2" + random.Random(size).randbytes(size)
    ciphers = [ChaCha20Poly1305(random.Random(n).randbytes(32)) for n in range(count // 224 + 1)]
    sealed = [(ciphers[n // 224], pack("<IQ", n % 224, n // 224)) for n in range(count)]
    packets = [(cipher, nonce, cipher.encrypt(nonce, body, b"")) for cipher, nonce in sealed]

    def peer() -> int:
        return sum(len(cipher.decrypt(nonce, packet, b"")) for cipher, nonce, packet in packets)

    assert peer() == count * len(body)
    return Row(f"v2: {count:,} packets of {size:,} bytes to messages (bare cipher)", *in_turn(ours, peer, 15),
               wanted, faster=False)


def sent(keys: SessionKeys, size: int, count: int) -> bytes:
    """What follows the key of the responder: terminator, version packet, messages."""
    writer = PacketWriter(keys.responder, b"")
    body = random.Random(size).randbytes(size)
    packets = [writer.packet((b"\2", body) if n else ()) for n in range(count + 1)]
    return keys.responder.terminator + b"".join(packets)
