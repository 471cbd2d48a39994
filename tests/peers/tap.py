# SPDX-License-Identifier: GPL-2.0-or-later
"""What tcpdump would have captured, without its rights: a relay that keeps every byte as a TCP segment."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.packet import Raw
from scapy.utils import wrpcap

End = tuple[str, int]


class Tap:
    """Relays one connection to an address; `port` is where to connect instead, on 127.0.0.1."""

    def __init__(self, to: End) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: tuple[End, End] = (("", 0), to)
        self._segments: list[tuple[float, int, bytes]] = []
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve)]

    def __enter__(self) -> Tap:
        self._threads[0].start()
        return self

    def __exit__(self, *exception: object) -> None:
        for sock in (self._listener, *self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in (self._listener, *self._sockets):
            sock.close()

    def _serve(self) -> None:
        with suppress(OSError):
            client, self._ends = self._accept()
            target = socket.create_connection(self._to)
            self._sockets += [client, target]
            back = threading.Thread(target=self._pump, args=(target, client, 1))
            self._threads.append(back)
            back.start()
            self._pump(client, target, 0)

    def _accept(self) -> tuple[socket.socket, tuple[End, End]]:
        client, address = self._listener.accept()
        return client, (address, self._to)

    def _pump(self, source: socket.socket, sink: socket.socket, side: int) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 14):
                self._segments.append((time.time(), side, data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def write(self, path: Path) -> None:
        """A pcap of the connection, from its SYN on."""
        next_byte = [1000, 5000]
        packets = []

        def put(moment: float, side: int, flags: str, data: bytes = b"") -> None:
            (source, sport), (destination, dport) = self._ends if side == 0 else self._ends[::-1]
            packet = IP(src=source, dst=destination) / TCP(
                sport=sport, dport=dport, flags=flags, seq=next_byte[side],
                ack=next_byte[1 - side] if "A" in flags else 0)
            if data:
                packet /= Raw(data)
            packet.time = moment
            packets.append(packet)
            next_byte[side] += len(data) + ("S" in flags)

        begin = self._segments[0][0] - 0.001
        for side, flags in ((0, "S"), (1, "SA"), (0, "A")):
            put(begin, side, flags)
        for moment, side, data in self._segments:
            put(moment, side, "PA", data)
        wrpcap(str(path), packets)
