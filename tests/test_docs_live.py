# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of docs/live.md, with a node where the page has one."""

from __future__ import annotations

import doctest
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_docs import ROOT, blocks, checkout, transcript

from scapy_btc.net.node import BTCNode

__all__ = ["checkout"]  # a fixture, with the command on the path
KNOWN = [("192.0.2.7", 8333)]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with BTCNode(blocks=120, addresses=KNOWN) as node:
        yield node.address[1]


def test_commands_print_what_the_page_says(port: int, checkout: Path) -> None:
    checker = doctest.OutputChecker()
    commands = [step for block in blocks(ROOT / "docs" / "live.md", "shell") for step in transcript(block)]
    assert len(commands) >= 7
    for command, expected in commands:
        done = subprocess.run(["bash", "-c", command.replace("18444", str(port))], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60)
        got = done.stdout.replace(str(port), "18444")
        assert done.returncode == ("scapy-btc: " in expected), got
        assert checker.check_output(expected, got, doctest.ELLIPSIS), f"{command}\nexpected:\n{expected}\ngot:\n{got}"
