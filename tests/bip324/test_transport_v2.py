# SPDX-License-Identifier: GPL-2.0-or-later
"""The v2 transport against a peer that was written down from the pseudocode of BIP 324."""

from __future__ import annotations

import random
import time
import tracemalloc
from contextlib import nullcontext
from hashlib import sha256
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_v2 import IDS, MAINNET, REGTEST, Peer, v1

from scapy_btc.bip324 import packets
from scapy_btc.bip324.keys import EphemeralKey
from scapy_btc.bip324.transport import ResponderTransport, V2Options, V2Transport
from scapy_btc.errors import FormatError
from scapy_btc.messages.catalogue import short_ids
from scapy_btc.networks import REGTEST as NETWORK
from scapy_btc.wire.events import Frame
from scapy_btc.wire.transport import Transport

PING = v1(b"ping", bytes(range(8)))
VERACK = v1(b"verack")
ANSWERS = [PING, VERACK, v1(b"inv", bytes(37))]
CONTENTS = [b"\x12" + bytes(range(8)), b"\0verack\0\0\0\0\0\0", b"\0inv" + bytes(9) + bytes(37)]

roles = pytest.mark.parametrize("initiating", [True, False], ids=["initiator", "responder"])


def transport(initiating: bool = True, **options: object) -> V2Transport:
    options.setdefault("garbage", b"ours")
    return V2Transport(NETWORK, initiating, IDS, V2Options(**options), Random(1))  # type: ignore[arg-type]


def introduced(ours: V2Transport, garbage: bytes = b"theirs") -> Peer:
    """A peer that has read our key."""
    return Peer(not ours.initiating, garbage=garbage).meet(ours._out[0][:64])


def meet(ours: V2Transport, garbage: bytes = b"theirs", *decoys: int) -> tuple[Peer, bytes]:
    """The same, and all that it sends up to its version packet."""
    peer = introduced(ours, garbage)
    return peer, peer.hello + peer.opening(*decoys)


def raws(frames: list[Frame]) -> list[bytes]:
    return [frame.header + frame.payload for frame in frames]


def feed(ours: Transport, stream: bytes, size: int) -> list[Frame]:
    return [frame for at in range(0, len(stream), size) for frame in ours.receive(stream[at : at + size])]


# --- what is said, and what is understood ----------------------------------------------------------------------------


@roles
def test_a_conversation(initiating: bool) -> None:
    ours = transport(initiating)
    ours.send(VERACK)  # too early: it waits
    peer, opening = meet(ours)
    hello = ours.to_send()
    assert hello[64:] == b"ours"
    assert ours.receive(opening) == [] and ours.handshake_done
    ours.send(PING)
    assert peer.read(hello[64:] + ours.to_send()) == (b"ours", [
        (False, b""), (False, b"\0verack" + bytes(6)), (False, b"\x12" + bytes(range(8)))])
    frames = ours.receive(b"".join(peer.packet(contents) for contents in CONTENTS))
    assert raws(frames) == ANSWERS
    assert {frame.verdict for frame in frames} == {"none"}
    assert ours.session_id == peer.session_id
    assert (ours.peer_garbage, ours.decoys, ours.dropped, ours.broken) == (b"theirs", 0, 0, "")
    assert frames[0].start == len(opening) and frames[1].start == frames[0].end == len(opening) + 29
    assert ours.close() == []


@roles
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 63, 64, 65, 4096])
def test_any_size_of_pieces(initiating: bool, size: int) -> None:
    ours = transport(initiating)
    peer, opening = meet(ours, Random(size).randbytes(1000), 0, 100)
    stream = opening + b"".join(peer.packet(bytes(9), True) + peer.packet(contents) for contents in CONTENTS)
    assert raws(feed(ours, stream, size)) == ANSWERS
    assert ours.decoys == 5


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans(), st.integers(0, 4095), st.lists(st.integers(0, 300), max_size=3))
def test_any_split(data: st.DataObject, initiating: bool, garbage: int, decoys: list[int]) -> None:
    ours = transport(initiating)
    peer, stream = meet(ours, Random(garbage).randbytes(garbage), *decoys)
    stream += b"".join(peer.packet(contents) for contents in CONTENTS * 3)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    frames = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames += ours.receive(stream[begin:end])
    assert raws(frames) == ANSWERS * 3
    assert (ours.decoys, ours.broken, len(ours.peer_garbage or b"")) == (len(decoys), "", garbage)


