# SPDX-License-Identifier: GPL-2.0-or-later
"""Dialling through SOCKS5 proxies (RFC 1928), and what must not be dialled."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from misbehaving import GREETING, connect, nobody, says, serving

from scapy_btc.all import BTC
from scapy_btc.errors import ProxyDown, Refused, TimedOut
from scapy_btc.net import dialing
from scapy_btc.net.connection import open_connection
from scapy_btc.peer.options import PeerOptions

ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"


def exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def socks5(asked: list[tuple[int, bytes, int]], reply: int = 0, versions: list[Any] | None = None
           ) -> Callable[[socket.socket], None]:
    """A proxy that notes what it is asked for (address type, address, port), and is the node itself.

    :param versions: gets the `version` that comes
    """
    def treat(peer: socket.socket) -> None:
        version, methods = exactly(peer, 2)
        assert version == 5 and 0 in exactly(peer, methods)
        peer.sendall(b"\x05\x00")
        version, command, _, kind = exactly(peer, 4)
        assert (version, command) == (5, 1)
        size = {1: 4, 4: 16}.get(kind) or exactly(peer, 1)[0]
        asked.append((kind, exactly(peer, size), int.from_bytes(exactly(peer, 2), "big")))
        peer.sendall(bytes([5, reply, 0, 1]) + bytes(6))
        if versions is not None:
            head = exactly(peer, 24)
            versions.append(BTC(head + exactly(peer, int.from_bytes(head[16:20], "little"))).payload)
        if not reply:
            says(GREETING)(peer)

    return treat


@pytest.mark.parametrize(("host", "kind", "address"), [
    (ONION, 3, ONION.encode()),
    ("node.invalid", 3, b"node.invalid"),
    ("192.0.2.7", 1, bytes([192, 0, 2, 7])),
    ("2001:db8::7", 4, bytes.fromhex("20010db8000000000000000000000007")),
])
def test_the_proxy_gets_the_host_as_it_is(host: str, kind: int, address: bytes) -> None:
    """Connections are named for it. The node is not told an address of its own: that of the proxy would not be true."""
    asked: list[tuple[int, bytes, int]] = []
    versions: list[Any] = []
    target = f"[{host}]:18444" if ":" in host else f"{host}:18444"
    with serving(socks5(asked, versions=versions)) as port:
        proxy = f"127.0.0.1:{port}"
        with connect(host, 18444, proxy=proxy) as client:
            assert client.peer.established and client.address == target

        async def use() -> None:
            async with await open_connection(host, 18444, PeerOptions(), proxy=proxy) as opened:
                await opened.handshake()
                assert opened.address == target

        asyncio.run(use())
    assert asked == [(kind, address, 18444)] * 2
    assert [(version.receiver_address.ip, version.receiver_address.port) for version in versions] == [("::", 0)] * 2


def test_names_are_not_resolved_here(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **rest: looked_up.append(host) or real(
        host, *more, **rest))
    with serving(socks5([])) as port, connect("node.invalid", proxy=f"127.0.0.1:{port}"):
        pass
    assert "node.invalid" not in looked_up
    for name in (ONION, ONION.upper() + "."):
        with pytest.raises(Refused, match="Tor addresses need a proxy"):
            connect(name)
    assert not [name for name in looked_up if "onion" in name.lower()]


def opened(host: str, proxy: str, timeout: float = 5) -> None:
    """Likewise `connect`, for asyncio."""
    async def run() -> None:
        await (await open_connection(host, 18444, PeerOptions(), timeout, proxy)).close()

    asyncio.run(run())


def reached(host: str, proxy: str, timeout: float = 5) -> None:
    asyncio.run(dialing.reach_proxy(proxy, timeout))


def test_the_proxy_refuses() -> None:
    """That is said of the node, not of the proxy."""
    for fails in (connect, opened):
        with serving(socks5([], reply=5)) as port, pytest.raises(
                Refused, match=f"by way of 127.0.0.1:{port}: .*refused") as caught:
            fails(ONION, proxy=f"127.0.0.1:{port}")
        assert not isinstance(caught.value, ProxyDown)


def test_a_proxy_is_reached() -> None:
    with serving(says(b"\x05\x00")) as port:
        reached("", f"127.0.0.1:{port}")
    with serving(says(b"")) as port, pytest.raises(ProxyDown, match=r": no answer within 0\.3 s$"):
        reached("", f"127.0.0.1:{port}", 0.3)


def test_there_is_no_proxy() -> None:
    with nobody() as port:
        for fails in (connect, opened, reached):
            with pytest.raises(ProxyDown, match=rf"^no proxy at 127\.0\.0\.1:{port}: Connection refused$"):
                fails(ONION, proxy=f"127.0.0.1:{port}")
    for fails in (connect, opened):
        with pytest.raises(ProxyDown, match=r"^no proxy at nonsense: "):
            fails(ONION, proxy="nonsense")
        with pytest.raises(ProxyDown, match=r"^no proxy at proxy\.invalid:1: the name is not known"):
            fails(ONION, proxy="proxy.invalid:1")


@pytest.mark.parametrize("treat", [says(b""), says(b"\x05\x00"), says(b"\x05")])
def test_a_proxy_that_says_nothing_more(treat: Callable[[socket.socket], None]) -> None:
    with serving(treat) as port:
        start = time.monotonic()
        with pytest.raises(TimedOut, match=r"no connection within 0.3 s"):
            connect(ONION, proxy=f"127.0.0.1:{port}", timeout=0.3)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("sent", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\xff", b"\x05\x02"])
def test_what_is_no_proxy(sent: bytes) -> None:
    for fails in (connect, opened, reached):
        with serving(says(sent)) as port, pytest.raises(ProxyDown, match=rf"^no proxy at 127\.0\.0\.1:{port}: "):
            fails(ONION, proxy=f"127.0.0.1:{port}", timeout=2)


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(Refused, match=r"^nobody\.invalid:18444: the name is not known"):
        dialing.dial("nobody.invalid", 18444, 5)
