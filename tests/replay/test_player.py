# SPDX-License-Identifier: GPL-2.0-or-later
"""A played side, without sockets: when it says what, what it waits for, and what it finds missing or too much."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from conversations import script_of

from scapy_btc.all import (
    BTC,
    BTCAddr,
    BTCFeeFilter,
    BTCGetAddr,
    BTCGetData,
    BTCGetHeaders,
    BTCHeaders,
    BTCInv,
    BTCInvVector,
    BTCNotFound,
    BTCPing,
    BTCPong,
    BTCSendCmpct,
    BTCTx,
    BTCVerack,
    BTCVersion,
)
from scapy_btc.errors import WrongNetwork
from scapy_btc.replay import player as module
from scapy_btc.replay.player import Player
from scapy_btc.replay.script import SERVER

NOW = 1_800_000_000.0
THEIRS = BTCVersion(nonce=8)
HANDSHAKE = ((">", BTCVersion(nonce=9)), ("<", THEIRS), ("<", BTCVerack()), (">", BTCVerack()))


class Stage:
    """A player, and a clock."""

    def __init__(self, *said: Any, side: str = "client", **how: Any) -> None:
        self.player = Player(script_of(*said, side=side), "127.0.0.1:1", "127.0.0.1:2", random=Random(1), **how)
        self.now = NOW
        self.sent: list[Any] = list(self.player.start(self.now))

    @property
    def names(self) -> list[str]:
        """What was sent since the last time."""
        sent, self.sent = self.sent, []
        return [packet.msgtype for packet in sent]

    def hear(self, *messages: Any) -> list[str]:
        for message in messages:
            packet: Any = message if isinstance(message, BTC) else BTC(magic="regtest") / message
            self.sent += self.player.receive(BTC(bytes(packet)), self.now)
            self.sent += self.player.tick(self.now)
        return self.names

    def wait(self, seconds: float) -> list[str]:
        self.now += seconds
        self.sent += self.player.tick(self.now)
        return self.names

    def told(self, unexpected: bool = True) -> list[tuple[str, str]]:
        found = self.player.outcome.differences
        return [(d.kind, d.msgtype) for d in found if d.expected is not unexpected]


def test_it_says_what_it_said_when_it_has_heard_what_it_had_heard() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCGetAddr()), ("<", BTCAddr()))
    assert stage.names == ["version"]
    assert stage.hear(THEIRS) == []
    assert stage.hear(BTCVerack()) == ["verack", "getaddr"]
    assert not stage.player.done
    stage.hear(BTCAddr())
    assert stage.player.done and not stage.player.outcome.failure and stage.told() == []
    assert (stage.player.outcome.sent, stage.player.outcome.came) == (3, 3)


def test_who_connects_speaks_first() -> None:
    """Also where the recorded node was faster, as bcoin may be: others wait for the version."""
    stage = Stage(("<", THEIRS), (">", BTCVersion(nonce=9)), ("<", BTCVerack()), (">", BTCVerack()))
    assert stage.names == ["version"]
    assert stage.hear(BTCVerack()) == []
    assert stage.hear(THEIRS)[:1] == ["verack"]
    stage = Stage(("<", THEIRS), (">", BTCVersion(nonce=9)), side=SERVER)
    assert stage.names == ["version"]
    stage = Stage((">", BTCVersion(nonce=9)), ("<", THEIRS), side=SERVER)
    assert stage.names == []


def test_the_order_of_what_is_independent_does_not_matter() -> None:
    stage = Stage(*HANDSHAKE, ("<", BTCSendCmpct()), ("<", BTCFeeFilter()), (">", BTCGetAddr()), ("<", BTCAddr()))
    assert stage.hear(THEIRS, BTCVerack(), BTCFeeFilter()) == ["version", "verack"]
    assert stage.hear(BTCSendCmpct()) == ["getaddr"]
    stage.hear(BTCAddr())
    assert stage.told() == [] and ("order", "sendcmpct") in stage.told(False)


def test_the_order_of_answers_does() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCGetAddr()), (">", BTCGetHeaders()), ("<", BTCAddr()), ("<", BTCHeaders()))
    stage.hear(THEIRS, BTCVerack(), BTCHeaders(), BTCAddr())
    assert stage.told() == [("order", "addr")]


def test_what_does_not_come_is_missing_and_waited_for_once() -> None:
    stage = Stage(*HANDSHAKE, ("<", BTCSendCmpct()), (">", BTCGetAddr()), ("<", BTCAddr()), (">", BTCGetAddr()),
                  ("<", BTCAddr()), timeout=5)
    stage.hear(THEIRS, BTCVerack())
    assert stage.wait(4.9) == [] and stage.wait(0.2) == ["getaddr"]
    assert stage.hear(BTCAddr()) == ["getaddr"]
    stage.hear(BTCAddr())
    assert stage.player.done and not stage.player.outcome.failure
    assert stage.told() == [("missing", "sendcmpct")]


def test_what_comes_too_late_is_not_missing() -> None:
    stage = Stage(*HANDSHAKE, ("<", BTCSendCmpct()), (">", BTCGetAddr()), ("<", BTCAddr()), timeout=5)
    stage.hear(THEIRS, BTCVerack())
    stage.wait(6)
    stage.hear(BTCSendCmpct(), BTCAddr())
    assert ("missing", "sendcmpct") not in stage.told()


def test_a_peer_that_says_nothing() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCGetAddr()), ("<", BTCAddr()), (">", BTCGetAddr()), ("<", BTCAddr()), timeout=5)
    for _ in range(2):
        assert not stage.player.done
        stage.wait(5.1)
    stage.wait(5.1)
    assert stage.player.done
    assert stage.player.outcome.failure == "nothing of what was waited for came, 3 times in a row"
    assert ("missing", "version") in stage.told()


def test_a_peer_that_says_something_now_and_then_is_given_time() -> None:
    asked = [(">", BTCGetAddr()), ("<", BTCAddr())]
    stage = Stage(*HANDSHAKE, *asked * 6, timeout=5)
    stage.hear(THEIRS, BTCVerack())
    for _ in range(2):
        stage.wait(5.1)
        stage.wait(5.1)
        stage.hear(BTCAddr())
    stage.wait(5.1)
    assert not stage.player.outcome.failure and stage.player.outcome.sent == 8


def test_what_was_not_recorded_is_told_and_tolerated() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCGetAddr()), ("<", BTCAddr()))
    stage.hear(BTCSendCmpct(), THEIRS, BTC(magic="regtest", msgtype="strange") / b"123", BTCVerack(), BTCAddr())
    assert stage.told() == [("extra", "sendcmpct"), ("extra", "strange")]
    assert stage.player.done and not stage.player.outcome.failure


def test_a_flood_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EXTRA", 50)
    stage = Stage(*HANDSHAKE)
    stage.hear(*[BTCInv()] * 60)
    assert stage.player.done and "the peer sent 51 messages" in stage.player.outcome.failure
    assert len(stage.player.outcome.differences) < 60
    monkeypatch.setattr(module, "MAX_EXTRA_BYTES", 1000)
    stage = Stage(*HANDSHAKE)
    stage.hear(BTC(magic="regtest", msgtype="large") / bytes(1001))
    assert stage.player.done and "(1,001 bytes)" in stage.player.outcome.failure


# Pings


def test_a_ping_of_ours_has_a_new_nonce_and_its_pong_too() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCPing(nonce=7)), ("<", BTCPong(nonce=7)))
    assert stage.hear(THEIRS, BTCVerack(), BTCPong(nonce=7)) == ["version", "verack", "ping"]
    assert stage.told() == [("extra", "pong")] and not stage.player.done
    stage = Stage(*HANDSHAKE, (">", BTCPing(nonce=7)), ("<", BTCPong(nonce=7)))
    stage.player.receive(BTC(magic="regtest") / THEIRS, NOW)
    stage.player.receive(BTC(magic="regtest") / BTCVerack(), NOW)
    nonces = [packet.nonce for packet in stage.player.tick(NOW) if packet.msgtype == "ping"]  # type: ignore[attr-defined]
    assert nonces and nonces[0] != 7
    stage.hear(BTCPong(nonce=nonces[0]))
    assert stage.player.done and stage.told() == []


def test_pings_that_were_not_recorded_are_answered() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCGetAddr()), ("<", BTCAddr()))
    assert stage.hear(THEIRS, BTCPing(nonce=3)) == ["version", "pong"]
    assert stage.told() == [] and ("extra", "ping") in stage.told(False)


def test_a_recorded_pong_comes_in_its_place_with_the_nonce_that_came() -> None:
    """The headers first, as the peer knows by the pong that it has everything."""
    said = (*HANDSHAKE, (">", BTCGetHeaders()), (">", BTCPing(nonce=1)), ("<", BTCHeaders()), ("<", BTCPong(nonce=1)))
    stage = Stage(*said, side=SERVER)
    stage.hear(BTCVersion(), BTCVerack())
    assert stage.hear(BTCPing(nonce=77)) == []
    stage.sent = []
    stage.player.receive(BTC(magic="regtest") / BTCGetHeaders(), NOW)
    headers, pong, *closing = stage.player.tick(NOW)
    assert (headers.msgtype, pong.msgtype, pong.nonce) == ("headers", "pong", 77)  # type: ignore[attr-defined]
    assert [packet.msgtype for packet in closing] == ["ping"]


def test_a_ping_that_was_not_answered_is_not_answered() -> None:
    stage = Stage(*HANDSHAKE, ("<", BTCPing(nonce=1)), (">", BTCGetAddr()), ("<", BTCAddr()))
    assert stage.hear(THEIRS, BTCVerack(), BTCPing(nonce=5)) == ["version", "verack", "getaddr"]


def test_pings_that_keep_alive_come_when_they_come() -> None:
    """They are not waited for long, and not missed."""
    said = (*HANDSHAKE, ("<", BTCPing(nonce=1)), (">", BTCPong(nonce=1)), (">", BTCGetAddr()), ("<", BTCAddr()))
    stage = Stage(*said, timeout=60)
    assert stage.hear(THEIRS, BTCVerack()) == ["version", "verack"]
    assert stage.wait(module.PING_PATIENCE + 0.1) == ["getaddr"]
    stage.hear(BTCAddr())
    assert stage.player.done and stage.told() == [] and ("missing", "ping") in stage.told(False)
    assert (stage.player.outcome.sent, stage.player.outcome.to_send) == (3, 3)


def test_a_ping_that_comes_when_it_was_given_up_is_answered() -> None:
    said = (*HANDSHAKE, (">", BTCGetAddr()), ("<", BTCAddr()), ("<", BTCPing(nonce=1)), (">", BTCPong(nonce=1)),
            (">", BTCGetAddr()), ("<", BTCAddr()))
    stage = Stage(*said, timeout=5)
    assert stage.hear(THEIRS, BTCVerack()) == ["version", "verack", "getaddr"]
    assert stage.wait(5.1) == ["getaddr"]
    outcome = stage.player.outcome
    assert (outcome.sent, outcome.to_send) == (4, 4)
    assert stage.hear(BTCPing(nonce=5)) == ["pong"]
    assert (outcome.sent, outcome.to_send) == (5, 5)


# The end


def test_after_its_last_message_it_waits_for_what_that_causes() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCTx()))
    assert stage.hear(THEIRS, BTCVerack()) == ["version", "verack", "tx", "ping"]
    assert not stage.player.done
    nonce = stage.player._ping[0] if stage.player._ping else 0
    stage.hear(BTCFeeFilter(), BTCPong(nonce=nonce))
    assert stage.player.done and stage.told() == [("extra", "feefilter")]


def test_a_last_ping_without_a_pong() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCTx()), timeout=5)
    stage.hear(THEIRS, BTCVerack())
    stage.wait(5.1)
    assert stage.player.done and stage.told() == [("missing", "pong")]


def test_where_a_ping_tells_nothing_it_lingers() -> None:
    stage = Stage((">", BTCVersion()), timeout=5)
    assert stage.names == ["version"] and not stage.player.done
    stage.wait(module.LINGER + 0.1)
    assert stage.player.done and stage.player.outcome.differences == []


# Pauses


def test_recorded_pauses_are_kept_at_a_speed() -> None:
    said = (*HANDSHAKE, (">", BTCGetAddr(), 10.0), ("<", BTCAddr(), 20.0), (">", BTCGetAddr(), 4.0))
    stage = Stage(*said, speed=2.0, timeout=1)
    stage.wait(0.005)
    stage.hear(THEIRS, BTCVerack())
    assert stage.wait(0.005) == ["verack"]
    assert stage.wait(4.99) == [] and stage.wait(0.02) == ["getaddr"]
    assert stage.wait(10.5) == []  # the answer took 10 s then, and has 1 s more
    stage.hear(BTCAddr())
    assert stage.wait(1.99) == [] and stage.wait(0.02)[0] == "getaddr"
    assert stage.told() == []


def test_without_a_speed_there_are_none() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCGetAddr(), 3600.0))
    assert stage.hear(THEIRS, BTCVerack())[:3] == ["version", "verack", "getaddr"]


# Others


def test_what_the_peer_does_not_have_is_not_waited_for() -> None:
    tx = BTCTx()
    wanted = [BTCInvVector(type=1, hash=tx.txid)]
    stage = Stage(*HANDSHAKE, (">", BTCGetData(inventory=wanted)), ("<", tx), (">", BTCGetAddr()), ("<", BTCAddr()))
    stage.hear(THEIRS, BTCVerack())
    assert stage.hear(BTCNotFound(inventory=wanted)) == ["getaddr"]
    stage.hear(BTCAddr())
    assert stage.told() == [("extra", "notfound"), ("missing", "tx")]


def test_verbatim() -> None:
    said = (*HANDSHAKE, ("<", BTCPing(nonce=1)), (">", BTCPong(nonce=1)), (">", BTCPing(nonce=7)),
            ("<", BTCPong(nonce=7)))
    stage = Stage(*said, verbatim=True)
    assert bytes(stage.sent[0]) == script_of(*said).messages[0].frame_bytes
    stage.hear(THEIRS, BTCVerack())
    assert stage.hear(BTCPing(nonce=99)) == ["pong", "ping"]
    assert stage.hear(BTCPing(nonce=100)) == []
    stage.hear(BTCPong(nonce=7))
    assert stage.player.done


def test_a_wrong_checksum_is_told() -> None:
    stage = Stage(*HANDSHAKE, (">", BTCGetAddr()), ("<", BTCAddr()))
    stage.hear(THEIRS, BTCVerack(), BTC(magic="regtest", checksum=b"\1\2\3\4") / BTCAddr())
    difference, = stage.player.outcome.unexpected
    assert (difference.field, difference.recorded, difference.live) == ("checksum", "1406e058", "01020304")


def test_another_network() -> None:
    stage = Stage(*HANDSHAKE)
    with pytest.raises(WrongNetwork):
        stage.hear(BTC(magic="mainnet") / THEIRS)


def test_one_side_alone_compares_nothing() -> None:
    stage = Stage((">", BTCVersion()), (">", BTCVerack()), (">", BTCGetAddr()))
    assert stage.names == ["version", "verack", "getaddr"]
    stage.hear(THEIRS, BTCVerack())
    assert stage.player.outcome.differences == []
