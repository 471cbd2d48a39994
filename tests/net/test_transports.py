# SPDX-License-Identifier: GPL-2.0-or-later
"""Both transports live: client and node, fallback, key log. What they say is held against captures and bcoin."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bcoin import BcoinNode, missing

from scapy_btc.all import BTC, BTCVerack, BTCVersion
from scapy_btc.bip324.keylog import KeyLog
from scapy_btc.bip324.transport import V2Options, V2Transport
from scapy_btc.capture.message import Message
from scapy_btc.errors import BTCError, Disconnected, HandshakeError, PeerError, TimedOut
from scapy_btc.messages.catalogue import short_ids
from scapy_btc.net.client import connect
from scapy_btc.net.connection import open_connection
from scapy_btc.net.node import BTCNode
from scapy_btc.networks import MAINNET, REGTEST
from scapy_btc.peer.options import PeerOptions
from scapy_btc.protocol import ServiceFlags

GREETING = bytes(BTC(magic="regtest") / BTCVersion()) + bytes(BTC(magic="regtest") / BTCVerack())


@pytest.mark.parametrize(("ours", "theirs", "spoken"), [
    ("auto", "auto", "v2"), ("v2", "auto", "v2"), ("v1", "auto", "v1"), ("v2", "v2", "v2"), ("auto", "v2", "v2"),
    ("v1", "v1", "v1"), ("auto", "v1", "v1"),
])
def test_client_and_node_agree(ours: Any, theirs: Any, spoken: str) -> None:
    said: list[Message] = []
    with BTCNode(blocks=20, transport=theirs, record=said.append) as node:
        with connect(*node.address, transport=ours) as client:
            assert client.socket.transport.name == spoken
            assert client.ping() > 0
            headers = list(client.get_headers())
            assert len(headers) == 20 and headers[-1].block_hash == node.tip
            assert client.get_block(node.tip).block_hash == node.tip
            offered = bool(client.peer.version.services & ServiceFlags.NODE_P2P_V2)
            assert offered == (theirs != "v1")
        node.wait_until(lambda: not node._node.peers)
    assert {message.transport for message in said} == {spoken}
    assert {message.checksum for message in said} == {"none" if spoken == "v2" else "ok"}


@pytest.mark.parametrize(("ours", "theirs"), [("v2", "v1"), ("v1", "v2")])
def test_they_cannot_agree(ours: Any, theirs: Any) -> None:
    with BTCNode(transport=theirs) as node, pytest.raises(PeerError):
        connect(*node.address, transport=ours, timeout=2)


def test_nodes_among_themselves() -> None:
    with BTCNode(blocks=30) as one, BTCNode() as other, BTCNode() as third:
        other.connect_to(*one.address)
        third.connect_to(*one.address, transport="v1")
        for node in (other, third):
            node.wait_until(lambda node=node: node._node.height == 30)


@pytest.fixture(scope="module")
def bcoin() -> Iterator[BcoinNode]:
    if reason := missing():
        pytest.skip(reason)
    with BcoinNode() as running:
        running.mine(3)
        yield running


def test_a_node_that_speaks_v1_only(bcoin: BcoinNode) -> None:
    for _ in range(12):  # it bans whoever sends it too much that is no message
        with connect(*bcoin.address) as client:
            assert client.socket.transport.name == "v1" and client.ping() > 0
    with pytest.raises(HandshakeError, match="the peer speaks v1 on regtest"):  # bcoin does not wait for our version
        connect(*bcoin.address, transport="v2")


# Servers that misbehave


@contextmanager
def serving(*treats: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that treats its connections as told, one after the other; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            for treat in treats:
                try:
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(10)
                        treat(connection)
                except OSError:
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        try:
            listener.shutdown(socket.SHUT_RDWR)
        finally:
            thread.join(10)


def closes(peer: socket.socket) -> None:
    peer.recv(64)


def greets(peer: socket.socket) -> None:
    peer.sendall(GREETING)
    while peer.recv(1 << 16):
        pass


def silent(peer: socket.socket) -> None:
    while peer.recv(1 << 16):
        pass


def speaks_v1_at_once(peer: socket.socket) -> None:
    peer.sendall(GREETING)
    peer.recv(100)


def garbage_without_end(peer: socket.socket) -> None:
    while True:
        peer.sendall(os.urandom(1 << 12))


def after_key(data: bytes) -> Callable[[socket.socket], None]:
    def treat(peer: socket.socket) -> None:
        transport = V2Transport(REGTEST, False, short_ids(), V2Options(garbage=b""))
        transport.receive(peer.recv(64, socket.MSG_WAITALL))
        peer.sendall(transport.to_send()[:64] + data)
        silent(peer)
    return treat


def other_network(peer: socket.socket) -> None:
    transport = V2Transport(MAINNET, False, short_ids())
    transport.receive(peer.recv(64, socket.MSG_WAITALL))
    peer.sendall(transport.to_send() + bytes(5000))
    silent(peer)


def test_fallback_is_for_those_that_close_without_a_word() -> None:
    with serving(closes, greets) as port, connect("127.0.0.1", port) as client:
        assert client.socket.transport.name == "v1"
    with serving(speaks_v1_at_once, greets) as port, connect("127.0.0.1", port) as client:
        assert client.socket.transport.name == "v1"
    with serving(closes, greets) as port, pytest.raises(Disconnected, match="during the v2 handshake"):
        connect("127.0.0.1", port, transport="v2")
    with serving(silent, greets) as port, pytest.raises(TimedOut, match=r"no answer to v2 within 0\.3 s"):
        connect("127.0.0.1", port, timeout=0.3)


@pytest.mark.parametrize(("treat", "error"), [
    (garbage_without_end, HandshakeError), (other_network, HandshakeError), (after_key(b""), TimedOut),
    (after_key(bytes(4095)), TimedOut), (after_key(bytes(4095 + 16)), HandshakeError),
], ids=["garbage", "network", "key only", "all garbage", "no terminator"])
def test_what_is_no_v2_handshake(treat: Callable[[socket.socket], None], error: type[PeerError]) -> None:
    with serving(treat) as port, pytest.raises(error):
        connect("127.0.0.1", port, timeout=1)


def test_a_slow_drip_is_bounded() -> None:
    def slowly(peer: socket.socket) -> None:
        stop = threading.Event()
        for byte in os.urandom(100):
            peer.sendall(bytes([byte]))
            stop.wait(0.05)

    with serving(slowly) as port, pytest.raises(TimedOut):
        connect("127.0.0.1", port, timeout=0.5)


def test_every_truncation_of_the_handshake() -> None:
    for cut in range(0, 64 + 16 + 20 + 16, 5):
        def treat(peer: socket.socket, cut: int = cut) -> None:
            transport = V2Transport(REGTEST, False, short_ids(), V2Options(garbage=b""))
            transport.receive(peer.recv(64, socket.MSG_WAITALL))
            peer.sendall(transport.to_send()[:cut])
            peer.shutdown(socket.SHUT_WR)
            silent(peer)

        with serving(treat, treat) as port, pytest.raises(PeerError):
            connect("127.0.0.1", port, timeout=2)


def test_asyncio_falls_back_too() -> None:
    async def use(port: int) -> str:
        async with await open_connection("127.0.0.1", port, PeerOptions(), transport="auto") as connection:
            await connection.handshake()
            return connection.transport.name

    with serving(closes, greets) as port:
        assert asyncio.run(use(port)) == "v1"
    with BTCNode() as node:
        assert asyncio.run(use(node.address[1])) == "v2"


# Keys


def test_both_ends_write_their_keys(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with BTCNode(keylog=theirs) as node, connect(*node.address, keylog=ours) as client:
        client.ping()
    for path in (ours, theirs):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        log = KeyLog(path)
        assert len(log) == 0 and log.lookup(bytes(64)) is None and len(log) == 1


def test_keys_are_in_no_text(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with BTCNode() as node, connect(*node.address, keylog=path) as client:
        private = path.read_text().split()[2]
        transport = client.socket.transport
        told = repr([client, client.socket, transport, vars(transport), client.peer, vars(client)])
        assert private not in told and str(bytes.fromhex(private))[2:-1] not in told


def test_a_key_log_that_cannot_be_written(tmp_path: Path) -> None:
    with BTCNode() as node, pytest.raises(BTCError, match="the key cannot be written"):
        connect(*node.address, keylog=tmp_path)
    lines: list[str] = []
    with BTCNode(keylog=tmp_path, log=lines.append) as node:
        with pytest.raises(PeerError):
            connect(*node.address, transport="v2", timeout=2)
        node.wait_until(lambda: any("the key cannot be written" in line for line in lines))
