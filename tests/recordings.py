# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of pcaps/ for tests: what the package reads in them, and what index.toml says that is there."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

from scapy_btc.capture.message import Message, StreamEvent
from scapy_btc.capture.reader import read
from scapy_btc.cli import main
from scapy_btc.errors import CaptureError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PCAPS = Path(__file__).parent.parent / "pcaps"
INDEX: dict[str, dict[str, Any]] = tomllib.loads((PCAPS / "index.toml").read_text(encoding="utf-8"))
LOG = "core-message-capture"
BLOCKS = "core-blocks"
ENCRYPTED = sorted(name for name, entry in INDEX.items() if "keylog" in entry)
CAPTURES = sorted(set(INDEX) - {LOG, BLOCKS, *ENCRYPTED})
PORT = 18444  # of the listening side of every TCP connection in them


def path_of(name: str) -> Path:
    return PCAPS / name / "blk00000.dat" if name == BLOCKS else PCAPS / name


def keylog_of(name: str) -> Path | None:
    """The keys of an encrypted recording."""
    return PCAPS / INDEX[name]["keylog"] if "keylog" in INDEX[name] else None


@cache
def items_of(name: str) -> tuple[Message | StreamEvent, ...]:
    """Everything that reading a file gives; of one that is cut short, everything before the error."""
    items: list[Message | StreamEvent] = []
    with read(path_of(name), events=True, network="regtest", keylog=keylog_of(name)) as reader:
        try:
            items.extend(reader)
        except CaptureError:
            if not INDEX[name].get("cut"):
                raise
    return tuple(items)


def messages_of(name: str) -> list[Message]:
    return [item for item in items_of(name) if isinstance(item, Message)]


def events_of(name: str) -> list[StreamEvent]:
    return [item for item in items_of(name) if isinstance(item, StreamEvent)]


def printed(*arguments: str) -> tuple[str, int]:
    """What the command line writes to standard output, and its exit status."""
    written = io.BytesIO()
    out = io.TextIOWrapper(written, encoding="utf-8", write_through=True)
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        try:
            main(list(arguments))
        except SystemExit as end:
            return written.getvalue().decode(), int(end.code or 0)
    raise AssertionError("main() ends with SystemExit")
