# SPDX-License-Identifier: GPL-2.0-or-later
"""Headers in a file: going on, reorganisations, killed and concurrent processes, files that are something else."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from real_headers import in_a_row, mine, time_of

from scapy_btc.chain.headers import HeaderChain
from scapy_btc.chain.proof_of_work import decode_bits, encode_bits
from scapy_btc.discovery.header_store import HeaderStore
from scapy_btc.errors import BTCError, StoreError
from scapy_btc.networks import MAINNET, REGTEST, TESTNET3, TESTNET4, by_name
from scapy_btc.wire.hashes import sha256d

START = 1_700_000_000


def grown(chain: HeaderChain, count: int, mark: int = 0, height: int | None = None) -> HeaderChain:
    """The chain with so many more headers, from its tip or another height on."""
    last = chain.at(chain.height if height is None else height)
    for _ in range(count):
        last = mine(last, max(START, time_of(last)) + 600, mark=mark)
        chain.add(last)
    return chain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "headers.sqlite"


def stored(path: Path) -> list[bytes]:
    with HeaderStore(path, REGTEST) as store:
        return list(store.chain())


def test_a_second_run_goes_on(path: Path) -> None:
    with HeaderStore(path, REGTEST) as store:
        chain = store.chain()
        assert list(chain) == [REGTEST.genesis]
        store.save(grown(chain, 2500))
        store.save(chain)
    with HeaderStore(path, REGTEST) as store:
        again = store.chain()
        assert (list(again), again.work, again.tip) == (list(chain), chain.work, chain.tip)
        store.save(grown(again, 3))
        store.save(chain)  # an older state takes nothing back
    assert stored(path) == list(again) and again.height == 2503
    assert os.listdir(path.parent) == ["headers.sqlite"]


def test_real_headers_of_several_networks_in_one_file(path: Path) -> None:
    headers = in_a_row("headers-testnet4-0.dat")
    with HeaderStore(path, TESTNET4) as store:
        chain = store.chain()
        for header in headers[1:]:
            chain.add(header)
        store.save(chain)
    with HeaderStore(path, REGTEST) as store:
        store.save(grown(store.chain(), 5))
    with HeaderStore(path, TESTNET4) as store, HeaderStore(path, MAINNET) as other:
        assert list(store.chain()) == headers and list(other.chain()) == [MAINNET.genesis]
    assert len(stored(path)) == 6
    # what other programs see
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT network, count(*), max(height) FROM header GROUP BY 1 ORDER BY 1").fetchall()
        assert rows == [("regtest", 6, 5), ("testnet4", 101, 100)]
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_reorganisation_replaces_what_it_replaced(path: Path) -> None:
    with HeaderStore(path, REGTEST) as store:
        chain = grown(store.chain(), 20)
        store.save(chain)
        left = list(chain)
        store.save(grown(chain, 8, mark=1, height=15))
        assert chain.height == 23 and stored(path) == list(chain) != left
        assert stored(path)[:16] == left[:16]
        # the same work from another process: the first stays
        other = grown(HeaderChain(REGTEST, b"".join(left[:16])), 8, mark=2)
        store.save(other)
        assert stored(path) == list(chain)
        store.save(grown(other, 1))
        assert stored(path) == list(other)


def test_more_work_with_fewer_headers_replaces(path: Path) -> None:
    first = mine(b"", START, hard := encode_bits(decode_bits(0x207FFFFF).target >> 6))
    network = replace(TESTNET3, name="easy", genesis=first, pow_limit=REGTEST.pow_limit)
    long, short = HeaderChain(network), HeaderChain(network)
    for _ in range(9):
        long.add(mine(long.at(long.height), time_of(long.at(long.height)) + 1201))
    short.add(mine(first, START + 600, hard))
    with HeaderStore(path, network) as store:
        store.save(long)
        store.save(short)
        assert list(store.chain()) == list(short)
        store.save(long)
        assert list(store.chain()) == list(short)


def test_only_whole_chains_of_the_network_are_kept(path: Path) -> None:
    with HeaderStore(path, REGTEST) as store:
        for chain in (HeaderChain(MAINNET), HeaderChain(REGTEST, mine(b"", START), 7)):
            with pytest.raises(BTCError, match="keeps chains of regtest from height 0, not of"):
                store.save(chain)
    with HeaderStore(path, by_name("litecoin")) as store, pytest.raises(BTCError, match="litecoin are not known"):
        store.chain()


# Files that are something else, or damaged


@pytest.mark.parametrize(("content", "text"), [
    (b"this is a text of somebody, long enough to be taken for a database " * 20, "file is not a database"),
    (b"SQLite format 3\0" + bytes(84), "file is not a database|malformed"),
    (b"a note", "file is not a database"),
])
def test_other_files_are_refused_and_stay_as_they_are(path: Path, content: bytes, text: str) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"headers\.sqlite: ({text})"):
        HeaderStore(path, REGTEST)
    assert path.read_bytes() == content and os.listdir(path.parent) == [path.name]


def test_databases_of_others_are_refused_and_stay_as_they_are(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executescript("CREATE TABLE header (network, height, header); INSERT INTO header VALUES ('regtest', 0, 1)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"headers\.sqlite: not a store of headers"):
        HeaderStore(path, REGTEST)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_a_later_version_is_refused(path: Path) -> None:
    HeaderStore(path, REGTEST).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(StoreError, match="a store of headers of version 2, which this program does not know"):
        HeaderStore(path, REGTEST)


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no" / "such" / "folder"):
        with pytest.raises(StoreError, match=f"{path.name}: unable to open database file"):
            HeaderStore(path, REGTEST)


@pytest.mark.parametrize(("statement", "reason"), [
    ("DELETE FROM header WHERE height = 0", "header 0 is missing"),
    ("DELETE FROM header WHERE height = 30", "header 30 is missing"),
    ("UPDATE header SET header = x'00' WHERE height = 30", "header 30 is missing"),
    ("UPDATE header SET header = (SELECT header FROM header WHERE height = 8) WHERE height = 30", "header 30 does not"),
    ("UPDATE header SET header = zeroblob(80) WHERE height = 50", "header 50 does not"),
    ("UPDATE header SET header = zeroblob(80) WHERE height = 0", "header 0 has no proof of work"),
    ("UPDATE header SET network = 'testnet4'", "genesis block of testnet4"),
])
def test_damage_is_told(path: Path, statement: str, reason: str) -> None:
    with HeaderStore(path, REGTEST) as store:
        store.save(grown(store.chain(), 50))
    database = sqlite3.connect(path)
    database.execute(statement)
    database.commit()
    database.close()
    network = TESTNET4 if "testnet4" in statement else REGTEST
    with HeaderStore(path, network) as store, pytest.raises(StoreError, match=f"damaged: .*{reason}.*; delete the"):
        store.chain()


def test_the_last_header_is_checked_too(path: Path) -> None:
    with HeaderStore(path, REGTEST) as store:
        store.save(grown(store.chain(), 3))
        last = store.chain().at(3)
    changed = next(last[:76] + nonce.to_bytes(4, "little") for nonce in range(100)
                   if sha256d(last[:76] + nonce.to_bytes(4, "little"))[31] >= 0x80)
    database = sqlite3.connect(path)
    database.execute("UPDATE header SET header = ? WHERE height = 3", (changed,))
    database.commit()
    database.close()
    with HeaderStore(path, REGTEST) as store, pytest.raises(StoreError, match="header 3 has no proof of work"):
        store.chain()


# Processes

WORKER = """
import sys
sys.path[:0] = sys.argv[4].split(":")
from test_header_store import grown
from scapy_btc.discovery.header_store import HeaderStore
from scapy_btc.networks import REGTEST
path, mark, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _ in range(rounds):
    with HeaderStore(path, REGTEST) as store:
        chain = store.chain()
        print(chain.height, flush=True)
        store.save(grown(chain, 20, mark))
