# SPDX-License-Identifier: GPL-2.0-or-later
"""A lazy list is a list: compared with plain ones in every way that lists are used."""

from __future__ import annotations

import copy
import json
import pickle
import random
from collections.abc import Callable
from operator import add, ge, le
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scapy.fields import LEIntField, RawVal
from scapy.packet import Packet, Raw, fuzz

from scapy_btc.layers.envelope import BTC
from scapy_btc.layers.listfield import SHOWN
from scapy_btc.layers.lists import LazyList, raws
from scapy_btc.layers.packet import BTCPacket
from scapy_btc.layers.parts import PartListField
from scapy_btc.messages.inventory import BTCInv
from scapy_btc.messages.parts import BTCInvVector
from scapy_btc.messages.transactions import BTCTx, BTCTxIn, BTCTxOut
from scapy_btc.wire import compactsize


def vector(n: int) -> BTCInvVector:
    return BTCInvVector(type=n % 7, hash=bytes([n]) * 32)


def output(n: int) -> BTCTxOut:
    return BTCTxOut(value=n, script=bytes(n))


def inv(*numbers: int) -> BTCInv:
    """An `inv` from the wire: nothing of it is touched."""
    return BTCInv(bytes(BTCInv(inventory=[vector(n) for n in numbers])))


def tx(*numbers: int) -> BTCTx:
    """A `tx` from the wire, with outputs of different sizes."""
    return BTCTx(bytes(BTCTx(inputs=[BTCTxIn()], outputs=[output(n) for n in numbers])))


def untouched(values: LazyList) -> int:
    """How many elements are no Packets yet."""
    return len(values) - len(list(values.made()))


LOOKS: list[Callable[[Any], Any]] = [
    list, tuple, len, bool, repr, str, hash, set, json.dumps, dict.fromkeys, "".join, copy.copy, copy.deepcopy,
    lambda v: [*v], lambda v: list(iter(v)), lambda v: list(reversed(v)), lambda v: (lambda *args: args)(*v),
    lambda v: sorted(v, key=bytes), lambda v: sorted(v), lambda v: min(v, key=bytes), lambda v: max(v, key=bytes),
    lambda v: dict(enumerate(v)), lambda v: list(zip(v, v, strict=True)), lambda v: [*map(bytes, v)],
    lambda v: random.Random(1).sample(v, len(v)), lambda v: pickle.loads(pickle.dumps(v)), lambda v: v.copy(),
    lambda v: add(v, []), lambda v: v + v, lambda v: add(v, [Raw(b"x")]), lambda v: add(v, ()), lambda v: v[1:2] + v,
    lambda v: add([], v), lambda v: add((), v), lambda v: v * 2, lambda v: 2 * v, lambda v: v * "x",
    lambda v: v == v[:], lambda v: v == list(v), lambda v: list(v) == v, lambda v: v == tuple(v), lambda v: v == 1,
    lambda v: v != v[:], lambda v: v != list(v), lambda v: v != v[:-1], lambda v: v[:-1] != v, lambda v: v != (),
    lambda v: v < v[:-1], lambda v: v < [*v, Raw()], lambda v: v <= list(v), lambda v: le([], v), lambda v: v <= [],
    lambda v: v > v[:-1], lambda v: v > [*v, Raw()], lambda v: v >= list(v), lambda v: ge([], v), lambda v: v >= [],
    lambda v: v > 1, lambda v: v < (), lambda v: v < [Raw()], lambda v: v > [Raw()],
    lambda v: (type(v[-1])(bytes(v[-1])) in v, Raw() in v), lambda v: v.count(type(v[0])(bytes(v[0]))),
    lambda v: v.index(type(v[-1])(bytes(v[-1]))), lambda v: v.index(Raw()), lambda v: v.count(Raw()),
]
"""What does not change a list."""


