# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses as people write them, both ways."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.chain.address import (
    format_bip155,
    format_endpoint,
    format_legacy,
    from_legacy,
    parse,
    parse_endpoint,
    to_legacy,
)
from scapy_btc.errors import FormatError
from scapy_btc.protocol import BIP155_ADDRESS_SIZES, BIP155Network

# Bitcoin Core, src/test/net_tests.cpp, and BIP 155
KNOWN = [
    (1, "01020304", "1.2.3.4"),
    (1, "00000000", "0.0.0.0"),
    (2, "00000000000000000000000000000000", "::"),
    (2, "11223344556677889900aabbccddeeff", "1122:3344:5566:7788:9900:aabb:ccdd:eeff"),
    (2, "0102030405060708090a0b0c0d0e0f10", "102:304:506:708:90a:b0c:d0e:f10"),
    (2, "1a1b2a2b3a3b4a4b5a5b6a6b7a7b8a8b", "1a1b:2a2b:3a3b:4a4b:5a5b:6a6b:7a7b:8a8b"),
    (3, "f1f2f3f4f5f6f7f8f9fa", "6hzph5hv6337r6p2.onion"),
    (
        4,
        "79bcc625184b05194975c28b66b66b0469f7f6556fb1ac3189a79b40dda32f1f",
        "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion",
    ),
    (
        4,
        "53cd5648488c4707914182655b7664034e09e66f7e8cbf1084e654eb56c5bd88",
        "kpgvmscirrdqpekbqjsvw5teanhatztpp2gl6eee4zkowvwfxwenqaid.onion",
    ),
    (
        5,
        "a2894dabaec08c0051a481a6dac88b64f98232ae42d4b6fd2fa81952dfe36a87",
        "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p",
    ),
    (6, "fc000001000200030004000500060007", "fc00:1:2:3:4:5:6:7"),
    (7, "02000001000000000000000000000001", "200:1::1"),
    # RFC 5952, section 4.2: the longest run of zeros, the first of equal ones, not a single zero; section 5: mapped
    (2, "20010db8000000000001000000000001", "2001:db8::1:0:0:1"),
    (2, "20010db8000000010001000100010001", "2001:db8:0:1:1:1:1:1"),
    (2, "00000000000000000000ffffc0000201", "::ffff:192.0.2.1"),
    # of our own, for what nobody has a way to write
    (1, "aabbcc", "aabbcc.net1"),
    (99, "", ".net99"),
    (200, "0011", "0011.net200"),
]


@pytest.mark.parametrize(("network_id", "data", "text"), KNOWN)
def test_known_addresses(network_id, data, text):
    assert format_bip155(network_id, bytes.fromhex(data)) == text
    assert parse(text) == (network_id, bytes.fromhex(data))
    assert parse(f" {text.upper()}\n") == (network_id, bytes.fromhex(data))


@pytest.mark.parametrize(
    ("ip", "text"),
    [
        ("00000000000000000000ffff01020304", "1.2.3.4"),
        ("fd87d87eeb43f1f2f3f4f5f6f7f8f9fa", "6hzph5hv6337r6p2.onion"),
        ("00000000000000000000000000000001", "::1"),
        ("000000000000000000000000c0000201", "::c000:201"),
        ("fc000001000200030004000500060007", "fc00:1:2:3:4:5:6:7"),
    ],
)
def test_legacy_addresses(ip, text):
    assert format_legacy(bytes.fromhex(ip)) == text
    assert to_legacy(*parse(text)).hex() == ip


