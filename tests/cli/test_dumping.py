# SPDX-License-Identifier: GPL-2.0-or-later
"""The hex dump of what goes and comes."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from scapy_btc.all import BTC, REGTEST, BTCPing
from scapy_btc.cli.dumping import Dump
from scapy_btc.cli.printing import hex_lines
from scapy_btc.net.record import Recorder

MESSAGE = bytes(BTC(magic="regtest") / BTCPing(nonce=0x0102030405060708))
ESCAPE = re.compile("\x1b\\[[0-9;]*m")


def dumped(colour: bool) -> list[str]:
    """Lines for a ping that goes and one that comes."""
    dump = Dump("127.0.0.1:50000")
    dump.out, dump.colour = io.StringIO(), colour
    record: Any = Recorder(dump, REGTEST, "127.0.0.1:50000", "127.0.0.1:18444")
    for sent in (True, False):
        record(BTC(MESSAGE), sent)
    return dump.out.getvalue().splitlines()


@pytest.mark.parametrize("colour", [False, True])
def test_directions(colour: bool) -> None:
    lines = dumped(colour)
    assert len(lines) == 6 and bool(ESCAPE.search(lines[0])) is colour
    shown = [ESCAPE.sub("", line) for line in lines]
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} -> 127\.0\.0\.1:18444 ping 0x0102030405060708 \(8 bytes\)", shown[0])
    assert " <- 127.0.0.1:18444 ping" in shown[3]
    assert shown[1] == "  000000  fa bf b5 da 70 69 6e 67 00 00 00 00 00 00 00 00  ....ping........"


def test_each_field_of_the_header_has_its_colour() -> None:
    """Magic, name, length, checksum; the payload has none."""
    first, second = hex_lines(MESSAGE, colour=True)
    magic, name, length, checksum = (f"\x1b[{number}m" for number in (35, 36, 33, 32))
    assert first.startswith(f"  000000  {magic}fa bf b5 da\x1b[0m {name}70 69 6e 67 00 00 00 00 00 00 00 00\x1b[0m  ")
    assert first.endswith(f"  {magic}....\x1b[0m{name}ping........\x1b[0m")
    assert second.startswith(f"  000010  {length}08 00 00 00\x1b[0m {checksum}")
    assert "\x1b[0m 08 07 06 05 04 03 02 01  " in second


@pytest.mark.parametrize("size", [0, 1, 20, 23, 24, 25, 39, 40, 41, 100])
def test_colours_change_nothing_else(size: int) -> None:
    data = (MESSAGE * 5)[:size]
    assert [ESCAPE.sub("", line) for line in hex_lines(data, colour=True)] == list(hex_lines(data))
