# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiles a Packet's one declaration (`fields_desc`) into fast functions over bytes.

As `struct` and `dataclasses` do, the source of small functions is generated once per class, on first use:

- `end(b, p, e, notes)`: where the element ends, and what a careful reader would want to be told on the way;
- `load(b, p, e, pkt)`: `(field values as the Packet keeps them, end)`, lists lazy;
- `record(b, p, e)`: `(plain Python values, end)`, the record format of the documentation;
- `view(b, p, e)`: like `record`, but lists are `ListView`s, read when looked at: what one-line summaries use;
- `starts(b, p, e)`: where each field starts, and the end;
- `trace(b, p, e, r, at)`: a slow `record` that leaves in `r` what it read and in `at` where it was when it failed.

`b` is the whole buffer, `p` where to start, `e` where the payload ends. A function that needs bytes that are not there
raises one of `BROKEN`; `Plan.failure` says why. Nothing is allocated for a count before its bytes are seen.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from scapy.fields import ConditionalField, Field

from ..errors import FormatError
from ..wire.compactsize import read as _read_compactsize
from .writer import Writer

BROKEN = (IndexError, struct.error, OverflowError, FormatError)
"""What reading past the end of a buffer looks like."""

Notes = list[tuple[str, str]]
SHORT = "raise FormatError('cut short')"


def wide(b: bytes, p: int, notes: Notes | None = None, name: str = "") -> tuple[int, int]:
    """A CompactSize of three bytes and more; one in a longer form than needed is noted."""
    n, p = _read_compactsize(b, p)
    if notes is not None and type(n) is not int:
        notes.append(("non-minimal-size", name))
    return n, p


def inner(f: Any) -> Any:
    """The field that a conditional field wraps, or the field itself."""
    return f.fld if isinstance(f, ConditionalField) else f


def code_of(f: Any) -> str | None:
    """The struct code of a field of fixed size; None for every other."""
    code = getattr(f, "code", None)
    if code is not None:
        return str(code)
    if type(f).getfield is Field.getfield and type(f).m2i is Field.m2i and f.fmt[1:] in tuple("bBhHiIqQ"):
        return str(f.fmt[1])
    return None


def plain_of(f: Any, var: str) -> str:
    return getattr(f, "plain", "{}").format(var) if not swapped(f) else swap(f, var)


def swapped(f: Any) -> bool:
    """Whether a field is big-endian, as Scapy's are by default: of the protocol's, only the port is."""
    return getattr(f, "code", None) is None and f.fmt[0] in "!>" and f.sz > 1


def swap(f: Any, var: str) -> str:
    """The value of a big-endian field, over what reading it as little-endian gave."""
    if f.fmt[1] == "H":
        return f"(({var} & 255) << 8 | {var} >> 8)"
    signed = f.fmt[1].islower()
    return f"int.from_bytes({var}.to_bytes({f.sz}, 'little', signed={signed}), 'big', signed={signed})"


def fixed_size(cls: Any) -> int | None:
    """Bytes that every packet of this class takes, where that is one number."""
    total = 0
    for f in cls.fields_desc:
        if isinstance(f, ConditionalField):
            return None
        code = code_of(f)
        size = struct.calcsize("<" + code) if code else f.fixed_size()
        if size is None:
            return None
        total += size
    return total


def needed(fields: list[Any]) -> set[str]:
    """Fields that another one must have read: a count, a condition."""
    return {name for f in fields for name in (*getattr(f, "uses", ()), *getattr(inner(f), "uses", ()))}


def groups(fields: list[Any], batch: bool) -> Iterator[list[Any]]:
    """Runs of fields of fixed size (read by one `unpack`), every other field alone."""
    run: list[Any] = []
    for f in fields:
        if not isinstance(f, ConditionalField) and code_of(f) and batch:
            run.append(f)
            continue
        if run:
            yield run
            run = []
        yield [f]
    if run:
        yield run


