# SPDX-License-Identifier: GPL-2.0-or-later
"""Payloads of every message that are noise, or claim more than there is; and sizes at and above the limits."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.config import conf
from scapy.packet import NoPayload, Raw

from scapy_btc.all import BTC, BTCMalformed, BTCMessage, BTCTrailing
from scapy_btc.layers.envelope import dissected
from scapy_btc.layers.fields import CompactSizeField
from scapy_btc.layers.packet import held_classes
from scapy_btc.layers.plan import BROKEN, inner
from scapy_btc.layers.registry import messages
from scapy_btc.wire.compactsize import encode

MESSAGES = [cls for cls in messages() if cls.__module__.startswith("scapy_btc.messages.")]
CLASSES: list[Any] = sorted(set().union(*map(held_classes, MESSAGES)), key=lambda cls: cls.__name__)

each_message = pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.msgtype)


def check_hostile(cls: type[BTCMessage], payload: bytes) -> None:
    """Reading takes time and memory for what is there, not for what is claimed."""
    wire = bytes(BTC(msgtype=cls.msgtype) / Raw(payload))
    packet = BTC(wire)
    assert bytes(packet) == wire
    assert not packet.haslayer(Raw)
    found = packet.payload if len(cls.msgtype) <= 12 else dissected(cls, payload)
    assert isinstance(found, (cls, BTCMalformed))
    found.summary()
    if type(found) is cls:
        assert isinstance(found.payload, (NoPayload, BTCTrailing))
    for mode in ("record", "view"):
        with contextlib.suppress(*BROKEN):
            getattr(cls.plan, mode)(payload, 0, len(payload))


@pytest.mark.parametrize("debug", [False, True])
@each_message
def test_random_bytes(cls: type[BTCMessage], debug: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "debug_dissector", debug)
    source = random.Random(cls.msgtype)
    for size in (*range(1, 40), 80, 81, 100, 300, 1000):
        check_hostile(cls, source.randbytes(size))
    for fill in (b"\0", b"\x01", b"\xff"):
        for size in (1, 9, 40, 90, 300):
            check_hostile(cls, fill * size)


LIES = [253, 2**16, 2**25, 2**32, 2**63, 2**64 - 1]


def lies(cls: type[BTCMessage]) -> Iterator[bytes]:
    """Payloads in which one CompactSize after the other claims too much."""
    payload = bytes(cls())
    starts = cls.plan.starts(payload, 0, len(payload))
    for f, start, end in zip(cls.fields_desc, starts, starts[1:], strict=False):
        if isinstance(inner(f), CompactSizeField) and end > start:
            for lie in LIES:
                for behind in (payload[end:], bytes(2_000), b"\x01" * 2_000, b"\xff" * 2_000):
                    yield payload[:start] + encode(lie) + behind
    size = len(payload)
    yield from (b"\xff" * 9 + payload, payload[:size // 2] + b"\xff" * 9 + payload[size // 2:])


@each_message
def test_counts_that_lie(cls: type[BTCMessage]) -> None:
    start = time.monotonic()
    for payload in lies(cls):
        check_hostile(cls, payload)
    assert time.monotonic() - start < 10


def test_counts_that_lie_take_no_memory() -> None:
    everyone = [(cls, payload) for cls in MESSAGES for payload in list(lies(cls))[::5]]
    for cls, payload in everyone[::20]:
        check_hostile(cls, payload)  # what is made once
    tracemalloc.start()
    try:
        for cls, payload in everyone:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            check_hostile(cls, payload)
            used = tracemalloc.get_traced_memory()[1] - before
            assert used < 2_000_000 + 1_000 * len(payload), cls.msgtype
    finally:
        tracemalloc.stop()


@each_message
def test_crafted_lies_are_sent_and_summarised(cls: type[BTCMessage]) -> None:
    for f in cls.fields_desc:
        if isinstance(inner(f), CompactSizeField):
            for lie in LIES:
                packet = cls(**{f.name: lie})
                assert encode(lie) in bytes(packet)
                packet.summary()
                packet.show(dump=True)


def limited() -> Iterator[Any]:
    for cls in CLASSES:
        for i, f in enumerate(cls.fields_desc):
            if getattr(inner(f), "limit", None) and (inner(f).count_of or inner(f).length_of):
                yield pytest.param(cls, i, id=f"{cls.__name__}.{f.name}")


@pytest.mark.parametrize(("cls", "i"), list(limited()))
def test_limits(cls: Any, i: int) -> None:
    default = bytes(cls())
    starts = cls.plan.starts(default, 0, len(default))
    f = inner(cls.fields_desc[i])
    for number, told in ((f.limit, []), (f.limit + 1, [("over-limit", f.name)])):
        payload = default[:starts[i]] + encode(number) + bytes(82 * number + 1000)
        notes: list[tuple[str, str]] = []
        cls.plan.end(payload, 0, len(payload), notes)
        assert notes == told
