# SPDX-License-Identifier: GPL-2.0-or-later
"""The first of many nodes that answers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from scapy_btc.all import BTCVerack, BTCVersion
from scapy_btc.discovery.first import connect_first, open_first
from scapy_btc.errors import Refused, TimedOut
from scapy_btc.net.node import BTCNode
from scapy_btc.net.running import RunningNode
from scapy_btc.net.transports import Choice
from scapy_btc.networks import REGTEST
from scapy_btc.peer.options import PeerOptions

OPTIONS = PeerOptions(REGTEST)
End = tuple[str, int]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def refusing(stack: ExitStack) -> End:
    """An end at which nobody listens."""
    deaf = stack.enter_context(socket.socket())
    deaf.bind(("127.0.0.1", 0))
    end: End = deaf.getsockname()
    return end


def silent(stack: ExitStack) -> End:
    """An end that accepts and says nothing."""
    end: End = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()
    return end


def node(stack: ExitStack, name: bytes, delay: float = 0.0, speaks: Choice = "auto") -> tuple[RunningNode, End]:
    """A node that greets after some seconds."""
    running = stack.enter_context(BTCNode(options=PeerOptions(user_agent=name), transport=speaks))
    if delay:
        running.when("version", lambda packet, connection: [delay, BTCVersion(user_agent=name), BTCVerack()])
    return running, running.address


def wait_until_alone(node: RunningNode) -> None:
    """Wait until nobody is connected any more."""
    deadline = time.monotonic() + 5
    while node.peers:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def first_of(ends: list[End], timeout: float = 2.0, at_once: int = 8, spoken: str = "v2", **how: Any) -> bytes:
    """The user agent of the one that wins, with the asynchronous and the blocking form."""
    async def run() -> bytes:
        async with await open_first(ends, OPTIONS, timeout, at_once=at_once, **how) as connection:
            agent: bytes = connection.peer.version.user_agent
            assert connection.transport.name == spoken
            return agent

    won = asyncio.run(run())
    with connect_first(ends, OPTIONS, timeout, at_once, **how) as client:
        assert client.peer.version.user_agent == won and client.socket.transport.name == spoken
        assert client.ping() < 1
    return won


def test_dead_ones_do_not_matter(stack: ExitStack) -> None:
    _, end = node(stack, b"/alive/")
    started = time.monotonic()
    assert first_of([refusing(stack), silent(stack), silent(stack), refusing(stack), end]) == b"/alive/"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(("transport", "speaks", "spoken"), [
    ("auto", "v1", "v1"), ("v2", "v2", "v2"), ("v1", "auto", "v1")])
def test_transports(stack: ExitStack, tmp_path: Path, transport: Choice, speaks: Choice, spoken: str) -> None:
    """Those that speak another one are dead."""
    keylog = tmp_path / "keys"
    _, end = node(stack, b"/alive/", speaks=speaks)
    _, other = node(stack, b"/other/", speaks="v1" if spoken == "v2" else "v2")
    ends = [refusing(stack), end] if transport == "auto" else [refusing(stack), other, end]
    assert first_of(ends, spoken=spoken, transport=transport, keylog=keylog) == b"/alive/"
    assert keylog.exists() == (transport != "v1")


def test_one_at_a_time_waits_for_each(stack: ExitStack) -> None:
    _, end = node(stack, b"/alive/")
    started = time.monotonic()
    assert first_of([silent(stack), end], timeout=0.4, at_once=1) == b"/alive/"
    assert time.monotonic() - started > 0.8


def test_the_fastest_wins_and_the_others_are_closed(stack: ExitStack) -> None:
    slow, slow_end = node(stack, b"/slow/", delay=0.5)
    fast, fast_end = node(stack, b"/fast/")

    async def run() -> None:
        async with await open_first([slow_end, fast_end, slow_end], OPTIONS, 2.0) as connection:
            assert connection.peer.version.user_agent == b"/fast/"
            await asyncio.to_thread(wait_until_alone, slow)
            assert len(fast.peers) == 1

    asyncio.run(run())
    with connect_first([slow_end, fast_end, slow_end], OPTIONS, 2.0) as client:
        assert client.peer.version.user_agent == b"/fast/"
        wait_until_alone(slow)


def test_nobody_answers(stack: ExitStack) -> None:
    for ends, error in (([refusing(stack)], Refused), ([silent(stack)], TimedOut), ([], Refused)):
        with pytest.raises(error):
            asyncio.run(open_first(ends, OPTIONS, 0.2))
        with pytest.raises(error):
            connect_first(ends, OPTIONS, 0.2)


def test_no_more_than_so_many_at_once(stack: ExitStack) -> None:
    busy, end = node(stack, b"/busy/")
    busy.when("version", lambda packet, connection: [])
    most = 0

    async def run() -> None:
        nonlocal most
        task = asyncio.create_task(open_first([end] * 6, OPTIONS, 0.2, at_once=2))
        while not task.done():
            most = max(most, len(busy.peers))
            await asyncio.sleep(0.02)
        with pytest.raises(TimedOut):
            task.result()

    asyncio.run(run())
    assert 2 <= most <= 3  # one may be closing
