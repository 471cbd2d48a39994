# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings played to nodes: to themselves, to bcoin in both directions, and to peers that misbehave."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bcoin import BcoinNode, missing
from conversations import conversation
from recordings import ENCRYPTED, LOG, PCAPS, items_of, messages_of

from scapy_btc.all import (
    BTC,
    BTCAddr,
    BTCFilterLoad,
    BTCGetAddr,
    BTCGetBlocks,
    BTCGetHeaders,
    BTCInv,
    BTCPing,
    BTCVerack,
    BTCVersion,
)
from scapy_btc.capture.message import Message
from scapy_btc.capture.reader import read
from scapy_btc.errors import CaptureError, NotFound, Refused
from scapy_btc.net.client import BTCClient, connect
from scapy_btc.replay import player
from scapy_btc.replay.live import Playing, play_listening, play_to
from scapy_btc.replay.offline import RecordedClient
from scapy_btc.replay.player import Outcome
from scapy_btc.replay.script import CLIENT, SERVER, Script, load

ROOT = Path(__file__).parent.parent.parent


def both_sides(client: Script, server: Script, **how: Any) -> tuple[Outcome, Outcome, list[Message], str]:
    """Play both sides of a recording to each other; how it went for each, what the client's side saw, the server's
    address."""
    heard: list[Message] = []

    async def run() -> tuple[Outcome, Outcome, str]:
        listening = asyncio.get_running_loop().create_future()
        playing = asyncio.create_task(play_listening(server, "127.0.0.1", 0, Playing(**how), listening.set_result))
        host, port = (await listening).split(":")
        outcome = await play_to(client, host, int(port), Playing(**how, sink=heard.append))
        return outcome, await playing, f"{host}:{port}"

    a, b, address = asyncio.run(asyncio.wait_for(run(), 60))
    return a, b, heard, address


CONNECTIONS = [(name, connection) for name in ("bcoin-regtest.pcapng", LOG, "core-v1-regtest.pcapng",
                                               "every-message.pcapng", *ENCRYPTED)
               for connection in sorted({m.connection for m in messages_of(name)})]


def without_what_is_new(messages: list[Message], theirs: str) -> dict[bool, list[tuple[str, bytes]]]:
    """What each side said, without the fields that are said anew; by whether it was ours."""
    said: dict[bool, list[tuple[str, bytes]]] = {True: [], False: []}
    for message in messages:
        payload = message.payload
        if message.msgtype == "version":
            payload = payload[:12] + payload[20:28] + payload[80:]
        elif message.msgtype in ("ping", "pong"):
            payload = b""
        elif message.msgtype in ("addr", "addrv2"):
            payload = payload[:1]
        said[message.source != theirs].append((message.msgtype, payload))
    return said


@pytest.mark.parametrize(("name", "connection"), CONNECTIONS)
def test_a_recording_played_to_itself_is_the_recording(name: str, connection: int) -> None:
    """Held against the recorded bytes, not by our own comparison alone."""
    client, server = (load(items_of(name), side, connection) for side in (CLIENT, SERVER))
    a, b, heard, address = both_sides(client, server, timeout=5)
    for outcome in (a, b):
        assert not outcome.failure and outcome.unexpected == []
        assert (outcome.sent, outcome.came) == (outcome.to_send, outcome.to_come)
    recorded, live = without_what_is_new(client.messages, client.theirs), without_what_is_new(heard, address)
    for ours, said in live.items():
        assert said[:len(recorded[ours])] == recorded[ours]
        assert {message for message, _ in said[len(recorded[ours]):]} <= {"ping", "pong"}  # the closing ones
    assert {message.transport for message in heard} == {"v1" if client.messages[0].transport == "v1" else "v2"}


# bcoin


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[BcoinNode, BcoinNode]]:
    """Two nodes with the same chain."""
    if reason := missing():
        pytest.skip(reason)
    with BcoinNode(feeRate=1000) as first, BcoinNode(feeRate=1000) as second:
        first.mine(110)
        second.connect(*first.address)
        second.wait_height(110)
        second.call("disconnect")
        payment = first.pay()
        second.call("submit", transaction=payment["transaction"])
        yield first, second


