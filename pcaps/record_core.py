# SPDX-License-Identifier: GPL-2.0-or-later
"""Record core-v1-regtest.pcapng, core-message-capture/ and core-blocks/: Bitcoin Core on regtest, loopback only.

    python pcaps/record_core.py /path/to/bitcoind

Needs a bitcoind (28 or newer, a wallet is not used) and what record.py needs, except bcoin. One node listens, one
connects to it without the v2 transport (this is what the capture shows), one with it, and the plain client of record.py
asks for what nodes do not ask each other. Message capture and block file are the listening node's. Takes about 5 s.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from record import HERE, PORT, WITNESS, PlainClient, Recorder, inventory, wire, without_machine

V2_HOST = "127.0.0.2"  # a second address of the listening node, so that a filter keeps the v2 transport out
TRUE = b"\x51"
TRUE_P2WSH = b"\x00\x20" + hashlib.sha256(TRUE).digest()


@final
class Core:
    """One bitcoind in a directory of its own, steered through its RPC."""

    def __init__(self, program: str, folder: Path, *options: str) -> None:
        folder.mkdir()
        self.folder = folder / "regtest"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
            rpc_port = probe.getsockname()[1]
        self.command = [
            program, "-regtest", f"-datadir={folder}", f"-rpcport={rpc_port}", "-server", "-connect=0", "-dnsseed=0",
            "-fixedseeds=0", "-discover=0", "-listenonion=0", "-onlynet=ipv4", "-whitelist=noban@127.0.0.1", "-par=1",
            "-acceptnonstdtxn=1", "-txreconciliation=1", "-printtoconsole=0", *options,
        ]  # fmt: skip

    def __enter__(self) -> Core:
        self.process = subprocess.Popen(self.command)
        until(self.answers, "bitcoind to start")
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(f"bitcoind ended with status {self.process.returncode}")
        try:
            self.call("getblockcount")
        except OSError:  # not listening yet, or no cookie yet
            return False
        return True

    def call(self, method: str, *params: Any) -> Any:
        cookie = base64.b64encode((self.folder / ".cookie").read_bytes()).decode()
        body = json.dumps({"method": method, "params": params, "jsonrpc": "2.0", "id": 1}).encode()
        request = urllib.request.Request(self.url, body, {"Authorization": f"Basic {cookie}"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def mine(self, blocks: int) -> list[str]:
        descriptor = self.call("getdescriptorinfo", f"raw({TRUE.hex()})")["descriptor"]
        hashes: list[str] = self.call("generatetodescriptor", blocks, descriptor)
        return hashes

    def coin(self, height: int) -> tuple[str, int]:
        """The output of a block's coinbase: transaction id and satoshi."""
        coinbase = self.call("getblock", self.call("getblockhash", height), 2)["tx"][0]
        return coinbase["txid"], round(coinbase["vout"][0]["value"] * 10**8)


