# SPDX-License-Identifier: GPL-2.0-or-later
"""What came while something else was waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

MESSAGES = 1000
SIZE = 8 << 20


class Inbox:
    """The newest packets that nobody has taken yet: at most `MESSAGES`, and `SIZE` payload bytes beside the newest.

    :ivar lost: how many had to go
    """

    def __init__(self) -> None:
        self._packets: deque[Any] = deque()
        self._size = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._packets)

    def put(self, packet: Any) -> None:
        """Keep a packet that was received."""
        self._packets.append(packet)
        self._size += packet.length
        while len(self._packets) > MESSAGES or (self._size > SIZE and len(self._packets) > 1):
            self._size -= self._packets.popleft().length
            self.lost += 1

    def take(self, test: Callable[[Any], bool] | None = None) -> Any:
        """Remove and return the oldest packet, of whose message the function says yes; None: there is none."""
        for number, packet in enumerate(self._packets):
            if test is None or test(packet.payload):
                del self._packets[number]
                self._size -= packet.length
                return packet
        return None
