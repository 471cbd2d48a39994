# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for every message and every part: names, documentation, Scapy's habits, random packets."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.packet import NoPayload, Packet, Raw, fuzz, ls

import scapy_btc.all as everything
from scapy_btc.all import BTC, BTCMalformed, BTCMessage
from scapy_btc.layers.envelope import dissected
from scapy_btc.layers.fields import CompactSizeField
from scapy_btc.layers.packet import held_classes
from scapy_btc.layers.plan import BROKEN, inner
from scapy_btc.layers.registry import ACTIVE, HISTORIC, NEVER, OPTIONAL, PROPOSED, lookup, messages
from scapy_btc.messages.catalogue import type_of

MESSAGES = [cls for cls in messages() if cls.__module__.startswith("scapy_btc.messages.")]
PARTS = sorted(set().union(*map(held_classes, MESSAGES)) - set(MESSAGES), key=lambda cls: cls.__name__)
CLASSES: list[Any] = [*MESSAGES, *PARTS]
LISTED = Path(__file__).parent.parent / "vectors" / "messages"

each_message = pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.msgtype)
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)

# BIP 324, and its companion table message_type_ids.md
SHORT_IDS = """
    addr block blocktxn cmpctblock feefilter filteradd filterclear filterload getblocks getblocktxn getdata getheaders
    headers inv mempool merkleblock notfound ping pong sendcmpct tx getcfilters cfilter getcfheaders cfheaders
    getcfcheckpt cfcheckpt addrv2 uproof getuproof uttls getuttls usummary utreexotx uroot geturoot feature
    """


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Scapy's random values come from the global generator."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def random_bytes(cls: Any, seed: int) -> bytes:
    """A random packet of the class, built."""
    with seeded(seed):
        return bytes(fuzz(cls()))


def readable_bytes(cls: Any) -> bytes:
    """A random packet that can be read to its end; some field values announce what does not follow."""
    for seed in range(1000):
        with contextlib.suppress(*BROKEN):
            payload = random_bytes(cls, seed)
            if cls.plan.end(payload, 0, len(payload), []) == len(payload):
                return payload
    raise AssertionError(f"no random {cls.__name__} can be read")


def same_bytes(packet: Packet) -> Packet:
    """What the packet's message is dissected to: all its bytes, nothing `Raw`."""
    raw = bytes(packet)
    found = BTC(raw)
    assert bytes(found) == raw
    assert not found.haslayer(Raw)
    return found


# Names and documentation


def test_all_are_here() -> None:
    assert len(MESSAGES) > 90
    names = {cls.__name__ for cls in CLASSES}
    assert names <= set(everything.__all__)
    assert all(getattr(everything, name) in CLASSES for name in names)
    assert len(everything.__all__) == len(set(everything.__all__)) >= len(names)


@each_message
def test_has_known_answers(cls: type[BTCMessage]) -> None:
    assert list(LISTED.glob(f"{cls.msgtype}.json" if cls.msgtype != "_*" else "_*.json"))


@pytest.mark.parametrize("path", sorted(LISTED.glob("*.json")), ids=lambda path: path.stem)
def test_known_answers_have_a_class(path: Path) -> None:
    assert lookup(path.stem) in MESSAGES


def test_short_ids_are_those_of_bip_324() -> None:
    assert {cls.short_id: cls.msgtype for cls in MESSAGES if cls.short_id is not None} == dict(
        enumerate(SHORT_IDS.split(), 1))


@each_message
def test_is_described(cls: type[BTCMessage]) -> None:
    assert cls.__name__.lower() == "btc" + cls.msgtype.replace("-", "") or cls.msgtype == "_*"
    assert cls._name == f"BTC {cls.msgtype}" or cls.msgtype == "_*"
    assert cls.status in (ACTIVE, OPTIONAL, HISTORIC, PROPOSED, NEVER)
    assert cls.bip is None or f"BIP {cls.bip}" in (cls.__doc__ or "")


@each_class
def test_every_field_has_a_type_in_the_catalogue(cls: Any) -> None:
    for f in map(inner, cls.fields_desc):
        assert isinstance(f, CompactSizeField) or type_of(f) != type(f).__name__.removesuffix("Field")


@each_class
def test_has_a_docstring_of_its_own(cls: Any) -> None:
    assert cls.__dict__.get("__doc__", "").split("\n")[0].endswith((".", ":", "?"))


@each_message
def test_answers_are_messages_that_echo_fields_of_both(cls: type[BTCMessage]) -> None:
    for name in cls.answered_by:
        answer = lookup(name)
        assert answer in MESSAGES
        for echoed in answer.echoes:
            assert {echoed} <= {f.name for f in cls.fields_desc} & {f.name for f in answer.fields_desc}


