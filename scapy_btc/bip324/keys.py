# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys of a v2 connection (BIP 324): ElligatorSwift through libsecp256k1, and what HKDF makes of the shared secret.

coincurve brings a libsecp256k1 with the ElligatorSwift functions, and its cffi library object reaches them; nothing
else in the package does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from coincurve._libsecp256k1 import ffi, lib  # type: ignore[import-not-found]  # compiled
from coincurve.context import GLOBAL_CONTEXT
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PUBLIC_SIZE = 64
PRIVATE_SIZE = 32
TERMINATOR_SIZE = 16

_SALT = b"bitcoin_v2_shared_secret"
_UNCOMPRESSED = 65
_NO_KEY = "not a private key of secp256k1"


@dataclass(frozen=True)
class EphemeralKey:
    """The key of one end of one connection.

    :ivar public: its ElligatorSwift encoding, 64 bytes, as it stands on the wire
    :ivar private: 32 bytes, big-endian; it is in no repr
    """

    public: bytes
    private: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_size(self.public, PUBLIC_SIZE)
        _check_size(self.private, PRIVATE_SIZE)


@dataclass(frozen=True)
class DirectionKeys:
    """What protects the bytes that one end sends."""

    length: bytes = field(repr=False)
    """FSChaCha20, 32 bytes."""
    packet: bytes = field(repr=False)
    """FSChaCha20Poly1305, 32 bytes."""
    terminator: bytes = field(repr=False)
    """16 bytes that follow its garbage."""


@dataclass(frozen=True)
class SessionKeys:
    """Everything that both ends of a connection derive."""

    session_id: bytes
    """32 bytes that both ends may show to their users to compare; no secret."""
    initiator: DirectionKeys = field(repr=False)
    responder: DirectionKeys = field(repr=False)


def new_key(private: bytes | None = None) -> EphemeralKey:
    """A key, encoded in a way that nobody can tell from random bytes.

    :param private: 32 bytes; without it they come from the operating system

    Raises ValueError when that is no private key of secp256k1.
    """
    private = os.urandom(PRIVATE_SIZE) if private is None else private  # one in 2^128 is none
    _check_size(private, PRIVATE_SIZE)
    public = ffi.new("unsigned char[]", PUBLIC_SIZE)
    if not lib.secp256k1_ellswift_create(GLOBAL_CONTEXT.ctx, public, private, os.urandom(32)):
        raise ValueError(_NO_KEY)
    return EphemeralKey(bytes(ffi.buffer(public)), private)


def decode(public: bytes) -> bytes:
    """The x coordinate (32 bytes, big-endian) that an ElligatorSwift encoding stands for; any 64 bytes are one."""
    _check_size(public, PUBLIC_SIZE)
    point = ffi.new("secp256k1_pubkey *")
    lib.secp256k1_ellswift_decode(GLOBAL_CONTEXT.ctx, point, public)
    return _serialised(point)[1:33]


def is_pair(public: bytes, private: bytes) -> bool:
    """Whether a private key is that of an encoding."""
    _check_size(private, PRIVATE_SIZE)
    point = ffi.new("secp256k1_pubkey *")
    known = lib.secp256k1_ec_pubkey_create(GLOBAL_CONTEXT.ctx, point, private)
    return bool(known) and _serialised(point)[1:33] == decode(public)


def _check_size(data: bytes, size: int) -> None:
    """The library reads as many bytes as it needs, whether they are there or not."""
    if len(data) != size:
        raise ValueError(f"a key of {len(data)} bytes instead of {size}")


def _serialised(point: object) -> bytes:
    out = ffi.new("unsigned char[]", _UNCOMPRESSED)
    size = ffi.new("size_t *", _UNCOMPRESSED)
    lib.secp256k1_ec_pubkey_serialize(GLOBAL_CONTEXT.ctx, out, size, point, lib.SECP256K1_EC_UNCOMPRESSED)
    return bytes(ffi.buffer(out))


def shared_secret(ours: EphemeralKey, theirs: bytes, initiating: bool) -> bytes:
    """32 bytes that only the two ends know.

    :param theirs: the encoded public key of the other end
    :param initiating: whether `ours` is the end that opened the connection
    """
    _check_size(theirs, PUBLIC_SIZE)
    first, second = (ours.public, theirs) if initiating else (theirs, ours.public)
    out = ffi.new("unsigned char[]", 32)
    context = GLOBAL_CONTEXT.ctx
    valid = lib.secp256k1_ec_seckey_verify(context, ours.private)  # the next function takes one above the order, too
    if not valid or not lib.secp256k1_ellswift_xdh(
        context, out, first, second, ours.private, int(not initiating),
        lib.secp256k1_ellswift_xdh_hash_function_bip324, ffi.NULL,
    ):  # fmt: skip
        raise ValueError(_NO_KEY)
    return bytes(ffi.buffer(out))


def _expand(secret: bytes, magic: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, _SALT + magic, info).derive(secret)


def terminators(secret: bytes, magic: bytes) -> tuple[bytes, bytes]:
    """What follows the garbage of the initiator and of the responder, 16 bytes each."""
    both = _expand(secret, magic, b"garbage_terminators")
    return both[:TERMINATOR_SIZE], both[TERMINATOR_SIZE:]


def session_keys(secret: bytes, magic: bytes) -> SessionKeys:
    """The keys that follow from the shared secret, on the network with that magic (4 bytes)."""
    first, second = terminators(secret, magic)
    return SessionKeys(
        _expand(secret, magic, b"session_id"),
        DirectionKeys(_expand(secret, magic, b"initiator_L"), _expand(secret, magic, b"initiator_P"), first),
        DirectionKeys(_expand(secret, magic, b"responder_L"), _expand(secret, magic, b"responder_P"), second),
    )


def derive(ours: EphemeralKey, theirs: bytes, initiating: bool, magic: bytes) -> SessionKeys:
    """The keys of a connection, for one of its ends. Raises as `shared_secret` does."""
    return session_keys(shared_secret(ours, theirs, initiating), magic)
