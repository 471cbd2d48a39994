# SPDX-License-Identifier: GPL-2.0-or-later
"""One visit, to nodes of every kind: it ends in time, within its limits, and says what came of it."""

from __future__ import annotations

import asyncio
import socket
import time
from itertools import repeat
from typing import Any

import pytest
from farm import REACHED, Planned, raw, told

from scapy_btc.all import BTC, BTCVerack, BTCVersion
from scapy_btc.discovery.visit import Limits, Visit, visit, visit_all
from scapy_btc.net.node import BTCNode
from scapy_btc.net.scripting import DISCONNECT, Script
from scapy_btc.networks import REGTEST
from scapy_btc.peer.options import PeerOptions

OPTIONS = PeerOptions(REGTEST, relay=False)
LIMITS = Limits(connect=2, seconds=0.8, linger=0.4)
KNOWS = [(f"127.9.0.{i}", 8333) for i in range(1, 4)]


def visited(script: tuple[str, Script] | None = None, limits: Limits = LIMITS, ask: bool = True) -> Visit:
    """What comes of visiting a node that does something unusual."""
    async def run() -> Visit:
        options = PeerOptions(services=9, user_agent=b"/farm:1/", handshake_timeout=5)
        async with BTCNode(options=options, addresses=KNOWS) as node:
            if script:
                node.when(*script)
            return await visit(*node.address, OPTIONS, limits, ask=ask)

    return asyncio.run(run())


def does(name: str, *steps: Any) -> tuple[str, Script]:
    return name, lambda packet, connection: steps


def test_a_polite_node() -> None:
    result = visited()
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
         "speechless": "", "endless": "", "liar": ""}


@pytest.mark.parametrize("kind", CODES)
def test_bad_nodes(kind: str) -> None:
    """Each ends within the time of a visit, and what is wrong is told from others."""
    name, steps = Planned(1, "127.0.0.1", kind, KNOWS, cut=100).script(0)
    started = time.monotonic()
    result = visited(does(name, *steps) if isinstance(steps, list) else (name, lambda packet, connection: steps))
    assert time.monotonic() - started < 3
    assert result.error == CODES[kind], result.reason
    assert bool(result.reason) == bool(result.error)
    assert (result.version is not None) == (kind in REACHED)
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
            await visit_all([node.address] * 20, OPTIONS, LIMITS, 4, results.append, ask=True)

    asyncio.run(run())
    assert [result.error for result in results] == [""] * 20
    assert 3 <= most <= 5  # one may be closing
