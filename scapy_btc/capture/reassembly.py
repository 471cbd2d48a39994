# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP reassembly: captured frames go in, each direction's receiver gets its bytes in order.

Time is linear in the bytes of the frames, memory bounded by `Limits`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from struct import error as StructError
from typing import Any

from .direction import Direction, Limits, Receiver
from .link import ACK, FIN, LINK_TYPES, PSH, RST, SYN, TCP, LinkLayer
from .pcap import CapturedFrame

# what the fast path looks at, from the first byte of IP on, ending with data offset and flags
_ipv4 = Struct(">BxHxxIxx12sIIH").unpack_from  # version, total length, fragment and protocol, key, seq, ack
_ipv6 = Struct(">4xHBx36sIIH").unpack_from  # payload length, next header, key, seq, ack
_OFFSETS = {linktype: plain for linktype, (plain, _) in LINK_TYPES.items()}
_FLAGS = FIN | SYN | RST | ACK
_SWEEP = 0x3FFF  # frames between two looks at what is held, minus 1


class Reassembly:
    """The TCP connections of a capture or an interface.

    `open_receiver` makes the receiver of a direction when its first bytes are due. `counts` counts what receivers are
    not told: connections, evicted ones, segments out of order and retransmitted, frames without TCP.
    """

    def __init__(
        self, open_receiver: Callable[[Direction], Receiver], limits: Limits | None = None, first_connection: int = 0
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.unsupported: int | None = None
        """A link type that cannot be read, if one occurred."""
        self._first_connection = first_connection
        self._open_receiver = open_receiver
        self._limits = limits or Limits()
        self._directions: dict[bytes, Direction] = {}
        self._link = LinkLayer()

    def feed(self, number: int, time_ns: int, linktype: int, data: bytes, original: int | None = None) -> list[Any]:
        """Take a captured frame and return what the receivers returned.

        :param number: of the frame, growing by 1
        :param time_ns: nanoseconds since 1970
        :param linktype: LINKTYPE_ number of the pcap formats
        :param data: what was captured of the frame
        :param original: bytes that the frame had when it was sent; None: all were captured
        """
        out: list[Any] = []
        if not number & _SWEEP:
            self._sweep(number, out)
        segment = self._link.segment(linktype, data, len(data) if original is None else original)
        if segment is None:
            self.counts["frames without TCP"] += 1
            if linktype not in LINK_TYPES:
                self.unsupported = linktype
            return out
        key, seq, ack, flags, payload, cut = segment
        if flags & RST:
            payload, cut = b"", 0  # a reason in words, not of the stream
        direction = self._directions.get(key) or self._connect(key, out)
        direction.pause()
        if flags & SYN:
            if not direction.begins_at(seq, bool(flags & ACK)):
                direction = self._reconnect(direction, out)
                direction.begins_at(seq, bool(flags & ACK))
            seq = (seq + 1) & 0xFFFFFFFF
        elif (payload or cut) and not direction.belongs(seq):
            direction = self._reconnect(direction, out)
        direction.active = number
        if flags & (RST | ACK) == ACK:
            direction.ack = ack
        if payload or cut or flags & (FIN | RST):
            direction.pushed = bool(flags & PSH)
            out += direction.take(seq, flags, payload, cut, number, time_ns)
        out += direction.patience(time_ns)
        out += direction.peer.patience(time_ns)
        direction.resume()
        return out

    def read(self, frames: Iterable[CapturedFrame]) -> Iterator[Any]:
        """Take many frames, and yield what the receivers return; faster than `feed`, otherwise the same.

        One thing is not looked at for its speed: which protocol the link layer names, in a frame that holds just the
        next segment of a known connection.
        """
        directions = self._directions
        offsets = _OFFSETS
        ipv4, ipv6 = _ipv4, _ipv6
        for number, time_ns, linktype, buffer, start, end, original in frames:
            # The fast path: the next segment of a known connection on which nothing waits. What else may stand in a
            # frame is told by a key that is no connection's, or is left to `feed`, which takes everything.
            try:
                at = start + offsets[linktype]
                first, length, rest, key, seq, ack, header = ipv4(buffer, at)
                if first == 0x45:
                    begin = at + 20 + (header >> 10 & 0x3C)
                    plain = rest & 0x3FFF00FF == TCP
                else:
                    length, rest, key, seq, ack, header = ipv6(buffer, at)
                    at += 40
                    begin = at + (header >> 10 & 0x3C)
                    plain = rest == TCP and first >> 4 == 6
                stream = directions[key]
            except (KeyError, StructError):
                plain = False
            if plain and seq == stream.expected and header & _FLAGS == ACK and number & _SWEEP:
                stop = at + length
                if begin < stop <= end:
                    stream.ack = ack
                    stream.expected = (seq + stop - begin) & 0xFFFFFFFF
                    stream.parts.append(buffer[begin:stop])
                    stream.number = number
                    stream.time_ns = time_ns
                    stream.wanted -= stop - begin
                    if stream.wanted <= 0:
                        yield from stream.flush()
                    continue
                if begin == stop <= end:
                    stream.ack = ack
                    continue
            out = self.feed(number, time_ns, linktype, buffer[start:end], original)
            if out:
                yield from out

    def close(self) -> list[Any]:
        """The capture ends: return what the receivers still have to say."""
        out: list[Any] = []
        for direction in self._directions.values():
            out += direction.close()
        self._directions.clear()
        return out

    def _connect(self, key: bytes, out: list[Any]) -> Direction:
        """Begin a connection and return the direction of that key."""
        if len(self._directions) >= 2 * self._limits.connections:
            self._evict(self._by_activity()[: max(1, self._limits.connections // 8)], out)
        number = self._first_connection + self.counts["connections"]
        self.counts["connections"] += 1
        half = (len(key) - 4) // 2
        back = key[half : 2 * half] + key[:half] + key[-2:] + key[-4:-2]
        there, here = (Direction(key, number, self._open_receiver, self._limits, self.counts) for key in (key, back))
        there.peer, here.peer = here, there
        self._directions[key] = there
        self._directions.setdefault(back, here)
        return there

    def _reconnect(self, direction: Direction, out: list[Any]) -> Direction:
        """Begin another connection between the same ports."""
        self._drop(direction, out)
        return self._connect(direction.key, out)

    def _drop(self, direction: Direction, out: list[Any]) -> None:
        ends = (direction, direction.peer)
        for end in ends:
            out += end.close()
            self._directions.pop(end.key, None)
        for end in ends:
            del end.peer  # they refer to each other: without this their memory waits for the garbage collector

    def _by_activity(self) -> list[Direction]:
        """One direction of each connection, those first that were active the longest ago."""
        pairs = {direction.connection: direction for direction in self._directions.values()}
        return sorted(pairs.values(), key=_last_frame)

    def _evict(self, directions: list[Direction], out: list[Any]) -> None:
        for direction in directions:
            self.counts["evicted"] += not (direction.ended and direction.peer.ended)
            self._drop(direction, out)

    def _sweep(self, number: int, out: list[Any]) -> None:
        """Drop what is over, and what was inactive the longest if too much is held."""
        held = 0
        for direction in self._by_activity():
            if _last_frame(direction) < number - _SWEEP:
                direction.recent.clear()
                direction.peer.recent.clear()
                if direction.ended and direction.peer.ended:
                    self._drop(direction, out)
                    continue
            held += direction.held + direction.peer.held
        for direction in self._by_activity() if held > self._limits.memory else ():
            held -= direction.held + direction.peer.held
            self._evict([direction], out)
            if held <= self._limits.memory:
                break


def _last_frame(direction: Direction) -> int:
    peer = direction.peer
    return max(direction.active, direction.number, peer.active, peer.number)
