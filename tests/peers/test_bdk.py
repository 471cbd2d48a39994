# SPDX-License-Identifier: GPL-2.0-or-later
"""A real wallet, bdk's light client of compact filters (BIP 157), with our node and with `scapy-btc serve`."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bdkpython as bdk

from scapy_btc.all import Message
from scapy_btc.net.node import BTCNode

WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
ELSEWHERE = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85"
PATIENCE = 30
SUBSIDY = 50 * 10**8


def wallet() -> bdk.Wallet:
    key = bdk.DescriptorSecretKey(bdk.NetworkKind.TEST, bdk.Mnemonic.from_string(WORDS), None)
    outer, inner = (bdk.Descriptor.new_bip84(key, kind, bdk.NetworkKind.TEST)
                    for kind in (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL))
    return bdk.Wallet(outer, inner, bdk.Network.REGTEST, bdk.Persister.new_in_memory())


@asynccontextmanager
async def light_client(of: bdk.Wallet, port: int, folder: Path, v2: bool = False) -> AsyncIterator[Any]:
    peer = bdk.Peer(address=bdk.IpAddress.from_ipv4(127, 0, 0, 1), port=port, v2_transport=v2)
    parts = bdk.CbfBuilder().connections(1).peers([peer]).data_dir(str(folder)).scan_type(
        bdk.ScanType.SYNC()).only_configured_peers().build(of)
    parts.node.run()
    try:
        yield parts.client
    finally:
        parts.client.shutdown()


async def update(of: bdk.Wallet, client: Any, height: int) -> None:
    """Wait until the wallet knows of a height."""
    while of.latest_checkpoint().height < height:
        of.apply_update(await asyncio.wait_for(client.update(), PATIENCE))


def test_it_finds_its_coins_and_spends_them(tmp_path: Path) -> None:
    said: list[Message] = []

    async def use() -> None:
        ours = wallet()
        address = str(ours.reveal_next_address(bdk.KeychainKind.EXTERNAL).address)
        async with BTCNode(blocks=120, mine_to=address, record=said.append) as node, light_client(
                ours, node.address[1], tmp_path) as client:
            await update(ours, client, 120)
            assert ours.latest_checkpoint().hash.serialize()[::-1].hex() == node.tip
            assert len(ours.list_unspent()) == 120 and ours.balance().total.to_sat() == 120 * SUBSIDY
            assert ours.balance().immature.to_sat() == 99 * SUBSIDY
            node.mine()
            await update(ours, client, 121)
            assert ours.balance().total.to_sat() == 121 * SUBSIDY
            counts = Counter(message.msgtype for message in said)
            assert counts["cfilter"] == 121 and counts["getcfheaders"] >= 1

            amount, to = bdk.Amount.from_sat(10**8), bdk.Address(ELSEWHERE, bdk.Network.REGTEST)
            psbt = bdk.TxBuilder().add_recipient(to.script_pubkey(), amount).fee_rate(
                bdk.FeeRate.from_sat_per_vb(5)).finish(ours)
            ours.sign(psbt)
            paid = psbt.extract_tx()
            await asyncio.wait_for(client.broadcast(paid), PATIENCE)
            await node.wait_until(lambda: len(node.pool) == 1)
            assert next(iter(node.pool)).tx.raw == paid.serialize()
            node.mine()  # the fee comes back to us
            await update(ours, client, 122)
            assert len(node.pool) == 0 and ours.balance().total.to_sat() == 122 * SUBSIDY - 10**8

    asyncio.run(use())


def test_it_syncs_from_the_command(tmp_path: Path) -> None:
    ours = wallet()
    address = str(ours.reveal_next_address(bdk.KeychainKind.EXTERNAL).address)
    serve = [sys.executable, "-m", "scapy_btc", "serve", "--port", "0", "--blocks", "25", "--mine-to", address, "-q"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        watchdog = threading.Timer(60, command.kill)
        watchdog.start()
        try:
            assert command.stdout and command.stderr
            listening = re.search(r"listening on 127\.0\.0\.1:(\d+) \(regtest, 25 blocks", command.stderr.readline())
            assert listening
            port = int(listening[1])

            async def use() -> None:
                async with light_client(ours, port, tmp_path) as client:
                    await update(ours, client, 25)

            asyncio.run(use())
            assert ours.balance().total.to_sat() == 25 * SUBSIDY
            command.send_signal(signal.SIGINT)
            counts, rest = command.communicate(timeout=20)
            assert command.returncode == 0 and "connected" in rest and counts.endswith("; 25 blocks\n")
        finally:
            watchdog.cancel()
            command.kill()
