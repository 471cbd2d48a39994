# SPDX-License-Identifier: GPL-2.0-or-later
"""index.toml: what a reader must find in each file of this folder.

``python pcaps/index.py`` counts the clean captures again, after one of them was recorded anew.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import frames as plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
INDEX = HERE / "index.toml"
CLEAN = {"bcoin-regtest.pcapng": "pcaps/record.py", "core-v1-regtest.pcapng": "bitcoind 28.1"}
HEADER = "# What a reader must find in each file; README.md says what the keys mean. Written by index.py, broken.py.\n"


def load() -> dict[str, dict[str, Any]]:
    """The entries by file name."""
    return tomllib.loads(INDEX.read_text(encoding="utf-8")) if INDEX.exists() else {}


def update(entries: dict[str, dict[str, Any]]) -> None:
    """Put entries in or replace them; the others stay."""
    parts = [HEADER]
    for name, entry in sorted((load() | entries).items()):
        tables = {key: value for key, value in entry.items() if isinstance(value, dict)}
        parts.append(f'\n["{name}"]\n')
        parts += [f"{key} = {json.dumps(value)}\n" for key, value in entry.items() if key not in tables]
        for key, table in tables.items():
            pairs = ", ".join(f"{inner} = {json.dumps(value)}" for inner, value in table.items())
            parts.append(f"{key} = {{ {pairs} }}\n")
    INDEX.write_text("".join(parts), encoding="utf-8")


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


if __name__ == "__main__":
    update({name: clean_entry(HERE / name, made_by) for name, made_by in CLEAN.items()})
