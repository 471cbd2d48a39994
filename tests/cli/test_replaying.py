# SPDX-License-Identifier: GPL-2.0-or-later
"""`replay` on the command line: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conversations import conversation
from recordings import ENCRYPTED, INDEX, PCAPS, keylog_of, printed

from scapy_btc.all import BTCAddr, BTCGetAddr, BTCVerack, BTCVersion
from scapy_btc.capture.reader import read
from scapy_btc.capture.writers import open_writer
from scapy_btc.net.node import BTCNode

BCOIN = str(PCAPS / "bcoin-regtest.pcapng")


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "scapy_btc", "replay", *args]


def failing(*args: str) -> tuple[str, int]:
    """Standard error and exit status."""
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL, start_new_session=True)
    assert "Traceback" not in done.stderr
    return done.stderr, done.returncode


# On the screen


@pytest.mark.parametrize("options", [(), ("-T", "jsonl"), ("-x",), ("--connection", "3")])
def test_it_prints_what_read_prints(options: tuple[str, ...]) -> None:
    expected, _ = printed("read", *options, BCOIN)
    assert printed("replay", "--speed", "max", *options, BCOIN) == (expected, 0) and expected


def test_its_time_is_that_of_the_recording() -> None:
    start = time.monotonic()
    printed("replay", "--connection", "3", "--speed", "0.5", BCOIN)
    assert 0.58 < time.monotonic() - start < 5  # recorded: 0.295 s


def test_it_writes_what_is_played(tmp_path: Path) -> None:
    target = tmp_path / "out.pcapng"
    printed("replay", "--speed", "max", "--connection", "1", "-w", str(target), BCOIN)
    with read(target) as written, read(BCOIN) as recorded:
        assert [m.payload for m in written] == [m.payload for m in recorded if m.connection == 1]


@pytest.mark.parametrize("name", sorted(set(INDEX) - {"core-blocks"}))
def test_every_recording(name: str) -> None:
    _, status = printed("replay", "--speed", "max", "--network", "regtest", str(PCAPS / name))
    assert status == (1 if INDEX[name].get("cut") else 0)
    assert printed("replay", "--speed", "max", "--strict", str(PCAPS / "broken-checksums.pcap.gz"))[1] == 3


def test_step_by_step_on_a_terminal() -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, command("--step", "--connection", "3", BCOIN))
    shown = b""

    def press(key: bytes, until: bytes) -> None:
        """Press it again until that is shown: what is typed while nobody asks is thrown away."""
        nonlocal shown
        deadline = time.monotonic() + 30
        while until not in shown and time.monotonic() < deadline:
            os.write(terminal, key)
            while select.select([terminal], [], [], 0.3)[0]:
                try:
                    shown += os.read(terminal, 65536)
                except OSError:  # it has ended
                    return
                if until in shown:
                    return

    try:
        press(b" ", b"/plain-client:1.0/")
        assert b"a key: the next message" in shown and b"getheaders" not in shown
        press(b" ", b"/bcoin:v1.0.2/")
        press(b"q", b" messages, ")
        assert b"getheaders" not in shown
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(terminal)


def test_ctrl_c_ends_it() -> None:
    with subprocess.Popen(command("--speed", "0.001", BCOIN), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout is not None
        assert "version" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130 and "Traceback" not in errors


# To a node


@pytest.mark.parametrize(("args", "reason"), [
    (("--to", "8.8.8.8"), "8.8.8.8:18444 is neither loopback nor private; if its owner lets you, add "),
    (("--to", "[2001:4860:4860::8888]:8333"), "[2001:4860:4860::8888]:8333 is neither loopback nor private"),
    (("--listen", "0.0.0.0:18444"), "0.0.0.0:18444 is neither loopback nor private"),
    (("--to", "127.0.0.1:1", "--listen", "1"), "choose one"),
    (("--to", "127.0.0.1:99999"), "not a port: '99999'"),
    (("--listen", "127.0.0.1"), "no port: '127.0.0.1'"),
    (("--listen", "65536"), "no port: '65536'"),
    (("--timeout", "3"), "--timeout does nothing without --to or --listen"),
    (("--yes-i-am-allowed",), "--yes-i-am-allowed does nothing without --to or --listen"),
    (("--verbatim",), "--verbatim does nothing without --to or --listen"),
    (("--transport", "v2"), "--transport does nothing without --to or --listen"),
    (("--new-keylog", "keys"), "--new-keylog does nothing without --to or --listen"),
    (("--transport", "v3", "--to", "127.0.0.1:1"), "'v3' is not one of 'auto', 'v1', 'v2'"),
    (("--speed", "0"), "'0' is no positive number, and not max"),
    (("--speed", "nan"), "'nan' is no positive number, and not max"),
    (("--speed", "fast"), "'fast' is no positive number, and not max"),
    (("--step", "--speed", "2"), "choose one"),
    (("--step",), "--step needs a terminal"),
    (("-w", BCOIN), "would overwrite what is read"),
    (("-w", BCOIN, "--to", "127.0.0.1:1"), "would overwrite what is read"),
])
def test_what_is_refused(args: tuple[str, ...], reason: str) -> None:
    errors, status = failing(*args, BCOIN)
    assert reason in " ".join(errors.split()) and status == 2


def test_whoever_is_allowed_may_go_anywhere() -> None:
    """An address for documentation, to which no packet finds its way."""
    errors, status = failing("--yes-i-am-allowed", "--timeout", "0.3", "--to", "192.0.2.1:18444", BCOIN)
    assert "192.0.2.1:18444: " in errors and status == 1


@pytest.mark.parametrize(("name", "reason"), [
    ("broken-loss.pcap.gz", "in the middle are not on record: it cannot be played"),
    ("core-v2-regtest.pcapng", "no connection whose handshake is recorded: encrypted"),
    ("core-blocks", "no connection whose handshake is recorded"),
    ("README.md", "not a capture"),
    ("no-such-file", "No such file"),
])
def test_what_cannot_be_played(name: str, reason: str) -> None:
    errors, status = failing("--to", "127.0.0.1:1", str(PCAPS / name))
    assert status == 1 and reason in errors and len(errors.splitlines()) == 1


def test_both_sides_of_a_recording(tmp_path: Path) -> None:
    record = tmp_path / "new.pcapng"
    with subprocess.Popen(command("--connection", "3", "--listen", "0", BCOIN), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert server.stderr.readline() == "connection 3: as 127.0.0.1:18444, 37 messages to send, 38 to come\n"
        address = server.stderr.readline().removeprefix("listening on ").strip()
        client = subprocess.run(
            command("--connection", "3", "--to", address, "-T", "jsonl", "-x", "-w", str(record), "--strict", BCOIN),
            capture_output=True, text=True, timeout=60, check=False)
        out, errors = server.communicate(timeout=60)
    assert (client.returncode, server.returncode) == (0, 0)
    told = [json.loads(line) for line in client.stdout.splitlines()]
    assert {(d["msgtype"], d["field"], d["reason"]) for d in told if d["kind"] == "field"} == {
        ("version", "nonce", "random"), ("version", "timestamp", "time"), ("pong", "nonce", "echo"),
        ("version", "receiver_address.port", "address")}
    assert all(d["expected"] for d in told)
    assert "38 of 38 messages sent, 37 of 37 came;" in client.stderr and "000000  fa bf b5 da" in client.stderr
    assert re.search(r"^expected: ping: nonce \(random\), 17 times$", out, re.MULTILINE)
    assert "37 of 37 messages sent, 38 of 38 came;" in errors and errors.endswith(" 0 unexpected\n")
    with read(record) as messages:
        names = [m.msgtype for m in messages]
    assert len(names) >= 75 and names[:2] == ["version", "version"]


@pytest.mark.parametrize(("name", "transport", "spoken"), [
    ("core-v2-regtest.pcapng", "auto", "v2"), ("core-v2-regtest.pcapng", "v1", "v1"),
    ("core-v1-regtest.pcapng", "auto", "v1"), ("core-v1-regtest.pcapng", "v2", "v2")])
def test_both_sides_in_either_transport(tmp_path: Path, name: str, transport: str, spoken: str) -> None:
    """What is said is told by both ends' new keys; those of the recording are read only."""
    file, connection = str(PCAPS / name), ("--connection", "1")
    if name in ENCRYPTED:
        connection += ("--keylog", str(keylog_of(name)))
    old = keylog_of("core-v2-regtest.pcapng")
    assert old is not None
    before = old.read_bytes()
    keys = [tmp_path / "server", tmp_path / "client"]
    with subprocess.Popen(command("--listen", "0", "--new-keylog", str(keys[0]), *connection, file),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        server.stderr.readline()
        address = server.stderr.readline().removeprefix("listening on ").strip()
        client = subprocess.run(
            command("--to", address, "--strict", "--transport", transport, "--new-keylog", str(keys[1]),
                    "-w", str(tmp_path / "new.pcapng"), "-x", *connection, file),
            capture_output=True, text=True, timeout=60, check=False)
        server.communicate(timeout=60)
    assert (client.returncode, server.returncode) == (0, 0), client.stderr[-1000:]
    assert " 0 unexpected\n" in client.stderr
    for path in keys:
        assert path.exists() == (spoken == "v2")
    if spoken == "v2":
        assert all(path.read_text().startswith("BIP324_EPHEMERAL ") for path in keys)
    assert old.read_bytes() == before
    with read(tmp_path / "new.pcapng") as messages, read(file, keylog=keylog_of(name)) as recorded:
        names = sorted(m.msgtype for m in recorded if m.connection == 1)
        found = sorted(m.msgtype for m in messages)
    assert Counter(names) <= Counter(found) and len(names) > 20


def test_a_node_without_v2() -> None:
    with BTCNode(transport="v1") as node:
        address = f"127.0.0.1:{node.address[1]}"
        errors, status = failing("--to", address, "--transport", "v2", BCOIN)
    assert status == 1 and errors.splitlines()[-1] == "scapy-btc: the peer closed the connection during the handshake"


def test_what_is_not_as_recorded() -> None:
    """The client of connection 0 to the node of connection 3."""
    with subprocess.Popen(command("--connection", "3", "--listen", "0", "--timeout", "0.5", BCOIN),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        server.stderr.readline()
        address = server.stderr.readline().removeprefix("listening on ").strip()
        client = subprocess.run(command("--connection", "0", "--to", address, "--timeout", "0.5", "--strict", BCOIN),
                                capture_output=True, text=True, timeout=60, check=False)
        server.communicate(timeout=60)
    assert client.returncode == 1
    lines = client.stdout.splitlines()
    assert "unexpected: version (frame 6): start_height was 150, is 184" in lines
    assert "unexpected: inv (frame 19): inventory_count was 150, is 184" in lines
    assert any(re.fullmatch(r"unexpected: \d+ more: missing, block", line) for line in lines)
    assert len(lines) < 60


def test_strict_tells_by_its_status(tmp_path: Path) -> None:
    """A node that differs from the recorded one in its user agent."""
    def recorded(name: str, agent: bytes) -> str:
        said = BTCVersion(user_agent=agent)
        with open_writer(tmp_path / name) as writer:
            for message in conversation((">", BTCVersion()), ("<", said), ("<", BTCVerack()), (">", BTCVerack()),
                                        (">", BTCGetAddr()), ("<", BTCAddr())):
                writer.write(message)
        return str(tmp_path / name)

    one, other = recorded("one.pcapng", b"/one/"), recorded("other.pcapng", b"/other/")
    for options, status in ((), 0), (("--strict",), 3):
        with subprocess.Popen(command("--listen", "0", other), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True) as server:
            assert server.stderr is not None
            server.stderr.readline()
            address = server.stderr.readline().removeprefix("listening on ").strip()
            client = subprocess.run(command("--to", address, *options, one), capture_output=True, text=True, timeout=60,
                                    check=False)
            server.communicate(timeout=60)
        assert client.returncode == status and "user_agent was /one/, is /other/" in client.stdout
        assert client.stderr.endswith(" 2 unexpected\n")  # and its length
