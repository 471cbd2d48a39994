# SPDX-License-Identifier: GPL-2.0-or-later
"""The functions compiled from a declaration agree with each other, with the packet, and with the end of the bytes."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.fields import (
    ByteField,
    ConditionalField,
    IEEEFloatField,
    IntField,
    IPField,
    LEIntField,
    LELongField,
    LEShortField,
    LESignedIntField,
    LongField,
    ShortField,
    SignedIntField,
    SignedShortField,
    StrFixedLenField,
)
from scapy.packet import Packet

from scapy_btc.errors import FormatError
from scapy_btc.layers.fields import (
    CompactSizeField,
    FixedBytesField,
    HashField,
    OptionalField,
    RestField,
    TailField,
    TextField,
)
from scapy_btc.layers.listfield import TO_END
from scapy_btc.layers.lists import ListView
from scapy_btc.layers.packet import BTCPacket
from scapy_btc.layers.parts import BoundedPartField, OldPartListField, PartField, PartListField
from scapy_btc.layers.plan import BROKEN, source_of
from scapy_btc.layers.registry import messages
from scapy_btc.layers.values import BytesListField, CompactSizeListField, HashListField, IntListField, TextListField
from scapy_btc.messages import catalogue
from scapy_btc.messages.addresses import BTCAddr
from scapy_btc.messages.blocks import BTCBlock, BTCCmpctBlock
from scapy_btc.messages.inventory import BTCGetHeaders, BTCInv
from scapy_btc.messages.parts import BTCInvVector
from scapy_btc.messages.transactions import BTCTx, BTCTxIn, BTCTxOut
from scapy_btc.wire import compactsize

assert catalogue  # imports every message
MESSAGES = list(messages())


class Point(BTCPacket):
    """Five bytes."""

    fields_desc = [ByteField("x", 0), LESignedIntField("y", 0)]


class OldPoint(BTCPacket):
    """Two bytes."""

    fields_desc = [ShortField("x", 0)]


class Named(BTCPacket):
    """A text with its length."""

    fields_desc = [CompactSizeField("word_length", None, length_of="word"), TextField("word", b"")]


class Everything(BTCPacket):
    """Every kind of field in every order that matters."""

    fields_desc = [
        ByteField("kind", 0),
        ShortField("port", 0),
        LEShortField("little", 0),
        IntField("big", 0),
        SignedIntField("negative", 0),
        LongField("long", 0),
        SignedShortField("small", 0),
        OptionalField(LELongField("extra", None), "kind & 1"),
        OptionalField(LELongField("more", None), "extra is not None and extra > 5"),
        HashField("hash"),
        FixedBytesField("fixed", bytes(3), 3),
        PartField("point", Point),
        CompactSizeField("points_count", None, count_of="points", limit=3),
        PartListField("points", Point),
        CompactSizeField("names_count", None, count_of="names"),
        PartListField("names", Named),
        CompactSizeField("hashes_count", None, count_of="hashes"),
        HashListField("hashes"),
        IntListField("numbers", 3, count="hashes_count", signed=True),
        CompactSizeField("stack_count", None, count_of="stack"),
        BytesListField("stack"),
        TextListField("texts", count="stack_count"),
        CompactSizeListField("sizes", count="stack_count"),
        CompactSizeField("inner_length", None, length_of="inner"),
        BoundedPartField("inner", Named),
        CompactSizeField("old_count", None, count_of="old"),
        OptionalField(OldPartListField("old", Point, old=OldPoint), "kind & 2"),
        OptionalField(PartListField("late", Named, count="old_count"), "kind & 4"),
        TailField(ByteField("tail", 7)),
        RestField("rest", b""),
    ]


class Bounded(BTCPacket):
    """A part that may be bytes of any number, though its class has a size and its length has one."""

    fields_desc = [LEShortField("point_length", 0), BoundedPartField("point", Point)]


class BoundedList(BTCPacket):
    fields_desc = [ByteField("count", 0), PartListField("parts", Bounded, count="count")]


class ToTheEnd(BTCPacket):
    """Lists without a count."""

    fields_desc = [ByteField("kind", 0), PartListField("points", Point, count=TO_END)]


class NamesToTheEnd(BTCPacket):
    fields_desc = [PartListField("names", Named, count=TO_END)]


sizes = st.integers(0, 2**64 - 1) | st.integers(0, 300)
blobs = st.binary(max_size=5)
points = st.builds(Point, x=st.integers(0, 255), y=st.integers(-2**31, 2**31 - 1))
names = st.builds(Named, word=blobs | st.just(b"n" * 260))


@st.composite
def everything(draw: st.DrawFn) -> Everything:
    kind = draw(st.integers(0, 7))
    extra = draw(st.integers(0, 2**64 - 1) | st.integers(0, 10)) if kind & 1 else None
    hashes = draw(st.lists(st.binary(min_size=32, max_size=32), max_size=3))
    stack = draw(st.lists(blobs, max_size=3))
    old = draw(st.lists(points, max_size=3))
    late = draw(st.lists(names, min_size=len(old), max_size=len(old)))
    return Everything(
        kind=kind, port=draw(st.integers(0, 2**16 - 1)), little=draw(st.integers(0, 2**16 - 1)),
        big=draw(st.integers(0, 2**32 - 1)), negative=draw(st.integers(-2**31, 2**31 - 1)),
        long=draw(st.integers(0, 2**64 - 1)), small=draw(st.integers(-2**15, 2**15 - 1)),
        extra=extra, more=draw(st.integers(0, 2**64 - 1)) if extra is not None and extra > 5 else None,
        hash=draw(st.binary(min_size=32, max_size=32)), fixed=draw(st.binary(min_size=3, max_size=3)),
        point=draw(points), points=draw(st.lists(points, max_size=4)), names=draw(st.lists(names, max_size=3)),
        hashes=hashes, numbers=[draw(st.integers(-2**23, 2**23 - 1)) for _ in hashes],
        stack=stack, texts=draw(st.lists(st.text(max_size=3), min_size=len(stack), max_size=len(stack))),
        sizes=draw(st.lists(sizes, min_size=len(stack), max_size=len(stack))), inner=draw(names),
        old_count=len(old) if kind & 6 else 0, old=old if kind & 2 else None, late=late if kind & 4 else None,
        tail=draw(st.integers(0, 255)), rest=draw(blobs))


def plain(value: Any) -> Any:
    """A record whose lists are all read."""
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    return list(map(plain, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value


def agree(cls: type[BTCPacket], wire: bytes) -> bool:
    """All functions of a class say the same of some bytes; whether these are a whole one."""
    plan, size = cls.plan, len(wire)
    results = {}
    modes = {"end": ([],), "starts": (), "record": (), "trace": ({}, ["", 0]), "load": (cls(),)}
    for mode, arguments in modes.items():
        try:
            results[mode] = getattr(plan, mode)(wire, 0, size, *arguments)
        except BROKEN:
            results[mode] = None
    assert len({result is None for result in results.values()}) == 1, results
    if results["end"] is None:
        error, readable = plan.failure(wire, 0, size)
        assert type(error) is FormatError and 0 <= error.offset <= size
        assert error.field in [f.name for f in cls.fields_desc]
        assert "cut short" in str(error) or error.field in str(error)
        names = [f.name for f in cls.fields_desc]
        assert list(readable) == [name for name in names[:names.index(error.field) + 1] if name in readable]
        for mode, arguments in modes.items():  # what follows the end must not be taken for more of it
            with pytest.raises(BROKEN):
                getattr(plan, mode)(wire + bytes(300), 0, size, *arguments)
        return False
    end, starts, (record, p) = results["end"], results["starts"], results["record"]
    assert end <= size and starts[-1] == p == end and results["load"][1] == end
    assert starts[0] == 0 or len(starts) == 1
    assert list(starts) == sorted(starts)
    assert results["trace"] == (record, end) or cls.record_as
    view, _ = plan.view(wire, 0, size)
    assert plain(view) == record
    packet = cls.from_wire(wire[:end])
    packet.clear_cache()
    assert bytes(packet) == wire[:end]
    # the same in the middle of a larger buffer
    if end == size:
        around = b"\xff\0" + wire + b"\1\0\xff"
        assert plan.end(around, 2, size + 2, []) == size + 2
        assert plan.record(around, 2, size + 2) == (record, size + 2)
    return True


@given(everything())
@example(Everything())
@settings(max_examples=300, deadline=None)
def test_every_kind_of_field(packet: Everything) -> None:
    wire = bytes(packet)
    assert agree(Everything, wire)
    again = Everything(wire)
    record = Everything.plan.record(wire, 0, len(wire))[0]
    for name in ("kind", "port", "little", "big", "negative", "long", "small", "extra", "more", "tail"):
        assert again.getfieldval(name) == packet.getfieldval(name) == record.get(name)
    assert again.points == packet.points and again.sizes == packet.sizes == record["sizes"]
    assert again.numbers == packet.numbers == record["numbers"]
    assert record["stack"] == [item.hex() for item in packet.stack]
    assert record["texts"] == [text.decode() for text in packet.texts]
    assert record["rest"] == packet.rest.hex()
    expected = struct.pack(">BH", packet.kind, packet.port) + struct.pack("<H", packet.little)
    expected += struct.pack(">IiQh", packet.big, packet.negative, packet.long, packet.small)
    assert wire.startswith(expected)


@given(everything(), st.data())
@settings(max_examples=300, deadline=None)
def test_every_cut_and_every_flip(packet: Everything, data: st.DataObject) -> None:
    wire = bytes(packet)
    cut = data.draw(st.integers(0, len(wire) - 1))
    agree(Everything, wire[:cut])
    flipped = bytearray(wire)
    flipped[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.sampled_from([0, 1, 252, 253, 254, 255]))
    agree(Everything, bytes(flipped))


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_every_message_at_every_cut(cls: type[BTCPacket]) -> None:
    wire = bytes(cls())
    assert agree(cls, wire)
    agree(cls, wire + b"trailing")
    for end in range(len(wire)):
        agree(cls, wire[:end])
    chance = random.Random(cls.__name__)
    for _ in range(50):
        start = wire[:chance.randrange(len(wire) + 1)]
        agree(cls, start + bytes(chance.choices([0, 1, 2, 253, 254, 255, 80], k=chance.randrange(120))))


@given(st.lists(points, max_size=4), blobs)
def test_lists_to_the_end(values: list[Point], rest: bytes) -> None:
    wire = bytes(ToTheEnd(points=values))
    assert len(wire) == 1 + 5 * len(values)
    assert agree(ToTheEnd, wire + rest[:4])
    assert ToTheEnd(wire).points == values
    texts = bytes(NamesToTheEnd(names=[Named(word=rest), Named(word=rest)]))
    assert agree(NamesToTheEnd, texts)
    assert [v.word for v in NamesToTheEnd(texts).names] == [rest, rest]
    assert not agree(NamesToTheEnd, texts + b"\x01")


def test_a_bounded_part_has_no_size() -> None:
    wire = b"\2" + b"\5\0" + bytes(5) + b"\3\0abc"
    assert agree(BoundedList, wire)
    packet = BoundedList(wire)
    assert packet.parts[0].point == Point() and packet.parts[1].point == b"abc"
    assert not agree(BoundedList, wire[:-1])


def test_old_form_of_a_list() -> None:
    new, old = Everything(kind=2, old_count=2, tail=None), bytes(OldPoint(x=258)) * 2
    head = bytes(new)
    record = Everything.plan.record(head + old, 0, len(head) + 4)[0]
    assert record["old"] == [{"x": 258}, {"x": 258}] and "tail" not in record
    packet = Everything(head + old)
    assert [type(v) for v in packet.old] == [OldPoint] * 2 and packet.tail is None
    packet = Everything(head + bytes(10))
    assert [type(v) for v in packet.old] == [Point] * 2
    assert agree(Everything, head + old) and agree(Everything, head + bytes(10))


# What a careful reader would want to be told


def test_notes() -> None:
    def notes(cls: type[BTCPacket], wire: bytes) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        cls.plan.end(wire, 0, len(wire), found)
        return found

    assert notes(BTCInv, b"\xfd\1\0" + bytes(36)) == [("non-minimal-size", "inventory_count")]
    assert notes(BTCInv, b"\xfd\xfd\0" + bytes(36 * 253)) == []
    over = compactsize.encode(50_001)
    assert notes(BTCInv, over + bytes(36 * 50_001)) == [("over-limit", "inventory_count")]
    assert notes(BTCInv, compactsize.encode(50_000) + bytes(36 * 50_000)) == []
    tx = bytes(BTCTx(inputs=[BTCTxIn(script_length=compactsize.CompactSize(0, 3))],
                     outputs=[BTCTxOut()], witness=[[b"x"]]))
    assert notes(BTCTx, tx) == [("non-minimal-size", "script_length")]
    assert notes(BTCTx, tx[:-6] + b"\xfd\1\0" + tx[-5:])[1:] == [("non-minimal-size", "items")]
    assert notes(BTCGetHeaders, bytes(4) + b"\x66" + bytes(32 * 103)) == [("over-limit", "locator_count")]


# Cost


def test_an_element_takes_at_least_a_byte() -> None:
    """Or a count could make a loop that reads nothing."""
    todo: list[Any] = [*MESSAGES, Everything]
    seen = []
    for cls in todo:
        for f in cls.fields_desc:
            part = getattr(f, "cls", None)
            if part and part not in todo:
                todo.append(part)
            if part and getattr(f, "islist", 0):
                seen.append(f)
                with pytest.raises(BROKEN):
                    part.plan.end(b"", 0, 0, [])
    assert len(seen) > 20


@pytest.mark.parametrize("wire", [
    b"\xff" * 9, b"\xff" * 8 + b"\x7f", b"\xfe\xff\xff\xff\x7f" + bytes(1000), b"\xfe\xff\xff\xff\x7f" + b"\1" * 1000])
@pytest.mark.parametrize("cls", [*MESSAGES, Everything], ids=lambda cls: cls.__name__)
def test_a_lying_count_costs_no_more_than_the_bytes(cls: type[BTCPacket], wire: bytes) -> None:
    start = time.process_time()
    for before in (0, 4, 36, 80, 88):
        agree(cls, bytes(before) + wire)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(("cls", "unit"), [
    (BTCInv, lambda n: compactsize.encode(n) + bytes(36 * n)),
    (BTCAddr, lambda n: compactsize.encode(n) + bytes(30 * n)),
    (BTCGetHeaders, lambda n: bytes(4) + compactsize.encode(n) + bytes(32 * n + 32)),
    (BTCCmpctBlock, lambda n: bytes(88) + compactsize.encode(n) + bytes(6 * n) + b"\0"),
    (BTCBlock, lambda n: bytes(80) + compactsize.encode(n) + bytes(BTCTx(inputs=[BTCTxIn()])) * n),
    (BTCTx, lambda n: bytes(BTCTx(inputs=[BTCTxIn()], witness=[[b""] * n]))),
    (BTCTx, lambda n: bytes(BTCTx(inputs=[BTCTxIn()] * n, outputs=[BTCTxOut()] * n))),
])
def test_time_is_linear(cls: type[BTCPacket], unit: Any) -> None:
    def seconds(n: int) -> float:
        wire = unit(n)
        best = 10.0
        for _ in range(3):
            start = time.process_time()
            packet = cls(wire)
            cls.plan.record(wire, 0, len(wire))
            for f in cls.fields_desc:
                value = packet.getfieldval(f.name)
                if isinstance(value, list) and value:
                    bytes(value[0]) if isinstance(value[0], Packet) else None
            assert bytes(packet) == wire
            best = min(best, time.process_time() - start)
        return best

    seconds(100)
    assert seconds(16_000) < 16 * 5 * max(seconds(1000), 1e-4)


# Views


def test_list_view() -> None:
    wire = bytes(BTCTx(inputs=[BTCTxIn()], outputs=[BTCTxOut(value=n, script=bytes(n)) for n in range(5)]))
    view = BTCTx.plan.view(wire, 0, len(wire))[0]["outputs"]
    assert type(view) is ListView and len(view) == 5
    values = [output["value"] for output in view]
    assert values == list(range(5)) and view[3]["value"] == 3 and view[-1]["script"] == "00" * 4
    assert [output["value"] for output in view[1::2]] == [1, 3]
    with pytest.raises(IndexError):
        view[5]
    fixed = BTCInv(bytes(BTCInv(inventory=[BTCInvVector(type=n) for n in range(4)])))
    inventory = BTCInv.plan.view(bytes(fixed), 0, 145)[0]["inventory"]
    assert [v["type"] for v in inventory] == [inventory[n]["type"] for n in range(4)] == [0, 1, 2, 3]


# Declarations that cannot work


@pytest.mark.parametrize("field", [IPField("ip", "0.0.0.0"), StrFixedLenField("text", b"", 4), IEEEFloatField("f", 0),
                                   ConditionalField(ByteField("x", 0), lambda pkt: True)],
                         ids=lambda f: type(f).__name__)
def test_a_field_that_cannot_be_compiled_says_so(field: Any) -> None:
    with pytest.raises(TypeError, match=rf"Odd\.{field.name}: a {type(field).__name__} cannot be read by a BTCPacket"):
        class Odd(BTCPacket):
            fields_desc = [LEIntField("n", 0), field]


def test_the_fields_of_this_package_belong_to_its_packets() -> None:
    class Stock(Packet):
        fields_desc = [CompactSizeField("n", 0)]

    with pytest.raises(TypeError, match="CompactSizeField 'n' can only be read as a field of a BTCPacket"):
        Stock(b"\x05")


def test_source_is_what_one_would_write() -> None:
    assert source_of(Named, "end", {}) == """\
def end(b, p, e, notes):
    n1 = b[p]
    if n1 < 253: p += 1
    else: n1, p = wide(b, p, notes, 'word_length')
    p += n1
    if p > e: raise FormatError('cut short')
    return p
"""
