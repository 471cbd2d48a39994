# SPDX-License-Identifier: GPL-2.0-or-later
"""The client against real nodes (bcoin, and our own on regtest), and against servers that lie."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from bcoin import BcoinNode, missing
from misbehaving import GREETING, VERACK, answers, connect, nobody, packet, says, serving
from recordings import items_of

from scapy_btc.all import (
    BTC,
    BTCAddr,
    BTCAddrV2,
    BTCBlock,
    BTCBlockTxn,
    BTCCFCheckpt,
    BTCCFHeaders,
    BTCCFilter,
    BTCCmpctBlock,
    BTCFilterLoad,
    BTCGetData,
    BTCHeaders,
    BTCHeadersEntry,
    BTCInv,
    BTCInvVector,
    BTCMerkleBlock,
    BTCMessage,
    BTCNetAddr,
    BTCNetAddrV2,
    BTCPing,
    BTCPong,
    BTCTimedNetAddr,
    BTCTx,
    BTCVersion,
    Message,
)
from scapy_btc.capture.reader import read
from scapy_btc.errors import Disconnected, NotFound, PeerError, TimedOut
from scapy_btc.messages.findings import examine
from scapy_btc.net import client as module
from scapy_btc.net.client import BTCClient
from scapy_btc.net.node import BTCNode
from scapy_btc.peer.options import PeerOptions
from scapy_btc.protocol import ServiceFlags

VECTORS = Path(__file__).parent.parent / "vectors"


@pytest.fixture(scope="module")
def node() -> Iterator[BcoinNode]:
    if reason := missing():
        pytest.skip(reason)
    with BcoinNode() as running:
        running.mine(2100)
        yield running


@pytest.fixture
def client(node: BcoinNode) -> Iterator[BTCClient]:
    with connect(*node.address, timeout=10) as connected:
        yield connected


# A real node


def test_handshake(node: BcoinNode, client: BTCClient) -> None:
    assert client.peer.established and client.address == "{}:{}".format(*node.address)
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
    assert [h.block_hash for h in client.get_headers([headers[-3].block_hash])] == [
        h.block_hash for h in headers[-2:]]
    stop = headers[4].block_hash
    assert [h.block_hash for h in client.get_headers(stop=stop)][-1] == stop


def test_blocks(node: BcoinNode, client: BTCClient) -> None:
    height, tip = node.info()["height"], node.info()["tip"]
    block = client.get_block(tip)
    assert block.block_hash == tip and bytes(block).hex() == node.call("block", height=height)
    assert examine("block", block.self_build()) == []
    assert len(bytes(client.get_block(tip, witness=False))) < len(bytes(block))
    several = [node.call("block", height=number) for number in (1, 2, 3)]
    found = client.getdata(*(("MSG_WITNESS_BLOCK", BTCBlock(bytes.fromhex(raw)).block_hash) for raw in several))
    assert [bytes(block).hex() for block in found] == several
    with pytest.raises(NotFound, match="ab" * 32):  # Bitcoin Core says nothing
        client.get_block("ab" * 32)


def test_transactions(node: BcoinNode, client: BTCClient) -> None:
    first, second = node.pay(), node.pay()
    found = client.getdata(("MSG_WITNESS_TX", second["txid"]), ("MSG_WITNESS_TX", first["txid"]))
    assert [(tx.txid, tx.wtxid) for tx in found] == [(p["txid"], p["wtxid"]) for p in (second, first)]
    with pytest.raises(NotFound, match="ab" * 32):
        client.getdata(("MSG_TX", first["txid"]), ("MSG_TX", "ab" * 32))


def test_the_memory_pool(node: BcoinNode, client: BTCClient) -> None:
    payment = node.pay()
    assert payment["txid"] in client.mempool()


def test_a_transaction_that_we_send_enters_its_memory_pool(node: BcoinNode, client: BTCClient) -> None:
    payment = node.pay(relay=False)
    client.send_tx(BTCTx(bytes.fromhex(payment["transaction"])))
    assert payment["txid"] in node.info()["mempool"]
    client.timeout = 0.3
    with pytest.raises(TimedOut, match="does not ask for a transaction that it has already"):
        client.send_tx(BTCTx(bytes.fromhex(payment["transaction"])))


def test_a_transaction_that_is_refused(node: BcoinNode, client: BTCClient) -> None:
    signed = BTCTx(bytes.fromhex(node.pay(relay=False)["transaction"]))
    signed.outputs[0].value -= 1  # the signature does not hold any more
    invalid = BTCTx(bytes(signed))
    with pytest.raises(PeerError, match=f"refused: reject tx {invalid.txid}: "):
        client.send_tx(invalid)
    assert invalid.txid not in node.info()["mempool"]


def test_a_filtered_block(node: BcoinNode, client: BTCClient) -> None:
    payment = node.pay()
    tip = node.mine(1)[0]
    client.send(BTCFilterLoad(filter=b"\xff", n_hash_funcs=1))
    proof, *transactions = client.getdata(("MSG_FILTERED_BLOCK", tip))
    assert isinstance(proof, BTCMerkleBlock) and examine("merkleblock", proof.self_build()) == []
    assert len(transactions) == proof.total_transactions >= 2
    assert payment["txid"] in [tx.txid for tx in transactions]


@pytest.mark.parametrize("known", [(), (0,), (0, 1)])
def test_a_compact_block(node: BcoinNode, known: tuple[int, ...]) -> None:
    """The payments that we do not know are asked for, and nothing else."""
    node.mine(1)  # what earlier tests left in the memory pool
    payments = [bytes.fromhex(node.pay()["transaction"]) for _ in range(2)]
    tip = node.mine(1)[0]
    asked: list[Any] = []
    with connect(*node.address, observer=lambda packet, sent: sent and asked.append(packet.payload)) as client:
        block = client.get_block(tip, compact=True, known=[BTCTx(payments[number]) for number in known])
        assert bytes(block).hex() == node.call("block", height=node.info()["height"])
        positions = [[bytes(tx) for tx in block.transactions].index(payments[number])
                     for number in range(2) if number not in known]
        from scapy_btc.chain.short_ids import absolute_indexes
        requests = [absolute_indexes(m.indexes) for m in asked if m.msgtype == "getblocktxn"]
        assert requests == ([sorted(positions)] if positions else [])
        assert client.counts["cmpctblock"] == 1 and client.counts["block"] == 0


def test_an_old_block_comes_whole(node: BcoinNode, client: BTCClient) -> None:
    old = BTCBlock(bytes.fromhex(node.call("block", height=5)))
    assert bytes(client.get_block(old.block_hash, compact=True)) == bytes(old)
    assert client.counts["cmpctblock"] == 0


def test_what_the_node_announces(node: BcoinNode, client: BTCClient) -> None:
    client.ping()  # bcoin has taken the end of the handshake
    announced: list[str] = []
    client.on("inv", lambda message: announced.extend(vector.hash for vector in message.inventory))
    payment = node.pay()
    assert client.wait_for(lambda m: isinstance(m, BTCInv) and m.inventory[0].type == 1).inventory[0].hash in announced
    assert announced[-1] == payment["txid"]


def test_the_record_of_a_conversation(node: BcoinNode, tmp_path: Path) -> None:
    path = tmp_path / "said.pcapng"
    with connect(*node.address, record=path) as client:
        block = client.get_block(node.info()["tip"])
    messages = list(read(path))
    assert [m.msgtype for m in messages if m.source == client.local_address] == [
        "version", "verack", "getdata"]
    assert next(m for m in messages if m.msgtype == "block").payload == bytes(block)
    assert {finding for m in messages for finding in m.findings} == set()


def test_getaddr(client: BTCClient) -> None:
    assert client.getaddr(seconds=0.5) == []


def test_scapys_sr1_on_the_clients_socket(client: BTCClient) -> None:
    answer = client.socket.sr1(client.peer.envelope(BTCPing(nonce=77)), timeout=5, verbose=False)
    assert answer is not None and answer.msgtype == "pong" and answer.nonce == 77


def run(*args: str, status: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "scapy_btc", *args], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == status and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_commands(node: BcoinNode, tmp_path: Path) -> None:
    where = "{}:{}".format(*node.address)
    recorded = str(tmp_path / "said.pcapng")
    assert "/bcoin" in run("handshake", "-w", recorded, where)
    assert {"version", "verack", "ping", "pong"} <= {message.msgtype for message in read(recorded)}
    who = json.loads(run("handshake", "-T", "jsonl", where))
    assert who["address"] == where and "WITNESS" in who["services"] and who["latency"] > 0
    assert "3 pongs" in run("ping", "-c", "3", "--interval", "0.05", where)
    tip = node.info()["tip"]
    assert f"{node.info()['height']:,} headers" in run("headers", where) and tip in run("headers", where)
    shown = run("handshake", "-x", where)
    assert "-> " + where + " version 70016" in shown and "<- " + where + " version" in shown
    assert "000000  fa bf b5 da" in shown and "\x1b" not in shown
    assert run("getaddr", "--wait", "0.2", where) == "0 addresses\n"


def test_getdata_on_the_command_line(node: BcoinNode, tmp_path: Path) -> None:
    where = "{}:{}".format(*node.address)
    payment = node.pay()
    tip = node.mine(1)[0]
    raw = node.call("block", height=node.info()["height"])
    record = json.loads(run("getdata", "-T", "jsonl", "block", tip, where))
    assert record["derived"]["block_hash"] == tip and record["source"] == where and record["findings"] == []
    assert run("getdata", "-T", "hex", "block", tip, where) == raw + "\n"
    assert run("getdata", "-T", "hex", "--compact", "block", tip, where) == raw + "\n"
    first = BTCBlock(bytes.fromhex(node.call("block", height=1))).block_hash
    lines = run("getdata", "-T", "hex", "strippedblock", first, tip, where).splitlines()
    assert lines[0] == node.call("block", height=1) and 160 < len(lines[1]) < len(raw)
    script = BTCTx(bytes.fromhex(payment["transaction"])).outputs[0].script
    for arguments, found in [((), 2), (("--match", script[2:].hex()), 2), (("--match", "ab" * 20), 0)]:
        names = [json.loads(line)["msgtype"] for line in
                 run("getdata", "-T", "jsonl", "filtered", tip, where, *arguments).splitlines()]
        assert names[0] == "merkleblock" and len(names) - 1 >= found and (found or len(names) == 1)
    assert "BTC cmpctblock" in run("getdata", "cmpctblock", tip, where)
    payment = node.pay()
    recorded = str(tmp_path / "said.pcapng")
    shown = run("getdata", "tx", "ab" * 32, payment["txid"], where, "-w", recorded, status=1)
    assert f"scapy-btc: the peer does not have {'ab' * 32}" in shown and "BTC tx" in shown
    assert {"getdata", "notfound", "tx"} <= {message.msgtype for message in read(recorded)}


@pytest.mark.parametrize(("args", "text", "status"), [
    (["handshake", "127.0.0.1:x"], "not a port", 2),
    (["handshake", "-w", "-"], "the answers go to standard output", 2),
    (["handshake", "--proxy", "nonsense", "127.0.0.1"], "is no host and port", 2),
    (["handshake", "--proxy", "socks5://127.0.0.1:1"], "scapy-btc: no proxy at 127.0.0.1:1: Connection refused", 1),
    (["getdata", "tx", "ab" * 31], "64 hex digits", 2),
    (["getdata", "tx", "127.0.0.1"], "no hash", 2),
    (["getdata", "tx", "ab" * 32, "--compact"], "--compact is for block", 2),
    (["getdata", "tx", "ab" * 32, "--match", "ab"], "--match is for filtered", 2),
    (["getdata", "filtered", "ab" * 32, "--match", "xy"], "not hex", 2),
    (["handshake", "nobody.onion"], "Tor addresses need a proxy", 1),
])
def test_commands_that_cannot_be(args: list[str], text: str, status: int) -> None:
    assert text in run(*args, status=status)


def test_a_node_that_is_not_there() -> None:
    with nobody() as port:
        assert run("handshake", f"127.0.0.1:{port}", status=1) == f"scapy-btc: 127.0.0.1:{port}: Connection refused\n"


def test_a_node_that_breaks_the_line() -> None:
    """What it says of itself cannot steer the terminal."""
    evil = packet(BTCVersion(user_agent=b"/evil\x1b[2J\n/")) + VERACK
    with serving(answers(lambda m: [BTCPong(nonce=m.nonce)] if m.msgtype == "ping" else [], evil)) as port:
        shown = run("handshake", "-x", f"127.0.0.1:{port}")
        assert "\x1b" not in shown and "/evil\\x1b[2J\\n/" in shown


def test_what_the_documentation_shows(node: BcoinNode, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "live.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
    assert '"127.0.0.1", 18444' in code
    exec(compile(code.replace("18444", str(node.address[1])), "docs/live.md", "exec"), {})
    out = capsys.readouterr().out
    assert "/bcoin" in out and f"block {node.info()['tip']}" in out


# Compact filters: bcoin serves none


def test_compact_filters() -> None:
    with BTCNode(blocks=1105) as node, connect(*node.address) as client:
        headers = list(client.get_headers())
        last = headers[1099].block_hash
        filters = client.get_cfilters(101, last)
        assert [f.block_hash for f in filters] == [h.block_hash for h in headers[100:1100]]
        listed = client.get_cfheaders(101, last)
        from scapy_btc.chain.block_filter import filter_hash, filter_header
        assert [filter_hash(bytes(f.filter)) for f in filters] == listed.filter_hashes
        link = listed.previous_filter_header
        for of in listed.filter_hashes[:900]:
            link = filter_header(of, link if isinstance(link, bytes) else bytes.fromhex(link)[::-1])
        assert client.get_cfcheckpt(last).filter_headers == [link]
        with pytest.raises(Disconnected):  # more than 1,000
            client.get_cfilters(1, last)


def test_published_filters() -> None:
    """Those of BIP 158, of blocks that do not follow each other: a client knows only the last one's hash."""
    rows = json.loads((VECTORS / "chain" / "block-filters.json").read_text())
    filters = [BTCCFilter(block_hash=row["block_hash"], filter=bytes.fromhex(row["filter"])) for row in rows]

    def answer(message: Any) -> Iterable[BTCMessage]:
        if message.msgtype == "getcfilters":
            yield BTCCFilter(filter_type=1, block_hash=filters[-1].block_hash, filter=b"")
            yield from filters

    with serving(answers(answer)) as port, connect("127.0.0.1", port) as client:
        found = client.get_cfilters(0, rows[-1]["block_hash"])
        assert [(f.block_hash, bytes(f.filter).hex()) for f in found] == [(r["block_hash"], r["filter"]) for r in rows]