def ask_everything(client: BTCClient, tip: str) -> list[str]:
    """A session with a request of every kind that bcoin answers; the names of what was heard meanwhile."""
    heard: list[str] = []
    client.on(lambda message: True, lambda message: heard.append(message.msgtype))
    client.ping()
    assert len(list(client.get_headers())) == 110
    client.send(BTCGetBlocks(locator=["0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"]))
    client.wait_for("inv")
    client.getdata(("MSG_WITNESS_BLOCK", tip))
    client.getdata(("MSG_CMPCT_BLOCK", tip))
    tx, = client.mempool()
    client.getdata(("MSG_WITNESS_TX", tx))
    with pytest.raises(NotFound):
        client.getdata(("MSG_TX", "11" * 32))
    client.send(BTCFilterLoad(filter=b"\xff", n_hash_funcs=1))
    client.getdata(("MSG_FILTERED_BLOCK", tip))
    client.ping()
    return heard


@pytest.fixture(scope="module")
def session(nodes: tuple[BcoinNode, BcoinNode], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A recorded session with the first node, and what a callback heard in it."""
    path = tmp_path_factory.mktemp("replay") / "session.pcapng"
    with connect(*nodes[0].address, record=path) as client:
        heard = ask_everything(client, nodes[0].info()["tip"])
    return path, heard


def scripted(path: Path, side: str = CLIENT) -> Script:
    with read(path, events=True) as reader:
        return load(reader, side)


REQUESTS = {"version", "verack", "ping", "getheaders", "getblocks", "getdata", "mempool", "filterload"}
ANSWERS = {"version", "verack", "pong", "headers", "inv", "block", "cmpctblock", "tx", "notfound", "merkleblock"}


def test_a_session_replayed_to_a_fresh_node(nodes: tuple[BcoinNode, BcoinNode], session: tuple[Path, list[str]]
                                            ) -> None:
    script = scripted(session[0])
    ours = {message.msgtype for message in script.messages if script.is_ours(message)}
    assert ours >= REQUESTS and {m.msgtype for m in script.messages} - ours >= ANSWERS - REQUESTS
    outcome = asyncio.run(play_to(script, *nodes[1].address))
    assert not outcome.failure and outcome.unexpected == []
    assert (outcome.sent, outcome.came) == (outcome.to_send, outcome.to_come) == (
        script.to_send, len(script.messages) - script.to_send)
    told = {(d.msgtype, d.field, d.reason) for d in outcome.differences if d.kind == "field"}
    assert {("version", "nonce", "random"), ("pong", "nonce", "echo"), ("cmpctblock", "nonce", "random")} <= told
    assert {(name, field) for name, field, _ in told} <= {
        ("version", "nonce"), ("version", "timestamp"), ("version", "receiver_address.port"), ("pong", "nonce"),
        ("ping", "nonce"), ("cmpctblock", "nonce"), ("cmpctblock", "shortids[0]")}


def test_a_node_with_another_chain_answers_otherwise(session: tuple[Path, list[str]]) -> None:
    script = scripted(session[0])
    with BcoinNode(feeRate=1000) as other:
        other.mine(3)
        outcome = asyncio.run(play_to(script, *other.address, Playing(timeout=1)))
    unexpected = {(d.kind, d.msgtype, d.field) for d in outcome.unexpected}
    assert {("field", "version", "start_height"), ("field", "headers", "headers_count"), ("missing", "block", ""),
            ("missing", "tx", ""), ("extra", "notfound", "")} <= unexpected


def test_a_real_client_is_served_from_a_recording() -> None:
    """bcoin takes the chain and transactions that another bcoin sent in the recording."""
    script = load(items_of("bcoin-regtest.pcapng"), SERVER, 1)
    tip = next(m for m in reversed(script.messages) if m.msgtype == "cmpctblock").packet.payload.block_hash

    async def run(node: BcoinNode) -> Outcome:
        listening = asyncio.get_running_loop().create_future()
        playing = asyncio.create_task(play_listening(script, "127.0.0.1", 0, Playing(), listening.set_result))
        host, port = (await listening).split(":")
        await asyncio.to_thread(node.connect, host, int(port))
        return await playing

    with BcoinNode(blockMode=0) as node:
        outcome = asyncio.run(asyncio.wait_for(run(node), 60))
        assert node.wait_height(186)["tip"] == tip
    assert not outcome.failure and outcome.unexpected == []
    assert (outcome.sent, outcome.came) == (245, 52)


def test_our_client_is_served_from_a_recording(session: tuple[Path, list[str]]) -> None:
    script = scripted(session[0], SERVER)
    tip = next(m for m in script.messages if m.msgtype == "block").packet.payload.block_hash

    async def run() -> tuple[Outcome, list[str]]:
        listening = asyncio.get_running_loop().create_future()
        playing = asyncio.create_task(play_listening(script, "127.0.0.1", 0, Playing(), listening.set_result))
        host, port = (await listening).split(":")

        def use() -> list[str]:
            with connect(host, int(port)) as client:
                return ask_everything(client, tip)

        heard = await asyncio.to_thread(use)
        return await playing, heard

    outcome, heard = asyncio.run(asyncio.wait_for(run(), 60))
    assert not outcome.failure and outcome.unexpected == []
    assert heard == session[1]


def test_a_callback_sees_the_same_on_the_file_as_on_the_socket(nodes: tuple[BcoinNode, BcoinNode], tmp_path: Path
                                                               ) -> None:
    def use(client: Any) -> tuple[list[bytes], list[str], Any]:
        blocks: list[bytes] = []
        end = client.on("headers", lambda message: blocks.append(bytes(message)))
        names = [packet.msgtype for packet in client.messages(0.5)]
        end()
        return blocks, names, client.peer

    path = tmp_path / "live.pcapng"
    seen: dict[str, list[tuple[bytes, bool]]] = {"live": [], "file": []}
    with connect(*nodes[0].address, record=path, handshake=False,
                 observer=lambda packet, sent: seen["live"].append((bytes(packet), sent))) as client:
        client.handshake()
        client.ping()
        client.send(BTCGetHeaders(locator=[bytes(32)]))
        live = use(client)
        counts = client.counts
    with read(path) as messages:
        recorded = RecordedClient(messages, observer=lambda packet, sent: seen["file"].append((bytes(packet), sent)))
        played = use(recorded)
    assert played[0] == live[0] and len(live[0]) == 1
    assert seen["file"] == seen["live"][:len(seen["file"])]
    assert recorded.counts.items() <= counts.items() and recorded.counts["headers"] == 1
    for attribute in ("agreed", "common_version", "established", "nonce"):
        assert getattr(played[2], attribute) == getattr(live[2], attribute)
    assert played[2].latency == pytest.approx(live[2].latency, abs=0.1)


# Peers that misbehave

Treat = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SCRIPT = [(">", BTCVersion()), ("<", BTCVersion()), ("<", BTCVerack()), (">", BTCVerack()), (">", BTCGetAddr()),
          ("<", BTCAddr()), (">", BTCGetAddr()), ("<", BTCAddr())]


def wire(*messages: Any) -> bytes:
    return b"".join(bytes(BTC(magic="regtest") / message) for message in messages)


GREETING = wire(BTCVersion(), BTCVerack())


def outcome_with(treat: Treat, **how: Any) -> Outcome:
    """How a replay goes to a server that treats its connection as told; it must end within 10 seconds."""
    async def run() -> Outcome:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await treat(reader, writer)
            except OSError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.wait_for(play_to(load(conversation(*SCRIPT)), "127.0.0.1", port, Playing(**how)), 10)
        finally:
            server.close()

    return asyncio.run(run())


def test_a_peer_that_hangs() -> None:
    for greeting in (b"", GREETING):
        async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = greeting) -> None:
            writer.write(said)
            await reader.read(-1)

        start = time.monotonic()
        outcome = outcome_with(treat, timeout=0.2)
        assert time.monotonic() - start < 3
        assert any(d.kind == "missing" for d in outcome.unexpected)
        assert outcome.failure == ("" if greeting else "nothing of what was waited for came, 3 times in a row")


def test_a_peer_that_drips() -> None:
    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in GREETING:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    assert "3 times in a row" in outcome_with(treat, timeout=0.3).failure


def test_a_peer_that_floods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player, "MAX_EXTRA", 500)

    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        while True:
            writer.write(wire(BTCInv()) * 100)
            await writer.drain()

    outcome = outcome_with(treat)
    assert "that are not in the recording" in outcome.failure and len(outcome.differences) < 600


def test_a_peer_that_pings_without_end() -> None:
    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        for _ in range(50):
            writer.write(wire(BTCPing(nonce=1)))
            await asyncio.sleep(0.02)
        await reader.read(-1)

    outcome = outcome_with(treat, timeout=0.2)
    assert [d.kind for d in outcome.unexpected] == ["missing", "missing"]


@pytest.mark.parametrize(("garbage", "reason"), [
    (b"SSH-2.0-OpenSSH_9.2p1\r\n" + bytes(40), "no message of Bitcoin's: 5353482d322e302d"),
    (bytes(1000), "no message of Bitcoin's"),
    (bytes(BTC(magic="mainnet") / BTCVersion()), "mainnet"),
])
def test_garbage(garbage: bytes, reason: str) -> None:
    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        await reader.read(-1)

    assert reason in outcome_with(treat).failure


@pytest.mark.parametrize("said", [0, 60, len(GREETING)])
def test_the_end_in_the_middle(said: int) -> None:
    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(GREETING[:said])
        await writer.drain()

    outcome = outcome_with(treat)
    assert re.search("closed|reset|Broken pipe", outcome.failure)
    assert outcome.came < outcome.to_come


def test_broken_messages() -> None:
    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING + bytes(BTC(magic="regtest", msgtype="addr") / b"\xff\xff")
                     + bytes(BTC(magic="regtest", msgtype="\x80x") / b"") + wire(BTCAddr()))
        await reader.read(-1)

    outcome = outcome_with(treat)
    assert not outcome.failure
    assert {(d.kind, d.msgtype) for d in outcome.unexpected} == {("field", "addr"), ("extra", "\\x80x")}


def test_nobody_listens() -> None:
    with socket.socket() as unused, pytest.raises(Refused):
        unused.bind(("127.0.0.1", 0))
        asyncio.run(play_to(load(conversation(*SCRIPT)), *unused.getsockname()))


def test_an_address_that_cannot_be_listened_on() -> None:
    with pytest.raises(Refused, match=r"^192\.0\.2\.1:18444: "):
        asyncio.run(play_listening(load(conversation(*SCRIPT), SERVER), "192.0.2.1", 18444))


def test_a_second_who_connects_is_turned_away() -> None:
    async def run() -> None:
        listening = asyncio.get_running_loop().create_future()
        script = load(conversation(*SCRIPT), SERVER)
        playing = asyncio.create_task(play_listening(script, "127.0.0.1", 0, Playing(timeout=1), listening.set_result))
        host, port = (await listening).split(":")
        first, writer = await asyncio.open_connection(host, int(port))
        writer.write(GREETING)
        await first.read(24)
        with pytest.raises(OSError):
            reader, other = await asyncio.open_connection(host, int(port))
            if await reader.read(24) == b"":
                other.close()
                raise ConnectionResetError
        writer.close()
        assert (await playing).failure

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_listener_that_is_given_up_leaves_nothing() -> None:
    async def run() -> None:
        listening = asyncio.get_running_loop().create_future()
        script = load(conversation(*SCRIPT), SERVER)
        playing = asyncio.create_task(play_listening(script, "127.0.0.1", 0, Playing(), listening.set_result))
        await listening
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing

    asyncio.run(asyncio.wait_for(run(), 20))


# The documentation


def test_what_the_documentation_shows(nodes: tuple[BcoinNode, BcoinNode], tmp_path: Path) -> None:
    page = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```text\n\$ (scapy-btc [^\n]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    code, = re.findall(r"^```python\n(?!>>>)(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown and '"127.0.0.1", 18444' in code
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        exec(compile(code.replace("18444", str(nodes[0].address[1])), "docs/replay.md", "exec"), {})
        for command, expected in shown:
            done = subprocess.run(
                [sys.executable, "-m", *command.replace("scapy-btc", "scapy_btc").replace(
                    "18444", str(nodes[1].address[1])).split()],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
            pattern = re.sub(r"^\\\.\\\.\\\.\\\n", "(?:.*\\n)?", re.escape(expected), flags=re.MULTILINE)
            pattern = re.sub(r"\\\.\\\.\\\.", ".*", pattern)
            assert re.fullmatch(pattern, done.stdout, re.DOTALL), done.stdout
    finally:
        os.chdir(before)


def test_recordings_that_cannot_be_played_say_so() -> None:
    with read(PCAPS / "broken-loss.pcap.gz", events=True) as reader, pytest.raises(CaptureError):
        load(reader, CLIENT)
