# SPDX-License-Identifier: GPL-2.0-or-later
"""Whom one may provoke without asking anybody: this machine, and private networks."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address, ip_network

from ..chain.address import format_endpoint
from ..errors import Refused

_PRIVATE = [ip_network(text) for text in (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",  # RFC 1122, 1918, 3927
    "::1/128", "fd00::/8", "fe80::/10",  # RFC 4291, 4193 without fc00::/8, where CJDNS has its public addresses
)]


def is_private(address: str) -> bool:
    """Whether an IP address is loopback, private or link-local."""
    found = ip_address(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in _PRIVATE)


def private_address(host: str, port: int) -> str | None:
    """The first address of a host, to be connected to, if all that it has are private; else None.

    Raises Refused for a name that is not known.
    """
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refused(f"{format_endpoint(host, port)}: the name is not known: {reason}") from error
    return found[0] if all(map(is_private, found)) else None
