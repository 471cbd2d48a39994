# SPDX-License-Identifier: GPL-2.0-or-later
"""From frames to TCP segments: every link type, everything that may stand before TCP, and hostile bytes."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segments import ACK, CLIENT, PSH, SERVER, ethernet, ip4, ip6, tcp

from scapy_btc.capture.fragments import MAX_DATAGRAMS, Fragments
from scapy_btc.capture.link import LINK_TYPES, LinkLayer, Segment, endpoints

PAYLOAD = bytes(range(200))
TCP = tcp(40000, 8333, 1000, 2000, ACK | PSH, PAYLOAD)
IP4 = ip4("10.0.0.1", "10.0.0.2", TCP)
IP6 = ip6("2001:db8::1", "2001:db8::2", TCP)
KEY4 = bytes((10, 0, 0, 1, 10, 0, 0, 2)) + struct.pack(">HH", 40000, 8333)
KEY6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + socket.inet_pton(socket.AF_INET6, "2001:db8::2") + KEY4[8:]
FOUR = Segment(KEY4, 1000, 2000, ACK | PSH, PAYLOAD, 0)
SIX = FOUR._replace(key=KEY6)


def segment(linktype: int, data: bytes, original: int | None = None) -> Segment | None:
    return LinkLayer().segment(linktype, data, len(data) if original is None else original)


@pytest.mark.parametrize(
    ("linktype", "before", "ip"),
    [
        (1, bytes(12) + b"\x08\x00", IP4),
        (1, bytes(12) + b"\x86\xdd", IP6),
        (1, bytes(12) + b"\x81\x00\x00\x05\x08\x00", IP4),
        (1, bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x86\xdd", IP6),
        (1, bytes(12) + b"\x91\x00\x00\x05\x81\x00\x00\x06\x81\x00\x00\x06\x08\x00", IP4),
        (113, b"\0\0\0\1\0\6" + bytes(8) + b"\x08\x00", IP4),
        (113, b"\0\0\0\1\0\6" + bytes(8) + b"\x81\x00\x00\x05\x86\xdd", IP6),
        (276, b"\x08\x00" + bytes(18), IP4),
        (276, b"\x86\xdd" + bytes(18), IP6),
        (276, b"\x81\x00" + bytes(18) + b"\x00\x05\x08\x00", IP4),
        (12, b"", IP4),
        (14, b"", IP6),
        (101, b"", IP4),
        (101, b"", IP6),
        (228, b"", IP4),
        (229, b"", IP6),
        (0, b"\2\0\0\0", IP4),
        (0, b"\0\0\0\x1e", IP6),
        (0, b"\x18\0\0\0", IP6),
        (108, b"\0\0\0\2", IP4),
        (108, b"\0\0\0\x1c", IP6),
    ],
)
def test_link_types(linktype: int, before: bytes, ip: bytes) -> None:
    expected = FOUR if ip is IP4 else SIX
    assert segment(linktype, before + ip) == expected
    plain = LINK_TYPES[linktype][0]
    assert plain <= len(before)


@pytest.mark.parametrize(
    ("linktype", "data"),
    [
        (1, bytes(12) + b"\x08\x06" + IP4),  # ARP
        (1, bytes(12) + b"\x81\x00\0\0" * 5 + b"\x08\x00" + IP4),
        (1, b""),
        (276, b"\x08\x06" + bytes(18) + IP4),
        (127, IP4),
        (101, ip4("10.0.0.1", "10.0.0.2", TCP, protocol=17)),
        (101, b"\x50" + IP4[1:]),
    ],
)
def test_what_is_not_tcp(linktype: int, data: bytes) -> None:
    assert segment(linktype, data) is None


def test_endpoints() -> None:
    assert endpoints(KEY4) == ("10.0.0.1:40000", "10.0.0.2:8333")
    assert endpoints(KEY6) == ("[2001:db8::1]:40000", "[2001:db8::2]:8333")


def test_options_of_ip_and_tcp() -> None:
    body = tcp(40000, 8333, 1000, 2000, ACK | PSH, PAYLOAD, options=b"\1\1\x08\x0a" + bytes(8))
    assert segment(101, ip4("10.0.0.1", "10.0.0.2", body, options=b"\x07\x07\4" + bytes(5))) == FOUR


def test_ethernet_padding_is_no_payload() -> None:
    short = ethernet(ip4("10.0.0.1", "10.0.0.2", tcp(40000, 8333, 1, 2, ACK)))
    assert segment(1, short.ljust(60, b"\0")) == Segment(KEY4, 1, 2, ACK, b"", 0)
    assert segment(1, ethernet(IP4) + b"trailer") == FOUR


def test_offloaded_segment_without_length() -> None:
    big = bytes(70_000)
    body = tcp(40000, 8333, 1000, 2000, ACK | PSH, big)
    expected = FOUR._replace(payload=big)
    assert segment(101, ip4("10.0.0.1", "10.0.0.2", body, total=0)) == expected
    assert segment(101, ip6("2001:db8::1", "2001:db8::2", body, size=0)) == expected._replace(key=KEY6)


@pytest.mark.parametrize("captured", [54, 55, 100, 253, 254])
def test_snapshot_length(captured: int) -> None:
    frame = ethernet(IP4)
    found = segment(1, frame[:captured], len(frame))
    assert found == FOUR._replace(payload=PAYLOAD[: captured - 54], cut=254 - captured)


def test_snapshot_length_with_offloaded_segment() -> None:
    frame = ethernet(ip4("10.0.0.1", "10.0.0.2", TCP, total=0))
    assert segment(1, frame[:100], len(frame)) == FOUR._replace(payload=PAYLOAD[:46], cut=154)


def test_tcp_header_that_was_not_captured() -> None:
    frame = ethernet(IP4)
    assert segment(1, frame[:47], len(frame)) is None
    assert segment(1, frame[:48], len(frame)) == FOUR._replace(payload=b"", cut=200)


# --- fragments -------------------------------------------------------------------------------------------------------


def fragments4(sizes: list[int], ident: int = 9) -> list[bytes]:
    out, start = [], 0
    for size in sizes:
        more = 0x2000 if start + size < len(TCP) else 0
        out.append(ip4("10.0.0.1", "10.0.0.2", TCP[start : start + size], fragment=more | start >> 3, ident=ident))
        start += size
    return out


def fragments6(sizes: list[int], head: bytes = b"", following: int = 6) -> list[bytes]:
    whole, out, start = head + TCP, [], 0
    for size in sizes:
        more = start + size < len(whole)
        fragment = struct.pack(">BBHI", following, 0, start | more, 77)
        out.append(ip6("2001:db8::1", "2001:db8::2", fragment + whole[start : start + size], following=44))
        start += size
    return out


@settings(deadline=None)
@given(st.permutations(range(4)), st.integers(0, 3))
def test_fragments_in_any_order(order: list[int], twice: int) -> None:
    for pieces, expected in ((fragments4([64, 80, 8, 68]), FOUR), (fragments6([64, 80, 8, 68]), SIX)):
        link = LinkLayer()
        found = [link.segment(101, pieces[n], len(pieces[n])) for n in [*order[:2], order[twice % 2], *order[2:]]]
        assert [item for item in found if item] == [expected]
        assert found[-1] == expected


def test_fragments_that_overlap_or_are_cut_are_not_put_together() -> None:
    link = LinkLayer()
    first, second, third = fragments4([64, 64, 92])
    wider = ip4("10.0.0.1", "10.0.0.2", TCP[56:128], fragment=0x2000 | 7, ident=9)
    for piece in (first, wider, third):
        assert link.segment(101, piece, len(piece)) is None
    assert link.segment(101, second[:-1], len(second)) is None
    for piece in (first, second):
        assert link.segment(101, piece, len(piece)) is None
    assert link.segment(101, third, len(third)) == FOUR


def test_fragments_wait_in_bounded_memory() -> None:
    waiting = Fragments()
    for ident in range(MAX_DATAGRAMS + 1):
        assert waiting.add((b"", ident), 0, True, b"12345678") is None
    assert waiting.add((b"", 0), 8, False, b"x") is None  # given up
    assert waiting.add((b"", 2), 8, False, b"x") == b"12345678x"
    assert waiting.add((b"", 3), 65_528, False, bytes(9)) is None


def test_ipv6_extension_headers() -> None:
    hop = struct.pack(">BB", 60, 1) + bytes(14)
    options = struct.pack(">BB", 43, 0) + bytes(6)
    routing = struct.pack(">BB", 51, 0) + bytes(6)
    authentication = struct.pack(">BB", 6, 4) + bytes(22)
    head = hop + options + routing + authentication
    assert segment(101, ip6("2001:db8::1", "2001:db8::2", head + TCP, following=0)) == SIX
    atomic = struct.pack(">BBHI", 6, 0, 0, 5)
    assert segment(101, ip6("2001:db8::1", "2001:db8::2", atomic + TCP, following=44)) == SIX
    link = LinkLayer()
    to_destination = struct.pack(">BB", 6, 0) + bytes(6)
    found = [link.segment(101, p, len(p)) for p in fragments6([32, 196], head=to_destination, following=60)]
    assert found == [None, SIX]
    nested = fragments6([32, 196], head=atomic, following=44)
    assert [link.segment(101, p, len(p)) for p in nested] == [None, None]


# --- hostile bytes, and a second opinion -----------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([*LINK_TYPES, 999]),
    st.binary(max_size=120),
    st.integers(0, 70_000),
    st.sampled_from([b"", IP4, IP6]),
)
def test_any_bytes(linktype: int, data: bytes, more: int, packet: bytes) -> None:
    link = LinkLayer()
    for frame in (data, packet + data, packet[: len(data)], data[:16] + packet):
        found = link.segment(linktype, frame, len(frame) + more)
        assert found is None or (found.cut >= 0 and len(found.key) in (12, 36))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([IP4, IP6]), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 255)), max_size=4))
def test_damaged_headers(packet: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(packet)
    for place, value in changes:
        damaged[place] = value
    found = segment(101, bytes(damaged))
    assert found is None or found.payload in bytes(damaged)


def test_scapy_builds_the_same() -> None:
    from scapy.layers.inet import IP, TCP, IPOption_NOP, fragment
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
    from scapy.layers.l2 import CookedLinux, Dot1Q, Ether

    top = TCP(sport=40000, dport=8333, seq=1000, ack=2000, flags="PA", options=[("NOP", None), ("Timestamp", (1, 2))])
    four = IP(src=CLIENT[0], dst=SERVER[0], options=[IPOption_NOP()] * 3) / top / PAYLOAD
    six = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / top / PAYLOAD
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    assert segment(1, bytes(ether / Dot1Q(vlan=5) / four)) == FOUR
    assert segment(1, bytes(ether / six)) == SIX
    assert segment(113, bytes(CookedLinux() / four)) == FOUR
    link = LinkLayer()
    found = [link.segment(101, bytes(piece), len(piece)) for piece in fragment(four, 64)]
    assert len(found) == 4 and found[:3] == [None] * 3 and found[3] == FOUR
