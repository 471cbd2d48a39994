# SPDX-License-Identifier: GPL-2.0-or-later
"""`--keylog` and `--guess`, run as a user runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from recordings import ENCRYPTED, INDEX, events_of, keylog_of, messages_of, path_of
from scapy.layers import l2  # noqa: F401  (link layers, for rdpcap)
from scapy.layers.inet import TCP
from scapy.utils import rdpcap, wrpcap

from scapy_btc.bip324.keylog import append_key
from scapy_btc.bip324.keys import new_key
from scapy_btc.bip324.transport import ResponderTransport, V2Transport
from scapy_btc.capture.message import Message
from scapy_btc.capture.reader import read
from scapy_btc.layers.envelope import BTC
from scapy_btc.messages.catalogue import short_ids
from scapy_btc.messages.keepalive import BTCPing
from scapy_btc.networks import REGTEST

NAME = ENCRYPTED[0]
CAPTURE, KEYS = path_of(NAME), keylog_of(NAME)
ENTRY = INDEX[NAME]


def run(*args: object, status: int = 0, stdin: bytes = b"", **environment: str) -> tuple[str, str]:
    clean = {name: value for name, value in os.environ.items() if name != "BTC_KEYLOG"}
    done = subprocess.run([sys.executable, "-m", "scapy_btc", *map(str, args)], capture_output=True, timeout=60,
                          input=stdin, env={**clean, **environment}, check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == status, f"{done.returncode}: {out[-500:]}{err[-2000:]}"
    assert "Traceback" not in err
    secrets = [line.split()[2] for line in KEYS.read_text(encoding="ascii").splitlines()]  # type: ignore[union-attr]
    assert not any(secret in out + err for secret in secrets)
    return out, err


def counted(text: str) -> int:
    return int(re.match(r"([\d,]+) messages?,", text).group(1).replace(",", ""))  # type: ignore[union-attr]


def test_read() -> None:
    out, err = run("read", "--keylog", KEYS, CAPTURE)
    assert counted(err) == ENTRY["messages"]
    assert "handshake 4; " in err and "encrypted 2" in err
    assert len(re.findall(r" version 70016 /Satoshi", out)) == 2
    first = next(line for line in out.splitlines() if " -- handshake: " in line)
    assert re.search(r"-- handshake: [\d,]+ bytes, v2, [\d,]+ bytes of garbage, session [0-9a-f]{64}$", first)


def test_the_variable_names_the_file_too(tmp_path: Path) -> None:
    assert counted(run("read", "-q", CAPTURE, BTC_KEYLOG=str(KEYS))[0]) == ENTRY["messages"]
    assert counted(run("read", "-q", "--keylog", os.devnull, CAPTURE, BTC_KEYLOG=str(KEYS))[0]) == 0
    later = tmp_path / "later"
    assert counted(run("read", "-q", CAPTURE, BTC_KEYLOG=str(later))[0]) == 0, "a file that will be written one day"


def test_from_a_pipe() -> None:
    assert counted(run("read", "-q", "--keylog", KEYS, "-", stdin=CAPTURE.read_bytes())[0]) == ENTRY["messages"]
    out, _ = run("sniff", "-q", "-i", "-", "--keylog", KEYS, stdin=CAPTURE.read_bytes())
    assert counted(out) == ENTRY["messages"]


@pytest.mark.parametrize("command", ["read", "stats"])
def test_a_key_log_that_is_not_there(command: str, tmp_path: Path) -> None:
    out, err = run(command, "--keylog", tmp_path / "none", CAPTURE, status=1)
    assert out == "" and err == f"scapy-btc: {tmp_path / 'none'}: no such key log\n"
    assert "is a directory" in run(command, "--keylog", tmp_path, CAPTURE, status=2)[1]


def test_stats() -> None:
    record = json.loads(run("stats", "-T", "json", "--keylog", KEYS, CAPTURE)[0])
    assert {name: tally["messages"] for name, tally in record["types"].items()} == ENTRY["types"]
    assert {connection["transport"] for connection in record["connections"]} == {"v2"}
    assert record["event_bytes"]["encrypted"] == ENTRY["encrypted_bytes"]
    out, _ = run("stats", CAPTURE)
    assert re.search(r"encrypted +4 ", out)


def test_records_keep_to_the_schema() -> None:
    validator = Draft202012Validator(json.loads(run("messages", "--schema")[0]))
    lines = run("read", "-T", "jsonl", "--guess", "--keylog", KEYS, CAPTURE)[0].splitlines()
    kinds: Counter[str] = Counter()
    for line in lines[:: len(lines) // 60]:
        record = json.loads(line)
        validator.validate(record)
        kinds[record.get("event", "message")] += 1
    assert kinds["message"] > 20


def test_what_is_written_is_v1_and_other_tools_read_it(tmp_path: Path) -> None:
    target = tmp_path / "clear.pcapng"
    _, err = run("read", "-q", "--guess", "--keylog", KEYS, "-w", target, CAPTURE)
    assert re.search(r"not written: handshake 4, decoy \d+, encrypted 2$", err.strip())
    assert counted(run("read", "-q", target)[0]) == ENTRY["messages"]
    if shutil.which("tshark") is None:
        if os.environ.get("CI"):
            pytest.fail("tshark is not installed; it must be in CI")
        pytest.skip("tshark is not installed: it is NOT asked")
    command = ["tshark", "-n", "-r", str(target), "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,", "-e",
               "bitcoin.command"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert Counter(name for line in output.splitlines() for name in line.split(",") if name) == ENTRY["types"]


# --- guesses ---------------------------------------------------------------------------------------------------------


def test_guesses_are_asked_for_and_marked() -> None:
    out, err = run("read", CAPTURE)
    assert "guess" not in out + err
    out, err = run("read", "--guess", CAPTURE)
    assert counted(err) == 0
    guesses = [line for line in out.splitlines() if " -- guess: " in line]
    assert len(guesses) > 100
    form = re.compile(r" -- guess: [\d,]+ bytes, perhaps [a-z0-9, ]+: a packet of that size$")
    assert all(map(form.search, guesses))


def test_guesses_are_right_where_a_write_is_one_packet() -> None:
    """Against what the recording really holds: the frames with just one packet in them. A message that has no size of
    its own can have any, so a few guesses are wrong.
    """
    held: dict[int, list[Any]] = {}
    for item in (*messages_of(NAME), *events_of(NAME)):
        for number in range(item.frames[0], item.frames[1] + 1):
            held.setdefault(number, []).append(item)
    verdicts: Counter[str] = Counter()
    for event in read(CAPTURE, events=True, guess=True):
        if event.event != "guess" or event.connection == 2:
            continue
        items = held[event.frames[1]]
        if len(items) != 1 or items[0].frames[0] != items[0].frames[1] or not isinstance(items[0], Message):
            verdicts["several"] += 1
            continue
        right = items[0].msgtype in re.split(r"[ ,:]+", event.reason)
        assert right or items[0].msgtype in ("block", "cmpctblock", "tx", "version", "cfheaders"), event
        verdicts["right" if right else "wrong"] += 1
    assert verdicts["right"] > 100 and verdicts["wrong"] < 10, verdicts


def test_no_guesses_where_there_is_a_key() -> None:
    found = [item for item in read(CAPTURE, events=True, guess=True, keylog=KEYS) if not isinstance(item, Message)]
    assert {event.connection for event in found if event.event == "guess"} == {2}
    assert sum(isinstance(item, Message) for item in read(CAPTURE, guess=True, keylog=KEYS)) == ENTRY["messages"]


# --- live ------------------------------------------------------------------------------------------------------------


def pump(sock: socket.socket, transport: V2Transport | ResponderTransport, wanted: int) -> int:
    """Speak until so many messages came."""
    got = 0
    sock.sendall(transport.to_send())
    while got < wanted:
        data = sock.recv(1 << 16)
        if not data:
            break
        got += len(transport.receive(data))
        sock.sendall(transport.to_send())
    return got


def ping(nonce: int) -> bytes:
    return bytes(BTC(magic="regtest") / BTCPing(nonce=nonce))


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
def test_sniff_with_keys_that_come_later(tmp_path: Path) -> None:
    """The key log does not exist when `sniff` begins; our end writes its key when it connects."""
    keys = tmp_path / "keys"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sniffer = subprocess.Popen(
            [sys.executable, "-m", "scapy_btc", "sniff", "-i", "lo", "--keylog", str(keys), "--peer",
             f"127.0.0.1:{port}", "-T", "jsonl", "-c", "6"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert sniffer.stderr is not None
            said = sniffer.stderr.readline() + sniffer.stderr.readline()
            assert f"{keys}: no keys there yet" in said and "listening on lo" in said
            time.sleep(0.2)
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                accepted, _ = server.accept()
                accepted.settimeout(10)
                ours = V2Transport(REGTEST, True, short_ids(), random=Random(1), on_key=lambda k: append_key(keys, k))
                theirs = ResponderTransport(REGTEST, short_ids(), random=Random(2))
                for nonce in range(3):
                    ours.send(ping(nonce))
                    theirs.send(ping(nonce + 10))
                with accepted:
                    other = threading.Thread(target=pump, args=(accepted, theirs, 3), daemon=True)
                    other.start()
                    assert pump(client, ours, 3) == 3
                    other.join(10)
            out, _ = sniffer.communicate(timeout=30)
        finally:
            sniffer.kill()
            sniffer.communicate()
    records = [record for record in map(json.loads, out.splitlines()) if "msgtype" in record]
    assert sorted(record["fields"]["nonce"] for record in records) == [0, 1, 2, 10, 11, 12]
    assert {record["transport"] for record in records} == {"v2"}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The capture, with other ports than Bitcoin's."""
    target = tmp_path_factory.mktemp("ports") / "elsewhere.pcap"
    frames = rdpcap(str(CAPTURE))
    for frame in frames:
        if TCP in frame:
            layer = frame[TCP]
            layer.sport, layer.dport = (port + 10_000 if port < 20_000 else port for port in (layer.sport, layer.dport))
            del layer.chksum
    wrpcap(str(target), frames)
    return target


