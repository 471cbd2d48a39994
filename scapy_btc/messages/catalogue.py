# SPDX-License-Identifier: GPL-2.0-or-later
"""What the registry says of every message, as rows and as text; the command line and the documentation show it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from ..layers.fields import (
    BytesField,
    CompactSizeField,
    FixedBytesField,
    HashField,
    LegacyIPField,
    OptionalField,
    RestField,
    TextField,
)
from ..layers.parts import PartField, PartListField
from ..layers.plan import inner
from ..layers.rarefields import Base128Field, FixedTextField, PrefixedScriptField
from ..layers.registry import BTCMessage, lookup, messages
from ..layers.txfields import ScriptField
from ..layers.values import BytesListField, CompactSizeListField, HashListField, IntListField, TextListField
from .findings import FINDINGS


def catalogue() -> list[type[BTCMessage]]:
    """Every registered message, by name."""
    return sorted(messages(), key=lambda cls: (cls.status != "active", cls.msgtype))


def short_ids() -> dict[int, bytes]:
    """Names of messages by their one-byte ids in the encrypted transport (BIP 324)."""
    return {cls.short_id: cls.msgtype.encode() for cls in messages() if cls.short_id is not None}


def purpose(cls: type[Any]) -> str:
    """The first line of a class's documentation."""
    return (inspect.getdoc(cls) or "").split("\n")[0]


def rows() -> list[tuple[Any, ...]]:
    """Name, status, BIP, since, short id and purpose of every message."""
    return [(c.msgtype, c.status, c.bip, c.since, c.short_id, purpose(c)) for c in catalogue()]


def finding_rows() -> list[tuple[str, str, str]]:
    """Code, severity and meaning of every finding."""
    return [(code, found.severity.name.lower(), found.meaning) for code, found in FINDINGS.items()]


def explain(name: str) -> str | None:
    """Everything that is known of one message; None when there is no such message."""
    cls = lookup(name)
    if cls is None:
        return None
    lines = [f"{cls.msgtype}: {inspect.getdoc(cls)}", ""]
    facts = [
        ("class", cls.__name__),
        ("status", cls.status),
        ("specified in", f"BIP {cls.bip}" if cls.bip else None),
        ("protocol version", cls.since),
        ("BIP 324 id", cls.short_id),
        ("answered by", ", ".join(cls.answered_by) or None),
        ("answers", ", ".join(c.msgtype for c in catalogue() if cls.msgtype in c.answered_by) or None),
    ]
    lines += [f"{title:<17} {fact}" for title, fact in facts if fact is not None]
    lines += ["", "fields:" if cls.fields_desc else "no fields", *field_lines(cls, "  ")]
    return "\n".join(lines)


def field_lines(cls: type[Any], indent: str) -> Iterator[str]:
    """One line for each field on the wire, parts indented below the field that holds them."""
    for f in cls.fields_desc:
        real = inner(f)
        limit = f", at most {real.limit:,}" if getattr(real, "limit", None) else ""
        optional = ", optional" if isinstance(f, OptionalField) else ""
        yield f"{indent}{f.name:<24} {type_of(real)}{limit}{optional}"
        if isinstance(real, (PartField, PartListField)):
            yield from field_lines(real.cls, indent + "  ")


_WORDS: tuple[tuple[type[Any], Callable[[Any], str]], ...] = (
    (PartListField, lambda f: f"list of {f.cls.__name__}"),
    (PartField, lambda f: f.cls.__name__),
    (HashListField, lambda f: "list of hashes"),
    (CompactSizeListField, lambda f: "list of CompactSize"),
    (IntListField, lambda f: f"list of {'i' if f.signed else 'u'}{8 * f.size}"),
    (TextListField, lambda f: "list of texts"),
    (BytesListField, lambda f: "list of byte strings"),
    (HashField, lambda f: "hash, 32 bytes"),
    (LegacyIPField, lambda f: "IPv6 or IPv4-mapped address, 16 bytes"),
    (FixedTextField, lambda f: f"text, padded with zeros to {f.code.rstrip('s')} bytes"),
    (FixedBytesField, lambda f: f"{f.code.rstrip('s')} bytes"),
    (PrefixedScriptField, lambda f: "script, or what its prefix says"),
    (ScriptField, lambda f: "script"),
    (Base128Field, lambda f: "base-128 integer"),
    (TextField, lambda f: "text"),
    (RestField, lambda f: "bytes up to the end"),
    (BytesField, lambda f: "bytes"),
)


def type_of(f: Any) -> str:
    """A field's type in the words of the protocol."""
    if isinstance(f, CompactSizeField):
        target = f.count_of or f.length_of
        return "CompactSize" + (f", {'number' if f.count_of else 'bytes'} of {target}" if target else "")
    for cls, words in _WORDS:
        if isinstance(f, cls):
            return words(f)
    return integer_type(f) or type(f).__name__.removesuffix("Field")


def integer_type(f: Any) -> str | None:
    """`u32`, `i64`, `u16 big-endian`: the type of a field that is one number; None for others."""
    code = f.fmt[-1]
    if len(f.fmt) != 2 or code not in "bBhHiIqQ":
        return None
    bits = {"b": 8, "h": 16, "i": 32, "q": 64}[code.lower()]
    return f"{'u' if code.isupper() else 'i'}{bits}{' big-endian' if f.fmt[0] in '!>' and bits > 8 else ''}"
