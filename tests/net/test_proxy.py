# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy between ends that are written here, byte for byte; `test_proxied_nodes.py` has real nodes."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace as Namespace
from typing import Any

import pytest

from scapy_btc.all import BTC, BTCInv, BTCPing, BTCPong, BTCTx, BTCVerack, BTCVersion
from scapy_btc.capture.message import Message
from scapy_btc.errors import PeerError, Refused
from scapy_btc.net import proxied as module
from scapy_btc.net.proxied import Context
from scapy_btc.net.proxy import BTCProxy

MAGIC = b"\xfa\xbf\xb5\xda"
Pair = tuple[socket.socket, socket.socket]


def v1(name: bytes, payload: bytes = b"", magic: bytes = MAGIC, check: bytes | None = None) -> bytes:
    """A message by the rules of the wire, without the code under test."""
    digest = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    return struct.pack("<4s12sI4s", magic, name, len(payload), digest if check is None else check) + payload


def ping(number: int) -> bytes:
    return v1(b"ping", number.to_bytes(8, "little"))


def pong(number: int) -> bytes:
    return v1(b"pong", number.to_bytes(8, "little"))


VERSION = v1(b"version", struct.pack("<iQQ26x26xQB3sI?", 70016, 0, 1_700_000_000, 5, 3, b"/x/", 12, True))
VERACK = v1(b"verack")


@pytest.fixture
def node() -> Iterator[socket.socket]:
    """Where the proxy connects to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


def proxy_to(address: tuple[str, int], *more: Any, **options: Any) -> BTCProxy:
    """A proxy that speaks v1 on both sides."""
    return BTCProxy(address, *more, listen_transport="v1", to_transport="v1", **options)


@contextmanager
def through(proxy: BTCProxy, node: socket.socket) -> Iterator[Pair]:
    """A client of the proxy, and the target's end of its connection."""
    with socket.create_connection(proxy.address, 10) as client:
        target, _ = node.accept()
        with target:
            target.settimeout(10)
            yield client, target


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "scapy_btc.proxy")
    return caplog


