# SPDX-License-Identifier: GPL-2.0-or-later
"""Record bcoin-regtest.pcapng: bcoin nodes on regtest and one plain client, seen on the loopback interface.

    python pcaps/record.py [OUTPUT]

Needs dumpcap (package wireshark-common, or tshark) with the right to capture on `lo` (root, or CAP_NET_RAW on dumpcap)
and bcoin (`npm ci --ignore-scripts` in tests/peers/bcoin). Port 18444 must be free on 127.0.0.1. Takes about 10 s.
Keys, hashes of transactions to other nodes and times differ from run to run, what happens does not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "peers"))

from bcoin import BcoinError, BcoinNode, missing  # noqa: E402

PORT = 18444  # Bitcoin Core's port for regtest, so that every tool recognises the traffic; bcoin's own is 48444
MAGIC = bytes.fromhex("fabfb5da")
WITNESS = 1 << 30


class Recorder:
    """dumpcap on the loopback interface for the length of a ``with`` block."""

    def __init__(self, path: Path, capture_filter: str = f"tcp port {PORT}") -> None:
        self.command = ["dumpcap", "-q", "-i", "lo", "-f", capture_filter, "-w", str(path)]

    def __enter__(self) -> None:
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = ""
        for line in self.process.stderr:
            said += line
            if line.startswith("File:"):  # printed when the interface is open
                return
        self.process.wait()
        raise SystemExit(f"dumpcap cannot capture on lo (run as root, or give dumpcap CAP_NET_RAW):\n{said.strip()}")

    def __exit__(self, *_: object) -> None:
        time.sleep(0.5)  # the last frames are still in dumpcap's buffer
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)


class PlainClient:
    """A peer that says exactly what it is told to: for what bcoin answers but never sends itself."""

    def __init__(self, protocol: int = 70015) -> None:
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=10)
        self.seen: list[str] = []
        address = struct.pack("<Q16sH", 0, bytes(10) + b"\xff\xff\x7f\x00\x00\x01", PORT)
        agent = b"/plain-client:1.0/"
        version = struct.pack("<iQq", protocol, 0, int(time.time())) + 2 * address + os.urandom(8)
        self.send("version", version + bytes([len(agent)]) + agent + struct.pack("<i?", 0, True))
        self.receive("verack")
        self.send("verack")

    def send(self, msgtype: str, payload: bytes = b"") -> None:
        checksum = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
        self.socket.sendall(MAGIC + struct.pack("<12sI", msgtype.encode(), len(payload)) + checksum + payload)

    def receive(self, until: str) -> bytes:
        """Read up to and with the next message of that type; its payload."""
        while True:
            msgtype, length = struct.unpack("<4x12sI4x", self._exactly(24))
            payload = self._exactly(length)
            name = msgtype.rstrip(b"\0").decode()
            self.seen.append(name)
            if name == until:
                return payload

    def ask(self, msgtype: str, payload: bytes = b"") -> None:
        """Send, then a ping; whatever the node answers has come when the pong is here."""
        self.send(msgtype, payload)
        nonce = os.urandom(8)
        self.send("ping", nonce)
        while self.receive("pong") != nonce:
            pass

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise SystemExit(f"the node closed the connection after {self.seen}")
            data += piece
        return bytes(data)


def wire(hex_hash: str) -> bytes:
    return bytes.fromhex(hex_hash)[::-1]


def inventory(kind: int, *hashes: str) -> bytes:
    return bytes([len(hashes)]) + b"".join(struct.pack("<I", kind) + wire(item) for item in hashes)


def handshaken(node: BcoinNode, count: int) -> None:
    """Wait until `count` peers are fully connected, seen from `node`."""
    node.wait(lambda info: sum(peer["handshake"] for peer in info["peers"]) == count, f"{count} peers")


def relay(sender: BcoinNode, receivers: list[BcoinNode], **params: object) -> str:
    """A new transaction in hex that has reached every receiver's mempool."""
    payment = sender.pay(**params)
    for node in receivers:
        node.wait(lambda info: payment["txid"] in info["mempool"], "a relayed transaction")
    return payment["transaction"]


def grow(miner: BcoinNode, others: list[BcoinNode], blocks: int = 1, **params: object) -> None:
    """Mine one by one; every block has reached the others before the next."""
    for _ in range(blocks):
        miner.mine(1, **params)
        height = miner.info()["height"]
        for node in others:
            node.wait_height(height)


def full_nodes(miner: BcoinNode, high: BcoinNode, low: BcoinNode) -> None:
    """First sync of 150 blocks, then transactions and blocks as they come, as compact blocks of both modes."""
    miner.mine(75, to="p2wpkh")
    miner.mine(75, to="p2pkh")
    for count, node in enumerate((high, low), start=1):
        node.connect(*miner.address)
        node.wait_height(150)
        handshaken(miner, count)
    nodes = [high, low]
    address = miner.call("addresses")["p2pkh"]
    text = b"scapy_btc"
    relay(miner, nodes, value=5000)
    relay(miner, nodes, outputs=[[f"6a{len(text):02x}{text.hex()}", 0]])
    grow(miner, nodes)
    relay(miner, nodes, outputs=[[address, 1000 * count] for count in range(1, 41)])
    grow(miner, nodes, 30)
    relay(miner, nodes, **{"from": "p2pkh"})
    relay(high, [miner, low], **{"from": "p2pkh", "value": 7000})
    grow(high, [miner, low])
    # A transaction that only the miner has: the others must ask for it with getblocktxn.
    hidden = miner.pay(relay=False)["transaction"]
    known = relay(miner, nodes, **{"from": "p2pkh"})
    grow(miner, nodes, transactions=[known, hidden])


