# SPDX-License-Identifier: GPL-2.0-or-later
"""The v1 envelope as a Scapy user meets it: built, dissected, told apart, matched, reassembled by Scapy itself."""

from __future__ import annotations

import gc
import json
import socket
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.config import conf
from scapy.fields import RawVal
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Padding, Raw
from scapy.supersocket import StreamSocket

from scapy_btc import networks
from scapy_btc.errors import FormatError, UnknownNetwork
from scapy_btc.layers import envelope, registry
from scapy_btc.layers.envelope import BTC, default_network, framed
from scapy_btc.layers.registry import BTCMessage, messages
from scapy_btc.layers.undecoded import BTCMalformed, BTCTrailing, BTCUnknown
from scapy_btc.messages import catalogue
from scapy_btc.messages.addresses import BTCGetAddr
from scapy_btc.messages.blocks import BTCBlock
from scapy_btc.messages.handshake import BTCVerack, BTCVersion
from scapy_btc.messages.inventory import BTCGetData, BTCGetHeaders, BTCHeaders, BTCInv
from scapy_btc.messages.keepalive import BTCPing, BTCPong
from scapy_btc.messages.parts import BTCInvVector
from scapy_btc.messages.transactions import BTCTx
from scapy_btc.networks import MAINNET, REGTEST, Network
from scapy_btc.wire.hashes import checksum

assert catalogue  # imports every message
VERACK = bytes.fromhex("f9beb4d976657261636b000000000000000000005df6e0e2")
"""The verack of the Bitcoin wiki's protocol documentation."""


@pytest.fixture(params=[False, True], ids=["", "debug_dissector"])
def debug(request: pytest.FixtureRequest) -> Iterator[None]:
    before, conf.debug_dissector = conf.debug_dissector, request.param
    yield
    conf.debug_dissector = before


def frame(msgtype: bytes, payload: bytes, magic: bytes = MAINNET.magic) -> bytes:
    return magic + msgtype.ljust(12, b"\0") + len(payload).to_bytes(4, "little") + checksum(payload) + payload


# Building


def test_default() -> None:
    assert bytes(BTC()) == frame(b"", b"")
    assert bytes(BTC() / BTCVerack()) == VERACK


def test_msgtype_is_that_of_the_payload() -> None:
    packet = BTC() / BTCPing(nonce=1)
    assert packet.msgtype == "ping" and packet.length is None and packet.checksum is None
    assert "msgtype   = 'ping'" in packet.show(dump=True)
    packet.payload = BTCPong(nonce=1)
    assert bytes(packet)[4:16] == b"pong".ljust(12, b"\0")
    assert bytes(BTC(msgtype="pong") / BTCPing())[4:16] == b"pong".ljust(12, b"\0")
    assert bytes(BTC() / Raw(b"abc"))[4:16] == bytes(12)


def test_default_network() -> None:
    before = conf.contribs["bitcoin"]["network"]
    try:
        for chosen in ("regtest", REGTEST):
            conf.contribs["bitcoin"]["network"] = chosen
            assert default_network() is REGTEST
            assert bytes(BTC() / BTCVerack())[:4] == REGTEST.magic
            assert "(regtest)" in BTC().show(dump=True)
            assert bytes(BTC(magic="mainnet"))[:4] == MAINNET.magic
    finally:
        conf.contribs["bitcoin"]["network"] = before


