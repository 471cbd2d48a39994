# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a capture of a node that syncs from eight peers, of any size: what the benchmarks read.

    python benchmarks/generate.py 256M capture.pcap [--seed 1]

The same size and seed give the same bytes. Messages are 8 kB on average: blocks of up to 1.5 MB with a valid merkle
root, witness commitment and regtest proof of work, and between them the announcements, requests and transactions of
relay. Segments carry 1448 bytes, every second one is acknowledged; IP and TCP checksums are 0, as a capture on the
sending machine shows them when the card computes them. Nothing of scapy_btc is used.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import BinaryIO

MAGIC = bytes.fromhex("fabfb5da")
PORT = 18444
PEERS = 8
SEGMENT = 1448
MEAN_MESSAGE = 8_000
LARGEST_BLOCK = 1_500_000
START_NS = 1_700_000_000_000_000_000
BITS = bytes.fromhex("ffff7f20")
NODE = bytes((10, 0, 0, 1))
SYN, PSH, ACK = 2, 8, 16


def sha256d(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def size_of(n: int) -> bytes:
    """A CompactSize."""
    return (
        bytes((n,)) if n < 0xFD else b"\xfd" + struct.pack("<H", n) if n < 0x10000 else b"\xfe" + struct.pack("<I", n)
    )


def envelope(msgtype: bytes, payload: bytes = b"") -> bytes:
    return MAGIC + msgtype.ljust(12, b"\0") + struct.pack("<I", len(payload)) + sha256d(payload)[:4] + payload


# --- what the messages say -------------------------------------------------------------------------------------------


@dataclass
class Transaction:
    raw: bytes
    txid: bytes
    wtxid: bytes


def transaction(rng: random.Random, witness: bool) -> Transaction:
    """One to three inputs, one to three outputs; two of three have witnesses where any may have."""
    inputs, outputs = rng.randint(1, 3), rng.randint(1, 3)
    segwit = rng.random() < 0.66 and witness
    noise = rng.randbytes(150 * inputs + 24 * outputs)
    pos = 0

    def take(size: int) -> bytes:
        nonlocal pos
        pos += size
        return noise[pos - size : pos]

    body = [size_of(inputs)]
    witness = []
    for _ in range(inputs):
        body.append(take(32) + struct.pack("<I", noise[pos] % 4))
        signature = b"\x30\x44\x02\x20" + take(32) + b"\x02\x20" + take(32) + b"\x01"
        public = b"\x02" + take(32)
        if segwit:
            body.append(b"\0")
            witness.append(b"\x02" + size_of(len(signature)) + signature + b"\x21" + public)
        else:
            script = size_of(len(signature)) + signature + b"\x21" + public
            body.append(size_of(len(script)) + script)
        body.append(b"\xfd\xff\xff\xff")
    body.append(size_of(outputs))
    for _ in range(outputs):
        value = int.from_bytes(take(4), "little")
        script = b"\0\x14" + take(20) if segwit else b"\x76\xa9\x14" + take(20) + b"\x88\xac"
        body.append(struct.pack("<q", value) + size_of(len(script)) + script)
    middle = b"".join(body)
    legacy = b"\x02\0\0\0" + middle + bytes(4)
    if not segwit:
        txid = sha256d(legacy)
        return Transaction(legacy, txid, txid)
    raw = b"\x02\0\0\0\0\x01" + middle + b"".join(witness) + bytes(4)
    return Transaction(raw, sha256d(legacy), sha256d(raw))


def merkle_root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        if len(hashes) % 2:
            hashes.append(hashes[-1])
        hashes = [sha256d(hashes[i] + hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def coinbase(height: int, commitment: bytes | None) -> tuple[bytes, bytes]:
    """Raw form and txid; without a commitment one without witness."""
    number = height.to_bytes(4, "little")
    script = b"\x04" + number + b"/bench/"
    spend = b"\x01" + bytes(32) + b"\xff\xff\xff\xff" + size_of(len(script)) + script + b"\xff\xff\xff\xff"
    pays = struct.pack("<q", 50 * 10**8) + b"\x16\0\x14" + bytes(20)
    if commitment is None:
        legacy = b"\x02\0\0\0" + spend + b"\x01" + pays + bytes(4)
        return legacy, sha256d(legacy)
    commits = bytes(8) + b"\x26\x6a\x24\xaa\x21\xa9\xed" + commitment
    middle = spend + b"\x02" + pays + commits
    raw = b"\x02\0\0\0\0\x01" + middle + b"\x01\x20" + bytes(32) + bytes(4)
    return raw, sha256d(b"\x02\0\0\0" + middle + bytes(4))


@dataclass
class Chain:
    """Blocks on top of each other, each mined at regtest's difficulty."""

    rng: random.Random
    witness: bool
    tip: bytes = bytes.fromhex("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f")  # regtest's genesis
    height: int = 0

    def header(self, root: bytes) -> bytes:
        self.height += 1
        head = struct.pack("<I", 0x20000000) + self.tip + root
        head += struct.pack("<I", START_NS // 10**9 - 10**6 + 600 * (self.height % 1000)) + BITS
        for nonce in range(1 << 32):
            raw = head + struct.pack("<I", nonce)
            self.tip = sha256d(raw)
            if self.tip[31] < 0x80:
                return raw
        raise AssertionError("half of all nonces are good")

    def block(self, size: int) -> bytes:
        """About so many bytes."""
        transactions = []
        total = 300
        while total < size:
            transactions.append(transaction(self.rng, self.witness))
            total += len(transactions[-1].raw)
        wtxids = [bytes(32), *(tx.wtxid for tx in transactions)]
        commitment = sha256d(merkle_root(wtxids) + bytes(32)) if self.witness else None
        first, txid = coinbase(self.height + 1, commitment)
        root = merkle_root([txid, *(tx.txid for tx in transactions)])
        raws = b"".join(tx.raw for tx in transactions)
        return self.header(root) + size_of(len(transactions) + 1) + first + raws


def version(rng: random.Random, nonce: bytes) -> bytes:
    address = struct.pack("<Q", 9) + bytes(10) + b"\xff\xff" + NODE + struct.pack(">H", PORT)
    agent = b"/Satoshi:28.1.0/"
    head = struct.pack("<iQq", 70016, 9, START_NS // 10**9) + address + address
    return head + nonce + size_of(len(agent)) + agent + struct.pack("<i", 0) + b"\x01"


# --- how they travel -------------------------------------------------------------------------------------------------


@dataclass
class Way:
    """One direction of a connection: what is to be sent, and TCP's numbers."""

    address: bytes
    port: int
    seq: int
    queue: list[bytes] = field(default_factory=list)
    queued: int = 0
    unacknowledged: int = 0

    def put(self, data: bytes) -> None:
        self.queue.append(data)
        self.queued += len(data)

    def burst(self, segments: int) -> Iterator[bytes]:
        """The next segments; a shorter one only where nothing more is queued."""
        data = b"".join(self.queue)
        size = min(len(data), segments * SEGMENT)
        self.queue = [data[size:]] if size < len(data) else []
        self.queued = len(data) - size
        for start in range(0, size, SEGMENT):
            yield data[start : min(size, start + SEGMENT)]


class Capture:
    """Frames in a pcap file."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._pending: list[bytes] = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)]
        self._pending_size = 24
        self._flushed = 0
        self.time_ns = START_NS

    @property
    def written(self) -> int:
        """Bytes of frames so far."""
        return self._flushed + self._pending_size

    def frame(self, source: Way, target: Way, flags: int, payload: bytes = b"") -> None:
        self.time_ns += 12_000
        options = b"\x01\x01\x08\x0a" + struct.pack(">II", self.time_ns // 10**6 & 0xFFFFFFFF, 7)
        tcp = struct.pack(">HHIIBBHHH", source.port, target.port, source.seq, target.seq if flags & ACK else 0,
                          0x80, flags, 0xFFFF, 0, 0) + options  # fmt: skip
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp) + len(payload), 0, 0x4000, 64, 6, 0)
        data = b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + source.address + target.address + tcp + payload
        seconds, fraction = divmod(self.time_ns, 10**9)
        self._pending.append(struct.pack("<IIII", seconds, fraction, len(data), len(data)) + data)
        self._pending_size += 16 + len(data)
        if self._pending_size > 1 << 20:
            self.flush()
        source.seq = (source.seq + len(payload) + bool(flags & SYN)) & 0xFFFFFFFF

    def flush(self) -> None:
        self._out.write(b"".join(self._pending))
        self._flushed += self._pending_size
        self._pending, self._pending_size = [], 0


def small_talk(rng: random.Random, count: int, peer: Way, node: Way, witness: bool) -> None:
    """So many messages of relay between a peer and the node."""
    while count > 0:
        roll = rng.random()
        if roll < 0.9:
            txs = [transaction(rng, witness) for _ in range(rng.choice((1, 1, 2, 5)))]
            vector = size_of(len(txs)) + b"".join(b"\x05\0\0\0" + tx.wtxid for tx in txs)
            peer.put(envelope(b"inv", vector))
            node.put(envelope(b"getdata", vector))
            for tx in txs:
                peer.put(envelope(b"tx", tx.raw))
            count -= 2 + len(txs)
        elif roll < 0.96:
            nonce = rng.randbytes(8)
            node.put(envelope(b"ping", nonce))
            peer.put(envelope(b"pong", nonce))
            count -= 2
        else:
            entries = [struct.pack("<I", START_NS // 10**9) + b"\x09\x01\x04" + rng.randbytes(4) + b"\x20\x8d"
                       for _ in range(rng.randint(1, 20))]  # fmt: skip
            peer.put(envelope(b"addrv2", size_of(len(entries)) + b"".join(entries)))
            count -= 1


def generate(size: int, seed: int, out: BinaryIO, witness: bool = True) -> None:
    """Write a capture of at least `size` bytes; without `witness` one that readers from before 2017 understand."""
    rng = random.Random(seed)
    capture = Capture(out)
    chain = Chain(rng, witness)
    largest = min(LARGEST_BLOCK, max(2_000, size // 40))
    links = [
        (Way(bytes((203, 0, 113, 10 + n)), PORT, rng.getrandbits(32)), Way(NODE, 40_000 + n, rng.getrandbits(32)))
        for n in range(PEERS)
    ]
    for peer, node in links:
        capture.frame(node, peer, SYN)
        capture.frame(peer, node, SYN | ACK)
        capture.frame(node, peer, ACK)
        for way in (node, peer):
            way.put(envelope(b"version", version(rng, rng.randbytes(8))))
            for msgtype in (b"wtxidrelay", b"sendaddrv2", b"verack"):
                way.put(envelope(msgtype))
            way.put(envelope(b"sendcmpct", b"\0" + struct.pack("<Q", 2)))
            way.put(envelope(b"feefilter", struct.pack("<Q", 1000)))
    while capture.written < size:
        peer, node = links[rng.randrange(PEERS)]
        if peer.queued < 64 * SEGMENT:
            block = chain.block(int(largest * rng.random() ** 0.5))
            header = block[:80]
            peer.put(envelope(b"headers", b"\x01" + header + b"\0"))
            node.put(envelope(b"getdata", b"\x01" + struct.pack("<I", 0x40000002) + sha256d(header)))
            small = len(block) // MEAN_MESSAGE - 2
            small_talk(rng, small // 2, peer, node, witness)
            peer.put(envelope(b"block", block))
            small_talk(rng, small - small // 2, peer, node, witness)
        for sender, receiver in ((peer, node), (node, peer)):
            for payload in sender.burst(rng.randint(1, 20)):
                capture.frame(sender, receiver, ACK | (0 if len(payload) == SEGMENT else PSH), payload)
                sender.unacknowledged += 1
                if sender.unacknowledged == 2:
                    capture.frame(receiver, sender, ACK)
                    sender.unacknowledged = 0
    for peer, node in links:
        for sender, receiver in ((peer, node), (node, peer)):
            for payload in sender.burst(1 << 30):
                capture.frame(sender, receiver, ACK, payload)
    capture.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", help="bytes at least; K, M and G count in powers of 1024")
    parser.add_argument("output", help="file to write, - for standard output")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-witness", action="store_true", help="no segwit transactions")
    options = parser.parse_args()
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(options.size[-1:].upper(), 1)
    size = int(options.size[:-1] if unit > 1 else options.size) * unit
    if options.output == "-":
        generate(size, options.seed, sys.stdout.buffer, not options.no_witness)
    else:
        with open(options.output, "wb") as out:
            generate(size, options.seed, out, not options.no_witness)


if __name__ == "__main__":
    main()