# Servers that lie, are old, or say nothing


def asking(answer: Callable[[Any], Iterable[BTCMessage | bytes] | None], ask: Callable[[BTCClient], Any],
           greeting: bytes = GREETING, timeout: float = 5.0) -> Any:
    """What a client gets of a server that answers so; pings always have their pong.

    :param timeout: seconds for each answer, after the handshake
    """
    def treated(message: Any) -> Iterable[BTCMessage | bytes]:
        return [BTCPong(nonce=message.nonce)] if message.msgtype == "ping" else answer(message) or ()

    with serving(answers(treated, greeting)) as port, connect("127.0.0.1", port) as client:
        client.timeout = timeout
        return ask(client)


def to(name: str, *said: BTCMessage | bytes) -> Callable[[Any], Iterable[BTCMessage | bytes] | None]:
    return lambda message: said if message.msgtype == name else None


PLAIN = gzip.decompress((VECTORS / "messages" / "block-mainnet-898352.bin.gz").read_bytes())
PLAIN_HASH = "00000000c269ad542ed9ac684cb5fa6df340d5feee0e040590225c7332b98fca"


def test_another_block_is_no_answer() -> None:
    def ask(client: BTCClient) -> None:
        with pytest.raises(TimedOut, match=f"asked for {'ab' * 32}; nodes say nothing about blocks that they do not"):
            client.get_block("ab" * 32)
        assert client.wait_for("block", 0).block_hash == PLAIN_HASH

    asking(to("getdata", BTCBlock(PLAIN)), ask, timeout=0.3)


