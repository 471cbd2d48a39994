# SPDX-License-Identifier: GPL-2.0-or-later
"""The client against a real node (bcoin on regtest), and against servers that misbehave."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bcoin import BcoinNode, missing

from scapy_btc.all import BTC, BTCMerkleBlock, BTCPing, BTCTx, BTCVerack, BTCVersion
from scapy_btc.capture.reader import read
from scapy_btc.errors import Disconnected, HandshakeError, NotFound, PeerError, Refused, TimedOut, WrongNetwork
from scapy_btc.messages.findings import examine
from scapy_btc.net.client import BTCClient, connect
from scapy_btc.peer.options import PeerOptions


@pytest.fixture(scope="module")
def node() -> Iterator[BcoinNode]:
    reason = missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with BcoinNode() as running:
        running.mine(2100)
        yield running


@pytest.fixture
def client(node: BcoinNode) -> Iterator[BTCClient]:
    with connect(*node.address, timeout=10) as connected:
        yield connected


def test_handshake(client: BTCClient) -> None:
    assert client.peer.established
    said = client.peer.version
    assert said is not None and said.user_agent.startswith(b"/bcoin") and said.start_height >= 2100


def test_ping_and_liveness(node: BcoinNode) -> None:
    options = PeerOptions(ping_interval=0.2, ping_timeout=5)
    with connect(*node.address, options=options) as client:
        assert 0 < client.ping() < 5
        pongs = [p for p in client.messages(1.5) if p.msgtype == "pong"]
        assert len(pongs) >= 3 and client.peer.latency is not None


def test_headers_over_two_pages(node: BcoinNode, client: BTCClient) -> None:
    headers = list(client.get_headers())
    assert len(headers) == node.info()["height"] >= 2100
    assert headers[-1].block_hash == node.info()["tip"]
    assert client.counts["headers"] == 2


def test_blocks(node: BcoinNode, client: BTCClient) -> None:
    tip = node.info()["tip"]
    block = client.get_block(tip)
    assert block.block_hash == tip
    assert examine("block", block.self_build()) == []


def test_a_transaction_is_fetched_and_one_that_is_not_there(node: BcoinNode, client: BTCClient) -> None:
    payment = node.pay()
    found, = client.getdata(("MSG_WITNESS_TX", payment["txid"]))
    assert found.txid == payment["txid"] and found.wtxid == payment["wtxid"]
    with pytest.raises(NotFound, match="ab" * 32):
        client.getdata(("MSG_TX", "ab" * 32))


def test_the_memory_pool(node: BcoinNode, client: BTCClient) -> None:
    payment = node.pay()
    assert payment["txid"] in client.mempool()


def test_a_transaction_that_we_send_enters_its_memory_pool(node: BcoinNode, client: BTCClient) -> None:
    payment = node.pay(relay=False)
    client.send_tx(BTCTx(bytes.fromhex(payment["transaction"])))
    node.wait(lambda info: payment["txid"] in info["mempool"], "the transaction")


def test_a_filtered_block(node: BcoinNode, client: BTCClient) -> None:
    from scapy_btc.all import BTCFilterLoad
    node.mine(1)
    client.send(BTCFilterLoad(filter=b"\xff", n_hash_funcs=1))
    found, = client.getdata(("MSG_FILTERED_BLOCK", node.info()["tip"]))
    assert isinstance(found, BTCMerkleBlock) and examine("merkleblock", found.self_build()) == []


def test_getaddr(client: BTCClient) -> None:
    assert client.getaddr(seconds=1) == []


def test_scapys_sr1_on_the_clients_socket(client: BTCClient) -> None:
    answer = client.socket.sr1(client.peer.envelope(BTCPing(nonce=77)), timeout=5, verbose=False)
    assert answer is not None and answer.msgtype == "pong" and answer.nonce == 77


def test_commands(node: BcoinNode, tmp_path: object) -> None:
    where = "{}:{}".format(*node.address)

    def run(*args: str, status: int = 0) -> str:
        done = subprocess.run([sys.executable, "-m", "scapy_btc", *args], capture_output=True, text=True, timeout=60,
                              check=False)
        assert done.returncode == status and "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    recorded = f"{tmp_path}/said.pcapng"
    assert "/bcoin" in run("handshake", "-w", recorded, where)
    assert {"version", "verack", "ping", "pong"} <= {message.msgtype for message in read(recorded)}
    assert "3 pongs" in run("ping", "-c", "3", "--interval", "0.05", where)
    tip = node.info()["tip"]
    assert f"{node.info()['height']:,} headers" in run("headers", where) and tip in run("headers", where)
    assert tip in run("getdata", "-T", "jsonl", "block", tip, where)
    assert "000000  fa bf b5 da" in run("handshake", "-x", where)
    assert "Connection refused" in run("handshake", "127.0.0.1:1", status=1)
    assert "not a port" in run("handshake", "127.0.0.1:x", status=2)


def test_what_the_documentation_shows(node: BcoinNode, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "live.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
    assert '"127.0.0.1", 18444' in code
    exec(compile(code.replace("18444", str(node.address[1])), "docs/live.md", "exec"), {})
    out = capsys.readouterr().out
    assert "/bcoin" in out and f"block {node.info()['tip']}" in out


# Servers that misbehave


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Start a server that treats its one connection as told; its port."""
    listening: list[socket.socket] = []

    def start(treat: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append(listener)

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(10)
                    treat(connection)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listening:
        listener.close()


Start = Callable[[Callable[[socket.socket], None]], int]
GREETING = bytes(BTC(magic="regtest") / BTCVersion()) + bytes(BTC(magic="regtest") / BTCVerack())


def test_nobody_listens() -> None:
    with pytest.raises(Refused, match="Connection refused"):
        connect("127.0.0.1", 1)


@pytest.mark.parametrize("cut", range(0, len(GREETING) - 1, 7))
def test_every_truncation_of_the_handshake(server: Start, cut: int) -> None:
    port = server(lambda peer: peer.sendall(GREETING[:cut]))
    with pytest.raises((Disconnected, TimedOut)):
        connect("127.0.0.1", port, timeout=5)


@pytest.mark.parametrize(("sent", "error"), [
    (bytes(BTC(magic="mainnet") / BTCVersion()), WrongNetwork),
    (b"SSH-2.0-OpenSSH_9.2p1\r\n" + bytes(40), HandshakeError),
    (bytes(200), HandshakeError),
    (bytes(BTC(magic="regtest") / BTCVersion(version=100)), HandshakeError),
    (b"\xfa\xbf\xb5\xdaversion\0\0\0\0\0\xff\xff\xff\xff" + bytes(40), HandshakeError),
])
def test_what_is_no_handshake(server: Start, sent: bytes, error: type[PeerError]) -> None:
    port = server(lambda peer: (peer.sendall(sent), peer.recv(10_000), time.sleep(2))[0])
    with pytest.raises(error):
        connect("127.0.0.1", port, timeout=5)


def test_silence_and_a_slow_drip_are_bounded(server: Start) -> None:
    def drip(peer: socket.socket) -> None:
        for byte in GREETING:
            peer.sendall(bytes([byte]))
            time.sleep(0.05)

    for treat in (lambda peer: time.sleep(3), drip):
        start = time.monotonic()
        with pytest.raises(TimedOut):
            connect("127.0.0.1", server(treat), timeout=1)
        assert time.monotonic() - start < 3


def test_four_megabytes_of_nothing(server: Start) -> None:
    def flood(peer: socket.socket) -> None:
        peer.sendall(GREETING + b"\xfa\xbf\xb5\xda" + b"nothing\0\0\0\0\0" + (4_000_000).to_bytes(4, "little"))
        peer.sendall(bytes(4) + bytes(4_000_000))
        time.sleep(2)

    with connect("127.0.0.1", server(flood), timeout=10) as client:
        packet = client.receive()
        while packet.msgtype != "nothing":
            packet = client.receive()
        assert packet.length == 4_000_000


def test_unknown_messages_before_verack_are_ignored(server: Start) -> None:
    strange = bytes(BTC(magic="regtest", msgtype="strange") / b"12345")
    version, verack = GREETING[:-24], GREETING[-24:]
    port = server(lambda peer: (peer.sendall(strange + version + strange + verack), time.sleep(2))[0])
    with connect("127.0.0.1", port) as client:
        assert client.counts["strange"] == 2
