# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the golden records anew: `python tests/golden/make.py`, then look at what changed before committing it.

`<file>.jsonl.gz` is what `scapy-btc read -T jsonl --derived --network regtest` prints of each file of pcaps/, with
`--keylog` for those that have one.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from recordings import INDEX, keylog_of, path_of, printed  # noqa: E402


def golden_path(name: str) -> Path:
    return HERE / f"{name}.jsonl.gz"


def records(name: str) -> str:
    """One line per message or event of a file of pcaps/."""
    keys = keylog_of(name)
    options = ["--network", "regtest", *(["--keylog", str(keys)] if keys else [])]
    text, status = printed("read", "-T", "jsonl", "--derived", *options, str(path_of(name)))
    if status != int(INDEX[name].get("cut", False)):
        raise AssertionError(f"{name}: exit status {status}")
    return text


if __name__ == "__main__":
    for name in INDEX:
        text = records(name)
        path = golden_path(name)
        if not path.exists() or gzip.decompress(path.read_bytes()).decode() != text:
            path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
            print(f"{path.name}: {text.count(chr(10))} records")
