# SPDX-License-Identifier: GPL-2.0-or-later
"""A Scapy stream socket that speaks Bitcoin: one packet for one message, in linear time, whole sends."""

from __future__ import annotations

import socket
import time
from collections import deque
from typing import Any

from scapy.packet import Packet
from scapy.supersocket import StreamSocket, SuperSocket

from ..chain.address import format_endpoint
from ..errors import Disconnected, FormatError, HandshakeError, PeerError, TimedOut
from ..layers.envelope import BTC, framed
from ..layers.registry import BTCMessage
from ..networks import Network
from ..wire.events import Frame
from ..wire.transport import Transport, V1Transport
from .dialing import dial
from .transports import Choice, KeyLogFile, is_held, no_agreement, opened

READ = 1 << 18


class BTCStreamSocket(StreamSocket):
    """`StreamSocket` for `BTC`: works with `sr1`, `sndrcv`, `sniff(opened_socket=...)`.

    Scapy's own peeks into the socket and dissects anew for every segment, and sends once; this one frames what comes
    as the capture reader does, and sends everything.

    :param sock: a connected TCP socket
    :param network: whose messages are accepted; None accepts any known network's
    :param transport: how messages travel; without it in the clear (v1)
    """

    desc = "speaks Bitcoin's messages over TCP"

    def __init__(self, sock: socket.socket, network: Network | None = None, transport: Transport | None = None) -> None:
        super().__init__(sock, BTC)
        self.network = network
        self.transport: Transport = transport or V1Transport(network)
        self._queue: deque[Frame] = deque()
        self._ended = False
        self.flush()

    def recv(self, x: int | None = None, **kwargs: Any) -> Packet:
        """The next message, waited for as long as the socket's timeout allows.

        Raises EOFError at the end of the stream, FormatError when bytes come that are no message.
        """
        frame = self.recv_frame()
        return framed(frame.header + frame.payload)

    def recv_frame(self) -> Frame:
        """Likewise, as it came, with the verdict on its checksum. Raises as `recv` does."""
        while not self._queue:
            self.fill()
        return self._queue.popleft()

    def fill(self) -> None:
        """Read once from the socket, and queue the messages that are then whole. Raises as `recv` does."""
        if self.transport.broken:
            raise FormatError(self.transport.broken)
        if self._ended:
            raise EOFError
        data = self.ins.recv(READ)
        frames = self.transport.receive(data) if data else self.transport.close()
        self._ended = not data
        self._queue.extend(frames)
        self.flush()

    def agree(self, timeout: float) -> None:
        """Wait until both ends speak the transport; for v1 there is nothing to wait for.

        Raises TimeoutError after so many seconds, OSError, and what `recv` raises.
        """
        deadline = time.monotonic() + timeout
        while not self.transport.handshake_done:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self.ins.settimeout(remaining)
            self.fill()

    def flush(self) -> None:
        """Write what the transport has to send by itself."""
        data = self.transport.to_send()
        if data:
            self.ins.sendall(data)

    def waiting(self) -> bool:
        """Whether a message is there already."""
        return bool(self._queue)

    def send(self, x: Packet) -> int:
        """Send all of a packet; the number of its bytes in v1. A message without an envelope gets one."""
        data = bytes(BTC(magic=self.network) / x if isinstance(x, BTCMessage) else x)
        x.sent_time = None
        self.transport.send(data)
        self.flush()
        return len(data)

    @staticmethod
    def select(sockets: list[SuperSocket], remain: float | None = None) -> list[SuperSocket]:
        """The sockets that have something, also what was read with an earlier message."""
        queued: list[SuperSocket] = [s for s in sockets if isinstance(s, BTCStreamSocket) and s.waiting()]
        return queued or StreamSocket.select(sockets, remain)


def open_socket(host: str, port: int, network: Network, timeout: float = 10.0, proxy: str | None = None,
                transport: Choice = "auto", keylog: KeyLogFile = None) -> BTCStreamSocket:
    """Connect to a node, and agree on a transport.

    :param timeout: seconds for each of the two
    :param proxy: "host:port" of a SOCKS5 proxy
    :param transport: "v1", "v2" (BIP 324), or "auto" for v2 and, as Bitcoin Core does it, v1 in another connection
        where the node closes the first one without an answer; or `V2Options`
    :param keylog: file that gets the key of a v2 connection

    Raises Refused, TimedOut, Disconnected, HandshakeError; BTCError where the key log cannot be written.
    """
    where = format_endpoint(host, port)
    spoken = opened(transport, network, keylog)
    sock = dial(host, port, timeout, proxy)
    failure: PeerError
    try:
        found = BTCStreamSocket(sock, network, spoken)
        if not is_held(transport):
            found.agree(timeout)
        return found
    except TimeoutError:
        failure = TimedOut(f"{where}: {no_agreement(spoken, timeout)}")
    except FormatError as error:
        failure = HandshakeError(f"{where}: {error}")
    except (EOFError, OSError) as error:
        reason = getattr(error, "strerror", None) or "the peer closed the connection"
        failure = Disconnected(f"{where}: {reason} during the v2 handshake")
    except BaseException:
        sock.close()
        raise
    sock.close()
    if transport == "auto" and spoken.try_v1 and not isinstance(failure, TimedOut):
        return BTCStreamSocket(dial(host, port, timeout, proxy), network)
    raise failure
