# SPDX-License-Identifier: GPL-2.0-or-later
"""index.toml: what a reader must find in each file of this folder.

``python pcaps/index.py`` counts the clean captures again, after one of them was recorded anew.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import frames as plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
CLEAN = {
    "bcoin-regtest.pcapng": "pcaps/record.py",
    "core-v1-regtest.pcapng": "pcaps/record_core.py",
    "every-message.pcapng": "pcaps/every_message.py",
}
LOG = "core-message-capture"
BLOCKS = "core-blocks"
HEADER = "# What a reader must find in each file; README.md says what the keys mean. Made by the scripts beside it.\n"


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries by file name."""
    path = folder / "index.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def update(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Put entries in or replace them; the others stay."""
    parts = [HEADER]
    for name, entry in sorted((load(folder) | entries).items()):
        tables = {key: value for key, value in entry.items() if isinstance(value, dict)}
        parts.append(f'\n["{name}"]\n')
        parts += [f"{key} = {json.dumps(value)}\n" for key, value in entry.items() if key not in tables]
        for key, table in tables.items():
            pairs = ", ".join(f"{inner} = {json.dumps(value)}" for inner, value in table.items())
            parts.append(f"{key} = {{ {pairs} }}\n")
    (folder / "index.toml").write_text("".join(parts), encoding="utf-8")


def entry(path: Path, made_by: str, frames: int, connections: int) -> dict[str, Any]:
    """The keys that every capture has, except those of `frames.totals`."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"made_by": made_by, "sha256": sha256, "frames": frames, "connections": connections}


def clean_entry(path: Path, made_by: str) -> dict[str, Any]:
    """The entry of a capture where nothing is lost."""
    segments = [plain.parse(frame.data) for frame in plain.read(path)]
    streams = plain.streams(segments)
    found = [(*way, message) for way, data in streams.items() for message in plain.messages(data)]
    whole = {"lost_bytes": 0, "holes": 0, "unread_bytes": 0}
    return entry(path, made_by, len(segments), len(streams) // 2) | whole | plain.totals(found)


def log_entry(folder: Path, made_by: str) -> dict[str, Any]:
    """The entry of a message capture: files of (microseconds since 1970, message type, length, payload)."""
    types: Counter[str] = Counter()
    payload_bytes = 0
    lines = []
    files = sorted(folder.glob("*/msgs_*.dat"))
    for path in files:
        data = path.read_bytes()
        position = 0
        while position < len(data):
            _, name, size = struct.unpack_from("<q12sI", data, position)
            msgtype = name.rstrip(b"\0").decode("ascii")
            payload = data[position + 24 : position + 24 + size]
            types[msgtype] += 1
            payload_bytes += size
            lines.append(f"{path.parent.name} {path.stem} {msgtype} {hashlib.sha256(payload).hexdigest()}")
            position += 24 + size
    return {
        "made_by": made_by,
        "connections": len({path.parent for path in files}),
        "messages": len(lines),
        "payload_bytes": payload_bytes,
        "digest": plain.digest(lines),
        "types": dict(sorted(types.items())),
    }


def blocks_entry(folder: Path, made_by: str) -> dict[str, Any]:
    """The entry of a block file: (magic, length, block) one after the other, hidden by an 8-byte key over the file."""
    key = (folder / "xor.dat").read_bytes()
    hidden = (folder / "blk00000.dat").read_bytes()
    data = bytes(byte ^ key[at % len(key)] for at, byte in enumerate(hidden))
    lines = []
    position = 0
    while data[position : position + 4] == plain.MAGIC:
        end = position + 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        lines.append(hashlib.sha256(data[position + 8 : end]).hexdigest())
        position = end
    size = position - 8 * len(lines)
    return {"made_by": made_by, "blocks": len(lines), "block_bytes": size, "digest": plain.digest(lines)}


if __name__ == "__main__":
    counted = {name: clean_entry(HERE / name, made_by) for name, made_by in CLEAN.items()}
    counted[LOG] = log_entry(HERE / LOG, "pcaps/record_core.py")
    counted[BLOCKS] = blocks_entry(HERE / BLOCKS, "pcaps/record_core.py")
    update(HERE, counted)