def light_client(miner: BcoinNode, others: list[BcoinNode], spv: BcoinNode) -> None:
    """Bloom filter, merkle blocks with and without matches, the transactions that match."""
    addresses = miner.call("addresses")
    spv.call("watch", address=addresses["p2pkh"])
    spv.connect(*miner.address)
    spv.wait_height(miner.info()["height"])
    spv.call("watch", address=addresses["p2wpkh"])
    miner.wait(lambda info: info["received"]["filterload"] == 3, "the new filter")  # bcoin repeats one after a watch
    transactions = spv.info()["received"].get("tx", 0)
    relay(miner, others)
    spv.wait(lambda info: info["received"].get("tx", 0) > transactions, "the transaction that matches")
    grow(miner, [*others, spv])
    spv.call("disconnect")


def plain_client(miner: BcoinNode, others: list[BcoinNode]) -> None:
    """What bcoin answers to but does not send of its own accord, and what it refuses."""
    client = PlainClient()
    client.send("sendheaders")
    client.ask("feefilter", struct.pack("<Q", 2000))
    genesis = wire("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206")
    client.ask("getheaders", struct.pack("<IB", 70015, 1) + genesis + bytes(32))
    client.ask("getblocks", struct.pack("<IB", 70015, 1) + genesis + bytes(32))
    tip = miner.info()["tip"]
    old = miner.mine(1)[0]  # announced with a headers message
    client.ask("getdata", inventory(2 | WITNESS, tip))
    client.ask("getdata", inventory(2, old))
    client.ask("getdata", inventory(4, old))
    client.ask("getdata", inventory(1, "11" * 32, "22" * 32))  # notfound
    rival = miner.pay(relay=False, value=4000)
    payment = miner.pay()  # of the same coin
    client.ask("mempool")
    client.ask("getdata", inventory(1 | WITNESS, payment["txid"]))
    client.ask("getdata", inventory(1, payment["txid"]))  # the same transaction without its witness
    client.ask("filterload", bytes([8]) + b"\xff" * 8 + struct.pack("<IIB", 5, 7, 1))
    client.ask("filteradd", bytes([20]) + bytes(range(20)))
    client.ask("getdata", inventory(3, tip))  # a filter of ones: a merkle block where everything matches
    client.ask("filterclear")
    client.send("inv", inventory(1, rival["txid"]))
    client.receive("getdata")  # bcoin closes the connection on a transaction that it did not ask for
    client.ask("tx", bytes.fromhex(rival["transaction"]))  # reject; for a wrong signature bcoin bans 127.0.0.1
    documentation = bytes(10) + b"\xff\xff" + bytes([203, 0, 113, 7])
    client.ask("addr", bytes([1]) + struct.pack("<IQ", int(time.time()), 9) + documentation + struct.pack(">H", 8333))
    client.ask("getaddr")
    client.close()
    grow(miner, others)
    wanted = {"headers", "inv", "block", "cmpctblock", "notfound", "tx", "merkleblock", "reject"}
    if not wanted <= {*client.seen}:
        raise SystemExit(f"bcoin did not send {', '.join(sorted(wanted - {*client.seen}))}")


def without_machine(data: bytes) -> bytes:
    """The same pcapng without the options that tell about this machine (processor, kernel, interface)."""
    kept = []
    position = 0
    while position < len(data):
        kind, size = struct.unpack_from("<II", data, position)
        body = data[position + 8 : position + size - 4]
        if kind == 0x0A0D0D0A:  # section header: byte order, version, length; then options
            body = body[:16]
        elif kind == 1:  # interface description: link type, snapshot length; of the options only the unit of time
            body = body[:8] + struct.pack("<HHBxxxHH", 9, 1, 9, 0, 0)
        if kind in (0x0A0D0D0A, 1, 6):
            kept.append(struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12))
        position += size
    return b"".join(kept)


def main(output: Path) -> None:
    if missing():
        raise SystemExit(missing())
    if not shutil.which("dumpcap"):
        raise SystemExit("dumpcap is not installed (package wireshark-common)")
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "lo.pcapng"
        with (
            BcoinNode(port=PORT, feeRate=1000) as miner,
            BcoinNode(blockMode=1) as high,
            BcoinNode(blockMode=0) as low,
            BcoinNode(spv=True) as spv,
            Recorder(raw),
        ):
            full_nodes(miner, high, low)
            light_client(miner, [high, low], spv)
            plain_client(miner, [high, low])
            high.call("ping")
            miner.wait(lambda info: info["received"]["ping"] > 0, "a ping")
            for node in (high, low):
                node.call("disconnect")
        output.write_bytes(without_machine(raw.read_bytes()))
    print(f"{output}: {output.stat().st_size} bytes")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "bcoin-regtest.pcapng")
    except BcoinError as error:
        raise SystemExit(f"bcoin: {error}") from error