def test_a_block_that_was_tampered_with() -> None:
    with pytest.raises(PeerError, match="the merkle root does not fit"):
        asking(to("getdata", BTCBlock(PLAIN[:-1] + b"\1")), lambda client: client.get_block(PLAIN_HASH))


def test_a_broken_block_is_no_answer() -> None:
    broken = bytes(BTC(magic="regtest", msgtype="block") / PLAIN[:-1])
    with pytest.raises(TimedOut, match="ignored: 1 malformed block"):
        asking(to("getdata", broken), lambda client: client.get_block(PLAIN_HASH), timeout=0.3)


def exchange() -> dict[str, Any]:
    """A compact block, the transactions that were asked for, and the whole block, as Bitcoin Core sent them."""
    of = "5e243aeee74583a13a745a289e5cc3c1be1d19993fa280edd983961868133bf4"
    found: dict[str, Any] = {}
    for item in items_of("core-v1-regtest.pcapng"):
        if isinstance(item, Message) and item.msgtype in ("cmpctblock", "blocktxn", "block"):
            message = item.packet.payload
            if message.block_hash == of and len(bytes(message)) > len(bytes(found.get(item.msgtype, b""))):
                found[item.msgtype] = message
    return found


CORE = exchange()


def compactly(cmpctblock: BTCMessage, blocktxn: BTCMessage, whole: BTCMessage,
              timeout: float = 5.0) -> tuple[Any, list[str]]:
    """The block that a client gets, and what it asked for."""
    asked: list[str] = []

    def answer(message: Any) -> Iterable[BTCMessage]:
        if isinstance(message, BTCGetData):
            kind = message.inventory[0].type
            asked.append(f"{kind:#x}")
            return [cmpctblock if kind == 4 else whole]
        if message.msgtype == "getblocktxn":
            asked.append("getblocktxn")
            return [blocktxn]
        return []

    block = asking(answer, lambda client: client.get_block(CORE["block"].block_hash, compact=True), timeout=timeout)
    return block, asked


