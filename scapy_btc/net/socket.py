# SPDX-License-Identifier: GPL-2.0-or-later
"""A Scapy stream socket that speaks Bitcoin: one packet for one message, in linear time, whole sends."""

from __future__ import annotations

import socket
from collections import deque
from typing import Any

from scapy.packet import Packet
from scapy.supersocket import StreamSocket, SuperSocket

from ..errors import FormatError
from ..layers.envelope import BTC
from ..networks import Network, by_magic
from ..protocol import MAX_SIZE
from ..wire.events import Frame
from ..wire.framing import V1Decoder

READ = 1 << 18


class BTCStreamSocket(StreamSocket):
    """`StreamSocket` for `BTC`: works with `sr1`, `sndrcv`, `sniff(opened_socket=...)`.

    Scapy's own peeks into the socket and dissects anew for every segment, and sends once; this one frames what comes
    as the capture reader does, and sends everything.

    :param sock: a connected TCP socket
    :param network: whose messages are accepted; None accepts any known network's
    """

    desc = "speaks Bitcoin's messages over TCP"

    def __init__(self, sock: socket.socket, network: Network | None = None) -> None:
        super().__init__(sock, BTC)
        self._decoder = V1Decoder([network] if network else None, live=True)
        self._queue: deque[Packet] = deque()
        self._ended = False
        self._reason = ""

    def recv(self, x: int | None = None, **kwargs: Any) -> Packet:
        """The next message, waited for as long as the socket's timeout allows.

        Raises EOFError at the end of the stream, FormatError when bytes come that are no message.
        """
        while not self._queue:
            self.fill()
        return self._queue.popleft()

    def fill(self) -> None:
        """Read once from the socket, and queue the messages that are then whole. Raises as `recv` does."""
        if self._reason:
            raise FormatError(self._reason)
        if self._ended:
            raise EOFError
        data = self.ins.recv(READ)
        events = self._decoder.feed(data) if data else self._decoder.close()
        self._ended = not data
        self._queue.extend(BTC(event.header + event.payload) for event in events if isinstance(event, Frame))
        if self._decoder.lost and data:
            self._reason = describe(data)

    def waiting(self) -> bool:
        """Whether a message is there already."""
        return bool(self._queue)

    def send(self, x: Packet) -> int:
        """Send all of a packet; the number of its bytes."""
        data = bytes(x)
        x.sent_time = None
        self.ins.sendall(data)
        return len(data)

    @staticmethod
    def select(sockets: list[SuperSocket], remain: float | None = None) -> list[SuperSocket]:
        """The sockets that have something, also what was read with an earlier message."""
        queued: list[SuperSocket] = [s for s in sockets if isinstance(s, BTCStreamSocket) and s.waiting()]
        return queued or StreamSocket.select(sockets, remain)


def describe(data: bytes) -> str:
    """What a peer sent instead of a message."""
    if by_magic(data[:4]):
        return f"a message that announces more than {MAX_SIZE:,} bytes"
    return f"no message of Bitcoin's: {data[:16].hex()}"
