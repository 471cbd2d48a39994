# SPDX-License-Identifier: GPL-2.0-or-later
"""Files, terminals and disks that are not as one wishes: one clear line, never a traceback, nothing destroyed."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scapy_btc.all import BTC, BTCReject, BTCVersion
from scapy_btc.capture.reader import read

PCAPS = Path(__file__).parent.parent.parent / "pcaps"
CLEAN = PCAPS / "core-v1-regtest.pcapng"
ESCAPE = "\x1b[31m"


def run(*args: object, shell: str = "", **environment: str) -> tuple[int, str, str]:
    """Status, output and errors; `shell` redirects."""
    command = [sys.executable, "-m", "scapy_btc", *map(str, args)]
    whole = ["sh", "-c", f'exec "$@" {shell}', "sh", *command] if shell else command
    done = subprocess.run(whole, capture_output=True, timeout=60, env={**os.environ, **environment}, check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err and "Exception ignored" not in err, err
    return done.returncode, out, err


def log_of(folder: Path, *packets: BTC) -> Path:
    """A message capture with these messages."""
    path = folder / "msgs_recv.dat"
    records = []
    for packet in packets:
        raw = bytes(packet)
        records.append(struct.pack("<q", 1_600_000_000_000_000) + raw[4:20] + raw[24:])
    path.write_bytes(b"".join(records))
    return path


def test_what_is_read_is_not_overwritten(tmp_path: Path) -> None:
    copy, link = tmp_path / "a.pcapng", tmp_path / "b.pcapng"
    shutil.copy(CLEAN, copy)
    link.hardlink_to(copy)
    for args, shell in (((copy,), ""), ((link,), ""), ((CLEAN, copy), ""), (("-",), f"< {copy}")):
        status, _, err = run("read", "-q", "-w", copy, *args, shell=shell)
        assert status == 2 and "would overwrite what is read" in err
        assert copy.read_bytes() == CLEAN.read_bytes()


def test_keys_that_are_read_are_not_overwritten(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    shutil.copy(PCAPS / "core-v2-regtest.keylog", keys)
    before = keys.read_bytes()
    for command in (("read", "-q"), ("replay", "--speed", "max"), ("replay", "--to", "127.0.0.1:1")):
        status, _, err = run(*command, "--keylog", keys, "-w", keys, PCAPS / "core-v2-regtest.pcapng")
        assert status == 2 and "would overwrite what is read" in err and keys.read_bytes() == before


def test_an_address_book_is_not_overwritten(tmp_path: Path) -> None:
    book = tmp_path / "book.db"
    run("crawl", "--store", book, "--for", "1", "127.0.0.1:1")
    before = book.read_bytes()
    for option in ("--csv", "--parquet"):
        status, _, err = run("crawl", "--store", book, option, book, "127.0.0.1:1")
        assert status == 2 and "is the address book, and would be overwritten" in err and book.read_bytes() == before


def test_log_in_a_directory_that_is_read_is_not_overwritten(tmp_path: Path) -> None:
    log = log_of(tmp_path, BTC() / BTCVersion())
    before = log.read_bytes()
    status, _, err = run("read", "-q", "-w", log, tmp_path)
    assert status == 2 and "would overwrite what is read" in err and log.read_bytes() == before


@pytest.mark.parametrize("args", [("read",), ("read", "-T", "json"), ("stats",), ("stats", "-T", "json")])
def test_full_disk_is_one_line(args: tuple[str, ...]) -> None:
    status, _, err = run(*args, CLEAN, shell="> /dev/full")
    assert (status, err) == (1, "scapy-btc: writing failed: No space left on device\n")


def test_full_disk_under_the_written_capture() -> None:
    status, _, err = run("read", "-q", "-w", "/dev/full", CLEAN)
    assert status == 1 and err.splitlines()[-1] == "scapy-btc: writing failed: No space left on device"


def test_closed_standard_input() -> None:
    status, _, err = run("read", "-", shell="<&-")
    assert (status, err) == (1, "scapy-btc: -: standard input is closed\n")
    status, _, err = run("decode", shell="<&-")
    assert (status, err) == (1, "scapy-btc: standard input is closed\n")


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/random", "loop", "empty"])
def test_what_is_no_capture_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").touch()
    status, out, err = run("read", tmp_path / name)
    assert status == 1 and not out and err.startswith("scapy-btc: ") and err.count("\n") == 1


def test_file_names_do_not_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / f"cut{ESCAPE}\n.pcapng"
    path.write_bytes(CLEAN.read_bytes()[:1000])
    status, out, err = run("read", "-q", path)
    assert status == 1 and "\x1b" not in out + err and "\\x1b[31m\\n.pcapng: cut short" in err


def test_texts_of_peers_do_not_steer_the_terminal(tmp_path: Path) -> None:
    hostile = f"/{ESCAPE}[/red]\r\n[bold]:smile:\x9b31m\u202e/"
    log = log_of(
        tmp_path,
        BTC() / BTCVersion(user_agent=hostile),
        BTC() / BTCReject(message="\x1b]0;x\x07", reason=hostile),
        BTC(msgtype=b"\x7fhoho") / BTCVersion(),
    )
    for args in (("read",), ("read", "-V"), ("read", "-x"), ("stats",)):
        _, out, err = run(*args, log)
        assert not any(c in out + err for c in "\x1b\r\x07\x9b\u202e"), args
    assert "[/red]" in run("stats", log)[1]


def test_terminal_without_unicode(tmp_path: Path) -> None:
    log = log_of(tmp_path, BTC() / BTCVersion(user_agent="/sn\u00f6\u20bf\U0001f600/".encode()))
    for args in (("read",), ("read", "-V"), ("stats",), ("stats", "-T", "json"), ("read", "-T", "jsonl")):
        status, out, _ = run(*args, log, PYTHONIOENCODING="ascii", LC_ALL="C")
        assert status == 0 and (out.isascii() or args[0] == "stats" or "-T" in args)  # JSON is UTF-8 always
    assert json.loads(out)["fields"]["user_agent"] == "/sn\u00f6\u20bf\U0001f600/"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_output_is_whole(number: int, status: int, tmp_path: Path) -> None:
    written = tmp_path / "out.pcapng.gz"
    command = [sys.executable, "-m", "scapy_btc", "read", "-T", "json", "-w", str(written), "-"]
    printed = tmp_path / "out.json"
    with printed.open("wb") as out, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out) as process:
        assert process.stdin
        process.stdin.write(CLEAN.read_bytes())
        process.stdin.flush()
        while not printed.stat().st_size:  # it prints when its buffer is full
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=30) == status
    messages = json.loads(printed.read_text().partition("\n]\n")[0] + "]")
    with gzip.open(written) as capture, read(io.BytesIO(capture.read())) as reader:
        found = [message.msgtype for message in reader]
    said = [message["msgtype"] for message in messages]
    assert said and found in (said, said[:-1])  # the signal may come between printing and writing


def test_narrow_terminal() -> None:
    status, out, _ = run("stats", CLEAN, COLUMNS="40", TERM="dumb", NO_COLOR="1")
    assert status == 0 and "\x1b" not in out
