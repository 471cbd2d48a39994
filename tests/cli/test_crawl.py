# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc crawl`, run as a user runs it: what it prints and writes, and that it goes on after being killed."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from farm import Farm, plan
from servers import Dns, Socks5

from scapy_btc.net.node import BTCNode
from scapy_btc.networks import SIGNET
from scapy_btc.peer.options import PeerOptions

COMMAND = [sys.executable, "-m", "scapy_btc", "crawl"]
LIMITS = ["--rate", "400", "--concurrency", "30", "--timeout", "1.5"]


def run(*args: object, status: int = 0) -> tuple[str, str]:
    """Output and errors of one run that must end with that status."""
    done = subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, f"{done.returncode}: {done.stdout[-500:]}{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    bad = {"silent": 2, "garbage": 2, "closes": 10, "liar": 2, "endless": 2, "other-network": 2, "only-v1": 4,
           "v2-silent": 2}
    with Farm(plan(100, bad, seed=5)) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(farm: Farm) -> None:
    farm.forget()


def end(farm: Farm) -> str:
    host, port = farm.ends[0]
    return f"{host}:{port}"


def results(path: Path) -> list[tuple[Any, ...]]:
    """What a crawl found, without what differs from one to the next: times, and who was the first to tell."""
    with closing(sqlite3.connect(path)) as book:
        return book.execute(
            "SELECT address, port, network_id, services, version, transport, user_agent, start_height,"
            " success IS NOT NULL, successes, failures, addresses, error, pending FROM address"
            " ORDER BY 1, 2").fetchall()


