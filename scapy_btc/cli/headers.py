# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc headers`: the chain of block headers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from . import options
from .talking import node as node_options
from .talking import output, talking, tracked

if TYPE_CHECKING:
    from ..chain.headers import HeaderChain
    from ..discovery.header_store import HeaderStore


@click.command(short_help="Fetch and check the chain of block headers.", epilog="""
\b
Examples:
  scapy-btc headers
  scapy-btc headers --network testnet4 --store headers.sqlite 192.0.2.1
  scapy-btc headers --after 0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206 -c 10
  scapy-btc headers --network mainnet -T jsonl 192.0.2.1 > headers.jsonl
""")
@node_options
@click.option("--store", type=click.Path(dir_okay=False), metavar="FILE",
              help="Keep the headers in this file (SQLite), and fetch only what it does not have.")
@click.option("--after", type=options.HashHex(), metavar="HASH",
              help="After this block; its height is not known, so only links and proof of work are checked.")
@click.option("-c", "count", type=click.IntRange(min=1), metavar="N", help="Stop after N headers.")
def headers(form: str, store: str | None, after: bytes | None, count: int | None, network: Any, **chosen: Any) -> None:
    """Fetch block headers up to the node's tip, and check them by the rules of the network: each must follow the one
    before it, have its proof of work and the difficulty that it must have, and a time that is allowed.
    """
    from ..text import plural

    if after and store:
        raise click.UsageError("--store keeps chains from the first block on; --after does not start there")
    number = 0
    with ExitStack() as stack:
        if after:
            client = stack.enter_context(talking(network=network, **chosen))
            for number, header in enumerate(islice(client.get_headers([after]), count), 1):
                show(form, "number", number, bytes(header))
            click.echo(f"{number:,} {plural(number, 'header')}, linked, each with its proof of work", err=True)
            return
        file, chain = opened(store, network, stack)
        client = stack.enter_context(talking(network=network, **chosen))
        expected = (client.peer.version.start_height or 0) - chain.height
        heights = islice(fetched(client, chain, file), count)
        for number, height in enumerate(tracked(heights, count or expected, "Headers"), 1):
            show(form, "height", height, chain.at(height))
    click.echo(f"{number:,} {plural(number, 'header')}, checked; "
               + (f"{store} goes to height {chain.height:,}" if store else f"height {chain.height:,}"), err=True)


def opened(store: str | None, network: Any, stack: ExitStack) -> tuple[HeaderStore | None, HeaderChain]:
    """The file, if there is one, and the chain to go on with."""
    from ..chain.headers import HeaderChain
    from ..discovery.header_store import HeaderStore

    if store is None:
        return None, HeaderChain(network)
    file = stack.enter_context(HeaderStore(store, network))
    return file, file.chain()


def fetched(client: Any, chain: HeaderChain, file: HeaderStore | None) -> Iterator[int]:
    """The heights at which the best chain has another header, as they come; tells what a reorganisation does."""
    from ..errors import PeerError
    from ..text import plural

    shown, received, beside = chain.height, 0, None
    try:
        for taken in client.sync_headers(chain):
            received += taken.received
            if file:
                file.save(chain)
            if taken.replaced:
                click.echo(f"scapy-btc: reorganisation: {taken.replaced:,} {plural(taken.replaced, 'header')} from "
                           f"height {taken.first:,} on replaced", err=True)
            if taken.first is not None:
                shown = chain.height
                yield from range(taken.first, chain.height + 1)
            beside = taken.height if taken.beside else None
        stated = client.peer.version.start_height or 0  # not said in older versions
        if not received and stated > chain.height:
            raise PeerError(f"the node states height {stated:,}, and sends no headers")
        if beside:
            click.echo(f"scapy-btc: the node is on another branch, to height {beside:,}, which has not more work than "
                       f"the one known, to height {chain.height:,}", err=True)
        elif not received and stated < chain.height:
            click.echo(f"scapy-btc: the node states height {stated:,}; {chain.height:,} is known", err=True)
    except PeerError:
        if file:
            file.save(chain)  # with what came before the error
        yield from range(shown + 1, chain.height + 1)
        raise


def show(form: str, name: str, number: int, raw: bytes) -> None:
    """One header, for people or for programs."""
    from ..chain.proof_of_work import difficulty
    from ..messages.parts import BTCBlockHeader
    from ..text import format_time
    from ..wire.hashes import hash_hex, sha256d

    block_hash, record = hash_hex(sha256d(raw)), BTCBlockHeader.plan.record(raw, 0, 80)[0]
    when = format_time(record["timestamp"] * 10**9)[:19] + "Z"
    output(form, f"{number:>7} {block_hash} {when} difficulty {difficulty(record['bits']):.8g}",
           {name: number, "block_hash": block_hash, **record})
