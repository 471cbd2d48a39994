# SPDX-License-Identifier: GPL-2.0-or-later
"""Captured frames to messages, with no file in it: for captures, pipes and live interfaces alike."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ..networks import Network, all_networks, by_magic, by_port
from ..wire.events import Event, Frame, Gap, Note, Skipped, Truncated, Unrecognised
from ..wire.framing import V1Decoder
from .direction import Direction, Limits
from .encrypted import Conversation, Side
from .link import endpoints
from .message import Message, StreamEvent, msgtype_text
from .pcap import CapturedFrame
from .reassembly import Reassembly

if TYPE_CHECKING:
    from ..bip324.keylog import KeyLog
    from ..bip324.passive import V2Decoder

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
    :param keylog: keys of v2 connections (BIP 324)
    :param guess: tell also what the writes of v2 connections may be that cannot be decrypted
    """

    def __init__(self, network: Network | None = None, limits: Limits | None = None, first_connection: int = 0,
                 keylog: KeyLog | None = None, guess: bool = False) -> None:
        super().__init__(self._open, limits, first_connection)
        self.network, self.keylog, self.guess = network, keylog, guess
        known = all_networks()
        self.networks: tuple[Network, ...] = known if network is None or network in known else (network, *known)

    def read(self, frames: Iterable[CapturedFrame]) -> Iterator[Any]:
        return self._read_slowly(frames) if self.guess else super().read(frames)

    def _read_slowly(self, frames: Iterable[CapturedFrame]) -> Iterator[Any]:
        """For guesses, which need all that `feed` knows."""
        for number, time_ns, linktype, buffer, start, end, original in frames:
            yield from self.feed(number, time_ns, linktype, buffer[start:end], original)

    def _open(self, direction: Direction) -> StreamReceiver:
        return StreamReceiver(self, direction)


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