class Both(RuleBasedStateMachine):
    """A lazy list and a plain one that undergo the same."""

    packet: Any
    field: str
    element: Callable[[int], Any]

    numbers = st.integers(0, 12)
    places = st.integers(-12, 12)
    slices = st.builds(slice, *[st.none() | st.integers(-12, 12)] * 2, st.none() | st.integers(-4, 4))

    @initialize(start=st.lists(numbers, max_size=8), outputs=st.booleans())
    def begin(self, start: list[int], outputs: bool) -> None:
        self.element = output if outputs else vector
        self.field = "outputs" if outputs else "inventory"
        self.packet = tx(*start) if outputs else inv(*start)
        cls = BTCTxOut if outputs else BTCInvVector
        self.plain: list[Any] = [cls(bytes(self.element(n))) for n in start]
        assert type(self.lazy) is LazyList

    @property
    def lazy(self) -> Any:
        return getattr(self.packet, self.field)

    def same(self, work: Callable[[Any], Any]) -> None:
        """Do something to both; results and errors must be the same."""
        assert outcome(work, self.lazy) == outcome(work, self.plain)

    @rule(i=places)
    def index_(self, i: int) -> None:
        self.same(lambda v: v[i])

    @rule(s=slices)
    def slice_(self, s: slice) -> None:
        self.same(lambda v: v[s])

    @rule(look=st.sampled_from(LOOKS))
    def look(self, look: Callable[[Any], Any]) -> None:
        self.same(look)

    @rule()
    def send_and_dissect(self) -> None:
        """From here on all is untouched again."""
        delattr(self.packet, f"{self.field}_count")
        self.packet = type(self.packet)(bytes(self.packet))
        self.plain = [type(v)(bytes(v)) for v in self.plain]
        assert untouched(self.lazy) == len(self.plain)

    @rule(n=numbers, absent=st.booleans())
    def search(self, n: int, absent: bool) -> None:
        x = Raw(b"absent") if absent else type(self.element(n))(bytes(self.element(n)))
        self.same(lambda v: (x in v, v.count(x)))
        self.same(lambda v: v.index(x))
        self.same(lambda v: v.index(x, 1, 5))

    @rule(n=numbers)
    def append(self, n: int) -> None:
        new = self.element(n)
        self.same(lambda v: v.append(new))

    @rule(ns=st.lists(numbers, max_size=3), lazy=st.booleans())
    def extend(self, ns: list[int], lazy: bool) -> None:
        new = getattr(tx(*ns) if self.field == "outputs" else inv(*ns), self.field)
        self.same(lambda v: v.extend(new if lazy else iter(list(new))))

    @rule(i=places, n=numbers)
    def insert(self, i: int, n: int) -> None:
        new = self.element(n)
        self.same(lambda v: v.insert(i, new))

    @rule(i=st.none() | places)
    def pop(self, i: int | None) -> None:
        self.same(lambda v: v.pop() if i is None else v.pop(i))

    @rule(n=numbers)
    def remove(self, n: int) -> None:
        x = type(self.element(n))(bytes(self.element(n)))
        self.same(lambda v: v.remove(x))

    @rule(i=places | slices)
    def delete(self, i: Any) -> None:
        self.same(lambda v: v.__delitem__(i))

    @rule(i=places, n=numbers)
    def assign(self, i: int, n: int) -> None:
        new = self.element(n)
        self.same(lambda v: v.__setitem__(i, new))

    @rule(s=slices, source=slices)
    def assign_slice_of_itself(self, s: slice, source: slice) -> None:
        self.same(lambda v: v.__setitem__(s, v[source]))

    @rule(s=slices)
    def assign_itself(self, s: slice) -> None:
        if len(self.plain) < 50:
            self.same(lambda v: v.__setitem__(s, v))

    @rule(s=slices, ns=st.lists(numbers, max_size=3))
    def assign_slice(self, s: slice, ns: list[int]) -> None:
        new = [self.element(n) for n in ns]
        self.same(lambda v: v.__setitem__(s, new))

    @rule(backwards=st.booleans(), keyed=st.booleans())
    def sort(self, backwards: bool, keyed: bool) -> None:
        # without a key packets are compared by answers(): never smaller, so that they stay in place
        self.same(lambda v: v.sort(key=bytes if keyed else None, reverse=backwards))

    @rule()
    def reverse(self) -> None:
        self.same(lambda v: v.reverse())

    @rule()
    def clear(self) -> None:
        self.same(lambda v: v.clear())

    @rule(n=st.integers(-1, 3))
    def repeat(self, n: int) -> None:
        if len(self.plain) < 20:
            values = self.lazy
            values *= n
            self.plain *= n
            assert values is self.lazy

    @rule(ns=st.lists(numbers, max_size=3))
    def add_in_place(self, ns: list[int]) -> None:
        new = [self.element(n) for n in ns]
        values = self.lazy
        values += new
        self.plain += new
        assert values is self.lazy

    @rule(ns=st.lists(numbers, max_size=3))
    def add_to_a_plain_list(self, ns: list[int]) -> None:
        for values in (self.lazy, self.plain):
            plain = [self.element(n) for n in ns]
            same = plain
            plain += values
            assert same is plain and len(plain) == len(ns) + len(values)
            assert [x is y for x, y in zip(plain[len(ns):], values, strict=True)] == [True] * len(values)

    @precondition(lambda self: self.plain)
    @rule(i=places, n=numbers)
    def change_an_element(self, i: int, n: int) -> None:
        i %= len(self.plain)
        for values in (self.lazy, self.plain):
            if self.field == "outputs":
                values[i].value = n
            else:
                values[i].hash = bytes([n]) * 32

    @rule()
    def copy_the_packet(self) -> None:
        left = self.lazy
        before = list(raws(left))
        self.packet = self.packet.copy()
        self.plain = [v.copy() for v in self.plain]
        assert self.lazy is not left
        for element in self.lazy:
            assert element.parent is self.packet
            element.type = 99
            element.value = 99
        assert list(raws(left)) == before
        self.plain.clear()
        self.lazy.clear()

    @rule()
    def give_to_another_packet(self) -> None:
        # without an input a transaction looks like the extended form
        other = BTCTx(inputs=[BTCTxIn()]) if self.field == "outputs" else BTCInv()
        setattr(other, self.field, self.lazy)
        theirs = getattr(other, self.field)
        assert list(raws(theirs)) == list(raws(self.plain))
        self.lazy.append(self.element(1))
        assert len(theirs) == len(self.plain)
        self.packet, self.plain = other, [v.copy() for v in self.plain]

    @invariant()
    def bytes_are_the_same(self) -> None:
        if not hasattr(self, "plain"):
            return
        wire = b"".join(map(bytes, self.plain))
        assert b"".join(raws(self.lazy)) == wire
        built = self.packet.build()
        assert built[-4 - len(wire):-4] == wire if self.field == "outputs" else built.endswith(wire)


