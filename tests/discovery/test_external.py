# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own address: votes of peers, and HTTP services on loopback."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest
from servers import http

from scapy_btc.discovery.external import ANSWER_SIZE, ExternalAddress, http_address
from scapy_btc.discovery.reach import Kind
from scapy_btc.errors import BTCError, FormatError, PeerError, Refused, TimedOut


def test_most_frequent_wins_and_each_host_has_one_vote() -> None:
    own = ExternalAddress()
    assert own.best is None and own.votes == []
    for peer, address in (("1.1.1.1", "8.8.8.8"), ("1.1.1.2", "8.8.8.8"), ("1.1.1.3", "9.9.9.9"),
                          ("1.1.1.3", "9.9.9.9"), ("1.1.1.3", "9.9.9.9"), ("1.1.1.4", "2001::7")):
        own.add(peer, address)
    assert own.best == "8.8.8.8"
    assert own.votes == [("8.8.8.8", 2), ("9.9.9.9", 1), ("2001::7", 1)]


def test_only_routable_addresses_count() -> None:
    own = ExternalAddress()
    for number, address in enumerate(("127.0.0.1", "10.0.0.1", "::", "0.0.0.0", "192.0.2.1", "nonsense", "")):
        own.add(f"1.1.1.{number}", address)
    assert own.best is None
    on_loopback = ExternalAddress(Kind.LOOPBACK)
    on_loopback.add("127.0.0.2", "127.0.0.1")
    assert on_loopback.best == "127.0.0.1"


def serve(body: bytes, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    def treat(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.end_headers()
        request.wfile.write(body)
    return treat


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize(("body", "address"), [
    (b"8.8.8.8\n", "8.8.8.8"),
    (b'{"ip": "2001:470:9b36::5", "v": 1.2}', "2001:470:9b36::5"),
    (b"<html><body>Current IP Address: 9.8.7.6</body></html>", "9.8.7.6"),
    (b"You are 9.8.7.6.", "9.8.7.6"),
    (b"127.0.0.1 10.0.0.1 8.8.4.4 8.8.8.8", "8.8.4.4"),
])
def test_http(body: bytes, address: str) -> None:
    with http(serve(body)) as url:
        assert http_address(url) == address


def slowly(request: BaseHTTPRequestHandler) -> None:
    for byte in b"HTTP/1.0 200 OK\r\nX: " + b"y" * 1000:
        request.wfile.write(bytes((byte,)))
        time.sleep(0.05)


def endlessly(request: BaseHTTPRequestHandler) -> None:
    serve(b"")(request)
    while True:
        request.wfile.write(bytes(1 << 16))


@pytest.mark.parametrize(("treat", "error", "text"), [
    (serve(b"nothing"), PeerError, "no routable address in the answer"),
    (serve(b"8.8.8.8", 503), Refused, "Service Unavailable"),
    (lambda request: request.wfile.write(b"\0" * 100), Refused, ""),
    (lambda request: None, Refused, ""),
    (lambda request: time.sleep(1.5), TimedOut, "no answer within 0.5 s"),
    (slowly, TimedOut, "no answer within 0.5 s"),
    (serve(b" " * ANSWER_SIZE + b"8.8.8.8"), PeerError, "no routable address in the answer"),
    (endlessly, PeerError, "no routable address in the answer"),
])
def test_http_that_fails(treat: Callable[[BaseHTTPRequestHandler], None], error: type[BTCError], text: str) -> None:
    started = time.monotonic()
    with http(treat) as url:
        with pytest.raises(error) as caught:
            http_address(url, timeout=0.5)
        assert time.monotonic() - started < 1.2
        assert str(caught.value).startswith(url) and text in str(caught.value)


def test_nobody_serves() -> None:
    with http(serve(b"")) as url:
        pass
    with pytest.raises(Refused, match="Connection refused"):
        http_address(url)


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://127.0.0.1/", "127.0.0.1", ""])
def test_only_http(url: str) -> None:
    with pytest.raises(FormatError, match="not an http or https URL"):
        http_address(url)
