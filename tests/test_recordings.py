# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader finds in every file of pcaps/ what index.toml says is there: all of it, and nothing else.

index.toml is made by scripts that know what they sent or took away, and counted again by other means in test_pcaps.py.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from collections import Counter
from collections.abc import Iterable

import frames as plain
import pytest
from recordings import (
    BLOCKS,
    CAPTURES,
    ENCRYPTED,
    INDEX,
    LOG,
    events_of,
    items_of,
    keylog_of,
    messages_of,
    path_of,
)

from scapy_btc.capture.message import Message
from scapy_btc.capture.reader import read
from scapy_btc.errors import CaptureError


def digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def digest_line(message: Message) -> str:
    sha256 = hashlib.sha256(message.payload).hexdigest()
    return f"{message.source} {message.destination} {message.msgtype} {sha256}"


@pytest.mark.parametrize("name", CAPTURES + ENCRYPTED)
def test_messages(name: str) -> None:
    entry = INDEX[name]
    found = messages_of(name)
    assert Counter(message.msgtype for message in found) == entry["types"]
    assert digest(map(digest_line, found)) == entry["digest"]
    assert len(found) == entry["messages"]
    assert sum(len(message.payload) for message in found) == entry["payload_bytes"]
    if "keylog" in entry:  # what the node logged; nobody has the keys of the last connection
        assert {(message.transport, message.checksum) for message in found} == {("v2", "none")}
        assert {message.connection for message in found} == set(range(entry["connections"] - 1))
        return
    assert Counter(message.checksum for message in found) == +Counter(
        ok=entry["messages"] - entry["bad_checksums"], bad=entry["bad_checksums"]
    )
    assert {message.connection for message in found} == set(range(entry["connections"]))


@pytest.mark.parametrize("name", CAPTURES)
def test_bytes_that_belong_to_no_message(name: str) -> None:
    entry = INDEX[name]
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for event in events_of(name):
        assert event.bytes > 0
        count[event.event] += 1
        size[event.event] += event.bytes
    assert set(count) <= {"gap", "skipped", "truncated"}
    assert (count["gap"], size["gap"]) == (entry["holes"], entry["lost_bytes"])
    assert size["skipped"] + size["truncated"] == entry["unread_bytes"]


@pytest.mark.parametrize("name", ENCRYPTED)
def test_every_byte_of_an_encrypted_recording_is_told(name: str) -> None:
    """Each direction's bytes are those of its packets (20 more than the contents) and of its events."""
    directions = plain.streams(plain.parse(frame.data) for frame in plain.read(path_of(name)))
    told: Counter[tuple[str, str]] = Counter()
    for item in items_of(name):
        size = item.frame.end - item.frame.start if isinstance(item, Message) else item.bytes
        told[item.source or "", item.destination or ""] += size
    sent = {tuple(f"{host}:{port}" for host, port in way): len(data) for way, data in directions.items()}
    assert told == sent
    hidden = [event for event in events_of(name) if event.event == "encrypted"]
    assert sum(event.bytes for event in hidden) == INDEX[name]["encrypted_bytes"]
    assert {event.reason for event in hidden} == {"v2 by the shape of its handshake, its key is not in the key log"}
    assert {event.event for event in events_of(name)} == {"handshake", "decoy", "encrypted"}


@pytest.mark.parametrize("name", CAPTURES + ENCRYPTED)
def test_frames(name: str) -> None:
    """The time is that of the last frame, and the frames that are named carried something in that direction."""
    frames = plain.read(path_of(name))
    place: Counter[tuple[str, str]] = Counter()
    for message in messages_of(name):
        first, last = message.frames
        assert 1 <= first <= last <= INDEX[name]["frames"]
        assert message.time_ns == frames[last - 1].time_ns
        way = message.source, message.destination
        for number in (first, last):
            segment = plain.parse(frames[number - 1].data)
            assert segment.payload
            ends = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in segment[:2])
            assert tuple(ends) == way
        if "moved_frames" not in INDEX[name]:
            assert last >= place[way]
        place[way] = last


