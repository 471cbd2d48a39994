# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc sniff`: messages as they pass an interface."""

from __future__ import annotations

from typing import Any

import click

from . import options


@click.command(short_help="Show the messages that pass an interface.", epilog="""
\b
Examples:
  sudo scapy-btc sniff -i lo --network regtest
  sudo scapy-btc sniff -i eth0 -f 'tcp port 8333' --msgtype version,tx -T jsonl
  sudo tcpdump -i any -w - tcp port 8333 | scapy-btc sniff -i -
""")
@click.option("-i", "interfaces", multiple=True, metavar="IFACE",
              help="Listen on this interface; any: all that are up (default); - reads a capture from "
              "standard input.")
@click.option("-f", "bpf", metavar="BPF", help="Capture filter, as tcpdump has it.")
@options.output
@options.filters
@options.live_keylog
@options.guess
def sniff(interfaces: tuple[str, ...], bpf: str | None, **chosen: Any) -> None:
    """Show the messages that pass an interface, until Ctrl-C.

    Every TCP port is looked at; connections are recognised by what they say. Listening needs the right to capture
    (root, or CAP_NET_RAW); without it, let tcpdump or dumpcap write into a pipe, and read that.
    """
    from .reading import read_live
    raise SystemExit(read_live(interfaces, bpf, chosen))
