# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets, records and txids of large messages, against the usual Scapy design and python-bitcoinlib."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson
from bitcoin.core import CBlock, b2lx

from scapy_btc.layers.lists import raws
from scapy_btc.messages.blocks import BTCBlock
from scapy_btc.messages.inventory import BTCInv
from scapy_btc.messages.transactions import BTCTx
from scapy_btc.wire import compactsize

from . import plain
from .measure import Row, in_turn

VECTORS = Path(__file__).parent.parent / "tests" / "vectors" / "messages"


def rows(quick: bool) -> Iterator[Row]:
    block = block_of(100_000 if quick else 1_000_000)
    yield inventory(10_000 if quick else 50_000, 2_000 if quick else 10_000)
    yield txids(block)
    yield every_part(block)
    yield records(block)


def block_of(size: int) -> bytes:
    """A `block` payload of that many bytes, of the transactions of recorded mainnet blocks over and over."""
    recorded = [BTCBlock(gzip.decompress((VECTORS / f"block-mainnet-{height}.bin.gz").read_bytes()))
                for height in (482683, 898352)]
    transactions: list[bytes] = []
    for raw in cycle([raw for block in recorded for raw in list(raws(block.transactions))[1:]]):
        transactions.append(raw)
        size -= len(raw)
        if size <= 0:
            break
    return bytes(recorded[0].header) + compactsize.encode(len(transactions)) + b"".join(transactions)


def inventory(entries: int, plain_entries: int) -> Row:
    """The plain side gets fewer entries, and its time is multiplied: too kindly, as it grows with their square."""
    def payload(n: int) -> bytes:
        return compactsize.encode(n) + random.Random(n).randbytes(36 * n)

    def use(cls: Any, wire: bytes) -> None:
        packet = cls(wire)
        assert packet.inventory[7].hash and bytes(packet) == wire

    long, short = payload(entries), payload(plain_entries)
    ours, peer = in_turn(lambda: use(BTCInv, long), lambda: use(plain.Inv, short), rounds=3)
    times = entries // plain_entries
    return Row(f"inv of {entries:,}: dissect, read an entry, rebuild (plain design: {plain_entries:,}, x {times})",
               ours, peer * times, 1000)


def txids(block: bytes) -> Row:
    def ours() -> list[str]:
        return BTCBlock(block).txids()

    def peer() -> list[str]:
        return [b2lx(tx.GetTxid()) for tx in CBlock.deserialize(block).vtx]

    assert ours() == peer()
    return Row(f"block of {len(block) / 1e6:.1f} MB: dissect, all txids (python-bitcoinlib)", *in_turn(ours, peer), 5)


def every_part(block: bytes) -> Row:
    def use(cls: Any) -> int:
        return sum(1 for tx in cls(block).transactions for parts in (tx.inputs, tx.outputs) for _ in parts)

    assert use(BTCBlock) > 8 * len(block) / 1000
    return Row(f"block of {len(block) / 1e6:.1f} MB: every input and output a Packet (plain design)",
               *in_turn(lambda: use(BTCBlock), lambda: use(plain.Block), rounds=3), 40)


def records(block: bytes) -> Row:
    transactions = list(raws(BTCBlock(block).transactions))

    def ours() -> list[bytes]:
        record = BTCTx.plan.record
        return [orjson.dumps(record(raw, 0, len(raw))[0]) for raw in transactions]

    def peer() -> list[bytes]:
        return [orjson.dumps(plain.read_tx(raw, 0)[0]) for raw in transactions]

    assert ours() == peer()
    return Row(f"{len(transactions):,} transactions: records as JSON (a decoder written by hand)",
               *in_turn(ours, peer), 1, faster=False)
