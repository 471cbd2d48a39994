# SPDX-License-Identifier: GPL-2.0-or-later
"""How commands end that are ended from outside: their status, and that what they recorded is whole."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scapy_btc.capture.reader import read
from scapy_btc.net.client import connect
from scapy_btc.net.node import BTCNode

CAPTURE = Path(__file__).parents[2] / "pcaps" / "core-v1-regtest.pcapng"
ENDS = [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
NAMES = {"version", "verack", "ping", "pong"}


@contextmanager
def started(*arguments: str, **how: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "scapy_btc", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stderr
    found = re.search(r"listening on 127\.0\.0\.1:(\d+)", process.stderr.readline())
    assert found
    return int(found[1])


def said(path: Path) -> set[str]:
    return {message.msgtype for message in read(path)}


def has_ended(path: Path) -> bool:
    """Whether the file's last packet, with a TCP header of 20 bytes, has FIN or is the ACK of one: it was closed."""
    return b"\x50\x11\xff\xff" in path.read_bytes()


@pytest.mark.parametrize(("number", "status"), ENDS)
def test_serve(number: int, status: int, tmp_path: Path) -> None:
    target = tmp_path / "said.pcapng"
    with started("serve", "--port", "0", "--blocks", "0", "-q", "-w", str(target)) as process:
        with connect("127.0.0.1", port_of(process)) as client:
            client.ping()
        assert not has_ended(target)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == status and "Traceback" not in err
    assert re.search(r"^\d+ messages, ", out, re.MULTILINE)
    assert said(target) >= NAMES and has_ended(target)


@pytest.mark.parametrize(("number", "status"), ENDS)
def test_proxy(number: int, status: int, tmp_path: Path) -> None:
    target = tmp_path / "said.pcapng"
    with BTCNode() as node, started("proxy", "--listen", "0", "--to", f"127.0.0.1:{node.address[1]}", "-q", "-w",
                                    str(target)) as process, connect("127.0.0.1", port_of(process)) as client:
        client.ping()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == status and "Traceback" not in err
    assert re.search(r"^\d+ messages, ", out, re.MULTILINE)
    assert said(target) >= NAMES and has_ended(target)


@pytest.mark.parametrize(("number", "status"), ENDS)
def test_mempool(number: int, status: int, tmp_path: Path) -> None:
    target = tmp_path / "said.pcapng"
    with BTCNode() as node, started("mempool", "-w", str(target), f"127.0.0.1:{node.address[1]}") as process:
        assert process.stderr and "connected to" in process.stderr.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == status and "0 transactions\n" in err and "Traceback" not in err
    assert said(target) >= {"version", "verack"} and has_ended(target)


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
@pytest.mark.parametrize(("number", "status"), ENDS)
def test_sniff(number: int, status: int) -> None:
    with started("sniff", "-i", "lo", "--msgtype", "alert") as process:
        assert process.stderr and "listening on lo" in process.stderr.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == status and re.search(r"^0 (of [\d,]+ )?messages?", err, re.MULTILINE)


def test_read_is_interrupted(tmp_path: Path) -> None:
    target = tmp_path / "out.pcapng"
    with started("read", "-w", str(target), "-", stdin=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.buffer.write(CAPTURE.read_bytes())
        process.stdin.flush()
        for _ in range(2):
            process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=30)
    assert process.returncode == 129
    assert said(target) and has_ended(target)


def test_nohup(tmp_path: Path) -> None:
    target = tmp_path / "said.pcapng"
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with started("serve", "--port", "0", "--blocks", "0", "-w", str(target), **ignored) as process:
        port = port_of(process)
        process.send_signal(signal.SIGHUP)
        with connect("127.0.0.1", port) as client:
            client.ping()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0 and said(target) >= NAMES


def test_the_terminal_goes_away(tmp_path: Path) -> None:
    target = tmp_path / "said.pcapng"
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-m", "scapy_btc", "serve", "--port", "0", "--blocks", "0", "-w",
                                  str(target)])
    try:
        shown = b""
        while not (found := re.search(rb"listening on 127\.0\.0\.1:(\d+)", shown)):
            shown += os.read(terminal, 1000)
        with connect("127.0.0.1", int(found[1])) as client:
            client.ping()
        os.close(terminal)
        deadline = time.monotonic() + 30
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ended[0] and os.waitstatus_to_exitcode(ended[1]) == 129
    finally:
        if not ended[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert said(target) >= NAMES and has_ended(target)


def test_a_reader_that_goes_away_ends_stats() -> None:
    with started("stats", str(CAPTURE)) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.wait(30) == 0 and process.stderr.read() == ""


def test_the_help_says_it() -> None:
    done = subprocess.run([sys.executable, "-m", "scapy_btc", "--help"], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    assert "129 the terminal" in text and "143 terminated" in text and "serve, proxy, sniff and mempool: 0" in text
