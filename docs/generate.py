# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the parts of the documentation that the declarations already say; with --check it only compares."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import scapy_btc.all  # noqa: F401  # registers every message
from scapy_btc.layers.registry import BTCMessage
from scapy_btc.messages.catalogue import catalogue, field_lines, finding_rows, purpose

HERE = Path(__file__).parent
HEAD = """\
# Messages

Made by `make docs` from the declarations in `scapy_btc/messages/`. `scapy-btc messages NAME` prints the same for one
message. Hashes are 32 bytes on the wire and shown reversed; integers are little-endian unless it says otherwise.

"""


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join('' if cell is None else str(cell).replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def row(cls: type[BTCMessage]) -> tuple[Any, ...]:
    answers = ", ".join(f"`{name}`" for name in cls.answered_by)
    return f"[`{cls.msgtype}`](#{anchor(cls)})", cls.bip, cls.since, cls.short_id, answers, purpose(cls)


def anchor(cls: type[BTCMessage]) -> str:
    return re.sub(r"[^\w-]", "", cls.msgtype.lower())


def messages_page() -> str:
    """The catalogue: a table for each status, then the fields of every message."""
    classes = catalogue()
    lines = []
    for status in dict.fromkeys(cls.status for cls in classes):
        lines += [f"## {status.capitalize()}", ""]
        lines += table(("message", "BIP", "since", "id", "answered by", "what it is for"),
                       [row(cls) for cls in classes if cls.status == status])
    lines += ["## Fields", ""]
    for cls in classes:
        lines += [f"### {cls.msgtype}", "", f"`{cls.__name__}`. {purpose(cls)}", ""]
        fields = list(field_lines(cls, ""))
        lines += ["```", *fields, "```", ""] if fields else ["No fields.", ""]
    return HEAD + "\n".join(lines).rstrip() + "\n"


def with_findings(page: str) -> str:
    """The page with the table of findings between its two marks."""
    rows = "\n".join(table(("code", "severity", "meaning"),
                           [(f"`{code}`", severity, meaning) for code, severity, meaning in finding_rows()]))
    return re.sub(r"(<!-- findings -->\n).*?(<!-- /findings -->)",
                  lambda marks: f"{marks[1]}{rows}{marks[2]}", page, flags=re.DOTALL)


def main(arguments: list[str]) -> None:
    records = HERE / "records.md"
    made = {HERE / "messages.md": messages_page(), records: with_findings(records.read_text(encoding="utf-8"))}
    for path, text in made.items():
        if arguments == ["--check"]:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                sys.exit(f"{path.name} is not what the declarations say; run: make docs")
        else:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
