# SPDX-License-Identifier: GPL-2.0-or-later
"""The watch over announced transactions: scripts, a recording of bcoin, and bcoin itself."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bcoin import BcoinNode, missing
from bitcoin.core import CTransaction, b2lx
from recordings import messages_of, printed

from scapy_btc.all import BTCGetData, BTCInv, BTCInvVector, BTCNotFound, BTCTx, BTCTxIn, BTCTxOut
from scapy_btc.analysis import mempool as module
from scapy_btc.analysis.mempool import MempoolWatch, Sighting
from scapy_btc.capture.reader import read
from scapy_btc.net.node import BTCNode
from scapy_btc.networks import MAINNET, REGTEST

VECTORS = Path(__file__).parent.parent / "vectors" / "messages" / "tx.json"
WITH_WITNESS = next(entry for entry in json.loads(VECTORS.read_text()) if entry["fields"].get("flag") == 1)
BCOIN_FEE = 10_000  # what tests/peers/bcoin/node.js pays for each transaction


def inv(kind: str, *hashes: str) -> BTCInv:
    return BTCInv(inventory=[BTCInvVector(type=kind, hash=tx_id) for tx_id in hashes])


def wanted(asked: list[Any]) -> list[tuple[int, str]]:
    return [(vector.type, vector.hash) for question in asked for vector in question.inventory]


@pytest.fixture
def watch() -> MempoolWatch:
    return MempoolWatch(MAINNET)


def test_who_was_first(watch: MempoolWatch) -> None:
    tx = BTCTx(bytes.fromhex(WITH_WITNESS["payload"]))
    asked, _ = watch.receive("a", inv("MSG_WTX", tx.wtxid), 10.0)
    assert wanted(asked) == [(5, tx.wtxid)]
    assert watch.receive("b", inv("MSG_WTX", tx.wtxid), 10.5) == ([], None)
    asked, _ = watch.receive("c", inv("MSG_TX", tx.txid), 10.25)  # knows it by its other id, so it is asked, too
    assert wanted(asked) == [(0x40000001, tx.txid)]
    _, seen = watch.receive("a", tx, 11.0)
    assert isinstance(seen, Sighting) and (seen.txid, seen.wtxid) == (tx.txid, tx.wtxid)
    assert seen.announced == [("a", 10.0), ("c", 10.25), ("b", 10.5)]
    assert watch.receive("c", tx, 11.1) == ([], None)  # the second copy is not new
    assert watch.receive("d", inv("MSG_TX", tx.txid), 12.0) == ([], None)
    assert seen.announced[-1] == ("d", 12.0)
    tallies = {peer: (tally.announced, tally.first, tally.behind) for peer, tally in watch.peers.items()}
    assert tallies == {"a": (1, 1, 0.0), "b": (1, 0, 0.5), "c": (1, 0, 0.25), "d": (1, 0, 2.0)}


def test_a_transaction_that_nobody_announced(watch: MempoolWatch) -> None:
    _, seen = watch.receive("a", BTCTx(bytes.fromhex(WITH_WITNESS["payload"])), 5.0)
    assert seen is not None and seen.announced == [("a", 5.0)] and seen.fee is None


def test_sizes_are_those_of_bip_141(watch: MempoolWatch) -> None:
    """The P2WPKH transaction of BIP 143's first example, measured by python-bitcoinlib."""
    raw = bytes.fromhex(
        "01000000000102fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000494830450221008b9d1dc26ba6a9"
        "cb62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be022040529b194ba3f9281a99f2b1c0a19c0489bc22ede944ccf4ecbab4cc618e"
        "f3ed01eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000"
        "001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167f"
        "aa815988ac000247304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c451833156"
        "1406f90300e8f3358f51928d43c212a8caed02de67eebee0121025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07ae"
        "ee635711000000")
    _, seen = watch.receive("a", BTCTx(raw), 0.0)
    theirs = CTransaction.deserialize(raw)
    assert seen is not None and seen.txid == b2lx(theirs.GetTxid())
    assert (seen.size, seen.weight, seen.vsize) == (343, theirs.calc_weight(), 261)


