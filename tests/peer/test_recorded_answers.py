# SPDX-License-Identifier: GPL-2.0-or-later
"""The node is asked what Bitcoin Core and bcoin were asked in the recordings, and answers what they answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

from recordings import messages_of
from served import NOW, Client, serving

from scapy_btc.all import REGTEST, BTCVersion, Message
from scapy_btc.peer.block_store import BlockStore

UNCONFIRMED = "0242dd2f6e39fa08a7f040c01558ae4fa940a365202d2f8dfbe006c5a3337067"
"""What was in the memory pool of the recorded Core node, and its wallet's last transaction."""


class Always(Random):
    """Has drawn a number that is known."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def getrandbits(self, k: int) -> int:
        return self.number


def store_of(payloads: list[bytes]) -> BlockStore:
    store = BlockStore(REGTEST)
    for payload in payloads:
        store.add(payload, NOW * 2)
    return store


def exchanges(messages: list[Message], asker: str) -> Iterator[tuple[Message, list[Message]]]:
    """What one end asked, each with what the other said before the next; without the pings by which it paced itself."""
    asked: Message | None = None
    answers: list[Message] = []
    for message in messages:
        if message.msgtype in ("version", "verack", "ping", "pong"):
            continue
        if message.source != asker:
            answers.append(message)
            continue
        if asked:
            yield asked, answers
        asked, answers = message, []
    if asked:
        yield asked, answers


def test_core() -> None:
    blocks = [message.payload for message in messages_of("core-blocks")]
    recorded = messages_of("core-v1-regtest.pcapng")
    node = serving(store=store_of(blocks[:-1]))
    assert node.store.height == 124 and node.store.at(0).payload == blocks[0]
    node.submit(next(message.payload for message in recorded
                     if message.msgtype == "tx" and message.packet.payload.txid == UNCONFIRMED))
    client = Client(node, BTCVersion(version=70015))
    compared = Counter[str]()
    conversation = [message for message in recorded if message.connection == 1]
    for asked, answers in exchanges(conversation, conversation[0].source):
        if answers and answers[0].msgtype == "cmpctblock":
            node.state.random = Always(answers[0].packet.nonce)
        given = client.say(asked.packet.payload)
        if asked.msgtype == "getaddr":  # a block was mined then, which Core announced
            assert given == []
            node.store.add(blocks[-1], NOW * 2)
            continue
        assert [(message.msgtype, bytes(message)) for message in given] == [
            (message.msgtype, message.payload) for message in answers], asked
        compared.update(message.msgtype for message in answers)
    assert compared == {
        "headers": 1, "inv": 2, "block": 2, "cmpctblock": 1, "notfound": 1, "blocktxn": 1, "cfilter": 5, "cfheaders": 1,
        "cfcheckpt": 1, "merkleblock": 1, "tx": 4}


def test_bcoin() -> None:
    """The node hears what two of the recorded nodes told each other, and then serves the light client."""
    recorded = messages_of("bcoin-regtest.pcapng")
    heard = [message for message in recorded if message.connection == 0]
    node = serving()
    source = Client(node, BTCVersion(version=70015, services="NETWORK|BLOOM|WITNESS"))
    asked = Counter[str]()
    for message in heard:
        if message.msgtype in ("tx", "block", "cmpctblock", "blocktxn"):
            asked.update(answer.msgtype for answer in source.say(message.packet.payload, NOW * 2))
    assert asked["getblocktxn"] == Counter(message.msgtype for message in heard)["getblocktxn"] > 0
    assert node.store.height == 186 and len(node.pool) == 0

    light = Client(node, BTCVersion(version=70015, relay=0))
    conversation = [message for message in recorded if message.connection == 2]
    compared = Counter[str]()
    for question, answers in exchanges(conversation, conversation[1].source):
        given = light.say(question.packet.payload)
        if any(message.msgtype == "merkleblock" for message in answers):
            assert [bytes(message) for message in given] == [message.payload for message in answers]
            compared.update(message.msgtype for message in answers)
    assert compared == {"merkleblock": 184, "tx": 81}
