# SPDX-License-Identifier: GPL-2.0-or-later
"""The base of every part and message: a Scapy Packet that reads itself with its compiled plan."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from scapy.fields import RawVal
from scapy.packet import Packet

from .fields import CompactSizeField
from .lists import LazyList
from .parts import SHOWN, PartField, PartListField, Unset
from .plan import BROKEN, Plan, inner

class BTCPacket(Packet):
    """A part of a message (an input, an address, a header): everything in `fields_desc`, no payload.

    :cvar plan: the compiled functions over bytes (`layers.plan.Plan`)
    :cvar record_as: the name of the one field that stands for the whole part in a record (a witness stack)
    """

    plan: ClassVar[Plan]
    record_as: ClassVar[str | None] = None
    show_summary = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.plan = Plan(cls)

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        return b"", s

    # Dissecting

    def do_dissect(self, s: bytes) -> bytes:
        try:
            self.fields, end = self.plan.load(s, 0, len(s), self)
        except BROKEN:
            raise self.plan.failure(s, 0, len(s))[0] from None
        self.raw_packet_cache_fields = {
            f.name: self._raw_packet_cache_field_value(f, self.fields[f.name], copy=True)
            for f in self.fields_desc
            if (f.islist or f.holds_packets or f.ismutable) and self.fields.get(f.name) is not None}
        self.raw_packet_cache = s[:end]
        self.explicit = 1
        return s[end:]

    def _raw_packet_cache_field_value(self, fld: Any, val: Any, copy: bool = False) -> Any:
        if isinstance(val, LazyList):
            return copy or val.unchanged()
        if fld.holds_packets and not isinstance(val, (list, Packet)):
            return val
        if fld.holds_packets and fld.islist:
            return [bytes(v) for v in val]
        if fld.holds_packets:
            return bytes(val)
        return super()._raw_packet_cache_field_value(fld, val, copy)

    def do_init_cached_fields(self, for_dissect_only: bool = False) -> None:
        super().do_init_cached_fields(for_dissect_only)
        # fuzz() writes into this dictionary, which Scapy shares between all packets of the class
        self.default_fields = dict(self.default_fields)

    # Values

    def __getattr__(self, attr: str) -> Any:
        if attr not in self.fields and isinstance(self.default_fields.get(attr), Unset):
            self.fields[attr] = self.get_field(attr).fresh(self)
        return super().__getattr__(attr)

    def getfieldval(self, attr: str) -> Any:
        value = super().getfieldval(attr)
        return self.get_field(attr).fresh(self) if isinstance(value, Unset) else value

    def clear_cache(self) -> None:
        self.raw_packet_cache = None
        for value in self.fields.values():
            if isinstance(value, LazyList):
                for element in value:
                    element.clear_cache()
            elif isinstance(value, Packet):
                value.clear_cache()
            elif isinstance(value, list):
                for element in value:
                    if isinstance(element, Packet):
                        element.clear_cache()
        self.payload.clear_cache()

    def copy(self) -> Any:
        clone = super().copy()
        for value in clone.fields.values():
            if isinstance(value, LazyList):
                value.owned_by(clone)
            elif isinstance(value, Packet):
                value.parent = clone
            elif isinstance(value, list):
                for element in value:
                    if isinstance(element, Packet):
                        element.parent = clone
        return clone

    # Building

    def self_build(self) -> bytes:
        if self.raw_packet_cache is not None and self.raw_packet_cache_fields is not None:
            for name, known in self.raw_packet_cache_fields.items():
                field, value = self.getfield_and_val(name)
                if self._raw_packet_cache_field_value(field, value) != known:
                    self.raw_packet_cache = None
                    self.raw_packet_cache_fields = None
                    break
            else:
                return self.raw_packet_cache
        built: dict[str, bytes] = {}
        measured: list[Any] = []
        for f in self.fields_desc:
            value = self.getfieldval(f.name)
            if value is None and isinstance(inner(f), CompactSizeField) and inner(f).length_of:
                measured.append(f)  # of the bytes that get sent: a random value builds differently each time
                built[f.name] = b""
                continue
            try:
                built[f.name] = bytes(value) if isinstance(value, RawVal) else f.addfield(self, b"", value)
            except Exception as error:
                raise type(error)(f"building {self.__class__.__name__}.{f.name}: {error}") from error
        for f in measured:
            if f is inner(f) or f.measures(self):
                built[f.name] = f.addfield(self, b"", len(built[inner(f).length_of]))
        return b"".join(built.values())

    # Looking

    def _show_or_dump(self, dump: bool = False, indent: int = 3, lvl: str = "", label_lvl: str = "",
                      first_call: bool = True) -> str | None:
        long = {f.name: value for f in self.fields_desc
                if f.holds_packets and isinstance(value := self.getfieldval(f.name), list) and len(value) > SHOWN}
        if not long:
            return super()._show_or_dump(dump, indent, lvl, label_lvl, first_call)
        clone = self.copy()
        for name, value in long.items():
            clone.fields[name] = [*value[:SHOWN], More(len(value) - SHOWN)]
        shown: str | None = Packet._show_or_dump(clone, dump, indent, lvl, label_lvl, first_call)
        return shown

    # Searching: a list none of whose elements can be or hold the class looked for is left alone

    def haslayer(self, cls: Any, _subclass: bool | None = None) -> Any:
        if self._can_hold(cls):
            return super().haslayer(cls, _subclass)
        return self.payload.haslayer(cls, _subclass)

    def getlayer(self, cls: Any, nb: int = 1, _track: list[int] | None = None, _subclass: bool | None = None,
                 **flt: Any) -> Any:
        if self._can_hold(cls):
            return super().getlayer(cls, nb=nb, _track=_track, _subclass=_subclass, **flt)
        return self.payload.getlayer(cls, nb=nb, _track=_track, _subclass=_subclass, **flt)

    def _can_hold(self, cls: Any) -> bool:
        if isinstance(cls, str):
            wanted = cls.split(".")[0]
            return not wanted or any(wanted in (c.__name__, c._name) for c in held_classes(type(self)))
        return not isinstance(cls, type) or any(issubclass(c, cls) or issubclass(cls, c)
                                                for c in held_classes(type(self)))


class More:
    """Stands in `show()` for the elements that are not printed."""

    def __init__(self, count: int) -> None:
        self.count = count

    def _show_or_dump(self, label_lvl: str = "", **kwargs: Any) -> str:
        return f"{label_lvl}... {self.count:,} more\n"


@cache
def held_classes(cls: type[Packet]) -> frozenset[type[Packet]]:
    """The class itself and every class of packets that its fields can hold, at any depth."""
    parts = [f.cls for f in map(inner, cls.fields_desc) if isinstance(f, (PartField, PartListField))]
    return frozenset({cls}.union(*map(held_classes, parts)))