def test_what_is_not_answered_is_asked_of_the_next(watch: MempoolWatch) -> None:
    one, two = "11" * 32, "22" * 32
    watch.receive("a", inv("MSG_WTX", one, two), 0.0)
    watch.receive("b", inv("MSG_WTX", one), 1.0)
    assert list(watch.tick(59.0)) == []
    watch.receive("a", BTCNotFound(inventory=[BTCInvVector(type="MSG_WTX", hash=one)]), 59.5)
    (peer, question), = watch.tick(59.6)
    assert peer == "b" and wanted([question]) == [(5, one)]
    assert list(watch.tick(61.0)) == []  # nobody else announced the second one
    watch.forget("b", 62.0)
    assert list(watch.tick(62.0)) == []
    assert not watch._wanted and not any(watch._load.values())


def test_memory_is_bounded(watch: MempoolWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN", 50)
    monkeypatch.setattr(module, "AMOUNTS", 200)
    for start in range(0, 20_000, 1000):
        watch.receive("liar", inv("MSG_TX", *(f"{n:064x}" for n in range(start, start + 1000))), 0.0)
    assert len(watch._wanted) == module.PENDING
    for number in range(300):
        watch.receive("a", BTCTx(inputs=[BTCTxIn()], outputs=[BTCTxOut(value=number)] * 3), 1.0)
    assert len(watch._known) == 50 and len(watch._wtxids) == 50
    assert watch._amount_count <= 200
    list(watch.tick(1e9))
    assert not watch._wanted


def test_outputs_are_not_remembered(watch: MempoolWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AMOUNTS", 200)
    outputs = b"\xfd\x88\x13" + bytes(9) * 5_000
    tracemalloc.start()
    try:
        for number in range(10):
            spent = b"\1" + number.to_bytes(36, "little") + b"\0" + b"\xff" * 4
            _, seen = watch.receive("a", BTCTx(b"\2\0\0\0" + spent + outputs + bytes(4)), 1.0)
            assert seen is not None and len(seen.outputs) == 5_000
        del seen
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 2_000_000  # 3.6 MB, were they kept
    finally:
        tracemalloc.stop()


def test_fees_of_a_recorded_session() -> None:
    watch = MempoolWatch(REGTEST)
    seen = []
    for message in messages_of("bcoin-regtest.pcapng"):
        _, found = watch.receive(message.source, message.packet.payload, message.time_ns / 1e9)
        seen += [found] if found else []
    fees = [one.fee for one in seen if one.fee is not None]
    assert len(fees) >= 9 and set(fees) == {BCOIN_FEE}


def test_the_command_on_a_capture() -> None:
    path = str(Path(__file__).parent.parent.parent / "pcaps" / "bcoin-regtest.pcapng")
    text, status = printed("mempool", "-r", path, "-c", "3")
    assert status == 0 and len(text.splitlines()) == 3
    lines, status = printed("mempool", "-r", path, "-T", "jsonl")
    records = [json.loads(line) for line in lines.splitlines()]
    carried = [message.record for message in messages_of("bcoin-regtest.pcapng") if message.msgtype == "tx"]
    in_pools = {record["derived"]["txid"] for record in carried
                if record["fields"]["inputs"][0]["previous_output"]["hash"].strip("0")}  # no coinbases
    assert len(in_pools) < len({record["derived"]["txid"] for record in carried})
    assert status == 0 and sorted(record["txid"] for record in records) == sorted(in_pools)
    held, _ = printed("mempool", "-r", path, "-T", "jsonl", "--hold", "5")
    assert [json.loads(line)["txid"] for line in held.splitlines()] == [record["txid"] for record in records]
    assert max(len(json.loads(line)["announced"]) for line in held.splitlines()) == 2


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[BcoinNode, BcoinNode]]:
    if reason := missing():
        pytest.skip(reason)
    with BcoinNode() as one, BcoinNode() as two:
        one.mine(110)
        two.connect(*one.address)
        two.wait_height(110)
        yield one, two


def test_two_nodes_are_watched_and_one_of_them_ends(nodes: tuple[BcoinNode, BcoinNode]) -> None:
    one, two = nodes
    with BcoinNode() as third:
        third.connect(*one.address)
        third.wait_height(110)
        ends = ["{}:{}".format(*node.address) for node in (one, two, third)]
        command = [sys.executable, "-m", "scapy_btc", "mempool", "-T", "jsonl", "-c", "2", "--for", "40", *ends]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stdout and running.stderr
            for _ in ends:
                assert running.stderr.readline().startswith("connected to 127.0.0.1:")
            first = one.pay()["txid"]
            assert json.loads(running.stdout.readline())["txid"] == first
            third.call("stop")
            line = running.stderr.readline()
            assert line.startswith(ends[2]) and "closed the connection" in line
            second = two.pay()["txid"]
            out, err = running.communicate(timeout=60)
    assert json.loads(out)["txid"] == second and running.returncode == 0
    assert sum(map(int, re.findall(r"first (\d+)", err))) == 2 and all(end in err for end in ends), err


def test_what_is_said_is_shown_and_recorded(tmp_path: Path) -> None:
    recorded = tmp_path / "said.pcapng"
    with BTCNode(blocks=110) as one, BTCNode() as two:
        ends = ["{}:{}".format(*node.address) for node in (one, two)]
        command = [sys.executable, "-m", "scapy_btc", "mempool", "--for", "2", "-x", "-w", str(recorded), *ends]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    for end in ends:
        assert re.search(rf"-> {re.escape(end)} version .*\n  000000  fa bf b5 da 76 65 72 73", done.stderr)
        assert f"<- {end} verack" in done.stderr
    said = list(read(recorded))
    assert {message.connection for message in said} == {0, 1}
    assert [message.msgtype for message in said].count("version") == 4
    assert printed("mempool", "-w", "-")[1] == 2


def test_a_node_that_comes_back_is_dialled_again(nodes: tuple[BcoinNode, BcoinNode]) -> None:
    one, _ = nodes
    address = "{}:{}".format(*one.address)
    command = [sys.executable, "-m", "scapy_btc", "mempool", "-c", "1", "--for", "40", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout and running.stderr
        assert "connected" in running.stderr.readline()
        one.call("disconnect")
        assert "closed" in running.stderr.readline()
        assert "connected" in running.stderr.readline()
        time.sleep(0.1)
        txid = one.pay()["txid"]
        assert txid in running.communicate(timeout=60)[0]


def test_more_peers_are_learned() -> None:
    with BTCNode(blocks=110) as other:
        found = other.address
        told = [found, ("127.0.0.1", 0), ("8.8.8.8", 8333), ("10.0.0.1", 18444)]  # of these only the first
        with BTCNode(blocks=110, addresses=told) as known:
            command = [sys.executable, "-m", "scapy_btc", "mempool", "--peers", "5", "--for", "6",
                       f"localhost:{known.address[1]}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and "connected to {}:{} /scapy_btc/".format(*found) in lines
    assert not any("8.8.8.8" in line or "10.0.0.1" in line or ":0" in line for line in lines)


def test_ids_now(nodes: tuple[BcoinNode, BcoinNode]) -> None:
    one, _ = nodes
    txid = one.pay()["txid"]
    text, status = printed("mempool", "--now", "{}:{}".format(*one.address))
    assert status == 0 and txid in text.split()
    record = json.loads(printed("mempool", "--now", "-T", "jsonl", "{}:{}".format(*one.address))[0].splitlines()[-1])
    assert set(record) == {"txid"}  # bcoin knows no wtxidrelay


def test_usage() -> None:
    assert printed("mempool", "--now", "127.0.0.1", "127.0.0.2")[1] == 2
    assert printed("mempool", "-r", "x.pcap", "127.0.0.1")[1] == 2
    assert printed("mempool", "--for", "0.5", "127.0.0.1:1")[1] == 1


def test_a_getdata_is_no_announcement(watch: MempoolWatch) -> None:
    assert watch.receive("a", BTCGetData(inventory=[BTCInvVector(hash="11" * 32)]), 0.0) == ([], None)
