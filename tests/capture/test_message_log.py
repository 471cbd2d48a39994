# SPDX-License-Identifier: GPL-2.0-or-later
"""Message captures of Bitcoin Core: the recording, several sessions in a file, damage, files that grow."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.capture import message_log
from scapy_btc.capture.bytesource import ByteSource
from scapy_btc.capture.message import Message, StreamEvent
from scapy_btc.capture.message_log import looks_like_log, peer_of, read_directory, read_log
from scapy_btc.errors import CaptureError
from scapy_btc.networks import MAINNET, REGTEST

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PCAPS = Path(__file__).parents[2] / "pcaps"
RECORDING = PCAPS / "core-message-capture"
TRUTH = tomllib.loads((PCAPS / "index.toml").read_text(encoding="utf-8"))["core-message-capture"]
NOW = 1_700_000_000_000_000


def record(command: bytes, payload: bytes = b"", when: int = NOW) -> bytes:
    return struct.pack("<q12sI", when, command, len(payload)) + payload


def opened(data: bytes, name: str = "msgs_recv.dat") -> ByteSource:
    return ByteSource(io.BytesIO(data), name)


def gather(items: Iterable[Any]) -> tuple[list[Any], str]:
    """Everything that came, and the error after it."""
    got = []
    try:
        for item in items:
            got.append(item)
    except CaptureError as error:
        return got, str(error)
    return got, ""


def test_recording_merged_by_time() -> None:
    messages = list(read_directory(RECORDING, REGTEST))
    assert Counter(message.msgtype for message in messages) == TRUTH["types"]
    assert sum(len(message.payload) for message in messages) == TRUTH["payload_bytes"]
    lines = []
    for message in messages:
        sent = message.source == "node"
        peer = message.destination if sent else message.source
        digest = hashlib.sha256(message.payload).hexdigest()
        folder = peer.replace(":", "_")
        lines.append(f"{folder} {'msgs_sent' if sent else 'msgs_recv'} {message.msgtype} {digest}")
    assert hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == TRUTH["digest"]
    times = [message.time_ns for message in messages]
    assert times == sorted(times)
    assert {message.connection for message in messages} == set(range(TRUTH["connections"]))
    assert {(message.transport, message.checksum, message.network) for message in messages} == {
        ("log", "none", REGTEST)
    }
    assert not any(message.frame_findings for message in messages)


def test_recording_keeps_the_order_of_the_handshake() -> None:
    messages = list(read_directory(RECORDING, REGTEST))
    assert Counter(message.said for message in messages if message.msgtype == "version") == {"": 8}
    assert {message.said for message in messages if message.msgtype == "verack"} == {"version"}
    assert {message.said for message in messages if message.msgtype == "ping"} == {"verack"}


def test_one_folder_is_one_connection() -> None:
    messages = list(read_directory(RECORDING / "127.0.0.1_43390"))
    assert {(m.connection, m.source, m.destination) for m in messages} == {
        (0, "127.0.0.1:43390", "node"), (0, "node", "127.0.0.1:43390")
    }  # fmt: skip
    assert {message.network for message in messages} == {MAINNET}


@pytest.mark.parametrize("name, ends", [
    ("msgs_recv.dat", ("127.0.0.1:43390", "node")), ("msgs_sent.dat", ("node", "127.0.0.1:43390"))
])
def test_one_file(name: str, ends: tuple[str, str]) -> None:
    path = RECORDING / "127.0.0.1_43390" / name
    with path.open("rb") as file:
        messages = list(read_log(ByteSource(file, str(path)), REGTEST))
    assert {(message.source, message.destination) for message in messages} == {ends}
    assert [message.frames for message in messages] == [(number, number) for number in range(1, len(messages) + 1)]
    assert b"".join(
        record(message.frame.command, message.payload, message.time_ns // 1000) for message in messages
    ) == path.read_bytes()


def test_more_files_than_are_open_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(read_directory(RECORDING, REGTEST))
    monkeypatch.setattr(message_log, "_HANDLES", 2)
    assert list(read_directory(RECORDING, REGTEST)) == expected


@pytest.mark.parametrize("folder, peer", [
    ("127.0.0.1_18444", "127.0.0.1:18444"),
    ("[2001_db8__1]_8333", "[2001:db8::1]:8333"),
    ("3cjide55n3vix3pdeuarnvim3se7ffnzvnx6mzp7d6tc7z27ink3guyd.onion_8333",
     "3cjide55n3vix3pdeuarnvim3se7ffnzvnx6mzp7d6tc7z27ink3guyd.onion:8333"),
    ("4v2k7bxwwgmc2slsm4pcnzfhqworcoqpbrjeq7p2nldoih43nzqq.b32.i2p_0",
     "4v2k7bxwwgmc2slsm4pcnzfhqworcoqpbrjeq7p2nldoih43nzqq.b32.i2p:0"),
    ("my logs", "peer"),
])  # fmt: skip
def test_the_folder_names_the_peer(folder: str, peer: str, tmp_path: Path) -> None:
    assert peer_of(tmp_path / folder / "msgs_recv.dat") == peer


def test_each_version_begins_another_session() -> None:
    data = b"".join(map(record, (b"version", b"verack", b"ping", b"version", b"wtxidrelay", b"verack", b"inv")))
    said = [message.said for message in read_log(opened(data))]
    assert said == ["", "version", "verack", "", "version", "version", "verack"]


def test_a_file_that_does_not_begin_with_version_tells_nothing_of_the_order() -> None:
    data = b"".join(map(record, (b"ping", b"verack", b"version", b"verack")))
    assert [message.said for message in read_log(opened(data))] == [None, None, "", "version"]


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=5), st.data())
def test_cut_anywhere(payloads: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(record(b"ping", payload) for payload in payloads)
    ends = list(accumulate((24 + len(payload) for payload in payloads), initial=0))
    cut = data.draw(st.integers(0, len(whole)))
    got, error = gather(read_log(opened(whole[:cut])))
    complete = sum(end <= cut for end in ends[1:])
    left = cut - ends[complete]
    assert [type(item) for item in got] == [Message] * complete + [StreamEvent] * bool(left)
    assert bool(error) == bool(left)
    if left:
        assert (got[-1].event, got[-1].bytes, got[-1].frames) == ("truncated", left, (complete + 1,) * 2)
        assert "cut short" in error


@pytest.mark.parametrize("header, reason", [
    (struct.pack("<q12sI", NOW, b"block", 0xFFFFFFFF), "record 2 announces 4,294,967,295 bytes"),
    (struct.pack("<q12sI", NOW, b"bl\0ck", 5), "record 2 names no message"),
])  # fmt: skip
def test_damage(header: bytes, reason: str) -> None:
    got, error = gather(read_log(opened(record(b"ping", b"12345678") + header + bytes(1_000_000))))
    assert [type(item) for item in got] == [Message, StreamEvent]
    assert (got[1].event, got[1].bytes, got[1].reason) == ("skipped", 1_000_024, reason)
    assert "cut short" in error and reason in error


def test_damage_of_one_file_leaves_the_others(tmp_path: Path) -> None:
    for number, data in enumerate((record(b"ping", b"1", NOW + 1) + b"\1\2", record(b"pong", b"2", NOW + 2))):
        folder = tmp_path / f"10.0.0.{number}_8333"
        folder.mkdir()
        (folder / "msgs_recv.dat").write_bytes(data)
    got, error = gather(read_directory(tmp_path))
    assert [getattr(item, "msgtype", "event") for item in got] == ["ping", "pong", "event"]
    assert "10.0.0.0_8333/msgs_recv.dat" in error and "cut short" in error


def test_folder_without_logs(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no message capture"):
        read_directory(tmp_path)


def test_looks_like_log() -> None:
    assert looks_like_log(record(b"version"))
    assert not looks_like_log(record(b"version")[:23])
    assert not looks_like_log(record(b"version", when=5))
    assert not looks_like_log(record(b"ver\0sion"))
    assert not looks_like_log(struct.pack("<q12sI", NOW, b"tx", 1 << 26))
    assert not looks_like_log(b"\xd4\xc3\xb2\xa1" + bytes(60))


@pytest.mark.timeout(30)
def test_follow_a_growing_folder(tmp_path: Path) -> None:
    first, second = tmp_path / "10.0.0.2_8333", tmp_path / "10.0.0.1_8333"
    first.mkdir()
    (first / "msgs_recv.dat").write_bytes(record(b"version", b"a", NOW) + record(b"verack", b"bb", NOW + 5)[:-1])
    items = read_directory(tmp_path, follow=True)
    assert next(items).payload == b"a"

    def write() -> None:
        with (first / "msgs_recv.dat").open("ab") as file:
            file.write(b"b")
        second.mkdir()
        (second / "msgs_sent.dat").write_bytes(record(b"version", b"c", NOW + 9))

    threading.Timer(0.3, write).start()
    got = [next(items), next(items)]
    items.close()
    assert {(message.payload, message.connection, message.source) for message in got} == {
        (b"bb", 0, "10.0.0.2:8333"), (b"c", 1, "node")
    }  # fmt: skip


@pytest.mark.timeout(30)
def test_follow_one_file(tmp_path: Path) -> None:
    path = tmp_path / "msgs_recv.dat"
    path.write_bytes(record(b"ping", b"1"))
    with path.open("rb") as file:
        items = read_log(ByteSource(file, str(path)), follow=True)
    assert next(items).payload == b"1"
    with path.open("ab") as file:
        file.write(record(b"ping", b"2"))
    assert next(items).payload == b"2"
    items.close()


def test_following_a_compressed_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "msgs_recv.dat.gz"
    path.write_bytes(gzip.compress(record(b"ping", b"1")))
    with path.open("rb") as file:
        assert [message.payload for message in read_log(ByteSource(file, str(path)), follow=True)] == [b"1"]