def outcome(work: Callable[[Any], Any], values: Any) -> Any:
    try:
        return described(work(values))
    except (IndexError, ValueError, TypeError) as error:
        return type(error)


def described(x: Any) -> Any:
    """A result without the identity of its packets."""
    if isinstance(x, Packet):
        return type(x), bytes(x)
    if isinstance(x, (list, tuple)):
        return [described(v) for v in x]
    return {k: described(v) for k, v in x.items()} if isinstance(x, dict) else x


TestBoth = Both.TestCase
TestBoth.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def own_element(v: Any, i: int) -> Any:
    """A packet like element `i`, found without touching it."""
    return BTCTxOut(list(raws(v))[i])


CHANGES: list[Callable[[Any], Any]] = [
    lambda v: v.append(output(9)), lambda v: v.insert(1, output(9)), lambda v: v.insert(-1, output(9)),
    lambda v: v.extend([output(9)]), lambda v: v.extend(v), lambda v: v.extend(7), lambda v: v.__iadd__(v),
    lambda v: v.__iadd__(iter([output(9)])), lambda v: v.__imul__(2), lambda v: v.__imul__(0),
    lambda v: v.pop(), lambda v: v.pop(0), lambda v: v.pop(9), lambda v: v.pop("x"),
    lambda v: v.remove(own_element(v, 2)), lambda v: v.remove(Raw()), lambda v: v.clear(), lambda v: v.reverse(),
    lambda v: v.sort(), lambda v: v.sort(key=bytes), lambda v: v.sort(key=bytes, reverse=True),
    lambda v: v.__delitem__(1), lambda v: v.__delitem__(slice(0, 9, 2)), lambda v: v.__delitem__(9),
    lambda v: v.__setitem__(0, output(9)), lambda v: v.__setitem__(9, output(9)),
    lambda v: v.__setitem__(slice(1, 1), v), lambda v: v.__setitem__(slice(0, 9, 2), [output(9)]),
    lambda v: v.__setitem__(slice(0, 3, 2), iter(v[2:])), lambda v: v.__setitem__(slice(0, 2), 5),
]
"""What may change a list."""


