# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts and messages as a Scapy user expects packets to be: shown, copied, changed, deleted, rebuilt."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.fields import RawVal
from scapy.packet import Packet, Raw, fuzz, ls

from scapy_btc.errors import FormatError
from scapy_btc.layers import registry
from scapy_btc.layers.envelope import BTC
from scapy_btc.layers.packet import BTCPacket
from scapy_btc.layers.parts import Untouched
from scapy_btc.layers.registry import BTCMessage, lookup, messages
from scapy_btc.layers.undecoded import BTCTrailing
from scapy_btc.layers.values import LongBytes
from scapy_btc.messages.addresses import BTCAddr, BTCAddrV2
from scapy_btc.messages.blocks import BTCBlock, BTCCmpctBlock, BTCGetBlockTxn
from scapy_btc.messages.handshake import BTCFeeFilter, BTCVersion
from scapy_btc.messages.inventory import BTCGetHeaders, BTCHeaders, BTCHeadersEntry, BTCInv
from scapy_btc.messages.keepalive import BTCPing
from scapy_btc.messages.parts import BTCBlockHeader, BTCInvVector, BTCNetAddr, BTCOutPoint, BTCTimedNetAddr
from scapy_btc.messages.transactions import BTCTx, BTCTxIn, BTCTxOut, BTCTxWitness
from scapy_btc.wire.compactsize import CompactSize

HASH = "00000000000000000001" + "ab" * 22


@pytest.fixture
def block() -> Any:
    """A block from the wire, in its envelope: nothing of it is touched."""
    spends = BTCTx(inputs=[BTCTxIn(previous_output=BTCOutPoint(hash=HASH, index=n)) for n in range(3)],
                   outputs=[BTCTxOut(value=5, script=b"\x51"), BTCTxOut(value=6, script=b"\x52" * 30)],
                   witness=[[b"a", b"bc"], [], [b"d" * 300]])
    return BTC(bytes(BTC(magic="regtest") / BTCBlock(header=BTCBlockHeader(nonce=7), transactions=[BTCTx(), spends])))


def all_packets(packet: Packet) -> Iterator[Packet]:
    """A packet and everything in it, made."""
    yield packet
    for name in list(packet.fields):
        value = packet.getfieldval(name)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Packet):
                yield from all_packets(part)
    if packet.payload:
        yield from all_packets(packet.payload)


# Conformance of every class


def classes() -> list[type[BTCPacket]]:
    found: list[type[BTCPacket]] = []
    todo: list[Any] = list(messages())
    while todo:
        cls = todo.pop()
        if cls not in found:
            found.append(cls)
            todo += [f.cls for f in cls.fields_desc if hasattr(f, "cls")]
    return found


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_every_class(cls: type[BTCPacket], capsys: pytest.CaptureFixture[str]) -> None:
    own = {name for parent in BTCMessage.__mro__ for name in vars(parent)} | set(Packet.__slots__)
    names = [f.name for f in cls.fields_desc]
    assert not own & set(names)
    assert len(names) == len(set(names))
    ls(cls)
    ls(cls())
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)
    wire = bytes(cls())
    again = cls(wire)
    again.clear_cache()
    assert bytes(again) == wire
    for packet in all_packets(again):
        assert packet.show(dump=True) and repr(packet) and packet.json() and packet.summary()
    fuzzed = fuzz(cls())
    for _ in range(5):
        assert bytes(next(iter(fuzzed))) is not None


# Views


def test_show(block: Any) -> None:
    text = block.show(dump=True)
    assert "###[ BTC block ]###" in text and "\\header    \\" in text and "|###[ BTC block header ]###" in text
    assert f"hash      = {HASH}" in text and "previous_output" in text
    assert "value     = 5 (0.00000005 BTC)" in text and "items     = [61, 6263]" in text
    assert "(bcrt1" not in text
    assert block.show2(dump=True) == text


def test_addresses_are_those_of_the_envelopes_network() -> None:
    script = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")
    built = BTC(magic="regtest") / BTCTx(inputs=[BTCTxIn()], outputs=[BTCTxOut(script=script)])
    address = "qw508d6qejxtdg4y5r3zarvary0c5xw7k"
    assert f"(bcrt1{address}" in BTC(bytes(built)).show(dump=True)
    built.magic = "mainnet"
    assert f"(bc1{address}" in BTC(bytes(built)).show(dump=True)
    assert f"(bc1{address}" in repr(BTCTxOut(script=script))


