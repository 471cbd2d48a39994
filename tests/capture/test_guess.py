# SPDX-License-Identifier: GPL-2.0-or-later
"""Guesses from sizes: which sizes mean what, and where nobody can know what a write was."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from segments import ACK, CLIENT, PSH, SERVER, START, SYN, segment

from scapy_btc.capture.guess import Writes, sizes
from scapy_btc.capture.streams import StreamTable


@pytest.mark.parametrize(("size", "names"), [
    (29, "feefilter, ping, pong"),  # BIP 324: contents of a ping are 9 bytes, a packet has 20 more
    (33, "getaddr, sendaddrv2, sendheaders, verack, wtxidrelay"),  # "0" and 12 bytes of name
    (30, "sendcmpct"),
    (45, "sendtxrcncl"),
    (58, "getdata of 1, inv of 1, notfound of 1"),  # a count and 36 bytes
    (94, "getdata of 2, inv of 2, notfound of 2"),
    (103, "headers of 1"),  # a count and 81 bytes
    (20 + 1 + 3 + 81 * 2000, "headers of 2000"),
    (20 + 1 + 3 + 36 * 1000, "getdata of 1000, inv of 1000, notfound of 1000"),
    (20 + 1 + 1 + 36 * 252, "getdata of 252, inv of 252, notfound of 252"),
])  # fmt: skip
def test_sizes(size: int, names: str) -> None:
    found = sizes()[size]
    assert found == names or (size > 200 and set(names.split(", ")) < set(found.split(", ")))


def test_a_write_of_several_segments() -> None:
    writes = Writes()
    assert [writes.add(103, True), writes.add(58, True)] == [None, None], "the key exchange, whatever its size"
    assert writes.add(20, False) is None
    size, reason = writes.add(9, True) or (0, "")
    assert size == 29 and reason == "perhaps feefilter, ping, pong: a packet of that size"
    assert writes.add(31, True) is None, "no message is known to have that size"
    assert writes.add(29, True) is not None


def test_a_write_whose_beginning_or_end_nobody_saw() -> None:
    writes = Writes()
    for _ in range(2):
        writes.add(500, True)
    assert writes.add(29, None) is None
    assert writes.add(29, True) is None, "it may belong to the one before"
    assert writes.add(29, True) is not None


def guesses(flags: list[int], order: list[int], first: bytes = b"") -> list[Any]:
    """Two ends that send 64 random bytes, and then one that sends packets of 29 bytes."""
    noise = Random(4).randbytes
    table = StreamTable(guess=True)
    frames = [segment(CLIENT, SERVER, 999, 0, SYN), segment(SERVER, CLIENT, 4999, 1000, SYN | ACK),
              segment(CLIENT, SERVER, 1000, 0, ACK | PSH, first or noise(64)),
              segment(SERVER, CLIENT, 5000, 0, ACK | PSH, noise(120)),
              segment(CLIENT, SERVER, 1064, 0, ACK | PSH, noise(36))]
    later = [segment(CLIENT, SERVER, 1100 + 29 * n, 0, ACK | flag, noise(29)) for n, flag in enumerate(flags)]
    frames += [later[n] for n in order]
    found = list(table.read((n, START + n, 1, frame, 0, len(frame), len(frame)) for n, frame in enumerate(frames, 1)))
    found += table.close()
    assert sum(item.bytes for item in found if item.event == "encrypted") == 220 + 29 * len(flags)
    return [(item.event, item.bytes, item.frames, item.source) for item in found if item.event == "guess"]


def test_in_a_capture() -> None:
    there = "10.0.0.1:40000"
    assert guesses([PSH, PSH], [0, 1]) == [("guess", 29, (6, 6), there), ("guess", 29, (7, 7), there)]
    assert guesses([0, PSH], [0, 1]) == [("guess", 58, (7, 7), there)]
    assert guesses([0, 0], [0, 1]) == []


def test_segments_out_of_order_are_not_guessed() -> None:
    """Nor is what follows them, up to the next write whose beginning is sure."""
    assert [place for _, _, place, _ in guesses([PSH] * 5, [0, 2, 1, 3, 4])] == [(6, 6), (10, 10)]


def test_only_what_looks_like_v2_is_guessed() -> None:
    assert guesses([PSH], [0], bytes(64)) == []
    assert StreamTable().guess is False
