# SPDX-License-Identifier: GPL-2.0-or-later
"""Listing captures, against tshark and against hashing the same bytes; memory on captures of growing size."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .generate import generate
from .measure import Row, median_of

TSHARK = ["tshark", "-d", "tcp.port==18444,bitcoin", "-o", "bitcoin.desegment:TRUE"]
READ = [sys.executable, "-m", "scapy_btc", "read"]


def rows(quick: bool = False) -> Iterator[Row]:
    """The lines of the table that concern reading. tshark's versions of Debian 12 know no segwit, and lose a stream
    after a transaction with witness: what it is measured with has none."""
    sizes = (8, 16) if quick else (64, 256)
    with tempfile.TemporaryDirectory() as folder:
        for size, wanted in zip(sizes, (10, 40), strict=True):
            plain = capture(Path(folder), size, witness=False)
            rounds = 3 if size < 100 else 1
            ours = median_of(lambda path=plain: run([*READ, str(path)]), 3)
            fields = ["-Y", "bitcoin", "-T", "fields", "-e", "frame.time_epoch", "-e", "ip.src", "-e", "ip.dst",
                      "-e", "bitcoin.command", "-e", "bitcoin.length", "-e", "bitcoin.checksum"]
            peer = median_of(lambda path=plain, f=fields: run([*TSHARK, "-r", str(path), *f]), rounds)
            yield Row(f"list every message of {size} MB (tshark -T fields)", ours, peer, wanted)
        large = capture(Path(folder), sizes[1], witness=True)
        ours = median_of(lambda: run([*READ, str(large)]), 3)
        peer = median_of(lambda: hash_file(large), 3)
        yield Row(f"list {sizes[1]} MB with witnesses (read and SHA-256d once)", ours, peer, 5, faster=False)
        small = capture(Path(folder), sizes[0], witness=False)
        ours = median_of(lambda: run([*READ, "-T", "jsonl", str(small)]), 3)
        peer = median_of(lambda: run([*TSHARK, "-r", str(small), "-Y", "bitcoin", "-T", "json"]), 1)
        yield Row(f"every field of {sizes[0]} MB as JSON lines (tshark -T json)", ours, peer, 5)
        tenth, whole = (capture(Path(folder), size, witness=True) for size in ((10, 100) if quick else (100, 1000)))
        memory = [peak_memory([*READ, str(path)]) / 1e6 for path in (tenth, whole)]
        yield Row(f"peak memory in MB of {whole.stat().st_size >> 20} MB (a tenth of it)", memory[1], memory[0], 1.1,
                  faster=False, unit="MB")


def capture(folder: Path, size: int, witness: bool) -> Path:
    """A generated capture of so many MiB."""
    path = folder / f"{size}-{'witness' if witness else 'plain'}.pcap"
    if not path.exists():
        with path.open("wb") as file:
            generate(size << 20, 1, file, witness=witness)
    return path


def run(command: list[str]) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def hash_file(path: Path) -> None:
    with path.open("rb") as file:
        first = hashlib.sha256()
        while chunk := file.read(1 << 20):
            first.update(chunk)
        hashlib.sha256(first.digest()).digest()


def peak_memory(command: list[str]) -> int:
    """Bytes of resident memory at the worst moment."""
    probe = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, "
             "stderr=subprocess.DEVNULL, check=True); "
             "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)")
    done = subprocess.run([sys.executable, "-c", probe, *command], capture_output=True, text=True, check=True)
    return int(done.stdout)

