# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc serve`: what it says, prints and writes, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from scapy_btc.all import BTC, BTCVerack, BTCVersion
from scapy_btc.capture.reader import read
from scapy_btc.net.client import connect
from scapy_btc.net.node import BTCNode

LISTENING = re.compile(r"(?m)^scapy-btc: listening on (\S+):(\d+)\S* \(regtest, ([\d,]+) blocks?, tip [0-9a-f]{64}\)")


class Serve:
    """The command, running; `out` and `err` are complete once it has ended."""

    def __init__(self, process: subprocess.Popen[str], port: int, first: str) -> None:
        self.process, self.port, self.first = process, port, first
        self.out = self.err = ""

    def end(self, number: int | None = signal.SIGINT) -> int:
        if number is not None:
            self.process.send_signal(number)
        self.out, self.err = self.process.communicate(timeout=30)
        return self.process.returncode


@contextmanager
def serve(*arguments: str) -> Iterator[Serve]:
    command = [sys.executable, "-m", "scapy_btc", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            assert process.stderr is not None
            first = process.stderr.readline()
            if "no message is called" in first:
                first += process.stderr.readline()
            found = LISTENING.search(first)
            assert found, first + process.stderr.read()
            yield Serve(process, int(found[2]), first)
        finally:
            watchdog.cancel()
            process.kill()


def greet(port: int) -> None:
    """Say hello to the node, and stay until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), 30) as peer:
        peer.sendall(bytes(BTC(magic="regtest") / BTCVersion()) + bytes(BTC(magic="regtest") / BTCVerack()))
        with suppress(ConnectionError):
            while peer.recv(1000):
                pass


def refused(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "scapy_btc", "serve", *arguments], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    return done.stderr


def test_every_message_is_a_line() -> None:
    with serve("--blocks", "3") as running:
        assert "127.0.0.1" in running.first and "3 blocks" in running.first
        with connect("127.0.0.1", running.port) as client:
            client.ping()
        assert running.end() == 0
    lines = running.out.splitlines()
    assert any(re.search(rf"> 127\.0\.0\.1:{running.port} ping 0x", line) for line in lines)
    assert any(re.search(rf"127\.0\.0\.1:{running.port} > .* pong 0x", line) for line in lines)
    assert re.search(r" connected\n", running.err)
    assert f"\n{len(lines)} messages, " in running.err and running.err.endswith("; 3 blocks\n")


def test_records_and_a_capture(tmp_path: Path) -> None:
    target = tmp_path / "said.pcapng"
    with serve("--blocks", "0", "-T", "jsonl", "-w", str(target)) as running:
        for _ in range(2):
            with connect("127.0.0.1", running.port) as client:
                client.ping()
        assert running.end() == 0
    records: list[dict[str, Any]] = [json.loads(line) for line in running.out.splitlines()]
    assert {record["connection"] for record in records} == {0, 1}
    assert {record["msgtype"] for record in records} >= {"version", "verack", "ping", "pong"}
    said = list(read(target))
    assert [message.msgtype for message in said] == [record["msgtype"] for record in records]
    assert {message.connection for message in said} == {0, 1}


def test_a_capture_is_there_when_it_is_killed(tmp_path: Path) -> None:
    target = tmp_path / "said.pcapng"
    with serve("-q", "-w", str(target)) as running:
        with connect("127.0.0.1", running.port) as client:
            client.ping()
            before = [message.msgtype for message in read(target)]
            client.ping()
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
    said = [message.msgtype for message in read(target)]  # without a complaint
    assert {"version", "verack", "ping", "pong"} <= set(before)
    assert said[:len(before)] == before and said.count("pong") == before.count("pong") + 1


def test_bytes_and_a_limit() -> None:
    with serve("-x", "-c", "5") as running:
        greet(running.port)
        assert running.end(None) == 0
    assert len([line for line in running.out.splitlines() if line.startswith("  000000  fa bf b5 da ")]) == 5
    assert "\n5 messages, " in running.err


def test_filters_choose_what_is_printed_and_written(tmp_path: Path) -> None:
    target = tmp_path / "said.pcapng"
    with serve("--blocks", "0", "--msgtype", "ping,pong", "--connection", "1", "--msgtype", "pnog", "-T", "json",
               "-w", str(target)) as running:
        assert "no message is called 'pnog'; did you mean pong?" in running.first
        for _ in range(2):
            with connect("127.0.0.1", running.port) as client:
                client.ping()
        assert running.end() == 0
    records = json.loads(running.out)
    assert {record["connection"] for record in records} == {1}
    assert {record["msgtype"] for record in records} == {"ping", "pong"}
    assert [message.msgtype for message in read(target)] == [record["msgtype"] for record in records]
    assert f"\n{len(records)} messages, " in running.err


def test_fields_and_a_peer() -> None:
    with serve("--blocks", "0", "-V", "--peer", "127.0.0.2") as running:
        with connect("127.0.0.1", running.port) as client:
            client.ping()
        assert running.end() == 0
    assert running.out == "" and re.search(r"\n0 of \d+ messages were chosen; 0 blocks\n", running.err)
    with serve("--blocks", "0", "-V", "--msgtype", "pong") as running:
        with connect("127.0.0.1", running.port) as client:
            client.ping()
        assert running.end() == 0
    assert "###[ BTC pong ]###" in running.out


def test_it_mines_and_connects() -> None:
    with BTCNode(blocks=5) as other, serve("-q", "--blocks", "0", "--mine-every", "0.1", "--connect",
                                           f"127.0.0.1:{other.address[1]}") as running:
        other.wait_until(lambda: other.height >= 8, timeout=20)
        assert running.end() == 0
    assert re.fullmatch(r"\d+ messages, [\d,]+ payload bytes; ([89]|[1-9]\d+) blocks\n", running.out)


def test_what_cannot_be() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"scapy-btc: 127.0.0.1:{port}: cannot listen: Address already in use" in refused("--port", str(port))
    assert "connection refused" in refused("--port", "0", "--connect", f"127.0.0.1:{port}").lower()
    assert "not an address of regtest: 'bc1q" in refused("--mine-to", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    assert "-x is for -T text" in refused("-x", "-T", "jsonl")
    assert "no-such-folder" in refused("--port", "0", "-w", "/no-such-folder/said.pcapng")


def test_a_reader_that_goes_away_ends_it() -> None:
    with serve() as running:
        assert running.process.stdout is not None
        running.process.stdout.close()
        greet(running.port)
        running.process.wait(30)
        assert running.process.stderr is not None
        assert running.process.returncode == 0 and "Traceback" not in running.process.stderr.read()


@pytest.mark.parametrize("host", ["::1", "127.0.0.2"])
def test_other_hosts_must_be_named(host: str) -> None:
    with serve("--host", host) as running:
        with connect(host, running.port) as client:
            assert client.peer.version is not None and client.peer.version.start_height == 120
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", running.port), 5)
        assert running.end() == 0