@pytest.mark.parametrize(("fields", "header"), [
    ({"magic": "regtest"}, REGTEST.magic + VERACK[4:]),
    ({"magic": REGTEST}, REGTEST.magic + VERACK[4:]),
    ({"magic": b"abcd"}, b"abcd" + VERACK[4:]),
    ({"magic": b"abcde"}, b"abcde" + VERACK[4:]),
    ({"magic": b""}, VERACK[4:]),
    ({"magic": 0xD9B4BEF9}, VERACK),
    ({"magic": "dab5bffa"}, bytes.fromhex("dab5bffa") + VERACK[4:]),
    ({"magic": RawVal(b"x")}, b"x" + VERACK[4:]),
    ({"msgtype": "tx"}, VERACK[:4] + b"tx".ljust(12, b"\0") + VERACK[16:]),
    ({"msgtype": b"verack\0\0\0\0\0x"}, VERACK[:15] + b"x" + VERACK[16:]),
    ({"msgtype": "more than twelve"}, VERACK[:4] + b"more than twelve" + VERACK[16:]),
    ({"msgtype": RawVal(b"raw")}, VERACK[:4] + b"raw" + VERACK[16:]),
    ({"length": 7}, VERACK[:16] + b"\x07\0\0\0" + VERACK[20:]),
    ({"length": RawVal(b"\1\2")}, VERACK[:16] + b"\1\2" + VERACK[20:]),
    ({"checksum": b"\0\0\0\0"}, VERACK[:20] + bytes(4)),
    ({"checksum": b""}, VERACK[:20]),
    ({"checksum": 0xDEADBEEF}, VERACK[:20] + bytes.fromhex("deadbeef")),
    ({"checksum": 1}, VERACK[:20] + b"\0\0\0\1"),
    ({"checksum": "DEADbeef"}, VERACK[:20] + bytes.fromhex("deadbeef")),
    ({"checksum": RawVal(b"123456")}, VERACK[:20] + b"123456"),
    ({"magic": None, "msgtype": None, "length": None, "checksum": None}, VERACK),
], ids=repr)
def test_what_is_given_is_sent(fields: dict[str, Any], header: bytes) -> None:
    assert bytes(BTC(**fields) / BTCVerack()) == header


@pytest.mark.parametrize(("fields", "error", "told"), [
    ({"magic": 1 << 32}, FormatError, "magic is a number of 4 bytes, not 0x100000000"),
    ({"magic": -1}, FormatError, "magic is a number of 4 bytes"),
    ({"magic": "f9beb4"}, UnknownNetwork, "no network is named 'f9beb4'"),
    ({"checksum": -1}, FormatError, "checksum is a number of 4 bytes, not -0x1"),
    ({"checksum": [1 << 32]}, FormatError, "checksum is a number of 4 bytes"),
    ({"checksum": "deadbeef0"}, FormatError, "checksum is 4 bytes, a number or 8 hex digits, not 'deadbeef0'"),
    ({"msgtype": 4_000_000_000}, TypeError, "msgtype is bytes or text, not the number 4000000000"),
])
def test_what_cannot_be_sent_is_refused_at_once(fields: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        BTC(**fields)


def test_a_list_of_numbers_makes_a_packet_for_each() -> None:
    assert [bytes(p)[:4] for p in BTC(magic=[0xD9B4BEF9, "regtest"])] == [MAINNET.magic, REGTEST.magic]
    assert [bytes(p)[20:] for p in BTC(checksum=[1, "00000002"])] == [b"\0\0\0\1", b"\0\0\0\2"]


def test_names_longer_than_the_header_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_messages", dict(registry._messages))

    class BTCLong(BTCMessage):
        msgtype = "thirteen-long"

    assert bytes(BTC() / BTCLong())[4:16] == b"thirteen-lon"
    assert len(bytes(BTC() / BTCLong())) == 24


# Dissecting


def test_known_message() -> None:
    packet = BTC(VERACK)
    assert packet.fields == {"magic": MAINNET.magic, "msgtype": b"verack", "length": 0,
                             "checksum": bytes.fromhex("5df6e0e2")}
    assert packet.msgtype == "verack" and type(packet.payload) is BTCVerack
    assert packet[BTCVerack].underlayer is packet
    packet.clear_cache()
    assert bytes(packet) == VERACK


def test_every_message_has_its_class() -> None:
    for cls in messages():
        packet = BTC(bytes(BTC() / cls()))
        assert bytes(packet) == bytes(BTC() / cls()) or cls is BTCVersion
        assert packet.right_checksum() == packet.checksum


@pytest.mark.parametrize("command", [b"verack\0\0\0\0\0x", b"verack\0xxxxx", b"ver\xffack\0\0\0\0\0", bytes(12),
                                     b"v" * 12, b"\0\0\0\0\0\0verack", b"  verack\0\0\0\0"])
def test_odd_names_are_kept(command: bytes) -> None:
    wire = VERACK[:4] + command + VERACK[16:]
    packet = BTC(wire)
    assert isinstance(packet, BTC)
    assert type(packet.payload) is (BTCVerack if command.startswith(b"verack\0") else BTCUnknown)
    packet.clear_cache()
    assert bytes(packet) == wire
    assert bytes(eval(packet.command(), EVERYTHING)) == wire
    assert packet.summary() and packet.show(dump=True)


def test_unknown_message() -> None:
    packet = BTC(frame(b"nonsense", b"12345"))
    assert packet.payload == BTCUnknown(load=b"12345")
    assert packet.summary() == "BTC / nonsense (unknown, 5 bytes)"


def test_unknown_magic() -> None:
    packet = BTC(frame(b"ping", bytes(8), b"abcd"))
    assert type(packet.payload) is BTCPing
    assert packet.summary() == "BTC unknown network 61626364 / ping 0x0000000000000000"
    assert "(unknown network)" in packet.show(dump=True)


def test_a_network_that_the_user_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "_registered", {})
    networks.register(Network("mine", b"\x01\xff\x02\xfe", 4242))
    wire = frame(b"\xff\xff", b"", b"\x01\xff\x02\xfe")
    assert BTC(wire).summary() == "BTC mine / ffff (unknown, 0 bytes)"
    assert bytes(BTC(magic="mine"))[:4] == b"\x01\xff\x02\xfe"