def test_command_and_eval(block: Any) -> None:
    again = eval(block.command())
    assert bytes(again) == bytes(block) and again == block
    assert eval(repr(CompactSize(1, 5))).width == 5


def test_json_is_the_record(block: Any) -> None:
    found = json.loads(block.json())["payload"]
    wire = bytes(block[BTCBlock])
    assert found == BTCBlock.plan.record(wire, 0, len(wire))[0]
    assert found["transactions"][1]["witness"] == [["61", "6263"], [], ["64" * 300]]
    assert json.loads(BTCTxWitness(items=[b"a"]).json()) == {"items": ["61"]}
    assert json.loads(BTCInv(inventory_count=2, inventory=[BTCInvVector()]).json())["inventory_count"] == 2


def test_summary() -> None:
    assert BTCInv(inventory=[BTCInvVector(type=2, hash=HASH)]).summary() == f"inv MSG_BLOCK {HASH}"
    assert (BTC() / BTCFeeFilter(feerate=5)).summary() == "BTC / feefilter 5 sat/kvB"
    assert BTCInv(inventory_count=2**40, inventory=[BTCInvVector()]).summary() == "inv"


def test_repr_and_looking_change_nothing() -> None:
    packet = BTCBlock()
    wire = bytes(packet)
    assert packet.command() == "BTCBlock()" and packet.fields == {}
    assert packet.transactions == [] and packet.header.nonce == 0
    assert packet.header is packet.header and packet.transactions is packet.transactions
    assert bytes(packet) == wire and repr(packet) and packet.show(dump=True)
    assert BTCBlock(header=BTCBlockHeader(), transactions=[]) == packet == BTCBlock()


# Parts


def test_a_part_is_made_when_looked_at(block: Any) -> None:
    packet = block[BTCBlock]
    assert type(packet.fields["header"]) is Untouched
    assert bytes(block.copy()) == bytes(block) and type(packet.fields["header"]) is Untouched
    header = packet.header
    assert type(header) is BTCBlockHeader and header is packet.header and header.parent is packet
    assert packet.getfieldval("header") is header


@pytest.mark.parametrize("look", [
    lambda p: p.header, lambda p: p.getfieldval("header"), lambda p: p.getfield_and_val("header") and p.header,
    lambda p: p[BTCBlockHeader], lambda p: p.show(dump=True), lambda p: p.command(), repr,
    lambda p: p.sprintf("%BTCBlock.header%"), lambda p: p.clear_cache(), lambda p: p == p.copy()], ids=range(10))
def test_all_ways_to_look_at_a_part(block: Any, look: Any) -> None:
    packet = block[BTCBlock]
    assert "Untouched" not in str(look(packet))
    assert type(packet.fields["header"]) is BTCBlockHeader
    assert bytes(packet) == bytes(block)[24:]


def test_a_copy_makes_its_own_part(block: Any) -> None:
    clone = block.copy()
    clone.header.nonce = 99
    assert block.header.nonce == 7 and clone.header.parent is clone[BTCBlock]
    again = block.copy()
    assert again.header is not block.header and again.header.nonce == 7


def test_parents_and_underlayers(block: Any) -> None:
    assert block[BTCBlock].underlayer is block
    for packet in all_packets(block[BTCBlock]):
        for name in packet.fields:
            value = packet.getfieldval(name)
            for part in value if isinstance(value, list) else [value]:
                assert not isinstance(part, Packet) or part.parent is packet
    part = BTCBlockHeader()
    owner = BTCBlock(header=part)
    assert owner.header is part and part.parent is owner


def test_bytes_that_are_no_such_part_are_sent_as_given() -> None:
    assert type(BTCBlock(header=bytes(80)).header) is BTCBlockHeader
    for odd in (b"", b"short", bytes(81)):
        packet = BTCBlock(header=odd)
        assert bytes(packet) == odd + b"\0" and packet.header == odd
        assert bytes(eval(packet.command())) == bytes(packet)
        assert packet.show(dump=True) and packet.copy() == packet


# Copies


def test_copies_are_independent(block: Any) -> None:
    wire = bytes(block)
    for clone in (block.copy(), copy.deepcopy(block), pickle.loads(pickle.dumps(block)), eval(block.command()),
                  next(iter(block.copy()))):
        assert clone == block and bytes(clone) == wire
        clone.header.nonce += 1
        clone.transactions[1].inputs[0].previous_output.index = 77
        clone.transactions[1].witness[0].items[0] = b"changed"
        del clone.transactions[0]
        assert bytes(clone) != wire
        assert bytes(block) == wire and block.header.nonce == 7 and len(block.transactions) == 2


