# SPDX-License-Identifier: GPL-2.0-or-later
"""The official vectors of BIP 324, and that the functions of libsecp256k1 are there."""

from __future__ import annotations

import pytest
from coincurve._libsecp256k1 import lib
from plain_v2 import MAINNET, Peer, rows

from scapy_btc.bip324.ciphers import FSChaCha20Poly1305
from scapy_btc.bip324.keys import EphemeralKey, SessionKeys, decode, derive, is_pair, new_key, shared_secret
from scapy_btc.bip324.packets import PacketReader, PacketWriter

PACKETS = rows("packet_encoding_test_vectors.csv")
packets = pytest.mark.parametrize("row", PACKETS, ids=[f"packet-{row['in_idx']}" for row in PACKETS])


def data(row: dict[str, str], column: str) -> bytes:
    return bytes.fromhex(row[column])


def key_of(row: dict[str, str]) -> EphemeralKey:
    return EphemeralKey(data(row, "in_ellswift_ours"), data(row, "in_priv_ours"))


def keys_of(row: dict[str, str]) -> SessionKeys:
    return derive(key_of(row), data(row, "in_ellswift_theirs"), row["in_initiating"] == "1", MAINNET)


def test_the_library_has_what_it_needs_to_have() -> None:
    for name in ("create", "decode", "xdh", "xdh_hash_function_bip324"):
        assert hasattr(lib, f"secp256k1_ellswift_{name}")


def test_all_vectors_are_there() -> None:
    assert len(PACKETS) == 7
    assert len(rows("ellswift_decode_test_vectors.csv")) == 76
    assert len(rows("xswiftec_inv_test_vectors.csv")) == 32


def test_decoding() -> None:
    for row in rows("ellswift_decode_test_vectors.csv"):
        assert decode(data(row, "ellswift")).hex() == row["x"], row["comment"]


def test_every_encoding_decodes_to_the_same_point() -> None:
    """The library encodes only to random encodings, so the inverse vectors are read the other way round."""
    count = 0
    for row in rows("xswiftec_inv_test_vectors.csv"):
        for case in range(8):
            if t := row[f"case{case}_t"]:
                assert decode(bytes.fromhex(row["u"] + t)).hex() == row["x"]
                count += 1
    assert count == 98


@packets
def test_points(row: dict[str, str]) -> None:
    assert decode(data(row, "in_ellswift_ours")).hex() == row["mid_x_ours"]
    assert decode(data(row, "in_ellswift_theirs")).hex() == row["mid_x_theirs"]
    assert is_pair(data(row, "in_ellswift_ours"), data(row, "in_priv_ours"))
    assert not is_pair(data(row, "in_ellswift_theirs"), data(row, "in_priv_ours"))


@packets
def test_keys(row: dict[str, str]) -> None:
    initiating = row["in_initiating"] == "1"
    secret = shared_secret(key_of(row), data(row, "in_ellswift_theirs"), initiating)
    assert secret.hex() == row["mid_shared_secret"]
    keys = keys_of(row)
    assert keys.session_id.hex() == row["out_session_id"]
    for name, end in (("initiator", keys.initiator), ("responder", keys.responder)):
        assert end.length.hex() == row[f"mid_{name}_l"]
        assert end.packet.hex() == row[f"mid_{name}_p"]
    ends = (keys.initiator, keys.responder) if initiating else (keys.responder, keys.initiator)
    assert [end.terminator.hex() for end in ends] == [
        row["mid_send_garbage_terminator"], row["mid_recv_garbage_terminator"]]


@packets
def test_packets(row: dict[str, str]) -> None:
    """What we send is what the vector says, and we read it as what was sent; so does the peer of the other tests."""
    keys = keys_of(row)
    ours = keys.initiator if row["in_initiating"] == "1" else keys.responder
    contents = data(row, "in_contents") * int(row["in_multiply"])
    garbage = data(row, "in_aad")
    writer = PacketWriter(ours, garbage)
    before = b"".join(writer.packet(()) for _ in range(int(row["in_idx"])))
    sealed = writer.packet((contents[:1], contents[1:]), row["in_ignore"] == "1")
    if row["out_ciphertext"]:
        assert sealed.hex() == row["out_ciphertext"]
    assert sealed.hex().endswith(row["out_ciphertext_endswith"])

    plain = (b"\x80" if row["in_ignore"] == "1" else b"\0") + contents
    for large in (False, True):  # each of the two ways to decrypt
        cipher = FSChaCha20Poly1305(ours.packet)
        for at in range(0, len(before), 20):
            cipher.decrypt(before[at + 3 : at + 20], garbage if not at else b"")
        room = bytearray(len(plain))
        if large:
            cipher.decrypt_into(sealed[3:], memoryview(room), garbage if not before else b"")
        assert plain == (room if large else cipher.decrypt(sealed[3:], garbage if not before else b""))

    reader = PacketReader(ours, [b"%d" % number for number in range(256)])
    *_, (is_decoy, said, start, end) = reader.feed(garbage + ours.terminator + before + sealed)
    assert is_decoy == (row["in_ignore"] == "1")
    long = contents[1:13], contents[13:]
    assert said == (None if is_decoy else long if contents[0] == 0 else (b"%d" % contents[0], contents[1:]))
    assert (start, end) == (64 + len(garbage) + 16 + len(before), 80 + len(garbage + before + sealed))

    peer = Peer(row["in_initiating"] == "1", MAINNET, data(row, "in_priv_ours"), garbage, data(row, "in_ellswift_ours"))
    peer.meet(data(row, "in_ellswift_theirs"))
    assert b"".join(peer.packet() for _ in range(int(row["in_idx"]))) == before
    assert peer.packet(contents, row["in_ignore"] == "1") == sealed


def test_new_keys_can_be_used() -> None:
    first, second = new_key(), new_key(b"\1" * 32)
    assert first.public != second.public
    assert new_key(b"\1" * 32).public != second.public, "an encoding is random"
    assert is_pair(first.public, first.private) and is_pair(second.public, b"\1" * 32)
    assert derive(first, second.public, True, MAINNET) == derive(second, first.public, False, MAINNET)
    assert derive(first, second.public, True, MAINNET) != derive(second, first.public, True, MAINNET)
    assert derive(first, second.public, True, MAINNET) != derive(first, second.public, True, b"test")


@pytest.mark.parametrize("private", [bytes(32), b"\xff" * 32, b"", b"\1" * 31, b"\1" * 33])
def test_what_is_no_key(private: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        new_key(private)
    assert private.hex() not in str(caught.value) or not private
    with pytest.raises(ValueError):
        shared_secret(EphemeralKey(bytes(64), private), bytes(64), True)


def test_sizes_are_looked_at_before_the_library_is_called() -> None:
    for call in (lambda: decode(b"\1" * 63), lambda: is_pair(b"\1" * 63, b"\1" * 32),
                 lambda: is_pair(b"\1" * 64, b"\1" * 31), lambda: shared_secret(new_key(), b"\1" * 63, True)):
        with pytest.raises(ValueError, match="bytes instead of"):
            call()


def test_no_key_is_shown() -> None:
    key = new_key()
    session = derive(key, new_key().public, True, MAINNET)
    shown = f"{key!r} {key} {session!r} {session.initiator!r}"
    hidden = [key.private, *(part for end in (session.initiator, session.responder)
                             for part in (end.length, end.packet, end.terminator))]
    assert key.public.hex() in shown or repr(key.public) in shown
    for secret in hidden:
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
