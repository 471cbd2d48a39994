# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of a connection, as scripts: `>>` is what the peer sends, `<<` what is to be answered."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from scapy_btc.all import (
    BTC,
    BTCFeeFilter,
    BTCPing,
    BTCPong,
    BTCSendAddrV2,
    BTCSendCmpct,
    BTCVerack,
    BTCVersion,
    BTCWtxidRelay,
)
from scapy_btc.errors import HandshakeError, TimedOut, WrongNetwork
from scapy_btc.peer.behaviour import Peer
from scapy_btc.peer.options import PeerOptions


class Script:
    """A peer, its clock, and what it wants to send."""

    def __init__(self, outbound: bool = True, **options: Any) -> None:
        self.peer = Peer(PeerOptions(**options), outbound, Random(1))
        self.now = 1000.0
        self.out = [p.payload for p in self.peer.start(self.now)]

    def __rshift__(self, message: Any) -> Script:
        self.out += [p.payload for p in self.peer.receive(BTC(bytes(BTC(magic="regtest") / message)), self.now)]
        return self

    def __lshift__(self, names: str) -> Script:
        assert [m.msgtype for m in self.out] == names.split()
        self.out = []
        return self

    def after(self, seconds: float) -> Script:
        self.now += seconds
        self.out += [p.payload for p in self.peer.tick(self.now)]
        return self


def test_we_open_the_connection() -> None:
    script = Script() << "version"
    script >> BTCVersion() << "wtxidrelay sendaddrv2 verack"
    assert not script.peer.established
    script >> BTCWtxidRelay() >> BTCSendAddrV2() << ""
    script >> BTCVerack() << ""
    assert script.peer.established and script.peer.agreed == {"wtxidrelay", "sendaddrv2"}


def test_the_peer_is_told_its_address() -> None:
    """The receiver's address of `version`, as 16 bytes of IPv6 and a port in network byte order."""
    for remote, told in ((None, "00" * 18), (("192.0.2.7", 18444), "00" * 10 + "ffff" + "c0000207" + "480c"),
                         (("2001:db8::7", 8333), "20010db8" + "00" * 11 + "07" + "208d")):
        for outbound in (True, False):
            script = Script(outbound)
            script.peer.remote = remote
            said = script.peer.start(1000.0) if outbound else script.peer.receive(
                BTC(bytes(BTC(magic="regtest") / BTCVersion())), 1000.0)
            assert bytes(said[0])[24 + 28:24 + 46].hex() == told


def test_they_open_the_connection() -> None:
    script = Script(outbound=False, sendcmpct=2, feefilter=1000, sendheaders=True) << ""
    script >> BTCVersion() << "version wtxidrelay sendaddrv2 verack"
    script >> BTCVerack() << "sendcmpct feefilter sendheaders"


@pytest.mark.parametrize(("version", "said"), [
    (70016, "wtxidrelay sendaddrv2 verack"), (70015, "verack"), (31800, "verack"), (209, "verack"), (106, ""),
])
def test_what_is_agreed_depends_on_the_version(version: int, said: str) -> None:
    script = Script(lowest_version=0) << "version"
    script >> BTCVersion(version=version) << said
    assert script.peer.common_version == version


def test_later_features_by_version() -> None:
    script = Script(sendcmpct=2, feefilter=1, sendheaders=True) << "version"
    script >> BTCVersion(version=70012) >> BTCVerack() << "verack sendheaders"


def test_erlay_is_off_by_default() -> None:
    script = Script(sendtxrcncl=7) << "version"
    script >> BTCVersion() << "wtxidrelay sendaddrv2 sendtxrcncl verack"


def test_pings_are_answered_with_their_nonce() -> None:
    script = Script() << "version"
    script >> BTCPing(nonce=1) << ""  # before version everything is ignored
    script >> BTCVersion() >> BTCPing(nonce=2)
    assert script.out[-1].msgtype == "pong" and script.out[-1].nonce == 2
    old = Script() << "version"
    old >> BTCVersion(version=60000) >> BTCPing(nonce=3) << "verack"
    without = Script() << "version"
    without >> BTCVersion() >> BTCPing(nonce=None) << "wtxidrelay sendaddrv2 verack"


def established(**options: Any) -> Script:
    script = Script(**options) >> BTCVersion() >> BTCVerack()
    script.out = []
    return script


def test_liveness() -> None:
    script = established(ping_interval=10, ping_timeout=30)
    script.after(9) << ""
    script.after(2) << "ping"
    script.after(15) << ""  # one at a time
    nonce = script.peer._ping[0]  # type: ignore[index]
    script >> BTCPong(nonce=nonce + 1)
    assert script.peer.latency is None
    script >> BTCPong(nonce=nonce)
    assert script.peer.latency == 15
    script.after(1) << "ping"
    with pytest.raises(TimedOut, match="no pong within 30 s"):
        script.after(31)


def test_a_handshake_has_its_time() -> None:
    script = Script(handshake_timeout=5)
    script.after(4)
    with pytest.raises(TimedOut, match="no handshake within 5 s"):
        script.after(2)


def test_obsolete_peers() -> None:
    with pytest.raises(HandshakeError, match="obsolete peer: version 31799, at least 31800"):
        Script() >> BTCVersion(version=31799)


def test_a_connection_to_ourselves() -> None:
    opened = Script()
    accepted = Script(outbound=False)
    accepted.peer.own_nonces = {opened.peer.nonce}
    with pytest.raises(HandshakeError, match="connected to ourselves"):
        accepted >> opened.out[0]


def test_another_network() -> None:
    peer = Peer(PeerOptions())
    with pytest.raises(WrongNetwork, match="the peer speaks mainnet, not regtest"):
        peer.receive(BTC(bytes(BTC(magic="mainnet") / BTCVersion())), 0)


def test_repetitions_are_ignored() -> None:
    script = established()
    script >> BTCVersion(version=106) >> BTCVerack() << ""
    assert script.peer.common_version == 70016


def test_the_same_seed_gives_the_same_nonces() -> None:
    assert Peer(PeerOptions(), random=Random(5)).nonce == Peer(PeerOptions(), random=Random(5)).nonce


def test_what_comes_at_any_time_is_noted() -> None:
    script = established()
    script >> BTCSendCmpct() >> BTCFeeFilter()
    assert "sendcmpct" in script.peer.agreed and "feefilter" not in script.peer.agreed