def test_compact_blocks_that_fail_are_fetched_whole() -> None:
    compact, rest, whole = CORE["cmpctblock"], CORE["blocktxn"], CORE["block"]
    first, second = rest.transactions
    block_hash = whole.block_hash
    twins = BTCCmpctBlock(header=compact.header, nonce=compact.nonce, shortids=[7, 7], prefilled=compact.prefilled)
    fewer = BTCBlockTxn(block_hash=block_hash, transactions=[first])
    swapped = BTCBlockTxn(block_hash=block_hash, transactions=[second, first])
    forged = BTCBlockTxn(block_hash=block_hash, transactions=[first.copy(), second.copy()])
    forged.transactions[1].lock_time = 1
    asked_twice = ["0x4", "getblocktxn", "0x40000002"]
    for cmpctblock, blocktxn, asked in [
        (compact, rest, ["0x4", "getblocktxn"]), (twins, rest, ["0x4", "0x40000002"]), (compact, fewer, asked_twice),
        (compact, swapped, asked_twice), (compact, forged, asked_twice), (compact, whole, ["0x4", "getblocktxn"]),
        (whole, rest, ["0x4"]),
    ]:
        block, questions = compactly(cmpctblock, blocktxn, whole)
        assert bytes(block) == bytes(whole) and questions == asked


