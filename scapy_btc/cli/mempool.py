# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc mempool`: watch the transactions that nodes announce."""

from __future__ import annotations

from typing import Any

import click

from . import options
from .ending import status_after
from .talking import DEFAULT, connection, host_and_port, output, talking
from .talking import form as form_option


@click.command(short_help="Watch transactions as nodes announce them.", epilog="""
\b
Examples:
  scapy-btc mempool                                      # the node on this machine, until Ctrl-C
  scapy-btc mempool -c 100 -T jsonl node1:8333 node2:8333 --network mainnet | jq -c '[.txid, .feerate]'
  scapy-btc mempool --peers 8 --network mainnet 192.0.2.1   # and 7 more that it knows
  scapy-btc mempool --now                                # only the ids of what waits there now
  scapy-btc mempool -r capture.pcapng                    # of a capture
""")
@click.argument("nodes", nargs=-1, metavar="[HOST[:PORT]]...")
@click.option("--peers", type=click.IntRange(min=1), metavar="N",
              help="Keep N connections; more than nodes are named are filled with peers that those know.")
@click.option("-c", "limit", type=click.IntRange(min=1), metavar="N", help="Stop after N transactions.")
@click.option("--for", "seconds", type=options.POSITIVE, metavar="SECONDS",
              help="Stop after so long.")
@click.option("--hold", type=options.NOT_NEGATIVE, default=0.0, metavar="SECONDS",
              help="Print each transaction so long after it came: then more nodes have announced it.")
@click.option("--now", is_flag=True,
              help="Print what one node has in its pool now, by wtxid (by txid before BIP 339), and end (BIP 35).")
@click.option("-r", "source", metavar="FILE", help="Watch the messages of a capture instead.")
@connection
@form_option("text", "jsonl")
def mempool(nodes: tuple[str, ...], network: Any, peers: int | None, limit: int | None, seconds: float | None,
            hold: float, now: bool, source: str | None, form: str, **how: Any) -> None:
    """Print each transaction when it comes: id, size, outputs and addresses, fee where the transactions that it spends
    were seen, too, and who announced it first. The closing table counts for each peer.

    Connections are kept alive; one that is lost is made again, or replaced by another peer.
    """
    if source and nodes:
        raise click.UsageError("-r watches a capture, not nodes")
    if now:
        ids_now(nodes, network, form, how)
        return
    from ..analysis.mempool import MempoolWatch
    from .watching import Lines, watch_capture, watch_nodes

    watch = MempoolWatch(network)
    lines = Lines(watch, form, limit, hold)
    stop = None
    try:
        if source:
            watch_capture(source, lines, how["keylog"])
        else:
            ends = [(host, port or network.port) for host, port in map(host_and_port, nodes or (DEFAULT,))]
            watch_nodes(ends, peers or len(ends), network, lines, seconds, **how)
    except KeyboardInterrupt as interrupt:
        stop = interrupt
    lines.close()
    raise SystemExit(status_after(stop, normal=True) or int(not source and not lines.connected))


def ids_now(nodes: tuple[str, ...], network: Any, form: str, how: dict[str, Any]) -> None:
    """The ids that one node has now. Only nodes that offer NODE_BLOOM answer; others close the connection."""
    if len(nodes) > 1:
        raise click.UsageError("--now asks one node")
    with talking(node=nodes[0] if nodes else DEFAULT, network=network, **how) as client:
        found = client.mempool()
        kind = "wtxid" if "wtxidrelay" in client.peer.agreed else "txid"
        for tx_id in found:
            output(form, tx_id, {kind: tx_id})
    click.echo(f"{len(found):,} transaction{'' if len(found) == 1 else 's'}", err=True)
