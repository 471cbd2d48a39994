# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules by which a bloom filter chooses transactions (BIP 37), one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from served import spend_of

from scapy_btc.all import BTCFilterLoad, BTCTx
from scapy_btc.chain.bloom import BloomFilter
from scapy_btc.peer.filtering import LoadedFilter
from scapy_btc.peer.transaction import Tx
from scapy_btc.wire.hashes import hex_hash

KEY = b"\x02" + bytes(range(32))
P2PK = b"\x21" + KEY + b"\xac"
P2PKH = b"\x76\xa9\x14" + bytes(range(20)) + b"\x88\xac"
MULTISIG = b"\x51\x21" + KEY + b"\x51\xae"
NONE, ALL, KEYS = 0, 1, 2


def loaded(*elements: bytes, update: int = NONE) -> LoadedFilter:
    bloom = BloomFilter(bytes(2000), 10, 5)
    for element in elements:
        bloom.insert(element)
    return LoadedFilter(BTCFilterLoad(filter=bytes(bloom), n_hash_funcs=10, n_tweak=5, n_flags=update))


def paid(script: bytes) -> BTCTx:
    return spend_of("ab" * 32, [1, 2], script=script)


def tx(message: BTCTx) -> Tx:
    return Tx(bytes(message))


def signed(script: bytes) -> BTCTx:
    message = paid(P2PK)
    message.inputs[0].script = script
    message.inputs[0].script_length = None
    return BTCTx(bytes(message))


@pytest.mark.parametrize(("elements", "message"), [
    (lambda: [hex_hash(paid(P2PK).txid)], paid(P2PK)),
    (lambda: [KEY], paid(P2PK)),
    (lambda: [bytes(range(20))], paid(P2PKH)),
    (lambda: [KEY], paid(MULTISIG)),
    (lambda: [hex_hash("ab" * 32) + bytes(4)], paid(P2PK)),
    (lambda: [b"signature"], signed(b"\x09signature")),
])
def test_what_matches(elements: Callable[[], list[bytes]], message: BTCTx) -> None:
    assert loaded(*elements()).matches(tx(message))
    assert not loaded(b"something else").matches(tx(message))


def test_what_does_not() -> None:
    message = paid(P2PKH)
    assert not loaded(P2PKH, b"\x51", hex_hash("ab" * 32), hex_hash("ab" * 32) + b"\1\0\0\0").matches(tx(message))
    assert not loaded(hex_hash(message.wtxid)).matches(tx(message))
    assert LoadedFilter(BTCFilterLoad(filter=b"", n_hash_funcs=1)).matches(tx(message))  # as in Core


@pytest.mark.parametrize(("update", "script", "follows"), [
    (NONE, P2PKH, False), (ALL, P2PKH, True), (KEYS, P2PKH, False), (KEYS, P2PK, True), (KEYS, MULTISIG, True),
    (ALL | 4, P2PKH, True),
])
def test_whether_what_spends_a_match_matches(update: int, script: bytes, follows: bool) -> None:
    filter_ = loaded(bytes(range(20)), KEY, update=update)
    message = paid(script)
    spender = spend_of(message.txid, [1], index=1, script=b"\x51")
    assert not filter_.matches(tx(spender))
    assert filter_.matches(tx(message))
    assert filter_.matches(tx(spender)) is follows