def test_clone_with(block: Any) -> None:
    packet = block[BTCBlock]
    clone = packet.clone_with(**{**packet.fields, "header": BTCBlockHeader(nonce=8)})
    assert clone.header.nonce == 8 and packet.header.nonce == 7


def test_lists_that_are_assigned_are_copied() -> None:
    entries = [BTCInvVector(type=1)]
    one, other = BTCInv(inventory=entries), BTCInv(inventory=entries)
    one.inventory.append(BTCInvVector(type=2))
    assert len(other.inventory) == len(entries) == 1
    assert one.inventory[0] is entries[0]
    hashes = [bytes(32)]
    packet = BTCGetHeaders(locator=hashes)
    packet.locator.append(HASH)
    assert len(hashes) == 1 and bytes(packet).count(bytes.fromhex(HASH)[::-1]) == 1


# Changes


def test_without_its_cache_all_bytes_come_from_fields(block: Any) -> None:
    wire = bytes(block)
    block.clear_cache()
    found = block[BTCBlock].fields
    assert type(found["header"]) is BTCBlockHeader and len(list(found["transactions"].made())) == 2
    assert len(list(found["transactions"][1].fields["outputs"].made())) == 2
    assert all(packet.raw_packet_cache is None for packet in all_packets(block))
    assert bytes(block) == wire


def test_a_change_deep_inside(block: Any) -> None:
    """What the header says of the payload stays as it was dissected, as in Scapy; deleted it is computed."""
    before = bytes(block)
    block.transactions[1].inputs[0].sequence = 5
    block.transactions[1].inputs[2].script = b"\x51" * 9
    assert bytes(block)[16:24] == before[16:24] and len(bytes(block)) == len(before) + 9
    del block.transactions[1].inputs[2].script_length
    del block.length, block.checksum
    assert block.length is None and block.checksum is None
    again = BTC(bytes(block))
    assert again.length == len(before) - 24 + 9 and again.checksum == again.right_checksum()
    assert again.transactions[1].inputs[0].sequence == 5
    assert again.transactions[1].inputs[2].script == b"\x51" * 9


@pytest.mark.parametrize("change", [
    lambda b: setattr(b.header, "nonce", 1), lambda b: setattr(b, "header", BTCBlockHeader(nonce=1)),
    lambda b: b.transactions[0].outputs.append(BTCTxOut()), lambda b: b.transactions[1].witness[0].items.append(b"x"),
    lambda b: setattr(b.transactions[1].inputs[1].previous_output, "hash", bytes(32)),
    lambda b: b.transactions[1].witness.pop(), lambda b: setattr(b.transactions[1], "lock_time", 1),
    lambda b: delattr(b, "transactions"), lambda b: delattr(b.transactions[1], "witness"),
    lambda b: delattr(b, "header"), lambda b: setattr(b, "transactions_count", CompactSize(2, 9)),
], ids=range(11))
def test_changes_reach_the_wire(block: Any, change: Any) -> None:
    before = bytes(block)
    change(block[BTCBlock])
    changed = bytes(block)
    assert changed[:24] == before[:24] and changed != before
    assert block[BTCBlock].raw_packet_cache is None
    block.clear_cache()
    assert bytes(block) == changed


def test_changes_of_plain_values_in_lists() -> None:
    packet = BTCGetBlockTxn(bytes(BTCGetBlockTxn(indexes=[1, 2, 300])))
    packet.indexes[1] = 70_000
    assert bytes(packet)[32:] == bytes.fromhex("03 01 fe70110100 fd2c01")
    packet = BTCCmpctBlock(bytes(BTCCmpctBlock(shortids=[1, 2])))
    packet.shortids.append(2**48 - 1)
    del packet.shortids_count
    assert bytes(packet)[88:] == b"\x03" + b"".join(n.to_bytes(6, "little") for n in (1, 2, 2**48 - 1)) + b"\0"


def test_deleted_fields_have_their_defaults(block: Any) -> None:
    packet = block[BTCBlock]
    del packet.transactions
    assert packet.transactions == [] and packet.transactions_count == 2
    del packet.transactions_count
    assert bytes(packet)[80:] == b"\0"
    del packet.header
    assert bytes(packet) == bytes(BTCBlock())
    ping = BTCPing(bytes(8))
    del ping.nonce
    assert bytes(ping) == bytes(8)