def until(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not met():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited 60 s for {what}")
        time.sleep(0.05)


def spend(txid: str, value: int, outputs: int, witness: bool) -> tuple[str, int]:
    """A transaction in hex from output 0 of another to equal anyone-can-spend outputs, and the value of each."""
    share = (value - 10_000) // outputs
    out = struct.pack("<Q", share) + bytes([len(TRUE_P2WSH)]) + TRUE_P2WSH
    body = b"\x01" + wire(txid) + bytes(4) + b"\x00" + b"\xfd\xff\xff\xff" + bytes([outputs]) + out * outputs
    stack = b"\x01" + bytes([len(TRUE)]) + TRUE
    marker, tail = (b"\x00\x01", stack) if witness else (b"", b"")
    return (struct.pack("<i", 2) + marker + body + tail + bytes(4)).hex(), share


def same_tip(*nodes: Core) -> None:
    until(lambda: len({node.call("getbestblockhash") for node in nodes}) == 1, "the same tip")


def same_mempool(*nodes: Core) -> None:
    until(lambda: len({tuple(sorted(node.call("getrawmempool"))) for node in nodes}) == 1, "the same mempool")


def nodes_talk(core: Core, v1: Core, v2: Core) -> str:
    """Sync of 120 blocks, relay of transactions and blocks; returns a transaction id of the mempool."""
    core.mine(120)
    v1.call("addnode", f"127.0.0.1:{PORT}", "onetry", False)
    v2.call("addnode", f"{V2_HOST}:{PORT}", "onetry", True)
    same_tip(core, v1, v2)
    for height in (1, 2, 3):
        coin, value = core.coin(height)
        first, share = spend(coin, value, 3, witness=False)
        parent = core.call("sendrawtransaction", first, 0)
        second, _ = spend(parent, share, 1, witness=True)
        last: str = core.call("sendrawtransaction", second, 0)
        same_mempool(core, v1, v2)
        (v1 if height == 2 else core).mine(1)
        same_tip(core, v1, v2)
    # Transactions that only the miner has: the others must ask for them with getblocktxn.
    hidden = [spend(*core.coin(height), 2, witness=False)[0] for height in (4, 5)]
    core.call("generateblock", f"raw({TRUE.hex()})", hidden)
    same_tip(core, v1, v2)
    last = core.call("sendrawtransaction", spend(*core.coin(6), 1, witness=False)[0], 0)
    same_mempool(core, v1, v2)
    return last


def client_asks(core: Core, txid: str) -> None:
    """Bloom filters, compact filters, headers, what is not there; and the alert that very old peers are sent."""
    client = PlainClient()
    tip = core.call("getbestblockhash")
    genesis = core.call("getblockhash", 0)
    locator = struct.pack("<IB", 70015, 1) + wire(genesis) + bytes(32)
    client.ask("getheaders", locator)
    client.ask("getblocks", locator)
    for kind in (2, 2 | WITNESS, 4):
        client.ask("getdata", inventory(kind, tip))
    client.ask("getdata", inventory(1, "11" * 32, "22" * 32))
    client.ask("getblocktxn", wire(tip) + bytes([1, 1]))
    client.ask("getcfilters", b"\x00" + struct.pack("<I", 118) + wire(core.call("getblockhash", 122)))
    client.ask("getcfheaders", b"\x00" + struct.pack("<I", 100) + wire(core.call("getblockhash", 122)))
    client.ask("getcfcheckpt", b"\x00" + wire(tip))
    client.ask("filterload", bytes([8]) + b"\xff" * 8 + struct.pack("<IIB", 5, 7, 1))
    client.ask("filteradd", bytes([20]) + bytes(range(20)))
    client.ask("getdata", inventory(3, tip))
    client.ask("mempool")
    client.ask("getdata", inventory(1 | WITNESS, txid))
    client.ask("filterclear")
    client.ask("sendheaders")
    client.ask("getaddr")
    core.mine(1)
    client.receive("headers")
    client.close()
    old = PlainClient(protocol=70012)
    old.receive("alert")
    old.ask("getaddr")  # so that all of it has been read
    old.close()
    wanted = {"headers", "inv", "block", "cmpctblock", "blocktxn", "notfound", "tx", "merkleblock"}
    wanted |= {"cfilter", "cfheaders", "cfcheckpt"}
    if not wanted <= {*client.seen}:
        raise SystemExit(f"bitcoind did not send {', '.join(sorted(wanted - {*client.seen}))}")


def main(program: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        capture = folder / "lo.pcapng"
        listen = [f"-bind=127.0.0.1:{PORT}", f"-bind={V2_HOST}:{PORT}", "-capturemessages", "-peerbloomfilters"]
        filters = ["-blockfilterindex", "-peerblockfilters"]
        with (
            Core(program, folder / "core", *listen, *filters) as core,
            Core(program, folder / "v1", "-listen=0", "-v2transport=0") as v1,
            Core(program, folder / "v2", "-listen=0", "-v2transport=1") as v2,
            Recorder(capture, f"tcp port {PORT} and not host {V2_HOST}"),
        ):
            client_asks(core, nodes_talk(core, v1, v2))
            same_tip(core, v1, v2)
            for node in (v1, v2):
                node.call("setnetworkactive", False)
            until(lambda: core.call("getconnectioncount") == 0, "the connections to close")
        target = HERE / "core-message-capture"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(core.folder / "message_capture", target)
        output = HERE / "core-v1-regtest.pcapng"
        output.write_bytes(without_machine(capture.read_bytes()))
        blocks = HERE / "core-blocks"
        blocks.mkdir(exist_ok=True)
        # Core reserves 16 MiB at a time; of the zeros behind the last block a few are enough.
        reserved = (core.folder / "blocks" / "blk00000.dat").read_bytes()
        (blocks / "blk00000.dat").write_bytes(reserved.rstrip(b"\0") + bytes(64))
        shutil.copy(core.folder / "blocks" / "xor.dat", blocks)
    for path in [output, *sorted(target.rglob("*.dat")), *sorted(blocks.iterdir())]:
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
