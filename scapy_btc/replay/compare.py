# SPDX-License-Identifier: GPL-2.0-or-later
"""What a live peer says against what the recorded one said: which message is which, and where they differ."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from ..capture.message import Message
from ..capture.records import fields_of
from ..layers.plan import BROKEN
from ..layers.registry import BTCMessage, lookup, printable, summary_line
from ..messages.inventory import headers_in
from ..wire.hashes import hash_hex, sha256d

RANDOM, TIME, ADDRESS, ECHO, ALIVE = "random", "time", "address", "echo", "keeps alive"
"""Why a difference is to be expected."""
INDEPENDENT = "independent"
"""Likewise: nothing says in which order these messages have to come."""

EXPECTED = {
    "version": {"nonce": RANDOM, "timestamp": TIME, "receiver_address.ip": ADDRESS, "receiver_address.port": ADDRESS,
                "sender_address.ip": ADDRESS, "sender_address.port": ADDRESS},
    "ping": {"nonce": RANDOM},
    "pong": {"nonce": ECHO},
    "addr": {"addresses.timestamp": TIME},
    "addrv2": {"addresses.timestamp": TIME},
    "sendtxrcncl": {"salt": RANDOM},
    "cmpctblock": {"nonce": RANDOM, "shortids": RANDOM},
    "filterload": {"n_tweak": RANDOM, "filter": RANDOM},
}
"""Fields that no two conversations have in common. Short ids and bloom filters follow from a random number."""
OBJECTS = ("tx", "block", "merkleblock", "cmpctblock")
"""Messages with what a `getdata` asks for."""
MOST = 20
"""Differences that are listed of one message."""
LONGEST = 200
"""Characters of a value."""
_ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """One thing that was not as recorded."""

    kind: str
    """"field"; "missing", "extra": a message; "order": it came later than others that it preceded in the recording."""
    msgtype: str
    frame: int | None
    """Where the recorded message is, as `Message.frames` counts; None for an extra one."""
    reason: str = ""
    """Why it was to be expected; "" where it was not."""
    field: str = ""
    """Path of a field in the record: "receiver_address.ip"; "addresses[3].port"; "payload" where it has no record."""
    recorded: Any = None
    """Value of the field, one line on a missing message; None where there is none."""
    live: Any = None

    @property
    def expected(self) -> bool:
        return bool(self.reason)

    @property
    def record(self) -> dict[str, Any]:
        """As `-T jsonl` prints it; what there is none of has no key."""
        told = {"kind": self.kind, "msgtype": self.msgtype, "frame": self.frame, "field": self.field or None,
                "recorded": self.recorded, "live": self.live}
        return {**{name: value for name, value in told.items() if value is not None},
                "expected": self.expected, **({"reason": self.reason} if self.reason else {})}


def line_of(msgtype: str, payload: bytes) -> str:
    """One line on a message, printable."""
    cls = lookup(msgtype)
    return summary_line(cls, payload, msgtype) if cls else f"{printable(msgtype) or '(no name)'} (unknown)"


def differences(recorded: Message, payload: bytes) -> Iterator[Difference]:
    """Where a live message of the same name differs from the recorded one.

    Of what is to be expected each field is told once, of the rest `MOST` places.
    """
    if payload == recorded.payload:
        return
    name, frame = recorded.msgtype, recorded.frames[1]
    before, now = (fields_of(name, data) or {} for data in (recorded.payload, payload))
    told: set[str] = set()
    unexpected = 0
    for path, old, new in unequal(before, now):
        plain = re.sub(r"\[\d+\]", "", path)
        reason = EXPECTED.get(name, {}).get(plain, "")
        if reason and plain in told:
            continue
        told.add(plain)
        unexpected += not reason
        if unexpected > MOST:
            yield Difference("field", name, frame, field="...")
            return
        yield Difference("field", name, frame, reason, path, short(old), short(new))
    if not told:  # no record tells them apart
        yield Difference("field", name, frame, "", "payload", short(recorded.payload.hex()), short(payload.hex()))


def unequal(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, old and new value of every leaf that differs in two records."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            inside = f"{path}.{name}" if path else name
            yield from unequal(before.get(name, _ABSENT), now.get(name, _ABSENT), inside)
    elif isinstance(before, list) and isinstance(now, list):
        for index, (old, new) in enumerate(zip_longest(before, now, fillvalue=_ABSENT)):
            yield from unequal(old, new, f"{path}[{index}]")
    elif before is not now and before != now:
        yield path, before, now


def short(value: Any) -> Any:
    """A value to be shown: numbers as they are, None where there is none, everything else as a text of some length."""
    if value is _ABSENT or isinstance(value, int):
        return None if value is _ABSENT else value
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def subject(msgtype: str, payload: bytes) -> frozenset[Any] | None:
    """What a message is about: ids of the objects that it carries or names, or what it copies from its request.

    None: its name says it all, as with `version`.
    """
    cls = lookup(msgtype)
    if cls is None:
        return None
    try:
        if msgtype == "headers":
            return frozenset(map(sha256d, headers_in(payload)))
        if msgtype in ("inv", "getdata", "notfound"):
            _, start, end = cls.plan.starts(payload, 0, len(payload))
            return frozenset(payload[p + 4:p + 36] for p in range(start, end, 36))
        ids = frozenset(cls.derive(payload).values())
        view = cls.plan.view(payload, 0, len(payload))[0]
    except BROKEN:
        return None
    copied = tuple(str(view[name]) for name in dict.fromkeys((*cls.echoes, "block_hash")) if name in view)
    return ids or (frozenset([copied]) if copied else None)


@dataclass
class Awaited:
    """A message of the recording that the peer is to send."""

    position: int
    message: Message
    request: int | None
    """Position of the message of ours that it answers, judging by its name; of several answers only the first has it.
    """
    is_answer: bool
    seen: bool = False
    refused: bool = False
    """Whether the peer said that it does not have it."""


class Expectation:
    """The messages that the peer is to send, of which each is found once.

    Work for a message is in proportion to its size, however many are expected.

    :param messages: the conversation as recorded
    :param ours: the end that is played
    """

    def __init__(self, messages: list[Message], ours: str) -> None:
        self.all: list[Awaited] = []
        self._same: dict[tuple[str, bytes], deque[Awaited]] = {}
        self._about: dict[tuple[str, Hashable], deque[Awaited]] = {}
        self._named: dict[str, deque[Awaited]] = {}
        self._answers: dict[str, deque[Awaited]] = {}
        asked: dict[str, list[int]] = {}
        for position, message in enumerate(messages):
            name = message.msgtype
            if message.source == ours:
                for answer in getattr(lookup(name), "answered_by", ()):
                    asked.setdefault(answer, []).append(position)
                continue
            requests = asked.get(name)
            awaited = Awaited(position, message, requests.pop() if requests else None, name in asked)
            self.all.append(awaited)
            self._file(awaited)

    def _file(self, awaited: Awaited) -> None:
        name, payload = awaited.message.msgtype, awaited.message.payload
        cls = lookup(name)
        if not (cls and cls.echoes):  # what is copied from a request that is rewritten must not be the same
            self._same.setdefault((name, payload), deque()).append(awaited)
        about = subject(name, payload)
        if about is None:
            self._named.setdefault(name, deque()).append(awaited)
        for each in about or ():
            self._about.setdefault((name, each), deque()).append(awaited)
        if awaited.request is not None and cls and not cls.echoes and cls.belongs_to is BTCMessage.belongs_to:
            self._answers.setdefault(name, deque()).append(awaited)

    def copied(self, msgtype: str, old: Any, new: Any) -> None:
        """The next message that was to copy `old` from its request is to copy `new`."""
        waiting = self._about.get((msgtype, (str(old),)))
        if _first(waiting) and waiting:
            self._about.setdefault((msgtype, (str(new),)), deque()).append(waiting.popleft())

    def find(self, msgtype: str, payload: bytes, sent: int) -> Awaited | None:
        """The recorded message that a live one stands for; None where it is one too many.

        The very same, else one about the same, else the answer to a question that was asked, however it turned out.

        :param sent: our messages before this position have been sent
        """
        found = _first(self._same.get((msgtype, payload)))
        if found is None:
            about = subject(msgtype, payload)
            if about is None:
                found = _first(self._named.get(msgtype))
            for each in about or ():
                found = found or _first(self._about.get((msgtype, each)))
        if found is None:
            answer = _first(self._answers.get(msgtype))
            if answer and answer.request is not None and answer.request < sent:
                found = answer
        if found:
            found.seen = True
        return found

    def refuse(self, payload: bytes) -> None:
        """What a `notfound` names will not come."""
        for name in OBJECTS:
            for each in subject("notfound", payload) or ():
                for awaited in self._about.get((name, hash_hex(each)), ()):
                    awaited.refused = True


def _first(waiting: deque[Awaited] | None) -> Awaited | None:
    """The first that was not seen yet."""
    while waiting and waiting[0].seen:
        waiting.popleft()
    return waiting[0] if waiting else None
