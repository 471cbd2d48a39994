# SPDX-License-Identifier: GPL-2.0-or-later
"""The crawler on a farm of 200 nodes: finds all, keeps its limits, goes nowhere else, survives bad ones."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from farm import BAD, BAD_V2, NOWHERE, Farm, Planned, plan, told
from misbehaving import says, serving
from servers import Socks5

from scapy_btc.all import BTCNetAddr, BTCVerack, BTCVersion
from scapy_btc.discovery.addressbook import AddressBook, Told
from scapy_btc.discovery.crawler import Crawler, Progress, summary
from scapy_btc.discovery.reach import Kind
from scapy_btc.discovery.visit import Limits, Visit, visit_all
from scapy_btc.errors import ProxyDown, Refused, StoreError
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
    """200 nodes, two of each bad kind, 30 that close, 10 that are said to speak v2 and do not; the others speak v1, v2
    or both, and take a while to answer, as Bitcoin Core does."""
    kinds = {**dict.fromkeys((*BAD, *BAD_V2), 2), "closes": 30, "only-v1": 10}
    with Farm(plan(COUNT, kinds), delay=0.15) as running:
        yield running


@pytest.fixture(scope="module")
def attentive() -> Iterator[Farm]:
    """60 nodes that notice at once when a connection is closed."""
    with Farm(plan(60, {"closes": 8, "only-v1": 6}), delay=0.15) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(farm: Farm, attentive: Farm) -> None:
    farm.forget()
    attentive.forget()


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
          limits: Limits = LIMITS, **more: Any) -> Progress:
    crawler = Crawler(book, limits=limits, **more)
    return asyncio.run(crawler.run(starts, max_nodes, max_time))


def on_loopback(path: str | Path = ":memory:") -> AddressBook:
    book = AddressBook(path, REGTEST)
    book.keep_to(Kind.LOOPBACK)
    return book


def check_found(book: AddressBook, farm: Farm) -> None:
    """The book holds what there is to be found, and what is wrong with those that were not reached."""
    rows = {(row["address"], row["port"]): row for row in book.rows()}
    for node, end in zip(farm.planned, farm.ends, strict=True):
        row = rows[end]
        assert (row["success"] is not None) == node.reached, (node.kind, row)
        assert row["tried"] and not row["pending"]
        if node.reached:
            assert row["user_agent"] == node.agent.decode() and row["services"] == node.services
            assert row["transport"] == ("v1" if node.transport == "v1" else "v2")
            assert (row["latency"] is None) == (node.kind == "huge")  # too busy to answer pings
        else:
            assert row["error"] and row["reason"] and row["transport"] is None


def test_finds_all_and_goes_nowhere_else(farm: Farm, dialled: list[tuple[str, int]]) -> None:
    visits: list[Visit] = []
    with on_loopback() as book:
        progress = crawl(book, farm.ends[:1], concurrency=40, rate=500, on_visit=visits.append)
        check_found(book, farm)
        counts = summary(book)
        errors = {(row["address"], row["port"]): row["error"] for row in book.rows()}
    assert progress.finished and not progress.resumed and progress.open == 0
    reached = sum(node.reached for node in farm.planned)
    assert progress.reached == reached == counts["reached"][1]
    assert progress.visited == len(visits) == len(set(dialled)) == progress.known
    assert farm.visits == {node.number: node.connections for node in farm.planned}
    twice = {farm.ends[node.number] for node in farm.planned if node.kind == "only-v1"}
    assert {end for end, count in Counter(dialled).items() if count > 1} == twice and len(twice) == 10
    assert len(dialled) == progress.visited + 10
    others = set(errors) - set(farm.ends)
    assert all(host.startswith(("127.200.", "127.250.")) for host, _ in others) and ("127.250.0.1", 1) in others
    assert {errors[end] for end in others} == {"refused"}
    assert not set(dialled) & set(NOWHERE[:4])
    assert progress.refused == {"routable": 2, "private": 2, "invalid": 4}  # what the two liars told; no port either
    assert progress.new == progress.known - 1
    assert counts["errors"]["timed-out"] == 6 + 4 and counts["errors"]["too-much"] == 2 + 2
    assert counts["errors"]["disconnected"] == 30 and counts["errors"]["no-handshake"] == 2 + 4
    in_v1 = sum(node.reached and node.transport == "v1" for node in farm.planned)
    assert counts["transports"] == {"v1": in_v1, "v2": reached - in_v1} and 50 < in_v1 < 100
    speechless = sum(node.kind in ("speechless", "huge") for node in farm.planned)
    assert progress.answered == reached - speechless


def test_so_many_connections_at_a_time(attentive: Farm) -> None:
    with on_loopback() as book:
        crawl(book, attentive.ends[:1], concurrency=12, rate=2000)
    assert attentive.visits == {node.number: node.connections for node in attentive.planned}
    assert 11 <= attentive.most <= 12 + 6, attentive.most  # and those that were closed a moment ago


def test_so_many_new_connections_in_a_second(attentive: Farm) -> None:
    """At a rate of 50 a second holds 50 connections, however many the crawler may open at a time; those count, too,
    that it opens to speak v1 with nodes that did not answer v2."""
    with on_loopback() as book:
        for node in attentive.ends:
            book.add_user(*node, int(time.time()))
        crawl(book, [], concurrency=1000, rate=50)
    starts = sorted(attentive.starts)
    no_answer = sum(node.transport == "v1" for node in attentive.planned)
    assert len(starts) == 60 + no_answer and no_answer > 20
    most = max(sum(start <= other < start + 1 for other in starts) for start in starts)
    assert 35 <= most <= 50 + 5, most


@pytest.mark.parametrize(("transport", "reached"), [("v1", ("v1", "auto")), ("v2", ("v2", "auto"))])
def test_one_transport_for_all(attentive: Farm, transport: Any, reached: tuple[str, ...]) -> None:
    with on_loopback() as book:
        for node in attentive.ends:
            book.add_user(*node, int(time.time()))
        crawl(book, [], concurrency=100, rate=1000, transport=transport)
        assert set(attentive.visits.values()) == {1}
        found = {(row["address"], row["port"]): row["transport"] for row in book.rows() if row["success"]}
    assert found == {end: transport for node, end in zip(attentive.planned, attentive.ends, strict=True)
                     if node.reached and node.transport in reached}


def test_stops_after_so_many_and_goes_on(attentive: Farm, tmp_path: Path) -> None:
    path = tmp_path / "crawl.db"
    with on_loopback(path) as book:
        progress = crawl(book, attentive.ends[:1], max_nodes=20, concurrency=20, rate=500)
        assert progress.visited == 20 == len(attentive.visits) and not progress.finished and not progress.resumed
    with AddressBook(path, REGTEST) as book:
        assert crawl(book, [], max_nodes=0).visited == 0
        started = time.monotonic()
        progress = crawl(book, [], max_time=0.3, rate=50)
        assert 0.2 < time.monotonic() - started < 2
        assert progress.resumed and not progress.finished
    with AddressBook(path, REGTEST) as book:
        progress = crawl(book, [], concurrency=40, rate=500)
        assert progress.resumed and progress.finished
        check_found(book, attentive)
        cut_off = [node for node in attentive.planned if attentive.visits[node.number] > node.connections]
        assert len(cut_off) <= 15  # those are visited again
        assert all(attentive.visits[node.number] <= 2 * node.connections for node in cut_off)
        assert crawl(book, [], max_nodes=0).resumed is False  # a new run


def test_one_process_at_a_time(farm: Farm, tmp_path: Path) -> None:
    with on_loopback(tmp_path / "crawl.db") as book, book.alone(), pytest.raises(StoreError, match="another process"):
        crawl(book, farm.ends[:1])


def test_stop(attentive: Farm) -> None:
    async def run() -> Progress:
        with on_loopback() as book:
            crawler = Crawler(book, rate=50, limits=LIMITS)
            asyncio.get_running_loop().call_later(0.5, crawler.stop)
            return await crawler.run(attentive.ends[:1])

    started = time.monotonic()
    progress = asyncio.run(run())
    assert time.monotonic() - started < 2 and not progress.finished and 0 < progress.visited < 40


@pytest.mark.parametrize("transport", ["v1", "v2"])
def test_who_is_alive_counts_at_once(transport: Any) -> None:
    """Bitcoin Core lets `getaddr` wait, or does not answer it at all; at the end of the crawl that node is kept."""
    seen: list[tuple[int, int, int]] = []
    visits: list[Visit] = []

    async def run() -> Progress:
        async with BTCNode(transport=transport) as node:
            node.when("getaddr", lambda packet, connection: crawler.stop() or [])
            crawler = Crawler(book, limits=Limits(seconds=60), on_visit=visits.append)
            node.when("ping", lambda packet, connection: seen.append(
                (crawler.progress.visited, crawler.progress.reached, crawler.progress.open)) or [])
            return await crawler.run([node.address])

    with on_loopback() as book:
        started = time.monotonic()
        progress = asyncio.run(run())
        assert time.monotonic() - started < 10
        [row] = book.rows()
    assert seen == [(1, 1, 1)] and (progress.visited, progress.reached, progress.finished) == (1, 1, False)
    assert [visit.transport for visit in visits] == [transport]
    assert row["success"] == row["tried"] and row["pending"]  # it is visited again for its addresses
    assert (row["successes"], row["transport"], row["addresses"]) == (1, transport, 0)


def test_no_node_is_blamed_for_a_dead_proxy(tmp_path: Path) -> None:
    async def run(path: Path, gone: bool) -> None:
        async with BTCNode(addresses=[("127.250.0.1", port) for port in range(1, 30)]) as node:
            with on_loopback(path) as book, Socks5({}) as proxy:
                if gone:
                    proxy.close()

                def on_visit(visit: Visit) -> None:
                    proxy.close()

                crawler = Crawler(book, limits=LIMITS, proxy=proxy.text, on_visit=on_visit, rate=500)
                with pytest.raises(ProxyDown, match=f"^no proxy at {proxy.text}: Connection refused$"):
                    await crawler.run([node.address])

    for gone, tried in ((True, 0), (False, 1)):
        asyncio.run(run(tmp_path / f"{tried}.db", gone))
        with AddressBook(tmp_path / f"{tried}.db", REGTEST) as book:
            assert sum(row["tried"] is not None for row in book.rows()) == tried
            assert not any(row["failures"] for row in book.rows())


def test_no_node_is_blamed_for_a_proxy_that_says_nothing() -> None:
    """A node that does not answer through a proxy that works looks the same: the proxy is asked first."""
    limits, visits = Limits(connect=0.3, seconds=0.3), list[Visit]()
    with serving(says(b"")) as port, on_loopback() as book:
        proxy = f"127.0.0.1:{port}"
        with pytest.raises(ProxyDown, match=r"no answer within 0\.3 s$"):
            crawl(book, KNOWN, limits=limits, proxy=proxy)
        with pytest.raises(ProxyDown, match=r"no answer within 0\.3 s$"):
            asyncio.run(visit_all([(*KNOWN[0], "v1")], PeerOptions(), limits, 1, visits.append, proxy))
        assert book.size == 0 and not visits


def test_stop_between_the_two_connections_of_a_visit() -> None:
    """The second one waits for its turn, and is not opened any more."""
    lines: list[str] = []

    async def run() -> Progress:
        async with BTCNode(transport="v1", log=lines.append) as node:
            with on_loopback() as book:
                crawler = Crawler(book, rate=0.1)
                asyncio.get_running_loop().call_later(0.3, crawler.stop)
                return await crawler.run([node.address])

    started = time.monotonic()
    progress = asyncio.run(run())
    assert time.monotonic() - started < 2 and not progress.finished and progress.visited == 0
    assert sum(line.endswith(" connected") for line in lines) == 1


def test_a_low_rate_does_not_cost_a_node_its_time() -> None:
    """What a visit waits for its second connection is not the node's fault."""
    async def run() -> Progress:
        async with BTCNode(transport="v1") as node:
            with on_loopback() as book:
                return await Crawler(book, rate=1, limits=Limits(seconds=0.8)).run([node.address], max_nodes=1)

    assert asyncio.run(run()).reached == 1


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
        assert crawl(book, farm.ends[:1], max_nodes=5, limits=Limits(seconds=0.5)).visited == 5
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
    assert (progress.visited, progress.reached, progress.told, progress.new) == (1, 1, 5, 0)
    assert progress.refused == {"loopback": 3, "private": 2}
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
    """Nodes say in `version` at which address they see us; another one says what it likes."""
    async def run() -> None:
        async with BTCNode(host="127.0.0.2", addresses=KNOWN) as other, BTCNode(addresses=KNOWN) as node:
            with on_loopback() as book:
                crawler = Crawler(book, limits=LIMITS)
                await crawler.run([other.address, node.address])
                assert crawler.external.votes == [("127.0.0.1", 2)]
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
