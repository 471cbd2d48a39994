# SPDX-License-Identifier: GPL-2.0-or-later
"""The address book: what it takes and how much, what it remembers, what survives."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scapy_btc.discovery.addressbook import USER, AddressBook, Told
from scapy_btc.discovery.reach import Kind
from scapy_btc.errors import FormatError, StoreError
from scapy_btc.networks import MAINNET, REGTEST

NOW = 1_795_000_000
DAY = 86_400
ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
I2P = "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p"
VERSION = {"version": 70016, "services": 9, "user_agent": "/Satoshi:28.1.0/", "start_height": 5}


@pytest.fixture
def book(tmp_path: Path) -> Iterator[AddressBook]:
    with AddressBook(tmp_path / "book.db", MAINNET) as opened:
        yield opened


def row(book: AddressBook, address: str) -> dict[str, Any]:
    return next(row for row in book.rows() if row["address"] == address)


def some(count: int, start: int = 0, time: int = NOW) -> list[Told]:
    return [Told(f"8.{i >> 16}.{i >> 8 & 255}.{i & 255}", 8333, 9, time) for i in range(start, start + count)]


def test_what_is_taken(book: AddressBook) -> None:
    told = [Told(address, port, 1, NOW) for address, port in (
        ("8.8.8.8", 8333), ("8.8.8.8", 8334), ("8.8.8.8", 8333), ("2001::1", 8333), (ONION, 8333), (I2P, 0),
        ("fc00:1:2:3:4:5:6:7", 8333), ("8.8.8.9", 0), (ONION, 0), ("127.0.0.1", 8333), ("10.0.0.1", 8333),
        ("192.0.2.1", 8333), ("6hzph5hv6337r6p2.onion", 8333), ("aabb", 8333), ("8.8.8.10", 65536), ("8.8.8.11", -1))]
    added = book.add(told, "1.2.3.4", NOW)
    assert added == (6, 1, {"invalid": 7, "loopback": 1, "private": 1})
    assert [(entry["network_id"], entry["address"], entry["port"]) for entry in book.rows()] == [
        (1, "8.8.8.8", 8333), (1, "8.8.8.8", 8334), (2, "2001::1", 8333), (4, ONION, 8333), (5, I2P, 0),
        (6, "fc00:1:2:3:4:5:6:7", 8333)]
    assert book.add(told, "1.2.3.5", NOW).new == 0
    assert row(book, ONION)["source"] == "1.2.3.4"
    book.keep_to(Kind.LOOPBACK)
    assert book.add(told, "1.2.3.5", NOW).new == 1 and row(book, "127.0.0.1")


@pytest.mark.parametrize(("said", "kept"), [
    (NOW - 5, NOW - 5),
    (NOW + 600, NOW + 600),
    (NOW + 601, NOW - 5 * DAY),  # as Bitcoin Core dates what comes from the future, or has no sensible time
    (2**32 - 1, NOW - 5 * DAY),
    (100_000_000, NOW - 5 * DAY),
    (0, NOW - 5 * DAY),
    (100_000_001, 100_000_001),
])
def test_times(book: AddressBook, said: int, kept: int) -> None:
    book.add([Told("8.8.8.8", 8333, 1, said)], "1.2.3.4", NOW)
    assert row(book, "8.8.8.8")["last_seen"] == kept and row(book, "8.8.8.8")["first_seen"] == NOW


def test_last_seen_grows(book: AddressBook) -> None:
    for said, kept in ((NOW - DAY, NOW - DAY), (NOW - 2 * DAY, NOW - DAY), (NOW, NOW), (NOW + 9 * DAY, NOW)):
        book.add([Told("8.8.8.8", 8333, 1, said)], "1.2.3.4", NOW)
        assert row(book, "8.8.8.8")["last_seen"] == kept


def test_services_have_64_bits(book: AddressBook) -> None:
    book.add([Told("8.8.8.8", 8333, 2**64 - 1, NOW)], "1.2.3.4", NOW)
    assert row(book, "8.8.8.8")["services"] == 2**64 - 1
    book.tried("8.8.8.8", 8333, NOW, version={**VERSION, "services": 1 << 63})
    assert row(book, "8.8.8.8")["services"] == 1 << 63


def test_one_host_can_add_so_many(tmp_path: Path) -> None:
    with AddressBook(tmp_path / "book.db", MAINNET, per_source=100, total=250) as book:
        assert book.add(some(150), "1.1.1.1", NOW) == (100, 0, {"too many": 50})
        assert book.add(some(300), "1.1.1.1", NOW) == (0, 100, {"too many": 200})
        assert book.add(some(300), "1.1.1.2", NOW) == (100, 100, {"too many": 100})
        assert book.add(some(300), "1.1.1.3", NOW) == (50, 200, {"too many": 50})
        assert book.add(some(10, start=1000), "1.1.1.4", NOW) == (0, 0, {"too many": 10})
        assert book.size == len(list(book.rows())) == 250
    with AddressBook(tmp_path / "book.db", MAINNET, total=251) as book:
        assert book.add(some(10, start=1000), "1.1.1.4", NOW) == (1, 0, {"too many": 9})


def test_many_at_once_are_fast(book: AddressBook) -> None:
    """A thousand addresses, as one message holds, must not hold up a crawl: 15 ms here."""
    book.add(some(50_000), USER, NOW)
    started = time.perf_counter()
    for source in range(20):
        assert book.add(some(1000, start=60_000 + 1000 * source), f"1.1.1.{source}", NOW).new == 1000
    assert (time.perf_counter() - started) / 20 < 0.1


def test_what_came_of_attempts(book: AddressBook) -> None:
    book.add(some(1), "1.1.1.1", NOW)
    for number in (1, 2):
        book.tried("8.0.0.0", 8333, NOW + number, "refused", "Connection refused")
    entry = row(book, "8.0.0.0")
    assert (entry["tried"], entry["success"], entry["failures"], entry["error"], entry["reason"]) == (
        NOW + 2, None, 2, "refused", "Connection refused")
    assert not list(book.rows(only_reached=True))
    book.tried("8.0.0.0", 8333, NOW + 3, version=VERSION, latency=0.25, addresses=7, transport="v2")
    entry = row(book, "8.0.0.0")
    assert {name: entry[name] for name in VERSION} == VERSION
    assert (entry["success"], entry["successes"], entry["failures"], entry["latency"], entry["addresses"],
            entry["transport"], entry["error"]) == (NOW + 3, 1, 0, 0.25, 7, "v2", None)
    assert len(list(book.rows(only_reached=True))) == 1
    book.tried("8.0.0.0", 8333, NOW + 4, "timed-out", "no handshake")
    entry = row(book, "8.0.0.0")
    assert (entry["success"], entry["successes"], entry["failures"], entry["user_agent"], entry["transport"]) == (
        NOW + 3, 1, 1, "/Satoshi:28.1.0/", "v2")
    book.tried("9.9.9.9", 8333, NOW)  # not in the book
    assert book.size == 1


def test_the_best_come_first(book: AddressBook) -> None:
    book.add([Told(f"8.8.8.{i}", 8333, 9, NOW - i) for i in range(6)] + [Told("2001::1", 8333, 9, NOW)], "1.1.1.1", NOW)
    for last in range(3):
        book.tried("8.8.8.0", 8333, NOW + last, "refused")
    book.tried("8.8.8.5", 8333, NOW + 1, version=VERSION)
    book.tried("8.8.8.4", 8333, NOW + 2, version=VERSION)
    book.tried("8.8.8.1", 8333, NOW + 2, "refused")
    best = book.best(10, (1,), NOW + 10)
    assert [address[-1] for address, *_ in best] == ["4", "5", "2", "3", "1"]  # three failures: 8.8.8.0 is given up
    assert book.best(2, (1,), NOW + 10) == best[:2]
    assert ("2001::1", 8333, 9) in book.best(10, (1, 2), NOW + 10)


def test_what_is_given_up(book: AddressBook) -> None:
    """Bitcoin Core's rules: three failures and never a success, ten and none for a week, unheard of for 30 days."""
    book.add(some(5), "1.1.1.1", NOW)
    book.add([Told("9.9.9.9", 8333, 9, NOW - 31 * DAY)], "1.1.1.1", NOW)
    for count, number, success in ((3, 0, None), (2, 1, None), (10, 2, NOW - 8 * DAY), (10, 3, NOW - 6 * DAY),
                                   (9, 4, NOW - 8 * DAY)):
        if success:
            book.tried(f"8.0.0.{number}", 8333, success, version=VERSION)
        for _ in range(count):
            book.tried(f"8.0.0.{number}", 8333, NOW, "refused")
    assert not book.begin_run(NOW)
    assert [entry["address"] for entry in book.rows()] == ["8.0.0.1", "8.0.0.3", "8.0.0.4"]
    assert book.size == 3


