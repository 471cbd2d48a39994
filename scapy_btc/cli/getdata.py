# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc getdata`: ask for transactions and blocks."""

from __future__ import annotations

import re
from typing import Any

import click

from . import options
from .talking import DEFAULT, connection, form, output, talking, tracked

KINDS = {
    "tx": "MSG_WITNESS_TX", "wtx": "MSG_WTX", "block": "MSG_WITNESS_BLOCK", "strippedblock": "MSG_BLOCK",
    "filtered": "MSG_FILTERED_BLOCK", "cmpctblock": "MSG_CMPCT_BLOCK",
}  # fmt: skip
RATE = 1e-6
"""Of false hits, in the filter that is loaded."""


def hex_bytes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[bytes, ...]:
    try:
        return tuple(bytes.fromhex(value) for value in values)
    except ValueError:
        raise click.BadParameter("not hex") from None


@click.command(short_help="Ask a node for transactions and blocks.", epilog="""
\b
Examples:
  scapy-btc getdata block 0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206
  scapy-btc getdata -T jsonl tx HASH 127.0.0.1:18444 | jq .fields.outputs
  scapy-btc getdata -T hex block HASH HASH HASH > blocks.hex
  scapy-btc getdata block --compact HASH -w compact.pcapng
  scapy-btc getdata filtered HASH --match 751e76e8199196d454941c45d1b3a323f1433bd6
""")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("words", nargs=-1, required=True, metavar="HASH... [HOST[:PORT]]")
@connection
@form("text", "jsonl", "hex")
@click.option("--compact", is_flag=True, help="Fetch a block as a compact one, then the transactions it leaves out.")
@click.option("--match", "elements", callback=hex_bytes, multiple=True, metavar="HEX",
              help="For filtered: data to look for in scripts, such as the hash in an address; default: everything.")
def getdata(kind: str, words: tuple[str, ...], form: str, compact: bool, elements: tuple[bytes, ...],
            **chosen: Any) -> None:
    """Ask a node for objects by hash, check that they are these, and print every field (-T hex: the bytes).

    \b
    tx             a transaction by its txid, from the memory pool
    wtx            likewise by its wtxid
    block          a block with witnesses
    strippedblock  a block without them, as before 2017
    filtered       a block for a bloom filter: a proof, and the transactions that match (nodes with NODE_BLOOM)
    cmpctblock     a block by short ids; nodes send only their newest ones so

    A node says that it does not have a transaction; about a block that it does not have it says nothing.
    """
    from ..errors import NotFound, TimedOut

    if compact and kind != "block":
        raise click.UsageError("--compact is for block")
    if elements and kind != "filtered":
        raise click.UsageError("--match is for filtered")
    node, hashes = DEFAULT, list(words)
    if not re.fullmatch("[0-9a-fA-F]{40,}", words[-1]):
        node = hashes.pop()
    wanted = [options.HashHex().convert(word, None, None) for word in hashes]
    if not wanted:
        raise click.UsageError(f"no hash: {node!r} is not one")
    missing = 0
    with talking(node=node, **chosen) as client:
        if kind == "filtered":
            client.send(bloom_filter(elements))
        for block_hash in tracked(wanted, len(wanted), kind, chosen["hexdump"]):
            try:
                found = ([client.get_block(block_hash, compact=True)] if compact
                         else client.getdata((KINDS[kind], block_hash)))
            except (NotFound, TimedOut) as error:
                click.echo(f"scapy-btc: {error}", err=True)
                missing += 1
                continue
            for message in found:
                show(client, message, form)
    if missing:
        raise SystemExit(1)


def bloom_filter(elements: tuple[bytes, ...]) -> Any:
    """The `filterload` for these elements, or for everything."""
    from ..chain.bloom import BloomFilter
    from ..messages.bloom import BTCFilterLoad

    if not elements:
        return BTCFilterLoad(filter=b"\xff", n_hash_funcs=1)
    bloom = BloomFilter.for_elements(len(elements), RATE)
    for element in elements:
        bloom.insert(element)
    return BTCFilterLoad(filter=bytes(bloom), n_hash_funcs=bloom.hash_funcs)


def show(client: Any, message: Any, form: str) -> None:
    """Print one object."""
    from ..capture.records import message_record

    if form == "hex":
        click.echo(message.self_build().hex())
    elif form == "text":
        click.echo(f"{message.summary()}\n{str(message.show(dump=True)).rstrip()}\n")
    else:
        output(form, "", message_record(client.recorder(print).message(client.peer.envelope(message), False)))