def test_transactions_that_were_not_asked_for() -> None:
    other = BTCBlockTxn(block_hash="ab" * 32, transactions=CORE["blocktxn"].transactions)
    with pytest.raises(TimedOut):
        compactly(CORE["cmpctblock"], other, CORE["block"], timeout=0.3)


def entries(*headers: Any) -> BTCHeaders:
    return BTCHeaders(headers=[BTCHeadersEntry(header=header) for header in headers])


def test_headers_that_lead_nowhere() -> None:
    header = CORE["block"].header
    unworked = header.copy()
    while int(unworked.block_hash, 16) >> 255 == 0:  # half of all hashes do on regtest
        unworked.nonce += 1
    for answer, text in [
        (entries(header, header), "does not follow the one before it"),
        (entries(unworked), "has no proof of work"),
        (entries(*[header] * 2001), "2,001 headers in a message"),
    ]:
        with pytest.raises(PeerError, match=text):
            asking(to("getheaders", answer), lambda client: list(client.get_headers([header.previous_block])))
    with pytest.raises(PeerError, match="does not follow a known block"):  # an announcement is no answer
        asking(to("getheaders", entries(header)), lambda client: list(client.get_headers()), timeout=0.3)
    assert asking(to("getheaders", entries()), lambda client: list(client.get_headers())) == []


