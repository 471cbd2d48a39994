# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc proxy`: what it says, prints and writes, how it ends, and that the documentation shows just that."""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from scapy_btc.capture.reader import read
from scapy_btc.errors import PeerError
from scapy_btc.net.client import connect
from scapy_btc.net.node import BTCNode
from scapy_btc.net.running import RunningNode

PAGE = (Path(__file__).parent.parent.parent / "docs" / "proxy.md").read_text(encoding="utf-8")
LISTENING = re.compile(r"scapy-btc: listening on 127\.0\.0\.1:(\d+) for 127\.0\.0\.1:(\d+); Ctrl-C ends it\n")


class Proxy:
    """The command, running; `out` and `err` are complete once it has ended."""

    def __init__(self, process: subprocess.Popen[str], first: str) -> None:
        found = LISTENING.fullmatch(first)
        assert found, first
        self.process, self.port, self.node = process, int(found[1]), int(found[2])
        self.out, self.err = "", first

    def end(self, number: int | None = signal.SIGINT) -> int:
        if number is not None:
            self.process.send_signal(number)
        self.out, rest = self.process.communicate(timeout=30)
        self.err += rest
        assert "Traceback" not in self.err, self.err
        return self.process.returncode


@contextmanager
def proxy(*arguments: str) -> Iterator[Proxy]:
    command = [sys.executable, "-m", "scapy_btc", "proxy", "--listen", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            assert process.stderr is not None
            yield Proxy(process, process.stderr.readline())
        finally:
            watchdog.cancel()
            process.kill()


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with BTCNode(blocks=3) as running:
        yield running


@pytest.fixture
def to(node: RunningNode) -> str:
    return f"127.0.0.1:{node.address[1]}"


def refused(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "scapy_btc", "proxy", *arguments], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def shape(text: str, running: Proxy) -> list[str]:
    """Lines without what is another one every time."""
    text = text.replace(f":{running.port}", ":18445").replace(f":{running.node}", ":18444")
    text = re.sub(r"127\.0\.0\.1:(?!1844[45])\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"^\S+ \S+ (?=127)", "TIME ", text, flags=re.MULTILINE)
    return re.sub(r"0x(?!0{15}7)\w{16}", "NONCE", text).splitlines()


def shown(number: int) -> str:
    return re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[number]


@pytest.mark.parametrize("number", [0, 1], ids=["watch", "change"])
def test_what_the_documentation_shows(to: str, tmp_path: Path, number: int) -> None:
    script = tmp_path / "lies.py"
    script.write_text(re.findall(r"^```python\n(# lies\.py\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])
    with proxy("--to", to, *(("--script", str(script)) if number else ())) as running:
        ping = [sys.executable, "-m", "scapy_btc", "ping", "-c", "1", f"127.0.0.1:{running.port}"]
        assert subprocess.run(ping, capture_output=True, timeout=60, check=False).returncode == 0
        assert running.process.stderr is not None
        for line in running.process.stderr:
            running.err += line
            if "ended" in line:
                break
        assert running.end() == 0
    page = shape(shown(number), running)
    told = [line for line in page if line.startswith("scapy-btc: ")]
    assert sorted(shape(running.err, running)) == sorted([*told, page[-1]])
    assert sorted(shape(running.out, running)) == sorted(line for line in page[:-1] if line not in told)


def test_records_a_capture_and_keys(to: str, tmp_path: Path) -> None:
    target, keys = tmp_path / "said.pcapng", tmp_path / "keys"
    with proxy("--to", to, "-T", "jsonl", "-w", str(target), "--keylog", str(keys)) as running:
        for choice in ("v1", "v2"):
            with connect("127.0.0.1", running.port, transport=choice) as client:
                client.ping()
        assert running.end(signal.SIGTERM) == 143
    records = [json.loads(line) for line in running.out.splitlines()]
    assert {(r["connection"], r["transport"], r["source"] == to) for r in records} == {
        (0, "v1", False), (0, "v2", True), (1, "v2", False), (1, "v2", True)}
    assert {r["msgtype"] for r in records} >= {"version", "verack", "ping", "pong"}
    written = list(read(target))
    assert sorted(m.msgtype for m in written) == sorted(r["msgtype"] for r in records)
    assert {m.connection for m in written} == {0, 1}
    assert len(keys.read_text().splitlines()) == 3 and keys.stat().st_mode & 0o777 == 0o600


def test_what_was_dropped_is_not_in_the_capture(to: str, tmp_path: Path) -> None:
    script, target = tmp_path / "drop.py", tmp_path / "said.pcap"
    script.write_text("def handle(packet, context):\n    return packet if packet.msgtype != 'sendheaders' else None\n")
    with proxy("--to", to, "--script", str(script), "-w", str(target)) as running:
        with connect("127.0.0.1", running.port) as client:
            client.ping()
        assert running.end() == 0
    assert running.out.count("[dropped]") == 1 and "; dropped 1\n" in running.err
    names = [message.msgtype for message in read(target)]
    assert "sendheaders" not in names and len(names) == len(running.out.splitlines()) - 1


def test_it_ends_after_so_many_messages_and_is_quiet(to: str) -> None:
    with proxy("--to", to, "-c", "3", "-q") as running:
        with pytest.raises(Exception):  # noqa: B017  # whatever the client is at
            connect("127.0.0.1", running.port, timeout=5).wait_for("nothing")
        assert running.end(None) == 0
    assert re.fullmatch(r"3 messages, \d+ payload bytes\n", running.out)


def test_a_closed_pipe_is_quiet(to: str) -> None:
    with proxy("--to", to) as running:
        assert running.process.stdout is not None
        running.process.stdout.close()
        with pytest.raises(Exception):  # noqa: B017
            connect("127.0.0.1", running.port, timeout=5).wait_for("nothing")
        assert running.process.wait(10) == 0
        assert running.process.stderr is not None
        assert "rror" not in running.process.stderr.read()


def test_filters_do_not_choose_what_is_passed_on(to: str, tmp_path: Path) -> None:
    target = tmp_path / "passed.pcapng"
    with proxy("--to", to, "--msgtype", "pong", "--connection", "1", "-w", str(target)) as running:
        for _ in range(2):
            with connect("127.0.0.1", running.port) as client:
                client.ping()
        assert running.end() == 0
    lines = running.out.splitlines()
    assert lines and all(" pong 0x" in line for line in lines)
    assert [message.msgtype for message in read(target)] == ["pong"] * len(lines)


def test_a_full_disk_is_said(to: str, tmp_path: Path) -> None:
    assert "writing failed: No space left on device" in refused("--to", to, "-w", "/dev/full")
    target = tmp_path / "passed.pcapng"
    with proxy("--to", to, "-w", str(target)) as running:
        size = target.stat().st_size
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (size, size))
        with suppress(PeerError), connect("127.0.0.1", running.port) as client:
            client.ping()
        assert running.end(None) == 1
    assert "writing failed: File too large" in running.err


def test_failing_scripts(to: str, tmp_path: Path) -> None:
    script = tmp_path / "h.py"

    def wrong(text: str) -> str:
        script.write_text(text)
        return refused("--to", to, "--script", str(script))

    assert "h.py: SyntaxError: " in wrong("def handle(:\n")
    assert re.search(r"h\.py: ZeroDivisionError: division by zero \(\S+h\.py, line 2\)", wrong("\n1 / 0\n"))
    assert "has no function handle(packet, context)" in wrong("handle = 5\n")
    assert "does not exist" in refused("--script", str(tmp_path / "none.py"))
    script.write_text("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int'\n\n"
                      "def handle(packet, context):\n    return packet.nothing\n")
    with proxy("--to", to, "--script", str(script)) as running:
        with pytest.raises(Exception):  # noqa: B017
            connect("127.0.0.1", running.port, timeout=5)
        assert running.end() == 0
    assert re.search(r"ended: handle\(\) failed on version of the client \S+: AttributeError: nothing "
                     r"\(\S+h\.py, line 7\)", running.err)


def test_what_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "cannot be listened on: " in refused("--listen", str(port))
        assert "would connect to itself" in refused("--listen", "18999", "--to", "127.0.0.1:18999")
    assert "needs a port" in refused("--listen", "127.0.0.1")
    assert "not a port" in refused("--to", "127.0.0.1:99999")
    assert "-x is for -T text" in refused("-x", "-T", "jsonl")
    assert "cannot be written" in refused("--listen", "0", "-w", str(tmp_path / "no" / "x"))


def test_nobody_is_there() -> None:
    with proxy("--to", "127.0.0.1:1") as running, socket.create_connection(("127.0.0.1", running.port)) as client:
        assert client.recv(1) == b""
        assert running.end() == 0
    assert re.search(r"connection 0: 127\.0\.0\.1:\d+ was turned away: 127\.0\.0\.1:1: .*refused", running.err)