# Values


@pytest.mark.parametrize(("packet", "wire"), [
    (BTCInv(inventory_count=RawVal(b"abc")), b"abc"),
    (BTCInv(inventory=RawVal(b"abc")), b"\x01abc"),
    (BTCInv(inventory=[RawVal(b"abc"), RawVal(b"d")]), b"\x02abcd"),
    (BTCBlock(header=RawVal(b"abc")), b"abc\0"),
    (BTCPing(nonce=RawVal(b"abc")), b"abc"),
    (BTCTxOut(script=RawVal(b"abc")), bytes(8) + b"\x03abc"),
    (BTCTxOut(value=RawVal(b""), script_length=RawVal(b"\xfd")), b"\xfd"),
    (BTCGetHeaders(locator=RawVal(b"x"), version=RawVal(b"")), b"\x01x" + bytes(32)),
    (BTCGetHeaders(stop=RawVal(b"")), (70016).to_bytes(4, "little") + b"\0"),
    (BTCTx(inputs=[BTCTxIn()], witness=RawVal(b"w"), marker=0, flag=1),
     b"\2\0\0\0\0\1\1" + bytes(BTCTxIn()) + b"\0w" + bytes(4)),
], ids=lambda x: x.command() if isinstance(x, Packet) else "")
def test_raw_values(packet: Packet, wire: bytes) -> None:
    assert bytes(packet) == wire
    assert packet.show(dump=True) and bytes(packet.copy()) == wire


@pytest.mark.parametrize(("packet", "wire"), [
    (BTCInv(inventory_count=7), b"\x07"),
    (BTCInv(inventory_count=CompactSize(1, 5), inventory=[BTCInvVector()]), b"\xfe\1\0\0\0" + bytes(BTCInvVector())),
    (BTCInv(inventory_count=CompactSize(0, 9)), b"\xff" + bytes(8)),
    (BTCTxOut(script_length=2, script=b"12345"), bytes(8) + b"\x02" + b"12345"),
    (BTCTxWitness(items=[LongBytes(b"a", 3), b"b"]), b"\x02\xfd\x01\0a\x01b"),
    (BTCTxWitness(items=[LongBytes(b"", 9)]), b"\x01\xff" + bytes(8)),
    (BTCOutPoint(hash=b"short"), b"short" + bytes(4)),
    (BTCNetAddr(ip=b"four", port=1), bytes(8) + b"four\0\1"),
    (BTCGetHeaders(version=0, locator=[b"x", HASH]), bytes(4) + b"\x02x" + bytes.fromhex(HASH)[::-1] + bytes(32)),
    (BTCTx(version=0, marker=9, flag=0), b"\0\0\0\0\x09\0\0\0" + bytes(4)),
    (BTCVersion(timestamp=-1)[BTCVersion].receiver_address, bytes(26)),
    (BTCPing(nonce=None), b""),
    (BTCInv(inventory=None), b"\0"), (BTCInv(inventory=[]), b"\0"), (BTCInv(inventory=()), b"\0"),
    (BTCInv(inventory=BTCInvVector()), b"\x01" + bytes(BTCInvVector())),
    (BTCHeaders(headers=[BTCHeadersEntry(transaction_count=5)]), b"\x01" + bytes(BTCBlockHeader()) + b"\x05"),
    (BTCBlock(header=None), bytes(BTCBlockHeader()) + b"\0"),
], ids=lambda x: x.command() if isinstance(x, Packet) else "")
def test_what_is_given_is_sent_however_wrong(packet: Packet, wire: bytes) -> None:
    assert bytes(packet) == wire
    assert bytes(packet.copy()) == wire and bytes(next(iter(packet))) == wire
    assert bytes(eval(packet.command())) == wire
    assert packet.show(dump=True) and repr(packet)


@pytest.mark.parametrize("wire", [
    b"\xfe\1\0\0\0" + bytes(36), b"\xfd\0\0", b"\xff\2" + bytes(7) + bytes(72)])
def test_longer_forms_of_a_count_are_remembered(wire: bytes) -> None:
    packet = BTCInv(wire)
    assert packet.inventory_count.width in (3, 5, 9)
    packet.clear_cache()
    assert bytes(packet) == wire and bytes(eval(packet.command())) == wire