@pytest.mark.parametrize("garbage", [0, 1, 4095])
def test_our_garbage(garbage: int) -> None:
    ours = transport(garbage=Random(2).randbytes(garbage), decoys_first=(0, 5, 4000), decoys_between=(3,))
    ours.send(PING)
    peer, opening = meet(ours)
    hello = ours.to_send()
    ours.receive(opening)
    ours.send(VERACK)
    found, packets = peer.read(hello[64:] + ours.to_send())
    assert found == Random(2).randbytes(garbage)
    assert packets == [
        (True, b""), (True, bytes(5)), (True, bytes(4000)), (False, b""),
        (True, bytes(3)), (False, b"\x12" + bytes(range(8))), (True, bytes(3)), (False, b"\0verack" + bytes(6))]


def test_random_garbage_comes_from_the_random_source() -> None:
    sizes = set()
    for seed in range(60):
        hello = V2Transport(NETWORK, True, IDS, random=Random(seed)).to_send()
        again = V2Transport(NETWORK, True, IDS, random=Random(seed)).to_send()
        assert hello[64:] == again[64:] and hello[:64] != again[:64]
        sizes.add(len(hello) - 64)
    assert max(sizes) <= 4095 and max(sizes) > 3500 and min(sizes) < 500


@roles
def test_more_than_224_packets_each_way(initiating: bool) -> None:
    ours = transport(initiating)
    peer, opening = meet(ours)
    hello = ours.to_send()
    ours.receive(opening)
    for number in range(700):
        ours.send(v1(b"ping", number.to_bytes(8, "little")))
    _, packets = peer.read(hello[64:] + ours.to_send())
    assert [contents for _, contents in packets[1:]] == [b"\x12" + n.to_bytes(8, "little") for n in range(700)]
    frames = ours.receive(b"".join(peer.packet(b"\x13" + n.to_bytes(8, "little"), n % 3 == 0) for n in range(700)))
    assert [int.from_bytes(frame.payload, "little") for frame in frames] == [n for n in range(700) if n % 3]


def test_ours_with_ours() -> None:
    first, second = (V2Transport(NETWORK, first, short_ids(), random=Random(5)) for first in (True, False))
    block = v1(b"block", Random(3).randbytes(100_000))
    first.send(block)
    second.send(PING)
    there: list[bytes] = []
    back: list[bytes] = []
    for _ in range(4):
        back += raws(second.receive(first.to_send()))
        there += raws(first.receive(second.to_send()))
    assert (back, there) == ([block], [PING])
    assert first.session_id == second.session_id and len(first.session_id) == 32


# --- contents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("contents", "raw"), [
    (b"\x12" + bytes(8), v1(b"ping", bytes(8))),
    (b"\0ping" + bytes(8) + bytes(8), v1(b"ping", bytes(8))),  # the long form is allowed for every message
    (b"\x26abc", v1(b"(id 38)", b"abc")),
    (b"\xff", v1(b"(id 255)")),
    (b"\0hello" + bytes(7), v1(b"hello")),
    (b"\0sendtemplate!", v1(b"sendtemplate", b"!")),
    (b"\0a\0b" + bytes(9), REGTEST + b"a\0b".ljust(12, b"\0") + bytes(4) + v1(b"")[20:24]),
])  # fmt: skip
def test_contents(contents: bytes, raw: bytes) -> None:
    ours = transport()
    peer, opening = meet(ours)
    assert raws(ours.receive(opening + peer.packet(contents))) == [raw]


