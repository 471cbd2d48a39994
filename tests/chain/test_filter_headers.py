# SPDX-License-Identifier: GPL-2.0-or-later
"""The chain of filter headers: BIP 158's rows, and finding out which of several peers lie."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.chain.block_filter import build, filter_hash
from scapy_btc.chain.filter_headers import FilterHeaderChain, first_conflict
from scapy_btc.errors import InvalidFilter
from scapy_btc.wire.hashes import hex_hash

ROWS = json.loads((Path(__file__).parents[1] / "vectors" / "chain" / "block-filters.json").read_text())
HASHES = [sha256(bytes([n % 256, n // 256])).digest() for n in range(2500)]


def link(previous: bytes, hashes: list[bytes]) -> list[bytes]:
    """BIP 157 in its own words: each header is the double SHA-256 of filter hash and header before."""
    headers = []
    for one in hashes:
        previous = sha256(sha256(one + previous).digest()).digest()
        headers.append(previous)
    return headers


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["height"]))
def test_bip158(row: dict[str, Any]) -> None:
    height, encoded = row["height"], bytes.fromhex(row["filter"])
    chain = FilterHeaderChain(height, hex_hash(row["previous_header"]))
    assert (chain.height, len(chain)) == (height - 1, 0)
    assert chain.extend(hex_hash(row["previous_header"]), [filter_hash(encoded)]) == height
    assert chain.at(height) == hex_hash(row["header"]) and chain.at(height - 1) == hex_hash(row["previous_header"])
    chain.check(height, encoded)
    with pytest.raises(InvalidFilter, match=rf"the filter at height {height} gives filter header"):
        chain.check(height, encoded + b"\0")


def test_batches_connect() -> None:
    chain, headers = FilterHeaderChain(), link(bytes(32), HASHES)
    assert chain.extend(bytes(32), HASHES[:2000]) == 1999
    with pytest.raises(InvalidFilter, match="filter hashes after height 1999 follow filter header 00000"):
        chain.extend(bytes(32), HASHES[2000:])
    assert chain.height == 1999
    assert chain.extend(headers[1999], HASHES[2000:]) == 2499 == chain.extend(headers[2499], [])
    assert [chain.at(height) for height in range(2500)] == headers and chain.at(-1) == bytes(32)
    assert chain.checkpoints() == [headers[1000], headers[2000]]
    assert chain.checkpoints(1999) == [headers[1000]] == chain.checkpoints(1000) and chain.checkpoints(999) == []
    for height in (-2, 2500):
        with pytest.raises(IndexError, match=f"height {height} is not among 0 to 2499"):
            chain.at(height)


def test_truncation() -> None:
    chain, headers = FilterHeaderChain(), link(bytes(32), HASHES[:20])
    chain.extend(bytes(32), HASHES[:20])
    chain.truncate(9)
    assert chain.height == 9 and chain.at(9) == headers[9]
    assert chain.extend(headers[9], HASHES[30:32]) == 11
    chain.truncate(-1)
    assert chain.height == -1 and chain.extend(bytes(32), HASHES[:1]) == 0
    with pytest.raises(IndexError):
        chain.truncate(1)


def test_checkpoints_are_compared() -> None:
    headers = link(bytes(32), HASHES)
    chain = FilterHeaderChain()
    chain.extend(bytes(32), HASHES[:1500])
    chain.check_checkpoints([headers[1000], b"of what is not known yet nothing "[:32]])
    with pytest.raises(InvalidFilter, match="checkpoint 1000 is filter header"):
        chain.check_checkpoints([headers[999]])
    alone = FilterHeaderChain(1000, headers[999])
    alone.extend(headers[999], HASHES[1000:1001])
    alone.check_checkpoints([headers[1000]])
    with pytest.raises(InvalidFilter, match="checkpoint 1000"):
        alone.check_checkpoints([headers[999]])
    later = FilterHeaderChain(1500, headers[1499])
    later.extend(headers[1499], HASHES[1500:])
    later.check_checkpoints([bytes(32), headers[2000]])
    with pytest.raises(InvalidFilter, match="checkpoint 2000"):
        later.check_checkpoints([bytes(32), bytes(32)])
    with pytest.raises(IndexError):
        later.checkpoints()


def test_liars_are_found_as_bip157_says() -> None:
    true_filter, false_filter = build(bytes(32), [b"a", b"b"]), build(bytes(32), [b"a"])
    truth = [*HASHES[:1500], filter_hash(true_filter), *HASHES[1501:]]
    lie = [*HASHES[:1500], filter_hash(false_filter), *HASHES[1501:]]
    told = {"one": truth, "two": lie, "three": truth, "four": lie, "five": truth}
    # 1. checkpoints of all
    checkpoints = {peer: [link(bytes(32), hashes)[height] for height in (1000, 2000)] for peer, hashes in told.items()}
    conflict = first_conflict(checkpoints)
    assert conflict is not None and conflict.position == 1
    assert list(conflict.sides.values()) == [["one", "three", "five"], ["two", "four"]]
    # 2. filter hashes between the last checkpoint in common and the first that differs
    conflict = first_conflict({peer: hashes[1001:2001] for peer, hashes in told.items()})
    assert conflict is not None and 1001 + conflict.position == 1500
    # 3. the block: its filter can be built by everybody
    assert conflict.liars(filter_hash(true_filter)) == ["two", "four"]
    assert set(conflict.liars(bytes(32))) == set(told)


def test_an_answer_that_ends_early_differs() -> None:
    assert first_conflict({}) is None and first_conflict({"one": HASHES}) is None
    assert first_conflict({"one": HASHES, "two": list(HASHES)}) is None
    conflict = first_conflict({"one": HASHES[:5], "two": HASHES[:5], "three": HASHES[:3]})
    assert conflict is not None and conflict.position == 3
    assert conflict.sides == {HASHES[3]: ["one", "two"], None: ["three"]}


@given(st.lists(st.lists(st.sampled_from(HASHES[:2]), max_size=6), min_size=1, max_size=4))
def test_the_first_conflict_is_the_first(lists: list[list[bytes]]) -> None:
    answers = {str(number): answer for number, answer in enumerate(lists)}
    conflict = first_conflict(answers)
    if conflict is None:
        assert all(answer == lists[0] for answer in lists)
    else:
        assert all(answer[: conflict.position] == lists[0][: conflict.position] for answer in lists)
        assert len(conflict.sides) > 1
        for said, peers in conflict.sides.items():
            assert all((answers[peer] + [None] * 9)[conflict.position] == said for peer in peers)  # type: ignore[operator]