class StreamReceiver:
    """Makes messages of the bytes of one direction, and remembers which frames they came with."""

    __slots__ = (
        "_connection", "_counts", "_decoder", "_destination", "_direction", "_early", "_head", "_keep", "_marks",
        "_network", "_ports", "_said", "_side", "_source", "_start", "_table", "_transport",
        "wanted",
    )  # fmt: skip

    def __init__(self, table: StreamTable, direction: Direction) -> None:
        self._table = table
        self._counts = table.counts
        self._connection = direction.connection
        self._source, self._destination = endpoints(direction.key)
        self._ports = [int(end.rpartition(":")[2]) for end in (self._source, self._destination)]
        self._direction = direction
        self._decoder: V1Decoder | V2Decoder = V1Decoder(table.networks)
        self._transport = "v1"
        self.wanted = 1
        self._network: Network | None = None
        self._marks: list[_Mark] = []
        self._keep = _FEW
        self._start: bytes | None = b""  # the first bytes, until it is known whether they are v1
        self._head = b""  # how a stream begins that is not v1
        self._side: Side | None = None  # of such a stream, while it may turn out to be v2
        self._early: list[StreamEvent] = []  # until the first header is found
        self._said: str | None = "" if direction.from_the_start else None

    @property
    def held(self) -> int:
        """Bytes kept for an incomplete message, and what the marks take."""
        opening = len(self._side.opening) if self._side else 0
        return self._decoder.held + 160 * len(self._marks) + opening

    def receive(self, parts: list[bytes], number: int, time_ns: int) -> Sequence[Message | StreamEvent]:
        """The next bytes of the stream: what they complete."""
        decoder = self._decoder
        marks = self._marks
        marks.append((decoder.offset, number, number, time_ns))
        if self._start is not None:
            self._start += b"".join(parts)
        events = decoder.feed_parts(parts)
        self.wanted = min(decoder.wanted, _GATHERED)
        out: Sequence[Message | StreamEvent] = self._report(events) if events else ()
        if self._side:
            out = self._listen(b"".join(parts), out)
        elif self._start is not None:
            out = self._begin(self._start, out)
        if not events and len(marks) > self._keep:
            self._thin()
        return out

    def lost(self, size: int, reason: str, number: int, time_ns: int) -> Sequence[Message | StreamEvent]:
        """A hole of that size."""
        self._said = None  # what was lost may have been a verack
        self._start = None
        if self._side:
            self._side.torn = True
            self._side.writes.add(0, None)
        if isinstance(self._decoder, V1Decoder):
            pass
        elif not self._decoder.stopped:
            reason += "; what follows in this direction cannot be decrypted"
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
        if self._side:
            self._side.receiver = None
        unread = sum(event.bytes for event in self._early if event.event != "gap")
        conversation: Conversation | None = self._direction.shared
        if unread and conversation and not conversation.has_key and not conversation.doubt():
            self._counts["v2 streams without a key"] += 1
        if unread and (self._is_bitcoins() or (conversation and conversation.has_key)):
            hidden = self._direction.from_the_start and not _is_text(self._head)
            why = conversation.reason if conversation else "v2, or another protocol"
            kind, reason = ("encrypted", why) if hidden else ("unrecognised", "no message in it")
            self._counts[kind] += 1
            out.append(self._event(kind, unread, reason, place))
        elif unread:
            self._counts["streams of other protocols"] += 1
        return out

    def _is_bitcoins(self) -> bool:
        """Whether one of the ports is a network's."""
        return any(by_port(port) for port in self._ports)

    def _begin(self, start: bytes, out: Sequence[Message | StreamEvent]) -> Sequence[Message | StreamEvent]:
        """Once the first bytes show that the stream is not v1, look whether it is v2. `out`: what was found so far."""
        table, direction = self._table, self._direction
        if self._decoder.magic is None and not self._head:
            return out  # too few bytes
        self._start = None
        if self._decoder.magic is not None or (table.keylog is None and not self._is_bitcoins()):
            return out
        if direction.shared is None:
            magics = [network.magic for network in table.networks]
            direction.shared = direction.peer.shared = Conversation(table.keylog, magics)
        self._side = direction.shared.join(self)
        return self._listen(start, out)

    def _listen(self, data: bytes, out: Sequence[Message | StreamEvent]) -> Sequence[Message | StreamEvent]:
        """Bytes of a stream that is not v1: they may show the keys of both directions."""
        conversation: Conversation = self._direction.shared
        side = self._side
        assert side
        decoders = conversation.feed(side, data)
        if decoders is None:
            guess = side.writes.add(len(data), self._direction.pushed) if self._table.guess else None
            if guess is None or conversation.doubt():
                return out
            self._counts["guess"] += 1
            return [*out, self._event("guess", *guess, self._marks[-1][1:])]
        told = list(out)
        for side, decoder in zip(conversation.sides, decoders, strict=True):
            if side.receiver:
                told += side.receiver._decrypt(side, decoder)
        return told

    def _decrypt(self, side: Side, decoder: V2Decoder) -> list[Message | StreamEvent]:
        """Go on as v2, from the first byte."""
        before, self._decoder = self._decoder, decoder
        gaps = [event for event in self._early if event.event == "gap"]
        self._transport, self._side, self._early = "v2", None, []
        out = self._report(decoder.feed_parts([bytes(side.opening)]))
        if side.torn:
            for gap in gaps:
                gap.network = self._network
                self._counts["gap"] += 1
            out += gaps
            decoder.abandon(before.offset, sum(gap.bytes for gap in gaps),
                            "after lost bytes" if gaps else "its key was in the key log too late")
        side.opening.clear()
        self.wanted = min(decoder.wanted, _GATHERED)
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
                done = event.end if isinstance(event, (Skipped, Note)) else done
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
            time_ns, self._source, self._destination, self._connection, self._network, self._transport,
            msgtype_text(frame.msgtype), frame.payload, frame.verdict, (first, last), frame, said,
        )  # fmt: skip

    def _told(self, event: Gap | Skipped | Truncated | Note, lost_reason: str, lost_place: _Place) -> StreamEvent:
        """What is no message, in the words of captures."""
        if isinstance(event, Gap):
            return self._event("gap", 0 if event.end is None else event.end - event.start, lost_reason, lost_place)
        place = self._span(event.start, event.end or event.start)
        if isinstance(event, Skipped):
            return self._event("skipped", event.end - event.start, _AFTER[event.reason], place)
        if isinstance(event, Note):
            return self._event(event.kind, event.size, event.reason, place)
        start = "a packet" if self._transport == "v2" else "a message header"
        what = f"a message ({msgtype_text(event.msgtype)})" if event.msgtype else start
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
