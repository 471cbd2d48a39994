# SPDX-License-Identifier: GPL-2.0-or-later
"""A real node, bcoin, with our embedded one: it connects to us and we to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from bcoin import BcoinNode, missing

from scapy_btc.all import REGTEST, BTCOutPoint, BTCTx, BTCTxIn, BTCTxOut, Message
from scapy_btc.chain.script import script_of
from scapy_btc.net.node import BTCNode
from scapy_btc.net.running import RunningNode
from scapy_btc.peer.serving import ANYONE_CAN_SPEND
from scapy_btc.wire.hashes import hex_hash


@pytest.fixture(autouse=True, scope="module")
def installed() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture
def said() -> list[Message]:
    return []


@pytest.fixture
def node(said: list[Message]) -> Iterator[RunningNode]:
    with BTCNode(blocks=610, record=said.append) as running:
        yield running


def spend(node: RunningNode, height: int) -> BTCTx:
    """A transaction that spends the coinbase of one of our blocks, which anybody may."""
    coinbase = node.store.at(height).transactions()[0]
    return BTCTx(inputs=[BTCTxIn(previous_output=BTCOutPoint(hash=coinbase.txid))],
                 outputs=[BTCTxOut(value=next(coinbase.outputs()).value - 10_000, script=ANYONE_CAN_SPEND)],
                 witness=[[b"\x51"]])




def test_it_syncs_from_us(node: RunningNode, said: list[Message]) -> None:
    with BcoinNode() as bcoin:
        bcoin.connect(*node.address)
        info = bcoin.wait_height(610)
        assert info["tip"] == node.tip and info["synced"] and info["segwit"] and info["errors"] == []
        assert [peer["banScore"] for peer in info["peers"]] == [0]
        assert info["received"]["inv"] == 3  # two pages of 500, and the tip that makes it ask for the second
        assert info["received"]["block"] + info["received"]["cmpctblock"] == 610
        for height in (1, 300, 610):
            assert bcoin.call("block", height=height) == node.store.at(height).payload.hex()

        # a new block of ours, in the compact form that it asks for
        said.clear()
        tip, = node.mine()
        assert bcoin.wait_height(611)["tip"] == tip
        counts = Counter(message.msgtype for message in said)
        assert counts["cmpctblock"] == 1 and counts["block"] == 0

        # a transaction that we were given enters its memory pool, and the block that it mines is ours, too
        tx = spend(node, 1)
        assert node.submit(tx) == tx.txid
        bcoin.wait(lambda info: info["mempool"] == [tx.txid], "the transaction")
        mined, = bcoin.mine()
        node.wait_until(lambda: node.height == 612)
        assert node.tip == mined and len(node.pool) == 0
        assert node.store.tip.transactions()[1].wtxid == hex_hash(tx.wtxid)

        # and one that it makes comes to us
        bcoin.mine(100)
        node.wait_until(lambda: node.height == 712)
        payment = bcoin.pay()
        node.wait_until(lambda: node.pool.get(hex_hash(payment["txid"])))
        tip, = node.mine()
        bcoin.wait(lambda info: info["tip"] == tip and info["mempool"] == [], "our block with its transaction")


def test_we_take_its_blocks(said: list[Message]) -> None:
    with BcoinNode() as bcoin, BTCNode(record=said.append) as node:
        hashes = bcoin.mine(2_050)
        info = node.connect_to(*bcoin.address)
        assert info.outbound and "/bcoin" in info.user_agent and info.start_height == 2_050
        node.wait_until(lambda: node.height == 2_050, timeout=30)
        assert node.tip == hashes[-1]
        assert Counter(message.msgtype for message in said)["headers"] >= 2  # pages
        payment = bcoin.pay()
        node.wait_until(lambda: len(node.pool) == 1)
        # which blocks a reorganisation takes back
        with BTCNode(store=node.store) as rival:
            bcoin.mine(1)
            node.wait_until(lambda: node.height == 2_051)
            assert node.pool.get(hex_hash(payment["txid"])) is None
            rival.connect_to(*bcoin.address)
            branch = rival.mine(3)  # of those who connect to it, bcoin asks for nothing that was not announced
            node.wait_until(lambda: node.tip == branch[-1])
            assert bcoin.wait_height(2_053)["tip"] == branch[-1]
            assert node.pool.get(hex_hash(payment["txid"]))  # it is unconfirmed again


def test_several_peers_that_know_each_other_through_us(node: RunningNode) -> None:
    with BcoinNode(blockMode=1) as one, BcoinNode(key="another") as other:
        one.connect(*node.address)
        node.connect_to(*other.address)
        node.mine()  # of those who connect to it, bcoin asks for nothing that was not announced
        one.wait_height(611)
        other.wait_height(611)
        mined = one.mine(101)
        assert other.wait_height(712)["tip"] == mined[-1] == node.tip
        payment = one.pay()
        other.wait(lambda info: info["mempool"] == [payment["txid"]], "the transaction")
        mined = other.mine()
        one.wait(lambda info: info["tip"] == mined[-1] and not info["mempool"], "the block with it")
        node.mine()
        for each in (one, other):
            assert each.wait_height(714)["tip"] == node.tip
        # high bandwidth: unasked
        assert one.info()["received"]["cmpctblock"] >= 2 and len(node.peers) == 2


def test_a_light_client_gets_what_it_watches(said: list[Message]) -> None:
    with BcoinNode(spv=True, key="light") as light, BcoinNode() as wallet:
        address = wallet.call("addresses")["p2wpkh"]
        script = script_of(address, replace(REGTEST, bech32_hrp="rb"))  # on regtest it has a prefix of its own
        with BTCNode(blocks=20, mine_to=script, record=said.append) as node:
            light.call("watch", address=address)
            light.connect(*node.address)
            received = light.wait_height(20)["received"]
            assert (received["merkleblock"], received["tx"]) == (20, 20)
            node.mine()
            assert light.wait_height(21)["tip"] == node.tip
            light.wait(lambda info: info["received"]["tx"] == 21, "the coinbase of the new block")
            counts = Counter(message.msgtype for message in said)
            assert counts["filterload"] >= 1 and counts["block"] == 0
            assert node.peers[0].user_agent.startswith("/bcoin")
