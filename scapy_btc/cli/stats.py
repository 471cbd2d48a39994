# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc stats`: tables of what captures hold."""

from __future__ import annotations

from typing import Any

import click

from . import options


@click.command(short_help="Count what captures hold: types, connections, handshakes, findings.", epilog="""
\b
Examples:
  scapy-btc stats capture.pcapng
  scapy-btc stats -T json capture.pcapng | jq .types
""")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(allow_dash=True))
@click.option("-T", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="How to print.")
@options.filters
@options.keylog
@click.option("--strict", is_flag=True, help="Exit with 3 when errors were found.")
def stats(files: tuple[str, ...], form: str, strict: bool, **chosen: Any) -> None:
    """Count messages and bytes by type and by connection, show the handshakes (user agent, services, height), and
    everything that was found wrong. Every message is checked, also the transactions inside blocks.
    """
    from .tables import count_files
    raise SystemExit(count_files(files, form, strict, chosen))
