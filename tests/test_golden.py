# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of every file of pcaps/ are the golden ones, which `python tests/golden/make.py` writes."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import every_message
import pytest
from recordings import BLOCKS, INDEX, printed

sys.path.insert(0, str(Path(__file__).parent / "golden"))

import make


def golden(name: str) -> str:
    return gzip.decompress(make.golden_path(name).read_bytes()).decode()


def differences(expected: Any, found: Any, where: str = "") -> Iterator[str]:
    """Where two records differ, one line each."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            yield from differences(expected.get(key, "(absent)"), found.get(key, "(absent)"), f"{where}.{key}")
        if expected == found and list(expected) != list(found):
            yield f"{where}: order of keys: expected {list(expected)}, found {list(found)}"
    elif isinstance(expected, list) and isinstance(found, list):
        for number, (old, new) in enumerate(zip_longest(expected, found, fillvalue="(absent)")):
            yield from differences(old, new, f"{where}[{number}]")
    elif expected != found or type(expected) is not type(found):
        yield f"{where or 'record'}: expected {str(expected)[:200]}, found {str(found)[:200]}"


@pytest.mark.parametrize("name", sorted(INDEX))
def test_records(name: str) -> None:
    for number, (old, new) in enumerate(zip_longest(golden(name).splitlines(), make.records(name).splitlines()), 1):
        if old != new:
            lines = list(differences(json.loads(old or "null"), json.loads(new or "null"))) or ["written differently"]
            pytest.fail("\n".join([f"record {number} of {name}:", *lines[:20]]), pytrace=False)


@pytest.mark.parametrize("name", sorted(INDEX))
def test_golden_records_are_true(name: str) -> None:
    """They were not just written down: they count what index.toml counts, which asked no reader."""
    entry = INDEX[name]
    records = [json.loads(line) for line in golden(name).splitlines()]
    messages = [record for record in records if "msgtype" in record]
    assert len(messages) == entry["blocks" if name == BLOCKS else "messages"]
    assert Counter(record["msgtype"] for record in messages) == entry.get("types", {"block": len(messages)})
    assert sum(record["size"] for record in messages) == entry["block_bytes" if name == BLOCKS else "payload_bytes"]
    assert sum(record["checksum"] == "bad" for record in messages) == entry.get("bad_checksums", 0)
    assert {record["network"] for record in messages} == {"regtest"}
    bytes_of: Counter[str] = Counter()
    for record in records:
        bytes_of[record.get("event", "")] += record.get("bytes", 0)
    assert bytes_of["gap"] == entry.get("lost_bytes", 0)
    assert bytes_of["skipped"] + bytes_of["truncated"] == entry.get("unread_bytes", 0)


def test_fields_of_known_answers() -> None:
    """What was crafted from a known answer is recorded with the fields that are written down beside that answer."""
    records = [json.loads(line) for line in golden(every_message.NAME).splitlines()]
    for record, (_, msgtype, name) in zip(records, every_message.lines(), strict=True):
        vectors = json.loads((every_message.VECTORS / f"{msgtype}.json").read_bytes())
        assert [record["fields"]] == [vector.get("fields", {}) for vector in vectors if vector["name"] == name]


def test_every_file_has_golden_records() -> None:
    assert {path.name for path in make.HERE.glob("*.gz")} == {make.golden_path(name).name for name in INDEX}


@pytest.mark.parametrize(
    ("name", "msgtype"),
    [("bcoin-regtest.pcapng", "tx"), ("broken-loss.pcap.gz", "block"), ("core-message-capture", "version")],
)
def test_a_selection_prints_the_same_records(name: str, msgtype: str) -> None:
    arguments = ["read", "-T", "jsonl", "--derived", "--network", "regtest", "--msgtype", msgtype]
    text, _ = printed(*arguments, str(make.path_of(name)))
    records = [json.loads(line) for line in golden(name).splitlines()]
    assert [json.loads(line) for line in text.splitlines()] == [r for r in records if r.get("msgtype") == msgtype]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"a": 1, "b": [1, {"c": "x"}]}, [".b[1].c: expected y, found x"]),
        ({"a": 1, "b": [1]}, [".b[1]: expected {'c': 'y'}, found (absent)"]),
        ({"a": True, "b": [1, {"c": "y"}]}, [".a: expected 1, found True"]),
        ({"b": [1, {"c": "y"}], "a": 1}, [": order of keys: expected ['a', 'b'], found ['b', 'a']"]),
        ({"a": 1, "b": [1, {"c": "y"}]}, []),
    ],
)
def test_differences_are_told(found: Any, expected: list[str]) -> None:
    assert list(differences({"a": 1, "b": [1, {"c": "y"}]}, found)) == expected
