# SPDX-License-Identifier: GPL-2.0-or-later
"""pcaps/index.toml is true: counted again here by other means than those that wrote it.

The other means are tshark, and a search that tries every offset of what arrived for a header whose checksum is right.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scapy.utils import RawPcapReader

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PCAPS = Path(__file__).parent.parent / "pcaps"
INDEX: dict[str, dict[str, Any]] = tomllib.loads((PCAPS / "index.toml").read_text(encoding="utf-8"))
LOG = "core-message-capture"
BLOCKS = "core-blocks"
ENCRYPTED = sorted(name for name, entry in INDEX.items() if "keylog" in entry)  # read in bip324/test_recorded_v2.py
CAPTURES = sorted(set(INDEX) - {LOG, BLOCKS, *ENCRYPTED})
COUNTED_BY_TSHARK = [  # in the others bytes are missing, or stand between messages, and tshark loses its place
    "bcoin-regtest.pcapng",
    "core-v1-regtest.pcapng",
    "broken-cut.pcap",
    "broken-one-way.pcap.gz",
    "broken-order.pcap.gz",
    "broken-repeats.pcap.gz",
    "broken-wrap-ipv6.pcap.gz",
    "every-message.pcapng",
]
MAGIC = bytes.fromhex("fabfb5da")

Way = tuple[str, str]


def segments(path: Path) -> Iterator[tuple[Way, int, int, bytes]]:
    """(direction, sequence number, TCP flags, payload) of every frame."""
    with RawPcapReader(str(path)) as reader:
        while True:
            try:
                frame, record = reader._read_packet()
            except EOFError:
                return
            if len(frame) < record.wirelen:  # Scapy hands out what is left of a cut record
                return
            if frame[0] >> 4 == 4:  # raw IP; on loopback an Ethernet frame begins with zeros
                frame = bytes(12) + b"\x08\x00" + frame
            six = frame[12:14] == b"\x86\xdd"
            size = struct.unpack(">H", frame[18:20])[0] + 40 if six else struct.unpack(">H", frame[16:18])[0]
            tcp = frame[54 if six else 34 : 14 + size]
            source, destination, sequence = struct.unpack(">HHI", tcp[:8])
            family = socket.AF_INET6 if six else socket.AF_INET
            ends = (frame[22:38], frame[38:54]) if six else (frame[26:30], frame[30:34])
            shown = [socket.inet_ntop(family, end) for end in ends]
            shown = [f"[{host}]" if six else host for host in shown]
            way = f"{shown[0]}:{source}", f"{shown[1]}:{destination}"
            yield way, sequence, tcp[13], tcp[tcp[12] >> 4 << 2 :]


def arrived(path: Path) -> tuple[dict[Way, dict[int, int]], dict[Way, int], int]:
    """Each direction's bytes by position, how many bytes it has up to its last known place, and the frames."""
    bytes_at: dict[Way, dict[int, int]] = {}
    length: dict[Way, int] = {}
    base: dict[Way, int] = {}
    count = 0
    for way, sequence, flags, payload in segments(path):
        count += 1
        start = base.setdefault(way, sequence + (flags >> 1 & 1))
        at = (sequence + (flags >> 1 & 1) - start) % 2**32
        if at >= 2**31:  # earlier than the first frame of this direction
            at -= 2**32
        bytes_at.setdefault(way, {}).update({at + offset: byte for offset, byte in enumerate(payload)})
        if payload or flags & 1:  # FIN counts as a byte: what follows it must not look like a loss
            length[way] = max(length.get(way, 0), at + len(payload))
    return bytes_at, length, count


def search(bytes_at: dict[int, int]) -> Iterator[tuple[str, bytes]]:
    """Every message whose bytes are all there and whose checksum is right: any offset may begin one."""
    runs: list[bytearray] = []
    last = None
    for at in sorted(bytes_at):
        if last is None or at != last + 1:
            runs.append(bytearray())
        runs[-1].append(bytes_at[at])
        last = at
    for run in runs:
        at = run.find(MAGIC)
        while at >= 0:
            size = int.from_bytes(run[at + 16 : at + 20], "little")
            payload = bytes(run[at + 24 : at + 24 + size])
            checksum = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
            if len(payload) == size and run[at + 20 : at + 24] == checksum:
                yield run[at + 4 : at + 16].rstrip(b"\0").decode("ascii"), payload
            at = run.find(MAGIC, at + 1)


def holes(there: dict[int, int], length: int) -> int:
    """In how many pieces the bytes up to a length are missing."""
    places = [-1, *sorted(there), length]
    return sum(place > before + 1 for before, place in pairwise(places))


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@pytest.mark.parametrize("name", CAPTURES + ENCRYPTED)
def test_file_is_the_one_that_was_counted(name: str) -> None:
    assert hashlib.sha256((PCAPS / name).read_bytes()).hexdigest() == INDEX[name]["sha256"]


def test_every_recording_is_in_the_index() -> None:
    captures = {path.name for path in PCAPS.glob("*.pcap*")}
    logs = {path.relative_to(PCAPS).parts[0] for path in PCAPS.rglob("*.dat")}
    assert captures | logs == set(INDEX)


