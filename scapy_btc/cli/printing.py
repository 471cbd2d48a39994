# SPDX-License-Identifier: GPL-2.0-or-later
"""How messages and events are printed: lines, trees, hex, JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, TextIO

from ..capture.message import Message, StreamEvent
from ..capture.records import event_record, message_record
from ..layers.registry import lookup, printable, summary_line
from ..messages.findings import Severity, severity
from ..text import format_time, plural

_COLOURS = {Severity.NOTE: "2", Severity.WARNING: "33", Severity.ERROR: "31"}


class Printer:
    """Writes messages and events in one form.

    :param form: "text", "jsonl" or "json"
    :param tree: with every field
    :param hexdump: with the payload's bytes
    :param thorough: findings of everything, not only those that take no time
    :param colour: with terminal colours
    """

    def __init__(self, out: TextIO, form: str = "text", tree: bool = False, hexdump: bool = False,
                 fields: bool = True, derived: bool = False, payload: bool = False, thorough: bool = False,
                 colour: bool = False) -> None:
        self.out, self.form, self.tree, self.hexdump = out, form, tree, hexdump
        self.fields, self.derived, self.payload = fields, derived, payload
        self.thorough, self.colour = thorough or tree or form != "text", colour
        self._first = True
        self._bytes = out.buffer if form != "text" else None  # JSON is UTF-8, whatever the locale

    def findings(self, message: Message) -> list[str]:
        """The findings that are shown of a message."""
        return message.findings if self.thorough else message.quick_findings

    def message(self, message: Message, found: list[str]) -> None:
        """Print a message, with those findings."""
        if self.form != "text":
            self._json(message_record(message, self.fields, self.derived, self.payload))
            return
        lines = [self.line(message, found)]
        if self.tree:
            lines.append(str(message.packet.show(dump=True)).rstrip("\n"))
        if self.hexdump:
            lines.extend(hex_lines(message.frame_bytes, self.colour))
        self.out.write("\n".join(lines) + "\n")

    def line(self, message: Message, found: list[str]) -> str:
        cls = lookup(message.msgtype)
        name = message.msgtype
        text = summary_line(cls, message.payload, name) if cls else f"{name or '(no name)'} (unknown)"
        size = len(message.payload)
        marks = self.marks(found) if found else ""
        return f"{self.where(message)} {text} ({size} {plural(size, 'byte')}){marks}"

    def where(self, item: Any) -> str:
        moment = format_time(item.time_ns)[:26].replace("T", " ")
        return printable(f"{moment} {' > '.join(filter(None, (item.source, item.destination)))}".rstrip())

    def marks(self, codes: list[str]) -> str:
        text = f" [{', '.join(codes)}]"
        return f"\x1b[{_COLOURS[max(map(severity, codes))]}m{text}\x1b[0m" if self.colour else text

    def event(self, event: StreamEvent) -> None:
        if self.form != "text":
            self._json(event_record(event))
            return
        line = f"{self.where(event)} -- {event.text}"
        self.out.write(f"\x1b[33m{line}\x1b[0m\n" if self.colour else f"{line}\n")

    def _json(self, record: dict[str, Any]) -> None:
        import orjson

        assert self._bytes is not None
        if self.form == "jsonl":
            self._bytes.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            return
        self._bytes.write(b"[\n" if self._first else b",\n")
        self._bytes.write(orjson.dumps(record))
        self._first = False

    def flush(self) -> None:
        """Hand on what was printed so far."""
        (self._bytes or self.out).flush()

    def close(self) -> None:
        """End the output; a JSON list without elements is one, too."""
        if self.form == "json" and self._bytes:
            self._bytes.write(b"[]\n" if self._first else b"\n]\n")
        self.flush()


_HEADER_COLOURS = ["35"] * 4 + ["36"] * 12 + ["33"] * 4 + ["32"] * 4
"""Of each byte of a header: magic, name, length, checksum."""


def hex_lines(data: bytes, colour: bool = False) -> Iterator[str]:
    """Lines of 16 bytes of a message: offset, hex, printable characters; with terminal colours for its header."""
    for p in range(0, len(data), 16):
        row = data[p:p + 16]
        cells, text = row.hex(" "), "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        padding = " " * (47 - len(cells))
        if colour and p < len(_HEADER_COLOURS):
            cells, text = _coloured(cells.split(), p, " "), _coloured(list(text), p)
        yield f"  {p:06x}  {cells}{padding}  {text}"


def _coloured(cells: list[str], p: int, separator: str = "") -> str:
    """What stands for the bytes from position `p` on, each in its colour."""
    marks = _HEADER_COLOURS[p:] + [""] * len(cells)
    runs = [(mark, separator.join(cell for _, cell in run))
            for mark, run in groupby(zip(marks, cells, strict=False), key=itemgetter(0))]
    return separator.join(f"\x1b[{mark}m{run}\x1b[0m" if mark else run for mark, run in runs)


def use_colour(stream: TextIO = sys.stdout) -> bool:
    """Whether a stream is a terminal whose user does not refuse colours (`NO_COLOR`)."""
    import os
    return stream.isatty() and not os.environ.get("NO_COLOR")
