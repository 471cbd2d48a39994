# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection of a program that waits, against servers that follow a script or misbehave."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from misbehaving import GREETING, VERACK, answers, connect, nobody, packet, says, serving

from scapy_btc.all import (
    BTC,
    BTCAddr,
    BTCFeeFilter,
    BTCInv,
    BTCInvVector,
    BTCPing,
    BTCPong,
    BTCUnknown,
    BTCVerack,
    BTCVersion,
)
from scapy_btc.capture.reader import read
from scapy_btc.errors import (
    CaptureError,
    Disconnected,
    HandshakeError,
    PeerError,
    Refused,
    TimedOut,
    WrongNetwork,
)
from scapy_btc.net import connection as connections
from scapy_btc.net import inbox
from scapy_btc.net.client import BTCClient
from scapy_btc.net.connection import open_connection
from scapy_btc.net.socket import BTCStreamSocket
from scapy_btc.networks import signet
from scapy_btc.peer.options import PeerOptions

VERSION = GREETING[:-len(VERACK)]


def inv(*hashes: str) -> BTCInv:
    return BTCInv(inventory=[BTCInvVector(type="MSG_TX", hash=of) for of in hashes])


def spoiled(raw: bytes) -> bytes:
    """With a wrong checksum."""
    return raw[:20] + bytes([raw[20] ^ 1]) + raw[21:]


def pongs(message: Any) -> list[BTCPong]:
    return [BTCPong(nonce=message.nonce)] if message.msgtype == "ping" else []


# The handshake


def test_nobody_listens() -> None:
    with nobody() as port, pytest.raises(Refused, match=f"^127.0.0.1:{port}: Connection refused$"):
        connect("127.0.0.1", port)


def test_every_truncation_of_the_handshake() -> None:
    cuts = iter(range(len(GREETING)))
    with serving(lambda peer: peer.sendall(GREETING[:next(cuts)])) as port:
        for cut in range(len(GREETING)):
            with pytest.raises(Disconnected, match="during the handshake") as caught:
                connect("127.0.0.1", port, timeout=5)
            assert ("other networks than regtest" in str(caught.value)) == (cut < len(VERSION))


@pytest.mark.parametrize(("sent", "error", "text"), [
    (packet(bytes(BTC(magic="mainnet") / BTCVersion())), WrongNetwork, "the peer speaks mainnet, not regtest"),
    (bytes(BTC(magic="0a0b0c0d") / BTCVersion()), WrongNetwork, "the peer speaks 0a0b0c0d, not regtest"),
    (b"SSH-2.0-OpenSSH_9.2p1\r\n" + bytes(40), HandshakeError, "no message of Bitcoin's: 5353482d"),
    (bytes(200), HandshakeError, "no message of Bitcoin's"),
    (packet(BTCVersion(version=100)), HandshakeError, "obsolete peer: version 100, at least 31800 wanted"),
    (b"\xfa\xbf\xb5\xdaversion\0\0\0\0\0\xff\xff\xff\xff" + bytes(40), HandshakeError, "more than 33,554,432 bytes"),
])
def test_what_is_no_handshake(sent: bytes, error: type[PeerError], text: str) -> None:
    with serving(says(sent)) as port, pytest.raises(error, match=f"^127.0.0.1:{port}: .*{text}"):
        connect("127.0.0.1", port, timeout=5)


@pytest.mark.parametrize(("sent", "text"), [
    (b"", r"no handshake within 0.6 s$"),
    (spoiled(VERSION) + VERACK, r"ignored: 1 with a wrong checksum"),
    (bytes(BTC(magic="regtest", msgtype="version") / b"\1\2\3") + VERACK, r"ignored: 1 malformed version"),
    (VERACK, r"no handshake within 0.6 s$"),
])
def test_a_handshake_that_does_not_end(sent: bytes, text: str) -> None:
    with serving(says(sent)) as port, pytest.raises(TimedOut, match=text):
        connect("127.0.0.1", port, timeout=0.6)


def test_unknown_messages_before_verack_are_ignored() -> None:
    strange = bytes(BTC(magic="regtest", msgtype="strange") / b"12345")
    with serving(says(strange + VERSION + strange + VERACK)) as port, connect("127.0.0.1", port) as client:
        assert client.peer.established and client.counts["strange"] == 2


def test_the_handshake_may_be_left_out() -> None:
    with serving(says(GREETING)) as port, connect("127.0.0.1", port, handshake=False) as client:
        assert client.receive().msgtype == "version" and not client.peer.established
        client.handshake()
        assert client.peer.established


