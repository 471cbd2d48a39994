# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages written as TCP streams: read back the same by this package, by tshark and by Scapy."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.utils import RawPcapReader

from scapy_btc.capture import writers
from scapy_btc.capture.message import Message
from scapy_btc.capture.reader import read
from scapy_btc.capture.writers import SEGMENT, open_writer
from scapy_btc.errors import CaptureError
from scapy_btc.networks import MAINNET, REGTEST, Network
from scapy_btc.wire.events import Frame

PCAPS = Path(__file__).parents[2] / "pcaps"
FORMATS = ["out.pcapng", "out.pcap", "out.pcapng.gz", "out.pcap.gz", "out"]
SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
ONE, OTHER = "10.0.0.1:50000", "10.0.0.2:8333"


def message(payload: bytes = b"", source: str = ONE, destination: str = OTHER, connection: int = 0,
            time_ns: int = NOW, network: Network | None = MAINNET, msgtype: bytes = b"ping") -> Message:
    frame = Frame(MAINNET.magic, msgtype, msgtype.ljust(12, b"\0"), len(payload), b"", payload, 0, 0, "none")
    return Message(time_ns, source, destination, connection, network, "log", msgtype.decode(), payload, "none", (1, 1),
                   frame)


def write(path: Path, messages: Any) -> Path:
    with open_writer(path) as writer:
        for item in messages:
            writer.write(item)
    return path


def again(path: Path) -> list[Any]:
    """What reading gives, events included, so that a gap or a skipped byte would show."""
    with read(path, events=True) as reader:
        return list(reader)


def shown(item: Message) -> tuple[Any, ...]:
    return item.time_ns, item.source, item.destination, item.network, item.frame_bytes, item.checksum


def frames(path: Path) -> list[bytes]:
    with RawPcapReader(str(path)) as reader:
        return [frame for frame, _ in reader]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("recording", ["bcoin-regtest.pcapng", "broken-checksums.pcap.gz", "broken-wrap-ipv6.pcap.gz"])
def test_a_recording_written_and_read_again(recording: str, name: str, tmp_path: Path) -> None:
    messages = again(PCAPS / recording)
    written = again(write(tmp_path / name, messages))
    assert all(isinstance(item, Message) for item in written)
    assert sorted(map(shown, written), key=str) == sorted(map(shown, messages), key=str)
    assert Counter(item.connection for item in written) == Counter(item.connection for item in messages)
    assert Counter(item.said for item in written) == Counter(item.said for item in messages)


def test_the_format_follows_the_name(tmp_path: Path) -> None:
    starts = {name: write(tmp_path / name, [message()]).read_bytes()[:4] for name in FORMATS}
    section, nanoseconds = b"\x0a\x0d\x0d\x0a", b"\x4d\x3c\xb2\xa1"
    assert starts["out"] == starts["out.pcapng"] == section
    assert starts["out.pcap"] == nanoseconds
    assert {starts[name][:2] for name in starts if name.endswith(".gz")} == {b"\x1f\x8b"}
    assert gzip.decompress((tmp_path / "out.pcap.gz").read_bytes()) == (tmp_path / "out.pcap").read_bytes()
    assert gzip.decompress((tmp_path / "out.pcapng.gz").read_bytes()) == (tmp_path / "out.pcapng").read_bytes()


