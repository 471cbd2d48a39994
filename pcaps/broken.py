# SPDX-License-Identifier: GPL-2.0-or-later
"""Break the clean recording in known ways and write down what can still be read: the files broken-*.pcap[.gz].

    python pcaps/broken.py [FOLDER]

Two connections of bcoin-regtest.pcapng are sent again as small segments (`traffic`), then each maker below spoils
them. What is expected of a reader follows from which bytes of each direction are left, not from any reader: a message
counts when all its bytes are there, every other byte that is there is unread, the rest is lost. The same input gives
the same files and the same index.toml.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import frames as plain
import index
from frames import ACK, FIN, MAGIC, PSH, SYN, Endpoint, Frame, Message, Segment

HERE = Path(__file__).parent
CLEAN = HERE / "bcoin-regtest.pcapng"
LOST_SEGMENTS = 40

Way = tuple[Endpoint, Endpoint]


@dataclass
class Sent:
    """A segment with the place of its first byte in its direction."""

    time_ns: int
    segment: Segment
    at: int = 0

    @property
    def carries(self) -> bool:
        return bool(self.segment.payload)

    @property
    def way(self) -> Way:
        return self.segment.source, self.segment.destination


@dataclass
class Traffic:
    """What was sent, and for each direction its bytes and the messages in them."""

    sent: list[Sent] = field(default_factory=list)
    data: dict[Way, bytes] = field(default_factory=dict)
    messages: dict[Way, list[Message]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


# What is sent instead of a message: bytes that belong to no message, then the message.
Change = Callable[[Message, random.Random], tuple[bytes, bytes]]


def conversations() -> list[list[tuple[int, Way, Message]]]:
    """The messages of each connection of the clean recording, in the order in which their last byte was seen."""
    source = [(frame.time_ns, plain.parse(frame.data)) for frame in plain.read(CLEAN)]
    waiting = {way: plain.messages(data) for way, data in plain.streams(segment for _, segment in source).items()}
    first = {(item.source, item.destination): item.sequence + 1 for _, item in source if item.flags & SYN}
    talks: dict[frozenset[Endpoint], list[tuple[int, Way, Message]]] = {}
    for time_ns, segment in source:
        way = segment.source, segment.destination
        talk = talks.setdefault(frozenset(way), [])
        reached = segment.sequence + len(segment.payload) - first[way]
        while segment.payload and waiting[way] and waiting[way][0].end <= reached:
            talk.append((time_ns, way, waiting[way].pop(0)))
    return list(talks.values())


def traffic(change: Change | None = None, wrap: bool = False, host: str = "127.0.0.1") -> Traffic:
    """The connections of a full node and of the plain client again, in segments of 1 to 1400 bytes.

    With `wrap` the sequence numbers pass 2**32 in the middle of each direction.
    """
    talks = conversations()
    chance = random.Random("segments")
    spoiler = random.Random("change")
    out = Traffic()
    for talk in (talks[0], talks[-1]):
        client, server = ((host, port) for _, port in talk[0][1])
        ways = (client, server), (server, client)
        for way in ways:
            out.data[way], out.messages[way] = b"", []
        turns: list[tuple[int, Way, bytes]] = []
        for time_ns, old_way, message in talk:
            way = ways[0] if old_way == talk[0][1] else ways[1]
            before, raw = change(message, spoiler) if change else (b"", message.raw)
            start = len(out.data[way]) + len(before)
            out.messages[way].append(Message(message.msgtype, start, start + len(raw), raw))
            out.data[way] += before + raw
            if turns and turns[-1][1] == way:
                turns[-1] = turns[-1][0], way, turns[-1][2] + before + raw
            else:
                turns.append((time_ns, way, before + raw))
        begin = {way: 2**32 - len(out.data[way]) // 2 if wrap else chance.randrange(2**31) for way in ways}
        out.sent += converse(turns, ways, begin, chance)
    out.sent.sort(key=lambda item: item.time_ns)
    return out


def converse(
    turns: list[tuple[int, Way, bytes]], ways: tuple[Way, Way], begin: dict[Way, int], chance: random.Random
) -> list[Sent]:
    """One connection from SYN to FIN. The receiver acknowledges each turn."""
    sent = []
    done = dict.fromkeys(ways, 0)
    clock = turns[0][0] - 1_000_000

    def say(way: Way, flags: int, payload: bytes = b"", offset: int = 1) -> None:
        nonlocal clock
        clock += 10_000
        number = (begin[way] + offset + done[way]) % 2**32
        heard = (begin[way[::-1]] + 1 + done[way[::-1]]) % 2**32 if flags & ACK else 0
        sent.append(Sent(clock, Segment(*way, number, heard, flags, payload), done[way]))
        done[way] += len(payload)

    say(ways[0], SYN, offset=0)
    say(ways[1], SYN | ACK, offset=0)
    say(ways[0], ACK)
    for time_ns, way, piece in turns:
        clock = max(clock, time_ns)
        position = 0
        while position < len(piece):
            size = chance.choice((chance.randrange(1, 100), chance.randrange(100, 600), 1400))
            say(way, ACK | PSH, piece[position : position + size])
            position += size
        say(way[::-1], ACK)
    say(ways[0], FIN | ACK)
    say(ways[1], FIN | ACK)
    say(ways[0], ACK, offset=2)
    return sent


def lose(out: Traffic, chance: random.Random, count: int = LOST_SEGMENTS) -> None:
    """Take away segments that carry data."""
    carrying = [item for item in out.sent if item.carries]
    gone = {id(item) for item in chance.sample(carrying, count)}
    out.sent = [item for item in out.sent if id(item) not in gone]
    out.facts["lost_segments"] = count


def reorder(out: Traffic, chance: random.Random) -> None:
    """Exchange segments within runs of up to eight frames; connections still begin and end in order."""
    moved = 0
    for start in range(0, len(out.sent), 8):
        window = [
            place
            for place in range(start, min(start + 8, len(out.sent)))
            if not out.sent[place].segment.flags & (SYN | FIN)
        ]
        if any(item.segment.flags & (SYN | FIN) for item in out.sent[start : start + 8]):
            continue
        order = window[:]
        chance.shuffle(order)
        moved += sum(place != other for place, other in zip(window, order, strict=True))
        times = [out.sent[place].time_ns for place in window]
        items = [out.sent[place] for place in order]
        out.sent[start : start + len(window)] = [
            replace(item, time_ns=time_ns) for item, time_ns in zip(items, times, strict=True)
        ]
    out.facts["moved_frames"] = moved


def repeat(out: Traffic, chance: random.Random) -> None:
    """Send again: the same frame twice, a segment some frames later, or one that also covers half of the one before."""
    result: list[Sent] = []
    later: list[tuple[int, Sent]] = []
    last: dict[Way, Sent] = {}
    repeats = 0
    for item in out.sent:
        result.append(item)
        while later and later[0][0] <= len(result):
            result.append(replace(later.pop(0)[1], time_ns=item.time_ns + 1000))
        before, last[item.way] = last.get(item.way), item
        if not item.carries or chance.random() > 0.3:
            continue
        repeats += 1
        what = chance.randrange(3)
        if what == 0:
            result.append(item)
        elif what == 1 or before is None or before.at + len(before.segment.payload) != item.at:
            later.append((len(result) + 4, item))
        else:
            half = len(before.segment.payload) // 2
            number = (item.segment.sequence - half) % 2**32
            tail = before.segment.payload[len(before.segment.payload) - half :]
            wide = item.segment._replace(sequence=number, payload=tail + item.segment.payload)
            later.append((len(result) + 3, Sent(item.time_ns, wide, item.at - half)))
            later.sort(key=lambda entry: entry[0])
    out.sent = result
    out.facts["repeated_segments"] = repeats - len(later)


def left(out: Traffic) -> dict[str, Any]:
    """What a reader can know: whole messages, the bytes that belong to none, and the holes."""
    found: list[tuple[Endpoint, Endpoint, Message]] = []
    lost = unread = holes = 0
    for way, data in out.data.items():
        here = [item for item in out.sent if item.way == way]
        first = min((item.at for item in here), default=len(data))  # what was sent before that is not missed
        spans = merged(sorted((item.at, item.at + len(item.segment.payload)) for item in here if item.carries))
        whole = [
            message
            for message in out.messages[way]
            if any(start <= message.start and message.end <= end for start, end in spans)
        ]
        found += [(*way, message) for message in whole]
        present = sum(end - start for start, end in spans)
        unread += present - sum(message.end - message.start for message in whole)
        lost += len(data) - first - present
        holes += len(merged([(first, first), *spans, (len(data), len(data))])) - 1
    return {"lost_bytes": lost, "holes": holes, "unread_bytes": unread, **plain.totals(found)}


def merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted spans with those that touch joined."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def spoil_checksum(message: Message, chance: random.Random) -> tuple[bytes, bytes]:
    """In every tenth message or so one bit of the checksum or of the payload is wrong."""
    raw = bytearray(message.raw)
    if chance.random() < 0.1:
        at = chance.randrange(24, len(raw)) if len(raw) > 24 and chance.random() < 0.5 else 20
        raw[at] ^= 1 << chance.randrange(8)
    return b"", bytes(raw)


def add_garbage(message: Message, chance: random.Random) -> tuple[bytes, bytes]:
    """Before some messages: noise, part of a magic, a header with an absurd length or with an impossible type."""
    if chance.random() > 0.15:
        return b"", message.raw
    noise = chance.randbytes(chance.randrange(1, 200)).replace(MAGIC[:1], b"\0")
    absurd = MAGIC + b"block".ljust(12, b"\0") + b"\xff\xff\xff\xff" + b"\0\0\0\0"
    impossible = MAGIC + b"\x01\x02\x80\xff".ljust(12, b"\x07") + (5).to_bytes(4, "little") + b"\0\0\0\0"
    return chance.choice((noise, MAGIC[:2], MAGIC[:3], absurd, impossible, noise + MAGIC[:1])), message.raw


def make_all(folder: Path) -> dict[str, dict[str, Any]]:
    """Write every file into `folder`; their entries for index.toml by file name."""
    entries: dict[str, dict[str, Any]] = {}

    def save(name: str, out: Traffic, cut_bytes: int = 0) -> None:
        path = folder / name
        plain.write(path, [Frame(item.time_ns, plain.build(item.segment)) for item in out.sent])
        if cut_bytes:
            path.write_bytes(path.read_bytes()[:-cut_bytes])
            out.sent.pop()
            out.facts["cut"] = True
        connections = len({frozenset(item.way) for item in out.sent})
        entries[name] = index.entry(path, "pcaps/broken.py", len(out.sent), connections) | out.facts | left(out)

    def spoiled(seed: str, *ways: Callable[[Traffic, random.Random], None]) -> Traffic:
        out = traffic()
        for way in ways:
            way(out, random.Random(seed + way.__name__))
        return out

    save("broken-loss.pcap.gz", spoiled("a", lose))
    save("broken-order.pcap.gz", spoiled("b", reorder))
    save("broken-repeats.pcap.gz", spoiled("c", repeat))
    save("broken-loss-order-repeats.pcap.gz", spoiled("d", lose, repeat, reorder))
    late = traffic()
    starts = {(way, message.start) for way, found in late.messages.items() for message in found}
    begin = next(
        place
        for place, item in enumerate(late.sent)
        if place > len(late.sent) // 3 and item.carries and (item.way, item.at) not in starts
    )
    late.sent = late.sent[begin:]
    save("broken-midstream.pcap.gz", late)
    one_way = traffic()
    one_way.sent = [item for item in one_way.sent if item.segment.source[1] == 18444]
    one_way.data = {way: data for way, data in one_way.data.items() if way[0][1] == 18444}
    save("broken-one-way.pcap.gz", one_way)
    save("broken-garbage.pcap.gz", traffic(change=add_garbage))
    save("broken-checksums.pcap.gz", traffic(change=spoil_checksum))
    save("broken-wrap-ipv6.pcap.gz", traffic(wrap=True, host="::1"))
    short = traffic()
    short.sent = short.sent[:60]
    for way in short.data:
        ends = [item.at + len(item.segment.payload) for item in short.sent[:-1] if item.way == way]
        short.data[way] = short.data[way][: max(ends, default=0)]
    save("broken-cut.pcap", short, cut_bytes=7)
    return entries


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    index.update(target, make_all(target))
