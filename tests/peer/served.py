# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes without sockets for tests: one that is asked things, and several that talk to each other."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from scapy_btc.all import BTC, BTCOutPoint, BTCTx, BTCTxIn, BTCTxOut, BTCVerack, BTCVersion
from scapy_btc.peer.behaviour import Peer
from scapy_btc.peer.block_store import BlockStore
from scapy_btc.peer.options import PeerOptions
from scapy_btc.peer.serving import NODE_OPTIONS, Serving, mined_store
from scapy_btc.wire.hashes import hash_hex

NOW = 1_700_000_000
ANYONE = bytes.fromhex("00204ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260")
WITNESS = [[b"\x51"]]


def serving(blocks: int = 0, options: PeerOptions = NODE_OPTIONS, store: BlockStore | None = None,
            seed: int = 1) -> Serving:
    made = Serving(options, store or mined_store(blocks, NOW, random=Random(seed)), Random(seed))
    made.state.now = NOW
    return made


def packet(message: Any) -> Any:
    """A message after a way over the wire."""
    return BTC(bytes(BTC(magic="regtest") / message))


class Client:
    """Somebody who has connected to a node and says what a test wants."""

    def __init__(self, node: Serving, version: BTCVersion | None = None, *before_verack: Any,
                 outbound: bool = False) -> None:
        self.node = node
        self.peer = Peer(node.state.options, outbound, Random(2))
        self.session = node.join(self.peer)
        self.greeting = self.say(version or BTCVersion(services="NETWORK|WITNESS"))
        for message in (*before_verack, BTCVerack()):
            self.greeting += self.say(message)

    def say(self, message: Any, now: float = NOW) -> list[Any]:
        """The messages that answer."""
        came = packet(message)
        answers = [answer.payload for answer in self.peer.receive(came, now)]
        return answers + list(self.node.receive(self.session, came, now))

    def news(self) -> list[Any]:
        return list(self.node.news(self.session))


def names(messages: list[Any]) -> list[str]:
    return [message.msgtype for message in messages]


class Pair:
    """Two nodes connected to each other, the first has opened the connection.

    :ivar counts: messages that were said, by name
    """

    def __init__(self, one: Serving, other: Serving) -> None:
        self.counts: Counter[str] = Counter()
        self._ends = [(node, peer, node.join(peer)) for node, peer in (
            (one, Peer(one.state.options, True, Random(3))), (other, Peer(other.state.options, False, Random(4))))]
        self._waiting: list[list[Any]] = [[], []]
        self._waiting[1] += [each.payload for each in self._ends[0][1].start(NOW)]
        self.run()

    def run(self, now: float = NOW) -> None:
        """Let both talk until nobody has anything to say."""
        while True:
            for number, (node, _, session) in enumerate(self._ends):
                self._waiting[1 - number] += node.news(session)
            if not any(self._waiting):
                return
            for number, (node, peer, session) in enumerate(self._ends):
                came, self._waiting[number] = self._waiting[number], []
                for message in came:
                    self.counts[message.msgtype] += 1
                    arrived = packet(message)
                    self._waiting[1 - number] += [each.payload for each in peer.receive(arrived, now)]
                    self._waiting[1 - number] += node.receive(session, arrived, now)

    def tick(self, now: float) -> None:
        for number, (node, _, session) in enumerate(self._ends):
            self._waiting[1 - number] += [message for whose, message in node.tick(now) if whose is session]
        self.run(now)

    def close(self) -> None:
        for node, _, session in self._ends:
            node.leave(session)


def spend(store: BlockStore, height: int, fee: int = 10_000, outputs: int = 1, script: bytes = ANYONE) -> BTCTx:
    """A transaction that spends the coinbase of a block that anybody may spend."""
    coinbase = store.at(height).transactions()[0]
    value = next(coinbase.outputs()).value - fee
    return spend_of(hash_hex(coinbase.txid), [value // outputs] * outputs, script=script)


def spend_of(txid: str, values: list[int], index: int = 0, script: bytes = ANYONE, **fields: Any) -> BTCTx:
    message: BTCTx = BTCTx(
        inputs=[BTCTxIn(previous_output=BTCOutPoint(hash=txid, index=index))],
        outputs=[BTCTxOut(value=value, script=script) for value in values], witness=WITNESS, **fields)
    return BTCTx(bytes(message))
