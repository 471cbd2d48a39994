# SPDX-License-Identifier: GPL-2.0-or-later
"""SQLite files whose rows say what nobody here writes: each is told in one line, and none is used."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from scapy_btc.cli.crawling import named
from scapy_btc.discovery.addressbook import USER, AddressBook, Told
from scapy_btc.discovery.crawler import Crawler, summary
from scapy_btc.discovery.database import Database
from scapy_btc.discovery.export import write_csv
from scapy_btc.discovery.header_store import HeaderStore
from scapy_btc.errors import Refused, StoreError
from scapy_btc.networks import REGTEST

NOW = 1_795_000_000


def change(path: Path, made: Callable[[Path], Database], sql: str) -> None:
    """A file of one row, in which a statement was run by somebody else."""
    made(path).close()
    database = sqlite3.connect(path)
    with database:
        database.execute(sql)
    database.close()


def filled(path: Path) -> AddressBook:
    book = AddressBook(path, REGTEST)
    book.add([Told("127.0.0.1", 18444, 9, NOW)], USER, NOW)
    return book


@pytest.mark.parametrize("sql", [
    "INSERT INTO meta VALUES ('kind', 'far away')",
    "UPDATE address SET address = x'7f000001'",
    "UPDATE address SET port = 'http'",
    "UPDATE address SET port = 65536",
    "UPDATE address SET network_id = 77",
    "UPDATE address SET services = 'many'",
    "UPDATE address SET first_seen = -1",
    "UPDATE address SET tried = 9223372036854775807",
    "UPDATE address SET user_agent = x'1b5b324a'",
    "UPDATE address SET latency = 'long'",
])
def test_an_address_book(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "book.db"
    change(path, filled, sql)
    with pytest.raises(StoreError, match=r"book\.db: damaged: "):
        AddressBook(path, REGTEST)


def test_what_a_crawl_writes_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    with filled(path) as book:
        version = {"version": -1, "services": 2**64 - 1, "user_agent": "\x1b\0\\xff", "start_height": -5}
        book.tried("127.0.0.1", 18444, NOW, version=version, latency=0.5, addresses=0)
        book.add([Told("10.0.0.1", 1, 2**64 - 1, 2**32 - 1)], USER, NOW)
    with AddressBook(path, REGTEST) as book:
        assert book.size == 2


@pytest.mark.parametrize("header", ["'" + "a" * 80 + "'", "5", "NULL", "x'00'"])
def test_a_header_store(tmp_path: Path, header: str) -> None:
    path = tmp_path / "headers.db"
    change(path, lambda where: HeaderStore(where, REGTEST),
           f"INSERT OR IGNORE INTO header VALUES ('regtest', 0, {header})")
    with HeaderStore(path, REGTEST) as store:
        if header == "NULL":  # which the table refuses
            assert store.chain().height == 0
            return
        with pytest.raises(StoreError, match="damaged: header 0 is missing"):
            store.chain()


def test_any_bytes(tmp_path: Path) -> None:
    """Pages changed at random: what cannot be used is a StoreError, whatever is done."""
    path, random = tmp_path / "book.db", Random(1)
    with AddressBook(path, REGTEST) as book:
        book.add([Told(f"127.0.{n >> 8}.{n & 255}", 1, 0, NOW) for n in range(500)], USER, NOW)
    good, refused = path.read_bytes(), 0
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(random.choice((1, 20, 500))):
            bad[random.randrange(len(bad))] = random.randrange(256)
        path.write_bytes(bad)
        try:
            with AddressBook(path, REGTEST) as book:
                named(summary(book)["pending"])
                write_csv(book, str(tmp_path / "out.csv"))
                book.begin_run(NOW)
        except StoreError:
            refused += 1
    assert 50 < refused < 150


def test_an_address_of_no_known_network_begins_no_crawl() -> None:
    with AddressBook(":memory:", REGTEST) as book, pytest.raises(Refused, match=r"^abcd\.net77: no address"):
        asyncio.run(Crawler(book).run([("abcd.net77", 1)]))


def test_the_lock_empties_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "book.db.lock").symlink_to(victim)
    with AddressBook(tmp_path / "book.db", REGTEST) as book, book.alone():
        pass
    assert victim.read_text() == "mine"


def test_a_lock_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "book.db.lock").mkdir()
    with (AddressBook(tmp_path / "book.db", REGTEST) as book,
          pytest.raises(StoreError, match=r"book\.db\.lock: Is a directory"), book.alone()):
        pass
