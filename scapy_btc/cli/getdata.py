# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc getdata`: ask for a transaction or block."""

from __future__ import annotations

from typing import Any

import click

from . import options
from .talking import node as node_options
from .talking import output, talking

KINDS = {"tx": "MSG_WITNESS_TX", "wtx": "MSG_WTX", "block": "MSG_WITNESS_BLOCK", "cmpctblock": "MSG_CMPCT_BLOCK"}


@click.command(short_help="Ask a node for a transaction or block.", epilog="""
\b
Examples:
  scapy-btc getdata block 0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206
  scapy-btc getdata -T jsonl wtx HASH 127.0.0.1:18444 | jq .fields
""")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("wanted", metavar="HASH", type=options.HashHex())
@node_options
def getdata(kind: str, wanted: bytes, form: str, **chosen: Any) -> None:
    """Ask a node for a transaction (by txid or wtxid) or a block, and print every field of it."""
    from ..capture.records import fields_of

    with talking(**chosen) as client:
        found, = client.getdata((KINDS[kind], wanted))
        payload = found.self_build()
        record = {"msgtype": found.msgtype, "size": len(payload), "fields": fields_of(found.msgtype, payload),
                  "derived": type(found).derive(payload)}
        output(form, str(found.show(dump=True)).rstrip("\n") if form == "text" else "", record)
