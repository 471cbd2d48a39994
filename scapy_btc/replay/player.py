# SPDX-License-Identifier: GPL-2.0-or-later
"""Plays one side of a script. Packets and times go in, packets come out; no socket, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any

from ..capture.message import Message, msgtype_text
from ..layers.envelope import BTC
from ..messages.keepalive import BTCPing, BTCPong
from ..peer.behaviour import Peer
from ..peer.options import PeerOptions
from ..protocol import BIP0031_VERSION, PROTOCOL_VERSION
from ..wire.hashes import checksum
from ..wire.header import HEADER_SIZE, message_name
from .compare import ALIVE, INDEPENDENT, Awaited, Difference, Expectation, differences, line_of, short
from .rewrite import Rewriter
from .script import OLDEST, Script

PATIENCE = 3
"""Waits in a row that may end without anything that was waited for."""
PING_PATIENCE = 1.0
"""Seconds that a ping is waited for: those that keep a connection alive come at other times than recorded."""
LINGER = 0.5
"""Seconds that the peer has to take our last message, where no ping can tell that it did."""
MAX_EXTRA, MAX_EXTRA_BYTES = 10_000, 256 << 20
"""Messages that nobody waited for, and their bytes, beyond which the peer is not listened to any more."""


@dataclass
class Outcome:
    """How a replay went."""

    to_send: int
    to_come: int
    sent: int = 0
    came: int = 0
    """Messages of the recording that the live peer sent, too."""
    failure: str = ""
    """Why it ended before its end."""
    differences: list[Difference] = field(default_factory=list)

    @property
    def unexpected(self) -> list[Difference]:
        return [difference for difference in self.differences if not difference.expected]


class Player(Peer):
    """A side of a connection that says what a script says, when it has heard what came before it there.

    By the rules of the protocol it only answers pings. Call `tick` at `wakes` and after every `receive`.

    :param ours: our end of the connection, "192.0.2.1:8333"
    :param theirs: the other one
    :param timeout: seconds to wait for the next message that the recording has
    :param speed: keep the recorded pauses, so many times shorter; None makes none
    :param verbatim: send what was recorded and nothing else
    :ivar done: whether the conversation is over
    :ivar wakes: when `tick` has something to do even if nothing comes
    """

    def __init__(self, script: Script, ours: str, theirs: str, timeout: float = 10.0, speed: float | None = None,
                 verbatim: bool = False, random: Random | None = None) -> None:
        random = random or Random()
        super().__init__(PeerOptions(script.network, version=version_of(script), lowest_version=OLDEST),
                         script.outbound, random)
        self._script, self._messages = script, script.messages
        self._timeout, self._speed, self._verbatim = timeout, speed, verbatim
        self._rewrite = Rewriter({script.ours: ours, script.theirs: theirs}, self.nonce, random)
        self._expected = Expectation(script.messages, script.ours)
        self._pongs = {} if verbatim else answered_pings(script)
        self._places = set(self._pongs.values())
        self._nonces: dict[int, int | None] = {}  # by position of the pong, of pings that came; None: it is out
        self.outcome = Outcome(script.to_send, len(self._expected.all))
        self.done = False
        self.wakes = -inf
        self._next = -1  # position of the next message that we send; at the end their number
        self._open = 0  # number of the first expected message that is still waited for
        self._abandoned = 0  # expected messages with lower numbers are not waited for any more
        self._since = -inf  # when something happened that was waited for
        self._strikes = 0
        self._latest = self._latest_answer = -1
        self._extra_bytes = self._extra = 0
        self._ends = inf
        self._move_on()

    # What to send

    def start(self, now: float) -> list[BTC]:
        """The connection is there; what to send first."""
        self._since = now
        return self.tick(now)

    def tick(self, now: float) -> list[BTC]:
        """What to send now."""
        out: list[BTC] = []
        while not self.done:
            waits_for = self._waits_for()
            if waits_for is not None or self.waits_for_pong:
                is_ping = waits_for is not None and waits_for.message.msgtype == "ping"
                patience = min(self._timeout, PING_PATIENCE) if is_ping else self._timeout
                self.wakes = self._since + patience + self._pause(waits_for.position if waits_for else 0)
                if now < self.wakes:
                    break
                self._give_up(now, waits_for if is_ping else None)
            elif self._next in self._places and self._nonces.get(self._next) is None:
                self.outcome.to_send -= self._next not in self._nonces  # its ping did not come
                self._move_on()
            elif self._next < len(self._messages):
                self.wakes = self._since + self._pause(self._next)
                if now < self.wakes:
                    break
                out.append(self._said(self._messages[self._next], now))
            elif not self._script.is_ours(self._messages[-1]) or now >= self._ends:
                self.finish()
            elif self._ends == inf:
                self._ends = self._since + LINGER
                if not self._verbatim and self.established and self.common_version > BIP0031_VERSION:
                    out.append(self.ping(now))  # what our last message makes the peer say has come when it answers
                    self._ends = now
            else:
                self.wakes = self._ends
                break
        return out

    def _said(self, message: Message, now: float) -> BTC:
        packet: Any = BTC(message.frame_bytes) if self._verbatim else self._rewrite(message, now)
        if self._next in self._nonces:
            packet = self.envelope(BTCPong(nonce=self._nonces[self._next]))
        elif isinstance(packet.payload, BTCPing) and packet.payload.nonce is not None:
            recorded = int.from_bytes(message.payload[:8], "little")
            self._expected.copied("pong", recorded, packet.payload.nonce)
        self._since = now
        self.outcome.sent += 1
        self._move_on()
        said: BTC = packet
        return said

    def _move_on(self) -> None:
        """Find our next message."""
        self._next += 1
        while self._next < len(self._messages) and not self._script.is_ours(self._messages[self._next]):
            self._next += 1

    def _pause(self, position: int) -> float:
        """Seconds between a message and the one before it."""
        if self._speed is None or not position:
            return 0.0
        before, this = self._messages[position - 1:position + 1]
        return max(0.0, (this.time_ns - before.time_ns) / 1e9 / self._speed)

    @property
    def complete(self) -> bool:
        """Whether all was said, and everything that is waited for has come."""
        return self._next == len(self._messages) and self._waits_for() is None

    # What to wait for

    def _waits_for(self) -> Awaited | None:
        """The first message that has to come before we may go on. Who opened the connection may always speak first."""
        if self.outbound and not self.outcome.sent:
            return None
        expected = self._expected.all
        all_sent = self._next == len(self._messages)
        while self._open < len(expected):
            first = expected[self._open]
            if not (first.seen or first.refused or self._open < self._abandoned or (
                    all_sent and first.message.msgtype == "ping")):
                return first if first.position < self._next else None
            self._open += 1
        return None

    def _give_up(self, now: float, ping: Awaited | None) -> None:
        """Nothing came in time: wait for nothing of this any more."""
        self._since = now
        if ping:
            ping.seen = True  # the next that comes is another one
            self._missing(ping.message)
            return
        if self.waits_for_pong:
            self._ping = None
            self.outcome.differences.append(Difference("missing", "pong", None, recorded="pong to our last ping"))
        while self._waits_for():
            self._abandoned = self._open + 1
        self._strikes += 1
        if self._strikes >= PATIENCE:
            self.finish(f"nothing of what was waited for came, {PATIENCE} times in a row")

    def receive(self, packet: Any, now: float) -> list[BTC]:
        """A packet of the peer; pongs to be sent. Raises WrongNetwork."""
        waited = self.waits_for_pong
        answers = super().receive(packet, now)
        if waited and not self.waits_for_pong:
            return []
        raw = bytes(packet)
        name, payload = msgtype_text(message_name(raw[4:16])), raw[HEADER_SIZE:]
        found = self._expected.find(name, payload, self._next)
        if found:
            self._compare(found, payload)
            if raw[20:HEADER_SIZE] != checksum(payload) and found.message.checksum != "bad":
                self.outcome.differences.append(Difference(
                    "field", name, found.message.frames[1], "", "checksum", checksum(payload).hex(), raw[20:24].hex()))
            self._since, self._strikes = now, 0
        else:
            self._unexpected(name, payload)
        pongs: list[Any] = [answer for answer in answers if answer.msgtype == "pong"]
        if self._verbatim or (pongs and found and not self._answers_at_once(found, pongs[0].nonce)):
            return []
        return pongs

    def _answers_at_once(self, ping: Awaited, nonce: int) -> bool:
        """Whether a ping that is in the recording is answered now: not if its pong comes later, or never came."""
        place = self._pongs.get(ping.position)
        if place is not None and ping.position < self._next <= place:
            self._nonces[place] = nonce
            return False
        if place is not None:
            self.outcome.to_send += place < self._next and place not in self._nonces  # it was given up
            self._nonces[place] = None
            self.outcome.sent += 1
        return place is not None

    def _compare(self, found: Awaited, payload: bytes) -> None:
        message, position = found.message, found.position
        self.outcome.came += 1
        self.outcome.differences += differences(message, payload)
        if position < self._latest:
            late = found.is_answer and position < self._latest_answer
            reason = ALIVE if message.msgtype == "ping" else "" if late else INDEPENDENT
            self.outcome.differences.append(Difference("order", message.msgtype, message.frames[1], reason))
        self._latest = max(self._latest, position)
        if found.is_answer:
            self._latest_answer = max(self._latest_answer, position)

    def _unexpected(self, name: str, payload: bytes) -> None:
        if name == "notfound":
            self._expected.refuse(payload)
        self._extra += 1
        self._extra_bytes += len(payload)
        if self._extra > MAX_EXTRA or self._extra_bytes > MAX_EXTRA_BYTES:
            self.finish(f"the peer sent {self._extra:,} messages ({self._extra_bytes:,} bytes) that are not in the "
                        "recording")
        elif self._expected.all:  # else nothing can be compared
            self.outcome.differences.append(Difference("extra", name, None, ALIVE if name == "ping" else "",
                                                       live=short(line_of(name, payload))))

    def finish(self, failure: str = "") -> None:
        """The conversation is over; what should have come by now and did not is missing."""
        if self.done:
            return
        self.done = True
        self.outcome.failure = failure
        for awaited in self._expected.all:
            if awaited.position > self._next:
                break
            if not awaited.seen:
                self._missing(awaited.message)

    def _missing(self, message: Message) -> None:
        self.outcome.differences.append(Difference(
            "missing", message.msgtype, message.frames[1], ALIVE if message.msgtype == "ping" else "",
            recorded=short(line_of(message.msgtype, message.payload))))


def version_of(script: Script) -> int:
    """The protocol version that the played side announces."""
    for message in script.messages:
        if message.msgtype == "version" and script.is_ours(message):
            said = message.packet.payload
            return int(getattr(said, "version", PROTOCOL_VERSION))
    return PROTOCOL_VERSION


def answered_pings(script: Script) -> dict[int, int]:
    """Positions of the peer's pings, and of our pongs to them."""
    asked: dict[bytes, list[int]] = {}
    found = {}
    for position, message in enumerate(script.messages):
        ours = script.is_ours(message)
        if message.msgtype == "ping" and not ours:
            asked.setdefault(message.payload, []).append(position)
        elif message.msgtype == "pong" and ours and asked.get(message.payload):
            found[asked[message.payload].pop(0)] = position
    return found