def visited(path: Path) -> int:
    """How many addresses a crawl has visited so far."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as book:
        return int(book.execute("SELECT count(*) FROM address WHERE tried IS NOT NULL").fetchone()[0])
    return 0


def started(path: Path, *args: object, enough: int = 30) -> subprocess.Popen[str]:
    """A crawl that has done something."""
    process = subprocess.Popen([*COMMAND, "--store", str(path), *map(str, args)], text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while visited(path) < enough:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    return process


def test_the_same_after_a_kill(farm: Farm, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole.db", tmp_path / "resumed.db"
    run(end(farm), "--store", whole, *LIMITS)
    assert farm.visits == {node.number: node.connections for node in farm.planned}
    farm.forget()
    for enough in (30, 60):
        process = started(resumed, *([end(farm)] if enough == 30 else []), "--rate", "60", "--timeout", "1.5",
                          enough=enough)
        process.kill()
        process.communicate(timeout=30)
        assert enough <= visited(resumed) < len(results(whole))
    _, err = run("--store", resumed, *LIMITS)
    assert "went on with the crawl that was not finished" in err
    assert results(resumed) == results(whole)
    assert len(results(whole)) > 100
    again = sum(farm.visits[node.number] > node.connections for node in farm.planned)
    assert again <= 16  # what was open at a kill is visited again


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_it_and_the_same_command_goes_on(farm: Farm, tmp_path: Path, number: int, status: int) -> None:
    process = started(tmp_path / "crawl.db", end(farm), "--rate", "60")
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == status and "Traceback" not in err
    assert "not finished; the same command goes on" in err and "went on" not in err
    _, err = run("--store", tmp_path / "crawl.db", end(farm), "-c", 0)
    assert "went on with the crawl that was not finished" in err


def test_what_it_prints(farm: Farm) -> None:
    out, err = run(end(farm), "-T", "jsonl", *LIMITS)
    records = {record["address"]: record for record in map(json.loads, out.splitlines())}
    assert len(records) == len(out.splitlines()) > 100
    for node, (host, port) in zip(farm.planned, farm.ends, strict=True):
        record = records[f"{host}:{port}"]
        assert record["alive"] is node.reached
        if node.reached:
            speaks_v2 = node.transport != "v1"
            assert record["services"] == ["NETWORK", "WITNESS", "P2P_V2"][:2 + speaks_v2]
            assert record["user_agent"] == node.agent.decode() and record["transport"] == f"v{1 + speaks_v2}"
            assert record["latency"] > 0 and record["version"] == 70016 and record["addresses"] > 0
        else:
            assert record["error"] and record["reason"]
    reached = sum(node.reached for node in farm.planned)
    assert f"{len(records)} nodes visited, {reached} reached, {reached} told addresses\n" in err
    assert (f", {len(records) - 1} new, 8 not taken (invalid 4, routable 2, private 2): only loopback addresses are, "
            "as the crawl began there\n") in err
    assert f"\nknown: IPV4 {len(records)}\nreached: IPV4 {reached}\n" in err
    assert "timed-out 4" in err and "wrong-network 2" in err and "disconnected 10" in err
    in_v2 = sum(node.reached and node.transport != "v1" for node in farm.planned)
    assert f"\ntransports: v2 {in_v2}, v1 {reached - in_v2}\n" in err
    out, err = run(end(farm), "-c", 1)
    assert out.startswith(f"{end(farm)} ") and " alive " in out
    assert " v2 70016 /farm:0/ NETWORK|WITNESS|P2P_V2, height 0, " in out
    assert "not finished; without --store nothing is kept" in err


def test_tables_for_other_programs(farm: Farm, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    store, text, table = tmp_path / "crawl.db", tmp_path / "crawl.csv", tmp_path / "crawl.parquet"
    _, err = run(end(farm), "--store", store, "--csv", text, *LIMITS)
    _, err = run("--store", store, "-c", 0, "--parquet", table)
    assert f"{table}: {len(results(store))} addresses" in err
    with text.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["address"], int(row["port"])) for row in rows] == [(each[0], each[1]) for each in results(store)]
    first = next(row for row in rows if row["address"] == farm.ends[0][0])
    assert (first["network"], first["services"], first["user_agent"], first["source"]) == (
        "ipv4", "2057", "/farm:0/", "user")
    assert first["transport"] == "v2" and Counter(row["transport"] for row in rows)["v1"] > 10
    assert first["success"] == first["tried"] and first["success"].endswith("Z") and first["error"] == ""
    columns = pq.read_table(table).to_pydict()
    assert columns["address"] == [row["address"] for row in rows]
    assert [moment and moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in columns["success"]] == [
        row["success"] or None for row in rows]
    assert columns["transport"] == [row["transport"] or None for row in rows]
    assert columns["user_agent"] == [row["user_agent"] or None for row in rows]


def test_transport_and_keys(farm: Farm, tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    for transport, spoken, count in (("v1", "v1", 0), ("v2", "v2", 1), ("auto", "v2", 2)):
        out, _ = run(end(farm), "-c", 1, "--transport", transport, "--keylog", keylog, "-T", "jsonl")
        assert json.loads(out)["transport"] == spoken
        assert (len(keylog.read_text().splitlines()) if keylog.exists() else 0) == count
    nowhere = tmp_path / "none" / "keys"
    _, err = run(end(farm), "-c", 1, "--keylog", nowhere, status=1)
    assert err.splitlines()[-1] == f"scapy-btc: {nowhere}: the key cannot be written: No such file or directory"


@pytest.mark.parametrize("option", ["--csv", "--parquet"])
def test_files_that_cannot_be_written(farm: Farm, tmp_path: Path, option: str) -> None:
    """That is said before anybody is visited; what is in a file stays until the end."""
    path, kept = tmp_path / "none" / "file", tmp_path / "kept"
    kept.write_text("of yesterday")
    for other in ((), ("--parquet" if option == "--csv" else "--csv", kept)):
        _, err = run(end(farm), option, path, *other, status=1)
        assert err.startswith(f"scapy-btc: {path}: ") and err.count("\n") == 1
    assert not farm.visits and kept.read_text() == "of yesterday"
    _, err = run(end(farm), option, "-", status=2)
    assert f"Invalid value for '{option}'" in err and not farm.visits


def test_what_is_kept_of_earlier_runs(farm: Farm, tmp_path: Path) -> None:
    """The closing lines tell this run from all that the store holds."""
    store = tmp_path / "crawl.db"
    run(end(farm), "--store", store, *LIMITS)
    _, err = run(end(farm), "--store", store, "-c", 1)
    known, reached = len(results(store)), sum(node.reached for node in farm.planned)
    assert re.match(r"1 node visited, 1 reached, 1 told addresses\n\d+ addresses told, 0 new\nown address: ", err)
    assert f"\nin {store}, of all runs:\nknown: IPV4 {known}\nreached: IPV4 {reached}\n" in err


def test_a_proxy_that_is_not_there(farm: Farm, tmp_path: Path) -> None:
    store = tmp_path / "crawl.db"
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        proxy = f"127.0.0.1:{deaf.getsockname()[1]}"
        for _ in range(3):
            out, err = run(end(farm), "--store", store, "--proxy", f"socks5h://{proxy}", status=1)
            assert (out, err) == ("", f"scapy-btc: no proxy at {proxy}: Connection refused\n")
    assert visited(store) == 0


def test_without_pyarrow(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run([*COMMAND, end(farm), "-c", "0", "--parquet", str(tmp_path / "x.parquet")],
                          capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr == (
        f"scapy-btc: {tmp_path}/x.parquet: Parquet needs the package pyarrow: pip install 'scapy-btc[analysis]'\n")


@pytest.mark.parametrize(("args", "status", "text"), [
    (["127.0.0.1:99999"], 2, "not a port"),
    (["28444"], 2, "Invalid value for HOST[:PORT]: no host: '28444' is only a number; write 127.0.0.1:28444"),
    (["http://127.0.0.1:28444"], 2, "not a host and port: 'http://127.0.0.1:28444'; write 192.0.2.1"),
    (["--nameserver", "foo:bar"], 2, "Invalid value for '--nameserver': not a port: 'bar'"),
    (["--proxy", "127.0.0.1"], 2, "Invalid value for '--proxy': '127.0.0.1' is no host and port"),
    (["--proxy", "http://127.0.0.1:8080"], 2, "Invalid value for '--proxy': "),
    (["--store", "/nowhere/crawl.db"], 1, "scapy-btc: /nowhere/crawl.db: unable to open database file"),
    (["no.such.invalid"], 1, "scapy-btc: no.such.invalid: the name is not known"),
    (["--network", "nonesuch"], 2, "no network is named"),
])
def test_usage(args: list[str], status: int, text: str) -> None:
    _, err = run(*args, status=status)
    assert text in err


def test_more_connections_than_files_may_be_open() -> None:
    command = ["bash", "-c", 'ulimit -n 256; exec "$@"', "-", *COMMAND, "127.0.0.1:1", "--timeout", "1"]
    done = subprocess.run([*command, "--concurrency", "300"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "only 256 files may be open here" in done.stderr
    done = subprocess.run([*command, "--concurrency", "100"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "1 node visited, 0 reached" in done.stderr


def test_nobody_there() -> None:
    out, err = run("127.0.0.1:1", "-T", "jsonl", "--timeout", "1", status=1)
    assert json.loads(out)["alive"] is False and "1 node visited, 0 reached" in err


def test_a_public_network_begins_with_its_seeds() -> None:
    """Nothing of it may leave this machine: the name server says only loopback, the proxy leads to a node here."""
    with Dns({f"x9.{seed}": ["127.0.0.1"] for seed in SIGNET.dns_seeds}) as server:
        _, err = run("--network", "signet", "--nameserver", f"127.0.0.1:{server.end[1]}", "-c", 0)
        assert {name for name, _ in server.asked} >= {f"x9.{seed}" for seed in SIGNET.dns_seeds}
    assert f"{SIGNET.dns_seeds[0]}: the name does not exist" in err
    assert f"{len(SIGNET.fixed_peers)} fixed peers are taken" in err
    with BTCNode(options=PeerOptions(SIGNET), addresses=[("127.0.0.1", 1), ("127.0.0.1", 2)]) as node:
        seeds = dict.fromkeys(SIGNET.dns_seeds, node.address)
        with Socks5(seeds) as proxy:
            out, _ = run("--network", "signet", "--proxy", proxy.text, "-T", "jsonl", "--timeout", "5")
            assert sorted(proxy.asked) == sorted((seed, 38333) for seed in seeds)
    records = [json.loads(line) for line in out.splitlines()]
    assert {record["address"] for record in records} == {f"{seed}:38333" for seed in seeds}
    assert all(record["alive"] for record in records)


def on_terminal(*args: object, until: Callable[[str], bool], stdout: Any = None) -> str:
    """What a terminal shows of a run that is interrupted when that is seen.

    :param stdout: where the output goes, if not to the terminal
    """
    master, slave = pty.openpty()
    process = subprocess.Popen([*COMMAND, *map(str, args)], stdout=stdout or slave, stderr=slave, stdin=slave,
                               env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"})
    os.close(slave)
    shown, sent = b"", False
    deadline = time.monotonic() + 30
    with suppress(OSError):  # its end
        while data := os.read(master, 65536):
            shown += data
            if not sent and until(shown.decode(errors="replace")):
                process.send_signal(signal.SIGINT)
                sent = True
            assert time.monotonic() < deadline
    os.close(master)
    assert process.wait(10) == 130
    return shown.decode(errors="replace")


def some_nodes(text: str) -> bool:
    return "open connections" in text and len(re.findall(r"visited +│ +[1-9]", text)) > 2


def test_a_table_on_a_terminal(farm: Farm) -> None:
    """Nodes are above it, each in a line of its own, however long."""
    shown = on_terminal(end(farm), "--rate", "30", until=some_nodes)
    assert "known addresses" in shown and "a second)" in shown
    assert "nodes visited" in shown or "node visited" in shown
    lines = re.findall(r"[^\n]* alive [^\n]*", shown)
    assert lines and all(re.search(r"127\.77\.[0-9.:]+ +alive +[0-9.]+ ms .* addresses?\r$", line) for line in lines)


def test_a_table_beside_a_file(farm: Farm, tmp_path: Path) -> None:
    """Nodes are in the file that the output is sent to, and nowhere else."""
    with (tmp_path / "out").open("w") as file:
        shown = on_terminal(end(farm), "--rate", "30", until=some_nodes, stdout=file)
    assert "known addresses" in shown and " alive " not in shown
    assert " alive " in (tmp_path / "out").read_text()
