# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording of a real node's v2 connections: what index.toml says of it, which the node logged, is what a second
implementation decrypts with the key log. That the package reads the same is in test_recordings.py.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import frames as plain
from frames import Endpoint, Message
from plain_v2 import IDS, Peer, v1

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PCAPS = Path(__file__).parent.parent.parent / "pcaps"
NAME = "core-v2-regtest.pcapng"
ENTRY: dict[str, Any] = tomllib.loads((PCAPS / "index.toml").read_text(encoding="utf-8"))[NAME]

# BIP 324, "Message type IDs", of what is in the recording
NAMES = {**IDS, 4: b"cmpctblock", 5: b"feefilter", 11: b"getdata", 12: b"getheaders", 13: b"headers", 14: b"inv",
         17: b"notfound", 20: b"sendcmpct", 21: b"tx", 24: b"getcfheaders", 25: b"cfheaders"}  # fmt: skip


def raw_of(contents: bytes) -> bytes:
    name, payload = (contents[1:13], contents[13:]) if contents[0] == 0 else (NAMES[contents[0]], contents[1:])
    return v1(name.rstrip(b"\0"), payload)


def test_a_second_implementation_reads_what_the_node_logged() -> None:
    keys = dict(line.split()[1:] for line in (PCAPS / ENTRY["keylog"]).read_text(encoding="ascii").splitlines())
    streams = plain.streams(plain.parse(frame.data) for frame in plain.read(PCAPS / NAME))
    found: list[tuple[Endpoint, Endpoint, Message]] = []
    decoys: Counter[int] = Counter()
    opened, secret = [], 0
    for way, ours in streams.items():
        private = keys.get(ours[:64].hex())
        theirs = streams[way[::-1]]
        if private is None:
            if theirs[:64].hex() not in keys:
                secret += len(ours)
            continue
        opened.append(way)
        initiating = list(streams).index(way) < list(streams).index(way[::-1])  # its SYN was the first
        for end, stream in ((way[::-1], theirs), (way, ours)):
            peer = Peer(initiating, private=bytes.fromhex(private), public=ours[:64]).meet(theirs[:64])
            if end == way:  # read our own: what was sent is encrypted with the other pair of keys
                peer.receive_terminator = peer.send_terminator
                peer.receive_length, peer.receive_body = peer.send_length, peer.send_body
            _, packets = peer.read(stream[64:])
            decoys.update(len(contents) for decoy, contents in packets if decoy)
            _, *messages = [contents for decoy, contents in packets if not decoy]  # the first is the version packet
            for contents in messages:
                raw = raw_of(contents)
                found.append((*end, Message(raw[4:16].rstrip(b"\0").decode(), 0, 0, raw)))
    assert len(opened) == len(keys) == 2
    totals = plain.totals(found)
    assert totals == {name: ENTRY[name] for name in totals}
    assert secret == ENTRY["encrypted_bytes"]
    assert decoys[0] == decoys[40] == 1 and decoys[7] > 224