def test_messages_without_a_name_go_out_as_they_came_in() -> None:
    ours = transport()
    peer, opening = meet(ours)
    hello = ours.to_send()
    ours.receive(opening)
    ours.send(v1(b"(id 38)", b"abc"))
    assert peer.read(hello[64:] + ours.to_send())[1][1:] == [(False, b"\x26abc")]


@pytest.mark.parametrize("contents", [b"", b"\0", b"\0ping", b"\0" + bytes(11)])
def test_packets_without_a_message_are_dropped(contents: bytes) -> None:
    ours = transport()
    peer, opening = meet(ours)
    assert raws(ours.receive(opening + peer.packet(contents) + peer.packet(CONTENTS[0]))) == [PING]
    assert ours.dropped == 1 and not ours.broken


def test_what_a_version_packet_says_is_ignored() -> None:
    ours = transport()
    peer = introduced(ours)
    stream = peer.hello + peer.send_terminator + peer.packet(b"\x12 future") + peer.packet(CONTENTS[0])
    assert raws(ours.receive(stream)) == [PING]


def test_ids_of_all_messages() -> None:
    """Those that BIP 324 itself gives (section "Message type IDs"), and the names that it always writes out."""
    ids = short_ids()
    assert [ids[number] for number in range(1, 29)] == [
        b"addr", b"block", b"blocktxn", b"cmpctblock", b"feefilter", b"filteradd", b"filterclear", b"filterload",
        b"getblocks", b"getblocktxn", b"getdata", b"getheaders", b"headers", b"inv", b"mempool", b"merkleblock",
        b"notfound", b"ping", b"pong", b"sendcmpct", b"tx", b"getcfilters", b"cfilter", b"getcfheaders", b"cfheaders",
        b"getcfcheckpt", b"cfcheckpt", b"addrv2"]
    assert not {b"version", b"verack", b"getaddr", b"sendheaders", b"sendaddrv2", b"wtxidrelay"} & set(ids.values())


@pytest.mark.parametrize("raw", [b"", PING[:23]])
def test_what_cannot_be_sent(raw: bytes) -> None:
    ours = transport()
    with pytest.raises(FormatError, match="no message that v2 could carry"):
        ours.send(raw)


def test_the_longest_packet() -> None:
    ours = transport()
    _, opening = meet(ours)
    ours.receive(opening)
    ours.to_send()
    ours.send(v1(b"block", bytes(0xFFFFFF - 1)))
    assert len(ours.to_send()) == 0xFFFFFF + 20
    with pytest.raises(FormatError, match="cannot hold 16,777,216 bytes"):
        ours.send(v1(b"block", bytes(0xFFFFFF)))


# --- what is broken, and by whom -------------------------------------------------------------------------------------


@roles
@pytest.mark.parametrize("size", [1, 5000])
def test_no_terminator(initiating: bool, size: int) -> None:
    """Garbage may have 4095 bytes; one more, and the peer is broken. It never costs more memory than that."""
    ours = transport(initiating)
    peer = introduced(ours, Random(7).randbytes(4096))
    assert feed(ours, peer.hello + peer.opening(), size) == []
    assert "the peer broke the v2 transport: no garbage terminator within 4,111 bytes after the key" in ours.broken
    assert ours.receive(bytes(1000)) == [] and ours._reader is not None and ours._reader.held == 0


def test_wrong_terminator() -> None:
    ours = transport()
    peer = introduced(ours)
    stream = peer.hello + bytes(16) + peer.packet() + b"".join(peer.packet(bytes(1000)) for _ in range(5))
    assert feed(ours, stream, 100) == [] and "no garbage terminator" in ours.broken


def test_another_network() -> None:
    ours = transport()
    peer = Peer(False, MAINNET)
    peer.meet(ours.to_send()[:64])
    ours.receive(peer.hello + peer.opening() + b"".join(peer.packet(bytes(1000)) for _ in range(5)))
    assert "on another network" in ours.broken


def test_other_garbage_than_was_authenticated() -> None:
    ours = transport()
    _, opening = meet(ours)
    assert ours.receive(opening.replace(b"theirs", b"thEirs")) == []
    assert "packet 0 is not authentic: wrong tag, or the garbage was changed" in ours.broken


