# SPDX-License-Identifier: GPL-2.0-or-later
"""What the layers are measured against: the usual Scapy design, and a decoder written by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from scapy.fields import (
    ConditionalField,
    FieldLenField,
    LEIntField,
    LELongField,
    PacketField,
    PacketListField,
    ShortField,
    StrFixedLenField,
    StrLenField,
)
from scapy.packet import Packet

from scapy_btc.wire import compactsize

NO_LIMIT = 10**9


class SizeField(FieldLenField):
    """A CompactSize."""

    def __init__(self, name: str, **options: Any) -> None:
        FieldLenField.__init__(self, name, None, fmt="<Q", **options)

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + compactsize.encode(self.i2m(pkt, val))

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, int]:
        n, p = compactsize.read(s, 0)
        return s[p:], n


def counted(name: str, cls: type[Packet], count: str) -> list[Any]:
    return [SizeField(count, count_of=name), many(name, cls, count)]


def many(name: str, cls: type[Packet], count: str) -> PacketListField:
    return PacketListField(name, [], cls, count_from=lambda pkt: pkt.getfieldval(count), max_count=NO_LIMIT)


def script(name: str) -> list[Any]:
    length = f"{name}_length"
    return [SizeField(length, length_of=name), StrLenField(name, b"", length_from=lambda pkt: pkt.getfieldval(length))]


class Part(Packet):
    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        return b"", s


class InvVector(Part):
    fields_desc = [LEIntField("type", 1), StrFixedLenField("hash", bytes(32), 32)]


class Inv(Part):
    fields_desc = counted("inventory", InvVector, "count")


class OutPoint(Part):
    fields_desc = [StrFixedLenField("hash", bytes(32), 32), LEIntField("index", 0)]


class TxIn(Part):
    fields_desc = [PacketField("previous_output", OutPoint(), OutPoint), *script("script"), LEIntField("sequence", 0)]


class TxOut(Part):
    fields_desc = [LELongField("value", 0), *script("script")]


class WitnessItem(Part):
    fields_desc = script("item")


class Witness(Part):
    fields_desc = counted("items", WitnessItem, "count")


class Tx(Part):
    __slots__ = ["extended"]
    fields_desc = [
        LEIntField("version", 2),
        ConditionalField(ShortField("marker_and_flag", None), lambda pkt: pkt.extended),
        *counted("inputs", TxIn, "inputs_count"),
        *counted("outputs", TxOut, "outputs_count"),
        ConditionalField(many("witness", Witness, "inputs_count"), lambda pkt: pkt.extended),
        LEIntField("lock_time", 0),
    ]

    def pre_dissect(self, s: bytes) -> bytes:
        self.extended = s[4:6] == b"\0\1"
        return s


class Block(Part):
    fields_desc = [StrFixedLenField("header", bytes(80), 80), *counted("transactions", Tx, "count")]


def read_size(b: bytes, p: int) -> tuple[int, int]:
    n = b[p]
    if n < 253:
        return n, p + 1
    layout, width = {253: ("<H", 2), 254: ("<I", 4), 255: ("<Q", 8)}[n]
    return struct.unpack_from(layout, b, p + 1)[0], p + 1 + width


def read_list(b: bytes, p: int, n: int, read: Callable[[bytes, int], tuple[Any, int]]) -> tuple[list[Any], int]:
    found = []
    for _ in range(n):
        element, p = read(b, p)
        found.append(element)
    return found, p


def read_input(b: bytes, p: int) -> tuple[dict[str, Any], int]:
    outpoint = {"hash": b[p:p + 32][::-1].hex(), "index": int.from_bytes(b[p + 32:p + 36], "little")}
    n, p = read_size(b, p + 36)
    return {"previous_output": outpoint, "script_length": n, "script": b[p:p + n].hex(),
            "sequence": int.from_bytes(b[p + n:p + n + 4], "little")}, p + n + 4


def read_output(b: bytes, p: int) -> tuple[dict[str, Any], int]:
    value = int.from_bytes(b[p:p + 8], "little", signed=True)
    n, p = read_size(b, p + 8)
    return {"value": value, "script_length": n, "script": b[p:p + n].hex()}, p + n


def read_item(b: bytes, p: int) -> tuple[str, int]:
    n, p = read_size(b, p)
    return b[p:p + n].hex(), p + n


def read_stack(b: bytes, p: int) -> tuple[list[str], int]:
    n, p = read_size(b, p)
    return read_list(b, p, n, read_item)


def read_tx(b: bytes, p: int) -> tuple[dict[str, Any], int]:
    """The record of a transaction, by hand."""
    record: dict[str, Any] = {"version": int.from_bytes(b[p:p + 4], "little")}
    p += 4
    if b[p] == 0:
        record["marker"], record["flag"] = 0, b[p + 1]
        p += 2
    record["inputs_count"], p = read_size(b, p)
    record["inputs"], p = read_list(b, p, record["inputs_count"], read_input)
    record["outputs_count"], p = read_size(b, p)
    record["outputs"], p = read_list(b, p, record["outputs_count"], read_output)
    if "flag" in record:
        record["witness"], p = read_list(b, p, record["inputs_count"], read_stack)
    record["lock_time"] = int.from_bytes(b[p:p + 4], "little")
    return record, p + 4