@pytest.mark.parametrize("command", [("read",), ("stats",), ("sniff", "-i", "-")])
def test_v2_on_other_ports_is_hinted_at(elsewhere: Path, command: tuple[str, ...]) -> None:
    data = elsewhere.read_bytes() if "-" in command else b""
    files = () if data else (elsewhere,)
    name = "standard input" if data else elsewhere
    line = (f"scapy-btc: {name}: nothing was recognised in 3 TCP connections; v2 on other ports than Bitcoin's is read "
            "with --keylog")
    assert run(*command, *files, stdin=data)[1].splitlines().count(line) == 1
    out, err = run(*command, "--keylog", KEYS, *files, stdin=data)
    assert "scapy-btc: " not in err and "/Satoshi" in out


def test_what_is_shown_needs_no_hint() -> None:
    assert "scapy-btc: " not in run("read", CAPTURE)[1]


@pytest.mark.parametrize("command", ["read", "stats"])
def test_a_wrong_key_log_is_told(elsewhere: Path, tmp_path: Path, command: str) -> None:
    _, err = run(command, "--keylog", CAPTURE, CAPTURE)
    assert err.splitlines().count(f"scapy-btc: {CAPTURE}: no line of it is a key") == 1
    assert f"scapy-btc: {os.devnull}: no keys there yet\n" in run(command, "--keylog", os.devnull, CAPTURE)[1]
    other = tmp_path / "other.keylog"
    append_key(other, new_key())
    for capture in (CAPTURE, elsewhere):
        line = f"scapy-btc: {capture}: no key of {other} is of a connection in it"
        assert run(command, "--keylog", other, capture)[1].splitlines().count(line) == 1
    # where nothing is closed, nothing is wrong
    assert "scapy-btc" not in run(command, "--keylog", other, path_of("core-v1-regtest.pcapng"))[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
def test_a_live_interface_too(tmp_path: Path) -> None:
    other = tmp_path / "other.keylog"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-m", "scapy_btc", "sniff", "-i", "lo", "-f", f"tcp port {port}", "--keylog",
                   str(other)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            assert process.stderr.readline() == f"scapy-btc: {other}: no keys there yet\n"
            assert "listening" in process.stderr.readline()
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(Random(1).randbytes(100))
            time.sleep(0.3)  # nothing is to be seen of it
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
    assert "scapy-btc: lo: nothing was recognised in 1 TCP connection\n" in err