@pytest.mark.parametrize("junk", [b"x", b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n", bytes(24), MAINNET.magic, b"\xff" * 100,
                                  b"printable text in the middle of a message"])
def test_bytes_in_which_no_message_starts(junk: bytes) -> None:
    packet = BTC(junk)
    assert type(packet) is BTCMalformed and packet.load == junk and bytes(packet) == junk
    assert packet.reason == f"no message starts in these {len(junk)} bytes"


def test_missing_bytes_are_named() -> None:
    wire = bytes(BTC() / BTCInv(inventory=[BTCInvVector(type=2)] * 3))
    packet = BTC(wire[:24 + 1 + 36 + 20])
    malformed = packet[BTCMalformed]
    assert packet.length == 109 and malformed.load == wire[24:81]
    assert malformed.reason == "52 of 109 payload bytes are missing"
    assert malformed.readable == {"inventory_count": 3, "inventory": [{"type": 2, "hash": "0" * 64}]}
    assert bytes(packet) == wire[:81]
    assert packet.summary() == "BTC / inv malformed: 52 of 109 payload bytes are missing (57 bytes)"
    assert "checksum  = " + wire[20:24].hex() + "\n" in packet.show(dump=True)


def test_a_message_that_breaks_off_inside_says_where() -> None:
    packet = BTC(frame(b"inv", b"\x02" + bytes(40)))
    malformed = packet[BTCMalformed]
    assert malformed.reason == "cut short in inventory at byte 1 of 41" and malformed.offset == 1
    assert malformed.readable == {"inventory_count": 2, "inventory": [{"type": 0, "hash": "0" * 64}]}
    assert malformed.load == b"\x02" + bytes(40)


def test_bytes_after_the_last_field() -> None:
    packet = BTC(frame(b"ping", bytes(8) + b"more"))
    assert type(packet[BTCPing].payload) is BTCTrailing and packet[BTCTrailing].load == b"more"
    assert bytes(packet) == frame(b"ping", bytes(8) + b"more")
    assert packet.right_checksum() == packet.checksum


def test_bytes_after_the_message_are_padding() -> None:
    two = bytes(BTC() / BTCPing(nonce=1)) + bytes(BTC() / BTCPong(nonce=1))
    packet = BTC(two)
    assert packet.nonce == 1 and packet[Padding].load == two[32:]
    assert packet.right_checksum() == packet.checksum
    assert bytes(packet) == two
    assert BTC(packet[Padding].load)[BTCPong].nonce == 1
    empty = BTC(VERACK * 2)
    assert type(empty.payload) is BTCVerack and empty[Padding].load == VERACK


