# SPDX-License-Identifier: GPL-2.0-or-later
"""`read`: sources told by their content, several of them, and what cannot be read."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from pathlib import Path

import pytest
from segments import ACK, CLIENT, REGTEST, SERVER, START, SYN, message, pcap, segment

from scapy_btc.capture.message import Message
from scapy_btc.capture.reader import read
from scapy_btc.errors import CaptureError

PING = message(b"ping", bytes(8))
FRAMES = [
    (START, segment(CLIENT, SERVER, 999, 0, SYN)),
    (START + 1000, segment(CLIENT, SERVER, 1000, 0, ACK, PING)),
    (START + 2000, segment(CLIENT, SERVER, 1032, 0, ACK, b"garbage" + PING)),
]
CAPTURE = pcap(FRAMES)


def test_events_on_request_and_always_counted() -> None:
    with read(io.BytesIO(CAPTURE)) as reader:
        assert [item.msgtype for item in reader] == ["ping", "ping"]
    assert reader.counts == {"connections": 1, "messages": 2, "skipped": 1}
    with read(io.BytesIO(CAPTURE), events=True) as reader:
        assert [getattr(item, "event", "") or item.msgtype for item in reader] == ["ping", "skipped", "ping"]


def test_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(gzip.compress(CAPTURE))
    with read(path) as reader:
        assert len(list(reader)) == 2
        assert reader.position == path.stat().st_size


def test_standard_input() -> None:
    code = "import scapy_btc; print([m.msgtype for m in scapy_btc.read('-')])"
    done = subprocess.run([sys.executable, "-c", code], input=CAPTURE, capture_output=True, timeout=60, check=True)
    assert done.stdout.strip() == b"['ping', 'ping']"


def test_network_that_is_said() -> None:
    frames = [
        (START, segment(CLIENT, SERVER, 999, 0, SYN)),
        (START, segment(CLIENT, SERVER, 1000, 0, ACK, message(b"ping", bytes(8), REGTEST))),
    ]
    assert [str(item.network) for item in read(io.BytesIO(pcap(frames)))] == ["regtest"]
    assert [str(item.network) for item in read(io.BytesIO(pcap(frames)), network="litecoin-regtest")] == [
        "litecoin-regtest"
    ]


def test_several_sources_one_after_the_other(tmp_path: Path) -> None:
    good, cut = tmp_path / "good.pcap", tmp_path / "cut.pcap"
    good.write_bytes(CAPTURE)
    cut.write_bytes(CAPTURE[:-5])
    found = []
    with (
        read([good, str(cut), io.BytesIO(CAPTURE), tmp_path / "none.pcap"]) as reader,
        pytest.raises(CaptureError) as error,
    ):
        for item in reader:
            assert isinstance(item, Message)
            found.append((item.connection, item.frames[1]))
    assert found == [(0, 2), (0, 3), (1, 2), (2, 2), (2, 3)]
    assert reader.counts["messages"] == 5 and reader.counts["connections"] == 3
    assert "cut.pcap: cut short inside frame 3" in str(error.value)
    assert "none.pcap: No such file or directory" in str(error.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"hello, world, this is no capture", "not a capture"),
        (CAPTURE[:20], "cut short inside the file header"),
        (pcap(FRAMES, linktype=127), "frames of link type 127 cannot be read"),
        (gzip.compress(CAPTURE)[:-9], "cut short"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(data)
    with pytest.raises(CaptureError) as error, read(path) as reader:
        list(reader)
    assert said in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_closing_early_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(CAPTURE)
    reader = read([path])
    assert next(reader).msgtype == "ping"
    reader.close()
    assert list(reader) == []