@each_message
def test_an_answer_belongs_to_the_request_whose_fields_it_echoes(cls: type[BTCMessage]) -> None:
    for answer_cls in filter(None, map(lookup, cls.answered_by)):
        with seeded(3):
            request = next(iter(fuzz(cls())))
        echoes = {name: request.getfieldval(name) for name in answer_cls.echoes}
        if echoes:
            assert answer_cls(**echoes).answers(request) == 1
        for name in echoes:
            assert answer_cls(**{other: echoes[other] for other in echoes if other != name}).answers(request) == 0
        assert cls().answers(answer_cls()) == (answer_cls.msgtype in cls.answered_by and cls.msgtype in
                                               answer_cls.answered_by)


@each_class
def test_no_field_has_a_name_that_the_packet_owns(cls: Any) -> None:
    assert not {f.name for f in cls.fields_desc} & set(dir(cls))


@each_class
def test_counts_and_lengths_are_named_for_what_they_count(cls: Any) -> None:
    places = {f.name: i for i, f in enumerate(cls.fields_desc)}
    for f in map(inner, cls.fields_desc):
        if isinstance(f, CompactSizeField) and (target := f.count_of or f.length_of):
            assert f.name == f"{target}_{'count' if f.count_of else 'length'}"
            assert places[target] == places[f.name] + 1
        for name in getattr(f, "uses", ()):
            assert places[name] < places[f.name]


# A packet without arguments, and random ones


@each_message
def test_a_message_without_arguments(cls: type[BTCMessage]) -> None:
    packet = BTC() / cls()
    assert type(packet.payload) is cls
    if len(cls.msgtype) <= 12:
        found = same_bytes(packet)
        assert found.msgtype == cls.msgtype
        assert type(found.payload) is cls
        assert isinstance(found.payload.payload, NoPayload)
    assert type(dissected(cls, bytes(cls()))) is cls


@each_class
def test_scapy_habits(cls: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for packet in (cls(), cls(readable_bytes(cls))):
        for text in (packet.show(dump=True), packet.show2(dump=True), packet.summary(), repr(packet)):
            assert isinstance(text, str)
        ls(packet)
        ls(cls)
        assert all(f.name in capsys.readouterr().out for f in cls.fields_desc[:1])
        formats = "".join(f"%{cls.__name__}.{f.name}% " for f in cls.fields_desc)
        assert "??" not in packet.sprintf(formats)
        raw = bytes(packet)
        if cls.record_as is None and cls.__name__ != "BTCVersion":
            assert json.loads(packet.json()) == cls.plan.record(raw, 0, len(raw))[0]
        assert bytes(eval(packet.command(), vars(everything))) == bytes(packet)
        assert bytes(packet.copy()) == bytes(packet)
        assert bytes(pickle.loads(pickle.dumps(packet))) == bytes(packet)
        assert packet.haslayer(cls)
        assert packet.getlayer(cls) is packet


def present(cls: Any, payload: bytes) -> list[str]:
    """Names of the fields that take bytes, and of the others that are there."""
    fields, _ = cls.plan.load(payload, 0, len(payload), None)
    return [f.name for f in cls.fields_desc if fields.get(f.name) is not None]


@each_class
def test_all_functions_of_the_plan_agree(cls: Any) -> None:
    for seed in range(10):
        payload = random_bytes(cls, seed)
        notes: list[tuple[str, str]] = []
        ends: list[Any] = []
        for work in (
            lambda b=payload, n=notes: cls.plan.end(b, 0, len(b), n),
            lambda b=payload: cls.plan.load(b, 0, len(b), None)[1],
            lambda b=payload: cls.plan.record(b, 0, len(b))[1],
            lambda b=payload: cls.plan.starts(b, 0, len(b))[-1],
            lambda b=payload: cls.plan.trace(b, 0, len(b), {}, ["", 0])[1],
        ):
            try:
                ends.append(work())
            except BROKEN:
                ends.append(None)
        assert len(set(ends)) == 1, ends
        if ends[0] is None:
            continue
        record = cls.plan.record(payload, 0, len(payload))[0]
        if cls.record_as is None:
            assert list(record) == present(cls, payload)
        starts = cls.plan.starts(payload, 0, len(payload))
        assert sorted(starts) == list(starts)
        for shift in (1, 30):  # as an element in the middle of a buffer
            moved = b"\xff" * shift + payload + b"\xff" * 9
            assert cls.plan.record(moved, shift, shift + len(payload)) == (record, shift + ends[0])


@each_message
def test_fuzzed_messages_are_read(cls: type[BTCMessage]) -> None:
    outcomes = set()
    for seed in range(30):
        with seeded(seed):
            same_bytes(fuzz(BTC() / cls()))
            packet = dissected(cls, bytes(fuzz(cls())))
        assert isinstance(packet, (cls, BTCMalformed))
        outcomes.add(type(packet))
        packet.summary()
        if type(packet) is cls:
            fields = bytes(packet)
            packet.clear_cache()
            assert bytes(packet) == fields
    assert cls in outcomes


def test_fuzzing_leaves_the_classes_as_they_are() -> None:
    for cls in CLASSES:
        random_bytes(cls, 1)
        assert bytes(cls()) == bytes(cls()) or cls.__name__ == "BTCVersion"
        assert random_bytes(cls, 2) == random_bytes(cls, 2) or cls.__name__ == "BTCVersion"
