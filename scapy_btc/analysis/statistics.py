# SPDX-License-Identifier: GPL-2.0-or-later
"""Counting a capture: messages and bytes by type and by connection, handshakes, findings, losses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..capture.message import Message, StreamEvent
from ..capture.records import fields_of
from ..protocol import service_names
from ..text import format_time


@dataclass(slots=True)
class Tally:
    """How many, how big, when."""

    messages: int = 0
    bytes: int = 0
    first_ns: int | None = None
    last_ns: int = 0

    def add(self, message: Message) -> None:
        self.messages += 1
        self.bytes += len(message.payload)
        # the order of a capture is not always that of its times
        self.first_ns = message.time_ns if self.first_ns is None else min(self.first_ns, message.time_ns)
        self.last_ns = max(self.last_ns, message.time_ns)

    def as_record(self) -> dict[str, Any]:
        return {
            "messages": self.messages,
            "bytes": self.bytes,
            "first": None if self.first_ns is None else format_time(self.first_ns),
            "last": None if self.first_ns is None else format_time(self.last_ns),
        }


@dataclass(slots=True)
class Connection:
    """One connection: its ends, what went each way, and what they said of themselves."""

    number: int
    ends: tuple[str, str]
    """The end that was seen sending first, and the other."""
    network: str | None
    transport: str
    sent: dict[str, Tally] = field(default_factory=dict)
    """By sending end."""
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The `version` that each end sent."""
    findings: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    def as_record(self) -> dict[str, Any]:
        return {
            "connection": self.number,
            "ends": list(self.ends),
            "network": self.network,
            "transport": self.transport,
            "sent": {end: tally.as_record() for end, tally in self.sent.items()},
            "versions": self.versions,
            "findings": dict(self.findings),
            "events": dict(self.events),
        }


class Statistics:
    """Feed it messages and events; it grows with the number of connections and types, not of messages."""

    def __init__(self) -> None:
        self.total = Tally()
        self.by_type: dict[str, Tally] = {}
        self.connections: dict[int, Connection] = {}
        self.findings: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.event_bytes: Counter[str] = Counter()
        self._first = 0  # number that the first connection of the source gets

    def next_source(self) -> None:
        """What follows is of another source, whose connections are numbered from 0 again."""
        self._first = max(self.connections, default=-1) + 1

    def add(self, message: Message) -> None:
        """Count one message."""
        self.total.add(message)
        self.by_type.setdefault(message.msgtype, Tally()).add(message)
        connection = self._connection(message)
        connection.sent.setdefault(message.source, Tally()).add(message)
        connection.findings.update(message.findings)
        self.findings.update(message.findings)
        if message.msgtype == "version":
            said = fields_of("version", message.payload) or {}
            connection.versions.setdefault(message.source, {
                "version": said.get("version"),
                "user_agent": said.get("user_agent"),
                "services": service_names(said.get("services", 0)),
                "start_height": said.get("start_height"),
            })

    def add_event(self, event: StreamEvent) -> None:
        """Count something that is no message."""
        self.events[event.event] += 1
        self.event_bytes[event.event] += event.bytes
        known = None if event.connection is None else self.connections.get(self._first + event.connection)
        if known:
            known.events[event.event] += 1

    def _connection(self, message: Message) -> Connection:
        number = self._first + message.connection
        found = self.connections.get(number)
        if found is None:
            found = self.connections[number] = Connection(
                number, (message.source, message.destination),
                message.network.name if message.network else None, message.transport)
        return found

    def as_record(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "total": self.total.as_record(),
            "types": {name: tally.as_record() for name, tally in sorted(self.by_type.items())},
            "connections": [connection.as_record() for connection in self.connections.values()],
            "findings": dict(self.findings),
            "events": dict(self.events),
            "event_bytes": dict(self.event_bytes),
            "lost_bytes": self.event_bytes["gap"],
        }