@pytest.mark.parametrize("work", LOOKS + CHANGES)
def test_the_first_use_of_a_list(work: Callable[[Any], Any]) -> None:
    lazy, plain = tx(3, 1, 2, 1).outputs, [BTCTxOut(bytes(output(n))) for n in (3, 1, 2, 1)]
    assert outcome(work, lazy) == outcome(work, plain)
    assert list(raws(lazy)) == list(raws(plain))
    assert described(lazy[:]) == described(plain)


def test_a_pickled_list_is_plain() -> None:
    """It carries neither the buffer nor the packet that it is part of."""
    values = inv(*range(200)).inventory[:1] + tx(1).outputs
    again = pickle.loads(pickle.dumps(tx(1, 2).outputs))
    assert type(again) is list and again[1].value == 2 and again[1].parent is None
    assert [bytes(v) for v in pickle.loads(pickle.dumps(values))] == [bytes(v) for v in values]


# What stays untouched


def test_reading_one_element_makes_one() -> None:
    packet = inv(*range(50))
    assert packet.inventory[-7].hash == bytes([43] * 32).hex()
    assert packet.inventory[-7] is packet.inventory[43]
    assert untouched(packet.inventory) == 49


@pytest.mark.parametrize("use", [
    len, bool, bytes, lambda v: list(raws(v)), lambda v: v.reverse(), lambda v: v.insert(3, vector(1)), copy.deepcopy,
    lambda v: v.__delitem__(slice(5, 9)), lambda v: inv(*range(50)).inventory == v, lambda v: v.owner.copy(),
    lambda v: v.owner.build(), lambda v: v.owner.summary(), lambda v: v.owner.haslayer(Raw),
])
def test_what_needs_no_packets_makes_none(use: Callable[[Any], Any]) -> None:
    packet = inv(*range(50))
    use(packet.inventory)
    assert untouched(packet.inventory) >= 46
    assert not [v for v in packet.inventory.made() if bytes(v) != bytes(vector(1))]


def test_stopping_a_loop_stops_making_elements() -> None:
    packet = inv(*range(50))
    for element in packet.inventory:
        if element.type == 3:
            break
    assert untouched(packet.inventory) == 46
    assert vector(2) not in packet.inventory[:0]
    assert packet.inventory[20] in packet.inventory
    assert untouched(packet.inventory) == 29


def test_a_loop_sees_what_it_changes() -> None:
    for values in (inv(1, 2, 3).inventory, [vector(1), vector(2), vector(3)]):
        seen = []
        for element in values:
            seen.append(element.type)
            if element.type == 1:
                values.append(vector(4))
                del values[1]
        assert seen == [1, 3, 4]


# What no subclass of list can do, and what it does instead


def test_ints_are_no_elements() -> None:
    """A plain list of packets would take them, and build them as so many zeros."""
    values = inv(1, 2).inventory
    for put in (values.append, lambda x: values.extend([x]), lambda x: values.insert(0, x),
                lambda x: values.__setitem__(0, x), lambda x: values.__setitem__(slice(0, 1), [x]),
                lambda x: values.__iadd__([x])):
        with pytest.raises(TypeError, match="an element of inventory is a packet or its bytes, not 5"):
            put(5)
    assert list(raws(values)) == [bytes(vector(1)), bytes(vector(2))]


def test_what_is_put_into_a_list_becomes_a_packet() -> None:
    for packet in (inv(1, 2), BTCInv(inventory_count=2, inventory=[vector(1), vector(2)])):
        packet.inventory[0] = b"short"
        packet.inventory.append(bytes(vector(3)))
        packet.inventory += [bytearray(b"end"), RawVal(b"raw")]
        assert bytes(packet) == b"\x02short" + bytes(vector(2)) + bytes(vector(3)) + b"endraw"
        assert [type(v) for v in packet.inventory] == [Raw, BTCInvVector, BTCInvVector, Raw, Raw]
        assert all(v.parent is packet for v in packet.inventory)
        assert bytes(packet.copy()) == bytes(packet) == bytes(eval(packet.command()))
        assert packet.show(dump=True).count("###[ Raw ]###") == 3


def test_a_witness_takes_lists_of_items() -> None:
    packet = BTCTx(inputs=[BTCTxIn()], witness=[[b"a", b"b"]])
    packet.witness.append([b"c"])
    packet.witness[0] = (b"d",)
    assert [stack.items for stack in packet.witness] == [[b"d"], [b"c"]]


