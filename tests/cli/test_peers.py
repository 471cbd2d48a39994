# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc peers`, run as a user runs it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Dns, Socks5, http

from scapy_btc.all import BTCNetAddr, BTCVerack, BTCVersion
from scapy_btc.discovery.addressbook import AddressBook
from scapy_btc.net.node import BTCNode
from scapy_btc.net.running import RunningNode
from scapy_btc.networks import REGTEST, SIGNET
from scapy_btc.peer.options import PeerOptions

ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
OURS = "127.5.5.5"


def run(*args: object, status: int = 0) -> tuple[list[str], str]:
    """Lines of output, and errors, of one run that must end with that status."""
    done = subprocess.run([sys.executable, "-m", "scapy_btc", "peers", *map(str, args)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == status, f"{done.returncode}: {done.stdout[-500:]}{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines(), done.stderr


def records(*args: object, status: int = 0) -> dict[str, dict[str, Any]]:
    lines, _ = run(*args, "-T", "jsonl", status=status)
    return {record.get("address", record.get("external", "")): record for record in map(json.loads, lines)}


@pytest.fixture
def node() -> Iterator[RunningNode]:
    """A node that says at which address it sees us, and who it is with a colour."""
    with BTCNode(options=PeerOptions(services=9)) as running:
        running.when("version", lambda packet, connection: [
            BTCVersion(user_agent=b"/\x1b[31mred/", services=9, start_height=7,
                       receiver_address=BTCNetAddr(ip=OURS)), BTCVerack()])
        yield running


@pytest.fixture
def dead() -> Iterator[str]:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{deaf.getsockname()[1]}"


def text(node: RunningNode) -> str:
    return f"{node.address[0]}:{node.address[1]}"


def test_alive_and_dead(node: RunningNode, dead: str) -> None:
    lines, err = run(text(node), dead, "--external")
    by_end = {line.split()[0]: line for line in lines}
    assert " alive " in by_end[text(node)] and " ms  " in by_end[text(node)]
    assert r" ms  v2 70016 /\x1b[31mred/ NETWORK|WITNESS, height 7" in by_end[text(node)]
    assert by_end[dead].endswith("dead  refused: Connection refused")
    assert lines[-1] == f"own address: {OURS}, say 1 of 1 nodes"
    assert "2 nodes, 1 alive" in err


def test_for_programs(node: RunningNode, dead: str) -> None:
    found = records(text(node), dead, "--external")
    alive = found[text(node)]
    assert 0 < alive.pop("latency") < 1
    assert alive == {"address": text(node), "alive": True, "transport": "v2", "version": 70016,
                     "user_agent": "/\x1b[31mred/", "services": ["NETWORK", "WITNESS"], "start_height": 7}
    assert found[dead] == {"address": dead, "alive": False, "error": "refused", "reason": "Connection refused"}
    assert found[OURS] == {"external": OURS, "votes": 1, "of": 1}


def test_transports(node: RunningNode, tmp_path: Path) -> None:
    """v2 with those that are named, and those of which it is known that they speak it; with others v1."""
    keylog, store = tmp_path / "keys", tmp_path / "peers.db"

    def spoken(*args: object) -> dict[str, str]:
        return {end: record["transport"] for end, record in records(*args, "--keylog", keylog).items()}

    with BTCNode(host="127.0.0.2", options=PeerOptions(services=0x809)) as said, \
            BTCNode(host="127.0.0.3", transport="v1") as old:
        ends = [text(node), text(said), text(old)]
        assert spoken(*ends) == dict(zip(ends, ("v2", "v2", "v1"), strict=True))
        assert len(keylog.read_text().splitlines()) == 3 and keylog.stat().st_mode & 0o777 == 0o600
        assert spoken(*ends, "--transport", "v1", "--store", store) == dict.fromkeys(ends, "v1")
        assert spoken("--store", store) == dict(zip(ends, ("v1", "v2", "v1"), strict=True))
        assert len(keylog.read_text().splitlines()) == 4
        with AddressBook(store, REGTEST) as book:
            assert dict(book.counts("transport")) == {"v1": 2, "v2": 1}
        found = records(text(said), text(old), "--transport", "v2")
        assert [found[end]["alive"] for end in ends[1:]] == [True, False]


def test_nobody_is_alive(dead: str) -> None:
    _, err = run(dead, status=1)
    assert "1 node, 0 alive" in err


def test_an_http_service(node: RunningNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")

    def treat(request: Any) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"8.8.8.8\n")

    with http(treat) as url:
        lines, _ = run(text(node), "--http", url)
        assert lines[-1] == f"own address: 8.8.8.8, says {url}"
        _, err = run(text(node), "--http", url, "--proxy", "127.0.0.1:1", status=2)
        assert "--http would go past the proxy" in err


def test_a_store(node: RunningNode, dead: str, tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    assert len(records(text(node), dead, "--store", path)) == 2
    with AddressBook(path, REGTEST) as book:
        rows = {(row["address"], row["port"]): row for row in book.rows()}
        alive, gone = rows[node.address], rows["127.0.0.1", int(dead.rpartition(":")[2])]
    assert (alive["successes"], alive["start_height"], alive["source"]) == (1, 7, "user")
    assert alive["latency"] > 0 and alive["pending"]  # that it was checked does not mean that a crawl visited it
    assert (gone["failures"], gone["error"]) == (1, "refused")
    assert list(records("--store", path, "-c", 1)) == [text(node)]  # the best one
    assert set(records("--store", path)) == {text(node), dead}


def test_there_is_no_such_store(tmp_path: Path) -> None:
    run("--store", tmp_path / "typo.db", status=1)
    assert not list(tmp_path.iterdir())


def test_no_node_is_dead_for_a_proxy_that_is(node: RunningNode, dead: str, tmp_path: Path) -> None:
    for named in ([text(node)], []):
        lines, err = run(*named, "--store", tmp_path / "peers.db", "--proxy", dead, status=1)
        assert (lines, err) == ([], f"scapy-btc: no proxy at {dead}: Connection refused\n")
    with AddressBook(tmp_path / "peers.db", REGTEST) as book:
        assert [(row["failures"], row["tried"]) for row in book.rows()] == [(0, None)]


def test_seeds() -> None:
    """The name server says nothing that a check may dial, or only this machine: nothing leaves it."""
    zone: dict[str, Any] = {f"x9.{seed}": ["127.0.0.1"] for seed in SIGNET.dns_seeds}
    with Dns(zone) as server, Socks5({}) as proxy:
        nameserver = f"127.0.0.1:{server.end[1]}"
        _, err = run("--network", "signet", "--nameserver", nameserver, "-c", 1, "127.0.0.1:1", "--dns", status=1)
        assert {name for name, _ in server.asked} == {*zone, *SIGNET.dns_seeds}
        assert f"scapy-btc: {SIGNET.dns_seeds[0]}: the name does not exist" in err
        assert "5 fixed peers are taken" in err
        assert "2 nodes on networks that cannot be reached without --proxy" in err  # one onion, one CJDNS
        server.asked.clear()
        run("--network", "signet", "--proxy", proxy.text, "--timeout", 2, status=1)
        assert not server.asked and {host for host, _ in proxy.asked} == set(SIGNET.dns_seeds)


def test_by_way_of_tor() -> None:
    with BTCNode(options=PeerOptions(SIGNET)) as node, Socks5({ONION: node.address}) as proxy:
        found = records("--network", "signet", "--proxy", proxy.text, f"{ONION}:38333")
        assert found[f"{ONION}:38333"]["alive"] and proxy.asked == [(ONION, 38333)]


@pytest.mark.parametrize(("args", "status", "said"), [
    (["127.0.0.1:x"], 2, "not a port"),
    (["--store", "/nowhere/peers.db"], 1, "scapy-btc: /nowhere/peers.db: no such address book"),
    (["--store", "/nowhere/peers.db", "127.0.0.1:1"], 1, "scapy-btc: /nowhere/peers.db: unable to open database file"),
    (["--network", "signet", "--nameserver", "ns.example"], 1, "a name server is named by its address"),
    (["--nameserver", "foo:bar", "127.0.0.1:1"], 2, "Invalid value for '--nameserver': not a port: 'bar'"),
    (["18444"], 2, "write 127.0.0.1:18444"),
    (["--proxy", "127.0.0.1", "127.0.0.1:1"], 2, "Invalid value for '--proxy': '127.0.0.1' is no host and port"),
    (["--http", "file:///etc/hosts", "127.0.0.1:1"], 1, "not an http or https URL"),
])
def test_usage(args: list[str], status: int, said: str) -> None:
    _, err = run(*args, status=status)
    assert said in err
