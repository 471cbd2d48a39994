# SPDX-License-Identifier: GPL-2.0-or-later
"""The crawler on a farm of 200 nodes: finds all, keeps its limits, goes nowhere else, survives bad ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from farm import BAD, NOWHERE, Farm, Planned, plan, told
from servers import Socks5

from scapy_btc.all import BTCNetAddr, BTCVerack, BTCVersion
from scapy_btc.discovery.addressbook import AddressBook, Told
from scapy_btc.discovery.crawler import Crawler, Progress, summary
from scapy_btc.discovery.reach import Kind
from scapy_btc.discovery.visit import Limits, Visit
from scapy_btc.errors import Refused, StoreError
from scapy_btc.net import connection
from scapy_btc.net.dialing import open_streams
from scapy_btc.net.node import BTCNode
from scapy_btc.networks import MAINNET, REGTEST
from scapy_btc.peer.options import PeerOptions

COUNT = 200
LIMITS = Limits(connect=2, seconds=2, linger=0.3)
KNOWN = [("127.0.0.9", 1)]


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    """200 nodes, two of each bad kind and 30 that close; the others take a while to answer, as Bitcoin Core does."""
    with Farm(plan(COUNT, {kind: 30 if kind == "closes" else 2 for kind in BAD}), delay=0.15) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(farm: Farm) -> None:
    farm.forget()


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Everything that is dialled."""
    ends: list[tuple[str, int]] = []

    async def noted(host: str, port: int, *more: Any) -> Any:
        ends.append((host, port))
        return await open_streams(host, port, *more)

    monkeypatch.setattr(connection, "open_streams", noted)
    return ends


def crawl(book: AddressBook, starts: list[tuple[str, int]], max_nodes: int | None = None, max_time: float | None = None,
          **more: Any) -> Progress:
    crawler = Crawler(book, limits=LIMITS, **more)
    return asyncio.run(crawler.run(starts, max_nodes, max_time))


def on_loopback(path: str | Path = ":memory:") -> AddressBook:
    book = AddressBook(path, REGTEST)
    book.keep_to(Kind.LOOPBACK)
    return book


def check_found(book: AddressBook, farm: Farm) -> None:
    """The book holds just what there is to be found, and what is wrong with the others."""
    rows = {(row["address"], row["port"]): row for row in book.rows()}
    for node, end in zip(farm.planned, farm.ends, strict=True):
        row = rows[end]
        assert (row["success"] is not None) == node.reached, (node.kind, row)
        assert row["tried"] and not row["pending"]
        if node.reached:
            assert row["user_agent"] == node.agent.decode() and row["services"] == 9
            assert (row["latency"] is None) == (node.kind == "huge")  # too busy to answer pings
        else:
            assert row["error"] and row["reason"]
    others = set(rows) - set(farm.ends)
    assert all(host.startswith(("127.200.", "127.250.")) for host, _ in others) and ("127.250.0.1", 1) in others
    assert {rows[end]["error"] for end in others} == {"refused"}


def test_finds_all_and_goes_nowhere_else(farm: Farm, dialled: list[tuple[str, int]]) -> None:
    visits: list[Visit] = []
    with on_loopback() as book:
        progress = crawl(book, farm.ends[:1], concurrency=40, rate=500, on_visit=visits.append)
        check_found(book, farm)
        counts = summary(book)
    assert progress.finished and not progress.resumed and progress.open == 0
    reached = sum(node.reached for node in farm.planned)
    assert progress.reached == reached == counts["reached"][1]
    assert progress.visited == len(visits) == len(dialled) == progress.known
    assert len(set(dialled)) == len(dialled), "a node was dialled twice"
    assert set(farm.visits.values()) == {1} and len(farm.visits) == COUNT
    assert not set(dialled) & set(NOWHERE[:4])
    assert progress.refused == 4 * 2  # what the two liars told
    assert counts["errors"]["timed-out"] == 6 and counts["errors"]["too-much"] == 2 + 0
    assert counts["errors"]["disconnected"] == 30
    speechless = sum(node.kind in ("speechless", "huge") for node in farm.planned)
    assert progress.answered == reached - speechless


