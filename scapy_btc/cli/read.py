# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc read`: list the messages of captures."""

from __future__ import annotations

from typing import Any

import click

from . import options


@click.command(short_help="List the messages of captures.", epilog="""
\b
Examples:
  scapy-btc read capture.pcapng
  scapy-btc read -V --msgtype version,verack capture.pcap
  scapy-btc read -T jsonl capture.pcap.gz | jq -c '[.time, .msgtype, .derived.txid]'
  scapy-btc read --keylog keys.log capture.pcapng
  scapy-btc read --txid 4a5e1e4b... -w one-transaction.pcapng capture.pcapng
  scapy-btc read --follow ~/.bitcoin/message_capture
  tcpdump -i any -w - port 8333 | scapy-btc read -
""")
@click.argument("files", nargs=-1, required=True, metavar="FILE...",
                type=click.Path(exists=False, allow_dash=True))
@options.output
@options.filters
@options.keylog
@options.guess
@click.option("--follow", is_flag=True, help="Message captures of Bitcoin Core: go on while they grow.")
def read(files: tuple[str, ...], **chosen: Any) -> None:
    """List the messages of captures: pcap, pcapng (also gzip or zstd), Bitcoin Core's message captures
    (msgs_recv.dat, msgs_sent.dat, or a directory of them) and block files (blk*.dat); - is standard input.

    The listing checks envelopes, and the encoding of everything but blocks; -V, -T jsonl, --strict and stats check all:
    also blocks, proof of work, merkle roots, witness commitments and amounts.
    """
    from .reading import read_files
    raise SystemExit(read_files(files, chosen))
