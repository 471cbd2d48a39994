# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a v2 connection of others: whose key is known, on which network, and what is told that cannot be read."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_v2 import IDS, MAINNET, REGTEST, Peer

from scapy_btc.bip324.keys import SessionKeys
from scapy_btc.bip324.passive import Unlocker, V2Decoder
from scapy_btc.wire.events import Event, Frame, Gap, Note, Truncated

MAGICS = [MAINNET, bytes.fromhex("0b110907"), REGTEST, bytes.fromhex("0a03cf40")]
PING = b"\x12" + bytes(8)
Found = tuple[SessionKeys, bytes, int]


class Talk:
    """A connection between two plain peers; streams in the order (initiator, responder)."""

    def __init__(self, magic: bytes = REGTEST, garbage: tuple[bytes, bytes] = (b"first", b"second"),
                 decoys: tuple[int, ...] = ()) -> None:
        self.ends = [Peer(True, magic, b"\1" * 32, garbage[0]), Peer(False, magic, b"\2" * 32, garbage[1])]
        self.ends[0].meet(self.ends[1].public)
        self.ends[1].meet(self.ends[0].public)
        self.streams = [end.hello + end.opening(*decoys) for end in self.ends]

    def say(self, number: int, *contents: bytes, **how: Any) -> Talk:
        for one in contents:
            self.streams[number] += self.ends[number].packet(one, **how)
        return self

    def keys(self, *numbers: int) -> dict[bytes, bytes]:
        return {self.ends[number].public: self.ends[number].private for number in numbers}


def unlock(talk: Talk, keys: dict[bytes, bytes], swapped: bool = False, magics: list[bytes] = MAGICS) -> Found | None:
    return Unlocker(keys.get, magics).unlock(talk.streams[::-1] if swapped else talk.streams)


def decoders(talk: Talk) -> list[V2Decoder]:
    found = unlock(talk, talk.keys(0))
    assert found
    return [V2Decoder(found[0], found[1], number == found[2], IDS) for number in (0, 1)]


def account(events: list[Event]) -> int:
    """Bytes that events tell of, those that are lost not counted."""
    sizes = {Frame: lambda e: e.end - e.start, Note: lambda e: e.size, Truncated: lambda e: e.received,
             Gap: lambda e: 0}
    return sum(sizes[type(event)](event) for event in events)


