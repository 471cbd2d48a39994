# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeping connections: whom to dial next, and what happens when peers end, hang or talk nonsense."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from scapy_btc.all import BTC, BTCPing, BTCVerack, BTCVersion
from scapy_btc.errors import PeerError, Refused
from scapy_btc.net import pool
from scapy_btc.net.connection import Connection
from scapy_btc.net.pool import CANDIDATES, FIRST_PAUSE, LONGEST_PAUSE, Candidates, keep_connected
from scapy_btc.peer.options import PeerOptions

GREETING = bytes(BTC(magic="regtest") / BTCVersion()) + bytes(BTC(magic="regtest") / BTCVerack())
A, B, C = ("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.3", 3)


def test_those_named_first_are_dialled_first_and_once() -> None:
    candidates = Candidates([A, B])
    candidates.add(C)
    candidates.add(A)
    assert [candidates.take(0) for _ in range(4)] == [A, B, C, None]


def test_who_was_good_comes_back_soon_and_who_failed_later_and_last() -> None:
    candidates = Candidates([A, B])
    assert (candidates.take(0), candidates.take(0)) == (A, B)
    candidates.give_back(A, 10, was_good=False)
    candidates.give_back(B, 10, was_good=True)
    assert candidates.take(10) is None
    assert candidates.take(10 + FIRST_PAUSE) == B
    assert candidates.take(10 + FIRST_PAUSE) is None
    assert candidates.take(10 + 2 * FIRST_PAUSE) == A
    now = 10.0
    for _ in range(12):
        candidates.give_back(A, now, was_good=False)
        now += LONGEST_PAUSE
        assert candidates.take(now) == A
    candidates.give_back(A, now, was_good=True)
    assert candidates.take(now + FIRST_PAUSE) == A


def test_the_list_is_bounded() -> None:
    candidates = Candidates([A])
    for number in range(2 * CANDIDATES):
        candidates.add(("192.0.2.9", number))
    assert len(candidates) == CANDIDATES


class Notes:
    """A handler that notes what it is told."""

    def __init__(self) -> None:
        self.opened_: list[str] = []
        self.closed_: list[tuple[str, str]] = []
        self.nonces: list[int] = []
        self.most = 0

    def opened(self, connection: Connection) -> None:
        self.opened_.append(connection.address)

    def message(self, connection: Connection, packet: Any) -> None:
        if packet.msgtype == "ping":
            self.nonces.append(packet.nonce)

    def closed(self, endpoint: str, reason: PeerError) -> None:
        self.closed_.append((endpoint, str(reason)))

    def tick(self, connections: dict[str, Connection]) -> None:
        self.most = max(self.most, len(connections))


def test_peers_that_end_hang_and_talk_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "FIRST_PAUSE", 0.1)

    async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await reader.readuntil(b"verack")

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n" * 3)
        await reader.read()

    async def stays(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await reader.read()

    def closing(treat: Any) -> Any:
        async def treated(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await treat(reader, writer)
            finally:
                writer.close()
        return treated

    async def run() -> tuple[Notes, list[str]]:
        servers = [await asyncio.start_server(closing(treat), "127.0.0.1", 0)
                   for treat in (ends, hangs, nonsense, stays)]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        notes = Notes()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(keep_connected(
                2, Candidates([("127.0.0.1", port) for port in ports]), PeerOptions(), notes, timeout=0.5), 4)
        for server in servers:
            server.close()
        await asyncio.sleep(0.1)  # they see that we are gone
        return notes, [f"127.0.0.1:{port}" for port in ports]

    notes, (ending, hanging, talking, staying) = asyncio.run(run())
    reasons = dict(notes.closed_)
    assert staying in notes.opened_ and notes.opened_.count(staying) == 1
    assert notes.opened_.count(ending) >= 2  # dialled again
    assert "no handshake within 0.5 s" in reasons[hanging]
    assert "no message of Bitcoin's" in reasons[talking]
    assert notes.most <= 2


def test_a_node_of_two_names_is_connected_once_and_wrong_checksums_are_not_heard() -> None:
    begun: list[asyncio.StreamWriter] = []

    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(writer)
        writer.write(GREETING)
        await reader.readuntil(b"verack")
        if len(begun) == 2:
            await asyncio.sleep(0.2)  # both have had their chance
            wrong, right = (bytes(BTC(magic="regtest") / BTCPing(nonce=nonce)) for nonce in (7, 8))
            for each in begun:
                each.write(wrong[:20] + b"\0" * 4 + wrong[24:] + right)
                each.close()
        await reader.read()

    async def run() -> Notes:
        server = await asyncio.start_server(treat, "127.0.0.1", 0)
        port, notes = server.sockets[0].getsockname()[1], Notes()
        with suppress(asyncio.TimeoutError):  # 127.1 is the same address, written as inet_aton(3) takes it
            await asyncio.wait_for(keep_connected(
                2, Candidates([("127.0.0.1", port), ("127.1", port)]), PeerOptions(), notes, timeout=5), 0.9)
        for each in begun:
            each.close()
        server.close()
        await asyncio.sleep(0.1)
        return notes

    notes = asyncio.run(run())
    assert (len(begun), len(notes.opened_)) == (2, 1)
    assert any("which is connected already" in reason for _, reason in notes.closed_)
    assert notes.nonces == [8]


def test_addresses_of_nobody_are_not_dialled_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[str] = []

    async def refused(host: str, *more: Any) -> Connection:
        dialled.append(host)
        raise Refused(host)

    monkeypatch.setattr(pool, "open_connection", refused)
    monkeypatch.setattr(pool, "FIRST_PAUSE", 0.3)

    async def run() -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(keep_connected(
                2, Candidates([("192.0.2.1", port) for port in range(1, 1000)]), PeerOptions(), Notes()), 0.75)

    asyncio.run(run())
    assert 2 < len(dialled) <= 6  # at 0, 0.3 and 0.6 s
