# SPDX-License-Identifier: GPL-2.0-or-later
"""Transactions as nodes announce them: who was first, what they pay. Messages and times go in, live or of a capture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..chain.script import address, script_type
from ..layers.lists import raws
from ..layers.plan import BROKEN
from ..layers.registry import BTCMessage
from ..messages.blocks import BTCBlock
from ..messages.following import transactions_in
from ..messages.inventory import BTCGetData, BTCInv, BTCNotFound
from ..messages.parts import BTCInvVector
from ..messages.transactions import BTCTx, Places, amounts_at, txid_at
from ..networks import Network
from ..protocol import InvType
from ..wire.hashes import hash_hex, hex_hash, sha256d

PENDING = 5_000
"""Announced transactions of one peer that are waited for; as Bitcoin Core's limit."""
KNOWN = 50_000
"""Transactions that are remembered; the oldest is forgotten."""
AMOUNTS = 1_000_000
"""Output amounts that are remembered, from which fees follow."""
PATIENCE = 60.0
"""Seconds after which a transaction is asked for again, from another peer."""

KINDS = {InvType.MSG_TX, InvType.MSG_WTX, InvType.MSG_WITNESS_TX}


@dataclass(slots=True)
class Sighting:
    """A transaction that was seen."""

    time: float
    """When it came, in seconds since 1970."""
    txid: str
    wtxid: str
    size: int
    weight: int
    """In weight units (BIP 141); a quarter of it is the virtual size."""
    inputs: int
    outputs: list[tuple[int, str | None, str]]
    """Amount in satoshi, address if there is one, kind of script."""
    fee: int | None
    """In satoshi; None unless all transactions that it spends from were seen, too."""
    announced: list[tuple[str, float]]
    """Peers and when they announced it, in that order; the one that sent it unasked is the first."""

    @property
    def vsize(self) -> int:
        return (self.weight + 3) // 4

    @property
    def feerate(self) -> float | None:
        """Satoshi per virtual byte."""
        return None if self.fee is None else self.fee / self.vsize


@dataclass(slots=True)
class PeerTally:
    """What one peer announced."""

    announced: int = 0
    first: int = 0
    """Of these before all others."""
    behind: float = 0.0
    """Seconds, all added up, that its other announcements came after the first peer's."""


class _Known(NamedTuple):
    """What is remembered of a transaction that was seen: not its outputs, of which there may be any number."""

    txid: bytes
    announced: list[tuple[str, float]]
    """The list of its `Sighting`."""


@dataclass(slots=True)
class _Wanted:
    """An id that was announced and whose transaction did not come yet."""

    kind: int
    announced: list[tuple[str, float]] = field(default_factory=list)
    asked: str = ""
    asked_at: float = 0.0