def said(events: list[Event]) -> list[Any]:
    return [event.msgtype if isinstance(event, Frame) else event.kind if isinstance(event, Note)
            else type(event).__name__ for event in events]


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("magic", MAGICS)
@pytest.mark.parametrize("known", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("swapped", [False, True])
def test_either_key_opens_the_connection(magic: bytes, known: tuple[int, ...], swapped: bool) -> None:
    talk = Talk(magic)
    found = unlock(talk, talk.keys(*known), swapped)
    assert found is not None
    assert found[1:] == (magic, int(swapped))
    assert found[0].session_id == talk.ends[0].session_id == talk.ends[1].session_id


@pytest.mark.parametrize("number", [0, 1])
def test_one_terminator_is_enough(number: int) -> None:
    talk = Talk()
    talk.streams[1 - number] = talk.streams[1 - number][:64]
    assert unlock(talk, talk.keys(0)) is not None


def test_while_there_is_nothing_to_be_known() -> None:
    talk = Talk()
    keys: dict[bytes, bytes] = {}
    unlocker = Unlocker(keys.get, MAGICS)
    assert unlocker.unlock([talk.streams[0], talk.streams[1][:63]]) is None
    assert unlocker.reason == "the key exchange is not complete"
    assert unlocker.unlock(talk.streams) is None
    assert unlocker.reason == "its key is not in the key log" and not unlocker.has_key
    keys.update(talk.keys(1))
    assert unlocker.unlock([stream[:69] for stream in talk.streams]) is None and unlocker.has_key
    assert unlocker.unlock(talk.streams) is not None
    assert repr(unlocker).startswith("<Unlocker")


def test_a_wrong_private_key_is_told() -> None:
    talk = Talk()
    unlocker = Unlocker({talk.ends[0].public: b"\3" * 32}.get, MAGICS)
    assert unlocker.unlock(talk.streams) is None
    assert unlocker.reason == "the private key in the key log is not that of the public one"
    assert b"\3" * 32 not in repr(vars(unlocker)).encode()


def test_a_network_that_is_not_known() -> None:
    talk = Talk(b"\1\2\3\4")
    unlocker = Unlocker(talk.keys(0).get, MAGICS)
    assert unlocker.unlock([stream + bytes(5000) for stream in talk.streams]) is None
    assert unlocker.reason == "its key is known, but no terminator of a known network follows"


def test_a_terminator_after_too_much_garbage() -> None:
    talk = Talk(garbage=(bytes(4096), bytes(4096)))
    assert unlock(talk, talk.keys(0)) is None
    assert unlock(Talk(garbage=(bytes(4096), bytes(4095))), talk.keys(0)) is not None


def test_byte_by_byte() -> None:
    talk = Talk(garbage=(Random(1).randbytes(4095), Random(2).randbytes(4095)))
    unlocker = Unlocker(talk.keys(0).get, MAGICS * 10)
    begin = time.perf_counter()
    places = [number for number in range(64, 5000)
              if unlocker.unlock([talk.streams[0][:number], talk.streams[1][:number]])]
    assert places[0] == 64 + 4095 + 16
    assert time.perf_counter() - begin < 10


# --- one direction ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("size", [1, 3, 50, 100_000])
def test_all_is_told(number: int, size: int) -> None:
    talk = Talk(decoys=(0, 30)).say(number, PING).say(number, bytes(50), decoy=True)
    talk.say(number, b"", b"\0verack\0\0\0\0\0\0tail")
    decoder = decoders(talk)[number]
    stream = talk.streams[number]
    events: list[Event] = []
    for at in range(0, len(stream), size):
        events += decoder.feed_parts([stream[at : at + size]])
    assert said(events) == ["decoy", "decoy", "handshake", b"ping", "decoy", "skipped", b"verack"]
    assert decoder.close() == []
    assert account(events) == len(stream) == decoder.offset
    _, _, handshake, ping, _, _, verack = events
    garbage = talk.ends[number].garbage
    assert isinstance(handshake, Note) and handshake.size == 64 + len(garbage) + 16 + 20
    assert handshake.reason == (f"v2, {len(garbage)} bytes of garbage, session " + talk.ends[0].session_id.hex())
    assert isinstance(ping, Frame) and isinstance(verack, Frame)
    assert (ping.magic, ping.checksum, ping.verdict, ping.payload) == (REGTEST, b"", "none", bytes(8))
    assert verack.command == b"verack".ljust(12, b"\0") and verack.payload == b"tail"
    assert verack.end == len(stream)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_is_lost_nothing_is_invented(data: st.DataObject) -> None:
    """Messages are those before the hole, in order; every byte is told once."""
    number = data.draw(st.integers(0, 1))
    contents = [b"\x12" + n.to_bytes(8, "little") + bytes(data.draw(st.integers(0, 60))) for n in range(12)]
    talk = Talk(decoys=(5,)).say(number, *contents)
    decoder = decoders(talk)[number]
    stream = talk.streams[number]
    begin = data.draw(st.integers(64, len(stream) - 1))
    end = data.draw(st.integers(begin + 1, len(stream)))
    cut = data.draw(st.integers(0, begin))
    events = decoder.feed_parts([stream[:cut], stream[cut:begin]])
    assert not decoder.stopped
    events += decoder.gap(end - begin)
    assert decoder.stopped == "after lost bytes"
    rest = stream[end:]
    if rest:
        events += decoder.feed_parts([rest[:7], rest[7:]])
    events += decoder.gap(3)
    events += decoder.close()
    frames = [event for event in events if isinstance(event, Frame)]
    ends = [len(stream) - sum(len(later) + 20 for later in contents[n + 1 :]) for n in range(len(contents))]
    assert [(frame.payload, frame.end) for frame in frames] == [
        (one[1:], at) for one, at in zip(contents, ends, strict=True) if at <= begin]
    assert account(events) == len(stream) - (end - begin)
    assert decoder.offset == len(stream) + 3
    assert [event.end - event.start for event in events if isinstance(event, Gap) and event.end] == [end - begin, 3]


def test_a_hole_in_a_packet() -> None:
    talk = Talk().say(0, PING, b"\x02" + bytes(1000), PING)
    decoder = decoders(talk)[0]
    stream = talk.streams[0]
    at = len(stream) - 29 - 500
    events = decoder.feed_parts([stream[:at]])
    torn, gap = decoder.gap(100)
    start = len(stream) - 29 - 1021
    assert torn == Truncated(start, start + 1021, at - start, b"", "gap")
    assert gap == Gap(at, at + 100)
    assert said(events) == ["handshake", b"ping"]
    assert decoder.feed_parts([stream[at + 100 :]]) == []
    (rest,) = decoder.close()
    assert rest == Note("encrypted", len(stream) - at - 100, at, len(stream), "after lost bytes")


def test_the_end_in_a_packet() -> None:
    talk = Talk().say(0, PING)
    decoder = decoders(talk)[0]
    stream = talk.streams[0][:-1]
    assert said(decoder.feed_parts([stream])) == ["handshake"]
    assert decoder.held == 28
    (torn,) = decoder.close()
    assert torn == Truncated(len(stream) - 28, len(stream) + 1, 28, b"", "end")


@pytest.mark.parametrize("cut", [64, 66, 70, 85, 104])
def test_the_end_in_the_handshake(cut: int) -> None:
    talk = Talk()
    decoder = decoders(talk)[0]
    assert decoder.feed_parts([talk.streams[0][:cut]]) == []
    assert decoder.close() == [Note("encrypted", cut, 0, cut, "the handshake is not complete")]


@pytest.mark.parametrize("place", [2, 3, 10, 28])
def test_a_packet_that_is_not_authentic(place: int) -> None:
    """Nothing after it is believed, whatever it says of its length."""
    talk = Talk().say(0, PING, PING, PING)
    stream = talk.streams[0]
    at = len(stream) - 58 + place
    decoder = decoders(talk)[0]
    stream = stream[:at] + bytes([stream[at] ^ 0x80]) + stream[at + 1 :] + bytes(9_000_000 if place < 3 else 0)
    events = [*decoder.feed_parts([stream]), *decoder.close()]
    assert said(events) == ["handshake", b"ping", "bad-tag", "encrypted"]
    _, _, bad, rest = events
    assert isinstance(bad, Note) and isinstance(rest, Note)
    assert bad.start == at - place and bad.reason == rest.reason == "packet 2 is not authentic: wrong tag"
    assert account(events) == len(stream)


def test_no_terminator() -> None:
    talk = Talk()
    decoder = decoders(talk)[0]
    stream = talk.streams[0].replace(talk.ends[0].send_terminator, bytes(16)) + bytes(5000)
    events = [*decoder.feed_parts([stream]), *decoder.close()]
    assert events == [Note("encrypted", len(stream), 0, len(stream),
                           "no garbage terminator within 4,111 bytes after the key")]


def test_packets_above_the_limit_of_nodes_are_read() -> None:
    talk = Talk().say(0, b"\x02" + bytes(4_100_000), PING)
    decoder = decoders(talk)[0]
    assert said(decoder.feed_parts([talk.streams[0]])) == ["handshake", b"block", b"ping"]


def test_parts_of_a_packet_are_wanted_together() -> None:
    talk = Talk().say(0, b"\x02" + bytes(100_000))
    decoder = decoders(talk)[0]
    stream = talk.streams[0]
    decoder.feed_parts([stream[:200]])
    assert decoder.wanted == len(stream) - 200
    decoder.gap(1)
    assert decoder.wanted > 1000
