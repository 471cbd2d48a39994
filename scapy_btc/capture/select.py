# SPDX-License-Identifier: GPL-2.0-or-later
"""Which messages of a capture a user wants to see."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from ..errors import BTCError
from ..layers.plan import BROKEN
from ..layers.registry import lookup
from ..messages.following import mentions_block, transactions_in, tx_ids_in
from ..messages.transactions import txid_at
from ..wire.hashes import sha256d
from .message import Message, StreamEvent


@dataclass
class Selection:
    """A filter over messages; every part that is set must hold.

    :ivar msgtypes: names of messages
    :ivar peers: addresses `host` or `host:port` of one end
    :ivar connections: numbers of connections
    :ivar since: first time, nanoseconds since 1970-01-01 UTC
    :ivar until: the time after the last, likewise
    :ivar transactions: txids or wtxids (32 wire bytes) to follow through all messages; grows by the other id of a
        transaction once that was seen
    :ivar blocks: block hashes (32 wire bytes) to follow
    """

    msgtypes: frozenset[str] = frozenset()
    peers: frozenset[str] = frozenset()
    connections: frozenset[int] = frozenset()
    since: int | None = None
    until: int | None = None
    transactions: set[bytes] = field(default_factory=set)
    blocks: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        unknown = [name for name in self.msgtypes if lookup(name) is None and not name.isprintable()]
        if unknown:
            raise BTCError(f"no message name: {unknown[0]!r}")

    def __call__(self, message: Message) -> bool:
        """Whether the message is wanted."""
        return (
            (not self.msgtypes or message.msgtype in self.msgtypes)
            and self.covers(message)
            and (not (self.transactions or self.blocks) or self.follows(message))
        )

    def covers(self, item: Message | StreamEvent) -> bool:
        """Whether a message or event is of the connections and the time that are wanted."""
        return (
            (not self.connections or item.connection in self.connections)
            and (self.since is None or item.time_ns >= self.since)
            and (self.until is None or item.time_ns < self.until)
            and (not self.peers or self.is_peer(item.source or "") or self.is_peer(item.destination or ""))
        )

    @property
    def by_content(self) -> bool:
        """Whether it chooses by what messages are or say, which events have none of."""
        return bool(self.msgtypes or self.transactions or self.blocks)

    def is_peer(self, endpoint: str) -> bool:
        """Whether an end of a connection is one of `peers`."""
        host = endpoint.rpartition(":")[0]
        return endpoint in self.peers or host in self.peers or host.strip("[]") in self.peers

    def follows(self, message: Message) -> bool:
        """Whether the message speaks of a followed transaction or block."""
        try:
            found = bool(self.blocks) and mentions_block(message.msgtype, message.payload, self.blocks)
            if self.transactions:
                ids = tx_ids_in(message.msgtype, message.payload, self.transactions)
                self.transactions.update(ids)
                found = found or bool(ids)
            return found
        except BROKEN:
            return self.quotes(message, {*self.transactions, *self.blocks})

    def learn(self, messages: Iterable[Message]) -> None:
        """Learn the other id (txid or wtxid) of the followed transactions from messages that carry them whole; takes
        no more messages than are needed.
        """
        missing = set(self.transactions)
        for message in messages:
            payload = message.payload
            with suppress(*BROKEN):
                for places in transactions_in(message.msgtype, payload):
                    ids = {txid_at(payload, places), sha256d(payload[places[0]:places[-1]])}
                    if not ids.isdisjoint(missing):
                        missing -= ids
                        self.transactions |= ids
            if not missing:
                return

    @staticmethod
    def quotes(message: Message, hashes: Iterable[bytes]) -> bool:
        """Whether one of the hashes stands in the bytes of a message that cannot be read."""
        return any(wanted in message.payload for wanted in hashes)