"""
PATHS = ":".join(str(folder) for folder in (Path(__file__).parent, Path(__file__).parents[1]))


def worker(path: Path, mark: int, rounds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(path), str(mark), str(rounds), PATHS],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_killed_process_leaves_a_whole_chain(path: Path) -> None:
    height = 0
    for number in range(4):
        process = worker(path, number, 1_000_000)
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        time.sleep(number * 0.007)  # anywhere in a round
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        chain = stored(path)
        assert len(chain) - 1 >= height + 4 * 20 and (len(chain) - 1) % 20 == 0
        height = len(chain) - 1


def test_two_processes_at_once(path: Path) -> None:
    processes = [worker(path, mark, 40) for mark in range(3)]
    for process in processes:
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, complaints.decode()
    chain = stored(path)
    assert (len(chain) - 1) % 20 == 0 and len(chain) - 1 >= 40 * 20
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_file_that_is_locked_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HeaderStore(path, REGTEST).close()
    whole = sqlite3.connect
    other = whole(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(sqlite3, "connect", lambda name, **options: whole(name, **{**options, "timeout": 0.1}))
    with pytest.raises(StoreError, match=r"headers\.sqlite: database is locked"):
        HeaderStore(path, REGTEST)
    other.close()


def test_a_hundred_thousand_headers_load_quickly(path: Path) -> None:
    chain = grown(HeaderChain(REGTEST), 50_000)
    with HeaderStore(path, REGTEST) as store:
        store.save(chain)
        start = time.process_time()
        assert store.chain().tip == chain.tip
        assert time.process_time() - start < 3
