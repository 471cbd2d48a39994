# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings played over v2 (BIP 324), in both roles: to themselves, our node and our client, and who breaks it."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conversations import script_of
from misbehaving import serving
from plain_v2 import Peer as PlainPeer
from recordings import items_of

from scapy_btc.all import BTC, BTCAddr, BTCGetAddr, BTCVerack, BTCVersion
from scapy_btc.bip324.keylog import KeyLog
from scapy_btc.capture.message import Message
from scapy_btc.errors import Disconnected, PeerError
from scapy_btc.net.client import connect
from scapy_btc.net.node import BTCNode
from scapy_btc.net.transports import Choice
from scapy_btc.networks import REGTEST
from scapy_btc.peer.block_store import BlockStore
from scapy_btc.peer.options import PeerOptions
from scapy_btc.replay.live import Playing, play_listening, play_to
from scapy_btc.replay.player import Outcome
from scapy_btc.replay.script import CLIENT, SERVER, Script, load

SCRIPT = [(">", BTCVersion()), ("<", BTCVersion()), ("<", BTCVerack()), (">", BTCVerack()), (">", BTCGetAddr()),
          ("<", BTCAddr()), (">", BTCGetAddr()), ("<", BTCAddr())]


def key_count(path: Path) -> int:
    log = KeyLog(path)
    assert log.lookup(bytes(64)) is None  # reads it
    return len(log)


@pytest.mark.parametrize(("ours", "theirs", "spoken"), [
    ("v2", "auto", "v2"), ("v2", "v2", "v2"), ("auto", "auto", "v1"), ("v1", "auto", "v1")])
def test_the_transport_of_a_v1_recording(tmp_path: Path, ours: Choice, theirs: Choice, spoken: str) -> None:
    client, server = (load(items_of("core-v1-regtest.pcapng"), side) for side in (CLIENT, SERVER))
    heard: list[list[Message]] = [[], []]

    async def run() -> tuple[Outcome, Outcome]:
        hows = [Playing(sink=said.append, transport=choice, keylog=tmp_path / name)
                for said, choice, name in zip(heard, (ours, theirs), ("ours", "theirs"), strict=True)]
        listening = asyncio.get_running_loop().create_future()
        playing = asyncio.create_task(play_listening(server, "127.0.0.1", 0, hows[1], listening.set_result))
        host, port = (await listening).split(":")
        return await play_to(client, host, int(port), hows[0]), await playing

    for outcome in asyncio.run(asyncio.wait_for(run(), 60)):
        assert not outcome.failure and outcome.unexpected == [] and outcome.came == outcome.to_come > 100
    assert {message.transport for message in (*heard[0], *heard[1])} == {spoken}
    for name in ("ours", "theirs"):
        assert key_count(tmp_path / name) == (spoken == "v2")


def test_v1_where_v2_is_not_answered() -> None:
    """A recording that was made over v2, to a node that knows v1 only; a node that insists on v2 is not spoken with."""
    async def run(transport: Choice) -> tuple[Outcome, set[str]]:
        said: list[Message] = []
        async with BTCNode(transport="v1") as node:
            script = load(items_of("core-v2-regtest.pcapng"), CLIENT, 0)
            outcome = await play_to(script, *node.address, Playing(timeout=0.1, sink=said.append, transport=transport))
        return outcome, {message.transport for message in said}

    outcome, spoken = asyncio.run(run("auto"))
    assert spoken == {"v1"} and outcome.came > 5
    with pytest.raises(Disconnected, match="during the handshake"):
        asyncio.run(run("v2"))


def test_a_core_session_over_v2_to_our_node(tmp_path: Path) -> None:
    """The node has the chain that Bitcoin Core had, and answers as that did, to the byte."""
    script = load(items_of("core-v2-regtest.pcapng"), CLIENT, 0)
    recorded = [m.payload for m in script.messages if m.msgtype == "block"]
    store = BlockStore(REGTEST)
    for payload in recorded[120:]:  # those with witnesses
        store.add(payload)
    assert len(recorded) == 240 and store.height == 120
    said: list[Message] = []
    how = Playing(timeout=0.5, sink=said.append, keylog=tmp_path / "keys")

    async def run() -> Outcome:
        async with BTCNode(store=store) as node:
            return await play_to(script, *node.address, how)

    outcome = asyncio.run(run())
    assert {message.transport for message in said} == {"v2"} and key_count(tmp_path / "keys") == 1
    theirs = [m for m in said if m.source == said[1].source and said[1].msgtype == "version"]
    assert [m.payload for m in theirs if m.msgtype == "block"] == recorded
    assert sum(m.msgtype == "pong" for m in theirs) >= 118
    for name in ("headers", "cfheaders", "notfound"):
        first = next(m.payload for m in script.messages if m.msgtype == name)
        assert next(m.payload for m in theirs if m.msgtype == name) == first
    # who it is, what it announces, and the transaction and the block that came about in the recorded session
    assert {(d.kind, d.msgtype) for d in outcome.unexpected} == {
        ("field", "version"), *(("extra", name) for name in ("sendheaders", "notfound")),
        *(("missing", name) for name in ("sendtxrcncl", "feefilter", "inv", "tx", "headers", "cmpctblock"))}