@pytest.mark.parametrize(
    "text",
    [
        # Bitcoin Core, src/test/net_tests.cpp
        "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscsad.onion",
        "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscrye.onion",
        "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd\0wtf.onion",
        "mfrggzak.onion",
        "mf*g zak.onion",
        "udhdrtrcetjm5sxzskjyr5ztpeszydbh4dpl3pl4utgqqw2v4jn=.b32.i2p",
        "udhdrtrcetjm5sxzskjyr5ztpeszydbh4dpl3pl4utgqqw2v4jna=.b32.i2p",
        "udhdrtrcetjm5sxzskjyr5ztpeszydbh4dpl3pl4utgqqw2v\0wtf.b32.i2p",
        "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscsad.b32.i2p",
        "tp*szydbh4dp.b32.i2p",
        # a last character with bits that no byte needs
        "udhdrtrcetjm5sxzskjyr5ztpeszydbh4dpl3pl4utgqqw2v4jnb.b32.i2p",
        "",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "256.1.1.1",
        "1:2:3:4:5:6:7",
        "fe80::1%eth0",
        "[::1",
        "::1]",
        "[1.2.3.4]:8333",
        "aab.net1",
        "aa.net",
        "aa.net256",
        "aa.net-1",
        "\u0661.2.3.4",
        "x" * 5_000_000,
    ],
)
def test_what_is_no_address(text):
    with pytest.raises(FormatError):
        parse(text)


def test_brackets():
    assert parse("[2001:db8::1]") == (2, IPv6Address("2001:db8::1").packed)
    assert parse("[FC00::1]")[0] == BIP155Network.CJDNS


@pytest.mark.parametrize(("network_id", "size"), [(4, 32), (5, 32), (1, 16), (2, 4), (9, 16)])
def test_no_legacy_form(network_id, size):
    with pytest.raises(FormatError):
        to_legacy(network_id, bytes(size))


def test_endpoints():
    assert format_endpoint("1.2.3.4", 8333) == "1.2.3.4:8333"
    assert format_endpoint("::1", 18444) == "[::1]:18444"
    assert format_endpoint("6hzph5hv6337r6p2.onion", 1) == "6hzph5hv6337r6p2.onion:1"


@given(st.binary(min_size=16, max_size=16))
def test_legacy_round_trip(ip):
    assert to_legacy(*from_legacy(ip)) == ip
    assert to_legacy(*parse(format_legacy(ip))) == ip


@given(st.integers(0, 255), st.data())
def test_bip155_round_trip(network_id, data):
    size = BIP155_ADDRESS_SIZES.get(network_id)
    raw = data.draw(st.binary(max_size=40) if size is None else st.binary(min_size=size, max_size=size))
    parsed_id, parsed = parse(format_bip155(network_id, raw))
    assert parsed == raw
    # the three networks that share IPv6's notation are told apart by range alone
    assert parsed_id == network_id or {parsed_id, network_id} <= {2, 6, 7}


@given(st.integers(0, 255), st.binary(max_size=512))
def test_any_bytes_have_a_text(network_id, data):
    assert parse(format_bip155(network_id, data))[1] == data
    assert isinstance(format_legacy(data), str)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text):
    try:
        network_id, data = parse(text)
    except FormatError:
        return
    assert parse(format_bip155(network_id, data)) == (network_id, data)


@pytest.mark.parametrize(("text", "endpoint"), [
    ("192.0.2.1", ("192.0.2.1", None)),
    ("192.0.2.1:8333", ("192.0.2.1", 8333)), ("node.example:1", ("node.example", 1)),
    ("::1", ("::1", None)), ("[::1]", ("::1", None)), ("[2001:db8::1]:18444", ("2001:db8::1", 18444)),
    ("localhost:65535", ("localhost", 65535)), ("localhost:0", ("localhost", 0)),
])
def test_endpoints_are_read(text, endpoint):
    assert parse_endpoint(text) == endpoint
    host, port = endpoint
    if port is not None:
        assert parse_endpoint(format_endpoint(host, port)) == endpoint


@pytest.mark.parametrize("text", ["", ":8333", "[]:1", "[::1", "[::1]8333", "28444", "28444:1", "1" * 5000, "[1]", "http://127.0.0.1:28444",
                                  "http://node.example", "::1/128", "host:", "host:x", "host:65536", "host:-1",
                                  "host:+1", "host:\u0663", "host:" + "1" * 5000])
def test_what_is_no_endpoint(text):
    with pytest.raises(FormatError) as caught:
        parse_endpoint(text)
    assert len(str(caught.value)) < 150
