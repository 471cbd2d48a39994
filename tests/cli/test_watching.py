# SPDX-License-Identifier: GPL-2.0-or-later
"""What the monitor learns of those that it watches: whom it may dial, and what it does not listen to."""

from __future__ import annotations

from typing import Any, cast

import pytest

from scapy_btc.all import BTC, BTCAddrV2, BTCNetAddrV2, Network
from scapy_btc.analysis.mempool import MempoolWatch
from scapy_btc.cli import watching
from scapy_btc.net.connection import Connection
from scapy_btc.net.pool import Candidates
from scapy_btc.networks import MAINNET, REGTEST

TOLD = {
    1: ("08080808", 22), 2: ("20010db9" + "00" * 11 + "01", 8333), 4: ("ab" * 32, 8333), 5: ("cd" * 32, 8333),
    6: ("fc" + "11" * 15, 8333), 7: ("02" + "22" * 15, 8333), 99: ("0102", 8333),
}  # fmt: skip
"""Address bytes and port by BIP 155 network: IPv4, IPv6, Tor, I2P, CJDNS, Yggdrasil, and one that nobody knows."""
LOOPBACK, NAMED = ("127.0.0.1", 18445), ("127.0.0.1", 18444)


class Silent:
    """Stands for a connection."""

    address = "192.0.2.1:8333"

    def post(self, *messages: object) -> None:
        pass


def learned(monkeypatch: pytest.MonkeyPatch, network: Network, named: tuple[str, int], *packets: Any,
            proxy: str | None = None) -> set[tuple[str, int]]:
    """Whom the monitor would dial after it heard these; nobody is."""
    found: list[Candidates] = []

    async def heard(count: int, candidates: Candidates, options: object, handler: watching.Watching, **_: Any) -> None:
        for packet in packets:
            handler.message(cast(Connection, Silent()), packet)
        found.append(candidates)

    monkeypatch.setattr(watching, "keep_connected", heard)
    lines = watching.Lines(MempoolWatch(network), "text", None)
    watching.watch_nodes([named], 8, network, lines, 5, hexdump=False, write=None, proxy=proxy)
    return set(found[0]._known) - {named}


def test_it_dials_only_what_a_crawl_would(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [BTCNetAddrV2(network_id=number, address=bytes.fromhex(raw), port=port)
               for number, (raw, port) in TOLD.items()]
    entries.append(BTCNetAddrV2(network_id=1, address=LOOPBACK[0], port=LOOPBACK[1]))
    mainnet, regtest = (BTC(bytes(BTC(magic=name) / BTCAddrV2(addresses=entries))) for name in ("mainnet", "regtest"))
    direct = {("8.8.8.8", 22), ("2001:db9::1", 8333)}
    assert learned(monkeypatch, MAINNET, ("192.0.2.1", 8333), mainnet) == direct
    by_tor = learned(monkeypatch, MAINNET, ("192.0.2.1", 8333), mainnet, proxy="127.0.0.1:9050") - direct
    assert [host[-6:] for host, _ in by_tor] == [".onion"]
    assert learned(monkeypatch, REGTEST, NAMED, regtest) == {LOOPBACK}


def test_a_broken_addr_teaches_nothing_and_a_long_one_little(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = BTC(bytes(BTC(magic="regtest", msgtype="addr") / (b"\xff" * 9)))
    entry = bytes(BTCNetAddrV2(network_id=1, address="127.0.0.1", port=1))[:-2]
    many = b"\xfd\xd0\x07" + b"".join(entry + port.to_bytes(2, "big") for port in range(1, 2001))
    long = BTC(bytes(BTC(magic="regtest") / BTCAddrV2(many)))
    assert learned(monkeypatch, REGTEST, NAMED, broken) == set()
    assert learned(monkeypatch, REGTEST, NAMED, long) == {("127.0.0.1", port) for port in range(1, 1001)}
