# SPDX-License-Identifier: GPL-2.0-or-later
"""What kind an address is: the examples of Bitcoin Core's netbase_tests and net_tests, and where a crawl stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.discovery.reach import Kind, kind_of, kind_of_text, kind_to_crawl
from scapy_btc.networks import MAINNET, REGTEST, signet

ROUTABLE = ("8.8.8.8", "2001::1", "2002::1", "64:ff9b::1", "2001:20f::1", "9.255.255.255", "172.32.0.1", "192.167.0.1",
            "100.128.0.0", "198.20.0.1", "2001:470:9b36::",
            "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion",
            "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p", "fc00:1:2:3:4:5:6:7", "200:1::1")
LOOPBACK = ("127.0.0.1", "127.255.0.1", "::1")
PRIVATE = ("10.0.0.1", "192.168.1.1", "172.31.255.255", "172.16.0.0", "169.254.1.1", "100.64.0.1", "198.18.0.1",
           "198.19.255.255", "fd00:1::1", "fe80::1")
INVALID = ("0.0.0.0", "0.1.2.3", "255.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
           "240.0.0.1", "::", "2001:db8::", "2001:10::", "2001:20::", "ff02::1", "fd6b:88c0:8724:1:2:3:4:5",
           "::ffff:1.2.3.4", "fd87:d87e:eb43::1", "6hzph5hv6337r6p2.onion", "aabb.net4", "ab.net200", "example.org", "")


@pytest.mark.parametrize(("address", "kind"), [
    (address, kind) for addresses, kind in ((ROUTABLE, Kind.ROUTABLE), (LOOPBACK, Kind.LOOPBACK),
                                            (PRIVATE, Kind.PRIVATE), (INVALID, Kind.INVALID))
    for address in addresses])
def test_kinds(address: str, kind: Kind) -> None:
    assert kind_of_text(address) is kind


def test_cjdns_is_in_its_range() -> None:
    assert kind_of(6, bytes.fromhex("fc000001000200030004000500060007")) is Kind.ROUTABLE
    assert kind_of(6, bytes.fromhex("aa000001000200030004000500060007")) is Kind.INVALID


@given(st.integers(0, 255), st.binary(max_size=40))
def test_any_bytes_are_of_some_kind(network_id: int, data: bytes) -> None:
    assert isinstance(kind_of(network_id, data), Kind)


@pytest.mark.parametrize(("network", "starts", "kind"), [
    (MAINNET, ["127.0.0.1"], Kind.ROUTABLE),
    (MAINNET, [], Kind.ROUTABLE),
    (REGTEST, [], Kind.LOOPBACK),
    (REGTEST, ["127.3.0.1", "::1"], Kind.LOOPBACK),
    (REGTEST, ["127.0.0.1", "10.1.2.3"], Kind.PRIVATE),
    (REGTEST, ["10.1.2.3", "8.8.8.8"], Kind.ROUTABLE),
    (REGTEST, ["node.example"], Kind.PRIVATE),
    (signet(b"\x51"), ["192.168.1.1"], Kind.PRIVATE),
])
def test_where_a_crawl_stays(network: object, starts: list[str], kind: Kind) -> None:
    assert kind_to_crawl(network, starts) is kind  # type: ignore[arg-type]