def test_only_the_first_packet_authenticates_garbage() -> None:
    ours = transport()
    peer = introduced(ours)
    stream = peer.hello + peer.send_terminator + peer.packet(bytes(4), True) + peer.packet(aad=b"theirs")
    ours.receive(stream)
    assert ours.broken.endswith("packet 1 is not authentic: wrong tag")


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans(), st.sampled_from(["flip", "cut", "insert", "end", "noise"]))
def test_whatever_is_done_to_a_stream(data: st.DataObject, initiating: bool, how: str) -> None:
    """Only messages before the place are read; nothing is raised, little is kept."""
    ours = transport(initiating)
    peer, stream = meet(ours, data.draw(st.binary(max_size=100)), 3)
    begin = len(stream)
    stream += b"".join(peer.packet(contents) for contents in CONTENTS)
    ends = [begin + sum(len(contents) + 20 for contents in CONTENTS[: n + 1]) for n in range(3)]
    at = data.draw(st.integers(0, len(stream) - 1))
    rest = {"flip": bytes([stream[at] ^ data.draw(st.integers(1, 255))]) + stream[at + 1 :], "cut": stream[at + 1 :],
            "insert": b"x" + stream[at:], "end": b"", "noise": Random(at).randbytes(500)}[how]  # fmt: skip
    if how in ("cut", "insert") and rest[: len(stream) - at] == stream[at:][: len(rest)]:
        return
    frames = ours.receive(stream[:at] + rest + (b"" if how == "end" else bytes(6000)))
    assert raws(frames) == [raw for raw, end in zip(ANSWERS, ends, strict=True) if end <= at]
    assert ours.held < 4_200_000


@roles
@pytest.mark.parametrize("place", [0, 2, 3, 4, 11, 28])
def test_every_changed_bit_of_a_packet_is_found(initiating: bool, place: int) -> None:
    ours = transport(initiating)
    peer, opening = meet(ours)
    good, bad, later = (peer.packet(CONTENTS[0]) for _ in range(3))
    bad = bad[:place] + bytes([bad[place] ^ 1]) + bad[place + 1 :]
    frames = ours.receive(opening + good + bad + later + bytes(20_000_000 if place == 2 else 70_000))
    assert raws(frames) == [PING]
    assert "packet 2 is not authentic" in ours.broken or "packet 2 announces" in ours.broken
    assert ours.receive(later) == []


@pytest.mark.parametrize("cut", [0, 2, 3])
@pytest.mark.parametrize("length", [4_000_014, 0xFFFFFF])
def test_too_long_a_packet(length: int, cut: int) -> None:
    ours = transport()
    peer, opening = meet(ours)
    sealed = peer.packet(b"", length=length)
    ours.receive(opening + sealed[:cut])
    ours.receive(sealed[cut:] + bytes(100))
    assert ours.broken.endswith(f"packet 1 announces {length:,} bytes, more than 4,000,013")
    assert ours.held == 0


def test_the_longest_message_that_is_read() -> None:
    ours = transport()
    peer, opening = meet(ours)
    payload = Random(9).randbytes(4_000_000)
    ours.receive(opening)
    frames = feed(ours, peer.packet(b"\0block" + bytes(7) + payload), 1 << 18)
    assert sha256(frames[0].payload).digest() == sha256(payload).digest() and not ours.broken


@pytest.mark.parametrize("size", [131_053, 131_054, 131_055, 200_000, 3_999_999])
@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("pieces", [70_000, 9_000_000])
def test_large_packets(size: int, taken: bool, pieces: int) -> None:
    """From 128 KiB on they are decrypted in memory that is kept, unless another thread does so just now."""
    ours = transport()
    peer, opening = meet(ours)
    ours.receive(opening)
    payload = [Random(size + n).randbytes(size) for n in range(3)]
    stream = b"".join(peer.packet(b"\x02" + one) for one in payload)
    bad = peer.packet(b"\x02" + payload[0])
    with packets._room_is_free if taken else nullcontext():
        frames = feed(ours, stream, pieces)
        assert [frame.payload for frame in frames] == payload
        assert feed(ours, bad[:-1] + bytes([bad[-1] ^ 1]), pieces) == []
    assert "packet 4 is not authentic" in ours.broken
    assert not packets._room_is_free.locked() and ours.held == 0