def test_longer_forms_in_a_witness_are_remembered() -> None:
    wire = b"\xfd\x02\0\xfe\x01\0\0\0a\x01b"
    packet = BTCTxWitness(wire)
    assert packet.items == [b"a", b"b"] and packet.items[0].width == 5
    for again in (packet.copy(), pickle.loads(pickle.dumps(packet)), eval(packet.command())):
        again.clear_cache()
        assert bytes(again) == wire


def test_a_value_that_cannot_be_built_names_its_field() -> None:
    with pytest.raises(ValueError, match=r"while building BTCPing\.nonce"):
        bytes(BTCPing(nonce="text"))
    with pytest.raises(FormatError, match=r"while building BTCInv\.inventory_count: .* not -1"):
        bytes(BTC() / BTCInv(inventory_count=-1))
    with pytest.raises(FormatError, match="64 hex digits"):
        BTCOutPoint(hash="abcd")
    for wrong in (5, "text", 1.5):
        with pytest.raises(TypeError, match="header is a BTCBlockHeader or its bytes, not"):
            BTCBlock(header=wrong)
        with pytest.raises(TypeError, match="an element of inventory is a packet or its bytes, not"):
            BTCInv(inventory=[wrong])
    with pytest.raises(AttributeError):
        BTCInv(nonsense=1)
    with pytest.raises(AttributeError):
        _ = BTCInv().nonsense


def test_optional_fields() -> None:
    assert bytes(BTCPing()) == bytes(8) and bytes(BTCPing(nonce=None)) == b""
    assert BTC(bytes(BTC() / BTCPing(nonce=None))).nonce is None
    short = BTCVersion(sender_address=None, nonce=None, user_agent_length=None, user_agent=None, start_height=None,
                       relay=None)
    assert len(bytes(short)) == 46
    packet = BTCVersion(bytes(short))
    assert packet.relay is None and packet.sender_address is None and packet.user_agent is None
    packet.clear_cache()
    assert bytes(packet) == bytes(short)
    assert "relay" not in packet.show(dump=True)
    packet.relay = 1
    assert bytes(packet) == bytes(short) + b"\1"


def test_witness_makes_the_extended_form() -> None:
    plain = BTCTx(inputs=[BTCTxIn()], outputs=[BTCTxOut()])
    assert plain.witness is not None and bytes(plain)[4:5] == b"\x01" and plain.txid == plain.wtxid
    extended = BTCTx(inputs=[BTCTxIn()], outputs=[BTCTxOut()], witness=[[b"x"]])
    assert bytes(extended)[4:6] == b"\0\1" and bytes(extended).endswith(b"\x01\x01x\0\0\0\0")
    assert extended.txid == plain.txid and extended.wtxid != extended.txid
    extended.witness.clear()
    assert bytes(extended) == bytes(plain)
    plain.witness.append(BTCTxWitness(items=[b"x"]))
    assert plain.wtxid != plain.txid


def test_from_wire_is_what_the_constructor_makes(block: Any) -> None:
    for packet in list(all_packets(block[BTCBlock])):
        wire = bytes(packet)
        made, stock = type(packet).from_wire(wire, block), type(packet)(wire, _internal=1, _parent=block)
        assert made == stock and made.fields.keys() == stock.fields.keys()
        for name in Packet.__slots__:
            assert hasattr(made, name) == hasattr(stock, name)
            if hasattr(made, name) and name not in ("fields", "raw_packet_cache_fields", "parent", "payload"):
                assert getattr(made, name) == getattr(stock, name), name
        for name in ("default_fields", "overloaded_fields", "post_transforms", "fields"):
            assert getattr(made, name) is not getattr(type(packet).from_wire(wire), name)
        assert made.parent is block
    with pytest.raises(FormatError, match="cut short in index at byte 32 of 33"):
        BTCOutPoint.from_wire(bytes(33))


# Searching


def test_layers_inside(block: Any) -> None:
    assert BTCBlock in block and BTCTxOut in block and BTCOutPoint in block and "BTCTxIn" in block
    assert block[BTCTxOut:2].value == 6 and block[BTCTxIn:3].previous_output.index == 2
    assert block.getlayer(BTCTxOut, value=6).script == b"\x52" * 30
    assert block.getlayer("BTC output").value == 5
    assert BTCAddr not in block and BTCPing not in block and block.getlayer(BTCPing) is None
    assert block.haslayer(BTCPacket, _subclass=True) and block.getlayer(BTCMessage, 2, _subclass=True) is not None
    assert block.getlayer(0) is block and block.getlayer(1) is block.payload
    assert [type(p) for p in block.iterpayloads()] == [BTC, BTCBlock]
    with pytest.raises(IndexError, match="BTCPing"):
        block[BTCPing]