@pytest.mark.parametrize("name", CAPTURES)
def test_the_envelope(name: str) -> None:
    for message in messages_of(name):
        assert message.network is not None
        assert (message.network.name, message.transport) == ("regtest", "v1")
        assert message.frame.end - message.frame.start == 24 + len(message.payload)
        assert message.frame_bytes[:4].hex() == "fabfb5da"
        assert message.frame_bytes[4:16].rstrip(b"\0").decode() == message.msgtype
        assert message.frame_bytes[24:] == message.payload


@pytest.mark.parametrize("name", sorted(INDEX))
def test_counts_of_the_reader(name: str) -> None:
    with read(path_of(name), network="regtest", keylog=keylog_of(name)) as reader:
        alone = []
        try:
            alone.extend(reader)
        except CaptureError as error:
            assert INDEX[name].get("cut")
            assert "cut short" in str(error)
        else:
            assert not INDEX[name].get("cut")
    assert alone == messages_of(name)
    assert reader.counts["messages"] == len(alone)
    events = Counter(event.event for event in events_of(name))
    assert {name: reader.counts[name] for name in events} == events


@pytest.mark.parametrize("name", [name for name in CAPTURES if name.endswith(".gz")])
def test_compressed_or_not_and_without_a_name(name: str) -> None:
    plain = io.BytesIO(gzip.decompress(path_of(name).read_bytes()))
    assert tuple(read(plain, events=True)) == items_of(name)


def test_message_capture() -> None:
    entry = INDEX[LOG]
    found = messages_of(LOG)
    assert len(found) == len(items_of(LOG)) == entry["messages"]
    assert Counter(message.msgtype for message in found) == entry["types"]
    assert sum(len(message.payload) for message in found) == entry["payload_bytes"]
    assert len({message.connection for message in found}) == entry["connections"]
    assert {(message.transport, message.checksum) for message in found} == {("log", "none")}
    assert [message.time_ns for message in found] == sorted(message.time_ns for message in found)
    lines = []
    for message in found:
        sent = message.source == "node"
        assert "node" in (message.source, message.destination)
        peer = message.destination if sent else message.source
        sha256 = hashlib.sha256(message.payload).hexdigest()
        lines.append(f"{peer.replace(':', '_')} msgs_{'sent' if sent else 'recv'} {message.msgtype} {sha256}")
    assert digest(lines) == entry["digest"]


def test_blocks() -> None:
    entry = INDEX[BLOCKS]
    found = messages_of(BLOCKS)
    assert len(found) == len(items_of(BLOCKS)) == entry["blocks"]
    assert {message.msgtype for message in found} == {"block"}
    assert sum(len(message.payload) for message in found) == entry["block_bytes"]
    assert digest(hashlib.sha256(message.payload).hexdigest() for message in found) == entry["digest"]


@pytest.mark.parametrize("name", sorted(set(INDEX) - {"broken-checksums.pcap.gz"}))
def test_nothing_is_wrong_with_what_nodes_said(name: str) -> None:
    """What nodes (and known answers) say has no finding, except where bytes are missing or strange."""
    found = Counter(code for message in messages_of(name) for code in message.findings)
    events = Counter(event.event for event in events_of(name))
    assert set(found) <= {"resynchronised"}
    assert bool(found) == bool(events["skipped"] + events["gap"])


def test_both_sides_of_core_agree() -> None:
    """The node logged what the wire shows, in the same order and within milliseconds; one connection used v2."""
    wire: dict[str, list[Message]] = {}
    for message in messages_of("core-v1-regtest.pcapng"):
        sent = message.source == "127.0.0.1:18444"
        peer = message.destination if sent else message.source
        wire.setdefault(f"node > {peer}" if sent else f"{peer} > node", []).append(message)
    logged: dict[str, list[Message]] = {}
    for message in messages_of(LOG):
        logged.setdefault(f"{message.source} > {message.destination}", []).append(message)
    assert len(wire) == 6
    assert len(logged) == 8
    for way, seen in wire.items():
        assert [(m.msgtype, m.payload) for m in seen] == [(m.msgtype, m.payload) for m in logged[way]]
        assert all(abs(a.time_ns - b.time_ns) < 10**9 for a, b in zip(seen, logged[way], strict=True))
