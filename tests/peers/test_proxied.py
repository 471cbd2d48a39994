# SPDX-License-Identifier: GPL-2.0-or-later
"""Real nodes on both sides of the proxy: bcoin, which knows v1, and bdk's light client, which speaks v2."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bdkpython as bdk
import pytest
from bcoin import BcoinNode, missing
from tap import Tap
from test_bdk import light_client, update, wallet

from scapy_btc.all import BTC, BTCPing, BTCVersion, Message, connect, read
from scapy_btc.net.node import BTCNode
from scapy_btc.net.proxied import Context
from scapy_btc.net.proxy import BTCProxy


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def node() -> Iterator[BcoinNode]:
    with BcoinNode() as running:
        running.mine(200)
        yield running


@pytest.fixture
def said() -> list[Message]:
    return []


def wait_for(met: Any, what: str) -> None:
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def directions(said: list[Message], target: tuple[str, int]) -> tuple[list[bytes], list[bytes]]:
    """The messages to the target, and those from it."""
    end = "{}:{}".format(*target)
    to = [message.frame_bytes for message in said if message.destination == end]
    return to, [message.frame_bytes for message in said if message.source == end]


def test_what_is_recorded_is_what_both_ends_saw(said: list[Message]) -> None:
    ours: dict[bool, list[bytes]] = {True: [], False: []}
    with BcoinNode() as bcoin:
        bcoin.mine(30)
        with BTCProxy(bcoin.address, record=said.append, to_transport="v1") as proxy:
            with connect(*proxy.address, transport="v1",
                         observer=lambda packet, sent: ours[sent].append(bytes(packet))) as client:
                assert client.peer.version is not None and client.peer.version.start_height == 30
                headers = list(client.get_headers())
                blocks = [client.get_block(header.block_hash) for header in headers]
                assert len(blocks) == 30 and blocks[-1].block_hash == bcoin.info()["tip"]
                assert client.ping() < 5
            wait_for(lambda: not proxy.connections, "the end")
        sent, came = directions(said, bcoin.address)
        assert ours[True] == sent and ours[False] == came[:len(ours[False])]
        assert bcoin.info()["received"] == Counter(BTC(raw).msgtype for raw in sent)


def test_a_chain_syncs_through_it(node: BcoinNode, said: list[Message]) -> None:
    """Also if it tries v2 first, which bcoin does not know."""
    with BTCProxy(node.address, record=said.append) as proxy, BcoinNode() as other:
        other.connect(*proxy.address)
        info = other.wait_height(200)
        assert info["tip"] == node.info()["tip"] and info["errors"] == []
        assert [peer["banScore"] for peer in info["peers"]] == [0]
        counts = Counter(message.msgtype for message in said)
        assert counts["block"] + counts["cmpctblock"] == 200 and {message.transport for message in said} == {"v1"}
        assert not any(code for message in said for code in message.findings)


def test_old_tools_over_v2(node: BcoinNode, said: list[Message]) -> None:
    """bcoin, a proxy, v2, another proxy, bcoin."""
    with (BTCProxy(node.address, listen_transport="v2", to_transport="v1", record=said.append) as second,
          BTCProxy(second.address, listen_transport="v1", to_transport="v2") as first, BcoinNode() as other):
        other.connect(*first.address)
        assert other.wait_height(200)["tip"] == node.info()["tip"]
        node.mine()
        other.wait_height(201)
    assert {message.transport for message in said if message.destination.endswith(f":{node.port}")} == {"v2"}


def test_transactions_are_dropped(said: list[Message]) -> None:
    dropping = True

    def handle(packet: Any, context: Context) -> Any:
        return None if dropping and packet.msgtype == "tx" else packet

    with (BcoinNode() as node, BTCProxy(node.address, handle=handle, record=said.append, to_transport="v1") as proxy,
          BcoinNode() as other):
        node.mine(120)
        other.connect(*proxy.address)
        other.wait_height(120)
        kept = node.pay()["txid"]
        wait_for(lambda: [m.fate for m in said if m.msgtype == "tx"] == ["dropped"], "the transaction")
        dropping = False
        passed = node.pay()["txid"]
        info = other.wait(lambda info: info["mempool"], "a transaction")
        assert info["mempool"] == [passed] and set(node.info()["mempool"]) == {kept, passed}


def test_the_height_is_changed_and_pongs_are_late(node: BcoinNode) -> None:
    async def handle(packet: Any, context: Context) -> Any:
        if context.sender == "target" and BTCVersion in packet:
            packet.start_height = 777_777
        if packet.msgtype == "pong":
            await asyncio.sleep(0.3)
        return packet

    with (BTCProxy(node.address, handle=handle, to_transport="v1") as proxy,
          connect(*proxy.address, transport="v1") as client):
        assert client.peer.version is not None and client.peer.version.start_height == 777_777
        assert 0.3 <= client.ping() < 3


def test_a_ping_is_injected(node: BcoinNode, said: list[Message]) -> None:
    with (BTCProxy(node.address, record=said.append, to_transport="v1") as proxy,
          connect(*proxy.address, transport="v1") as client):
        proxy.inject(0, BTCPing(nonce=4711), to="target")
        assert client.wait_for("pong").nonce == 4711
    assert [m.fate for m in said if m.msgtype in ("ping", "pong") and m.packet.nonce == 4711] == ["injected", ""]


def test_bdk_syncs_over_v2_and_a_capture_with_keys_tells_all(tmp_path: Path, said: list[Message]) -> None:
    """What bdk and the proxy said to each other in v2 is read from what passed the wire, as our node had it in v1."""
    keys, capture, heard = tmp_path / "keys", tmp_path / "tap.pcap", []
    ours = wallet()
    address = str(ours.reveal_next_address(bdk.KeychainKind.EXTERNAL).address)

    async def use(port: int) -> None:
        async with light_client(ours, port, tmp_path, v2=True) as client:
            await update(ours, client, 200)

    with (BTCNode(blocks=200, mine_to=address, record=heard.append) as node,
          BTCProxy(node.address, record=said.append, to_transport="v1", keylog=keys) as proxy,
          Tap(proxy.address) as tap):
        ends = proxy.address, node.address
        asyncio.run(use(tap.port))
        assert ours.balance().total.to_sat() == (149 * 50 + 51 * 25) * 10**8
        wait_for(lambda: not proxy.connections, "the end")
    tap.write(capture)
    decrypted = list(read(capture, keylog=keys))
    assert {message.transport for message in decrypted} == {"v2"}
    assert Counter(m.msgtype for m in decrypted)["block"] == 200
    assert directions(decrypted, ends[0]) == directions(said, ends[1]) == directions(heard, ends[1])
    assert {m.transport for m in said if m.destination == "{}:{}".format(*ends[1])} == {"v2"}
