# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer for the tests, written down from the pseudocode of BIP 324: slow, obedient, and without a line of the package.

Of libraries it uses the ciphers and the curve. The official vectors hold for it, too (test_vectors_bip324.py).
"""

from __future__ import annotations

import csv
import hashlib
import hmac
from pathlib import Path

import coincurve
from coincurve._libsecp256k1 import ffi, lib
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

VECTORS = Path(__file__).parent.parent / "vectors" / "bip324"
REGTEST = bytes.fromhex("fabfb5da")
MAINNET = bytes.fromhex("f9beb4d9")
IDS = {18: b"ping", 19: b"pong", 2: b"block"}


def rows(name: str) -> list[dict[str, str]]:
    with (VECTORS / name).open(encoding="ascii", newline="") as file:
        return list(csv.DictReader(file))


def hkdf(salt: bytes, secret: bytes, info: bytes) -> bytes:
    """RFC 5869, 32 bytes."""
    prk = hmac.digest(salt, secret, "sha256")
    return hmac.digest(prk, info + b"\1", "sha256")


class Length:
    def __init__(self, key: bytes) -> None:
        self.key, self.chunks, self.stream, self.block = key, 0, b"", 0

    def more(self, n: int) -> bytes:
        while len(self.stream) < n:
            nonce = self.block.to_bytes(4, "little") + bytes(4) + (self.chunks // 224).to_bytes(8, "little")
            self.stream += Cipher(ChaCha20(self.key, nonce), None).encryptor().update(bytes(64))
            self.block += 1
        out, self.stream = self.stream[:n], self.stream[n:]
        return out

    def crypt(self, chunk: bytes) -> bytes:
        out = bytes(a ^ b for a, b in zip(chunk, self.more(len(chunk)), strict=True))
        if (self.chunks + 1) % 224 == 0:
            self.key, self.block, self.stream = self.more(32), 0, b""
        self.chunks += 1
        return out


class Body:
    def __init__(self, key: bytes) -> None:
        self.key, self.count = key, 0

    def crypt(self, text: bytes, aad: bytes, decrypt: bool) -> bytes:
        nonce = (self.count % 224).to_bytes(4, "little") + (self.count // 224).to_bytes(8, "little")
        aead = ChaCha20Poly1305(self.key)
        out = aead.decrypt(nonce, text, aad) if decrypt else aead.encrypt(nonce, text, aad)
        if (self.count + 1) % 224 == 0:
            self.key = aead.encrypt(b"\xff\xff\xff\xff" + nonce[4:], bytes(32), b"")[:32]
        self.count += 1
        return out


class Peer:
    """One end. `hello` is what it sends first; after `meet` it can make and read packets."""

    def __init__(self, initiating: bool, magic: bytes = REGTEST, private: bytes = b"\x07" * 32, garbage: bytes = b"",
                 public: bytes | None = None) -> None:
        self.initiating, self.magic, self.private, self.garbage = initiating, magic, private, garbage
        out = ffi.new("unsigned char[64]")
        context = coincurve.GLOBAL_CONTEXT.ctx
        assert lib.secp256k1_ellswift_create(context, out, private, hashlib.sha256(private).digest())
        self.public = public or bytes(ffi.buffer(out))
        self.hello = self.public + garbage

    def meet(self, theirs: bytes) -> Peer:
        out = ffi.new("unsigned char[32]")
        first, second = (self.public, theirs) if self.initiating else (theirs, self.public)
        assert lib.secp256k1_ellswift_xdh(
            coincurve.GLOBAL_CONTEXT.ctx, out, first, second, self.private, 0 if self.initiating else 1,
            lib.secp256k1_ellswift_xdh_hash_function_bip324, ffi.NULL)
        self.secret = bytes(ffi.buffer(out))
        salt = b"bitcoin_v2_shared_secret" + self.magic
        self.session_id = hkdf(salt, self.secret, b"session_id")
        terminators = hkdf(salt, self.secret, b"garbage_terminators")
        ends = [b"initiator", b"responder"]
        halves = [terminators[:16], terminators[16:]]
        if not self.initiating:
            ends.reverse()
            halves.reverse()
        self.send_terminator, self.receive_terminator = halves
        keys = [hkdf(salt, self.secret, end + kind) for end in ends for kind in (b"_L", b"_P")]
        self.send_length, self.send_body = Length(keys[0]), Body(keys[1])
        self.receive_length, self.receive_body = Length(keys[2]), Body(keys[3])
        self.aad = self.garbage
        return self

    def packet(self, contents: bytes = b"", decoy: bool = False, length: int | None = None,
               aad: bytes | None = None) -> bytes:
        """The next packet; `length` is the lie that it tells, if any."""
        said = len(contents) if length is None else length
        head = self.send_length.crypt(said.to_bytes(3, "little"))
        out = head + self.send_body.crypt(bytes([decoy << 7]) + contents, self.aad if aad is None else aad, False)
        self.aad = b""
        return out

    def opening(self, *decoys: int) -> bytes:
        """Terminator, decoys of these sizes, version packet."""
        return self.send_terminator + b"".join(self.packet(bytes(n), True) for n in decoys) + self.packet()

    def read(self, stream: bytes) -> tuple[bytes, list[tuple[bool, bytes]]]:
        """Garbage and packets (decoy, contents) of a stream that begins after the key; what is left must be nothing."""
        at = stream.index(self.receive_terminator)
        aad = garbage = stream[:at]
        at += 16
        packets = []
        while at < len(stream):
            size = int.from_bytes(self.receive_length.crypt(stream[at : at + 3]), "little")
            sealed = stream[at + 3 : at + 20 + size]
            assert len(sealed) == size + 17
            plain = self.receive_body.crypt(sealed, aad, True)
            packets.append((plain[0] >= 128, plain[1:]))
            aad = b""
            at += size + 20
        return garbage, packets


def v1(command: bytes, payload: bytes = b"", magic: bytes = REGTEST) -> bytes:
    check = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    return magic + command.ljust(12, b"\0") + len(payload).to_bytes(4, "little") + check + payload