def test_runs(book: AddressBook) -> None:
    book.add(some(3), "1.1.1.1", NOW)
    assert not book.begin_run(NOW)
    rows = book.pending(10, (1, 2))
    assert len(rows) == 3
    book.done(rows[0][0])
    assert book.begin_run(NOW + 1)  # goes on
    assert [each[0] for each in book.pending(10, (1, 2))] == [each[0] for each in rows[1:]]
    assert book.pending(10, (2, 4)) == []
    book.end_run(NOW + 2)
    assert not book.begin_run(NOW + 3)
    assert len(book.pending(10, (1, 2))) == 3


def test_false_addresses_do_not_push_others_back(book: AddressBook) -> None:
    """Who tells false addresses says that he has just seen them; so half of those chosen are the eldest."""
    book.add(some(10, time=NOW - DAY), "1.1.1.1", NOW)
    book.add(some(1000, start=100, time=NOW), "6.6.6.6", NOW)
    chosen = book.pending(10, (1,))
    assert len(chosen) == 20 and {address for _, address, *_ in chosen} >= {each.address for each in some(10)}
    assert {services for *_, services in chosen} == {9}


def test_what_the_user_names_is_taken_whatever_it_is(book: AddressBook) -> None:
    book.add_user("127.0.0.1", 8333, NOW)
    book.add_user("[::1]", 8333, NOW)
    assert book.may_dial("127.0.0.1", USER) and not book.may_dial("127.0.0.1", "1.1.1.1")
    assert [entry["address"] for entry in book.rows()] == ["127.0.0.1", "::1"]
    book.add(some(1), "1.1.1.1", NOW)
    book.add_user("8.0.0.0", 8333, NOW)
    assert row(book, "8.0.0.0")["source"] == USER
    with pytest.raises(FormatError):
        book.add_user("node.example", 8333, NOW)


