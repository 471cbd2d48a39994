# SPDX-License-Identifier: GPL-2.0-or-later
"""Bitcoin inside TCP: by port, by magic, and never before what others have bound."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest
from scapy.fields import StrField
from scapy.layers.http import HTTP
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw, bind_layers, split_layers
from scapy.sessions import TCPSession

from scapy_btc import networks
from scapy_btc.layers import bindings
from scapy_btc.layers.envelope import BTC
from scapy_btc.layers.undecoded import BTCMalformed
from scapy_btc.messages.handshake import BTCVerack, BTCVersion
from scapy_btc.messages.inventory import BTCInv
from scapy_btc.messages.keepalive import BTCPing
from scapy_btc.messages.parts import BTCInvVector
from scapy_btc.networks import Network, all_networks

VERACK = bytes(BTC() / BTCVerack())


def segment(sport: int, dport: int, payload: bytes, **fields: int) -> IP:
    return IP(bytes(IP() / TCP(sport=sport, dport=dport, **fields) / Raw(payload)))


class Custom(Packet):
    """Somebody else's protocol."""

    fields_desc = [StrField("data", b"")]


@pytest.fixture
def custom_on_9999() -> Iterator[None]:
    bind_layers(TCP, Custom, dport=9999)
    yield
    split_layers(TCP, Custom, dport=9999)


@pytest.mark.parametrize("network", all_networks(), ids=str)
def test_ports_of_all_networks(network: Network) -> None:
    for sport, dport in ((network.port, 50_000), (50_000, network.port)):
        found = segment(sport, dport, b"abcd" + VERACK[4:])
        assert type(found[TCP].payload) is BTC and BTCVerack in found
        assert type(segment(sport, dport, b"in the middle of a message")[TCP].payload) is BTCMalformed


def test_magic_on_any_port() -> None:
    for network in all_networks():
        assert BTCVerack in segment(50_000, 50_001, network.magic + VERACK[4:])
    assert type(segment(50_000, 50_001, b"abcd" + VERACK[4:])[TCP].payload) is Raw
    assert BTCVerack in IPv6(bytes(IPv6() / TCP(sport=50_000, dport=50_001) / Raw(VERACK)))
    assert not segment(50_000, 8333, b"")[TCP].payload


@pytest.mark.usefixtures("custom_on_9999")
def test_others_come_first() -> None:
    assert type(segment(50_000, 9999, VERACK)[TCP].payload) is Custom
    assert HTTP in segment(50_000, 80, b"GET / HTTP/1.1\r\n\r\n")
    assert BTC not in segment(50_000, 80, VERACK)


def test_a_network_registered_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "_registered", {})
    wire = b"\x01\xff\x02\xfe" + VERACK[4:]
    assert BTC not in segment(50_000, 50_001, wire) and BTC not in segment(50_000, 4242, b"abcd" + wire[4:])
    networks.register(Network("mine", wire[:4], 4242))
    assert BTCVerack in segment(50_000, 50_001, wire) and BTCVerack in segment(50_000, 4242, b"abcd" + wire[4:])


def test_default_port_when_building() -> None:
    assert (IP() / TCP() / BTC()).dport == 8333
    assert (IP() / TCP(dport=18444) / BTC()).dport == 18444
    assert BTCPing in IP(bytes(IP() / TCP() / BTC() / BTCPing()))


def test_binding_again_changes_nothing() -> None:
    guesses, hook = list(TCP.payload_guess), TCP.default_payload_class
    bindings.bind()
    assert TCP.payload_guess == guesses and TCP.default_payload_class is hook


def test_what_was_the_last_resort_before_is_asked_first() -> None:
    code = """
from scapy.layers.inet import TCP, IP
from scapy.packet import Packet, Raw
from scapy.fields import StrField
class Theirs(Packet):
    fields_desc = [StrField("data", b"")]
TCP.default_payload_class = lambda tcp, payload: Theirs if payload[-1:] == b"T" else Raw
import scapy_btc.layers.bindings
print([type(IP(bytes(IP() / TCP(sport=1, dport=2) / Raw(p)))[TCP].payload).__name__
       for p in (b"T", b"x", bytes.fromhex("f9beb4d9") + b"T", bytes.fromhex("f9beb4d9") + bytes(20))])
"""
    output = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)
    assert output.strip() == "['Theirs', 'Raw', 'Theirs', 'BTC']"


def test_layers_without_bindings_leave_tcp_alone() -> None:
    code = "import sys, scapy_btc.layers.envelope, scapy_btc.messages.blocks; print('scapy.layers.inet' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).strip() == "False"


def test_summary_over_tcp() -> None:
    packet = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=5000, flags="PA") / BTC(magic="regtest") / BTCPing(nonce=1)
    assert packet.summary() == "IP / TCP 10.0.0.1:5000 > 10.0.0.2:8333 PA / BTC regtest / ping 0x0000000000000001"


@pytest.mark.parametrize("cuts", [(30,), (1, 23, 24, 25), (500,), ()])
def test_tcp_session(cuts: tuple[int, ...]) -> None:
    """Scapy's session, where each message begins a segment, which is as much as it can do."""
    messages = [BTC() / BTCVersion(timestamp=0), BTC() / BTCVerack(), BTC() / BTCPing(nonce=7),
                BTC() / BTCInv(inventory=[BTCInvVector(type=1, hash=bytes([n]) * 32) for n in range(40)])]
    session, seq, found = TCPSession(), 1, []
    for message in messages:
        wire = bytes(message)
        edges = [0, *(cut for cut in cuts if cut < len(wire)), len(wire)]
        for start, end in pairwise(edges):
            if packet := session.process(segment(5000, 8333, wire[start:end], seq=seq)):
                found.append(packet[BTC])
            seq += end - start
    assert [bytes(packet) for packet in found] == [bytes(message) for message in messages]
