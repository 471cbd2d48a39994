# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said anew of a recorded message, and that nothing else is."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from conversations import CLIENT_END, SERVER_END, START, conversation
from recordings import CAPTURES, LOG, messages_of

from scapy_btc.all import BTC, BTCAddr, BTCAddrV2, BTCNetAddr, BTCNetAddrV2, BTCPing, BTCTimedNetAddr, BTCVersion
from scapy_btc.replay.rewrite import Rewriter
from scapy_btc.wire.hashes import checksum

NOW = 1_800_000_000.5
NONCE = 0x1122334455667788
ENDS = {CLIENT_END: "127.0.0.1:40000", SERVER_END: "[::1]:18444"}


def rewritten(message: Any) -> Any:
    recorded, = conversation((">", message))
    packet: Any = Rewriter(ENDS, NONCE, Random(1))(recorded, NOW)
    return BTC(bytes(packet))


def test_version() -> None:
    old = BTCVersion(version=70001, services=9, timestamp=1_500_000_000, nonce=5, user_agent=b"/old/", start_height=77,
                     receiver_address=BTCNetAddr(services=1, ip="192.0.2.2", port=18444),
                     sender_address=BTCNetAddr(services=9, ip="192.0.2.1", port=50000), relay=0)
    new = rewritten(old)
    assert (new.timestamp, new.nonce) == (1_800_000_000, NONCE)
    assert (new.receiver_address.ip, new.receiver_address.port) == ("::1", 18444)
    assert (new.sender_address.ip, new.sender_address.port) == ("127.0.0.1", 40000)
    assert (new.receiver_address.services, new.sender_address.services) == (1, 9)
    assert (new.version, new.services, new.user_agent, new.start_height, new.relay) == (70001, 9, b"/old/", 77, 0)
    assert new.checksum == checksum(new.payload.self_build())


def test_addresses_of_others_stay() -> None:
    new = rewritten(BTCVersion(receiver_address=BTCNetAddr(ip="198.51.100.1", port=8333)))
    assert (new.receiver_address.ip, new.receiver_address.port) == ("198.51.100.1", 8333)


def test_an_old_version_stays_as_short_as_it_is() -> None:
    bare = bytes.fromhex("6a000000 0100000000000000 0102030400000000".replace(" ", "")) + bytes(26)
    new = rewritten(BTCVersion(bare))
    assert bytes(new.payload) == bare[:12] + (1_800_000_000).to_bytes(8, "little") + bytes(26)


def test_ping() -> None:
    assert rewritten(BTCPing(nonce=7)).nonce == Random(1).getrandbits(64)
    assert rewritten(BTCPing(nonce=None)).nonce is None


def test_times_of_addresses_keep_their_age() -> None:
    then = START // 10**9
    addresses = [BTCTimedNetAddr(timestamp=then - age, ip="198.51.100.1", port=1) for age in (0, 3600)]
    assert [int(NOW) - entry.timestamp for entry in rewritten(BTCAddr(addresses=addresses)).addresses] == [0, 3600]
    second = [BTCNetAddrV2(timestamp=then - 60, address="198.51.100.1"), BTCNetAddrV2(timestamp=0xFFFFFFFF)]
    new = rewritten(BTCAddrV2(addresses=second))
    assert [entry.timestamp for entry in new.addresses] == [int(NOW) - 60, 0xFFFFFFFF]
    assert new.addresses[0].address == "198.51.100.1"


def test_a_wrong_checksum_stays_wrong() -> None:
    new = rewritten(BTC(magic="regtest", checksum=b"\1\2\3\4") / BTCVersion(nonce=5))
    assert new.nonce == NONCE and new.checksum == b"\1\2\3\4"


@pytest.mark.parametrize("payload", [b"", b"\1", bytes(45)])
def test_what_cannot_be_read_is_sent_as_it_is(payload: bytes) -> None:
    for name in ("version", "addr", "addrv2"):
        assert bytes(rewritten(BTC(magic="regtest", msgtype=name) / payload))[24:] == payload


def test_everything_else_is_sent_byte_for_byte() -> None:
    rewriter = Rewriter({}, NONCE, Random(1))
    count = 0
    for name in (*CAPTURES, LOG):
        for message in messages_of(name):
            if message.msgtype not in ("version", "ping", "addr", "addrv2"):
                assert bytes(rewriter(message, NOW)) == message.frame_bytes
                count += 1
    assert count > 3000