@pytest.mark.parametrize("wrong", [bytes(4), b"\xff" * 4])
def test_wrong_checksum_is_told(wrong: bytes) -> None:
    packet = BTC(VERACK[:20] + wrong)
    assert packet.summary() == "BTC bad checksum / verack"
    assert f"checksum  = {wrong.hex()} (bad, should be 5df6e0e2)" in packet.show(dump=True)
    assert "checksum  = 5df6e0e2 (ok)" in BTC(VERACK).show(dump=True)
    assert bytes(packet) == VERACK[:20] + wrong


# The header without checksum that version and verack had before 20 February 2012


def old_version() -> bytes:
    return bytes(BTC(checksum=b"") / BTCVersion(version=31402, user_agent=b"", relay=None))


def test_old_header_of_version() -> None:
    wire = old_version()
    assert wire[20:24] == (31402).to_bytes(4, "little") and len(wire) == 20 + wire[16]
    for buffer in (wire, wire + VERACK[:20] + VERACK[:4]):
        packet = BTC(buffer)
        assert packet.checksum == b"" and packet[BTCVersion].version == 31402
        assert "checksum  = none" in packet.show(dump=True)
        assert packet.summary().startswith("BTC / version 31402")
        packet.clear_cache()
        assert bytes(packet) == buffer
        assert bytes(eval(packet.command(), EVERYTHING)) == buffer


def test_old_header_of_verack() -> None:
    assert BTC(VERACK[:20]).checksum == b"" and bytes(BTC(VERACK[:20])) == VERACK[:20]
    packet = BTC(VERACK[:20] + old_version())
    assert packet.checksum == b"" and packet[Padding].load == old_version()
    assert BTC(VERACK).checksum == VERACK[20:]
    assert type(BTC(VERACK[:20] + b"\0")) is BTCMalformed


def test_new_header_is_not_mistaken() -> None:
    """Neither a version whose right checksum looks like a version number, nor one with a wrong checksum."""
    payload = bytes(BTCVersion(timestamp=0))
    nonce = next(n for n in range(10**6) if int.from_bytes(
        checksum(payload[:72] + n.to_bytes(8, "little") + payload[80:]), "little") in range(105, 70_100))
    packet = BTC(bytes(BTC() / BTCVersion(timestamp=0, nonce=nonce)))
    assert packet[BTCVersion].nonce == nonce and len(packet.checksum) == 4
    assert BTC(bytes(BTC(checksum=b"\xff" * 4) / BTCVersion())).checksum == b"\xff" * 4


# Any bytes

NAMES = st.sampled_from([cls.msgtype.encode()[:12] for cls in messages()])
ANYTHING = st.binary(max_size=200) | st.builds(
    lambda magic, name, length, rest, cut: (magic + name.ljust(12, b"\0") + length.to_bytes(4, "little") + rest)[:cut],
    st.sampled_from([MAINNET.magic, REGTEST.magic, b"abcd"]), NAMES | st.binary(max_size=12),
    st.integers(0, 200) | st.integers(0, 2**32 - 1), st.binary(max_size=200), st.integers(0, 300)) | st.builds(
    frame, NAMES, st.binary(max_size=200) | st.builds(
        lambda n, fill, size: n + fill * size,
        st.sampled_from([b"\x01", b"\x03", b"\xfd\xff\xff", b"\xfe" + b"\xff" * 4, b"\xff" * 9, b"\xff" * 8 + b"\x7f"]),
        st.sampled_from([b"\0", b"\x01", b"\xff", b"\x02\0\0\0"]), st.integers(0, 200)))


@given(ANYTHING)
@example(b"")
@example(VERACK[:20])
@settings(max_examples=1500, deadline=2000)
def test_no_bytes_raise_or_are_lost(wire: bytes) -> None:
    for debug_dissector in (True, False):
        conf.debug_dissector = debug_dissector
        try:
            packet = BTC(wire)
        finally:
            conf.debug_dissector = False
    if wire:
        assert bytes(packet) == wire
        assert not packet.haslayer(Raw) or packet.haslayer(Padding)
    packet.summary(), repr(packet), packet.json(), packet.show(dump=True)
    clone = packet.copy()
    clone.clear_cache()
    if wire:
        assert bytes(clone) == wire
        assert bytes(eval(packet.command(), EVERYTHING)) == wire
    BTC.tcp_reassemble(wire, {}, {})