def receive(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer at the end of the stream."""
    parts = []
    while size and (data := sock.recv(min(size, 1 << 18))):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def rest(sock: socket.socket) -> bytes:
    try:
        return receive(sock, 1 << 30)
    except ConnectionResetError:
        return b""


def wait_for(met: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


# What nobody changes


@pytest.mark.parametrize("magic", [MAGIC, b"\xf9\xbe\xb4\xd9", b"\1\2\3\4"], ids=["regtest", "mainnet", "unknown"])
@pytest.mark.parametrize("handle", [None, lambda packet, context: packet], ids=["plain", "handled"])
def test_bytes_pass_as_they_came(node: socket.socket, magic: bytes, handle: Any) -> None:
    said = [v1(b"version", VERSION[24:], magic), v1(b"verack", magic=magic), v1(b"ping", bytes(8), magic, b"evil"),
            v1(b"ping", b"\1\2\3", magic), v1(b"whatisthis", bytes(300), magic), v1(b"tx", b"\xff" * 100, magic),
            v1(b"in\0v", magic=magic), v1(b"\xff\xfe", b"x", magic), v1(b"inv", b"\xfd\1\0" + bytes(36), magic),
            v1(b"addr", bytes(1), magic), v1(b"block", bytes(2_000_000), magic), v1(b"verack", magic=magic)]
    with proxy_to(node.getsockname(), handle=handle) as proxy, through(proxy, node) as (client, target):
        for sender, receiver in ((client, target), (target, client)):
            sending = threading.Thread(target=sender.sendall, args=(b"".join(said),))
            sending.start()
            assert receive(receiver, len(b"".join(said))) == b"".join(said)
            sending.join()


def test_the_header_of_2011_passes(node: socket.socket) -> None:
    old = struct.pack("<4s12sI", MAGIC, b"version", 46) + struct.pack("<iQQ26x", 209, 1, 1_300_000_000)
    old += struct.pack("<4s12sI", MAGIC, b"verack", 0)
    for handle in (None, lambda packet, context: packet):
        with proxy_to(node.getsockname(), handle=handle) as proxy, through(proxy, node) as (client, target):
            client.sendall(old)
            client.shutdown(socket.SHUT_WR)
            assert rest(target) == old


def test_single_bytes(node: socket.socket) -> None:
    with proxy_to(node.getsockname()) as proxy, through(proxy, node) as (client, target):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in VERSION + VERACK:
            client.sendall(bytes((byte,)))
        assert receive(target, len(VERSION + VERACK)) == VERSION + VERACK


def test_every_message_is_told(node: socket.socket) -> None:
    seen: list[Message] = []
    with proxy_to(node.getsockname(), record=seen.append) as proxy:
        for number in range(2):
            with through(proxy, node) as (client, target):
                client.sendall(VERSION + v1(b"ping", bytes(8), check=b"evil"))
                receive(target, len(VERSION) + 32)
                target.sendall(VERSION + VERACK)
                receive(client, len(VERSION + VERACK))
                ends = "{}:{}".format(*client.getsockname()), "{}:{}".format(*node.getsockname())
                latest = seen[-4:]
                assert [(m.connection, m.msgtype, m.checksum, m.findings) for m in latest] == [
                    (number, "version", "ok", []),
                    (number, "ping", "bad", ["bad-checksum", "before-verack"]),
                    (number, "version", "ok", []), (number, "verack", "ok", [])]
                assert [(m.source, m.destination) for m in latest] == [ends] * 2 + [ends[::-1]] * 2
                assert all(m.transport == "v1" and m.network and m.network.name == "regtest" for m in latest)
                assert latest[0].frame_bytes == VERSION
    assert [m.frames[1] for m in seen] == list(range(1, 9))


def test_many_connections(node: socket.socket) -> None:
    seen: list[Message] = []
    with proxy_to(node.getsockname(), record=seen.append) as proxy, ExitStack() as stack:
        pairs = [stack.enter_context(through(proxy, node)) for _ in range(100)]
        for number, (client, target) in enumerate(pairs):
            client.sendall(ping(number))
            target.sendall(pong(number + 1000))
        for number, (client, target) in enumerate(pairs):
            assert receive(target, 32) == ping(number) and receive(client, 32) == pong(number + 1000)
        assert sorted(proxy.connections) == list(range(100))
    assert {(m.connection, m.packet.nonce) for m in seen} == {(n, n + 1000 * k) for n in range(100) for k in (0, 1)}


def test_ipv6(node: socket.socket) -> None:
    with proxy_to(node.getsockname(), listen=("::1", 0)) as proxy, through(proxy, node) as (client, target):
        assert repr(proxy).startswith("<BTCProxy [::1]:")
        client.sendall(ping(1))
        assert receive(target, 32) == ping(1)


# What a user's function does


def handled(handle: Any, node: socket.socket, sent: bytes, seen: list[Message] | None = None) -> bytes:
    """What the target gets of what a client sends."""
    record = None if seen is None else seen.append
    with proxy_to(node.getsockname(), handle=handle, record=record) as proxy, through(proxy, node) as (
            client, target):
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        return rest(target)


def test_a_field_is_changed(node: socket.socket) -> None:
    def handle(packet: Any, context: Context) -> Any:
        if BTCVersion in packet:
            packet.start_height = 777
        return packet

    seen: list[Message] = []
    payload = bytearray(VERSION[24:])
    payload[-5:-1] = (777).to_bytes(4, "little")
    assert handled(handle, node, VERSION + VERACK, seen) == v1(b"version", payload) + VERACK
    assert [(m.msgtype, m.fate, m.findings) for m in seen] == [
        ("version", "dropped", ["dropped"]), ("version", "injected", ["injected"]), ("verack", "", [])]
    assert seen[0].frame_bytes == VERSION and seen[1].packet.start_height == 777


def test_a_changed_copy_is_right_too(node: socket.socket) -> None:
    def handle(packet: Any, context: Context) -> Any:
        other = packet.copy()
        other.nonce = 9
        return [packet, other]

    assert handled(handle, node, ping(1) + ping(2)) == ping(1) + ping(9) + ping(2) + ping(9)


def test_a_wrong_checksum_is_sent_as_told(node: socket.socket) -> None:
    def handle(packet: Any, context: Context) -> Any:
        packet.checksum = b"evil"
        return packet

    assert handled(handle, node, ping(1)) == v1(b"ping", ping(1)[24:], check=b"evil")


def test_messages_are_dropped(node: socket.socket) -> None:
    seen: list[Message] = []
    tx = bytes(BTC(magic="regtest") / BTCTx())
    without = handled(lambda packet, context: None if packet.msgtype == "tx" else packet, node,
                      ping(1) + tx + ping(2), seen)
    assert without == ping(1) + ping(2)
    assert [(m.msgtype, m.fate) for m in seen] == [("ping", ""), ("tx", "dropped"), ("ping", "")]
    assert handled(lambda packet, context: [], node, ping(1)) == b""


def test_other_messages_go_in_its_place(node: socket.socket) -> None:
    replies = [BTCPong(nonce=4), [BTCPong(nonce=4), BTC(magic="mainnet") / BTCPing(nonce=5)],
               (m for m in [BTCInv()])]
    wanted = [pong(4), pong(4) + v1(b"ping", bytes([5]) + bytes(7), b"\xf9\xbe\xb4\xd9"), v1(b"inv", b"\0")]
    for reply, want in zip(replies, wanted, strict=True):
        assert handled(lambda packet, context, reply=reply: reply, node, ping(1)) == want


def test_messages_are_injected_to_either_side(node: socket.socket) -> None:
    def handle(packet: Any, context: Context) -> Any:
        if packet.msgtype == "ping" and context.sender == "client":
            context.inject(BTCPong(nonce=packet.nonce), to="client")
            context.inject(BTCVerack(), to="target")
            return None
        return packet

    seen: list[Message] = []
    with proxy_to(node.getsockname(), handle=handle, record=seen.append) as proxy, through(proxy, node) as (
            client, target):
        client.sendall(ping(7))
        assert receive(client, 32) == pong(7) and receive(target, 24) == VERACK
        proxy.inject(0, BTCPing(nonce=8), "client")
        proxy.inject(0, BTCPing(nonce=9), "target")
        assert receive(client, 32) == ping(8) and receive(target, 32) == ping(9)
        with pytest.raises(PeerError, match="no connection 5 is open"):
            proxy.inject(5, BTCPing(), "client")
    ends = "{}:{}".format(*node.getsockname())
    assert [(m.msgtype, m.fate, m.source == ends) for m in seen] == [
        ("pong", "injected", True), ("verack", "injected", False), ("ping", "dropped", False),
        ("ping", "injected", True), ("ping", "injected", False)]


def test_the_context(node: socket.socket) -> None:
    seen: list[tuple[Any, ...]] = []

    def handle(packet: Any, context: Context) -> Any:
        seen.append((context.connection, context.sender, context.source, context.destination, packet.nonce))
        return packet

    with proxy_to(node.getsockname(), handle=handle) as proxy, through(proxy, node) as (client, target):
        client.sendall(ping(1))
        receive(target, 32)
        target.sendall(ping(2))
        receive(client, 32)
        ends = "{}:{}".format(*client.getsockname()), "{}:{}".format(*node.getsockname())
    assert seen == [(0, "client", *ends, 1), (0, "target", *ends[::-1], 2)]


def test_a_delay_holds_its_direction_only(node: socket.socket) -> None:
    async def handle(packet: Any, context: Context) -> Any:
        if packet.nonce == 1:
            await asyncio.sleep(0.5)
        return packet

    with proxy_to(node.getsockname(), handle=handle) as proxy, through(proxy, node) as (client, target):
        start = time.monotonic()
        client.sendall(ping(0) + ping(1) + ping(2))
        target.sendall(ping(3))
        assert receive(target, 32) == ping(0) and receive(client, 32) == ping(3)
        assert time.monotonic() - start < 0.4
        assert receive(target, 64) == ping(1) + ping(2)
        assert time.monotonic() - start >= 0.5


def test_what_is_broken_comes_to_the_function_too(node: socket.socket) -> None:
    names: list[str] = []

    def handle(packet: Any, context: Context) -> Any:
        names.append(type(packet.payload).__name__)
        return packet

    sent = VERSION + v1(b"tx", b"\xff" * 10) + v1(b"nobodys", b"x") + v1(b"ping", bytes(8), check=b"evil")
    assert handled(handle, node, sent) == sent
    assert names == ["BTCVersion", "BTCMalformed", "BTCUnknown", "BTCPing"]


def broken(packet: Any, context: Context) -> Any:
    return packet.no_such_field


@pytest.mark.parametrize(("handle", "why"), [
    (broken, r"handle\(\) failed on ping of the client 127\.0\.0\.1:\d+: AttributeError: no_such_field "
             r"\(.*test_proxy\.py, line \d+\)"),
    (lambda packet, context: 5, r"TypeError: packets are to be returned, not int"),
    (lambda packet, context: b"raw", r"TypeError: packets are to be returned, not bytes"),
    (lambda packet, context: [packet, "x"], r"TypeError: a packet or a message is to be sent, not str"),
    (lambda packet, context: BTCPing(nonce="x"), r"handle\(\) failed on ping"),
])
def test_a_function_that_fails_ends_the_connection(node: socket.socket, log: pytest.LogCaptureFixture, handle: Any,
                                                   why: str) -> None:
    def sometimes(packet: Any, context: Context) -> Any:
        return handle(packet, context) if packet.nonce == 2 else packet

    with proxy_to(node.getsockname(), handle=sometimes) as proxy, through(proxy, node) as (other, its_target):
        with through(proxy, node) as (client, target):
            client.sendall(ping(1) + ping(2) + ping(3))
            assert rest(target) == ping(1) and rest(client) == b""
        assert re.search(f"WARNING .*connection 1 ended: .*{why}", log.text)
        other.sendall(ping(4))
        assert receive(its_target, 32) == ping(4)


# How connections end


def test_the_end_of_one_side_is_passed_on(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    answer = v1(b"block", bytes(3_000_000))
    with proxy_to(node.getsockname()) as proxy, through(proxy, node) as (client, target):
        client.sendall(ping(1))
        client.shutdown(socket.SHUT_WR)
        assert rest(target) == ping(1)
        sending = threading.Thread(target=lambda: (target.sendall(answer), target.close()))
        sending.start()
        time.sleep(0.1)  # as a slow reader does
        assert rest(client) == answer
        sending.join()
        wait_for(lambda: not proxy.connections, "the end")
    assert re.search(r"the client 127\.0\.0\.1:\d+ closed it\n", log.text)
    assert "connection 0 ended\n" in log.text


def test_what_came_before_a_reset_is_passed_on(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    """Also what waited to be read while the reset came."""
    flood = v1(b"block", bytes(100_000)) + ping(1)
    held, called = threading.Event(), threading.Event()

    async def handle(packet: Any, context: Context) -> Any:
        called.set()
        while not held.is_set():
            await asyncio.sleep(0.01)
        return packet

    with proxy_to(node.getsockname(), handle=handle) as proxy, through(proxy, node) as (client, target):
        client.sendall(ping(0))
        assert called.wait(10)
        stream = proxy._open[0].client.stream
        client.sendall(flood)
        wait_for(lambda: stream.received == len(ping(0) + flood), "everything")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        wait_for(lambda: stream.gone, "the reset")
        held.set()
        assert rest(target) == ping(0) + flood
    assert "broke off: Connection reset by peer" in log.text


def test_an_end_that_goes_while_it_is_told_of_the_other(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    with proxy_to(node.getsockname()) as proxy, through(proxy, node) as (client, target):
        client.sendall(ping(1))
        receive(target, 32)
        socket_of_target = proxy._open[0].target.stream._tcp.get_extra_info("socket")
        socket_of_target.shutdown(socket.SHUT_RDWR)
        target.close()
        client.close()
        wait_for(lambda: not proxy.connections, "the end")
    assert "connection 0 ended" in log.text


def test_what_cannot_reach_an_end_that_is_gone_is_told(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    seen: list[Message] = []
    with proxy_to(node.getsockname(), record=seen.append) as proxy, through(proxy, node) as (client, target):
        client.sendall(ping(1))
        receive(target, 32)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert rest(target) == b""
        target.sendall(ping(2) + ping(3))
        target.close()
        wait_for(lambda: not proxy.connections, "the end")
    assert [m.fate for m in seen] == ["", "dropped", "dropped"]
    assert "2 messages for the client came too late for it" in log.text


def test_half_a_message_is_not_passed_on_and_told(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    with proxy_to(node.getsockname()) as proxy, through(proxy, node) as (client, target):
        client.sendall(ping(1) + ping(2)[:27])
        client.shutdown(socket.SHUT_WR)
        assert rest(target) == ping(1)
    assert "closed it; 27 bytes of an unfinished message were not passed on" in log.text


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", bytes(100),
                                     MAGIC + b"version\0\0\0\0\0\xff\xff\xff\xff" + bytes(40)])
@pytest.mark.parametrize("by", ["client", "target"])
@pytest.mark.parametrize("before", [b"", VERSION + VERACK], ids=["at once", "later"])
def test_garbage_ends_the_connection(node: socket.socket, log: pytest.LogCaptureFixture, garbage: bytes, by: str,
                                     before: bytes) -> None:
    with proxy_to(node.getsockname()) as proxy, through(proxy, node) as (client, target):
        sender, receiver = (client, target) if by == "client" else (target, client)
        sender.sendall(before + garbage)
        assert rest(receiver) == before and rest(sender) == b""
    assert re.search(rf"WARNING .*connection 0 ended: the {by} [\d.:]+: the peer sent (no message|a message that)",
                     log.text)


def test_who_says_much_does_not_keep_others_from_their_turn(node: socket.socket) -> None:
    told: list[int] = []

    def record(message: Message) -> None:
        told.append(message.connection)
        if len(told) == 1:
            quiet.sendall(ping(2))
        time.sleep(0.001)

    with (proxy_to(node.getsockname(), record=record) as proxy, through(proxy, node) as (loud, one),
          through(proxy, node) as (quiet, other)):
        loud.sendall(ping(1) * 500)
        assert receive(other, 32) == ping(2)
        assert receive(one, 500 * 32) == ping(1) * 500
        wait_for(lambda: len(told) == 501, "the messages")
    assert told.index(1) < 100


def test_both_ends_fail_at_once(log: pytest.LogCaptureFixture) -> None:
    async def fail(end: str) -> None:
        raise PeerError(end)

    async def run() -> None:
        stream = Namespace(ended=False, gone=False, received=0)
        proxied: Any = Namespace(client=Namespace(stream=stream), target=Namespace(stream=stream),
                                 _agreed=asyncio.Event())
        tasks = {asyncio.ensure_future(fail(end)) for end in ("client", "target")}
        await asyncio.wait(tasks)
        with pytest.raises(PeerError, match=r"client|target"):
            await module.Proxied._watch(proxied, tasks)

    asyncio.run(run())
    gc.collect()
    assert "never retrieved" not in log.text  # with a traceback, on standard error


def test_nothing_is_written_to_what_broke(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        _, stream = await asyncio.get_running_loop().create_connection(module.ByteStream, *node.getsockname())
        other, _ = node.accept()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()  # a reset
        for _ in range(20):  # asyncio complains of the sixth
            stream.write(ping(1))
        assert not stream.writable
        await stream.closed(10)

    asyncio.run(run())
    assert "socket.send() raised exception" not in log.text


@pytest.mark.parametrize("cut", range(0, len(VERSION + VERACK), 9))
def test_every_truncation(node: socket.socket, cut: int) -> None:
    whole = VERSION + VERACK
    with proxy_to(node.getsockname()) as proxy, through(proxy, node) as (client, target):
        client.sendall(whole[:cut])
        client.close()
        assert rest(target) == (VERSION if cut >= len(VERSION) else b"")


def test_nobody_listens_there(log: pytest.LogCaptureFixture) -> None:
    with proxy_to(("127.0.0.1", 1)) as proxy, socket.create_connection(proxy.address, 10) as client:
        assert rest(client) == b""
        assert re.search(r"127\.0\.0\.1:\d+ was turned away: 127\.0\.0\.1:1: .*[Rr]efused", log.text)


def test_a_node_that_does_not_accept(log: pytest.LogCaptureFixture) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = stack.enter_context(socket.create_connection(full.getsockname()))
        assert waiting
        proxy = stack.enter_context(proxy_to(full.getsockname(), timeout=0.3))
        client = stack.enter_context(socket.create_connection(proxy.address, 10))
        assert rest(client) == b""
    assert "no connection within 0.3 s" in log.text


def test_more_connections_than_the_limit(node: socket.socket, log: pytest.LogCaptureFixture) -> None:
    with proxy_to(node.getsockname(), limit=2) as proxy, through(proxy, node), through(proxy, node) as (client, target):
        with socket.create_connection(proxy.address, 10) as third:
            assert rest(third) == b""
        assert "was turned away: 2 connections are open" in log.text
        client.close()
        target.close()
        wait_for(lambda: len(proxy._tasks) == 1, "the end")
        with through(proxy, node) as (client, target):
            client.sendall(ping(1))
            assert receive(target, 32) == ping(1)


def test_an_end_that_stays_after_the_other_is_bounded(node: socket.socket, log: pytest.LogCaptureFixture,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.3)
    with proxy_to(node.getsockname()) as proxy, through(proxy, node) as (client, target):
        client.shutdown(socket.SHUT_WR)
        for number in range(6):  # not while it speaks
            target.sendall(ping(number))
            assert receive(client, 32) == ping(number)
            time.sleep(0.1)
        assert rest(client) == b""
    assert "0.3 s later the other still is there" in log.text


def test_closing_the_proxy_closes_everything(node: socket.socket) -> None:
    with ExitStack() as stack:
        with proxy_to(node.getsockname()) as proxy:
            client, target = stack.enter_context(through(proxy, node))
            client.sendall(ping(1))
            receive(target, 32)
            client.sendall(ping(2)[:20])
        assert rest(target) == b"" and rest(client) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(proxy.address, 10)


@pytest.mark.parametrize("moment", range(6))
def test_closing_the_proxy_at_any_moment(node: socket.socket, moment: int) -> None:
    """Nothing stays open: that would be a ResourceWarning, which fails the test."""
    async def run() -> None:
        loop = asyncio.get_running_loop()
        clients = [socket.socket() for _ in range(10)]
        async with proxy_to(node.getsockname()) as proxy:
            for client in clients:
                client.setblocking(False)
                await loop.sock_connect(client, proxy.address)
                await loop.sock_sendall(client, ping(1))
            for _ in range(moment):
                await asyncio.sleep(0)
            for client in clients[::2]:
                client.close()
        for client in clients:
            client.close()

    asyncio.run(run())
    gc.collect()


@pytest.mark.parametrize("turns", range(6))
def test_being_cancelled_twice(node: socket.socket, turns: int) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with proxy_to(node.getsockname()) as proxy:
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, proxy.address)
                await loop.sock_sendall(client, ping(1))
                while not proxy.connections:
                    await asyncio.sleep(0.001)
                task = next(iter(proxy._tasks))
                task.cancel()
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()

    asyncio.run(run())
    gc.collect()


def test_where_nothing_can_be_listened_on(node: socket.socket) -> None:
    with pytest.raises(Refused, match="cannot be listened on"), proxy_to(node.getsockname(), node.getsockname()):
        pass
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    with pytest.raises(Refused, match="would connect to itself"), proxy_to(address, address):
        pass


def test_a_recorder_that_fails_stops_it(node: socket.socket) -> None:
    def record(message: Message) -> None:
        raise BrokenPipeError

    async def run() -> None:
        async with proxy_to(node.getsockname(), record=record) as proxy:
            loop = asyncio.get_running_loop()
            with socket.create_connection(proxy.address) as client:
                await loop.sock_sendall(client, ping(1)) if not client.setblocking(False) else None
                await asyncio.wait_for(proxy.wait(), 10)

    with pytest.raises(BrokenPipeError):
        asyncio.run(run())


# Slow ends


def pressed(sock: socket.socket, data: bytes, most: int) -> int:
    """Send until nothing more is taken for a while; how many bytes were taken of `most`."""
    sock.settimeout(1.0)
    sent = 0
    try:
        while sent < most:
            sent += sock.send(data[sent % len(data):])
    except TimeoutError:
        pass
    sock.settimeout(10)
    return sent


@pytest.mark.parametrize("message", [v1(b"block", bytes(1_000_000)), ping(1)], ids=["large", "small"])
def test_a_slow_end_makes_the_other_wait(node: socket.socket, message: bytes) -> None:
    most = 200_000_000
    messages = message * max(1, 1_000_000 // len(message))
    node.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    with proxy_to(node.getsockname()) as proxy, through(proxy, node) as (client, target):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        sent = pressed(client, messages, most)
        assert 100_000 < sent < 20_000_000  # the kernel holds most of it
        target.sendall(ping(2))
        assert receive(client, 32) == ping(2)  # the other direction goes on
        digest, left = hashlib.sha256(), sent - sent % len(message)
        while left:
            data = receive(target, min(left, len(messages)))
            digest.update(data)
            left -= len(data)
        whole = messages * (sent // len(messages) + 1)
        assert digest.digest() == hashlib.sha256(whole[:sent - sent % len(message)]).digest()


def test_a_function_cannot_fill_the_memory(node: socket.socket) -> None:
    """What it sends back to a sender that does not read waits, and so does the sender."""
    calls = []
    large = BTC(magic="regtest", msgtype="large") / bytes(1_000_000)

    def handle(packet: Any, context: Context) -> None:
        calls.append(packet)
        context.inject(large, to="client")

    with proxy_to(node.getsockname(), handle=handle) as proxy, through(proxy, node) as (client, _):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.sendall(ping(1) * 1000)
        time.sleep(0.5)
        assert len(calls) < 20


def test_a_length_that_was_only_announced_takes_no_memory(node: socket.socket) -> None:
    with proxy_to(node.getsockname()) as proxy, through(proxy, node) as (client, target):
        client.sendall(ping(1) + v1(b"block")[:16] + (30_000_000).to_bytes(4, "little") + bytes(1000))
        receive(target, 32)
        wait_for(lambda: proxy._open[0].client.transport.held == 1020, "the beginning")
        transport: Any = proxy._open[0].client.transport
        assert transport._decoder.held == 996
