# SPDX-License-Identifier: GPL-2.0-or-later
"""pcaps/every-message.pcapng: made by its script, complete, and with the bytes of the known answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import every_message
import frames as plain
from recordings import PORT, messages_of, path_of

import scapy_btc.all  # noqa: F401  # registers every message
from scapy_btc.layers.registry import messages

NAME = every_message.NAME
UNSENDABLE = {"authchallenge"}  # 13 letters, where a header has room for 12
SAMPLE = {"_*": "_MySampleSvc"}


def test_the_script_makes_the_file(tmp_path: Path) -> None:
    assert every_message.make(tmp_path).read_bytes() == path_of(NAME).read_bytes()


def test_every_message_is_in_it() -> None:
    known = [cls.msgtype for cls in messages() if cls.__module__.startswith("scapy_btc.")]
    expected = Counter(SAMPLE.get(msgtype, msgtype) for msgtype in known)
    expected -= Counter(UNSENDABLE)
    expected += Counter(["version", "verack"])  # both sides say these
    assert Counter(message.msgtype for message in messages_of(NAME)) == expected


def test_what_was_crafted_is_the_known_answer() -> None:
    """Read without the package: the payloads are the bytes of the vectors, in the order of the conversation."""
    said = plain.streams(plain.parse(frame.data) for frame in plain.read(path_of(NAME)))
    lines = list(every_message.lines())
    assert len(said) == 2
    for ((_, port), _), data in said.items():
        asks = port != PORT
        expected = [(msgtype, name) for client, msgtype, name in lines if client == asks]
        found = plain.messages(data)
        assert [message.msgtype for message in found] == [msgtype for msgtype, _ in expected]
        for message, (msgtype, name) in zip(found, expected, strict=True):
            assert message.raw[24:] == every_message.known_answer(msgtype, name)
            assert message.checksum_ok


def test_both_sides_keep_the_order() -> None:
    found = messages_of(NAME)
    assert [message.findings for message in found] == [[]] * len(found)
    assert found[0].said == ""
    assert all(message.said == "verack" for message in found[12:])