EVERYTHING: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def _names() -> None:
    from scapy_btc import all as everything
    EVERYTHING.update({name: getattr(everything, name) for name in everything.__all__}, Padding=Padding, Raw=Raw)


@pytest.mark.usefixtures("debug")
def test_every_truncation_of_every_message() -> None:
    for cls in messages():
        wire = bytes(BTC() / cls())
        for end in range(1, len(wire)):
            packet = BTC(wire[:end])
            assert bytes(packet) == wire[:end]
            assert packet.haslayer(BTCMalformed) or wire[:end] == VERACK[:20]
            whole = BTC(frame(wire[4:16], wire[24:end])) if end > 24 else packet
            assert not whole.haslayer(Raw)


def test_a_count_that_lies_costs_nothing() -> None:
    """Neither time nor memory follows a count before its bytes are seen."""
    for cls in messages():
        for before, count in ((0, b"\xff" * 9), (0, b"\xff" * 8 + b"\x7f"), (4, b"\xff" * 9), (80, b"\xff" * 9)):
            payload = bytes(before) + count + bytes(100)
            packet = BTC(frame(cls.msgtype.encode()[:12], payload))
            assert packet.summary()
            assert len(bytes(packet)) == 24 + len(payload)


# Matching


@pytest.mark.parametrize(("request_", "answer", "expected"), [
    (BTCPing(nonce=5), BTCPong(nonce=5), True),
    (BTCPing(nonce=5), BTCPong(nonce=6), False),
    (BTCPing(nonce=5), BTCPing(nonce=5), False),
    (BTCGetHeaders(), BTCHeaders(), True),
    (BTCGetHeaders(), BTCInv(), False),
    (BTCGetData(inventory=[BTCInvVector(type=2, hash=BTCBlock().block_hash)]), BTCBlock(), True),
    (BTCGetData(inventory=[BTCInvVector(type=2), b"odd"]), BTCBlock(), False),
    (BTCVersion(), BTCVerack(), True),
    (BTCVerack(), BTCVersion(), False),
    (BTCUnknown(b"x"), BTCUnknown(b"x"), False),
    (Raw(b"x"), BTCPong(), False),
    (BTCMalformed(b"x"), BTCMalformed(b"x"), False),
])
def test_answers(request_: Any, answer: Any, expected: bool) -> None:
    sent, received = BTC() / request_, BTC() / answer
    assert bool(received.answers(sent)) is expected
    assert sent.hashret() == received.hashret()
    assert bool(sent > received) is expected
    over_tcp = Ether() / IP(dst="127.0.0.1") / TCP(sport=5000, dport=8333) / sent
    back = Ether() / IP(src="127.0.0.1", dst=over_tcp[IP].src) / TCP(sport=8333, dport=5000) / received
    assert over_tcp.hashret() == back.hashret()
    assert not received.answers(Raw(b"x")) and not BTC().answers(sent)


# Views


def test_json() -> None:
    packet = BTC(bytes(BTC() / BTCInv(inventory=[BTCInvVector(type=1, hash="ab" * 31 + "cd")])))
    assert json.loads(packet.json()) == {
        "magic": "f9beb4d9", "msgtype": "inv", "length": 37, "checksum": packet.checksum.hex(),
        "payload": {"inventory_count": 1, "inventory": [{"type": 1, "hash": "ab" * 31 + "cd"}]}}
    assert json.loads(BTC().json()) == {"magic": None, "msgtype": None, "length": None, "checksum": None}


def test_sprintf() -> None:
    packet = IP() / TCP() / BTC(magic="regtest") / BTCPing(nonce=255)
    assert packet.sprintf("%BTC.msgtype% %BTC.magic% %BTCPing.nonce%{BTCPong: pong}{BTCPing: ping}") == \
        "'ping' fabfb5da (regtest) 255 ping"
    assert packet.sprintf("%5dr,BTCPing.nonce%|") == "  255|"


