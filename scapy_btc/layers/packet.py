# SPDX-License-Identifier: GPL-2.0-or-later
"""The base of every part and message: a Scapy Packet that reads itself with its compiled plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, ClassVar

from scapy.fields import RawVal
from scapy.packet import Packet

from .fields import CompactSizeField
from .listfield import SHOWN, Unset
from .lists import LazyList
from .parts import PartField, PartListField, Untouched
from .plan import BROKEN, Plan, inner

_set = object.__setattr__  # Packet's own __setattr__ first looks for a field of that name


class BTCPacket(Packet):
    """A part of a message (an input, an address, a header): everything in `fields_desc`, no payload.

    :cvar plan: the compiled functions over bytes (`layers.plan.Plan`)
    :cvar record_as: the name of the one field that stands for the whole part in a record (a witness stack)
    """

    plan: ClassVar[Plan]
    record_as: ClassVar[str | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.plan = Plan(cls)

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        return b"", s

    # Dissecting

    @classmethod
    def from_wire(cls, wire: bytes, parent: Packet | None = None) -> Any:
        """The packet of exactly these bytes: what `cls(wire, _internal=1, _parent=parent)` gives, five times faster.

        Raises FormatError where they are none.
        """
        packet = object.__new__(cls)
        shared, own = _initial_state(cls)
        for set_slot, value in shared:
            set_slot(packet, value)
        for set_slot, copy in own:
            set_slot(packet, copy())
        _set(packet, "parent", parent)
        _set(packet, "original", wire)
        packet.do_dissect(wire)
        return packet

    def do_dissect(self, s: bytes) -> bytes:
        try:
            fields, end = self.plan.load(s, 0, len(s), self)
        except BROKEN:
            raise self.plan.failure(s, 0, len(s))[0] from None
        _set(self, "fields", fields)
        _set(self, "raw_packet_cache", s[:end])
        mutable = _mutable_fields(type(self))
        _set(self, "raw_packet_cache_fields", {
            f.name: self._raw_packet_cache_field_value(f, fields[f.name], copy=True)
            for f in mutable if fields.get(f.name) is not None} if mutable else {})
        _set(self, "explicit", 1)
        return s[end:]

    def _raw_packet_cache_field_value(self, fld: Any, val: Any, copy: bool = False) -> Any:
        if isinstance(val, LazyList):
            return copy or val.unchanged()
        if not fld.holds_packets:
            return super()._raw_packet_cache_field_value(fld, val, copy)
        if isinstance(val, list):
            return b"".join(map(bytes, val))
        return bytes(val) if isinstance(val, Packet) else val

    def do_init_cached_fields(self, for_dissect_only: bool = False) -> None:
        super().do_init_cached_fields(for_dissect_only)
        # fuzz() writes into this dictionary, which Scapy shares between all packets of the class
        self.default_fields = dict(self.default_fields)

    # Values

    def __getattr__(self, attr: str) -> Any:
        if attr not in self.fields and isinstance(self.default_fields.get(attr), Unset):
            self.fields[attr] = inner(self.get_field(attr)).fresh(self)
        elif isinstance(self.fields.get(attr), Untouched):
            self.getfieldval(attr)
        return super().__getattr__(attr)

    def getfieldval(self, attr: str) -> Any:
        value = super().getfieldval(attr)
        if isinstance(value, Untouched):
            value = self.fields[attr] = inner(self.get_field(attr)).cls.from_wire(bytes(value), self)
        return inner(self.get_field(attr)).fresh(self) if isinstance(value, Unset) else value

    def _made(self) -> Iterator[Packet]:
        """The packets in the fields of this one, as far as they are made."""
        for value in self.fields.values():
            if isinstance(value, Packet):
                yield value
            elif isinstance(value, LazyList):
                yield from value.made()

    def clear_cache(self) -> None:
        for name in list(self.fields):  # makes every part: all bytes must come from fields
            value = self.getfieldval(name)
            if isinstance(value, LazyList):
                value.plain()
        for part in self._made():
            part.clear_cache()
        self.raw_packet_cache = None
        self.payload.clear_cache()

    def copy(self) -> Any:
        clone: Any = super().copy()
        for value in clone.fields.values():
            if isinstance(value, LazyList):
                value.owner = clone
        for part in clone._made():
            part.parent = clone
        return clone

    # Building

    def self_build(self) -> bytes:
        if self.raw_packet_cache is not None and self.raw_packet_cache_fields is not None:
            if all(self._raw_packet_cache_field_value(*self.getfield_and_val(name)) == known
                   for name, known in self.raw_packet_cache_fields.items()):
                return self.raw_packet_cache
            self.raw_packet_cache = self.raw_packet_cache_fields = self.wirelen = None
        built: dict[str, bytes] = {}
        measured: list[Any] = []
        for f in self.fields_desc:
            value = self.getfield_and_val(f.name)[1]
            if value is None and isinstance(inner(f), CompactSizeField) and inner(f).length_of:
                measured.append(f)  # of the bytes that get sent: a random value builds differently each time
                built[f.name] = b""
                continue
            try:
                built[f.name] = bytes(value) if isinstance(value, RawVal) else f.addfield(self, b"", value)
            except Exception as error:
                error.args = (f"while building {type(self).__name__}.{f.name}: {error}",)
                raise
        for f in measured:
            if f is inner(f) or f.measures(self):
                built[f.name] = f.addfield(self, b"", len(built[inner(f).length_of]))
        return b"".join(built.values())

    # Looking

    def _command(self, json: bool = False) -> list[tuple[str, Any]]:
        """For `command()` and `json()`; as JSON a packet is its record."""
        if json:
            wire = self.self_build()
            try:
                record = self.plan.record(wire, 0, len(wire))[0]
            except BROKEN:
                record = self.plan.failure(wire, 0, len(wire))[1]
            return [(self.record_as, record)] if self.record_as else list(record.items())
        for name in list(self.fields):
            self.getfieldval(name)
        commands: list[tuple[str, Any]] = super()._command()
        return commands

    def _show_or_dump(self, dump: bool = False, indent: int = 3, lvl: str = "", label_lvl: str = "",
                      first_call: bool = True) -> str | None:
        long = {f.name: value for f in self.fields_desc
                if f.holds_packets and isinstance(value := self.getfieldval(f.name), list) and len(value) > SHOWN}
        if not long:
            return super()._show_or_dump(dump, indent, lvl, label_lvl, first_call)
        cut = {name: [*value[:SHOWN], More(len(value) - SHOWN)] for name, value in long.items()}
        stand_in = self.clone_with(**{**self.fields, **cut})
        stand_in.payload = self.payload
        shown: str | None = Packet._show_or_dump(stand_in, dump, indent, lvl, label_lvl, first_call)
        return shown

    # Searching: elements of a lazy list are not made to look for a class that they can neither be nor hold

    def haslayer(self, cls: Any, _subclass: bool | None = None) -> Any:
        if self._may_hold(cls):
            return super().haslayer(cls, _subclass)
        return any(part.haslayer(cls, _subclass) for part in self._made()) or self.payload.haslayer(cls, _subclass)

    def getlayer(self, cls: Any, nb: int = 1, _track: list[int] | None = None, _subclass: bool | None = None,
                 **flt: Any) -> Any:
        if self._may_hold(cls):
            return super().getlayer(cls, nb=nb, _track=_track, _subclass=_subclass, **flt)
        for part in self._made():
            left: list[int] = []
            found = part.getlayer(cls, nb=nb, _track=left, _subclass=_subclass, **flt)
            if found is not None:
                return found
            nb = left[0]
        return self.payload.getlayer(cls, nb=nb, _track=_track, _subclass=_subclass, **flt)

    def _may_hold(self, cls: Any) -> bool:
        """Whether by its declaration this packet can be or hold what `haslayer()` looks for."""
        held = held_classes(type(self))
        if isinstance(cls, str):
            wanted = cls.split(".")[0]
            return not wanted or any(wanted in (c.__name__, c._name) for c in held)
        return not isinstance(cls, type) or any(issubclass(c, cls) or issubclass(cls, c) for c in held)


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


@cache
def _mutable_fields(cls: type[Packet]) -> tuple[Any, ...]:
    """The fields whose value can change without being assigned."""
    return tuple(f for f in cls.fields_desc if f.islist or f.holds_packets or f.ismutable)


@cache
def _initial_state(cls: type[Packet]) -> tuple[list[tuple[Callable[..., None], Any]],
                                               list[tuple[Callable[..., None], Callable[[], Any]]]]:
    """What Scapy's constructor sets: slots with the value that all packets of the class share, and with one's own."""
    one, other = cls(_internal=1), cls(_internal=1)
    shared, own = [], []
    for name in dict.fromkeys(Packet.__slots__):
        slot = getattr(Packet, name)
        try:
            value = slot.__get__(one)
        except AttributeError:  # Scapy leaves it unset
            continue
        if value is slot.__get__(other):
            shared.append((slot.__set__, value))
        else:
            own.append((slot.__set__, value.copy))
    return shared, own