def test_what_asks_no_method_sees_the_storage() -> None:
    """Known and documented: orjson and unbound methods of `list` read the storage of a subclass."""
    values = inv(1, 2).inventory
    assert orjson.dumps(values) == b"[0,1]"
    assert list.copy(values) == [0, 1]
    with pytest.raises(TypeError):
        orjson.dumps(values.copy())


# Element and packet


def test_an_element_knows_its_packet() -> None:
    packet = tx(1, 2, 3)
    assert all(element.parent is packet for element in packet.outputs)
    assert packet.inputs[0].previous_output.parent is packet.inputs[0]
    other = BTCTx(outputs=packet.outputs)
    assert [v.parent for v in packet.outputs] == [packet] * 3
    assert [v.parent for v in other.outputs] == [other] * 3


def test_assigning_a_list_to_its_own_packet_keeps_it() -> None:
    packet = tx(1, 2)
    values = packet.outputs
    packet.outputs += [output(3)]
    assert packet.outputs is values and len(packet.outputs) == 3


def test_a_slice_shares_its_elements() -> None:
    packet = tx(1, 2, 3)
    other = BTCTx(outputs=packet.outputs[1:])
    other.outputs[0].value = 77
    assert packet.outputs[1].value == 77


@given(st.lists(st.integers(0, 40), max_size=6), st.data())
@settings(max_examples=50, deadline=None)
def test_a_change_deep_inside_is_built(values: list[int], data: st.DataObject) -> None:
    packet = BTC(bytes(BTC() / tx(*values, 5)))
    i = data.draw(st.integers(0, len(values)))
    packet.outputs[i].script = b"\x6a" * 300
    packet.inputs[0].previous_output.index = 9
    expected = tx(*values, 5)
    expected.outputs[i] = BTCTxOut(value=packet.outputs[i].value, script_length=packet.outputs[i].script_length,
                                   script=b"\x6a" * 300)
    expected.inputs[0] = BTCTxIn(previous_output=bytes(32) + b"\x09\0\0\0")
    assert bytes(packet)[24:] == bytes(expected)


def test_equal_bytes_told_differently_are_not_equal() -> None:
    """As for Scapy's packets: an explicit count and a computed one are different values."""
    explicit, computed = tx(1), BTCTx(inputs=[BTCTxIn()], outputs=[output(1)])
    assert bytes(explicit) == bytes(computed)
    assert explicit.outputs != computed.outputs
    assert explicit.outputs == tx(1).outputs


# The traps that a probe of this design fell into


def test_fuzz_leaves_the_defaults_of_the_class_alone() -> None:
    before = bytes(BTCTxIn()), bytes(BTCInvVector()), bytes(BTCTx())
    for _ in range(20):
        bytes(fuzz(BTC() / BTCTx(inputs=[BTCTxIn()], outputs=[output(1)])))
        bytes(fuzz(inv(1, 2)))
        for element in inv(1, 2).inventory:
            fuzz(element, _inplace=1)
    assert (bytes(BTCTxIn()), bytes(BTCInvVector()), bytes(BTCTx())) == before


def test_fuzz_fills_empty_lists() -> None:
    sizes = {len(BTCInv(bytes(fuzz(BTCInv()))).inventory) for _ in range(60)}
    assert sizes == {1, 2, 3}
    assert len({bytes(fuzz(BTCTx())) for _ in range(20)}) == 20


def test_fuzz_does_not_change_what_was_dissected() -> None:
    """As in Scapy itself: every field of a dissected packet has a value, and values stay."""
    packet = BTC(bytes(BTC() / inv(1, 2)))
    assert bytes(fuzz(packet)) == bytes(packet)
    assert bytes(fuzz(BTCInv(inventory=[vector(3)])))[1:] == bytes(vector(3))


def test_length_and_checksum_are_those_of_the_random_bytes_sent() -> None:
    for _ in range(100):
        sent = bytes(fuzz(BTC() / BTCTx()))
        sent = bytes(BTC(magic="mainnet") / BTC(sent).payload)
        assert BTC(sent).right_checksum() == BTC(sent).checksum
    packet = fuzz(BTC(magic="mainnet", msgtype="tx") / BTCTx())
    built = [bytes(packet) for _ in range(20)]
    assert len(set(built)) == 20
    for sent in built:
        assert BTC(sent).length == len(sent) - 24
        assert BTC(sent).checksum == BTC(sent).right_checksum()
        assert type(BTC(sent).payload) is BTCTx