def test_stop_dissection_after() -> None:
    packet = BTC(VERACK + b"", stop_dissection_after=BTC)
    assert packet.msgtype == "verack" and not packet.payload
    packet = BTC(frame(b"ping", bytes(8)), stop_dissection_after=BTC)
    assert packet.payload == Raw(bytes(8))


# Scapy's own reassembly, within its limits

STREAM = [BTC() / BTCVersion(timestamp=0), BTC() / BTCVerack(), BTC() / BTCPing(nonce=7),
          BTC() / BTCInv(inventory=[BTCInvVector(type=1, hash=bytes([n]) * 32) for n in range(100)]),
          BTC() / BTCGetAddr(), BTC(magic="regtest") / BTCTx()]
WIRE = [bytes(packet) for packet in STREAM]


@pytest.mark.usefixtures("debug")
def test_tcp_reassemble_with_any_prefix() -> None:
    stream = b"".join(WIRE)
    for end in range(len(stream) + 1):
        metadata: dict[str, Any] = {}
        packet = BTC.tcp_reassemble(stream[:end], metadata, {})
        if end < len(WIRE[0]):
            assert packet is None and end < metadata["tcp_min_len"] <= len(WIRE[0])
        else:
            assert packet is not None and type(packet.payload) is BTCVersion
            assert packet.build_padding() == stream[len(WIRE[0]):end]
            assert packet.do_build() == WIRE[0]


def test_tcp_reassemble_takes_what_is_no_message_as_it_is() -> None:
    junk = bytes(16) + b"\xff\0\0\0" + bytes(10)
    assert BTC.tcp_reassemble(junk, {}, {}) == BTCMalformed(junk)
    absurd = MAINNET.magic + b"tx".ljust(12, b"\0") + b"\xff" * 8
    malformed = BTC.tcp_reassemble(absurd, {}, {})[BTCMalformed]
    assert malformed.reason == "4,294,967,295 of 4,294,967,295 payload bytes are missing"


def test_tcp_reassemble_waits_after_the_twentieth_byte_of_a_verack() -> None:
    assert BTC.tcp_reassemble(VERACK[:20], {}, {}) is None
    assert bytes(BTC.tcp_reassemble(VERACK[:20] + VERACK, {}, {})[BTC]) == VERACK[:20] + VERACK


def test_stream_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = StreamSocket(ours, BTC)
        theirs.sendall(b"".join(WIRE))
        for wire in WIRE:
            packet = stream.recv()
            assert packet is not None and packet.do_build() == wire
        theirs.sendall(WIRE[2][:28])
        theirs.sendall(WIRE[2][28:])
        assert stream.recv()[BTCPing].nonce == 7
        stream.send(BTC() / BTCPong(nonce=7))
        assert theirs.recv(100) == bytes(BTC() / BTCPong(nonce=7))
        assert stream.sr1(BTC() / BTCPing(nonce=9), timeout=0.05, verbose=False) is None
        theirs.sendall(bytes(BTC() / BTCPong(nonce=8)) + bytes(BTC() / BTCPong(nonce=9)))
        answer = stream.sr1(BTC() / BTCPing(nonce=9), timeout=2, verbose=False)
        assert answer is not None and answer.nonce == 9


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=12, max_size=12), st.binary(max_size=50))
@example(b"\1\2\3\4", b"\xff\x1b[2J".ljust(12, b"\0"), b"abc")
@example(REGTEST.magic, b"ping".ljust(12, b"\0"), bytes(8))
def test_what_is_known_to_be_a_message_is_a_packet(magic: bytes, command: bytes, payload: bytes) -> None:
    raw = magic + command + len(payload).to_bytes(4, "little") + checksum(payload) + payload
    packet = framed(raw)
    assert type(packet) is BTC and bytes(packet) == raw and packet.magic == magic
    if isinstance(BTC(raw), BTC):
        assert packet == BTC(raw) and packet.summary() == BTC(raw).summary()


def test_large_packets_that_nobody_needs_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "SWEEP", 8 << 20)
    raw = bytes(BTC(magic="regtest", msgtype="large") / bytes(1 << 20))
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)  # the command line's
    tracemalloc.start()
    try:
        for _ in range(100):
            assert framed(raw).length == 1 << 20
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()
        gc.set_threshold(*thresholds)
