# SPDX-License-Identifier: GPL-2.0-or-later
"""Small servers on loopback: DNS, SOCKS5, HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

End = tuple[str, int]


class Dns:
    """A name server over UDP.

    :param zone: addresses by name; None never answers, bytes are sent as the answer; unknown names do not exist
    :ivar asked: (name, type) of every question
    """

    def __init__(self, zone: dict[str, list[str] | bytes | None]) -> None:
        self.zone, self.asked = zone, list[tuple[str, str]]()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.end: End = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Dns:
        return self

    def __exit__(self, *exception: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.end)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            name = query.question[0].name.to_text(omit_final_dot=True)
            kind = dns.rdatatype.to_text(query.question[0].rdtype)
            self.asked.append((name, kind))
            known = self.zone.get(name, [])
            if isinstance(known, bytes):
                self._socket.sendto(data[:2] + known, peer)
            elif known is not None:
                self._socket.sendto(self._answer(query, name, kind, known), peer)

    def _answer(self, query: dns.message.Message, name: str, kind: str, known: list[str]) -> bytes:
        answer = dns.message.make_response(query)
        if name not in self.zone:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        fitting = [address for address in known if (":" in address) == (kind == "AAAA")]
        if fitting:
            answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, *fitting))
        return answer.to_wire()


class Socks5:
    """A SOCKS5 proxy.

    :param names: where names lead
    :ivar asked: host and port of every request, a host as it came
    """

    def __init__(self, names: dict[str, End]) -> None:
        self.names, self.asked = names, list[End]()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.end: End = self._socket.getsockname()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        return f"{self.end[0]}:{self.end[1]}"

    def __enter__(self) -> Socks5:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Be gone, but for conversations that are under way."""
        if self._socket.fileno() != -1:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._thread.join()
            self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):  # its end
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, ValueError), client.makefile("rb") as stream:
            _, methods = stream.read(2)  # ValueError: no more came
            stream.read(methods)
            client.sendall(b"\5\0")
            _, _, _, kind = stream.read(4)
            if kind == 3:
                host = stream.read(stream.read(1)[0]).decode()
            else:
                family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
                host = socket.inet_ntop(family, stream.read(size))
            port = int.from_bytes(stream.read(2), "big")
            self.asked.append((host, port))
            try:
                target = socket.create_connection(self.names.get(host, (host, port)), 5)
            except OSError:
                client.sendall(b"\5\5\0\1" + bytes(6))  # connection refused
                return
            with target:
                client.sendall(b"\5\0\0\1" + bytes(6))
                back = threading.Thread(target=pump, args=(target, client), daemon=True)
                back.start()
                pump(client, target)
                back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Hand on bytes until the end."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def http(treat: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """The URL of a server that treats every request as told."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                treat(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
