# SPDX-License-Identifier: GPL-2.0-or-later
"""One direction of a TCP connection: segments in any order go in, bytes in the order of the stream come out.

Of bytes that arrive twice the first count. A hole is filled when its segment still arrives; it is declared lost when
there is evidence: the receiver acknowledged the bytes, too much is waiting behind it, too much time has passed, or the
stream ends.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Protocol

from .link import FIN, RST
from .waiting import Waiting, difference

SECOND = 1_000_000_000
WINDOW = 1 << 30  # the largest that TCP can announce: a sequence number farther off is of another connection

NOT_CAPTURED = "never captured"
CUT_OFF = "cut off by the snapshot length"


@dataclass(frozen=True)
class Limits:
    """How long and how much is waited for before bytes count as lost, and how much is remembered."""

    connections: int = 16_384
    """Tracked at a time; beyond it the least recently active ones are dropped."""
    memory: int = 96 << 20
    """Bytes held for all connections together; likewise."""
    waiting_bytes: int = 4 << 20
    """Behind a hole, per direction."""
    waiting_segments: int = 16_384
    hole_ns: int = 30 * SECOND
    """How long a hole stays open that nobody has acknowledged."""
    acknowledged_ns: int = SECOND
    acknowledged_frames: int = 64
    """An acknowledged hole stays open for so long, or for so many frames of its connection: frames are captured out
    of order, too."""
    start_frames: int = 16
    """A direction whose SYN was not seen starts at the lowest sequence number of its first so many frames (or of
    `acknowledged_ns`)."""


REMEMBERED = 32  # segments that a retransmission is compared with, per direction


class Receiver(Protocol):
    """Takes the bytes of one direction. What its methods return is handed on to the caller of the table."""

    wanted: int
    """How many bytes it needs at least before it can say anything more; they may be gathered until then."""

    def receive(self, parts: list[bytes], number: int, time_ns: int) -> Sequence[Any]:
        """The next bytes, one part or more per segment; frame and time are those of the last segment."""

    def lost(self, size: int, reason: str, number: int, time_ns: int) -> Sequence[Any]:
        """So many bytes are missing here; frame and time are those of what follows, 0 where nothing does."""

    def differs(self, size: int, number: int, time_ns: int) -> Sequence[Any]:
        """So many bytes that were already there came again with other content."""

    def end(self) -> Sequence[Any]:
        """No more will come."""

    @property
    def held(self) -> int:
        """Bytes kept in memory."""


def distance(seq: int, reference: int) -> int:
    """How far a sequence number lies after another one; negative when before."""
    return ((seq - reference + 0x80000000) & 0xFFFFFFFF) - 0x80000000


_NOTHING: deque[bytes] = deque(maxlen=0)


class Direction:
    """What is known of one direction. The attributes without underscore are for the table and its fast path."""

    __slots__ = (
        "_counts", "_fin", "_first", "_limits", "_open", "_pos", "_receiver", "_started", "_waiting",
        "ack", "active", "connection", "ended", "expected", "isn", "key", "next", "number", "parts", "peer", "pushed",
        "recent", "shared", "time_ns", "wanted",
    )  # fmt: skip

    def __init__(
        self,
        key: bytes,
        connection: int,
        open_receiver: Callable[[Direction], Receiver],
        limits: Limits,
        counts: Counter[str],
    ) -> None:
        self.key = key
        self.connection = connection
        self.peer: Direction = self
        self.shared: Any = None
        """What the receivers of both directions know together, if they do."""
        self.pushed: bool | None = None
        """Whether the segment that is being handed on ends what its sender wrote; None: not known. `feed` knows."""
        self.expected = -1
        """Sequence number that the fast path may take; -1: none. It moves on while `next` stays."""
        self.next = -1
        """Sequence number of the byte that comes next in order, as of the last `pause`; -1: not known yet."""
        self.ack = -1
        """Last acknowledgement number that this direction carried; -1: none yet."""
        self.parts: list[bytes] = []
        """Payloads gathered for the receiver."""
        self.wanted = 1
        """How many more bytes are gathered before they are handed on."""
        self.number = self.time_ns = 0
        """Frame and time of the last payload."""
        self.isn = -1
        self.ended = False
        self.active = 0
        """Number of the last frame that `feed` saw."""
        self.recent = _NOTHING
        """The last payloads that were handed on, without a hole between them."""
        self._open = open_receiver
        self._receiver: Receiver | None = None
        self._waiting: Waiting | None = None  # None: nothing waits
        self._first = -1  # sequence number with which the direction started
        self._started = False
        self._pos = 0  # bytes handed on, counted while segments wait
        self._fin = -1
        self._limits = limits
        self._counts = counts

    @property
    def held(self) -> int:
        """Bytes kept in memory for this direction."""
        held = sum(map(len, self.recent)) + (self._receiver.held if self._receiver else 0)
        return held + sum(map(len, self.parts)) + 48 * len(self.parts) + (self._waiting.size if self._waiting else 0)

    def pause(self) -> None:
        """Take the connection off the fast path."""
        for end in (self, self.peer):
            if end.expected >= 0:
                end.next, end.expected = end.expected, -1

    def resume(self) -> None:
        """Put the connection back on the fast path unless segments wait."""
        peer = self.peer
        if self._waiting is None and peer._waiting is None:
            self.expected = -1 if self.ended else self.next
            peer.expected = -1 if peer.ended else peer.next

    def flush(self) -> Sequence[Any]:
        """Hand on what was gathered."""
        parts, self.parts = self.parts, []
        receiver = self._opened()
        self.recent += parts
        out = receiver.receive(parts, self.number, self.time_ns)
        self.wanted = receiver.wanted
        return out

    @property
    def from_the_start(self) -> bool:
        """Whether the SYN was captured."""
        return self.isn >= 0

    def belongs(self, seq: int) -> bool:
        """Whether a data segment with that number can be of this connection, not of a later one on the same ports."""
        if self.next < 0:
            return True
        ahead = distance(seq, self.next)
        return ahead < 0 if self.ended else -WINDOW < ahead < WINDOW

    def begins_at(self, isn: int, answer: bool) -> bool:
        """Take note of a SYN, or of the SYN that answers it. False: it is that of another connection on these ports."""
        if self.isn == isn:
            return True
        start = (isn + 1) & 0xFFFFFFFF
        untouched = self._receiver is None and self._waiting is None
        if self.next < 0 or (self.isn >= 0 and untouched and answer):  # SYN cookies may change from answer to answer
            self.next = self._first = start
            self._started = True
        elif self.isn >= 0 or self.ended or not -(1 << 20) < distance(self._first, start) < 1 << 20:
            return False
        elif not self._started:
            self._start(self._pos + distance(start, self.next))
        self.isn = isn
        return True

    def take(self, seq: int, flags: int, payload: bytes, cut: int, number: int, time_ns: int) -> list[Any]:
        """A segment that the fast path did not take: not the next one, the first, the last, or a cut one."""
        out: list[Any] = []
        size = len(payload) + cut
        if self.ended or (self.next < 0 and not size):
            return out
        if self.next < 0:
            self.next = self._first = seq
            self._wait()
        ahead = distance(seq, self.next)
        if flags & (FIN | RST) and self._fin < 0 and 0 <= ahead + size < WINDOW:
            self._fin = (seq + size) & 0xFFFFFFFF
        if self._started and ahead < 0 and size:
            known = min(-ahead, size)
            self._counts["retransmitted"] += 1
            self._compare(ahead, payload[:known], number, time_ns, out)
            cut -= max(0, known - len(payload))
            payload = payload[known:]
            size -= known
            ahead = 0
        if self._waiting is None:
            if ahead > 0:
                self._wait()
            else:
                self._hand_on(payload, cut, number, time_ns, out)
                size = 0
        if self._waiting is not None and size:
            self._counts["out-of-order"] += ahead > 0
            self._report(self._waiting.add(self._pos + ahead, payload, cut, number, time_ns), number, time_ns, out)
        self._drain(out)
        return out

    def patience(self, time_ns: int) -> list[Any]:
        """Look again whether what is missing will still come; to be called for each frame of the connection."""
        out: list[Any] = []
        waiting = self._waiting
        if waiting is None or self.ended:
            return out
        waiting.clock += 1
        if not self._started and waiting:
            limits = self._limits
            late = time_ns - waiting.first.time_ns >= limits.acknowledged_ns or waiting.size > limits.waiting_bytes
            if late or waiting.clock >= limits.start_frames:
                self._start(waiting.start)
        self._drain(out)
        while self._started and self._waiting and not self.ended and self._is_lost(self._waiting, time_ns):
            self._give_up(self._waiting, out)
        return out

    def settle(self) -> list[Any]:
        """No more segments will come: hand on what waits."""
        self.pause()
        out: list[Any] = []
        if self.ended:
            return out
        if self._waiting and not self._started:
            self._start(self._waiting.start)
        self._drain(out)
        while self._waiting and not self.ended:
            self._give_up(self._waiting, out)
        return out

    def close(self) -> list[Any]:
        """The same, and say what is missing."""
        out = self.settle()
        if self.shared is not None:
            out += self.peer.settle()  # what it says may be needed to read this direction
        if not self.ended:
            missing = self._missing_at_the_end()
            if missing and self._receiver:
                self._lose(missing, NOT_CAPTURED, 0, 0, out)
            self._finish(out)
        return out

    def _opened(self) -> Receiver:
        if self._receiver is None:
            self._receiver = self._open(self)
            self.recent = deque(maxlen=REMEMBERED)
        return self._receiver

    def _wait(self) -> None:
        self._waiting = Waiting()
        self._pos = 0

    def _start(self, pos: int) -> None:
        """The stream starts there, in terms of `_pos`."""
        self.next = (self.next + pos - self._pos) & 0xFFFFFFFF
        self._pos = pos
        self._started = True
        if self._waiting:
            self._waiting.cut_before(pos)

    def _hand_on(self, payload: bytes, cut: int, number: int, time_ns: int, out: list[Any]) -> None:
        """Give the next bytes to the receiver."""
        size = len(payload) + cut
        self.next = (self.next + size) & 0xFFFFFFFF
        self._pos += size
        if payload:
            self.parts.append(payload)
            self.number, self.time_ns = number, time_ns
            out += self.flush()
        if cut:
            self._lose(cut, CUT_OFF, number, time_ns, out)

    def _lose(self, size: int, reason: str, number: int, time_ns: int, out: list[Any]) -> None:
        """Tell the receiver that bytes are missing."""
        if self.parts:
            out += self.flush()
        receiver = self._opened()
        out += receiver.lost(size, reason, number, time_ns)
        self.wanted = receiver.wanted
        self.recent.clear()

    def _drain(self, out: list[Any]) -> None:
        """Hand on what has its turn, and end where the FIN says so."""
        if self._waiting is not None and self._started:
            for piece in self._waiting.take(self._pos):
                self.pushed = None
                self._hand_on(piece.payload, piece.cut, piece.number, piece.time_ns, out)
            if not self._waiting and self._fin < 0:
                self._waiting = None
        if self._started and self._fin == self.next:
            self._finish(out)

    def _is_lost(self, waiting: Waiting, time_ns: int) -> bool:
        """Whether the bytes before the first piece that waits will not come any more."""
        limits = self._limits
        first = waiting.first
        age = time_ns - first.time_ns
        waited = age >= limits.acknowledged_ns or waiting.clock - first.clock >= limits.acknowledged_frames
        acknowledged = self.peer.ack >= 0 and 0 < distance(self.peer.ack, self.next) < WINDOW
        too_much = waiting.size > limits.waiting_bytes or len(waiting) > limits.waiting_segments
        return too_much or age >= limits.hole_ns or (waited and acknowledged)

    def _give_up(self, waiting: Waiting, out: list[Any]) -> None:
        """Declare the bytes before the first piece lost."""
        missing = waiting.start - self._pos
        first = waiting.first
        self._lose(missing, NOT_CAPTURED, first.number, first.time_ns, out)
        self.next = (self.next + missing) & 0xFFFFFFFF
        self._pos += missing
        self._drain(out)

    def _missing_at_the_end(self) -> int:
        """Bytes that were sent after the last one that was captured, as far as FIN and acknowledgements tell."""
        if not self._started:
            return 0
        if self._fin >= 0:
            return max(0, distance(self._fin, self.next))
        missing = distance(self.peer.ack, self.next) if self.peer.ack >= 0 else 0
        return missing if 1 < missing < WINDOW else 0  # 1 may be a FIN that was not captured

    def _finish(self, out: list[Any]) -> None:
        self.ended = True
        self._waiting = None
        self.recent = _NOTHING
        if self.parts:
            out += self.flush()
        if self._receiver:
            out += self._receiver.end()
            self._receiver = None

    def _compare(self, ahead: int, payload: bytes, number: int, time_ns: int, out: list[Any]) -> None:
        """Compare bytes that come again with those that were handed on, as far as these are remembered."""
        if ahead == -1 and len(payload) == 1:
            return  # a keep-alive probe carries any byte
        end = 0
        differing = 0
        for old in islice(chain(reversed(self.parts), reversed(self.recent)), REMEMBERED):
            begin = end - len(old)
            if begin < ahead + len(payload):
                differing += difference(old[max(0, ahead - begin) :], payload[max(0, begin - ahead) :])
            if begin <= ahead:
                break
            end = begin
        self._report(differing, number, time_ns, out)

    def _report(self, differing: int, number: int, time_ns: int, out: list[Any]) -> None:
        if differing:
            out += self._opened().differs(differing, number, time_ns)