@pytest.fixture(scope="module")
def attentive() -> Iterator[Farm]:
    """100 nodes that notice at once when a connection is closed."""
    with Farm(plan(100, {"silent": 6, "closes": 10}), delay=0.15) as running:
        yield running


def test_so_many_connections_at_a_time(attentive: Farm) -> None:
    attentive.forget()
    with on_loopback() as book:
        crawl(book, attentive.ends[:1], concurrency=12, rate=2000)
    assert len(attentive.starts) == 100
    assert 11 <= attentive.most <= 12 + 6, attentive.most  # and those that were closed a moment ago


def test_so_many_new_connections_in_a_second(attentive: Farm) -> None:
    """At a rate of 50 a second holds 50 connections, however many the crawler may open at a time."""
    attentive.forget()
    with on_loopback() as book:
        for node in attentive.ends:
            book.add_user(*node, int(time.time()))
        crawl(book, [], concurrency=1000, rate=50)
    starts = sorted(attentive.starts)
    assert len(starts) == 100
    most = max(sum(start <= other < start + 1 for other in starts) for start in starts)
    assert 35 <= most <= 50 + 5, most


def test_stops_after_so_many_and_goes_on(farm: Farm, tmp_path: Path) -> None:
    path = tmp_path / "crawl.db"
    with on_loopback(path) as book:
        progress = crawl(book, farm.ends[:1], max_nodes=40, concurrency=40, rate=500)
        assert progress.visited == 40 == len(farm.starts) and not progress.finished and not progress.resumed
    with AddressBook(path, REGTEST) as book:
        assert crawl(book, [], max_nodes=0).visited == 0
        started = time.monotonic()
        progress = crawl(book, [], max_time=0.4, rate=100)
        assert 0.3 < time.monotonic() - started < 2
        assert progress.resumed and not progress.finished
    with AddressBook(path, REGTEST) as book:
        progress = crawl(book, [], concurrency=40, rate=500)
        assert progress.resumed and progress.finished
        check_found(book, farm)
        assert max(farm.visits.values()) <= 2  # those that were cut off are visited again
        assert crawl(book, [], max_nodes=0).resumed is False  # a new run


def test_one_process_at_a_time(farm: Farm, tmp_path: Path) -> None:
    with on_loopback(tmp_path / "crawl.db") as book, book.alone(), pytest.raises(StoreError, match="another process"):
        crawl(book, farm.ends[:1])


def test_stop(farm: Farm) -> None:
    async def run() -> Progress:
        with on_loopback() as book:
            crawler = Crawler(book, rate=50, limits=LIMITS)
            asyncio.get_running_loop().call_later(0.5, crawler.stop)
            return await crawler.run(farm.ends[:1])

    started = time.monotonic()
    progress = asyncio.run(run())
    assert time.monotonic() - started < 2 and not progress.finished and 0 < progress.visited < 40


