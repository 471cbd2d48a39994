# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ciphers of BIP 324, which change their key every 224 packets. The ciphers below them are `cryptography`'s."""

from __future__ import annotations

from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from ..errors import FormatError

REKEY_INTERVAL = 224
LENGTH_SIZE = 3
KEY_SIZE = 32

_nonce = Struct("<IQ").pack
_PERIOD = bytes(LENGTH_SIZE * REKEY_INTERVAL + KEY_SIZE)


class FSChaCha20:
    """The cipher of the lengths: each takes the next 3 bytes of a keystream.

    :param key: 32 bytes
    """

    __slots__ = ("_period", "_pos", "_stream")

    def __init__(self, key: bytes) -> None:
        self._period = 0
        self._begin(key)

    def _begin(self, key: bytes) -> None:
        """The keystream of a period: 224 lengths, and the next key. The block counter starts at 0."""
        algorithm = ChaCha20(key, bytes(4) + _nonce(0, self._period))
        self._stream = Cipher(algorithm, None).encryptor().update(_PERIOD)
        self._pos = 0

    def crypt(self, length: int) -> int:
        """Encrypt or decrypt the next length, a little-endian number of 3 bytes."""
        begin = self._pos
        end = self._pos = begin + LENGTH_SIZE
        length ^= int.from_bytes(self._stream[begin:end], "little")
        if end == LENGTH_SIZE * REKEY_INTERVAL:
            self._period += 1
            self._begin(self._stream[end:])
        return length


class FSChaCha20Poly1305:
    """The cipher of the packets, authenticated.

    :param key: 32 bytes
    """

    __slots__ = ("_aead", "_count", "_period")

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._count = self._period = 0

    def encrypt(self, plain: bytes, aad: bytes = b"") -> bytes:
        """The next packet and, behind it, its 16-byte tag."""
        sealed = self._aead.encrypt(_nonce(self._count, self._period), plain, aad)
        self._count += 1
        if self._count == REKEY_INTERVAL:
            self._rekey()
        return sealed

    def decrypt(self, sealed: bytes | bytearray | memoryview, aad: bytes = b"") -> bytes:
        """The next packet without its tag. Raises FormatError when the tag is wrong."""
        try:
            plain = self._aead.decrypt(_nonce(self._count, self._period), sealed, aad)
        except InvalidTag:
            raise FormatError("wrong tag") from None
        self._count += 1
        if self._count == REKEY_INTERVAL:
            self._rekey()
        return plain

    def decrypt_into(self, sealed: bytes | bytearray | memoryview, room: memoryview, aad: bytes = b"") -> None:
        """The same, into memory that has just the size for it."""
        try:
            self._aead.decrypt_into(_nonce(self._count, self._period), sealed, aad, room)
        except InvalidTag:
            raise FormatError("wrong tag") from None
        self._count += 1
        if self._count == REKEY_INTERVAL:
            self._rekey()

    def _rekey(self) -> None:
        key = self._aead.encrypt(_nonce(0xFFFFFFFF, self._period), bytes(KEY_SIZE), b"")[:KEY_SIZE]
        self._aead = ChaCha20Poly1305(key)
        self._count = 0
        self._period += 1
