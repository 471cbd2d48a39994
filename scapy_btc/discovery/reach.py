# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses may be dialled: what kind an address is, and what kind a crawl keeps to."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from ipaddress import ip_network

from ..chain.address import parse
from ..errors import FormatError
from ..networks import Network
from ..protocol import BIP155_ADDRESS_SIZES, BIP155Network


class Kind(Enum):
    """Where an address leads."""

    LOOPBACK = "loopback"
    PRIVATE = "private"
    ROUTABLE = "routable"
    INVALID = "invalid"
    """Nowhere: reserved, for documentation, multicast, malformed, Tor v2, or of a network that nobody knows."""


# The ranges that Bitcoin Core's CNetAddr::IsRoutable and IsValid refuse, told apart by what they are; and multicast.
_RANGES = {
    BIP155Network.IPV4: {
        Kind.LOOPBACK: ("127.0.0.0/8",),
        Kind.PRIVATE: ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
                       "198.18.0.0/15"),
        Kind.INVALID: ("0.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    },
    BIP155Network.IPV6: {
        Kind.LOOPBACK: ("::1/128",),
        # the second of Core's own: names that it gives to hosts, fd || SHA256("bitcoin"); then mapped IPv4 and OnionCat
        Kind.INVALID: ("::/128", "fd6b:88c0:8724::/48", "::ffff:0:0/96", "fd87:d87e:eb43::/48", "2001:db8::/32",
                       "2001:10::/28", "2001:20::/28", "ff00::/8"),
        Kind.PRIVATE: ("fc00::/7", "fe80::/64"),
    },
}
_PREFIXES = {
    family: [(int(net.network_address) >> shift, shift, kind) for kind, ranges in kinds.items() for text in ranges
             for net in (ip_network(text),) for shift in (net.max_prefixlen - net.prefixlen,)]
    for family, kinds in _RANGES.items()
}

ANONYMOUS = (BIP155Network.TORV3,)
"""Networks that a SOCKS5 proxy of Tor reaches, and nothing else."""
DIRECT = (BIP155Network.IPV4, BIP155Network.IPV6)
"""Networks that are reached without anything. I2P and CJDNS need software that we do not speak with."""


def kind_of(network_id: int, data: bytes) -> Kind:
    """What kind an address is, given by its BIP 155 network id and bytes. Never raises."""
    if BIP155_ADDRESS_SIZES.get(network_id) != len(data) or network_id == BIP155Network.TORV2:
        return Kind.INVALID
    if network_id == BIP155Network.CJDNS:
        return Kind.ROUTABLE if data[0] == 0xFC else Kind.INVALID
    number = int.from_bytes(data, "big")
    for prefix, shift, kind in _PREFIXES.get(BIP155Network(network_id), ()):
        if number >> shift == prefix:
            return kind
    return Kind.ROUTABLE


def kind_of_text(address: str) -> Kind:
    """Likewise of an address as people write it; INVALID for what is none."""
    try:
        return kind_of(*parse(address))
    except FormatError:
        return Kind.INVALID


def kind_to_crawl(network: Network, starts: Iterable[str]) -> Kind:
    """The one kind of addresses that may be dialled because others told them.

    Routable ones on a network that is public (it has DNS seeds). On any other what the start peers are: a crawl that
    begins on loopback stays there, one that begins in a private network stays in private ranges.

    :param starts: hosts; one that is a name counts as private, unless it is localhost
    """
    if network.dns_seeds:
        return Kind.ROUTABLE
    kinds = set()
    for host in starts:
        try:
            kinds.add(kind_of(*parse(host)))
        except FormatError:
            kinds.add(Kind.LOOPBACK if host.lower() == "localhost" else Kind.PRIVATE)
    return next((kind for kind in (Kind.ROUTABLE, Kind.PRIVATE) if kind in kinds), Kind.LOOPBACK)
