# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings for the tests of replay, made message by message."""

from __future__ import annotations

from typing import Any

from scapy_btc.capture.message import Message
from scapy_btc.layers.envelope import BTC
from scapy_btc.net.record import Recorder
from scapy_btc.networks import REGTEST
from scapy_btc.replay.script import CLIENT, Script, load

CLIENT_END, SERVER_END = "192.0.2.1:50000", "192.0.2.2:18444"
START = 1_500_000_000 * 10**9  # 2017


def packet(message: Any) -> BTC:
    built: BTC = message if isinstance(message, BTC) else BTC(magic="regtest") / message
    return built


def conversation(*said: tuple[str, Any] | tuple[str, Any, float]) -> list[Message]:
    """Messages by ">" (the client) and "<" (the server), each with seconds after the one before it (0.01)."""
    found: list[Message] = []
    recorder = Recorder(found.append, REGTEST, CLIENT_END, SERVER_END)
    time_ns = START
    for who, message, *pause in said:
        recorder(packet(message), who == ">")
        time_ns += int((pause[0] if pause else 0.01) * 1e9)
        found[-1].time_ns = time_ns
    if found:
        found[0].said = ""
    return found


def script_of(*said: tuple[str, Any] | tuple[str, Any, float], side: str = CLIENT) -> Script:
    return load(conversation(*said), side, 0)