def test_filters_without_end() -> None:
    def answer(message: Any) -> Iterable[BTCMessage] | None:
        endless = BTCCFilter(block_hash="ab" * 32, filter=b"\0")
        return [endless] * 1001 if message.msgtype == "getcfilters" else None

    with pytest.raises(PeerError, match="more than 1,000 filters"):
        asking(answer, lambda client: client.get_cfilters(0, "cd" * 32))
    with pytest.raises(PeerError, match="more than 2,000 hashes"):
        asking(to("getcfheaders", BTCCFHeaders(stop_hash="cd" * 32, filter_hashes=[bytes(32)] * 2001)),
               lambda client: client.get_cfheaders(0, "cd" * 32))
    with pytest.raises(TimedOut):
        asking(to("getcfcheckpt", BTCCFCheckpt(stop_hash="ab" * 32)), lambda client: client.get_cfcheckpt("cd" * 32),
               timeout=0.3)


def test_a_service_that_is_not_offered_is_named() -> None:
    for ask, service in [
        (lambda client: client.get_cfcheckpt("ab" * 32), "NODE_COMPACT_FILTERS"),
        (lambda client: client.get_cfilters(0, "ab" * 32), "NODE_COMPACT_FILTERS"),
    ]:
        with pytest.raises(TimedOut, match=f"the peer does not offer {service}"):
            asking(lambda message: None, ask, timeout=0.3)
    offers = packet(BTCVersion(services=int(ServiceFlags.NODE_COMPACT_FILTERS))) + VERACK
    with pytest.raises(TimedOut) as caught:
        asking(lambda message: None, lambda client: client.get_cfcheckpt("ab" * 32), offers, timeout=0.3)
    assert "offer" not in str(caught.value)

    def gone(peer: Any) -> None:
        peer.sendall(GREETING)
        while b"mempool" not in peer.recv(1000):
            pass

    with (serving(gone) as port, connect("127.0.0.1", port) as client,
          pytest.raises(Disconnected, match="the peer does not offer NODE_BLOOM")):
        client.mempool()


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    own = BTCAddr(addresses=[BTCTimedNetAddr(ip="192.0.2.1", port=1)])
    many = BTCAddrV2(addresses=[BTCNetAddrV2(address="192.0.2.2", port=2), BTCNetAddrV2(address="::2", port=3)])
    old = packet(BTCAddr(addresses=[BTCNetAddr(ip="192.0.2.4", port=4)] * 3))
    monkeypatch.setattr(module, "SOON", 0.1)

    def ports(*said: BTCMessage | bytes) -> list[int]:
        return [entry.port for entry in asking(to("getaddr", *said), lambda client: client.getaddr(0.5))]

    assert ports(own, many, own) == [1, 2, 3, 1]
    assert ports(old) == [4, 4, 4]
    assert ports(own) == [1] and ports() == []


def test_addresses_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ADDRESSES", 2500)
    many = packet(BTCAddr(addresses=[BTCTimedNetAddr(ip="192.0.2.1", port=1)] * 1000))
    assert len(asking(to("getaddr", *[many] * 50), lambda client: client.getaddr(20))) == 3000
    one = packet(BTCAddr(addresses=[BTCTimedNetAddr(ip="192.0.2.1", port=1)]))
    assert len(asking(to("getaddr", *[one] * 5000), lambda client: client.getaddr(20))) == 2500