class MempoolWatch:
    """Follows the transactions that any number of peers announce. Memory is bounded.

    :param network: whose addresses outputs are printed with
    :ivar peers: tallies by peer
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.peers: dict[str, PeerTally] = {}
        self._wanted: dict[bytes, _Wanted] = {}
        self._load: dict[str, int] = {}  # of `_wanted`, by the peer that announced it first
        self._known: OrderedDict[bytes, _Known] = OrderedDict()  # by wtxid
        self._wtxids: dict[bytes, bytes] = {}  # by txid
        self._amounts: OrderedDict[bytes, list[int]] = OrderedDict()  # by txid
        self._amount_count = 0

    def receive(self, peer: str, message: Any, now: float) -> tuple[list[BTCMessage], Sighting | None]:
        """A message of a peer: what to ask it, and the transaction that it brought, when it is new."""
        if isinstance(message, BTCInv):
            return self._announced(peer, message, now), None
        if isinstance(message, BTCTx):
            return [], self._transaction(peer, message.self_build(), now)
        if isinstance(message, BTCBlock):
            self._block(message.self_build())
        if isinstance(message, BTCNotFound):
            for raw in raws(message.inventory):
                wanted = self._wanted.get(raw[4:])
                if wanted and wanted.asked == peer:
                    wanted.asked_at = now - PATIENCE
        return [], None

    def tick(self, now: float) -> Iterator[tuple[str, BTCMessage]]:
        """What to ask again, and whom: those that did not get an answer are tried with the next that announced them."""
        again: dict[str, list[BTCInvVector]] = {}
        for tx_id, wanted in list(self._wanted.items()):
            if now - wanted.asked_at < PATIENCE:
                continue
            names = [name for name, _ in wanted.announced]
            following = names[names.index(wanted.asked) + 1:] if wanted.asked in names else names
            if not following:
                self._drop(tx_id)
                continue
            wanted.asked, wanted.asked_at = following[0], now
            again.setdefault(wanted.asked, []).append(BTCInvVector(type=wanted.kind, hash=tx_id))
        for peer, vectors in again.items():
            yield peer, BTCGetData(inventory=vectors)

    def join(self, peer: str) -> None:
        """A peer is there; it has its tally also if it never announces anything."""
        self._tally(peer)

    def forget(self, peer: str, now: float) -> None:
        """A peer is gone: what it was asked for is asked of others at the next `tick`."""
        for wanted in self._wanted.values():
            if wanted.asked == peer:
                wanted.asked_at = now - PATIENCE

    def _announced(self, peer: str, inv: BTCInv, now: float) -> list[BTCMessage]:
        asked = []
        for raw in raws(inv.inventory):
            announced_as, tx_id = int.from_bytes(raw[:4], "little"), raw[4:]
            if announced_as not in KINDS:
                continue
            seen = self._known.get(self._wtxids.get(tx_id, tx_id))
            if seen:
                if all(peer != name for name, _ in seen.announced):
                    seen.announced.append((peer, now))
                    tally = self._tally(peer)
                    tally.announced += 1
                    tally.behind += now - seen.announced[0][1]
                continue
            wanted = self._wanted.get(tx_id)
            if wanted is None:
                if self._load.get(peer, 0) >= PENDING:
                    continue
                kind = InvType.MSG_WTX if announced_as == InvType.MSG_WTX else InvType.MSG_WITNESS_TX
                wanted = self._wanted[tx_id] = _Wanted(kind, [], peer, now)
                self._load[peer] = self._load.get(peer, 0) + 1
                asked.append(BTCInvVector(type=kind, hash=tx_id))
            if all(peer != name for name, _ in wanted.announced):
                wanted.announced.append((peer, now))
        return [BTCGetData(inventory=asked)] if asked else []

    def _transaction(self, peer: str, raw: bytes, now: float) -> Sighting | None:
        try:
            places = BTCTx.plan.starts(raw, 0, len(raw))
        except BROKEN:
            return None
        raw = raw[:places[-1]]
        txid, wtxid = txid_at(raw, places), sha256d(raw)
        announced = sorted({**dict(self._take(txid)), **dict(self._take(wtxid))}.items(), key=lambda entry: entry[1])
        if txid in self._wtxids or is_coinbase(raw, places):  # the same, perhaps without its witness; of a block
            return None
        announced = announced or [(peer, now)]
        record = BTCTx.plan.record(raw, 0, len(raw))[0]
        amounts = amounts_at(raw, places)
        base = len(raw) if wtxid == txid else len(raw) - 2 - (places[8] - places[7])  # less marker, flag, witnesses
        scripts = [bytes.fromhex(output["script"]) for output in record["outputs"]]
        seen = Sighting(
            now, hash_hex(txid), hash_hex(wtxid), len(raw), 3 * base + len(raw), record["inputs_count"],
            [(amount, address(script, self.network), script_type(script))
             for amount, script in zip(amounts, scripts, strict=True)],
            self._fee(record, sum(amounts)), announced)
        self._remember(txid, wtxid, announced, amounts)
        for number, (name, when) in enumerate(announced):
            tally = self._tally(name)
            tally.announced += 1
            tally.first += not number
            tally.behind += when - announced[0][1]
        return seen

    def _block(self, raw: bytes) -> None:
        """Learn what the outputs of a block are worth: they are spent later."""
        with suppress(*BROKEN):
            for places in transactions_in("block", raw):
                self._learn(txid_at(raw, places), amounts_at(raw, places))

    def _fee(self, record: dict[str, Any], paid: int) -> int | None:
        spent = 0
        for entry in record["inputs"]:
            outpoint = entry["previous_output"]
            amounts = self._amounts.get(hex_hash(outpoint["hash"]))
            if amounts is None or outpoint["index"] >= len(amounts):
                return None
            spent += amounts[outpoint["index"]]
        return spent - paid

    def _remember(self, txid: bytes, wtxid: bytes, announced: list[tuple[str, float]], amounts: list[int]) -> None:
        self._known[wtxid], self._wtxids[txid] = _Known(txid, announced), wtxid
        if len(self._known) > KNOWN:
            _, oldest = self._known.popitem(last=False)
            self._wtxids.pop(oldest.txid, None)
        self._learn(txid, amounts)

    def _learn(self, txid: bytes, amounts: list[int]) -> None:
        if txid not in self._amounts:
            self._amounts[txid] = amounts
            self._amount_count += len(amounts)
        while self._amount_count > AMOUNTS:
            self._amount_count -= len(self._amounts.popitem(last=False)[1])

    def _take(self, tx_id: bytes) -> list[tuple[str, float]]:
        return self._drop(tx_id).announced if tx_id in self._wanted else []

    def _drop(self, tx_id: bytes) -> _Wanted:
        wanted = self._wanted.pop(tx_id)
        if wanted.announced:
            self._load[wanted.announced[0][0]] -= 1
        return wanted

    def _tally(self, peer: str) -> PeerTally:
        return self.peers.setdefault(peer, PeerTally())


def is_coinbase(raw: bytes, places: Places) -> bool:
    """Whether the first input of a transaction spends nothing."""
    return raw[places[4]:places[4] + 36] == bytes(32) + b"\xff" * 4
