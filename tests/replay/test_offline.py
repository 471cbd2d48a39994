# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings on the screen and to handlers: their pace, and that a handler sees what it would see live."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from conversations import CLIENT_END, SERVER_END, conversation
from recordings import CAPTURES, INDEX, LOG, items_of, messages_of

from scapy_btc.all import BTC, BTCGetAddr, BTCInv, BTCPing, BTCPong, BTCSendCmpct, BTCVerack, BTCVersion
from scapy_btc.analysis.mempool import MempoolWatch
from scapy_btc.errors import Disconnected, PeerError, TimedOut
from scapy_btc.networks import REGTEST
from scapy_btc.replay import offline as module
from scapy_btc.replay.offline import RecordedClient, paced, play

BCOIN = "bcoin-regtest.pcapng"
HANDSHAKE = ((">", BTCVersion(version=70015)), ("<", BTCVersion()), ("<", BTCVerack()), (">", BTCVerack()))


class Clock:
    """Seconds that pass in `sleep` only, unless `work` adds some."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


# Pace


@pytest.mark.parametrize(("speed", "slept"), [(1.0, [5.0, 0.5]), (10.0, [0.5, 0.05]), (0.5, [10.0, 1.0]), (None, [])])
def test_pauses(speed: float | None, slept: list[float]) -> None:
    clock = Clock()
    messages = conversation((">", BTCPing()), ("<", BTCPong(), 5.0), (">", BTCPing(), 0.5))
    assert list(paced(messages, speed, None, clock, clock.sleep)) == messages
    assert clock.slept == slept


def test_each_comes_at_its_time_counted_from_the_first() -> None:
    """A handler that takes its time does not make the rest late."""
    clock = Clock()
    seen = []
    for message in paced(conversation(*[(">", BTCPing(), 1.0)] * 4), 1.0, None, clock, clock.sleep):
        seen.append((message, round(clock.now - 1000.0, 6)))
        clock.now += 0.75
    assert [when for _, when in seen] == [0.0, 1.0, 2.0, 3.0] and clock.slept == [0.25] * 3


def test_times_that_go_back_wait_for_nothing() -> None:
    clock = Clock()
    messages = conversation((">", BTCPing()), ("<", BTCPong(), -60.0), (">", BTCPing(), 61.0))
    assert len(list(paced(messages, 1.0, None, clock, clock.sleep))) == 3
    assert clock.slept == [1.0]


@pytest.mark.parametrize(("apart", "speed"), [(5.0, 1e-300), (1e19, 1.0), (-1e19, 1.0)])
def test_pauses_are_such_as_a_system_can_make(apart: float, speed: float) -> None:
    clock = Clock()
    messages = conversation((">", BTCPing()), ("<", BTCPong(), apart), (">", BTCPing(), 1.0))
    assert list(paced(messages, speed, None, clock, clock.sleep)) == messages
    assert all(seconds < threading.TIMEOUT_MAX for seconds in clock.slept)


def test_a_recording_of_a_real_node_at_its_pace() -> None:
    clock = Clock()
    messages = messages_of(BCOIN)
    assert list(paced(messages, 4.0, None, clock, clock.sleep)) == messages
    assert clock.now - 1000.0 == pytest.approx((messages[-1].time_ns - messages[0].time_ns) / 4e9)


def test_step_by_step() -> None:
    clock = Clock()
    asked: list[Any] = []

    def step(message: Any) -> bool:
        asked.append(message)
        return len(asked) < 3

    messages = conversation(*[(">", BTCPing(), 10.0)] * 5)
    assert list(paced(messages, 1.0, step, clock, clock.sleep)) == messages[:2]
    assert asked == messages[:3] and clock.slept == []


# One connection in place of a client


def client_of(*said: Any, **how: Any) -> RecordedClient:
    return RecordedClient(conversation(*said), **how)


def test_the_rules_follow_a_recording() -> None:
    client = client_of(*HANDSHAKE, ("<", BTCSendCmpct()), (">", BTCPing(nonce=5), 1.0), ("<", BTCPong(nonce=4), 0.1),
                       ("<", BTCPong(nonce=5), 0.15))
    assert (client.local_address, client.address) == (CLIENT_END, SERVER_END)
    assert client.receive().msgtype == "version" and not client.peer.established
    assert client.receive().msgtype == "verack" and client.peer.established
    assert client.peer.common_version == 70015
    rest = list(client.messages())
    assert [packet.msgtype for packet in rest] == ["sendcmpct", "pong", "pong"]
    assert client.peer.latency == pytest.approx(0.25) and client.peer.agreed == {"sendcmpct"}
    assert client.counts == {"version": 1, "verack": 1, "sendcmpct": 1, "pong": 2}


def test_the_other_side() -> None:
    client = client_of(*HANDSHAKE, (">", BTCGetAddr()), side="server")
    assert [packet.msgtype for packet in client.messages()] == ["version", "verack", "getaddr"]
    assert client.address == CLIENT_END and client.peer.established


def test_in_a_nodes_message_capture_we_are_the_node() -> None:
    client = RecordedClient(messages_of(LOG), 0)
    assert (client.local_address, client.address) == ("node", "127.0.0.1:35002")
    list(client.messages())
    assert client.peer.established and client.peer.version.user_agent == b"/Satoshi:28.1.0/"


def test_a_real_node() -> None:
    messages = [m for m in messages_of(BCOIN) if m.connection == 3]
    client = RecordedClient(messages_of(BCOIN), 3)
    assert client.address == "127.0.0.1:18444"
    list(client.messages())
    theirs = [m for m in messages if m.source == client.address]
    assert client.counts == Counter(m.msgtype for m in theirs)
    assert client.peer.version.user_agent == b"/bcoin:v1.0.2/"
    ping, pong = ([m for m in messages if m.msgtype == name][-1] for name in ("ping", "pong"))
    assert client.peer.latency == pytest.approx((pong.time_ns - ping.time_ns) / 1e9, abs=1e-6)


def test_callbacks_and_observers() -> None:
    seen: list[tuple[str, bool]] = []
    nonces: list[int] = []
    client = client_of(*HANDSHAKE, ("<", BTCPing(nonce=1)), (">", BTCPong(nonce=1)), ("<", BTCPing(nonce=2)),
                       ("<", BTCPing(nonce=3)),
                       observer=lambda packet, sent: seen.append((packet.msgtype, sent)))  # type: ignore[attr-defined]
    end = client.on("ping", lambda message: nonces.append(message.nonce))
    assert client.wait_for("ping").nonce == 1
    client.receive()  # what was passed over: version
    assert client.wait_for(lambda message: message.msgtype == "ping").nonce == 2
    end()
    list(client.messages())
    assert nonces == [1, 2]
    assert seen[:3] == [("version", True), ("version", False), ("verack", False)] and ("pong", True) in seen


def test_seconds_are_those_of_the_recording() -> None:
    client = client_of(*HANDSHAKE, ("<", BTCInv(), 10.0), ("<", BTCPing(nonce=1), 10.0))
    assert [packet.msgtype for packet in client.messages(5)] == ["version", "verack"]
    with pytest.raises(TimedOut):
        client.receive(1)
    assert [packet.msgtype for packet in client.messages(10)] == ["inv"]
    with pytest.raises(TimedOut):
        client.wait_for("ping", 1)
    assert client.wait_for("ping", 30).nonce == 1
    with pytest.raises(Disconnected, match="the recording is over"):
        client.receive()


def test_a_wrong_checksum_is_seen_and_not_heard() -> None:
    seen = []
    client = client_of(*HANDSHAKE, ("<", BTC(magic="regtest", checksum=b"1234") / BTCPing(nonce=6)),
                       observer=lambda packet, sent: seen.append(packet.msgtype))  # type: ignore[attr-defined]
    assert [packet.msgtype for packet in client.messages()] == ["version", "verack"]
    assert seen[-1] == "ping" and client.ignored == {"with a wrong checksum": 1}


def test_nothing_of_the_connection() -> None:
    with pytest.raises(Disconnected):
        RecordedClient(messages_of(BCOIN), 17)


# Monitors of many connections


class Monitor:
    """What a pool of live connections tells, written down."""

    def __init__(self) -> None:
        self.opened_by: list[str] = []
        self.heard: list[tuple[str, bytes]] = []
        self.over: list[str] = []
        self.ticks = 0

    def opened(self, connection: Any) -> None:
        assert connection.peer.established and connection.peer.version
        self.opened_by.append(connection.address)

    def message(self, connection: Any, packet: Any) -> None:
        connection.post(BTCGetAddr())  # what a monitor would ask is not asked
        self.heard.append((connection.address, bytes(packet)))

    def closed(self, endpoint: str, reason: PeerError) -> None:
        self.over.append(endpoint)

    def tick(self, connections: dict[str, Any]) -> None:
        self.ticks += 1


def test_a_monitor_hears_what_was_said_after_the_handshake() -> None:
    monitor = Monitor()
    messages = messages_of(BCOIN)
    assert play(messages, monitor, side="server") == len(messages)
    assert sorted(monitor.opened_by) == sorted(monitor.over) == [
        f"127.0.0.1:{port}" for port in (46264, 46278, 46294, 46310)]
    assert monitor.ticks == len({m.time_ns // 10**9 for m in messages})
    for address in monitor.opened_by:
        theirs = [m.frame_bytes for m in messages if m.source == address]
        heard = [data for whose, data in monitor.heard if whose == address]
        assert heard == theirs[2:]  # after version and verack


def test_the_mempool_watch_sees_the_transactions() -> None:
    """Of the client's side: what the node announced to the plain client."""
    watch = MempoolWatch(REGTEST)
    found = []

    class Watching(Monitor):
        def message(self, connection: Any, packet: Any) -> None:
            _, sighting = watch.receive(connection.address, packet.payload, 0.0)
            if sighting:
                found.append(sighting.txid)

    messages = [m for m in messages_of(BCOIN) if m.connection == 3]
    play(messages, Watching())
    sent = [m.packet.payload for m in messages if m.msgtype == "tx" and m.source.endswith(":18444")]
    coinbases = {tx.txid for tx in sent if not tx.inputs[0].previous_output.hash.strip("0")}  # of filtered blocks
    assert set(found) == {tx.txid for tx in sent} - coinbases
    assert (len(set(found)), len(coinbases)) == (2, 1)


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS", 2)
    monitor = Monitor()
    play(messages_of(BCOIN), monitor, side="server")
    assert len(monitor.over) == len(monitor.opened_by) >= 4


@pytest.mark.parametrize("name", sorted(INDEX))
def test_no_recording_crashes(name: str) -> None:
    messages = messages_of(name)
    assert play(messages, Monitor()) == len(messages)
    for connection in {m.connection for m in messages}:
        for side in ("client", "server"):
            list(RecordedClient(messages, connection, side).messages())
    assert list(paced(items_of(name))) == list(items_of(name))


def test_every_capture_is_among_them() -> None:
    assert len(CAPTURES) > 10
