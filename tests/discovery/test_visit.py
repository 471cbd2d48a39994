# SPDX-License-Identifier: GPL-2.0-or-later
"""One visit, to nodes of every kind: it ends in time, within its limits, and says what came of it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from farm import BAD_V2, REACHED, Planned, raw, told
from misbehaving import GREETING, says, serving
from plain_v2 import Peer as PlainPeer

from scapy_btc.all import BTC, BTCVerack, BTCVersion
from scapy_btc.bip324.keylog import KeyLog
from scapy_btc.discovery.visit import Limits, Visit, suiting, visit, visit_all
from scapy_btc.errors import BTCError
from scapy_btc.net.node import BTCNode
from scapy_btc.net.scripting import DISCONNECT, Script
from scapy_btc.net.transports import Choice
from scapy_btc.networks import REGTEST
from scapy_btc.peer.options import PeerOptions

OPTIONS = PeerOptions(REGTEST, relay=False)
LIMITS = Limits(connect=2, seconds=0.8, linger=0.4)
KNOWS = [(f"127.9.0.{i}", 8333) for i in range(1, 4)]


def visited(script: tuple[str, Script] | None = None, limits: Limits = LIMITS, ask: bool = True,
            planned: Planned | None = None, **how: Any) -> Visit:
    """What comes of visiting a node that does something unusual, or is one of the farm."""
    async def run() -> Visit:
        options = PeerOptions(services=9, user_agent=b"/farm:1/", handshake_timeout=5)
        async with BTCNode(options=options, addresses=KNOWS, transport=how.pop("speaks", "auto")) as node:
            if script:
                node.when(*script)
            if planned:
                planned.play(node)
            return await visit(*node.address, OPTIONS, limits, ask=ask, **how)

    return asyncio.run(run())


def does(name: str, *steps: Any) -> tuple[str, Script]:
    return name, lambda packet, connection: steps


@pytest.mark.parametrize(("transport", "speaks", "spoken"), [
    ("v1", "auto", "v1"), ("v2", "auto", "v2"), ("auto", "auto", "v2"), ("auto", "v2", "v2"), ("auto", "v1", "v1")])
def test_a_polite_node(transport: Choice, speaks: Choice, spoken: str) -> None:
    result = visited(transport=transport, speaks=speaks)
    assert result.transport == spoken
    assert (result.error, result.reason) == ("", "")
    assert result.version and result.told
    assert (result.version["user_agent"], result.version["services"]) == ("/farm:1/", 9)
    assert sorted((entry.address, entry.port) for entry in result.told) == KNOWS
    assert result.latency and 0 < result.latency < 1


def test_addresses_need_not_be_asked_for() -> None:
    result = visited(ask=False)
    assert result.version and result.told is None and result.latency


def test_the_older_form_of_addresses() -> None:
    result = visited(does("getaddr", told([*KNOWS, ("2001::5", 1)], v2=False)))
    assert [(entry.address, entry.port, entry.services) for entry in result.told or []] == [
        *((host, port, 9) for host, port in KNOWS), ("2001::5", 1, 9)]


CODES = {"silent": "timed-out", "mute": "timed-out", "drip": "timed-out", "garbage": "no-handshake",
         "closes": "disconnected", "flood": "too-much", "huge": "too-much", "other-network": "wrong-network",
         "speechless": "", "endless": "", "liar": "", "v2-silent": "timed-out", "v2-garbage": "no-handshake",
         "v2-terminator": "timed-out", "v2-tag": "no-handshake", "v2-decoys": "too-much"}


@pytest.mark.parametrize("kind", CODES)
def test_bad_nodes(kind: str) -> None:
    """Each ends within the time of a visit, and what is wrong is told from others."""
    planned = Planned(1, "127.0.0.1", kind, KNOWS, cut=100)
    started = time.monotonic()
    result = visited(planned=planned, transport="auto" if kind in BAD_V2 else "v1")
    assert time.monotonic() - started < 3
    assert result.error == CODES[kind], result.reason
    assert bool(result.reason) == bool(result.error)
    assert (result.version is not None) == (kind in REACHED) == bool(result.transport)
    assert len(result.told or []) <= LIMITS.pages * 1000


def test_close_at_any_byte() -> None:
    greeting = Planned(1, "127.0.0.1", "closes").greeting
    results: list[Visit] = []

    async def run() -> None:
        async with BTCNode() as node:
            for cut in range(len(greeting)):
                node.when(*does("version", greeting[:cut], DISCONNECT))
                results.append(await visit(*node.address, OPTIONS, LIMITS))

    asyncio.run(run())
    assert len(results) == len(greeting) > 140
    assert {(result.error, result.version) for result in results} == {("disconnected", None)}
    assert all(result.reason.endswith(" during the handshake") for result in results)


def test_close_at_any_byte_of_v2() -> None:
    """Of what a peer that was written down from BIP 324 says first. Only one that says nothing is taken for v1."""
    connections = cut = 0

    def treat(peer: socket.socket) -> None:
        nonlocal connections
        connections += 1
        plain = PlainPeer(False, garbage=bytes(20)).meet(peer.recv(64, socket.MSG_WAITALL))
        peer.sendall((plain.hello + plain.opening(5))[:cut])
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(1000):
            pass

    whole = 64 + 20 + 16 + 5 + 20 + 20
    with serving(treat) as port:
        for cut in (*range(0, whole, 9), whole - 1, whole):
            connections = 0
            result = asyncio.run(visit("127.0.0.1", port, OPTIONS, LIMITS, transport="auto"))
            assert (result.error, result.version, result.transport) == ("disconnected", None, "")
            assert result.reason.endswith(" during the handshake")
            assert connections == (2 if cut == 0 else 1)


def test_the_time_is_for_both_connections() -> None:
    """A node that closes when it hears v2, after a while, and says nothing in v1."""
    silent = threading.Event()

    def treat(peer: socket.socket) -> None:
        peer.recv(64)
        time.sleep(0.6)
        if silent.is_set():
            peer.recv(1000)
        silent.set()

    started = time.monotonic()
    with serving(treat) as port:
        result = asyncio.run(visit("127.0.0.1", port, OPTIONS, LIMITS, transport="auto"))
        assert time.monotonic() - started < 1.3
    assert (result.error, result.reason) == ("timed-out", "no handshake within 0.8 s") and silent.is_set()


def test_who_does_not_answer_v2_at_all_is_not_asked_in_v1() -> None:
    """Bitcoin Core connects again when the connection was closed, not when nothing came."""
    connections: list[int] = []

    def treat(peer: socket.socket) -> None:
        connections.append(1)
        if len(connections) > 1:
            says(GREETING)(peer)
        while peer.recv(1000):
            pass

    with serving(treat) as port:
        result = asyncio.run(visit("127.0.0.1", port, OPTIONS, Limits(connect=0.3, seconds=2), transport="auto"))
    assert (result.error, len(connections)) == ("timed-out", 1) and result.reason == "no answer to v2 within 0.3 s"


def test_what_suits_an_address() -> None:
    """Bitcoin Core tries v2 with nodes of which it is said that they speak it: service bit 11 (BIP 324)."""
    for transport, services, choice in (("auto", 0x809, "auto"), ("auto", 0x409, "v1"), ("auto", -(1 << 63), "v1"),
                                        ("v2", 9, "v2"), ("v1", 0x809, "v1")):
        assert suiting(transport, services) == choice


def test_keys_are_written(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    for transport in ("v1", "v2", "auto"):
        assert visited(transport=transport, keylog=path).version
    log = KeyLog(path)
    assert log.lookup(bytes(64)) is None and len(log) == 2 and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BTCError, match="the key cannot be written"):
        visited(transport="v2", keylog=tmp_path)


def test_addresses_come_in_several_messages() -> None:
    """A node's own comes alone, and full pages are followed by others."""
    page = raw(told([(f"127.8.{i // 250}.{i % 250}", 1) for i in range(1000)], v2=True))
    own, few = raw(told([("127.0.0.9", 1)], True)), raw(told(KNOWS, True))
    assert len(visited(does("getaddr", own, 0.1, few)).told or []) == 4
    assert len(visited(does("getaddr", page, 0.1, page, 0.1, few)).told or []) == 2003
    assert len(visited(does("getaddr", few, 0.1, page)).told or []) == 3
    started = time.monotonic()
    assert len(visited(does("getaddr", own)).told or []) == 1
    assert time.monotonic() - started < 1.5


