# SPDX-License-Identifier: GPL-2.0-or-later
"""What was said on a live connection, as the messages that captures give."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count

from ..capture.message import Message, msgtype_text
from ..layers.envelope import BTC, has_old_header
from ..networks import Network
from ..wire.events import Frame
from ..wire.hashes import checksum
from ..wire.header import HEADER_SIZE, OLD_HEADER_SIZE, message_name, old_frame
from ..wire.transport import Transport


class Recorder:
    """An observer of a connection that hands on every packet as a `Message`.

    :param sink: called with each message
    :param ours: our end as "host:port"; `theirs` likewise
    :param connection: its number, where there are several
    :param numbers: of the messages, where several connections count together
    :param transport: by which they travel; without it v1
    """

    def __init__(self, sink: Callable[[Message], object], network: Network, ours: str, theirs: str,
                 connection: int = 0, numbers: Iterator[int] | None = None, transport: Transport | None = None) -> None:
        self._transport = transport
        self._sink, self._network, self._ends = sink, network, (ours, theirs)
        self._connection, self._numbers = connection, numbers or count(1)

    def __call__(self, packet: BTC, sent: bool) -> None:
        self._sink(self.message(packet, sent, next(self._numbers)))

    def message(self, packet: BTC, sent: bool, number: int = 1) -> Message:
        """A packet as a message of this moment."""
        source, destination = self._ends if sent else self._ends[::-1]
        frame = frame_of(bytes(packet))
        transport = self._transport.name if self._transport else "v1"
        if transport == "v2":  # which has no checksum
            frame.verdict = "none"
        return Message(time.time_ns(), source, destination, self._connection, self._network, transport,
                       msgtype_text(frame.msgtype), frame.payload, frame.verdict, (number, number), frame)


def frame_of(raw: bytes) -> Frame:
    """The frame of one message, given with its header of 24 bytes, or of 20 as before February 2012."""
    if has_old_header(raw):
        return old_frame(raw[:4], raw[4:16], raw[OLD_HEADER_SIZE:], 0)
    payload, command, said = raw[HEADER_SIZE:], raw[4:16], raw[20:HEADER_SIZE]
    verdict = "ok" if said == checksum(payload) else "bad"
    return Frame(raw[:4], message_name(command), command, len(payload), said, payload, 0, len(raw), verdict)