def read_fixed(w: Writer, run: list[Any]) -> None:
    """Read a run of fixed fields into locals, which `w.vars` names."""
    names = [w.new() for _ in run]
    w.vars.update((f.name, var) for f, var in zip(run, names, strict=True))
    codes = "".join(filter(None, map(code_of, run)))
    size = struct.calcsize("<" + codes)
    if codes == "B":
        w.line(f"{names[0]} = b[p]")
    else:
        w.line(f"{', '.join(names)}, = {w.unpack(codes)}(b, p)")
    w.pending += size


def skip_class(w: Writer, cls: Any) -> None:
    """Code that moves `p` behind one `cls`, reading only what it must."""
    outer, w.vars = w.vars, {}
    top, w.top = w.top, False
    wanted = needed(cls.fields_desc)
    for f in cls.fields_desc:
        if w.mode == "starts" and top:
            w.line(f"s_{f.name} = p")
        skip_field(w, f, wanted)
    w.vars, w.top = outer, top


def skip_field(w: Writer, f: Any, wanted: set[str]) -> None:
    if isinstance(f, ConditionalField):
        var = w.new()
        if f.name in wanted:
            w.line(f"{var} = None")
        with w.block(f"if {w.expression(f.condition)}:"):
            skip_field(w, f.fld, wanted)
            if f.name in wanted:
                w.line(f"{var} = {w.vars.get(f.name, 'True')}")
        w.vars[f.name] = var
        return
    code = code_of(f)
    if not code:
        f.emit_skip(w)
    elif f.name in wanted:
        read_fixed(w, [f])
    else:
        w.pending += struct.calcsize("<" + code)


def load_class(w: Writer, cls: Any) -> None:
    """Code that puts the Packet's own values of every field into the dictionary `d`."""
    w.line("d = {}")
    for run in groups(cls.fields_desc, True):
        f = run[0]
        if isinstance(f, ConditionalField):
            var = w.new()
            w.line(f"{var} = None")
            with w.block(f"if {w.expression(f.condition)}:"):
                load_run(w, [f.fld])
                w.line(f"{var} = {w.vars[f.name]}")
            w.vars[f.name] = var
            # an absent field whose default is a value must be told apart from one never set
            unset_is_absent = f.fld.default is None or f.fld.islist
            w.line(f"{f'if {var} is not None: ' if unset_is_absent else ''}d[{f.name!r}] = {var}")
        else:
            load_run(w, run)
            for f in run:
                w.line(f"d[{f.name!r}] = {w.vars[f.name]}")


def load_run(w: Writer, run: list[Any]) -> None:
    if not code_of(run[0]):
        run[0].emit_load(w)
        return
    read_fixed(w, run)
    for f in run:
        var = w.vars[f.name]
        if swapped(f):
            w.line(f"{var} = {swap(f, var)}")


def plain_class(w: Writer, cls: Any, into: str = "") -> str:
    """Code that reads one `cls` as plain values; the expression that holds them."""
    outer, w.vars = w.vars, {}
    only = getattr(cls, "record_as", None)
    pairs: list[str] = []
    result = into
    top, w.top = w.top, False
    for run in groups(cls.fields_desc, w.mode != "trace"):
        f = run[0]
        w.last = top and f is cls.fields_desc[-1]
        if w.mode == "trace" and top:
            w.line("if p > e: " + SHORT)
            w.line(f"at[:] = {f.name!r}, p")
        if isinstance(f, ConditionalField):
            if not result:
                result = w.new("r")
                w.line(f"{result} = {{{', '.join(pairs)}}}")
            var = w.new()
            w.line(f"{var} = None")
            with w.block(f"if {w.expression(f.condition)}:"):
                expression, = plain_run(w, [f.fld], top)
                w.line(f"{var} = {w.vars[f.name]}")
                w.line(f"{result}[{f.name!r}] = {expression}")
            w.vars[f.name] = var
            continue
        if w.mode == "trace" and top and hasattr(run[0], "emit_list_into"):
            run[0].emit_list_into(w, f"{result}[{f.name!r}]")
            continue
        for f, expression in zip(run, plain_run(w, run, top), strict=True):
            if only and f.name != only:
                continue
            if result:
                w.line(f"{result}[{f.name!r}] = {expression}")
            else:
                pairs.append(f"{expression}" if only else f"{f.name!r}: {expression}")
    w.vars, w.top = outer, top
    return result or (pairs[0] if only else f"{{{', '.join(pairs)}}}")


