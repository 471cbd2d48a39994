# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc shell`: Scapy's shell with everything loaded."""

from __future__ import annotations

import click

BANNER = """\
Bitcoin's messages are loaded: {count} of them. Four things to try:

    >>> (BTC(magic="regtest") / BTCPing(nonce=5)).show2()                # lengths and checksum computed
    >>> fuzz(BTC() / BTCVersion()).show2()                               # random where you set nothing
    >>> {example}
    >>> node = BTCNode(blocks=120).run(); client = connect(*node.address); client.get_block(node.tip).show()
"""

OF_A_FILE = 'for m in read("capture.pcapng"): print(m.packet.summary())       # every message of a capture'
OF_THE_FILE = "for m in messages: print(m.packet.summary())                     # the {count} of {file}"


@click.command(short_help="Open Scapy's shell with every message loaded.")
@click.argument("file", required=False, type=click.Path(exists=True))
def shell(file: str | None) -> None:
    """Open Scapy's interactive shell with all Bitcoin layers loaded.

    With a capture FILE its messages are there as the list `messages`.
    """
    from scapy.config import conf
    from scapy.main import interact

    from .. import all as everything
    from ..capture.reader import read
    from ..layers.registry import messages
    names = {name: getattr(everything, name) for name in everything.__all__}
    example = OF_A_FILE
    if file:
        names["messages"] = list(read(file))
        example = OF_THE_FILE.format(count=f"{len(names['messages']):,}", file=file)
    # printed here, because Scapy shows a banner of ours in some interpreters only; its picture would push it away
    click.echo(BANNER.format(count=len(list(messages())), example=example))
    conf.fancy_banner = False
    interact(mydict=names, argv=["scapy-btc"])
