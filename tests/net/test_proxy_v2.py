# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy with v2 on one side or both, against ends that were written down from the pseudocode of BIP 324."""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from plain_v2 import Peer, v1

from scapy_btc.all import BTC, BTCPing
from scapy_btc.bip324.keys import new_key
from scapy_btc.capture.message import Message
from scapy_btc.errors import BTCError
from scapy_btc.net import proxied as module
from scapy_btc.net.proxy import BTCProxy

PING, VERACK, BLOCK = v1(b"ping", bytes(range(8))), v1(b"verack"), v1(b"block", bytes(1_000_000))
VERSION = v1(b"version", bytes(range(86)))
SAID = [VERSION, VERACK, v1(b"sendaddrv2"), PING, BLOCK, v1(b"in\0v", b"x"), v1(b"nobodys", b"y" * 300), PING]
CONTENTS = [b"\0version" + bytes(5) + VERSION[24:], b"\0verack" + bytes(6), b"\0sendaddrv2" + bytes(2),
            b"\x12" + bytes(range(8)), b"\2" + bytes(1_000_000), b"\0in\0v" + bytes(8) + b"x",
            b"\0nobodys" + bytes(5) + b"y" * 300, b"\x12" + bytes(range(8))]
"""The same in v2: the id of BIP 324, or a zero and the name."""


def spoiled(data: bytes) -> bytes:
    """The same with another last byte."""
    return data[:-1] + bytes([data[-1] ^ 1])


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class Clear:
    """An end that speaks v1."""

    def __init__(self, sock: socket.socket, initiating: bool) -> None:
        self.sock = sock

    def begin(self) -> None:
        pass

    def say(self, number: int) -> None:
        self.sock.sendall(SAID[number])

    def hear(self, number: int) -> None:
        assert exactly(self.sock, len(SAID[number])) == SAID[number]


class Sealed:
    """An end that speaks v2."""

    def __init__(self, sock: socket.socket, initiating: bool, garbage: bytes = b"garbage") -> None:
        self.sock = sock
        self.peer = Peer(initiating, garbage=garbage, private=os.urandom(32))
        self.sock.sendall(self.peer.hello)
        self.theirs = b""

    def meet(self) -> None:
        """Read the other end's key, with which packets can be made."""
        self.theirs = exactly(self.sock, 64)
        self.peer.meet(self.theirs)

    def begin(self, *decoys: int) -> None:
        """The whole handshake."""
        self.meet()
        self.sock.sendall(self.peer.opening(*decoys))
        found = b""
        while not found.endswith(self.peer.receive_terminator):
            assert len(found) < 4096 + 16
            found += exactly(self.sock, 1)
        self.aad = found[:-16]
        assert self.packet() == b""

    def packet(self) -> bytes:
        """The contents of the next packet that is no decoy."""
        size = int.from_bytes(self.peer.receive_length.crypt(exactly(self.sock, 3)), "little")
        plain = self.peer.receive_body.crypt(exactly(self.sock, size + 17), self.aad, True)
        self.aad = b""
        return plain[1:] if plain[0] < 128 else self.packet()

    def send(self, contents: bytes) -> None:
        self.sock.sendall(self.peer.packet(contents))

    def say(self, number: int) -> None:
        self.send(CONTENTS[number])

    def hear(self, number: int) -> None:
        assert self.packet() == CONTENTS[number]


KINDS = {"v1": Clear, "v2": Sealed}
End = Any


@pytest.fixture
def node() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "scapy_btc.proxy")
    return caplog


@contextmanager
def ends(proxy: BTCProxy, node: socket.socket, client: str, target: str) -> Iterator[tuple[End, End]]:
    """A client of the proxy and its target, which speak like this; each has sent what it says first."""
    with socket.create_connection(proxy.address, 10) as ours:
        ours.settimeout(10)
        theirs, _ = node.accept()
        with theirs:
            theirs.settimeout(10)
            yield KINDS[client](ours, True), KINDS[target](theirs, False)