def test_a_core_session_over_v2_is_served_to_our_client(tmp_path: Path) -> None:
    script = load(items_of("core-v2-regtest.pcapng"), SERVER, 0)
    heard: list[tuple[str, bytes]] = []
    options = PeerOptions(services=0, user_agent=b"/plain-client:1.0/", wtxidrelay=False, sendaddrv2=False)

    def use(port: int) -> None:
        with connect("127.0.0.1", port, options=options, observer=lambda packet, sent: sent or heard.append(
                (packet.msgtype, bytes(packet)[24:])), keylog=tmp_path / "ours") as client:
            assert client.socket.transport.name == "v2"
            for message in script.messages:
                if script.is_ours(message):
                    client.receive()
                elif message.msgtype not in ("version", "verack"):
                    client.send(message.packet.payload)
            with suppress(Disconnected):
                client.wait_for("nothing", 5)

    async def run() -> Outcome:
        listening = asyncio.get_running_loop().create_future()
        how = Playing(keylog=tmp_path / "theirs")
        playing = asyncio.create_task(play_listening(script, "127.0.0.1", 0, how, listening.set_result))
        _, port = (await listening).split(":")
        await asyncio.to_thread(use, int(port))
        return await playing

    outcome = asyncio.run(asyncio.wait_for(run(), 60))
    assert not outcome.failure and outcome.came == outcome.to_come == 249
    assert outcome.sent == outcome.to_send == 493
    assert [(d.kind, d.msgtype) for d in outcome.unexpected] == [("extra", "pong")]  # the recorded client gave none
    for name in ("block", "headers", "tx", "cmpctblock", "cfheaders"):
        assert [payload for other, payload in heard if other == name] == [
            m.payload for m in script.messages if m.msgtype == name and script.is_ours(m)]
    assert key_count(tmp_path / "ours") == key_count(tmp_path / "theirs") == 1


Breaking = Callable[[PlainPeer], bytes]
BREAKING: list[tuple[Breaking, str]] = [
    (lambda peer: b"", "no v2 handshake|3 times in a row"),
    (lambda peer: bytes(5000), "the peer broke the v2 transport: .*terminator"),
    (lambda peer: bytes(16) + peer.opening()[16:], "no v2 handshake|3 times in a row"),
    (lambda peer: (opening := peer.opening())[:-1] + bytes([opening[-1] ^ 1]), "the peer broke the v2 transport"),
    (lambda peer: peer.opening() + peer.packet(bytes(100), length=(1 << 24) - 1), "the peer broke the v2 transport"),
]
breaking = pytest.mark.parametrize(("follows", "reason"), BREAKING, ids=["silence", "garbage", "terminator", "tag",
                                                                         "length"])


@breaking
def test_nodes_that_break_v2(follows: Breaking, reason: str) -> None:
    """Written down from BIP 324; a silent one costs the time of one wait."""
    def treat(sock: socket.socket) -> None:
        peer = PlainPeer(False, garbage=b"garbage").meet(sock.recv(64, socket.MSG_WAITALL))
        sock.sendall(peer.hello + follows(peer))
        while sock.recv(1000):
            pass

    start = time.monotonic()
    with serving(treat) as port:
        try:
            how = Playing(timeout=0.4, transport="v2")
            failure = asyncio.run(play_to(script_of(*SCRIPT), "127.0.0.1", port, how)).failure
        except PeerError as error:
            failure = str(error)
        assert time.monotonic() - start < 3
    assert re.search(reason, failure)


@breaking
def test_who_connects_and_breaks_v2(follows: Breaking, reason: str) -> None:
    async def run() -> Outcome:
        listening = asyncio.get_running_loop().create_future()
        script, how = script_of(*SCRIPT, side=SERVER), Playing(timeout=0.2)
        playing = asyncio.create_task(play_listening(script, "127.0.0.1", 0, how, listening.set_result))
        host, port = (await listening).split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        first = PlainPeer(True, garbage=b"garbage")
        writer.write(first.hello)
        peer = first.meet(await reader.readexactly(64))
        writer.write(follows(peer))
        outcome = await playing
        writer.close()
        return outcome

    start = time.monotonic()
    assert re.search(reason, asyncio.run(asyncio.wait_for(run(), 20)).failure)
    assert time.monotonic() - start < 3


def test_headers_of_before_2012_have_no_v2_form() -> None:
    async def run(script: Script) -> Outcome:
        async with BTCNode() as node:
            return await play_to(script, *node.address, Playing(timeout=0.2, transport="v2"))

    old = BTC(magic="regtest", checksum=b"") / BTCVersion(version=31402, user_agent=b"", relay=None)
    outcome = asyncio.run(run(script_of((">", old), ("<", BTCVersion()))))
    assert outcome.failure.startswith("v2 has no headers without checksum") and outcome.came == 0
