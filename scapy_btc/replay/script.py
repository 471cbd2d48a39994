# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection of a recording as a script: what one side is to say, and what it has to have heard before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..capture.message import Message, StreamEvent
from ..errors import CaptureError
from ..networks import Network
from ..text import plural

CLIENT, SERVER = "client", "server"
MAX_HELD = 256 << 20
"""Bytes of a recording that are kept, at most: all of one connection is, and of others until one is chosen."""
OLDEST = -(1 << 31)
"""The lowest protocol version that can be written: in a recording nobody is obsolete."""
_NO_LOSS = {"overlap-differs", "handshake", "decoy"}
"""Events that take no message away."""
_OVERHEAD = 1024
"""Bytes that a message takes beside its payload."""


@dataclass
class Script:
    """What was said on one connection, and which side of it is to be played."""

    messages: list[Message]
    """Of both sides, in the order of the recording."""
    ours: str
    """The end that is played, as the recording names it: "192.0.2.1:8333"."""
    theirs: str
    network: Network
    outbound: bool
    """Whether the end that is played opened the connection."""
    notes: list[str] = field(default_factory=list)
    """What of the recording is missing, for people."""

    def is_ours(self, message: Message) -> bool:
        """Whether the played side said it."""
        return message.source == self.ours

    @property
    def to_send(self) -> int:
        return sum(map(self.is_ours, self.messages))


def opener(first: Message) -> str:
    """The end that opened a connection, judging by its first message: the one that is not at the network's port; of
    ends that both are or are not, the one that speaks first."""
    port = f":{first.network.port}" if first.network else ":"
    if first.source.endswith(port) and not first.destination.endswith(port):
        return first.destination
    return first.source


def ends(first: Message, side: str) -> tuple[str, str]:
    """Our end of a connection and the other one, judging by its first message."""
    client = opener(first)
    server = first.destination if client == first.source else first.source
    return (client, server) if side == CLIENT else (server, client)


def load(items: Iterable[Message | StreamEvent], side: str = CLIENT, connection: int | None = None) -> Script:
    """Choose a connection, and make it a script.

    :param items: a recording, as `read(..., events=True)` gives it
    :param side: which side is played: CLIENT, that opened the connection, or SERVER
    :param connection: its number; without it the first whose handshake is recorded, of both sides

    Raises CaptureError where there is no such connection, or where what the side said is not all on record.
    """
    found: dict[int, _Connection] = {}
    chosen = connection
    held = 0
    encrypted = ""
    failures: list[str] = []
    for item in _readable(items, failures):
        number = item.connection
        if number is None or (chosen is not None and number != chosen):
            continue
        if isinstance(item, StreamEvent):
            encrypted = encrypted or (f": encrypted, {item.reason}" if item.event == "encrypted" else "")
            if number in found or connection is not None:
                found.setdefault(number, _Connection()).event(item)
            continue
        if chosen is None and number not in found and item.said is None and item.msgtype != "version":
            continue  # how it began is not on record
        held += len(item.payload) + _OVERHEAD
        if held > MAX_HELD:
            raise CaptureError(f"more than {MAX_HELD >> 20} MiB of messages: too much to be played")
        now = found.setdefault(number, _Connection())
        if not now.message(item):
            break
        if chosen is None and len(now.versions) == 2:
            chosen = number
            found = {number: now}
            held = now.held
    if chosen is None or chosen not in found or not found[chosen].messages:
        missing = ("no connection whose handshake is recorded" if connection is None else
                   f"there is no message of connection {connection}")
        raise CaptureError(failures[0] if failures else missing + encrypted)
    script = found[chosen].script(chosen, side)
    script.notes += failures
    return script


def _readable(items: Iterable[Message | StreamEvent], failures: list[str]) -> Iterator[Message | StreamEvent]:
    """What can be read before an error, which goes into `failures`."""
    try:
        yield from items
    except CaptureError as error:
        failures.append(str(error))


class _Connection:
    """What is known of one connection so far."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.versions: set[str] = set()
        self.held = 0
        self._lost: dict[str, int] = {}  # by source, bytes since its last message
        self._holes: dict[str, int] = {}  # likewise, before a message

    def event(self, event: StreamEvent) -> None:
        if event.source and event.event not in _NO_LOSS:
            self._lost[event.source] = self._lost.get(event.source, 0) + max(1, event.bytes)

    def message(self, message: Message) -> bool:
        """Take a message; False where the next session begins, of those that stand in a message capture."""
        source = message.source
        if message.msgtype == "version":
            if message.transport == "log" and source in self.versions:
                return False
            self.versions.add(source)
        if source in self._lost:
            self._holes[source] = self._holes.get(source, 0) + self._lost.pop(source)
        self.messages.append(message)
        self.held += len(message.payload) + _OVERHEAD
        return True

    def script(self, number: int, side: str) -> Script:
        ours, theirs = ends(self.messages[0], side)
        network = next((m.network for m in self.messages if m.network), None)
        begins = next((m for m in self.messages if m.source == ours), None)
        where = f"connection {number}"
        if begins is None:
            raise CaptureError(f"{where}: {ours} says nothing on record")
        if network is None:
            raise CaptureError(f"{where}: of no known network")
        if begins.said is None and begins.msgtype != "version":
            raise CaptureError(f"{where}: how {ours} began is not on record, and without a handshake no node listens")
        if ours in self._holes:
            raise CaptureError(f"{where}: of what {ours} said, {_bytes(self._holes[ours])} in the middle are not on "
                               "record: it cannot be played")
        script = Script(self.messages, ours, theirs, network, side == CLIENT)
        for end, what in ((ours, "are not on record"), (theirs, "are not on record, and cannot be compared")):
            lost = self._lost.get(end, 0) + self._holes.get(end, 0)
            if lost:
                script.notes.append(f"{where}: of what {end} said, {_bytes(lost)} {what}")
        if all(m.source == ours for m in self.messages):
            script.notes.append(f"{where}: what {theirs} said is not on record: nothing is waited for or compared")
        return script


def _bytes(count: int) -> str:
    return f"{count:,} {plural(count, 'byte')}"