def test_layers_of_other_classes_in_a_list() -> None:
    packet = BTC() / BTCInv(inventory=[BTCInvVector(), Raw(b"1"), Raw(b"2")]) / BTCTrailing(b"end")
    assert packet[Raw].load == b"1" and packet[Raw:2].load == b"2" and packet.getlayer(Raw, 3) is None
    assert packet[BTCTrailing].load == b"end"


# Registering


def test_a_message_that_a_user_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_messages", dict(registry._messages))

    class BTCGreeting(BTCMessage):
        """Says hello."""

        name = "greeting"
        msgtype = "greeting"
        fields_desc = [BTCNetAddr]
        answered_by = ("greeting",)

    assert lookup("greeting") is BTCGreeting and BTCGreeting in list(messages())
    packet = BTC(bytes(BTC() / BTCGreeting(ip="10.0.0.1", port=5)))
    assert packet[BTCGreeting].ip == "10.0.0.1" and packet.answers(packet)
    assert packet.summary() == "BTC / greeting"


def test_old_and_new_addresses() -> None:
    new = BTCAddr(bytes.fromhex("01") + bytes(30))
    assert new.addresses[0].timestamp == 0
    old = BTCAddr(bytes.fromhex("01") + bytes(BTCNetAddr(ip="10.0.0.1", port=8333)))
    assert type(old.addresses[0]) is BTCNetAddr and old.addresses[0].ip == "10.0.0.1"
    assert BTCAddr.plan.record(bytes(old), 0, 27)[0]["addresses"] == [{"services": 0, "ip": "10.0.0.1", "port": 8333}]
    assert old.summary() == "addr 1 address: 10.0.0.1:8333"
    assert bytes(eval(old.command(), {**globals(), "BTCNetAddr": BTCNetAddr})) == bytes(old)
    assert BTCAddr(b"\0").addresses == [] and BTCAddrV2(b"\0").addresses == []
    empty = BTCAddr(b"\0")
    empty.addresses.append(bytes(30))
    assert type(empty.addresses[0]) is BTCTimedNetAddr


# Sets of packets, Scapy's way


@pytest.mark.parametrize(("packets", "wires"), [
    (BTCPing(nonce=[1, 2]), [b"\1" + bytes(7), b"\2" + bytes(7)]),
    (BTCPing(nonce=(1, 3)), [bytes([n]) + bytes(7) for n in (1, 2, 3)]),
    (BTCOutPoint(hash=[HASH, bytes(32)], index=(0, 1)),
     [h + bytes([n]) + bytes(3) for n in (0, 1) for h in (bytes.fromhex(HASH)[::-1], bytes(32))]),
    (BTCNetAddr(ip=["10.0.0.1", "::"]), [bytes(18) + b"\xff\xff\n\0\0\1\0\0", bytes(26)]),
    (BTCTxOut(script=["a", b"bc"]), [bytes(8) + b"\1a", bytes(8) + b"\2bc"]),
    (BTCInv(inventory_count=[None, 7], inventory=[BTCInvVector()] * 2),
     [bytes([n]) + bytes(BTCInvVector()) * 2 for n in (2, 7)]),
    (BTCBlock(header=BTCBlockHeader(nonce=[1, 2])), [bytes(BTCBlockHeader(nonce=n)) + b"\0" for n in (1, 2)]),
], ids=lambda x: type(x).__name__)
def test_a_packet_can_stand_for_many(packets: Packet, wires: list[bytes]) -> None:
    assert [bytes(packet) for packet in packets] == wires
    framed = list(BTC(msgtype="x") / packets)
    assert [bytes(packet)[24:] for packet in framed] == wires
    assert [BTC(bytes(packet)).right_checksum() == bytes(packet)[20:24] for packet in framed] == [True] * len(wires)


def test_hiding_defaults() -> None:
    packet = BTCBlock(header=BTCBlockHeader(), transactions=[])
    packet.header.hide_defaults()
    packet.hide_defaults()
    assert bytes(packet) == bytes(BTCBlock())
    ping = BTCPing(nonce=0)
    ping.hide_defaults()
    assert ping.fields == {} and bytes(ping) == bytes(8)
