# SPDX-License-Identifier: GPL-2.0-or-later
"""The key log: written for one's own eyes, read while it grows, with nothing in it trusted."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from scapy_btc.bip324.keylog import KeyLog, append_key
from scapy_btc.bip324.keys import EphemeralKey, new_key
from scapy_btc.errors import CaptureError

# the keys of the first official packet vector of BIP 324, in the form that the design of the log gives
PUBLIC = ("ec0adff257bbfe500c188c80b4fdd640f6b45a482bbc15fc7cef5931deff0aa1"
          "86f6eb9bba7b85dc4dcc28b28722de1e3d9108b985e2967045668f66098e475b")
PRIVATE = "61062ea5071d800bbfd59e2e8b53d47d194b095ae5a4df04936b49772ef0d4d7"
LINE = f"BIP324_EPHEMERAL {PUBLIC} {PRIVATE}\n"
KEY = EphemeralKey(bytes.fromhex(PUBLIC), bytes.fromhex(PRIVATE))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.log"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_line(path: Path) -> None:
    append_key(path, KEY)
    assert path.read_text(encoding="ascii") == LINE
    other = new_key()
    append_key(str(path), other)
    log = KeyLog(path)
    assert log.lookup(KEY.public) == KEY.private and log.lookup(other.public) == other.private
    assert log.lookup(bytes(64)) is None
    assert (len(log), log.broken) == (2, 0)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_it_is_for_its_owner_only(path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        append_key(path, KEY)
    finally:
        os.umask(old)
    assert mode(path) == 0o600


@pytest.mark.parametrize("before", [0o644, 0o666, 0o640, 0o400])
def test_it_is_made_so_if_it_was_not(path: Path, before: int) -> None:
    path.write_text("# mine\n", encoding="ascii")
    path.chmod(before)
    if before & 0o200 or os.geteuid() == 0:
        append_key(path, KEY)
        assert mode(path) == 0o600
        assert path.read_text(encoding="ascii") == "# mine\n" + LINE


def test_what_is_no_file_keeps_its_mode(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o644)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        append_key(pipe, KEY)
        assert os.read(reader, 1000).decode() == LINE
    finally:
        os.close(reader)
    assert mode(pipe) == 0o644


def test_several_writers_at_once(path: Path) -> None:
    code = ("import sys\nfrom scapy_btc.bip324.keylog import append_key\nfrom scapy_btc.bip324.keys import new_key\n"
            "for _ in range(200): append_key(sys.argv[1], new_key())")
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    log = KeyLog(path)
    log.lookup(bytes(64))
    assert (len(log), log.broken) == (600, 0)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        append_key(tmp_path / "none" / "keys", KEY)
    assert PRIVATE not in str(caught.value)


@pytest.mark.parametrize("line", [
    LINE.replace("BIP324_EPHEMERAL", "CLIENT_RANDOM"), LINE.replace(PRIVATE, PRIVATE[2:]), LINE.replace(PUBLIC, "00"),
    LINE.replace(PRIVATE, ""), LINE.replace("ec0a", "xx0a"), LINE.replace("\n", " more\n"), "\xff\xfe\n", "BIP324\n",
    LINE.replace(PRIVATE, PRIVATE[:-1] + "\u0661"), "x" * 5000 + "\n", "x" * 3_000_000 + "\n",
])  # fmt: skip
def test_broken_lines_are_skipped_and_counted(path: Path, line: str) -> None:
    other = new_key()
    append_key(path, other)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n   \n# a comment\n")
    append_key(path, KEY)
    log = KeyLog(path)
    assert log.lookup(KEY.public) == KEY.private and log.lookup(other.public) == other.private
    assert (len(log), log.broken) == (2, 1)


@pytest.mark.parametrize("text", [LINE.rstrip("\n"), LINE.upper().replace("EPHEMERAL", "EPHEMERAL"),
                                  LINE.replace(" ", "\t "), LINE.replace("\n", "\r\n")])
def test_lines_as_people_write_them(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    assert KeyLog(path).lookup(KEY.public) == KEY.private


def test_it_is_read_again_when_it_grows(path: Path) -> None:
    log = KeyLog(path)
    assert log.lookup(KEY.public) is None, "it is not there yet"
    first, second = new_key(), new_key()
    append_key(path, first)
    assert log.lookup(KEY.public) is None and log.lookup(first.public) == first.private
    with path.open("a", encoding="ascii") as file:
        file.write(LINE[:100])
        file.flush()
        assert log.lookup(KEY.public) is None, "half a line"
        file.write(LINE[100:])
    assert log.lookup(KEY.public) == KEY.private
    append_key(path, second)
    assert log.lookup(second.public) == second.private
    assert (len(log), log.broken) == (3, 0)


def test_what_was_read_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(50):
        append_key(path, new_key())
    log = KeyLog(path)
    taken = []
    original = KeyLog._add
    monkeypatch.setattr(KeyLog, "_add", lambda self, line: (taken.append(line), original(self, line))[1])
    opened = []
    take = KeyLog._take
    monkeypatch.setattr(KeyLog, "_take", lambda self, file: (opened.append(file), take(self, file))[1])
    log.lookup(bytes(64))
    log.lookup(bytes(64))
    append_key(path, KEY)
    assert log.lookup(KEY.public) == KEY.private
    assert (len([line for line in taken if line]), len(opened)) == (51, 2)


def test_another_file_in_its_place(path: Path) -> None:
    old = new_key()
    for _ in range(3):
        append_key(path, old)
    log = KeyLog(path)
    assert log.lookup(old.public)
    path.unlink()
    append_key(path, KEY)
    assert log.lookup(KEY.public) == KEY.private
    path.write_text("", encoding="ascii")
    assert log.lookup(bytes(64)) is None
    append_key(path, new_key())
    assert log.lookup(bytes(64)) is None and (len(log), log.broken) == (3, 0)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """As of `--keylog <(gpg -d keys.gpg)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(LINE,), daemon=True)
    writer.start()
    log = KeyLog(pipe)
    assert log.lookup(KEY.public) == KEY.private
    writer.join(10)
    assert log.lookup(bytes(64)) is None  # nobody writes any more: to open it again would not end


def test_a_folder_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="Is a directory"):
        KeyLog(tmp_path).lookup(bytes(64))


def test_no_key_is_shown(path: Path) -> None:
    append_key(path, KEY)
    log = KeyLog(path)
    log.lookup(KEY.public)
    assert repr(log) == f"<KeyLog {path}, 1 keys>"


def test_a_file_without_line_ends_takes_no_memory(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(30_000_000)
    log = KeyLog(path)
    tracemalloc.start()
    log.lookup(bytes(64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(log), log.broken) == (0, 1) and peak < 5_000_000


def test_a_large_file(path: Path) -> None:
    lines = [f"BIP324_EPHEMERAL {n:0128x} {n + 1:064x}\n" for n in range(100_000)]
    path.write_text("".join(lines), encoding="ascii")
    log = KeyLog(path)
    assert log.lookup((70_000).to_bytes(64, "big")) == (70_001).to_bytes(32, "big")
    assert (len(log), log.broken) == (100_000, 0)
