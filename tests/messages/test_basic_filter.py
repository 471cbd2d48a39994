# SPDX-License-Identifier: GPL-2.0-or-later
"""The basic filter of a whole block, with BIP 158's own blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bitcoin.core import CBlock

from scapy_btc.messages.blocks import basic_filter, output_scripts

ROWS = json.loads((Path(__file__).parents[1] / "vectors" / "chain" / "block-filters.json").read_text())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["height"]))
def test_bip158(row: dict[str, Any]) -> None:
    block = bytes.fromhex(row["block"])
    assert basic_filter(block, map(bytes.fromhex, row["spent_scripts"])).hex() == row["filter"]
    assert list(output_scripts(block)) == [
        bytes(output.scriptPubKey) for tx in CBlock.deserialize(block).vtx for output in tx.vout]