@pytest.mark.parametrize("name", CAPTURES)
def test_messages_that_arrived_whole(name: str) -> None:
    entry = INDEX[name]
    bytes_at, length, frames = arrived(PCAPS / name)
    assert frames == entry["frames"]
    assert len({frozenset(way) for way in bytes_at}) == entry["connections"]
    types: Counter[str] = Counter()
    lines = []
    whole = 0
    for way, there in bytes_at.items():
        for msgtype, payload in search(there):
            types[msgtype] += 1
            whole += 24 + len(payload)
            lines.append(f"{way[0]} {way[1]} {msgtype} {hashlib.sha256(payload).hexdigest()}")
    assert len(lines) == entry["messages"] - entry["bad_checksums"]
    assert sum(length.get(way, 0) - len(there) for way, there in bytes_at.items()) == entry["lost_bytes"]
    assert sum(holes(there, length.get(way, 0)) for way, there in bytes_at.items()) == entry["holes"]
    if entry["bad_checksums"]:
        assert types <= Counter(entry["types"])
    else:
        assert types == entry["types"]
        assert digest(lines) == entry["digest"]
        assert sum(map(len, bytes_at.values())) - whole == entry["unread_bytes"]


@pytest.mark.parametrize("name", COUNTED_BY_TSHARK)
def test_tshark_counts_the_same_messages(name: str) -> None:
    if shutil.which("tshark") is None:
        if os.environ.get("CI"):
            pytest.fail("tshark is not installed; it must be in CI")
        pytest.skip("tshark is not installed: its counts are NOT compared")
    command = ["tshark", "-n", "-r", str(PCAPS / name), "-o", "tcp.reassemble_out_of_order:TRUE"]
    command += ["-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,", "-e", "bitcoin.command"]
    output = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout  # 2: cut file
    counted = Counter(command for line in output.splitlines() for command in line.split(",") if command)
    assert counted == INDEX[name]["types"]


def test_core_message_capture() -> None:
    types: Counter[str] = Counter()
    lines = []
    for path in (PCAPS / LOG).rglob("*.dat"):
        with path.open("rb") as file:
            while header := file.read(24):
                payload = file.read(int.from_bytes(header[20:24], "little"))
                msgtype = header[8:20].rstrip(b"\0").decode("ascii")
                types[msgtype] += 1
                lines.append(f"{path.parent.name} {path.stem} {msgtype} {hashlib.sha256(payload).hexdigest()}")
    assert types == INDEX[LOG]["types"]
    assert len(lines) == INDEX[LOG]["messages"]
    assert digest(lines) == INDEX[LOG]["digest"]


def test_core_logged_what_the_wire_shows() -> None:
    """The same session seen twice: by the node and by the network interface."""
    bytes_at, _, _ = arrived(PCAPS / "core-v1-regtest.pcapng")
    for (source, destination), there in bytes_at.items():
        sent = source == "127.0.0.1:18444"
        peer = destination if sent else source
        log = (PCAPS / LOG / peer.replace(":", "_") / f"msgs_{'sent' if sent else 'recv'}.dat").read_bytes()
        for msgtype, payload in search(there):
            assert msgtype.encode().ljust(12, b"\0") + struct.pack("<I", len(payload)) + payload in log


def test_core_stored_the_blocks_that_the_wire_shows() -> None:
    key = (PCAPS / BLOCKS / "xor.dat").read_bytes()
    hidden = (PCAPS / BLOCKS / "blk00000.dat").read_bytes()
    size = len(hidden)
    clear = int.from_bytes(hidden, "big") ^ int.from_bytes((key * (size // 8 + 1))[:size], "big")
    parts = clear.to_bytes(size, "big").split(MAGIC)[1:]
    stored = [part[4 : 4 + int.from_bytes(part[:4], "little")] for part in parts]
    assert len(stored) == INDEX[BLOCKS]["blocks"]
    assert sum(map(len, stored)) == INDEX[BLOCKS]["block_bytes"]
    assert digest([hashlib.sha256(block).hexdigest() for block in stored]) == INDEX[BLOCKS]["digest"]
    bytes_at, _, _ = arrived(PCAPS / "core-v1-regtest.pcapng")
    sent = [payload for there in bytes_at.values() for msgtype, payload in search(there) if msgtype == "block"]
    headers = {block[:80] for block in stored}
    assert len(sent) > 100
    assert all(block[:80] in headers for block in sent)


def test_only_loopback_addresses() -> None:
    for name in CAPTURES + ENCRYPTED:
        for way, _, _, _ in segments(PCAPS / name):
            assert all(end.startswith(("127.", "[::1]:")) for end in way)
    assert all(folder.name.startswith("127.") for folder in (PCAPS / LOG).iterdir())


def test_broken_files_are_made_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(PCAPS / "broken.py"), str(tmp_path)], check=True, timeout=60)
    made = tomllib.loads((tmp_path / "index.toml").read_text(encoding="utf-8"))
    assert set(made) == {name for name in CAPTURES if name.startswith("broken-")}
    for name, entry in made.items():
        old, new = (PCAPS / name).read_bytes(), (tmp_path / name).read_bytes()
        if name.endswith(".gz"):  # libraries compress differently
            old, new = gzip.decompress(old), gzip.decompress(new)
            entry["sha256"] = INDEX[name]["sha256"]
        assert old == new, name
        assert entry == INDEX[name]
