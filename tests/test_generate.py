# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmarks' capture: the same bytes each time, and nothing in it that a careful reader would object to."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

from scapy_btc.capture.message import Message
from scapy_btc.capture.reader import read

PATH = Path(__file__).parent.parent / "benchmarks" / "generate.py"


def generated(size: int, seed: int) -> bytes:
    import sys

    spec = importlib.util.spec_from_file_location("generate", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["generate"]
    out = io.BytesIO()
    module.generate(size, seed, out)
    return out.getvalue()


def test_generated_capture() -> None:
    data = generated(3 << 20, 1)
    assert data == generated(3 << 20, 1)
    assert data[:2000] != generated(1 << 18, 2)[:2000]
    assert 3 << 20 <= len(data) < 4 << 20
    with read(io.BytesIO(data), events=True) as reader:
        found = list(reader)
    assert all(isinstance(item, Message) and item.checksum == "ok" for item in found)
    assert {code for message in found for code in message.findings} == set()
    assert {"version", "inv", "getdata", "tx", "block", "headers"} <= {message.msgtype for message in found}
    assert 4_000 < sum(len(message.payload) for message in found) / len(found) < 12_000
    assert reader.counts == {"connections": 8, "messages": len(found)}