def test_a_store_that_fails_ends_it(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise StoreError("crawl.db: database or disk is full")

    with on_loopback() as book:
        monkeypatch.setattr(book, "tried", full)
        with pytest.raises(StoreError, match="disk is full"):
            crawl(book, farm.ends[:1])


def test_what_an_earlier_crawl_left_is_not_dialled(farm: Farm, dialled: list[tuple[str, int]]) -> None:
    """A book may hold routable addresses when a crawl is told to stay on loopback."""
    with AddressBook(":memory:", REGTEST) as book:
        assert book.add([Told("8.8.8.8", 8333, 9, int(time.time()))], "1.1.1.1", int(time.time())).new == 1
        book.keep_to(Kind.LOOPBACK)
        assert crawl(book, farm.ends[:1], max_nodes=5).visited == 5
    assert ("8.8.8.8", 8333) not in dialled and len(dialled) == 5


def test_on_a_public_network_loopback_is_not_dialled_unless_named(dialled: list[tuple[str, int]]) -> None:
    """Somebody's own node on mainnet is a start; what it tells of loopback and private networks is not dialled."""
    async def run() -> Progress:
        options = PeerOptions(MAINNET)
        async with BTCNode(options=options) as node:
            lies = [("127.0.0.1", 22), ("127.0.0.2", 8333), ("10.0.0.1", 8333), ("fd00::1", 8333), ("::1", 8333)]
            node.when("getaddr", lambda packet, connection: [told(lies, v2=True)])
            with AddressBook(":memory:", MAINNET) as book:
                return await Crawler(book, limits=LIMITS).run([node.address])

    progress = asyncio.run(run())
    assert (progress.visited, progress.reached, progress.told, progress.refused) == (1, 1, 5, 5)
    assert len(dialled) == 1


def test_networks_that_cannot_be_reached_are_kept_and_not_dialled(dialled: list[tuple[str, int]]) -> None:
    others = [("pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion", 8333), ("fc00::5", 8333),
              ("ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p", 0)]

    async def run() -> None:
        options = PeerOptions(MAINNET)
        async with BTCNode(options=options) as node, BTCNode(options=options, addresses=KNOWN) as hidden:
            node.when("getaddr", lambda packet, connection: [told(others, v2=True)])
            with AddressBook(":memory:", MAINNET) as book:
                progress = await Crawler(book, limits=LIMITS).run([node.address])
                assert (progress.visited, progress.known, progress.finished) == (1, 4, True)
                assert summary(book)["pending"] == {4: 1, 5: 1, 6: 1}
                with Socks5({others[0][0]: hidden.address}) as proxy:
                    progress = await Crawler(book, limits=LIMITS, proxy=proxy.text).run([])
                    assert (progress.visited, progress.reached) == (2, 2)
                    assert sorted(proxy.asked) == sorted([others[0], node.address])
                assert summary(book)["pending"] == {5: 1, 6: 1}

    asyncio.run(run())


def test_ipv6() -> None:
    async def run() -> None:
        async with BTCNode(host="::1", addresses=KNOWN) as last, BTCNode(host="::1", addresses=KNOWN) as node:
            node.when("getaddr", lambda packet, connection: [told([last.address, *KNOWN], v2=True)])
            with on_loopback() as book:
                progress = await Crawler(book, limits=LIMITS).run([node.address])
                assert progress.reached == 2 and summary(book)["reached"] == {2: 2}

    asyncio.run(run())


def test_names() -> None:
    async def run() -> None:
        async with BTCNode(addresses=KNOWN) as node:
            port = node.address[1]
            with on_loopback() as book:
                progress = await Crawler(book, limits=LIMITS).run([("localhost", port), ("no.such.invalid", 1)])
                assert ("127.0.0.1", port) in {(row["address"], row["port"]) for row in book.rows()}
                assert progress.reached == 1
            with on_loopback() as book, Socks5({"seed.example": node.address}) as proxy:
                progress = await Crawler(book, limits=LIMITS, proxy=proxy.text).run([("seed.example", port)])
                assert proxy.asked[0] == ("seed.example", port)  # the proxy resolves it
                assert (progress.reached, [row["address"] for row in book.rows()]) == (1, ["127.0.0.9"])
            with on_loopback() as book, pytest.raises(Refused, match=r"no\.such\.invalid: the name is not known"):
                await Crawler(book).run([("no.such.invalid", 1)])

    asyncio.run(run())


def test_our_own_address() -> None:
    async def run() -> None:
        async with BTCNode(addresses=KNOWN) as node:
            node.when("version", lambda packet, connection: [
                BTCVersion(receiver_address=BTCNetAddr(ip="127.5.5.5")), BTCVerack()])
            with on_loopback() as book:
                crawler = Crawler(book, limits=LIMITS)
                await crawler.run([node.address])
                assert crawler.external.votes == [("127.5.5.5", 1)]

    asyncio.run(run())


def test_a_plan_is_connected() -> None:
    """Of the farm itself: whoever asks those that speak hears of all."""
    planned = plan(COUNT, dict.fromkeys(BAD, 5))
    assert sum(node.kind == "polite" for node in planned) == COUNT - 5 * len(BAD)
    assert isinstance(planned[0], Planned) and planned[0].kind == "polite"
