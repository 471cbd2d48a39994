# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc decode`: what a piece of hex is."""

from __future__ import annotations

import sys
from typing import Any

import click

from . import options

KINDS = ("message", "tx", "block", "header")


@click.command(short_help="Say what a piece of hex is: a message, transaction, block or header.", epilog="""
\b
Examples:
  scapy-btc decode f9beb4d976657261636b000000000000000000005df6e0e2
  bitcoin-cli getblock $HASH 0 | scapy-btc decode -T json
  scapy-btc decode --as inv 01010000003ba3edfd...
""")
@click.argument("hexes", nargs=-1, metavar="[HEX]...")
@click.option("--as", "kind", metavar="KIND", help="What it is: message, header, or the name of a message whose "
              "payload it is (tx, block, inv ...). Default: found out.")
@options.network
@click.option("-T", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="How to print: a tree, or the record format.")
def decode(hexes: tuple[str, ...], kind: str | None, network: Any, form: str) -> None:
    """Decode a message (with its header), transaction, block or block header, given as hex or on standard input.

    White space in the hex and a leading 0x do not matter. Several pieces are given as several arguments, or one to a
    line; several messages may also stand in one piece. The exit status is 1 when something could not be read.
    """
    from ..errors import CaptureError, FormatError
    from .decoding import decode_piece, glued

    if not hexes and sys.stdin is None:
        raise CaptureError("standard input is closed")
    pieces = hexes if hexes and hexes != ("-",) else tuple(sys.stdin.read().split("\n"))
    failed = False
    for piece in filter(None, ("".join(piece.split()) for piece in pieces)):
        try:
            for data in glued(bytes.fromhex(piece.removeprefix("0x").removeprefix("0X")), kind):
                text, readable = decode_piece(data, kind, network, form)
                failed = failed or not readable
                click.echo(text)
        except FormatError as error:
            failed = True
            click.echo(f"scapy-btc: {error}", err=True)
        except ValueError:
            failed = True
            click.echo(f"scapy-btc: not hex: {piece[:40]}{'...' if len(piece) > 40 else ''}", err=True)
    if failed:
        raise SystemExit(1)