def test_addresses_on_the_command_line() -> None:
    said = (BTCAddr(addresses=[BTCNetAddr(ip="192.0.2.4", port=4, services=9)] * 2),
            BTCAddrV2(addresses=[BTCNetAddrV2(network_id=77, address=b"\x1b[2J", port=5)]))
    with serving(answers(to("getaddr", *said))) as port:
        shown = run("getaddr", "--wait", "1", f"127.0.0.1:{port}")
        assert re.search(r"^192\.0\.2\.4:4 +\(no time\) +NETWORK\|WITNESS$", shown, re.MULTILINE)
        assert re.search(r"^1b5b324a:5 +1970-01-01T00:00:00Z +none$", shown, re.MULTILINE)
        record = json.loads(run("getaddr", "-T", "jsonl", "--wait", "1", f"127.0.0.1:{port}").splitlines()[0])
        assert record == {"address": "192.0.2.4:4", "services": ["NETWORK", "WITNESS"], "seen": None}


def test_a_memory_pool_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_INV_SZ", 100)
    monkeypatch.setattr(module, "MAX_MEMPOOL", 1000)
    page = BTCInv(inventory=[BTCInvVector(type="MSG_WTX", hash="ab" * 32)] * 100)
    block = BTCInv(inventory=[BTCInvVector(type="MSG_BLOCK", hash="cd" * 32)])
    assert len(asking(to("mempool", *[page] * 50), lambda client: client.mempool())) == 1000
    rest = BTCInv(inventory=[BTCInvVector(type="MSG_TX", hash="ef" * 32)])
    found = asking(to("mempool", block, page, rest, page), lambda client: client.mempool())
    assert found == ["ab" * 32] * 100 + ["ef" * 32]
    assert asking(to("mempool", block), lambda client: client.mempool(0.3)) == []


def test_a_transaction_that_ends_the_connection() -> None:
    """As Bitcoin Core before 30 does for an invalid one."""
    tx = CORE["blocktxn"].transactions[0]

    def treat(peer: Any) -> None:
        listening = iter(lambda: peer.recv(1 << 16), b"")
        peer.sendall(GREETING)
        for data in listening:
            if b"inv\0" in data:
                peer.sendall(packet(BTCGetData(inventory=[BTCInvVector(type=1, hash=tx.txid)])))
            if b"tx\0\0" in data:
                return

    with (serving(treat) as port, connect("127.0.0.1", port) as client,
          pytest.raises(Disconnected, match="had asked for the transaction and got it")):
        client.send_tx(BTCTx(bytes(tx)))


def test_a_peer_that_is_too_old_for_pongs() -> None:
    old = packet(BTCVersion(version=60000)) + VERACK
    with pytest.raises(PeerError, match="the peer's version 60000 knows no pong"):
        asking(lambda message: None, lambda client: client.ping(), old)
    with serving(answers(lambda message: None, old)) as port:
        assert re.search(r"^latency +not said$", run("handshake", f"127.0.0.1:{port}"), re.MULTILINE)


def test_a_pong_with_another_nonce_is_none() -> None:
    counter = count(1)

    def answer(message: Any) -> Iterable[BTCMessage]:
        return [BTCPong(nonce=next(counter))] if message.msgtype == "ping" else []

    with serving(answers(answer)) as port, connect("127.0.0.1", port) as client:
        client.timeout = 0.3
        with pytest.raises(TimedOut, match="no answer within"):
            client.ping()


def test_silence_after_the_handshake_on_the_command_line() -> None:
    with serving(says(GREETING)) as port:
        assert "no answer within 1 s" in run("ping", "--timeout", "1", f"127.0.0.1:{port}", status=1)
        shown = run("getdata", "--timeout", "1", "block", "ab" * 32, f"127.0.0.1:{port}", status=1)
        assert f"asked for {'ab' * 32}; nodes say nothing about blocks that they do not have" in shown