@pytest.mark.parametrize(("host", "text"), [("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}")])
def test_a_host_with_its_port(host: str, text: str) -> None:
    with serving(says(GREETING), host) as port, connect(text.format(port)) as client:
        assert client.address == text.format(port)


# Bounded time


def drip(data: bytes) -> Callable[[socket.socket], None]:
    def treat(peer: socket.socket) -> None:
        for byte in data:
            peer.sendall(bytes([byte]))
            time.sleep(0.02)

    return treat


Many = bytes | Callable[[int], bytes]


def flood(what: Many) -> Callable[[socket.socket], None]:
    """Agrees, then sends without end, and reads nothing."""
    def treat(peer: socket.socket) -> None:
        peer.sendall(GREETING)
        for number in count(0, 100):
            peer.sendall(100 * what if isinstance(what, bytes) else b"".join(map(what, range(number, number + 100))))

    return treat


FLOODS: dict[str, Many] = {
    "pings": lambda number: packet(BTCPing(nonce=number)),
    "pongs": packet(BTCPong(nonce=7)),
    "checksums": spoiled(packet(inv("ab" * 32))),
    "names": lambda number: b"\xfa\xbf\xb5\xda" + b"%012x" % number + bytes(4) + b"\x5d\xf6\xe0\xe2",
    "malformed": bytes(BTC(magic="regtest", msgtype="addr") / b"\xff"),
    "large": bytes(BTC(magic="regtest", msgtype="large") / bytes(1_000_000)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_with_the_time_and_fills_no_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "SIZE", 2_500_000)
    monkeypatch.setattr(inbox, "MESSAGES", 50)
    with serving(flood(FLOODS[name])) as port, connect("127.0.0.1", port) as client:
        client.timeout = 0.5
        start = time.monotonic()
        with pytest.raises(TimedOut):
            client.wait_for("tx")
        assert time.monotonic() - start < 2
        assert len(client.inbox) <= inbox.MESSAGES and sum(p.length for p in client.inbox._packets) <= 2_500_000
        assert len(client.counts) <= connections.NAMES + 1 and sum(client.counts.values()) > 4
        if name != "checksums":
            assert client.inbox.lost > 0
        else:
            assert client.ignored["with a wrong checksum"] > 100


def test_names_that_are_none_on_a_network_that_nobody_knows() -> None:
    network = signet(b"\x51")  # not registered

    def said(message: Any) -> bytes:
        return bytes(BTC(magic=network) / message)

    strange = bytes(BTC(magic=network, msgtype=b"\xff\x1b[2J") / b"abc")
    hostile = said(BTCVersion()) + said(BTCVerack()) + strange + said(BTCPing(nonce=7))
    with serving(says(hostile)) as port, connect("127.0.0.1", port, network=network) as client:
        assert client.wait_for(BTCPing).nonce == 7
        packet = client.inbox.take(lambda message: isinstance(message, BTCUnknown))
        assert bytes(packet) == strange and packet.msgtype == b"\xff\x1b[2J" and packet.length == 3

    async def run() -> None:
        async with await open_connection("127.0.0.1", port, PeerOptions(network=network)) as opened:
            await opened.handshake()
            assert bytes(await opened.receive(10)) == strange

    with serving(says(hostile)) as port:
        asyncio.run(run())


def test_names_of_broken_messages_do_not_pile_up() -> None:
    """Any name that begins with an underscore is known (BIP 36), and its message here too short."""
    flood = b"".join(bytes(BTC(magic="regtest", msgtype=f"_{number}")) for number in range(1_500))
    with serving(says(GREETING + flood + bytes(BTC(magic="regtest") / BTCPing(nonce=7)))) as port:
        with connect("127.0.0.1", port) as client:
            client.wait_for(BTCPing)
        assert len(client.ignored) == connections.NAMES + 1 and sum(client.ignored.values()) == 1_500



def test_a_slow_drip() -> None:
    with serving(drip(GREETING)) as port:
        start = time.monotonic()
        with pytest.raises(TimedOut):
            connect("127.0.0.1", port, timeout=0.5)
        assert time.monotonic() - start < 1.5


def test_a_slow_drip_inside_an_answer() -> None:
    def treat(peer: socket.socket) -> None:
        peer.sendall(GREETING)
        drip(packet(inv("ab" * 32)) * 10)(peer)

    with serving(treat) as port, connect("127.0.0.1", port) as client:
        client.timeout = 0.5
        start = time.monotonic()
        with pytest.raises(TimedOut, match=r"no answer within 0.5 s"):
            client.ping()
        assert time.monotonic() - start < 1.5


def test_a_peer_that_reads_nothing() -> None:
    def treat(peer: socket.socket) -> None:
        peer.sendall(GREETING)
        time.sleep(1.5)

    with serving(treat) as port, connect("127.0.0.1", port) as client:
        client.timeout = 0.5
        large = BTC(magic="regtest", msgtype="large") / bytes(4_000_000)
        with pytest.raises(TimedOut, match=r"the peer read nothing for 0.5 s"):
            for _ in range(100):
                client.send(large)
        with pytest.raises(Disconnected):  # half a message is out
            client.send(BTCPing(nonce=1))


def test_four_megabytes_of_nothing() -> None:
    nothing = bytes(BTC(magic="regtest", msgtype="nothing") / bytes(4_000_000))
    seen: list[Any] = []
    with (serving(says(GREETING, spoiled(nothing), nothing)) as port,
          connect("127.0.0.1", port, observer=lambda packet, sent: seen.append(packet.msgtype)) as client):
        assert client.wait_for("nothing") is not None
        assert client.counts["nothing"] == 2 and client.ignored == {"with a wrong checksum": 1}
        assert seen.count("nothing") == 2


def test_garbage_after_the_handshake() -> None:
    with (serving(says(GREETING, b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port,
          connect("127.0.0.1", port) as client,
          pytest.raises(HandshakeError, match="the peer sent no message of Bitcoin's: 48545450")):
        client.wait_for("inv")


def test_the_peer_goes() -> None:
    def treat(peer: socket.socket) -> None:
        peer.sendall(GREETING)
        while b"ping" not in peer.recv(1000):
            pass

    with serving(treat) as port, connect("127.0.0.1", port) as client:
        with pytest.raises(Disconnected, match=r"^the peer closed the connection$"):
            client.ping()
        with pytest.raises(Disconnected):
            client.wait_for("inv")


# What comes while something else is waited for


def test_nothing_is_lost() -> None:
    def answer(message: Any) -> Any:
        return [inv("ab" * 32), BTCFeeFilter(feerate=5), *pongs(message)] if message.msgtype == "ping" else []

    with serving(answers(answer)) as port, connect("127.0.0.1", port, timeout=5) as client:
        client.ping()
        assert client.wait_for("feefilter", 0).feerate == 5
        assert client.wait_for(BTCInv, 0).inventory[0].hash == "ab" * 32
        assert client.wait_for(lambda m: m.msgtype == "version", 0).version == 70016
        assert client.receive(0).msgtype == "verack"
        with pytest.raises(TimedOut, match="no message within 0 s"):
            client.receive(0)
        with pytest.raises(TimedOut):
            client.wait_for("inv", 0.05)


def test_what_waits_is_not_taken_for_an_answer() -> None:
    """Nor is a pong with another nonce."""
    def answer(message: Any) -> Any:
        return [BTCPong(nonce=1), *pongs(message)] if message.msgtype == "ping" else []

    with serving(answers(answer)) as port, connect("127.0.0.1", port, timeout=5) as client:
        client.ping()
        assert client.wait_for("pong", 0).nonce == 1


def test_messages_come_as_they_come() -> None:
    with serving(answers(pongs)) as port:
        options = PeerOptions(ping_interval=0.1, ping_timeout=5)
        with connect("127.0.0.1", port, options=options) as client:
            names = [p.msgtype for p in client.messages(0.7)]
            assert names[:2] == ["version", "verack"] and 3 <= names.count("pong") <= 7
    with serving(says(GREETING)) as port:
        options = PeerOptions(ping_interval=0.1, ping_timeout=0.2)
        with connect("127.0.0.1", port, options=options) as client, pytest.raises(TimedOut, match="no pong within"):
            list(client.messages(5))


def test_subscriptions() -> None:
    def answer(message: Any) -> Any:
        return [inv("ab" * 32), BTCFeeFilter(), *pongs(message)] if message.msgtype == "ping" else []

    seen: list[str] = []
    with serving(answers(answer)) as port, connect("127.0.0.1", port, timeout=5) as client:
        end = client.on("inv", lambda message: seen.append(message.inventory[0].hash))
        client.on(BTCFeeFilter, lambda message: seen.append("feefilter"))
        client.on(lambda message: message.msgtype == "pong", lambda message: seen.append("pong"))
        client.ping()
        assert seen == ["ab" * 32, "feefilter", "pong"]
        end()
        end()
        client.ping()
        assert seen[3:] == ["feefilter", "pong"]
        assert client.wait_for("inv", 0)


def test_a_subscriber_may_speak() -> None:
    def answer(message: Any) -> Any:
        return [inv("ab" * 32)] if message.msgtype == "getaddr" else pongs(message)

    with serving(answers(answer)) as port, connect("127.0.0.1", port, timeout=5) as client:
        times: list[float] = []
        client.on("inv", lambda message: times.append(client.ping()))
        from scapy_btc.all import BTCGetAddr
        client.send(BTCGetAddr())
        assert client.wait_for("inv").inventory[0].hash == "ab" * 32 and len(times) == 1


# The record


def said(path: Path) -> list[str]:
    return [message.msgtype for message in read(path)]


def test_the_record_is_a_capture(tmp_path: Path) -> None:
    path = tmp_path / "said.pcapng"
    with serving(answers(pongs)) as port, connect("127.0.0.1", port, record=path) as client:
        client.ping()
        assert client.address == f"127.0.0.1:{port}"
        assert said(path)[-2:] == ["ping", "pong"]  # while it goes on
    messages = list(read(path))
    assert [(m.msgtype, m.source == client.local_address) for m in messages if m.msgtype in ("version", "ping")] == [
        ("version", True), ("version", False), ("ping", True)]
    assert {m.destination for m in messages} == {client.address, client.local_address}
    assert [m.payload for m in messages if m.msgtype == "version"][1] == VERSION[24:]


@pytest.mark.parametrize(("sent", "names"), [
    (VERSION, ["version", "version", "wtxidrelay", "sendaddrv2", "verack"]),
    (VERSION + GREETING[:-24][:50], ["version", "version", "wtxidrelay", "sendaddrv2", "verack"]),
    (spoiled(VERSION), ["version", "version"]),
    (bytes(BTC(magic="mainnet") / BTCVersion()), ["version", "version"]),
])
def test_a_record_of_a_connection_that_failed(tmp_path: Path, sent: bytes, names: list[str]) -> None:
    path = tmp_path / "said.pcap"

    def treat(peer: socket.socket) -> None:
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(1000):
            pass

    with serving(treat) as port, pytest.raises(PeerError):
        connect("127.0.0.1", port, record=path, timeout=5)
    assert said(path) == names


def test_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    with serving(says(GREETING)) as port, pytest.raises(CaptureError, match="cannot be written"):
        connect("127.0.0.1", port, record=tmp_path / "nowhere" / "said.pcapng")


def test_no_record_of_nothing(tmp_path: Path) -> None:
    with nobody() as port, pytest.raises(Refused):
        connect("127.0.0.1", port, record=tmp_path / "said.pcapng")
    assert not (tmp_path / "said.pcapng").exists()


def test_the_header_of_before_2012_is_recorded(tmp_path: Path) -> None:
    """`version` without a checksum, as nodes sent it until February 2012."""
    old = VERSION[:20] + VERSION[24:]
    path = tmp_path / "said.pcapng"
    with serving(says(old + VERACK)) as port, connect("127.0.0.1", port, record=path) as client:
        assert client.peer.version is not None and client.peer.version.version == 70016
    theirs = next(m for m in read(path) if m.msgtype == "version" and m.source == client.address)
    assert (theirs.payload, theirs.checksum) == (VERSION[24:], "none")


def test_the_inbox_forgets_the_oldest() -> None:
    box = inbox.Inbox()
    for number in range(inbox.MESSAGES + 5):
        box.put(BTC(packet(BTCPing(nonce=number))))
    assert (len(box), box.lost) == (inbox.MESSAGES, 5)
    assert box.take().nonce == 5 and box.take(lambda m: m.nonce == 9).nonce == 9 and box.take().nonce == 6
    assert box.take(lambda m: isinstance(m, BTCAddr)) is None
    box.put(BTC(bytes(BTC(magic="regtest", msgtype="large") / bytes(inbox.SIZE + 1))))
    assert len(box) == 1 and box.take().length > inbox.SIZE and box._size == 0


def test_a_client_on_any_socket() -> None:
    ours, theirs = socket.socketpair()
    with BTCClient(BTCStreamSocket(ours), PeerOptions()) as client, theirs:
        theirs.sendall(GREETING)
        client.handshake()
        assert client.address == "" and client.peer.established
