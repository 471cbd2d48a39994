# SPDX-License-Identifier: GPL-2.0-or-later
"""A node in a thread of its own, used where an event loop runs already, as in notebooks."""

from __future__ import annotations

import asyncio

from scapy_btc.net.client import connect
from scapy_btc.net.node import BTCNode
from scapy_btc.net.proxy import BTCProxy


def test_inside_a_running_loop() -> None:
    async def use() -> int:
        with (BTCNode(blocks=3) as node, BTCProxy(node.address) as proxy,
              connect(*proxy.address) as client):
            return len(list(client.get_headers()))

    assert asyncio.run(use()) == 3
