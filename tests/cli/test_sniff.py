# SPDX-License-Identifier: GPL-2.0-or-later
"""`sniff` on the loopback interface, and from a pipe."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scapy_btc.all import BTC, BTCPing, BTCPong

PCAPS = Path(__file__).parent.parent.parent / "pcaps"
SNIFF = [sys.executable, "-m", "scapy_btc", "sniff"]


def chat(port: int, stop: threading.Event) -> None:
    """Send pings to a server of our own until told to stop."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.settimeout(10)
        while not stop.is_set():
            client.sendall(bytes(BTC(magic="regtest") / BTCPing(nonce=5)))
            client.recv(1000)
            time.sleep(0.05)


def serve(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while connection.recv(1000):
            connection.sendall(bytes(BTC(magic="regtest") / BTCPong(nonce=5)))


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
def test_messages_of_an_interface_are_printed_as_they_pass() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        chatting = threading.Thread(target=chat, args=(port, stop), daemon=True)
        chatting.start()
        try:
            done = subprocess.run([*SNIFF, "-i", "lo", "-c", "6", "--peer", f"127.0.0.1:{port}", "-T", "jsonl"],
                                  capture_output=True, text=True, timeout=60, check=False)
        finally:
            stop.set()
            chatting.join(10)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    messages = [(r["msgtype"], r["fields"]["nonce"], r["network"]) for r in records if "msgtype" in r]
    assert done.returncode == 0, done.stderr
    assert set(messages) == {("ping", 5, "regtest"), ("pong", 5, "regtest")} and len(messages) == 6


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
def test_an_interface_that_does_not_exist_is_one_line() -> None:
    done = subprocess.run([*SNIFF, "-i", "nonexistent0"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "nonexistent0" in done.stderr


def test_a_capture_from_a_pipe() -> None:
    capture = PCAPS / "core-v1-regtest.pcapng"
    done = subprocess.run([*SNIFF, "-i", "-", "--msgtype", "alert"], input=capture.read_bytes(), capture_output=True,
                          timeout=60, check=False)
    assert done.returncode == 0 and b" alert " in done.stdout and len(done.stdout.splitlines()) == 1
