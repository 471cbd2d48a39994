# SPDX-License-Identifier: GPL-2.0-or-later
"""`sniff(session=BTCSession)`: one packet per message, on captures and live."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scapy.config import conf
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from scapy.sessions import DefaultSession

from ..networks import Network
from .message import Message
from .reader import keys_of
from .streams import StreamTable

if TYPE_CHECKING:
    from ..bip324.keylog import KeyLog

_LINKTYPES = {"Ether": 1, "CookedLinux": 113, "CookedLinuxV2": 276, "Loopback": 0, "IP": 101, "IPv6": 101}


class BTCSession(DefaultSession):
    """Gives `.../IP/TCP/BTC/...` for every whole message, and nothing else.

    The lower layers are those of the segment that completed the message, with its time. What was found wrong with a
    message stands in the packet's `comments`. Messages on any TCP port are found; bytes that the capture misses cost
    the message they belong to, and are never made up.

    :param network: read as this network; None goes by magic and port
    :param keylog: a file of keys of v2 connections (BIP 324); their messages look as in v1. It may come to be later
    """

    def __init__(self, *args: Any, network: Network | None = None,
                 keylog: KeyLog | str | os.PathLike[str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = StreamTable(network=network, keylog=keys_of(keylog, must_exist=False))
        self._frames = 0

    def recv(self, sock: Any) -> Iterator[Packet]:
        """Called by `sniff()` for the next packets of a socket or file."""
        try:
            packet = sock.recv()
        except EOFError:
            yield from self._packets(self._table.close(), None)
            raise
        if packet:
            yield from self.messages(packet)

    def messages(self, packet: Packet) -> Iterator[Packet]:
        """The messages that a captured packet completes."""
        self._frames += 1
        linktype = _LINKTYPES.get(type(packet).__name__, conf.l2types.layer2num.get(type(packet), -1))
        data = packet.original or bytes(packet)
        time_ns = int(float(packet.time) * 1e9)
        found = self._table.feed(self._frames, time_ns, linktype, data, packet.wirelen or len(data))
        yield from self._packets(found, packet)

    def process(self, pkt: Packet) -> Packet | None:
        """For callers that expect one packet for one: the last message that it completed."""
        last = None
        for last in self.messages(pkt):
            pass
        return last

    @staticmethod
    def _packets(found: Any, packet: Packet | None) -> Iterator[Packet]:
        for message in found:
            if not isinstance(message, Message):
                continue
            whole = lower_layers(message, packet) / message.packet
            whole.time = message.time_ns / 1e9
            if message.findings:
                whole.comments = [code.encode() for code in message.findings]
            yield whole


def lower_layers(message: Message, packet: Any) -> Packet:
    """The layers below a message: those of the packet that carried its end, or new ones where another set it free."""
    host, _, port = message.source.rpartition(":")
    to_host, _, to_port = message.destination.rpartition(":")
    host, to_host = host.strip("[]"), to_host.strip("[]")
    if packet is not None and TCP in packet:
        below = packet[TCP].underlayer
        if below is not None and (below.src, packet[TCP].sport) == (host, int(port)):
            lower: Packet = packet.copy()
            lower[TCP].remove_payload()
            return lower
    ip = IPv6(src=host, dst=to_host) if ":" in host else IP(src=host, dst=to_host)
    return ip / TCP(sport=int(port), dport=int(to_port), flags="PA")
