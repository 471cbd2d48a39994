# SPDX-License-Identifier: GPL-2.0-or-later
"""From a captured frame to a TCP segment: link layers, IPv4 and IPv6 with everything that may stand before TCP.

Link types are the LINKTYPE_ numbers of the pcap and pcapng formats.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET, AF_INET6, inet_ntop
from struct import Struct
from typing import NamedTuple

from .fragments import Fragments

TCP = 6
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_VLAN_TAGS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")

# IPv6 extension headers whose second byte is their length in units of 8 bytes beyond the first 8
_EXTENSIONS = frozenset((0, 43, 60, 135, 139, 140))
_FRAGMENT, _AUTHENTICATION = 44, 51

_ipv4_header = Struct(">BxHHHxBxx").unpack_from  # version and length, total length, id, fragment, protocol
_tcp_header = Struct(">IIBB").unpack_from  # from byte 4 on: sequence, acknowledgement, data offset, flags


class Segment(NamedTuple):
    """One TCP segment."""

    key: bytes
    """Source address, destination address, source port, destination port, as they stand on the wire: 12 or 36 bytes."""
    seq: int
    ack: int
    flags: int
    payload: bytes
    cut: int
    """Payload bytes that were sent but not captured (snapshot length)."""


def endpoints(key: bytes) -> tuple[str, str]:
    """Source and destination of a segment's key as "1.2.3.4:8333" or "[::1]:8333"."""
    if len(key) == 12:
        source, destination = inet_ntop(AF_INET, key[:4]), inet_ntop(AF_INET, key[4:8])
    else:
        source, destination = f"[{inet_ntop(AF_INET6, key[:16])}]", f"[{inet_ntop(AF_INET6, key[16:32])}]"
    return f"{source}:{int.from_bytes(key[-4:-2], 'big')}", f"{destination}:{int.from_bytes(key[-2:], 'big')}"


def _after_tags(data: bytes, at: int) -> int:
    """Where IP starts if the protocol number stands at `at`, or behind VLAN tags there; -1 if it is not IP."""
    for _ in range(4):
        protocol = data[at : at + 2]
        if protocol in (_IPV4, _IPV6):
            return at + 2
        if protocol not in _VLAN_TAGS:
            return -1
        at += 4
    return -1


def _cooked_v2(data: bytes) -> int:
    protocol = data[:2]
    return 20 if protocol in (_IPV4, _IPV6) else _after_tags(data, 22) if protocol in _VLAN_TAGS else -1


def _at(offset: int) -> Callable[[bytes], int]:
    return lambda data: offset


# link type -> where IP starts when nothing unusual stands before it, and how to find that for any frame
LINK_TYPES: dict[int, tuple[int, Callable[[bytes], int]]] = {
    0: (4, _at(4)),  # BSD loopback
    1: (14, lambda data: _after_tags(data, 12)),  # Ethernet
    12: (0, _at(0)),  # raw IP, as some systems number it
    14: (0, _at(0)),
    101: (0, _at(0)),  # raw IP
    108: (4, _at(4)),  # OpenBSD loopback
    113: (16, lambda data: _after_tags(data, 14)),  # Linux cooked
    228: (0, _at(0)),  # IPv4
    229: (0, _at(0)),  # IPv6
    276: (20, _cooked_v2),  # Linux cooked, version 2
}


class LinkLayer:
    """Finds the TCP segment of a frame; holds the IP fragments that wait for others."""

    def __init__(self) -> None:
        self._fragments = Fragments()

    def segment(self, linktype: int, data: bytes, original: int) -> Segment | None:
        """The segment of a frame of which `data` was captured and `original` bytes were sent; None if there is none.

        Offloaded segments may have an IP length of 0: they reach to the end of the frame.
        """
        known = LINK_TYPES.get(linktype)
        at = known[1](data) if known else -1
        if not 0 <= at < len(data):
            return None
        end = max(original, len(data))
        version = data[at] >> 4
        if version == 4:
            return self._ipv4(data, at, end)
        if version == 6 and len(data) >= at + 40:
            length = int.from_bytes(data[at + 4 : at + 6], "big")
            return self._ipv6(data[at + 8 : at + 40], data[at + 6], data, at + 40, at + 40 + length if length else end)
        return None

    def _ipv4(self, data: bytes, at: int, end: int) -> Segment | None:
        if len(data) < at + 20:
            return None
        first, total, ident, fragment, protocol = _ipv4_header(data, at)
        body = at + (first & 15) * 4
        end = at + total if total else end
        if protocol != TCP or not at + 20 <= body <= end:
            return None
        addresses = data[at + 12 : at + 20]
        if not fragment & 0x3FFF:
            return _tcp(addresses, data, body, end)
        whole = None
        if end <= len(data):
            more = bool(fragment & 0x2000)
            whole = self._fragments.add((addresses, ident), (fragment & 0x1FFF) * 8, more, data[body:end])
        return _tcp(addresses, whole, 0, len(whole)) if whole else None

    def _ipv6(
        self, addresses: bytes, protocol: int, data: bytes, at: int, end: int, reassembled: bool = False
    ) -> Segment | None:
        while protocol != TCP:
            if len(data) < at + 8:
                return None
            following = data[at]
            if protocol in _EXTENSIONS:
                at += 8 + data[at + 1] * 8
            elif protocol == _AUTHENTICATION:
                at += 8 + data[at + 1] * 4
            elif protocol == _FRAGMENT and not reassembled:
                place = int.from_bytes(data[at + 2 : at + 4], "big")
                if place & 0xFFF9:
                    if end > len(data):
                        return None
                    key = (addresses, int.from_bytes(data[at + 4 : at + 8], "big"))
                    whole = self._fragments.add(key, place & 0xFFF8, bool(place & 1), data[at + 8 : end])
                    return self._ipv6(addresses, following, whole, 0, len(whole), True) if whole else None
                at += 8
            else:
                return None
            protocol = following
        return _tcp(addresses, data, at, end)


def _tcp(addresses: bytes, data: bytes, at: int, end: int) -> Segment | None:
    """The segment at `at`, whose last byte stands before `end` or would, had it been captured."""
    if len(data) < at + 14:
        return None
    seq, ack, offset, flags = _tcp_header(data, at + 4)
    start = at + (offset >> 4) * 4
    if not at + 20 <= start <= end:
        return None
    payload = data[start:end]
    return Segment(addresses + data[at : at + 4], seq, ack, flags, payload, end - start - len(payload))
