# SPDX-License-Identifier: GPL-2.0-or-later
"""Which live message stands for which recorded one, and where they differ."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from conversations import CLIENT_END, conversation
from recordings import messages_of

from scapy_btc.all import (
    BTCAddr,
    BTCBlockHeader,
    BTCGetBlocks,
    BTCGetData,
    BTCGetHeaders,
    BTCHeaders,
    BTCInv,
    BTCInvVector,
    BTCNotFound,
    BTCPing,
    BTCPong,
    BTCTimedNetAddr,
    BTCVersion,
)
from scapy_btc.messages.inventory import BTCHeadersEntry
from scapy_btc.replay.compare import MOST, Difference, Expectation, differences

NOWHERE = 1 << 30


def inv(*names: str, kind: int = 1, of: Any = BTCInv) -> Any:
    return of(inventory=[BTCInvVector(type=kind, hash=name * 32) for name in names])


def between(old: Any, new: Any) -> list[Difference]:
    recorded, = conversation(("<", old))
    return list(differences(recorded, bytes(new)))


def told(found: Iterable[Difference]) -> list[tuple[str, Any, Any, str]]:
    return [(d.field, d.recorded, d.live, d.reason) for d in found]


def test_no_difference() -> None:
    assert between(BTCVersion(timestamp=1), BTCVersion(timestamp=1)) == []


def test_fields_that_no_two_conversations_share() -> None:
    old, new = BTCVersion(timestamp=1, nonce=2, start_height=3), BTCVersion(timestamp=4, nonce=5, start_height=3)
    assert told(between(old, new)) == [("timestamp", 1, 4, "time"), ("nonce", 2, 5, "random")]
    old, new = BTCVersion(timestamp=1, user_agent=b"/a/"), BTCVersion(timestamp=1, user_agent=b"/b/", start_height=7)
    assert told(between(old, new)) == [("user_agent", "/a/", "/b/", ""), ("start_height", 0, 7, "")]


def test_fields_that_are_absent() -> None:
    assert told(between(BTCPing(nonce=7), BTCPing(nonce=None))) == [("nonce", 7, None, "random")]
    found = between(BTCVersion(timestamp=1, relay=None), BTCVersion(timestamp=1))
    assert told(found) == [("relay", None, 1, "")]


def test_lists() -> None:
    assert told(between(inv("11"), inv("11", "22"))) == [
        ("inventory_count", 1, 2, ""), ("inventory[1]", None, '{"type": 1, "hash": "' + 32 * "22" + '"}', "")]


def test_of_many_unexpected_ones_some_are_told() -> None:
    old, new = inv(*["11"] * 100), inv(*["22"] * 100)
    found = between(old, new)
    assert len(found) == MOST + 1 and found[-1].field == "..." and not found[-1].expected


def test_expected_ones_are_told_once_and_hide_no_others() -> None:
    def addr(time: int, last: int) -> BTCAddr:
        return BTCAddr(addresses=[BTCTimedNetAddr(timestamp=time, port=port) for port in (*range(500), last)])

    assert told(between(addr(1, 1), addr(2, 9))) == [
        ("addresses[0].timestamp", 1, 2, "time"), ("addresses[500].port", 1, 9, "")]


def test_what_has_no_record() -> None:
    recorded, = conversation(("<", inv("11")))
    assert told(differences(recorded, b"\xff"))[0][0] == "inventory_count"
    recorded.msgtype = "strange"
    assert told(differences(recorded, b"\xff" * 500)) == [
        ("payload", recorded.payload.hex(), "ff" * 100 + "...", "")]


# Which is which


def expecting(*said: tuple[str, Any]) -> Expectation:
    return Expectation(conversation(*said), CLIENT_END)


def place(expected: Expectation, message: Any, sent: int = NOWHERE) -> int | None:
    found = expected.find(message.msgtype, bytes(message), sent)
    return None if found is None else found.position


def test_each_is_found_once() -> None:
    expected = expecting(("<", inv("11")), ("<", inv("11")))
    assert [place(expected, inv("11")) for _ in range(3)] == [0, 1, None]


def test_the_same_before_the_first_alike() -> None:
    expected = expecting(("<", inv("11", "22")), ("<", inv("22")))
    assert place(expected, inv("22")) == 1
    assert place(expected, inv("33", "22")) == 0


def test_what_is_about_something_else_is_something_else() -> None:
    assert place(expecting(("<", inv("11"))), inv("22")) is None
    for name in ("block", "tx", "cmpctblock", "merkleblock"):
        one, other = list({m.payload: m for m in messages_of("bcoin-regtest.pcapng") if m.msgtype == name}.values())[:2]
        expected = Expectation([one], "nobody")
        assert expected.find(name, other.payload, NOWHERE) is None
        assert expected.find(name, one.payload, NOWHERE)


def test_the_answer_to_a_question_that_was_asked() -> None:
    def page(nonce: int) -> BTCHeaders:
        return BTCHeaders(headers=[BTCHeadersEntry(header=BTCBlockHeader(nonce=nonce))])

    expected = expecting((">", BTCGetHeaders()), ("<", page(1)), ("<", page(2)))
    assert place(expected, page(3), sent=0) is None  # not asked yet
    assert place(expected, page(3), sent=1) == 1
    assert place(expected, page(4), sent=1) is None  # the other was an announcement
    expected = expecting((">", BTCGetBlocks()), ("<", inv("11", kind=2)))
    assert place(expected, inv("22", kind=2), sent=1) == 1


def test_a_pong_is_that_of_the_ping_that_was_sent() -> None:
    expected = expecting((">", BTCPing(nonce=1)), ("<", BTCPong(nonce=1)), (">", BTCPing(nonce=1)),
                         ("<", BTCPong(nonce=1)))
    expected.copied("pong", 1, 55)
    expected.copied("pong", 1, 66)
    assert place(expected, BTCPong(nonce=1)) is None
    assert place(expected, BTCPong(nonce=66)) == 3
    assert place(expected, BTCPong(nonce=55)) == 1


def test_what_is_not_there_is_not_waited_for() -> None:
    blocks = [m for m in messages_of("bcoin-regtest.pcapng") if m.msgtype == "block"][:2]
    expected = Expectation(blocks, "nobody")
    named = blocks[1].packet.payload.block_hash
    expected.refuse(bytes(BTCNotFound(inventory=[BTCInvVector(type=2, hash=named)])))
    assert [awaited.refused for awaited in expected.all] == [False, True]


@pytest.mark.parametrize("name", ["bcoin-regtest.pcapng", "every-message.pcapng", "core-v1-regtest.pcapng"])
def test_every_message_of_a_recording_stands_for_itself(name: str) -> None:
    messages = [m for m in messages_of(name) if m.connection == 0]
    ours = messages[0].source
    expected = Expectation(messages, ours)
    for position, message in enumerate(messages):
        if message.source != ours:
            found = expected.find(message.msgtype, message.payload, position)
            assert found is not None and found.message is message


def test_work_does_not_grow_with_what_is_expected() -> None:
    """A flood against many expected messages: 4,000 times 4,000 comparisons would take minutes."""
    named = [bytes(BTCGetData(inventory=[BTCInvVector(type=1, hash=f"{n:064x}")])) for n in range(8000)]
    recorded, = conversation(("<", BTCGetData()))
    expected = Expectation([replace(recorded, payload=payload) for payload in named[:4000]], CLIENT_END)
    start = time.monotonic()
    for payload in named[4000:]:
        assert expected.find("getdata", payload, NOWHERE) is None
    assert time.monotonic() - start < 5
