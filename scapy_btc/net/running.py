# SPDX-License-Identifier: GPL-2.0-or-later
"""A node in a thread of its own, for programs without an event loop, as the Scapy shell."""

from __future__ import annotations

from collections.abc import Callable

from ..layers.registry import BTCMessage
from ..messages.transactions import BTCTx
from ..peer.block_store import BlockStore
from ..peer.mempool import Mempool
from .background import Background
from .link import PeerInfo
from .node import BTCNode
from .scripting import Script
from .transports import Choice


class RunningNode:
    """The methods of `BTCNode`, for callers that block. Close it after use; `with` does."""

    def __init__(self, node: BTCNode) -> None:
        self._node = node
        self._background = Background()
        try:
            self._background.call(node.start())
        except BaseException:
            self._background.close()
            raise

    def __enter__(self) -> RunningNode:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, listen no longer, end the thread."""
        if not self._background.closed:
            self._background.call(self._node.stop())
            self._background.close()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where it listens, the first of them."""
        return self._node.address

    @property
    def listening(self) -> list[tuple[str, int]]:
        """All of them."""
        return self._node.listening

    @property
    def height(self) -> int:
        return self._node.height

    @property
    def tip(self) -> str:
        """Hash of the last block, as reversed hex."""
        return self._node.tip

    @property
    def store(self) -> BlockStore:
        """Its blocks: to look at, while nothing happens."""
        return self._node.store

    @property
    def pool(self) -> Mempool:
        """Its unconfirmed transactions; likewise."""
        return self._node.pool

    @property
    def peers(self) -> list[PeerInfo]:
        return self._background.run(lambda: self._node.peers)

    def mine(self, blocks: int = 1) -> list[str]:
        """See `BTCNode.mine`."""
        return self._background.run(lambda: self._node.mine(blocks))

    def submit(self, transaction: BTCTx | bytes) -> str:
        """See `BTCNode.submit`."""
        return self._background.run(lambda: self._node.submit(transaction))

    def when(self, name: str | type[BTCMessage], script: Script | None) -> None:
        """See `BTCNode.when`. The script runs in the node's thread."""
        self._background.run(lambda: self._node.when(name, script))

    def connect_to(self, host: str, port: int, timeout: float = 10.0, transport: Choice = "auto") -> PeerInfo:
        """See `BTCNode.connect_to`."""
        return self._background.call(self._node.connect_to(host, port, timeout, transport))

    def wait_until(self, met: Callable[[], object], timeout: float = 10.0) -> None:
        """See `BTCNode.wait_until`. The function is called in the node's thread."""
        self._background.call(self._node.wait_until(met, timeout))