# --- knobs -----------------------------------------------------------------------------------------------------------


def test_wrong_tag() -> None:
    ours = transport(wrong_tag=2, decoys_first=(1,))
    peer, opening = meet(ours)
    hello = ours.to_send()
    ours.receive(opening)
    peer.read(hello[64:] + ours.to_send())
    ours.send(PING)
    sealed = ours.to_send()
    peer.receive_length.crypt(sealed[:3])
    with pytest.raises(Exception) as caught:
        peer.receive_body.crypt(sealed[3:], b"", True)
    assert type(caught.value).__name__ == "InvalidTag"


def test_wrong_terminator_of_ours() -> None:
    ours = transport(wrong_terminator=True)
    peer, opening = meet(ours)
    ours.receive(opening)
    sent = ours.to_send()
    assert peer.receive_terminator not in sent and peer.receive_terminator[:15] in sent


@pytest.mark.parametrize("early", [True, False])
def test_held_terminator(early: bool) -> None:
    ours = transport(hold_terminator=True)
    ours.send(PING)
    peer, opening = meet(ours)
    hello = ours.to_send()
    if early:
        ours.release()
    ours.receive(opening)
    assert bool(ours.to_send()) == early or not early
    if not early:
        ours.receive(peer.packet(CONTENTS[0]))
        assert not ours.to_send()
        ours.release()
        ours.release()
        assert len(peer.read(hello[64:] + ours.to_send())[1]) == 2


def test_own_key() -> None:
    """The first official vector's key and encoding: what goes out is just that."""
    public = bytes.fromhex("ec0adff257bbfe500c188c80b4fdd640f6b45a482bbc15fc7cef5931deff0aa1"
                           "86f6eb9bba7b85dc4dcc28b28722de1e3d9108b985e2967045668f66098e475b")
    private = bytes.fromhex("61062ea5071d800bbfd59e2e8b53d47d194b095ae5a4df04936b49772ef0d4d7")
    said = []
    options = V2Options(key=EphemeralKey(public, private), garbage=b"")
    ours = V2Transport(NETWORK, True, IDS, options, on_key=said.append)
    assert ours.to_send() == public
    assert said == [EphemeralKey(public, private)]
    for shown in (repr(ours), repr(options), str(said)):
        assert private.hex() not in shown and repr(private)[2:-1] not in shown


def test_no_key_in_errors() -> None:
    said: list[EphemeralKey] = []
    ours = V2Transport(NETWORK, True, IDS, random=Random(1), on_key=said.append)
    ours.receive(Peer(False).hello + bytes(5000))
    assert ours.broken and said[0].private.hex() not in ours.broken + repr(ours)


# --- v1 --------------------------------------------------------------------------------------------------------------

VERSION = v1(b"version", bytes(85))


def responder() -> ResponderTransport:
    return ResponderTransport(NETWORK, IDS, V2Options(garbage=b"ours"), Random(1))


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000])
def test_a_v1_peer_is_answered_in_v1(size: int) -> None:
    node = responder()
    node.send(VERACK)
    assert (node.name, node.to_send(), node.broken, node.close()) == ("", b"", "", [])
    assert raws(feed(node, VERSION + PING, size)) == [VERSION, PING]
    node.send(PING)
    assert (node.name, node.v2, node.to_send(), node.broken) == ("v1", None, VERACK + PING, "")
    node.receive(bytes(24))
    assert "no message of Bitcoin's" in node.broken


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000])
def test_a_v2_peer_is_answered_in_v2(size: int) -> None:
    node = responder()
    node.send(VERACK)
    peer = Peer(True, garbage=b"theirs")
    assert feed(node, peer.hello[:1], size) == []
    hello = node.to_send()
    assert node.name == "v2" and hello[64:] == b"ours"
    peer.meet(hello[:64])
    stream = peer.hello[1:] + peer.opening(4) + peer.packet(CONTENTS[0])
    assert raws(feed(node, stream, size)) == [PING]
    assert peer.read(hello[64:] + node.to_send())[1] == [(False, b""), (False, CONTENTS[1])]
    assert node.v2 is not None and node.v2.session_id == peer.session_id