def wait_for(met: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def over(sock: socket.socket) -> bool:
    """Read until the other end has closed."""
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("handle", [None, lambda packet, context: packet], ids=["plain", "handled"])
@pytest.mark.parametrize(("client", "target"), [("v2", "v2"), ("v1", "v2"), ("v2", "v1"), ("v1", "v1")])
@pytest.mark.parametrize("choice", ["told", "auto"])
def test_every_combination(node: socket.socket, client: str, target: str, choice: str, handle: Any) -> None:
    seen: list[Message] = []
    listen, to = (client, target) if choice == "told" else ("auto", "auto" if target == "v2" else "v1")
    with BTCProxy(node.getsockname(), handle=handle, record=seen.append, listen_transport=listen,  # type: ignore
                  to_transport=to) as proxy, ends(proxy, node, client, target) as (ours, theirs):  # type: ignore
        theirs.begin()
        if client == "v2":
            ours.begin()
        for speaker, listener in ((ours, theirs), (theirs, ours)):
            for number in range(len(SAID)):
                speaker.say(number)
                listener.hear(number)
    assert [m.frame_bytes for m in seen] == SAID * 2
    assert [m.transport for m in seen] == [client] * len(SAID) + [target] * len(SAID)
    assert {m.checksum for m in seen if m.transport == "v2"} <= {"none"}
    assert all(m.fate == "" and m.network and m.network.name == "regtest" for m in seen)


def test_what_v2_alone_can_say(node: socket.socket) -> None:
    """Ids without a name stay; decoys are between neighbours; a name where an id would do becomes the id."""
    seen: list[Message] = []
    with BTCProxy(node.getsockname(), record=seen.append) as proxy, ends(proxy, node, "v2", "v2") as (ours, theirs):
        theirs.begin(0, 1000)
        ours.begin(5)
        theirs.sock.sendall(theirs.peer.packet(b"decoy", decoy=True))
        theirs.send(b"\xa6abc")
        theirs.send(b"\0ping" + bytes(8) + bytes(8))
        assert ours.packet() == b"\xa6abc"
        assert ours.packet() == b"\x12" + bytes(8)
        assert theirs.theirs != ours.peer.public and ours.theirs != theirs.peer.public
    assert [(m.msgtype, m.packet.msgtype) for m in seen] == [("(id 166)", "(id 166)"), ("ping", "ping")]


def test_a_long_conversation(node: socket.socket) -> None:
    """Keys change every 224 packets."""
    with BTCProxy(node.getsockname()) as proxy, ends(proxy, node, "v2", "v2") as (ours, theirs):
        theirs.begin()
        ours.begin()
        for number in range(1000):
            ours.send(b"\x12" + number.to_bytes(8, "little"))
        for number in range(1000):
            assert theirs.packet() == b"\x12" + number.to_bytes(8, "little")


def test_what_v2_cannot_carry(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    seen: list[Message] = []
    broken = bytearray(PING)
    broken[20] ^= 1

    def handle(packet: Any, context: Any) -> Any:
        if packet.msgtype == "sendaddrv2":
            return [BTC(magic="mainnet") / BTCPing(), BTC(magic="regtest", length=3) / BTCPing(), BTCPing(nonce=5)]
        return packet

    with BTCProxy(node.getsockname(), handle=handle, record=seen.append) as proxy, ends(
            proxy, node, "v1", "v2") as (ours, theirs):
        theirs.begin()
        ours.sock.sendall(VERSION + broken + v1(b"sendaddrv2") + v1(b"large", bytes(16_777_203)))
        theirs.hear(0)
        assert theirs.packet() == b"\x12" + b"\5" + bytes(7)
        wait_for(lambda: len(seen) == 5, "all messages")
    assert [(m.msgtype, m.fate) for m in seen] == [
        ("version", ""), ("ping", "dropped"), ("sendaddrv2", "dropped"), ("ping", "injected"), ("large", "dropped")]
    assert re.findall(r"(\w+) of the client [\d.:]+ was not passed on: v2 cannot carry (.*)", log.text) == [
        ("ping", "a checksum that is not that of the payload"), ("ping", "the magic f9beb4d9"),
        ("ping", "a length that is not that of the payload"), ("large", "16,777,203 bytes")]


def test_a_node_that_knows_v1_only(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    """It closes when it reads a key, as also one that has too many connections may."""
    with BTCProxy(node.getsockname()) as proxy, ExitStack() as stack:
        for _ in range(2):
            ours = stack.enter_context(socket.create_connection(proxy.address, 10))
            first, _ = node.accept()
            first.settimeout(10)
            assert len(exactly(first, 64)) == 64
            first.close()
            theirs, _ = node.accept()
            stack.enter_context(theirs).settimeout(10)
            ours.sendall(VERSION)
            assert exactly(theirs, len(VERSION)) == VERSION
            theirs.sendall(PING)
            assert exactly(ours, len(PING)) == PING
    assert "from now on" not in log.text


def test_a_node_that_answers_in_v1(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    """That is tried once."""
    with BTCProxy(node.getsockname()) as proxy, ExitStack() as stack:
        for number in range(2):
            ours = stack.enter_context(socket.create_connection(proxy.address, 10))
            if not number:
                first, _ = node.accept()
                stack.enter_context(first).sendall(VERSION)
            theirs, _ = node.accept()
            stack.enter_context(theirs).settimeout(10)
            ours.sendall(VERSION)
            assert exactly(theirs, len(VERSION)) == VERSION
    assert log.text.count("speaks v1: v1 from now on") == 1


def test_a_node_that_says_nothing(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    with BTCProxy(node.getsockname(), timeout=0.3) as proxy, socket.create_connection(proxy.address, 10) as ours:
        theirs, _ = node.accept()
        with theirs:
            assert over(ours) and over(theirs)
    assert "was turned away: 127.0.0.1" in log.text and "no answer to v2 within 0.3 s" in log.text


def test_other_networks(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    with BTCProxy(node.getsockname()) as proxy, ends(proxy, node, "v1", "v2") as (ours, theirs):
        theirs.begin()
        ours.sock.sendall(bytes.fromhex("f9beb4d9") + VERSION[4:])
        assert over(ours.sock) and over(theirs.sock)
    assert "the peer speaks v1 on mainnet, not regtest" in log.text


# The key log


def test_keys_are_logged_and_nowhere_else(node: socket.socket, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys"
    with BTCProxy(node.getsockname(), keylog=file) as proxy, ends(proxy, node, "v2", "v2") as (ours, theirs):
        theirs.begin()
        ours.begin()
        ours.say(0)
        theirs.hear(0)
        text = repr(proxy) + repr(proxy._open[0].client.transport) + log.text
    lines = [line.split() for line in file.read_text().splitlines()]
    assert {words[1] for words in lines} == {ours.theirs.hex(), theirs.theirs.hex()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not any(words[2] in text for words in lines)


def test_a_key_log_that_cannot_be_written_stops_it(node: socket.socket, tmp_path: Path) -> None:
    with (pytest.raises(BTCError, match="cannot be written"), BTCProxy(node.getsockname(), keylog=tmp_path) as proxy,
          socket.create_connection(proxy.address, 10) as ours):
        assert over(ours)


# Hostile ends


@pytest.mark.parametrize("by", ["client", "target"])
@pytest.mark.parametrize(("attack", "why"), [
    (lambda end: end.sock.sendall(bytes(5000)), "no garbage terminator within"),
    (lambda end: end.sock.sendall(spoiled(end.peer.opening())), "packet 0 is not authentic: wrong tag"),
    (lambda end: end.sock.sendall(end.peer.opening() + end.peer.packet(b"x", length=0xFFFFFF)),
     "announces 16,777,215 bytes"),
    (lambda end: end.sock.sendall(end.peer.opening() + spoiled(end.peer.packet(bytes(30)))),
     "packet 1 is not authentic: wrong tag"),
    (lambda end: end.sock.close(), "closed it during the v2 handshake"),
])
def test_a_broken_transport_ends_the_connection(node: socket.socket, log: pytest.LogCaptureFixture, by: str,
                                                attack: Callable[[End], None], why: str) -> None:
    with BTCProxy(node.getsockname()) as proxy, ends(proxy, node, "v2", "v2") as both:
        attacker, other = both if by == "client" else both[::-1]
        other.begin()
        attacker.meet()
        attack(attacker)
        over(other.sock)
        wait_for(lambda: "connection 0 ended" in log.text, "the end")
    assert re.search(rf"connection 0 ended: the {by} [\d.:]+:? .*{why}", log.text), log.text


def test_what_came_before_a_wrong_tag_is_passed_on(node: socket.socket) -> None:
    with BTCProxy(node.getsockname()) as proxy, ends(proxy, node, "v2", "v2") as (ours, theirs):
        theirs.begin()
        ours.begin()
        packets = ours.peer.packet(CONTENTS[3]) + ours.peer.packet(CONTENTS[4])
        ours.sock.sendall(packets + spoiled(ours.peer.packet(CONTENTS[3])))
        theirs.hear(3)
        theirs.hear(4)
        assert over(theirs.sock)


def test_half_a_packet(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    with BTCProxy(node.getsockname()) as proxy, ends(proxy, node, "v2", "v2") as (ours, theirs):
        theirs.begin()
        ours.begin()
        ours.sock.sendall(ours.peer.packet(bytes(100))[:77])
        ours.sock.shutdown(socket.SHUT_WR)
        assert over(theirs.sock)
    assert "closed it; 77 bytes of an unfinished message were not passed on" in log.text


def silent(end: End) -> None:
    while True:
        time.sleep(0.1)
        if not end.sock.recv(1000):
            return


def dripping(end: End) -> None:
    for byte in bytes(range(1, 200)):
        time.sleep(0.05)
        end.sock.sendall(bytes((byte,)))


@pytest.mark.parametrize("by", ["client", "target"])
@pytest.mark.parametrize("treat", [silent, dripping])
def test_the_handshake_is_bounded_in_time(node: socket.socket, log: pytest.LogCaptureFixture, by: str,
                                          treat: Callable[[End], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_TIMEOUT", 0.5)
    start = time.monotonic()
    with BTCProxy(node.getsockname(), to_transport="v2") as proxy, ends(
            proxy, node, *(("v1", "v2") if by == "client" else ("v2", "v1"))) as both:
        attacker, other = both if by == "client" else both[::-1]
        other.begin()
        with pytest.raises(OSError) if treat is dripping else ExitStack():
            treat(attacker)
    assert time.monotonic() - start < 5
    assert f"the {by} " in log.text and "no agreement on a transport within 0.5 s" in log.text


def test_a_flood_before_the_node_agrees_waits(node: socket.socket) -> None:
    with BTCProxy(node.getsockname(), to_transport="v2") as proxy, ends(proxy, node, "v1", "v1") as (ours, _):
        ours.sock.settimeout(1.0)
        sent = 0
        with pytest.raises(TimeoutError):
            ours.sock.sendall(VERSION)
            while sent < 200_000_000:
                sent += ours.sock.send(BLOCK)
        assert sent < 20_000_000


@pytest.mark.parametrize("by", ["client", "target"])
def test_decoys_without_end_take_no_memory(node: socket.socket, by: str) -> None:
    with BTCProxy(node.getsockname()) as proxy, ends(proxy, node, "v2", "v2") as both:
        attacker, other = both if by == "client" else both[::-1]
        other.begin()
        attacker.begin()
        for _ in range(50):
            attacker.sock.sendall(attacker.peer.packet(bytes(100_000), decoy=True))
        attacker.say(3)
        other.hear(3)
        assert proxy._open[0].client.stream._size < 1000


@pytest.mark.parametrize("cut", [1, 15, 16, 63, 64, 70, 80, 87, 100, 110])
@pytest.mark.parametrize("by", ["client", "target"])
def test_every_kind_of_truncation(node: socket.socket, log: pytest.LogCaptureFixture, cut: int, by: str) -> None:
    key = new_key()
    whole = key.public + bytes(46)
    with BTCProxy(node.getsockname(), to_transport="v2") as proxy, ends(proxy, node, "v1", "v1") as both:
        attacker, other = both if by == "client" else both[::-1]
        attacker.sock.sendall(whole[:cut])
        attacker.sock.close()
        assert over(other.sock)
        wait_for(lambda: "connection 0 ended" in log.text, "the end")
    assert re.search(r"ended: the \w+ [\d.:]+ (closed it (during|before)|broke)", log.text), log.text
