# SPDX-License-Identifier: GPL-2.0-or-later
"""A live connection's transport, as bytes: frames of the peer come out, what is to be sent goes in. v1 is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..networks import Network, by_magic
from ..protocol import MAX_SIZE
from .events import Event, Frame
from .framing import V1Decoder


class Transport(Protocol):
    """What sockets need of a transport. After every call, whatever `to_send` gives has to be sent."""

    @property
    def name(self) -> str:
        """ "v1" or "v2"; "" while it is not known yet."""

    @property
    def handshake_done(self) -> bool:
        """Whether both ends agree on it: what is sent is read as a message."""

    @property
    def try_v1(self) -> bool:
        """Whether the peer, now that the connection is over, may be one that speaks v1 only, and this was not v1."""

    @property
    def broken(self) -> str:
        """Why nothing that the peer sends can be read any more; "" while it can."""

    @property
    def held(self) -> int:
        """Bytes of the peer that wait for the rest of what they belong to; after `close`, in vain."""

    def receive(self, data: bytes) -> list[Frame]:
        """Take bytes of the peer; the messages that they complete. What comes after `broken` is dropped."""

    def close(self) -> list[Frame]:
        """The peer sends nothing more; what still waited."""

    def send(self, raw: bytes) -> None:
        """Send a message, given with its header as in v1."""

    def to_send(self) -> bytes:
        """Remove and return the bytes to be written to the socket, in order."""


class V1Transport:
    """Messages in the clear: what is sent goes out as given.

    :param network: whose messages are accepted; None accepts any known network's
    """

    name = "v1"
    handshake_done = True
    try_v1 = False

    def __init__(self, network: Network | None = None) -> None:
        self._decoder = V1Decoder([network] if network else None, live=True)
        self._out: list[bytes] = []
        self._end = 0  # stream offset behind the last message
        self.broken = ""

    @property
    def held(self) -> int:
        return self._decoder.offset - self._end

    def receive(self, data: bytes) -> list[Frame]:
        if self.broken:
            return []
        frames = self._frames(self._decoder.feed(data))
        if self._decoder.lost:
            self.broken = what_came(data[max(0, self._end + len(data) - self._decoder.offset):])
        return frames

    def close(self) -> list[Frame]:
        return self._frames(self._decoder.close())

    def _frames(self, events: Sequence[Event]) -> list[Frame]:
        frames = [event for event in events if isinstance(event, Frame)]
        if frames:
            self._end = frames[-1].end
        return frames

    def send(self, raw: bytes) -> None:
        self._out.append(raw)

    def to_send(self) -> bytes:
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)


def what_came(data: bytes) -> str:
    """What a peer sent instead of a message."""
    if by_magic(data[:4]):
        return f"the peer sent a message that announces more than {MAX_SIZE:,} bytes"
    start = data[:16]
    text = f" ({start.decode()!r})" if start.isascii() and start.decode().strip().isprintable() else ""
    return f"the peer sent no message of Bitcoin's: {start.hex()}{text}"