def test_nothing_is_said_while_it_may_still_be_v1() -> None:
    node = responder()
    for at in range(15):
        assert node.receive(VERSION[at : at + 1]) == []
        assert (node.name, node.to_send()) == ("", b"")
    node.receive(b"\1")
    assert node.name == "v2" and len(node.to_send()) == 68


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=5000), max_size=4), st.booleans())
def test_any_bytes(parts: list[bytes], initiating: bool) -> None:
    ends: list[Transport] = [transport(initiating), responder()]
    for end in ends:
        for part in parts:
            assert end.receive(part) == []
            end.to_send()
        assert end.held <= 64 + sum(map(len, parts))


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(("magic", "words"), [
    (MAINNET, "on mainnet, not regtest"), (b"\1\2\3\4", "a network with the magic 01020304, not regtest")])
def test_a_v1_peer_of_another_network(magic: bytes, words: str, size: int) -> None:
    node = responder()
    assert feed(node, v1(b"version", bytes(85), magic), size) == []
    assert node.broken.startswith("the peer speaks v1 on") and words in node.broken


def test_an_initiator_notices_a_v1_peer() -> None:
    ours = transport()
    ours.to_send()
    ours.receive(VERSION)
    assert ours.broken == "the peer speaks v1 on regtest" and ours.try_v1


def test_when_to_try_v1() -> None:
    """As Bitcoin Core does: nothing came, and at least as much as a v1 header was sent."""
    ours = transport()
    assert not ours.try_v1
    ours.to_send()
    assert ours.try_v1 and not ours.answered and not ours.handshake_done
    ours.receive(b"\1")
    assert ours.answered and not ours.try_v1
    other = transport(False)
    other.to_send()
    assert not other.try_v1


# --- time and memory -------------------------------------------------------------------------------------------------


def test_an_announced_length_allocates_nothing() -> None:
    ours = transport()
    peer, opening = meet(ours)
    ours.receive(opening)
    tracemalloc.start()
    ours.receive(peer.packet(b"", length=4_000_000)[:10])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000


def test_endless_decoys_take_no_memory() -> None:
    ours = transport()
    peer, opening = meet(ours)
    ours.receive(opening)
    packets = [peer.packet(bytes(1000), True) for _ in range(3000)]
    tracemalloc.start()
    for sealed in packets:
        assert ours.receive(sealed) == []
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ours.decoys == 3000 and held < 10_000 and peak < 50_000


def seconds(stream: bytes, size: int, initiating: bool = True) -> float:
    best = 9.0
    for _ in range(3):
        ours = transport(initiating)
        peer, opening = meet(ours)
        ours.receive(opening)
        sealed = peer.packet(stream)
        start = time.perf_counter()
        frames = feed(ours, sealed, size)
        best = min(best, time.perf_counter() - start)
        assert len(frames) == 1
    return best


def test_time_is_linear_in_single_bytes() -> None:
    data = b"\x02" + random.Random(4).randbytes(300_000)
    assert seconds(data, 1) < 40 * seconds(data[:30_000], 1)  # a square would be 100


def test_time_is_linear_in_many_packets() -> None:
    def read(count: int) -> float:
        ours = transport()
        peer, opening = meet(ours)
        ours.receive(opening)
        stream = b"".join(peer.packet(b"\x12" + bytes(8)) for _ in range(count))
        start = time.perf_counter()
        assert len(ours.receive(stream)) == count
        return time.perf_counter() - start

    assert min(read(20_000) for _ in range(3)) < 40 * min(read(2_000) for _ in range(5))