@pytest.mark.parametrize("name", ["out.pcapng", "out.pcap"])
def test_tshark_reads_it(name: str, tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        if os.environ.get("CI"):
            pytest.fail("tshark is not installed; it must be in CI")
        pytest.skip("tshark is not installed")
    with read(PCAPS / "core-message-capture", network="regtest") as reader:
        messages = list(reader)
    path = write(tmp_path / name, [*messages, message(b"x" * 200_001, network=MAINNET, time_ns=messages[-1].time_ns)])
    command = ["tshark", "-n", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
               "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,", "-e", "bitcoin.command",
               "-e", "ip.checksum.status", "-e", "tcp.checksum.status", "-e", "tcp.stream", "-e", "tcp.flags.syn",
               "-e", "tcp.flags.fin", "-e", "tcp.analysis.flags"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    types = Counter(command for row in rows for command in row[0].split(",") if command)
    assert types == Counter(message.msgtype for message in messages) + Counter(ping=1)
    assert {(row[1], row[2]) for row in rows} == {("1", "1")}  # good
    assert {row[3] for row in rows} == {"0", "1", "2", "3", "4"}
    assert sum(row[4] in ("1", "True") for row in rows) == sum(row[5] in ("1", "True") for row in rows) == 10
    assert not any(row[6] for row in rows)  # neither lost nor repeated nor out of order


@pytest.mark.parametrize("ends", [(ONE, OTHER), ("[2001:db8::1]:50000", "[2001:db8::2]:8333")])
@pytest.mark.parametrize("size", [0, 1, 2, 65_535, SEGMENT - 24, SEGMENT - 23, 3 * SEGMENT])
def test_checksums_and_lengths_as_scapy_computes_them(ends: tuple[str, str], size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "out.pcap", [message(bytes([7]) * size, *ends)])
    for frame in frames(path):
        packet: Any = IP(frame) if frame[0] >> 4 == 4 else IPv6(frame)
        rebuilt = packet.copy()
        del rebuilt[TCP].chksum, rebuilt[TCP].dataofs
        if IP in rebuilt:
            del rebuilt.chksum, rebuilt.len
        else:
            del rebuilt.plen
        assert bytes(rebuilt) == frame


def test_checksum_of_rfc_1071() -> None:
    assert writers._checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_a_stream_from_handshake_to_end(tmp_path: Path) -> None:
    path = write(tmp_path / "out.pcap", [message(b"1"), message(b"22", OTHER, ONE, time_ns=NOW + SECOND)])
    packets = [IP(frame)[TCP] for frame in frames(path)]
    assert [str(packet.flags) for packet in packets] == ["S", "SA", "A", "PA", "PA", "FA", "FA", "A"]
    assert [packet.dport for packet in packets] == [8333, 50000, 8333, 8333, 50000, 8333, 50000, 8333]
    client, server = packets[0].seq, packets[1].seq
    assert [packet.seq - (client if packet.dport == 8333 else server) for packet in packets] == [
        0, 0, 1, 1, 1, 26, 27, 27
    ]  # fmt: skip
    assert [packet.ack - (server if packet.dport == 8333 else client) for packet in packets[1:]] == [
        1, 1, 1, 26, 27, 27, 28
    ]  # fmt: skip


def test_times(tmp_path: Path) -> None:
    times = [NOW + 123, NOW + 456]
    for name in ("out.pcap", "out.pcapng"):
        path = write(tmp_path / name, [message(time_ns=when) for when in times])
        assert [item.time_ns for item in again(path)] == times


@pytest.mark.parametrize("time_ns, kept", [(-5, 0), (0, 0), (1 << 70, None)])
def test_times_that_no_capture_can_say(time_ns: int, kept: int | None, tmp_path: Path) -> None:
    for name in ("out.pcap", "out.pcapng"):
        (item,) = again(write(tmp_path / name, [message(time_ns=time_ns)]))
        assert kept is None or item.time_ns == kept


def test_ends_without_address_get_stand_ins(tmp_path: Path) -> None:
    onion = "3cjide55n3vix3pdeuarnvim3se7ffnzvnx6mzp7d6tc7z27ink3guyd.onion:8333"
    messages = [message(b"1", "node", ONE, 0), message(b"2", onion, "node", 1), message(b"3", "blk00000.dat", "", 2),
                message(b"4", "[2001:db8::5]:8333", "node", 3, network=REGTEST)]
    written = again(write(tmp_path / "out.pcapng", messages))
    assert [(item.payload, item.source, item.destination) for item in written] == [
        (b"1", "240.0.0.1:8333", ONE),
        (b"2", "240.0.0.2:8333", "240.0.0.1:8333"),
        (b"3", "240.0.0.3:8333", "240.0.0.4:8333"),
        (b"4", "[2001:db8::5]:8333", "[100::1]:18444"),
    ]


def test_addresses_of_both_versions_and_of_oneself(tmp_path: Path) -> None:
    written = again(write(tmp_path / "out.pcapng", [message(b"1", "[::1]:5", OTHER), message(b"2", OTHER, OTHER)]))
    assert [(item.payload, item.source, item.destination) for item in written] == [
        (b"1", "[::1]:5", "[::ffff:10.0.0.2]:8333"), (b"2", "10.0.0.2:41101", OTHER)
    ]  # fmt: skip


def test_ports_used_again(tmp_path: Path) -> None:
    numbers = list(range(5))
    messages = [message(bytes([number]), connection=number) for number in numbers]
    written = again(write(tmp_path / "out.pcapng", messages))
    assert [(item.connection, item.payload[0]) for item in written] == [(number, number) for number in numbers]


def test_open_streams_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "CONNECTIONS", 3)
    messages = [message(bytes([turn]), f"10.0.0.1:{port}", connection=port) for turn in (1, 2) for port in range(1, 8)]
    with open_writer(tmp_path / "out.pcapng") as writer:
        for item in messages:
            writer.write(item)
            assert len(writer._streams) <= 3
    written = again(tmp_path / "out.pcapng")
    assert [(item.source, item.payload) for item in written] == [(item.source, item.payload) for item in messages]


def test_what_was_written_stays_when_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    with pytest.raises(KeyboardInterrupt), open_writer(path) as writer:
        writer.write(message(b"12345678"))
        raise KeyboardInterrupt
    assert [item.payload for item in again(path)] == [b"12345678"]


def test_a_file_that_is_open_gets_each_message_at_once() -> None:
    file = io.BytesIO()
    with open_writer(file) as writer:
        writer.write(message(b"12345678"))
        before = file.getvalue()
    assert before.startswith(b"\x0a\x0d\x0d\x0a") and b"12345678" in before
    assert not file.closed and len(file.getvalue()) > len(before)


@pytest.mark.parametrize("name", ["out.pcapng", "out.pcap"])
def test_what_is_live_is_in_the_file_at_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with open_writer(path, live=True) as writer:
        assert again(path) == []
        for number in range(3):
            writer.write(message(bytes([number])))
            assert [item.payload[0] for item in again(path)] == list(range(number + 1))
        now = path.stat().st_size
    assert path.stat().st_size > now  # the streams have an end


def test_live_and_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now = tmp_path / "out.pcapng.gz", 1000.0
    monkeypatch.setattr(writers.time, "monotonic", lambda: now)

    def readable() -> bytes:
        return zlib.decompressobj(31).decompress(path.read_bytes())

    with open_writer(path, live=True) as writer:
        assert readable().startswith(b"\x0a\x0d\x0d\x0a")
        writer.write(message(b"message one"))
        assert b"message one" in readable()
        now += 0.9
        writer.write(message(b"message two"))
        assert b"message two" not in readable()
        now += 0.2
        writer.write(message(b"message three"))
        assert b"message two" in readable() and b"message three" in readable()
    assert [item.payload for item in again(path)] == [b"message one", b"message two", b"message three"]


def test_what_is_not_live_is_written_in_large_pieces(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    with open_writer(path) as writer:
        for number in range(100):
            writer.write(message(bytes([number])))
        assert path.stat().st_size == 0
    assert len(again(path)) == 100


def test_standard_output() -> None:
    code = "from scapy_btc.capture.writers import open_writer\nwith open_writer('-'): pass"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    assert done.stdout.startswith(b"\x0a\x0d\x0d\x0a") and not done.stderr


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    for name in ("out.pcap", "out.pcap.gz"):
        with pytest.raises(CaptureError, match="cannot be written"):
            open_writer(tmp_path / "missing" / name)


def test_scapy_is_not_loaded() -> None:
    code = "import sys, scapy_btc.capture.writers; print('scapy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"


conversations = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.binary(max_size=40) | st.integers(60_000, 70_000).map(bytes)),
    max_size=12,
)


@given(conversations, st.sampled_from(["a.pcap", "a.pcapng"]))
def test_any_conversations(tmp_path_factory: pytest.TempPathFactory, said: list[Any], name: str) -> None:
    messages = []
    for number, (connection, back, payload) in enumerate(said):
        ends = (f"10.0.1.{connection}:50000", OTHER)
        messages.append(message(payload, *(ends[::-1] if back else ends), connection, NOW + number * 1_000_000))
    path = tmp_path_factory.getbasetemp() / name
    assert [item.frame_bytes for item in again(write(path, messages))] == [item.frame_bytes for item in messages]