def test_a_message_may_not_hold_more_than_a_thousand() -> None:
    many = told([(f"127.8.{i // 250}.{i % 250}", 1) for i in range(1500)], v2=True)
    assert len(visited(does("getaddr", many)).told or []) == 1000


@pytest.mark.parametrize("payload", ["", "ff", "fde803" + "00" * 60, "01" + "00" * 6, "02" + "00" * 4 + "fd0102"])
def test_addresses_that_cannot_be_read(payload: str) -> None:
    message = BTC(magic="regtest", msgtype="addrv2") / bytes.fromhex(payload)
    result = visited(does("getaddr", message), Limits(seconds=0.5))
    assert (result.told, result.error) == ([], "") and result.version


def test_limits_of_messages_and_bytes() -> None:
    noise = told([], True)
    result = visited(does("getaddr", *repeat(noise, 200)), Limits(messages=50, seconds=2, pages=10_000))
    assert (result.error, result.reason) == ("too-much", "the peer sent more than 50 messages")
    assert result.version
    result = visited(does("getaddr", bytes(5000)), Limits(size=4000, seconds=2))
    assert (result.error, result.reason) == ("too-much", "the peer sent more than 4,000 bytes")


def test_no_pong() -> None:
    started = time.monotonic()
    result = visited(does("ping"))
    assert result.version and result.latency is None and result.told
    assert visited(does("ping"), Limits(seconds=0.5), ask=False).latency is None
    assert time.monotonic() - started < 3


def test_nobody_listens() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        result = asyncio.run(visit(*deaf.getsockname(), OPTIONS, LIMITS))
    assert (result.error, result.reason, result.version) == ("refused", "Connection refused", None)


def test_an_obsolete_node() -> None:
    result = visited(does("version", BTCVersion(version=100), BTCVerack()))
    assert (result.error, result.version) == ("no-handshake", None) and "obsolete" in result.reason


def test_so_many_at_a_time() -> None:
    results: list[Visit] = []
    most = 0

    async def run() -> None:
        async with BTCNode() as node:
            def slow(packet: Any, connection: Any) -> list[Any]:
                nonlocal most
                most = max(most, len(node.peers))
                return [0.05, told(KNOWS, True)]

            node.when("getaddr", slow)
            await visit_all([(*node.address, "v2")] * 20, OPTIONS, LIMITS, 4, results.append, ask=True)

    asyncio.run(run())
    assert [result.error for result in results] == [""] * 20
    assert 3 <= most <= 5  # one may be closing
