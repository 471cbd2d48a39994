# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc messages`: the catalogue of messages."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from .options import suggestion


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from ..messages.catalogue import catalogue
    return [CompletionItem(cls.msgtype) for cls in catalogue() if cls.msgtype.startswith(incomplete)]


@click.command(short_help="Say what messages there are, and what is in them.", epilog="""
\b
Examples:
  scapy-btc messages
  scapy-btc messages inv
  scapy-btc messages --schema > record.schema.json
""")
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the record format (-T jsonl).")
@click.option("--findings", is_flag=True, help="Print what can be found wrong with a message.")
def messages(name: str | None, schema: bool, findings: bool) -> None:
    """List all messages; with a NAME: its fields, limits, where it is specified, and who answers it."""
    from ..messages import catalogue
    if schema:
        import orjson

        from ..capture.schema import record_schema
        click.echo(orjson.dumps(record_schema(), option=orjson.OPT_INDENT_2).decode())
    elif findings:
        click.echo(table([("code", "severity", "meaning"), *catalogue.finding_rows()]))
    elif name:
        found = catalogue.explain(name)
        if found is None:
            hint = suggestion(name) or "; scapy-btc messages lists them all"
            raise click.UsageError(f"no message is called {name!r}{hint}")
        click.echo(found)
    else:
        click.echo(table([("message", "status", "BIP", "since", "id", "what it is for"), *catalogue.rows()]))


def table(rows: list[tuple[Any, ...]]) -> str:
    """Columns as wide as they need be, the last one free."""
    text = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in text) for i in range(len(text[0]) - 1)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
                     for row in text)
