# SPDX-License-Identifier: GPL-2.0-or-later
"""The record format: one message or event as plain values, the same for captures, live traffic and message logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..layers.plan import BROKEN
from ..layers.registry import lookup
from ..messages.enrich import enrich
from ..networks import Network
from ..text import format_time
from .message import Message, StreamEvent


def fields_of(msgtype: str, payload: bytes) -> dict[str, Any] | None:
    """The record of a payload; of a malformed one what could be read, None for an unknown message."""
    cls = lookup(msgtype)
    if cls is None:
        return None
    try:
        return cls.plan.record(payload, 0, len(payload))[0]
    except BROKEN:
        return cls.plan.failure(payload, 0, len(payload))[1]


_UNTOLD = frozenset({"unknown-message", "malformed", "trailing-bytes"})
"""Findings of payloads that their fields do not tell whole: the bytes are then there as well."""


def message_record(
    message: Message, fields: bool = True, derived: bool = False, payload: bool = False
) -> dict[str, Any]:
    """One message in the record format.

    :param fields: with what the payload says
    :param derived: with everything that follows from it, not only the ids of the message itself
    :param payload: with the bytes, as hex
    """
    record: dict[str, Any] = {"time": format_time(message.time_ns)}
    if message.frames:
        record["frame"] = message.frames[1]
    record.update(connection=message.connection, source=message.source, destination=message.destination,
                  network=name_of(message.network), transport=message.transport, msgtype=message.msgtype,
                  size=len(message.payload), checksum=message.checksum, findings=message.findings)
    if fields:
        decoded = fields_of(message.msgtype, message.payload)
        if decoded is not None:
            record["fields"] = decoded
        ids = derived_of(message, decoded, derived)
        if ids:
            record["derived"] = ids
    if payload or (fields and not _UNTOLD.isdisjoint(message.findings)):
        record["payload"] = message.payload.hex()
    return record


def derived_of(message: Message, decoded: Mapping[str, Any] | None, everything: bool) -> dict[str, Any]:
    """What is not on the wire but follows from it; nothing where the payload cannot be read to its end."""
    cls = lookup(message.msgtype)
    if cls is None or decoded is None or "malformed" in message.findings:
        return {}
    ids = cls.derive(message.payload)
    return {**ids, **enrich(cls, message.payload, decoded, message.network)} if everything else ids


def event_record(event: StreamEvent) -> dict[str, Any]:
    """Something of a stream that is no message, in the record format: `event` instead of `msgtype`."""
    record: dict[str, Any] = {"time": format_time(event.time_ns)}
    for name in ("connection", "source", "destination"):
        if getattr(event, name) is not None:
            record[name] = getattr(event, name)
    return {**record, "event": event.event, "bytes": event.bytes, "reason": event.reason}


def name_of(network: Network | None) -> str | None:
    return network.name if network else None
