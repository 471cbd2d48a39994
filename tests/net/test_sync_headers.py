# SPDX-License-Identifier: GPL-2.0-or-later
"""`sync_headers` and `scapy-btc headers` with a real node (bcoin), and with nodes that lie."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bcoin import BcoinNode, missing
from misbehaving import VERACK, answers, connect, packet, serving
from real_headers import mine, time_of

from scapy_btc.chain.headers import HeaderChain
from scapy_btc.chain.mining import mine_block
from scapy_btc.discovery.header_store import HeaderStore
from scapy_btc.errors import InvalidHeader, PeerError, TimedOut, TooMuch
from scapy_btc.layers.envelope import BTC
from scapy_btc.messages.blocks import BTCBlock
from scapy_btc.messages.handshake import BTCVerack, BTCVersion
from scapy_btc.messages.inventory import BTCGetData, BTCGetHeaders, BTCHeaders, BTCInv
from scapy_btc.messages.keepalive import BTCPing, BTCPong
from scapy_btc.messages.parts import BTCInvVector
from scapy_btc.net.client import BTCClient
from scapy_btc.net.socket import BTCStreamSocket
from scapy_btc.networks import REGTEST
from scapy_btc.peer.options import PeerOptions
from scapy_btc.wire import compactsize
from scapy_btc.wire.hashes import sha256d

START = 1_700_000_000
NODE_NETWORK_AND_WITNESS = 9
"""bcoin asks only peers with these services for blocks."""


@pytest.fixture
def node() -> Iterator[BcoinNode]:
    if reason := missing():
        pytest.skip(reason)
    with BcoinNode() as running:
        running.mine(2100)
        yield running


def reorganise(node: BcoinNode, client: BTCClient, chain: HeaderChain, depth: int) -> None:
    """Give the node a branch that is one block longer than what it has above `depth` blocks below its tip."""
    first = chain.height - depth + 1
    previous, time = chain.hash_at(first - 1), time_of(chain.at(chain.height))
    for height in range(first, first + depth + 1):
        block = mine_block(REGTEST, height, previous, time + height - first, 0x207FFFFF, b"\x51")
        previous = sha256d(block[:80])
        client.send(BTCInv(inventory=[BTCInvVector(type=2, hash=previous)]))
        client.wait_for(BTCGetData)
        client.send(BTCBlock(block))
    node.wait(lambda info: bytes.fromhex(info["tip"])[::-1] == previous, "the reorganisation")


def test_a_store_goes_on_and_follows_a_reorganisation(node: BcoinNode, tmp_path: Path) -> None:
    options = PeerOptions(services=NODE_NETWORK_AND_WITNESS)
    path = tmp_path / "headers.sqlite"
    with connect(*node.address, options=options) as client, HeaderStore(path, REGTEST) as store:
        chain = store.chain()
        steps = []
        for step in client.sync_headers(chain):
            store.save(chain)
            steps.append(step)
        assert [(step.received, step.first) for step in steps] == [(2000, 1), (100, 2001)]
    node.mine(3)
    with connect(*node.address, options=options) as client, HeaderStore(path, REGTEST) as store:
        chain = store.chain()
        assert chain.height == 2100
        step, = client.sync_headers(chain)
        assert (step.received, step.new, step.first, step.replaced) == (3, 3, 2101, 0)
        assert chain.tip[::-1].hex() == node.info()["tip"] and chain.height == 2103
        store.save(chain)
        reorganise(node, client, chain, depth=2)
        step, = client.sync_headers(chain)
        assert (step.received, step.new, step.first, step.replaced, step.beside) == (3, 3, 2102, 2, False)
        store.save(chain)
    with HeaderStore(path, REGTEST) as store:
        assert store.chain().tip[::-1].hex() == node.info()["tip"] and store.chain().height == 2104


def run(*args: object, status: int = 0) -> tuple[list[str], list[str]]:
    """The lines of output and errors."""
    done = subprocess.run([sys.executable, "-m", "scapy_btc", "headers", *map(str, args)], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == status and "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_the_command(node: BcoinNode, tmp_path: Path) -> None:
    where = "{}:{}".format(*node.address)
    store = tmp_path / "headers.sqlite"
    lines, said = run("--store", store, where)
    assert len(lines) == 2100 and lines[-1].split()[:2] == ["2100", node.info()["tip"]]
    assert lines[0].split()[0] == "1" and lines[0].endswith(" difficulty 4.6565424e-10")
    assert said == [f"2,100 headers, checked; {store} goes to height 2,100"]
    tip, = node.mine(1)
    lines, said = run("--store", store, "-T", "jsonl", where)
    record = json.loads(lines[0])
    assert len(lines) == 1 and (record["height"], record["block_hash"]) == (2101, tip)
    assert said == [f"1 header, checked; {store} goes to height 2,101"]
    assert run("--store", store, where) == ([], [f"0 headers, checked; {store} goes to height 2,101"])
    # a reorganisation
    with connect(*node.address, options=PeerOptions(services=NODE_NETWORK_AND_WITNESS)) as client:
        chain = HeaderChain(REGTEST)
        list(client.sync_headers(chain))
        reorganise(node, client, chain, depth=5)
    lines, said = run("--store", store, where)
    assert [int(line.split()[0]) for line in lines] == [2097, 2098, 2099, 2100, 2101, 2102]
    assert said == ["scapy-btc: reorganisation: 5 headers from height 2,097 on replaced",
                    f"6 headers, checked; {store} goes to height 2,102"]
    # without a store, and with a limit
    lines, said = run("-c", 2, where)
    assert len(lines) == 2 and said == ["2 headers, checked; height 2,000"]
    lines, said = run("--after", node.info()["tip"], where)
    assert said == ["0 headers, linked, each with its proof of work"]
    genesis = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    lines, said = run("--after", genesis, "-c", 1, where)
    assert len(lines) == 1 and said == ["1 header, linked, each with its proof of work"]
    unknown = "ab" * 32
    assert run("--after", unknown, where, status=1) == (
        [], [f"scapy-btc: {where}: the peer does not know the block {unknown}"])
    _, said = run("--after", tip, "--store", store, where, status=2)
    assert said[-1] == "Error: --store keeps chains from the first block on; --after does not start there"


def test_a_node_with_less(node: BcoinNode, tmp_path: Path) -> None:
    where, store = "{}:{}".format(*node.address), tmp_path / "headers.sqlite"
    for first, count in ((2100, 5), (2090, 20)):
        with HeaderStore(store, REGTEST) as file, connect(*node.address) as client:
            chain = file.chain()
            list(client.sync_headers(chain))
            last = chain.at(first)
            for _ in range(count):
                last = mine(last, time_of(last) + 1)
                chain.add(last)
            file.save(chain)
        lines, said = run("--store", store, where)
        assert lines == []
        assert said[0] == (f"scapy-btc: the node states height 2,100; {first + count:,} is known" if first == 2100 else
                           "scapy-btc: the node is on another branch, to height 2,100, which has not more work than "
                           f"the one known, to height {first + count:,}")


# Nodes that lie


@pytest.fixture
def liar() -> Iterator[Callable[..., int]]:
    """Start a node that answers each `getheaders` with what a function of its number gives; its port."""
    listening: list[socket.socket] = []

    def start(answer: Callable[[int], list[bytes] | None], stated: int = 0, pongs: bool = True) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append(listener)

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(10)
                    converse(connection)
            except (OSError, EOFError):
                pass  # the client has seen enough

        def converse(connection: socket.socket) -> None:
            stream, asked = BTCStreamSocket(connection, REGTEST), 0
            connection.sendall(bytes(BTC(magic="regtest") / BTCVersion(start_height=stated))
                               + bytes(BTC(magic="regtest") / BTCVerack()))
            while True:
                message = stream.recv().payload
                if isinstance(message, BTCPing) and pongs:
                    connection.sendall(bytes(BTC(magic="regtest") / BTCPong(nonce=message.nonce)))
                if isinstance(message, BTCGetHeaders) and (headers := answer(asked)) is not None:
                    asked += 1
                    payload = compactsize.encode(len(headers)) + b"".join(header + b"\0" for header in headers)
                    connection.sendall(bytes(BTC(magic="regtest") / BTCHeaders(payload)))

        threading.Thread(target=serve, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listening:
        listener.close()


def row(count: int, before: bytes = REGTEST.genesis or b"", bits: int = 0x207FFFFF) -> list[bytes]:
    headers = [before]
    for _ in range(count):
        headers.append(mine(headers[-1], max(START, time_of(headers[-1])) + 1, bits))
    return headers[1:]


def test_a_wrong_difficulty(liar: Callable[..., int], tmp_path: Path) -> None:
    good = row(4)
    pages = [[*good, *row(1, good[-1], bits=0x1F7FFFFF), *good]]
    with connect("127.0.0.1", liar(lambda number: pages[number])) as client:
        chain = HeaderChain(REGTEST)
        with pytest.raises(InvalidHeader, match=r"^header 5: bits are 1f7fffff and must be 207fffff") as refusal:
            list(client.sync_headers(chain))
        assert (refusal.value.height, refusal.value.reason, chain.height) == (5, "bad-diffbits", 4)
    store = tmp_path / "headers.sqlite"
    address = f"127.0.0.1:{liar(lambda number: pages[number])}"
    lines, said = run("--transport", "v1", "--store", store, address, status=1)
    assert len(lines) == 4
    assert said == [f"scapy-btc: {address}: header 5: bits are 1f7fffff and must be 207fffff (bad-diffbits)"]
    with sqlite3.connect(store) as database:
        assert database.execute("SELECT max(height) FROM header").fetchone() == (4,)
    database.close()


def test_headers_of_nowhere(liar: Callable[..., int]) -> None:
    nowhere = row(3, row(1)[0])
    with (connect("127.0.0.1", liar(lambda number: nowhere), timeout=5) as client,
          pytest.raises(InvalidHeader, match=r"which is not known.*prev-blk-not-found")):
        list(client.sync_headers(HeaderChain(REGTEST)))


def test_a_node_that_says_nothing(liar: Callable[..., int]) -> None:
    chain = HeaderChain(REGTEST)
    with connect("127.0.0.1", liar(lambda number: None), timeout=5) as client:  # as bcoin, when it has no more
        assert list(client.sync_headers(chain)) == []
    with (connect("127.0.0.1", liar(lambda number: None, pongs=False), timeout=0.5) as client,
          pytest.raises(TimedOut, match=r"no answer within 0.5 s \(no headers that follow a known block\)")):
        list(client.sync_headers(chain))


def test_an_old_node_that_states_no_height(tmp_path: Path) -> None:
    page = BTCHeaders(compactsize.encode(3) + b"".join(header + b"\0" for header in row(3)))
    version = packet(BTCVersion(bytes(BTCVersion())[:46]))  # as before 106: it ends after `receiver_address`
    with serving(answers(lambda asked: [page] if isinstance(asked, BTCGetHeaders) else None, version + VERACK)) as port:
        with connect("127.0.0.1", port) as client:
            chain = HeaderChain(REGTEST)
            assert client.peer.version is not None and client.peer.version.start_height is None
            assert len(list(client.sync_headers(chain))) == 1 and chain.height == 3
        lines, _ = run("--transport", "v1", f"127.0.0.1:{port}")
        assert len(lines) == 3


def test_headers_without_end(liar: Callable[..., int]) -> None:
    last = [REGTEST.genesis or b""]

    def more(number: int) -> list[bytes]:
        page = row(2000, last[-1])
        last.append(page[-1])
        return page

    with connect("127.0.0.1", liar(more)) as client, pytest.raises(TooMuch, match="more headers than the height"):
        list(client.sync_headers(HeaderChain(REGTEST)))
    assert len(last) <= 13


def test_the_same_headers_again_and_again(liar: Callable[..., int]) -> None:
    page = row(2000)
    with (connect("127.0.0.1", liar(lambda number: page, stated=10**6)) as client,
          pytest.raises(PeerError, match="repeats headers")):
        list(client.sync_headers(HeaderChain(REGTEST)))