# The file


def test_a_file_belongs_to_a_network(tmp_path: Path) -> None:
    with AddressBook(tmp_path / "book.db", MAINNET) as book:
        book.keep_to(Kind.PRIVATE)
    with pytest.raises(StoreError, match=r"book\.db: an address book of mainnet, not of regtest"):
        AddressBook(tmp_path / "book.db", REGTEST)
    with AddressBook(tmp_path / "book.db", MAINNET) as book:
        assert book.kind is Kind.PRIVATE


@pytest.mark.parametrize(("content", "text"), [
    (b"not a database, but long enough to be seen as none" * 20, "file is not a database"),
    ("CREATE TABLE mine (x)", "not an address book"),
    ("PRAGMA user_version = 1", None),
])
def test_other_files_are_left_alone(tmp_path: Path, content: bytes | str, text: str | None) -> None:
    path = tmp_path / "other.db"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as other:
            other.execute(content)
        other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=text or "not an address book"):
        AddressBook(path, MAINNET)
    assert path.read_bytes() == before


def test_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    AddressBook(tmp_path / "book.db", MAINNET).close()
    with sqlite3.connect(tmp_path / "book.db") as newer:
        newer.execute("PRAGMA user_version = 3")
    newer.close()
    with pytest.raises(StoreError, match="of version 3, which this program does not know"):
        AddressBook(tmp_path / "book.db", MAINNET)


@pytest.mark.parametrize("path", ["/nowhere/book.db", "/"])
def test_a_file_that_cannot_be_made(path: str) -> None:
    with pytest.raises(StoreError, match=f"^{path}: "):
        AddressBook(path, MAINNET)


def test_a_failure_undoes_a_whole_transaction(book: AddressBook) -> None:
    with pytest.raises(ZeroDivisionError), book.transaction():
        book.add(some(5), "1.1.1.1", NOW)
        raise ZeroDivisionError
    assert not list(book.rows()) and book.size == 0


WRITER = """
import sys
from scapy_btc.discovery.addressbook import AddressBook, Told
from scapy_btc.networks import MAINNET
path, part, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with AddressBook(path, MAINNET) as book:
    for page in range(count):
        told = [Told(f"8.{part}.{page}.{i}", 8333, 9, 1795000000) for i in range(100)]
        book.add(told, f"1.1.{part}.{page}", 1795000000)
        print(page, flush=True)
"""


def writer(path: Path, part: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(part), str(count)], stdout=subprocess.PIPE,
                            text=True)


def test_two_processes_write_at_a_time(tmp_path: Path) -> None:
    processes = [writer(tmp_path / "book.db", part, 50) for part in range(2)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with AddressBook(tmp_path / "book.db", MAINNET) as book:
        assert book.size == 10_000


def test_a_killed_writer_leaves_whole_transactions(tmp_path: Path) -> None:
    process = writer(tmp_path / "book.db", 0, 250)
    assert process.stdout
    for _ in range(3):
        said = process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    with AddressBook(tmp_path / "book.db", MAINNET) as book:
        assert book.size % 100 == 0 and 100 * (int(said) + 1) <= book.size < 25_000
        assert book.counts("source", limit=1)[0][1] == 100
        assert book.add(some(1, start=60_000), "1.1.1.1", NOW).new == 1
