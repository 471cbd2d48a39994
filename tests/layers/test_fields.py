# SPDX-License-Identifier: GPL-2.0-or-later
"""Each kind of field: what it accepts, what it shows, what it builds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.packet import fuzz
from scapy.volatile import RandBin

from scapy_btc.errors import FormatError
from scapy_btc.layers.envelope import BTC
from scapy_btc.layers.fields import CompactSizeField, TextField
from scapy_btc.layers.listfield import SHOWN
from scapy_btc.layers.packet import BTCPacket
from scapy_btc.layers.txfields import coins, network_of
from scapy_btc.layers.undecoded import BTCTrailing, BTCUnknown
from scapy_btc.layers.values import BytesListField, LongBytes, TextListField
from scapy_btc.messages.blocks import BTCCmpctBlock, BTCGetBlockTxn
from scapy_btc.messages.closed import BTCCustomService
from scapy_btc.messages.handshake import BTCVersion
from scapy_btc.messages.inventory import BTCGetHeaders
from scapy_btc.messages.parts import (
    BTCBlockHeader,
    BTCInvVector,
    BTCKeyValue,
    BTCNetAddr,
    BTCNetAddrV2,
    BTCOutPoint,
    BTCTimedNetAddr,
)
from scapy_btc.messages.retired import BTCAlert, BTCReject
from scapy_btc.messages.transactions import BTCTx, BTCTxIn, BTCTxOut, BTCTxWitness
from scapy_btc.networks import REGTEST
from scapy_btc.wire.compactsize import CompactSize, encode

HASH = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


def shown(packet: Any, field: str) -> str:
    """The value of a field as `show()` prints it."""
    text = packet.sprintf(f"%{type(packet).__name__}.{field}%")
    assert text in packet.show(dump=True)
    return str(text)


# Bytes


@pytest.mark.parametrize(("cls", "field"), [
    (BTCOutPoint, "hash"), (BTCInvVector, "hash"), (BTCNetAddr, "ip"),
    (BTCNetAddrV2, "address"), (BTCTxOut, "script"), (BTCVersion, "user_agent"),
    (BTCTxWitness, "items"), (BTCGetHeaders, "locator"), (BTCGetHeaders, "stop"),
    (BTCAlert, "alert"), (BTCReject, "data"), (BTCCustomService, "sub_command"),
    (BTCUnknown, "load"), (BTCTrailing, "load"),
])
@pytest.mark.parametrize("number", [0, 1, 4_000_000_000, True])
def test_a_number_is_no_bytes(cls: Any, field: str, number: int) -> None:
    with pytest.raises(TypeError, match=rf"^{field} is .* not "):
        cls(**{field: number})
    packet = cls()
    with pytest.raises(TypeError, match=rf"^{field} is .* not "):
        setattr(packet, field, [number])
    if field in ("items", "locator"):
        getattr(packet, field).append(number)
        with pytest.raises(TypeError, match=rf"{field} is bytes"):
            bytes(packet)


def test_random_bytes_are_taken() -> None:
    assert len(bytes(BTCOutPoint(hash=RandBin(32)))) == 36
    assert bytes(BTCTxOut(script=RandBin(3)))[8] == 3
    assert len(bytes(BTC(checksum=RandBin(4), magic=RandBin(4)))) == 24
    assert len(bytes(BTCUnknown(load=RandBin(5)))) == 5


# Hashes


def test_hash() -> None:
    packet = BTCOutPoint(hash=HASH)
    assert packet.hash == shown(packet, "hash") == HASH
    assert packet.getfieldval("hash") == bytes(packet)[:32] == bytes.fromhex(HASH)[::-1]
    assert BTCOutPoint(hash=bytes.fromhex(HASH)[::-1]) == packet
    assert BTCOutPoint(hash=bytearray(32)).hash == "0" * 64
    packet.hash = b"short"
    assert packet.hash == b"short" and shown(packet, "hash") == "b'short'"
    for wrong in ("", "ab", "zz" * 32, HASH + "00", " " + HASH):
        with pytest.raises(FormatError):
            packet.hash = wrong
    assert packet.hash == b"short"


def test_list_of_hashes() -> None:
    packet = BTCGetHeaders(locator=[HASH, bytes(32), b"short"])
    assert packet.locator == [bytes.fromhex(HASH)[::-1], bytes(32), b"short"]
    assert shown(packet, "locator") == f"[{HASH}, {'0' * 64}, b'short']"
    packet.locator[1] = HASH
    assert bytes(packet)[5:69] == bytes.fromhex(HASH)[::-1] * 2
    long = BTCGetHeaders(locator=[bytes(32)] * (SHOWN + 23))
    assert shown(long, "locator").count("0" * 64) == SHOWN and shown(long, "locator").endswith(", ... 23 more]")


# Numbers


@pytest.mark.parametrize(("value", "wire"), [
    (0, "00"), (252, "fc"), (253, "fdfd00"), (65535, "fdffff"), (65536, "fe00000100"), (2**32, "ff0000000001000000"),
    (CompactSize(5, 9), "ff0500000000000000"), (CompactSize(253), "fdfd00"), (None, "00")])
def test_compact_size(value: Any, wire: str) -> None:
    class Sized(BTCPacket):
        fields_desc = [CompactSizeField("size", 3)]

    assert bytes(Sized(size=value)).hex() == wire
    again = Sized(bytes.fromhex(wire))
    assert again.size == (value or 0) and encode(again.size).hex() == wire
    assert bytes(Sized()) == b"\x03" and 0 <= fuzz(Sized()).size._fix() < 2**64
    for wrong in (-1, 2**64, "x", b"\xfd"):
        with pytest.raises((FormatError, TypeError), match=r"Sized\.size"):
            bytes(Sized(size=wrong))


@given(st.lists(st.integers(0, 2**48 - 1), max_size=5))
def test_short_ids(values: list[int]) -> None:
    packet = BTCCmpctBlock(shortids=values)
    again = BTCCmpctBlock(bytes(packet))
    assert again.shortids == values
    again.clear_cache()
    assert bytes(again) == bytes(packet)
    assert bytes(packet)[89:-1] == b"".join(v.to_bytes(6, "little") for v in values)


def test_list_of_compact_sizes() -> None:
    packet = BTCGetBlockTxn(indexes=[0, CompactSize(1, 3), 70_000])
    assert bytes(packet)[32:].hex() == "03" "00" "fd0100" "fe70110100"
    again = BTCGetBlockTxn(bytes(packet))
    assert again.indexes == [0, 1, 70_000] and again.indexes[1].width == 3
    assert shown(again, "indexes") == "[0, CompactSize(1, 3), 70000]"


@pytest.mark.parametrize(("packet", "field", "text"), [
    (BTCNetAddr(services=0), "services", "0x0 (none)"),
    (BTCNetAddr(services=1033), "services", "0x409 (NETWORK|WITNESS|NETWORK_LIMITED)"),
    (BTCNetAddr(services="NETWORK|NODE_WITNESS"), "services", "0x9 (NETWORK|WITNESS)"),
    (BTCNetAddrV2(services="NODE_P2P_V2"), "services", "0x800 (P2P_V2)"),
    (BTCVersion(services="none"), "services", "0x0 (none)"),
    (BTCNetAddrV2(services=1), "services", "0x1 (NETWORK)"),
    (BTCTimedNetAddr(timestamp=0), "timestamp", "0 (1970-01-01 00:00:00 UTC)"),
    (BTCTimedNetAddr(timestamp=2**32 - 1), "timestamp", "4294967295 (2106-02-07 06:28:15 UTC)"),
    (BTCVersion(timestamp=1231006505), "timestamp", "1231006505 (2009-01-03 18:15:05 UTC)"),
    (BTCVersion(timestamp=2**63 - 1), "timestamp", str(2**63 - 1)),
    (BTCVersion(timestamp=-(2**63)), "timestamp", str(-(2**63))),
    (BTCVersion(), "timestamp", "None"),
    (BTCTxOut(value=5_000_000_000), "value", "5000000000 (50 BTC)"),
    (BTCTxOut(value=-1), "value", "-1 (-0.00000001 BTC)"),
    (BTCBlockHeader(bits=0x1D00FFFF), "bits", "0x1d00ffff (difficulty 1)"),
    (BTCInvVector(type=0x40000001), "type", "MSG_WITNESS_TX"),
    (BTCInvVector(type=99), "type", "99"),
    (BTCTxIn(script=bytes.fromhex("0151") + b"\x02ab"), "script", "81 25185"),
    (BTCTxIn(script=b"\x05a"), "script", "[error] 0561"),
    (BTCTxWitness(items=[b"a", LongBytes(b"", 3)]), "items", "[61, ]"),
    (BTCVersion(user_agent="/é/"), "user_agent", "'/é/'"),
    (BTCVersion(user_agent=b"\xff\n"), "user_agent", "'\\\\xff\\n'"),
], ids=lambda x: x if isinstance(x, str) else type(x).__name__)
def test_how_values_are_shown(packet: Any, field: str, text: str) -> None:
    assert shown(packet, field) == text


def test_coins() -> None:
    assert [coins(n) for n in (0, 1, 10**8, 150_000_000, -25 * 10**7, 21 * 10**14)] == [
        "0 BTC", "0.00000001 BTC", "1 BTC", "1.5 BTC", "-2.5 BTC", "21000000 BTC"]


# Text and bytes


def test_text() -> None:
    packet = BTCKeyValue(key="clé", value=b"\xff")
    assert bytes(packet) == b"\x04cl\xc3\xa9\x01\xff"
    assert packet.key == "clé".encode() and shown(packet, "value") == r"'\\xff'"
    assert BTCKeyValue.plan.record(bytes(packet), 0, 7)[0]["value"] == "\\xff"


def test_list_of_texts() -> None:
    class Texts(BTCPacket):
        fields_desc = [CompactSizeField("texts_count", None, count_of="texts"), TextListField("texts")]

    packet = Texts(texts=["a", b"\xff", LongBytes(b"b", 3)])
    assert bytes(packet) == b"\x03\x01a\x01\xff\xfd\x01\0b"
    assert shown(packet, "texts") == "['a', '\\\\xff', 'b']"
    assert Texts.plan.record(bytes(packet), 0, 9)[0]["texts"] == ["a", "\\xff", "b"]


def test_lists_convert_what_is_put_into_them_when_built() -> None:
    class Stack(BTCPacket):
        fields_desc = [CompactSizeField("items_count", None, count_of="items"), BytesListField("items")]

    packet = Stack(items=["text", bytearray(b"x")])
    packet.items.append("é")
    assert bytes(packet) == b"\x03\x04text\x01x\x02\xc3\xa9"


def test_lengths_are_of_what_gets_sent() -> None:
    class Measured(BTCPacket):
        fields_desc = [CompactSizeField("data_length", None, length_of="data"), TextField("data", b"")]

    assert bytes(Measured(data="é" * 200)) == b"\xfd\x90\x01" + "é".encode() * 200
    for _ in range(50):
        again = Measured(bytes(fuzz(Measured())))
        assert again.data_length == len(again.data) and not again.payload


def test_long_bytes() -> None:
    value = LongBytes(b"abc", 5)
    assert value == b"abc" and value.width == 5 and eval(repr(value)).width == 5


# Addresses


@pytest.mark.parametrize(("text", "wire"), [
    ("10.0.0.1", "00000000000000000000ffff0a000001"),
    ("2001:db8::1", "20010db8000000000000000000000001"),
    ("::", "00" * 16),
    ("5wyqrzbvrdsumnok.onion", "fd87d87eeb43edb108e43588e54635ca"),
])
def test_legacy_addresses(text: str, wire: str) -> None:
    packet = BTCNetAddr(ip=text, port=8333)
    assert bytes(packet).hex() == "00" * 8 + wire + "208d"
    again = BTCNetAddr(bytes(packet))
    assert again.ip == shown(again, "ip") == text and again.port == 8333
    assert bytes(eval(again.command())) == bytes(packet)


@pytest.mark.parametrize(("text", "network_id", "wire"), [
    ("10.0.0.1", 1, "0a000001"),
    ("2001:db8::1", 2, "20010db8000000000000000000000001"),
    ("pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion", 4,
     "79bcc625184b05194975c28b66b66b0469f7f6556fb1ac3189a79b40dda32f1f"),
    ("fc00:1:2:3:4:5:6:7", 6, "fc000001000200030004000500060007"),
])
def test_addresses_of_any_network(text: str, network_id: int, wire: str) -> None:
    packet = BTCNetAddrV2(address=text)
    assert packet.network_id == network_id and packet.getfieldval("address").hex() == wire
    again = BTCNetAddrV2(bytes(packet))
    assert again.address == shown(again, "address") == text
    assert bytes(eval(again.command())) == bytes(packet)


@given(st.integers(0, 255), st.binary(max_size=40))
def test_any_address_survives_its_command(network_id: int, address: bytes) -> None:
    packet = BTCNetAddrV2(network_id=network_id, address=address)
    again = BTCNetAddrV2(bytes(packet))
    assert bytes(eval(again.command())) == bytes(packet)
    assert again.network_id == network_id


@given(st.binary(min_size=16, max_size=16))
def test_any_legacy_address_survives_its_command(ip: bytes) -> None:
    packet = BTCNetAddr(bytes(8) + ip + bytes(2))
    assert bytes(eval(packet.command())) == bytes(packet)


# The network of a packet


def test_network_of() -> None:
    packet = BTC(bytes(BTC(magic="regtest") / BTCTx(inputs=[BTCTxIn()], outputs=[BTCTxOut()])))
    assert network_of(packet.outputs[0]) is REGTEST and network_of(packet.inputs[0].previous_output) is REGTEST
    assert network_of(BTCTxOut()) is None and network_of(None) is None
    packet.magic = b"abcd"
    assert network_of(packet.outputs[0]) is None


@pytest.mark.parametrize(("cls", "fields", "told"), [
    (BTCInvVector, {"type": "MSG_FOO"}, r"no inventory type is named 'MSG_FOO' \(known are UNDEFINED, MSG_TX"),
    (BTCNetAddr, {"services": "NETWORK|FOO"}, r"no service is named 'FOO' \(known are NETWORK, GETUTXO"),
    (BTCNetAddrV2, {"services": ""}, "no service is named ''"),
])
def test_an_unknown_name_is_answered_with_the_known_ones(cls: Any, fields: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        cls(**fields)


def test_inventory_types_by_name() -> None:
    assert bytes(BTCInvVector(type="MSG_WTX"))[:4] == b"\5\0\0\0"
    assert [v.type for v in BTCInvVector(type=["MSG_TX", 0x40000001])] == [1, 0x40000001]