def plain_run(w: Writer, run: list[Any], top: bool) -> list[str]:
    if not code_of(run[0]):
        if w.mode == "view" and top and hasattr(run[0], "emit_view"):
            return [run[0].emit_view(w)]
        return [run[0].emit_plain(w)]
    read_fixed(w, run)
    for f in run:
        w.space.update(getattr(f, "helpers", {}))
    return [plain_of(f, w.vars[f.name]) for f in run]


_SIGNATURES = {
    "end": "b, p, e, notes",
    "starts": "b, p, e, notes=None",
    "load": "b, p, e, pkt",
    "record": "b, p, e",
    "view": "b, p, e",
    "trace": "b, p, e, r, at",
}


def source_of(cls: Any, mode: str, space: dict[str, Any]) -> str:
    """The source of one generated function; its constants go into `space`."""
    w = Writer(mode, space)
    if mode in ("end", "starts"):
        skip_class(w, cls)
        result = "p" if mode == "end" else f"({''.join(f's_{f.name}, ' for f in cls.fields_desc)}p,)"
    elif mode == "load":
        load_class(w, cls)
        result = "d, p"
    else:
        result = plain_class(w, cls, into="r" if mode == "trace" else "") + ", p"
    w.flush()
    w.line(f"if p > e: {SHORT}")
    w.line(f"return {result}")
    return f"def {mode}({_SIGNATURES[mode]}):\n" + "\n".join(w.lines) + "\n"


class Plan:
    """The functions of one class, each made when first asked for."""

    end: Callable[[bytes, int, int, Notes | None], int]
    load: Callable[[bytes, int, int, Any], tuple[dict[str, Any], int]]
    record: Callable[[bytes, int, int], tuple[dict[str, Any], int]]
    view: Callable[[bytes, int, int], tuple[dict[str, Any], int]]
    starts: Callable[[bytes, int, int], tuple[int, ...]]
    trace: Callable[[bytes, int, int, dict[str, Any], list[Any]], tuple[dict[str, Any], int]]

    def __init__(self, cls: Any) -> None:
        for f in cls.fields_desc:
            readable = code_of(inner(f)) or hasattr(inner(f), "emit_skip")
            if not readable or (inner(f) is not f and not hasattr(f, "condition")):
                raise TypeError(f"{cls.__name__}.{f.name}: a {type(f).__name__} cannot be read by a BTCPacket; "
                                "take a field of scapy_btc.layers, or an integer field of Scapy's")
        self.cls = cls
        self.size = fixed_size(cls)

    def __getattr__(self, mode: str) -> Any:
        if mode not in _SIGNATURES:
            raise AttributeError(mode)
        space: dict[str, Any] = {"FormatError": FormatError, "wide": wide}
        source = source_of(self.cls, mode, space)
        exec(compile(source, f"<{mode} of {self.cls.__name__}>", "exec"), space)
        setattr(self, mode, space[mode])
        return space[mode]

    def failure(self, b: bytes, p: int, e: int) -> tuple[FormatError, dict[str, Any]]:
        """Why a payload that broke a function above cannot be read, and what of it could be."""
        record: dict[str, Any] = {}
        at: list[Any] = ["", p]
        try:
            self.trace(b, p, e, record, at)
        except BROKEN as error:
            field, offset = at
            if not (isinstance(record.get(field), list) and record[field]):  # of a list the first elements are readable
                record.pop(field, None)
            if isinstance(error, FormatError) and error.args != ("cut short",):
                return FormatError(f"{field}: {error}", field=field, offset=offset - p), record
            return FormatError(f"cut short in {field} at byte {offset - p} of {e - p}",
                               field=field, offset=offset - p), record
        return FormatError("cannot be read", offset=0), record
