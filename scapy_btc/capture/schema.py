# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON Schema of the record format, made from the declarations of the messages."""

from __future__ import annotations

from typing import Any

from ..layers.fields import BytesField, HashField, OptionalField
from ..layers.parts import BoundedPartField, OldPartListField, PartField, PartListField
from ..layers.plan import inner
from ..layers.registry import messages
from ..layers.values import BytesListField, CompactSizeListField, HashListField, IntListField
from ..messages.findings import FINDINGS

INTEGER = {"type": "integer"}
STRING = {"type": "string"}
HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ENDPOINT = {"type": ["string", "null"]}


def record_schema() -> dict[str, Any]:
    """The schema of one line of `-T jsonl` (JSON Schema 2020-12)."""
    names = sorted(cls.msgtype for cls in messages())
    common = {
        "time": {"type": "string", "description": "ISO 8601, UTC, nanoseconds"},
        "frame": {"type": "integer", "description": "number of the frame that completed the message, from 1"},
        "connection": {"type": "integer", "description": "number of the connection within the source"},
        "source": ENDPOINT,
        "destination": ENDPOINT,
    }
    message = {
        "type": "object",
        "properties": {
            **common,
            "network": {"type": ["string", "null"]},
            "transport": {"enum": ["v1", "v2", "log"]},
            "msgtype": {"type": "string", "description": f"one of {', '.join(names)}, or a name nobody registered"},
            "size": {"type": "integer", "description": "bytes of the payload"},
            "checksum": {"enum": ["ok", "bad", "none"]},
            "findings": {"type": "array", "items": {"type": "string", "examples": list(FINDINGS)}},
            "fields": {"type": "object"},
            "derived": {"type": "object"},
            "payload": {"type": "string", "description": "hex"},
        },
        "required": ["time", "connection", "source", "destination", "network", "transport", "msgtype", "size",
                     "checksum", "findings"],
        "allOf": [
            {"if": {"properties": {"msgtype": {"const": cls.msgtype},
                                   "findings": {"not": {"contains": {"const": "malformed"}}}},
                    "required": ["msgtype", "findings"]},
             "then": {"properties": {"fields": part_schema(cls)}}}
            for cls in sorted(messages(), key=lambda cls: cls.msgtype) if not cls.msgtype.endswith("*")],
    }
    event = {
        "type": "object",
        "properties": {**common, "event": STRING, "bytes": {"type": ["integer", "null"]}},
        "required": ["time", "event", "bytes"],
        "not": {"required": ["msgtype"]},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "scapy-btc record",
            "oneOf": [message, event]}


def part_schema(cls: type[Any]) -> dict[str, Any]:
    """The schema of the record of a message or part."""
    if cls.record_as:
        return field_schema(next(f for f in cls.fields_desc if f.name == cls.record_as))
    return {
        "type": "object",
        "properties": {f.name: field_schema(inner(f)) for f in cls.fields_desc},
        "required": [f.name for f in cls.fields_desc if not isinstance(f, OptionalField)],
        "additionalProperties": False,
    }


def field_schema(f: Any) -> dict[str, Any]:
    """The schema of one field's record value."""
    if isinstance(f, OldPartListField):
        return {"type": "array", "items": {"anyOf": [part_schema(f.cls), part_schema(f.old.cls)]}}
    if isinstance(f, PartListField):
        return {"type": "array", "items": part_schema(f.cls)}
    if isinstance(f, BoundedPartField):
        return {"anyOf": [part_schema(f.cls), STRING]}
    if isinstance(f, PartField):
        return part_schema(f.cls)
    if isinstance(f, HashListField):
        return {"type": "array", "items": HASH}
    if isinstance(f, (IntListField, CompactSizeListField)):
        return {"type": "array", "items": INTEGER}
    if isinstance(f, BytesListField):
        return {"type": "array", "items": STRING}
    if isinstance(f, HashField):
        return HASH
    return STRING if getattr(f, "plain", "{}") != "{}" or isinstance(f, BytesField) else INTEGER
