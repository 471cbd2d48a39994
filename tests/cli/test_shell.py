# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc shell`: what it loads and what it proposes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scapy_btc.cli.shell import shell

FILE = Path(__file__).parents[2] / "pcaps" / "every-message.pcapng"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the shell would know."""
    found: dict[str, Any] = {}
    monkeypatch.setattr("scapy.config.conf.fancy_banner", True)  # put back afterwards
    monkeypatch.setattr("scapy.main.interact", lambda mydict, argv: found.update(mydict))
    return found


def test_messages_of_a_file_are_there_and_proposed(names: dict[str, Any]) -> None:
    done = CliRunner().invoke(shell, [str(FILE)])
    assert done.exit_code == 0
    assert len(names["messages"]) > 50
    assert ">>> for m in messages: print(m.packet.summary()) " in done.output
    assert f"# the {len(names['messages'])} of {FILE}\n" in done.output and "capture.pcapng" not in done.output


def test_without_a_file_reading_one_is_proposed(names: dict[str, Any]) -> None:
    done = CliRunner().invoke(shell, [])
    assert done.exit_code == 0
    assert 'for m in read("capture.pcapng")' in done.output and "messages" not in names
    assert names["read"] and names["BTCPing"]
