# SPDX-License-Identifier: GPL-2.0-or-later
"""Captured frames to messages, with no file in it: for captures, pipes and live interfaces alike."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import itemgetter

from ..networks import Network, all_networks, by_magic, by_port
from ..wire.events import Event, Frame, Gap, Skipped, Truncated, Unrecognised
from ..wire.framing import V1Decoder
from .direction import Direction, Limits
from .link import endpoints
from .message import Message, StreamEvent, msgtype_text
from .reassembly import Reassembly

_GATHERED = 1 << 16  # bytes of a message that are gathered before they are handed on
_FEW, _MANY = 64, 4096  # segments whose frame numbers are all kept: of a stream nobody understands, of a long message

# stream offset of a segment's first byte, first and last frame, time of the last: of one segment or several merged
_Mark = tuple[int, int, int, int]
# first and last frame, time of the last
_Place = tuple[int, int, int]
_first_frame, _last_frame = itemgetter(1), itemgetter(2)

_AFTER = {
    "no-magic": "before the first message",
    "bad-magic": "no message starts here",
    "bad-length": "a header announces more than 32 MiB",
    "bad-checksum": "a header with a wrong length or none at all",
    "after-gap": "after lost bytes",
}


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\r\n" or 0x20 <= byte <= 0x7E for byte in head)


class StreamTable(Reassembly):
    """Takes frames with `feed` and gives messages and stream events.

    :param network: the network that the user says it is; else each stream's magic tells, then its port
    """

    def __init__(self, network: Network | None = None, limits: Limits | None = None, first_connection: int = 0) -> None:
        super().__init__(self._open, limits, first_connection)
        self.network = network
        known = all_networks()
        self.networks: tuple[Network, ...] = known if network is None or network in known else (network, *known)

    def _open(self, direction: Direction) -> V1Receiver:
        return V1Receiver(self, direction)


def network_of(magic: bytes, ports: Iterable[int] = (), said: Network | None = None) -> Network | None:
    """The network of a stream: what the user says, else by magic, and by port where several share the magic."""
    if said is not None and said.magic == magic:
        return said
    candidates = by_magic(magic)
    used = frozenset(ports)
    for network in candidates:
        if not used.isdisjoint((network.port, network.onion_port)):
            return network
    return candidates[0] if candidates else None


class V1Receiver:
    """Makes messages of the bytes of one direction, and remembers which frames they came with."""

    __slots__ = (
        "_connection", "_counts", "_decoder", "_destination", "_early", "_from_the_start", "_head", "_keep", "_marks",
        "_network", "_ports", "_said", "_source", "_table", "wanted",
    )  # fmt: skip

    def __init__(self, table: StreamTable, direction: Direction) -> None:
        self._table = table
        self._counts = table.counts
        self._connection = direction.connection
        self._source, self._destination = endpoints(direction.key)
        self._ports = [int(end.rpartition(":")[2]) for end in (self._source, self._destination)]
        self._from_the_start = direction.from_the_start
        self._decoder = V1Decoder(table.networks)
        self.wanted = 1
        self._network: Network | None = None
        self._marks: list[_Mark] = []
        self._keep = _FEW
        self._head = b""  # how a stream begins that is not v1
        self._early: list[StreamEvent] = []  # until the first header is found
        self._said: str | None = "" if direction.from_the_start else None

    @property
    def held(self) -> int:
        """Bytes kept for an incomplete message, and what the marks take."""
        return self._decoder.held + 160 * len(self._marks)

    def receive(self, parts: list[bytes], number: int, time_ns: int) -> Sequence[Message | StreamEvent]:
        """The next bytes of the stream: what they complete."""
        decoder = self._decoder
        marks = self._marks
        marks.append((decoder.offset, number, number, time_ns))
        events = decoder.feed_parts(parts)
        self.wanted = min(decoder.wanted, _GATHERED)
        if events:
            return self._report(events)
        if len(marks) > self._keep:
            self._thin()
        return ()

    def lost(self, size: int, reason: str, number: int, time_ns: int) -> Sequence[Message | StreamEvent]:
        """A hole of that size."""
        self._said = None  # what was lost may have been a verack
        place = (number, number, time_ns) if number else self._span(self._decoder.offset, self._decoder.offset)
        events = self._decoder.gap(size)
        self.wanted = min(self._decoder.wanted, _GATHERED)
        return self._report(events, reason, place)

    def differs(self, size: int, number: int, time_ns: int) -> Sequence[Message | StreamEvent]:
        """Bytes that came again with other content."""
        if self._decoder.magic is None:
            return ()
        self._counts["overlap-differs"] += 1
        return [self._event("overlap-differs", size, "sent again with other content", (number, number, time_ns))]

    def end(self) -> Sequence[Message | StreamEvent]:
        """The direction is over."""
        place = self._span(0, self._decoder.offset)
        out = self._report(self._decoder.close())
        unread = sum(event.bytes for event in self._early if event.event != "gap")
        if unread and any(by_port(port) for port in self._ports):
            hidden = self._from_the_start and not _is_text(self._head)
            kind, reason = ("encrypted", "v2, or another protocol") if hidden else ("unrecognised", "no message in it")
            self._counts[kind] += 1
            out.append(self._event(kind, unread, reason, place))
        elif unread:
            self._counts["streams of other protocols"] += 1
        return out

    def _report(
        self, events: Sequence[Event], lost_reason: str = "", lost_place: _Place = (0, 0, 0)
    ) -> list[Message | StreamEvent]:
        """What the decoder said, as messages and stream events."""
        out: list[Message | StreamEvent] = []
        magic = self._decoder.magic
        if magic is not None and (self._network is None or self._network.magic != magic):
            self._network = network_of(magic, self._ports, self._table.network)
        if magic is not None and self._early:
            for early in self._early:
                early.network = self._network
                self._counts[early.event] += 1
            out += self._early
            self._early = []
        done = messages = 0
        for event in events:
            if type(event) is Frame:
                out.append(self._message(event))
                messages += 1
                done = event.end
            elif isinstance(event, Unrecognised):
                self._head = event.head
            elif not isinstance(event, Frame):
                told = self._told(event, lost_reason, lost_place)
                if magic is not None:
                    self._counts[told.event] += 1
                    out.append(told)
                else:
                    self._hold_back(told)
                done = event.end if isinstance(event, Skipped) else done
        if messages:
            self._counts["messages"] += messages
        passed = bisect_left(self._marks, (done + 1,)) - 1
        if passed > 0:
            del self._marks[:passed]
        return out

    def _message(self, frame: Frame) -> Message:
        mark = self._marks[-1]
        first, last, time_ns = mark[1:] if mark[0] <= frame.start else self._span(frame.start, frame.end)
        said = self._said
        if frame.msgtype in (b"version", b"verack"):
            if said is not None:
                self._said = frame.msgtype.decode()
        elif said == "":
            self._said = said = None
        return Message(
            time_ns, self._source, self._destination, self._connection, self._network, "v1",
            msgtype_text(frame.msgtype), frame.payload, frame.verdict, (first, last), frame, said,
        )  # fmt: skip

    def _told(self, event: Gap | Skipped | Truncated, lost_reason: str, lost_place: _Place) -> StreamEvent:
        """What is no message, in the words of captures."""
        if isinstance(event, Gap):
            return self._event("gap", 0 if event.end is None else event.end - event.start, lost_reason, lost_place)
        place = self._span(event.start, event.end or event.start)
        if isinstance(event, Skipped):
            return self._event("skipped", event.end - event.start, _AFTER[event.reason], place)
        what = f"a message ({msgtype_text(event.msgtype)})" if event.msgtype else "a message header"
        why = "with a hole in it" if event.reason == "gap" else "at the end of the stream"
        return self._event("truncated", event.received, f"{what} {why}", place)

    def _event(self, event: str, size: int, reason: str, place: _Place) -> StreamEvent:
        first, last, time_ns = place
        return StreamEvent(
            event, size, time_ns, self._connection, self._source, self._destination, reason, (first, last),
            self._network,
        )  # fmt: skip

    def _hold_back(self, event: StreamEvent) -> None:
        """Keep an event until the first header shows that the stream is Bitcoin's; only sums after the first few."""
        alike = [early for early in self._early if early.event == event.event]
        if len(alike) < _FEW:
            self._early.append(event)
        else:
            alike[-1].bytes += event.bytes
            alike[-1].frames = alike[-1].frames[0], event.frames[1]

    def _span(self, start: int, end: int) -> _Place:
        """First and last frame, and the time of the last, of the bytes from stream offset `start` to `end`."""
        marks = self._marks
        if not marks:
            return 0, 0, 0
        first = max(0, bisect_left(marks, (start + 1,)) - 1)
        last = max(first, bisect_left(marks, (end,)) - 1)
        if first == last:
            return marks[first][1:]
        _, _, number, time_ns = max(marks[first : last + 1], key=_last_frame)
        return min(map(_first_frame, marks[first : last + 1])), number, time_ns

    def _thin(self) -> None:
        """Merge the marks of the older half of the segments: they are in the middle of a message, or of nothing."""
        if self._keep == _FEW and (self._decoder.magic is not None or self._decoder.held >= _FEW):
            self._keep = _MANY
            return
        older = self._marks[: len(self._marks) // 2]
        _, _, number, time_ns = max(older, key=_last_frame)
        self._marks[: len(older)] = [(older[0][0], min(map(_first_frame, older)), number, time_ns)]
