# SPDX-License-Identifier: GPL-2.0-or-later
"""The embedded node on sockets: many peers at once, scripts, and peers that misbehave."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from scapy_btc.all import (
    BTC,
    BTCGetAddr,
    BTCGetData,
    BTCGetHeaders,
    BTCHeaders,
    BTCInv,
    BTCInvVector,
    BTCOutPoint,
    BTCPing,
    BTCPong,
    BTCTx,
    BTCTxIn,
    BTCTxOut,
    BTCVerack,
    BTCVersion,
    Message,
)
from scapy_btc.errors import BTCError, Disconnected, FormatError, HandshakeError, Refused, TimedOut
from scapy_btc.net import connection as connections
from scapy_btc.net.client import connect
from scapy_btc.net.node import BTCNode
from scapy_btc.net.running import RunningNode
from scapy_btc.net.scripting import DISCONNECT
from scapy_btc.peer.serving import ANYONE_CAN_SPEND, NODE_OPTIONS, mined_store
from scapy_btc.wire.compactsize import encode
from scapy_btc.wire.hashes import hash_hex

NOW = 1_700_000_000
GREETING = bytes(BTC(magic="regtest") / BTCVersion()) + bytes(BTC(magic="regtest") / BTCVerack())


@pytest.fixture
def node() -> Iterator[RunningNode]:
    with BTCNode(blocks=110) as running:
        yield running


def run(use: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(use(), 30)

    return asyncio.run(bounded())


def spend(node: Any, height: int, fee: int = 10_000) -> BTCTx:
    coinbase = node.store.at(height).transactions()[0]
    value = next(coinbase.outputs()).value - fee
    return BTCTx(inputs=[BTCTxIn(previous_output=BTCOutPoint(hash=coinbase.txid))],
                 outputs=[BTCTxOut(value=value, script=ANYONE_CAN_SPEND)], witness=[[b"\x51"]])


def raw(*messages: Any) -> bytes:
    return b"".join(bytes(BTC(magic="regtest") / message) for message in messages)


# Its life


def test_a_client_gets_the_chain(node: RunningNode) -> None:
    with connect(*node.address) as client:
        headers = list(client.get_headers())
        assert len(headers) == node.height == 110 and headers[-1].block_hash == node.tip
        assert client.get_block(node.tip).block_hash == node.tip
        info, = node.peers
        assert info.user_agent == "/scapy_btc/" and info.established and not info.outbound
        client.send(BTCGetAddr())
    node.wait_until(lambda: not node.peers)


def test_the_tip_is_of_now_and_blocks_are_ten_minutes_apart(node: RunningNode) -> None:
    times = [node.store.at(height).time for height in range(1, 111)]
    assert abs(times[-1] - time.time()) < 60
    assert {after - before for before, after in pairwise(times)} == {600}
    with BTCNode(blocks=2_000, clock=lambda: 1_296_688_602 + 5_000) as early:  # two hours after the genesis block
        assert early.height == 2_000 and early.store.tip.time <= 1_296_688_602 + 5_000 + 7200


def test_the_same_seed_and_clock_give_the_same_chain() -> None:
    def chain(seed: int) -> tuple[str, str]:
        node = BTCNode(blocks=5, random=Random(seed), clock=lambda: NOW)
        return node.tip, node.mine()[0]

    assert chain(1) == chain(1) and set(chain(1)).isdisjoint(chain(2))


def test_whom_the_blocks_pay() -> None:
    address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    node = BTCNode(blocks=1, mine_to=address)
    paid = next(node.store.tip.transactions()[0].outputs())
    assert paid.script.hex() == "0014751e76e8199196d454941c45d1b3a323f1433bd6"
    with pytest.raises(FormatError, match="not an address of regtest: '1A1z"):
        BTCNode(mine_to="1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")


def test_ports_and_hosts(node: RunningNode) -> None:
    with pytest.raises(BTCError, match=rf"^127\.0\.0\.1:{node.address[1]}: cannot listen: Address already in use$"):
        BTCNode(port=node.address[1]).run()
    with pytest.raises(BTCError, match="cannot listen"):
        BTCNode(host="not-a-host.invalid").run()
    with BTCNode(host=("127.0.0.1", "::1")) as both:
        (v4, port), (v6, same) = both.listening
        assert (v4, v6) == ("127.0.0.1", "::1") and port == same
        for host in (v4, v6):
            connect(host, port).close()
    with pytest.raises(BTCError, match="does not listen"):
        both.address  # noqa: B018
    with pytest.raises(Refused):
        connect("127.0.0.1", port)


def test_it_is_recorded(node: RunningNode) -> None:
    said: list[Message] = []
    lines: list[str] = []
    with BTCNode(record=said.append, log=lines.append) as recorded:
        for _ in range(2):
            with connect(*recorded.address) as client:
                client.ping()
        recorded.wait_until(lambda: len(lines) == 4)
    assert {message.connection for message in said} == {0, 1}
    numbers = [message.frames[0] for message in said]
    assert numbers == list(range(1, len(said) + 1)) and said[0].msgtype == "version"
    assert {message.destination for message in said} & {message.source for message in said}
    assert lines[0].endswith(" connected") and "disconnected: the peer closed the connection" in lines[1] + lines[2]


# Several nodes


def test_relays_between_nodes_that_do_not_know_each_other() -> None:
    async def use() -> None:
        store = mined_store(101, int(time.time()))
        async with BTCNode(store=store) as left, BTCNode(store=store) as middle, BTCNode() as right:
            await left.connect_to(*middle.address)
            info = await right.connect_to(*middle.address)
            assert info.outbound and info.start_height == 101
            await right.wait_until(lambda: right.height == 101)
            left.submit(spend(left, 1))
            await right.wait_until(lambda: len(right.pool) == 1)
            right.mine()
            await left.wait_until(lambda: left.tip == right.tip)
            assert len(left.pool) == 0 and left.height == middle.height == 102
            # nodes that open connections say where they listen
            ports = {left.address[1], right.address[1]}
            await middle.wait_until(lambda: {known.port for known in middle.serving.state.addresses} == ports)

    run(use)


def test_many_peers_at_once() -> None:
    async def use() -> None:
        store = mined_store(50, int(time.time()))
        async with BTCNode(store=store, max_peers=40) as hub:
            nodes = [BTCNode(store=store) for _ in range(40)]
            for node in nodes:
                await node.start()
            await asyncio.gather(*(node.connect_to(*hub.address) for node in nodes))
            assert len(hub.peers) == 40
            async with BTCNode() as late:
                with pytest.raises(Disconnected):
                    await late.connect_to(*hub.address)
            nodes[7].mine(2)
            for node in nodes:
                await node.wait_until(lambda node=node: node.tip == nodes[7].tip)
            for node in nodes:
                await node.stop()
            await hub.wait_until(lambda: not hub.peers)

    run(use)


def test_it_knows_itself() -> None:
    async def use() -> None:
        async with BTCNode() as node:
            with pytest.raises(Disconnected):
                await node.connect_to(*node.address)
            await node.wait_until(lambda: not node.peers)

    run(use)


def test_what_cannot_be_connected_to(node: RunningNode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(TimedOut, match=r"no answer to v2 within 0\.3 s"):
            node.connect_to("127.0.0.1", silent.getsockname()[1], timeout=0.3)
        port = silent.getsockname()[1]
    with pytest.raises(Refused):
        node.connect_to("127.0.0.1", port)
    with BTCNode(options=replace(NODE_OPTIONS, version=100)) as old, pytest.raises(HandshakeError, match="obsolete"):
        node.connect_to(*old.address)


def test_nobody_complains_of_a_handshake_that_took_too_long(node: RunningNode, caplog: pytest.LogCaptureFixture
                                                             ) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(TimedOut, match=r"no handshake within 0\.2 s"):
            node.connect_to("127.0.0.1", silent.getsockname()[1], timeout=0.2, transport="v1")
        node.wait_until(lambda: not node.peers)
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_waiting_is_bounded(node: RunningNode) -> None:
    with pytest.raises(TimedOut, match=r"within 0\.1 s"):
        node.wait_until(lambda: False, timeout=0.1)


# Scripts


def test_scripts_answer_instead(node: RunningNode) -> None:
    node.when("ping", lambda packet, connection: [BTCPong(nonce=packet.nonce + 1)])
    node.when("getheaders", lambda packet, connection: [0.01, BTCHeaders(), BTC(magic="regtest", msgtype="extra")])
    with connect(*node.address) as client:
        client.send(BTCPing(nonce=5))
        assert client.wait_for("pong").nonce == 6
        client.send(BTCGetHeaders())
        assert list(client.wait_for("headers").headers) == []
        client.wait_for(lambda message: getattr(message.underlayer, "msgtype", "") == "extra")
        node.when("getheaders", lambda packet, connection: None)
        assert len(list(client.get_headers())) == 110
        node.when("ping", None)
        assert client.ping() < 5
        node.when("getdata", lambda packet, connection: [b"garbage that is no message, long enough", DISCONNECT])
        with pytest.raises((HandshakeError, Disconnected)):
            client.get_block(node.tip)


def test_a_script_lies_in_version(node: RunningNode) -> None:
    node.when("version", lambda packet, connection: [BTCVersion(start_height=10**6, user_agent=b"/liar/"), BTCVerack()])
    with connect(*node.address) as client:
        assert client.peer.version is not None and client.peer.version.user_agent == b"/liar/"
    node.when("version", lambda packet, connection: [])
    with pytest.raises(TimedOut):
        connect(*node.address, timeout=0.3)


def test_a_script_for_the_moment_of_connecting(node: RunningNode) -> None:
    drip = [step for byte in GREETING for step in (bytes([byte]), 0.0)]
    node.when("connect", lambda packet, connection: [*drip, DISCONNECT] if packet is None else None)
    with socket.create_connection(node.address, 10) as peer, peer.makefile("rb") as file:
        assert file.read() == GREETING
    node.when("connect", lambda packet, connection: [60.0])
    with socket.create_connection(node.address, 10) as peer:
        peer.settimeout(0.3)
        with pytest.raises(TimeoutError):
            peer.recv(1)


def at_once(packet: Any, connection: Any) -> Any:
    return 1 / 0


def amid_steps(packet: Any, connection: Any) -> Any:
    yield 0.0
    raise AttributeError("foo")


FAILING: list[tuple[Any, str]] = [
    (at_once, rf"ZeroDivisionError: division by zero \({__file__}, line {at_once.__code__.co_firstlineno + 1}\)"),
    (amid_steps, rf"AttributeError: foo \({__file__}, line {amid_steps.__code__.co_firstlineno + 2}\)"),
    (lambda packet, connection: 5, "TypeError: 'int' object is not iterable"),
    (lambda packet, connection: [None], "TypeError: a step is a message, bytes, seconds or DISCONNECT, not None"),
]


@pytest.mark.parametrize(("script", "text"), FAILING)
def test_a_script_that_fails_costs_its_connection_only(script: Any, text: str,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    for log in (None, told.append):
        with BTCNode(log=log) as node:
            node.when("getaddr", script)
            with connect(*node.address) as client, connect(*node.address) as other:
                client.send(BTCGetAddr())
                with pytest.raises(Disconnected):
                    client.wait_for("addr", 5)
                assert other.ping() < 5
            line = rf"{client.local_address} disconnected: when\('getaddr'\) failed: {text}"
        if not log:
            (record,) = caplog.records
            assert (record.name, record.levelname) == ("scapy_btc.node", "WARNING") and not record.exc_info
            assert re.fullmatch(line, record.getMessage())
    assert len(caplog.records) == 1 and [entry for entry in told if re.fullmatch(line, entry)]


def test_scripts_for_classes_and_names(node: RunningNode, caplog: pytest.LogCaptureFixture) -> None:
    node.when(BTCGetAddr, lambda packet, connection: [BTCPong(nonce=77)])
    with connect(*node.address) as client:
        client.send(BTCGetAddr())
        assert client.wait_for("pong", 5).nonce == 77
    node.when(BTCGetAddr, None)
    with connect(*node.address) as client:
        assert client.getaddr(seconds=0.3) == []
    wrong: Any
    for wrong in ("", "thirteen_long", "p\u00e4ng", "ping\n", BTC, 5, None, b"ping"):
        with pytest.raises(ValueError, match="neither 'connect'"):
            node.when(wrong, None)
    assert not caplog.records
    for _ in range(2):
        node.when("pnig", lambda packet, connection: None)
    node.when("pnig", None)
    node.when("connect", lambda packet, connection: None)
    assert [record.getMessage() for record in caplog.records] == ["when('pnig'): no message of that name is known"]


# Peers that misbehave


def outcome(address: tuple[str, int], data: bytes, patience: float = 5.0) -> bytes:
    """What a node sends to somebody who says that and then waits for it to hang up."""
    received = b""
    with socket.create_connection(address, patience) as peer:
        try:
            peer.sendall(data)
            while chunk := peer.recv(100_000):
                received += chunk
        except ConnectionError:
            pass
    return received


@pytest.mark.parametrize("data", [
    bytes(64) + b"\x01" * 100,
    Random(1).randbytes(500),  # as v2 begins
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    bytes(BTC(magic="mainnet") / BTCVersion()),
    raw(BTCVersion(version=100)),
    raw(BTCVersion(), BTCVerack(), BTCVersion()) + b"\xfa\xbf\xb5\xda" + bytes([255]) * 20,
    GREETING + raw(BTCInv(encode(50_001) + bytes(36 * 50_001))),
    GREETING + b"\xfa\xbf\xb5\xda" + b"block".ljust(12, b"\0") + (20_000_000).to_bytes(4, "little") + bytes(5_000_000),
], ids=["zeros", "random", "http", "mainnet", "obsolete", "garbage later", "large inv", "large message"])
def test_who_is_disconnected(data: bytes) -> None:
    with BTCNode(transport="v1") as node:  # what does not begin like v1 may be v2
        outcome(node.address, data)
        node.wait_until(lambda: not node.peers)
        connect(*node.address).close()


@pytest.mark.parametrize("data", [
    Random(1).randbytes(64 + 4095 + 16),
    Random(1).randbytes(64),
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    bytes(BTC(magic="mainnet") / BTCVersion()),
], ids=["no terminator", "only a key", "http", "mainnet"])
def test_who_is_disconnected_by_a_node_that_speaks_both(data: bytes) -> None:
    with BTCNode(options=replace(NODE_OPTIONS, handshake_timeout=0.5)) as node:
        outcome(node.address, data)
        node.wait_until(lambda: not node.peers)
        connect(*node.address).close()


def test_a_handshake_that_ends_anywhere(node: RunningNode) -> None:
    for cut in range(0, len(GREETING), 3):
        with socket.create_connection(node.address, 5) as peer:
            peer.sendall(GREETING[:cut])
    node.wait_until(lambda: not node.peers)
    connect(*node.address).close()


def test_unknown_messages_at_any_time_are_ignored() -> None:
    strange = bytes(BTC(magic="regtest", msgtype="strange") / b"12345")
    broken = bytes(BTC(magic="regtest", msgtype="getheaders") / b"\xff")
    wrong = bytearray(raw(BTCPing(nonce=3)))
    wrong[20] ^= 1
    version, verack = GREETING[:-24], GREETING[-24:]
    with (BTCNode(transport="v1") as node, socket.create_connection(node.address, 5) as peer,
          peer.makefile("rb") as file):
        peer.sendall(strange + broken + version + strange + broken + verack + strange + broken + bytes(wrong))
        peer.sendall(raw(BTCPing(nonce=7)))
        seen = b""
        while raw(BTCPong(nonce=7)) not in seen:
            seen += file.read1(10_000)
        assert raw(BTCPong(nonce=3)) not in seen


def test_silence_is_not_endless() -> None:
    with BTCNode(options=replace(NODE_OPTIONS, handshake_timeout=0.2)) as node:
        assert outcome(node.address, b"") == b""
        assert outcome(node.address, GREETING[:50]) == b""
    with BTCNode(options=replace(NODE_OPTIONS, ping_interval=0.1, ping_timeout=0.2)) as node:
        assert raw(BTCPing())[4:16] in outcome(node.address, GREETING)


def test_a_slow_reader_and_a_flood_cost_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SEND_TIMEOUT", 0.5)
    with BTCNode(blocks=110) as node:
        for height in range(1, 10):
            node.submit(spend(node, height))
        node.mine()
        vector = bytes(BTCInvVector(type="MSG_WITNESS_BLOCK", hash=node.tip))
        request = raw(BTCGetData(encode(50_000) + vector * 50_000))
        tracemalloc.start()
        try:
            with socket.socket() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.connect(node.address)
                peer.sendall(GREETING + request)  # 50,000 blocks of 1.3 kB, and nothing is read
                node.wait_until(lambda: node.peers and node.peers[0].established)
                node.mine(20)
                node.wait_until(lambda: not node.peers, timeout=20)
            with connect(*node.address) as client:
                for number in range(100):
                    client.send(BTCInv(encode(200) + Random(number).randbytes(36 * 200)))
                client.ping()
            assert tracemalloc.get_traced_memory()[1] < 40_000_000
        finally:
            tracemalloc.stop()


def test_two_who_ask_for_much_do_not_block_the_others(node: RunningNode) -> None:
    vector = bytes(BTCInvVector(type="MSG_BLOCK", hash=node.tip))
    request = raw(BTCGetData(encode(20_000) + vector * 20_000))
    stop = threading.Event()

    def greedy() -> None:
        with socket.create_connection(node.address, 20) as peer:
            peer.sendall(GREETING + request)
            while not stop.is_set() and peer.recv(1 << 20):
                pass

    threads = [threading.Thread(target=greedy) for _ in range(2)]
    for thread in threads:
        thread.start()
    node.wait_until(lambda: len(node.peers) == 2)
    try:
        with connect(*node.address) as client:
            assert client.ping() < 2
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)


def test_transactions_that_are_refused_say_why(node: RunningNode) -> None:
    tx = spend(node, 1)
    assert node.submit(tx) == tx.txid
    with pytest.raises(BTCError, match="txn-already-in-mempool"):
        node.submit(bytes(tx))
    with pytest.raises(FormatError):
        node.submit(b"nonsense")
    assert node.mine(2)[1] == node.tip == hash_hex(node.store.tip.hash) and len(node.pool) == 0
