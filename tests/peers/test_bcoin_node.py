# SPDX-License-Identifier: GPL-2.0-or-later
"""The bcoin node that recordings and live tests stand on does what it says."""

from __future__ import annotations

import socket
import time

import pytest
from bcoin import BcoinError, BcoinNode, missing


@pytest.fixture(autouse=True, scope="module")
def installed() -> None:
    if reason := missing():
        pytest.skip(reason)


def test_two_nodes_share_blocks_and_transactions() -> None:
    with BcoinNode() as miner, BcoinNode(blockMode=1) as other:
        hashes = miner.mine(101)
        other.connect(*miner.address)
        assert other.wait_height(101)["tip"] == hashes[-1]
        miner.wait(lambda info: info["peers"][0]["handshake"], "the handshake")
        payment = miner.pay()
        other.wait(lambda info: info["mempool"] == [payment["txid"]], "the transaction")
        assert payment["txid"] != payment["wtxid"]  # segwit is active
        miner.mine(1)
        other.wait_height(102)
        hidden = miner.pay(relay=False)["transaction"]
        miner.mine(1, transactions=[hidden])
        assert other.wait_height(103)["received"]["blocktxn"] == 1
        assert hidden in miner.call("block", height=103)


def test_a_light_client_gets_merkle_blocks() -> None:
    with BcoinNode() as miner, BcoinNode(spv=True) as light:
        miner.mine(3)
        light.call("watch", address=miner.call("addresses")["p2wpkh"])
        light.connect(*miner.address)
        received = light.wait_height(3)["received"]
        assert (received["merkleblock"], received["tx"]) == (3, 3)
        with pytest.raises(BcoinError, match="does not listen"):
            light.address  # noqa: B018


def test_it_ends_with_its_block() -> None:
    with BcoinNode() as node:
        address = node.address
        socket.create_connection(address, timeout=5).close()
    with pytest.raises(OSError):
        socket.create_connection(address, timeout=5)


def test_it_stays_on_loopback() -> None:
    with pytest.raises(BcoinError, match="not a loopback address"), BcoinNode(host="192.0.2.1"):
        pass
    with BcoinNode() as node, pytest.raises(BcoinError, match="not a loopback address"):
        node.connect("192.0.2.1", 18444)


def test_refusals_and_silence_are_errors() -> None:
    with BcoinNode(timeout=1.0) as node:
        with pytest.raises(BcoinError, match="unknown method"):
            node.call("nonsense")
        with pytest.raises(BcoinError, match="no spendable coin"):
            node.pay()
        start = time.monotonic()
        with pytest.raises(BcoinError, match="waited 1 s"):
            node.wait_height(1)
        assert time.monotonic() - start < 5
    with pytest.raises(BcoinError, match=r"bcoin is gone|bcoin ended"), BcoinNode() as node:
        node.call("stop")
        time.sleep(0.5)
        node.info()
