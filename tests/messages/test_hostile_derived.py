# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from hostile messages can be printed."""

from __future__ import annotations

import orjson
import pytest

from scapy_btc.layers.registry import lookup
from scapy_btc.messages.enrich import enrich
from scapy_btc.wire.compactsize import encode

LARGEST = 2**64 - 1


@pytest.mark.parametrize("msgtype", ["getblocktxn", "getsegdata"])
def test_positions_beyond_64_bits(msgtype: str) -> None:
    cls = lookup(msgtype)
    assert cls
    for differences, expected in (([5, LARGEST], {}), ([1, LARGEST - 2], {"absolute_indexes": [1, LARGEST]})):
        payload = bytes(32) + encode(len(differences)) + b"".join(map(encode, differences))
        record = cls.plan.record(payload, 0, len(payload))[0]
        assert record["indexes"] == differences
        found = enrich(cls, payload, record, None)
        assert found == expected and orjson.dumps(found)