def test_methods_written_in_c_do_not_show_the_storage() -> None:
    packet = inv(3, 1, 2)
    values = packet.inventory
    assert [v.type for v in reversed(values)] == [2, 1, 3]
    assert [v.type for v in values * 2] == [3, 1, 2, 3, 1, 2]
    assert values[0] in values and list(values).index(values[2]) == values.index(values[2])
    assert repr(values) == repr(list(values)) and str(values) == str(list(values))
    assert packet.sprintf("%BTCInv.inventory%") == repr(list(values))
    values.sort(key=lambda v: v.type)
    assert [v.type for v in values] == [1, 2, 3]


def test_looking_for_an_absent_layer_makes_no_elements() -> None:
    packet = BTC(bytes(BTC() / inv(*range(200))))
    assert not packet.haslayer(Raw) and packet.getlayer(Raw) is None and BTCTxIn not in packet
    assert not packet.haslayer("TxIn") and packet.getlayer(BTCInvVector, 3) is packet.inventory[2]
    assert untouched(packet.inventory) == 197
    packet.inventory[5] = Raw(b"odd")
    assert packet.haslayer(Raw) and packet[Raw] is packet.inventory[5]
    assert BTCInv(inventory=[vector(1), Raw(b"1"), Raw(b"2")]).getlayer(Raw, 2).load == b"2"
    assert untouched(packet.inventory) == 196


def test_show_is_cut_off_with_a_count() -> None:
    packet = BTC(bytes(BTC() / inv(*[1] * 1234)))
    for text in (packet.show(dump=True), packet.show2(dump=True)):
        assert text.count("hash      =") == SHOWN
        assert "|... 1,134 more" in text
    assert untouched(packet.inventory) == 1134
    assert repr(packet).count("hash=") == SHOWN and "... 1,134 more" in repr(packet)
    assert inv(*[1] * SHOWN).show(dump=True).count("hash      =") == SHOWN
    assert " more" not in inv(*[1] * SHOWN).show(dump=True)


def test_a_copy_is_the_parent_of_elements_made_later() -> None:
    packet = inv(1, 2, 3)
    touched = packet.inventory[0]
    clone = packet.copy()
    assert {id(v.parent) for v in clone.inventory} == {id(clone)}
    assert touched.parent is packet and packet.inventory[1].parent is packet
    clone.inventory[0].type = 6
    assert packet.inventory[0].type == 1


def test_an_explicit_count_stays_when_the_list_grows() -> None:
    """As in Scapy itself; deleting the count lets it be computed."""
    packet = inv(1, 2)
    packet.inventory.append(vector(3))
    assert packet.inventory_count == 2 and bytes(packet)[:1] == b"\x02"
    assert len(bytes(packet)) == 1 + 3 * 36
    del packet.inventory_count
    assert packet.inventory_count is None and bytes(packet)[:1] == b"\x03"


# Long lists


class Listed(BTCPacket):
    fields_desc = [LEIntField("n", 0)]


class Lists(BTCPacket):
    """Two lists with one count."""

    fields_desc = [LEIntField("count", None), PartListField("first", Listed, count="count"),
                   PartListField("second", Listed, count="count")]


def test_fifty_thousand_entries() -> None:
    n = 50_000
    wire = compactsize.encode(n) + random.Random(0).randbytes(36 * n)
    packet = BTCInv(wire)
    assert bytes(packet) == wire and len(packet.inventory) == n
    packet.inventory[40_000].type = 1
    at = 3 + 36 * 40_000
    assert bytes(packet) == wire[:at] + b"\x01\0\0\0" + wire[at + 4:]
    assert untouched(packet.inventory) == n - 1
    assert packet.haslayer(Listed) == 0


def test_two_lists_of_one_packet_are_independent() -> None:
    packet = Lists(b"\x02\0\0\0" + bytes(range(1, 17)))
    packet.first.reverse()
    assert bytes(packet) == b"\x02\0\0\0" + bytes([5, 6, 7, 8, 1, 2, 3, 4, *range(9, 17)])
