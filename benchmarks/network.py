# SPDX-License-Identifier: GPL-2.0-or-later
"""Receiving messages and fetching blocks, against a bare loop of `recv` on the same bytes.

What is sent was built before, by a process of its own on loopback.
"""

from __future__ import annotations

import gzip
import multiprocessing
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bitcoin.core import CBlock, b2lx

from scapy_btc.chain.merkle import merkle_root, witness_commitment
from scapy_btc.layers.envelope import BTC
from scapy_btc.layers.lists import raws
from scapy_btc.messages.blocks import BTCBlock
from scapy_btc.messages.handshake import BTCVerack, BTCVersion
from scapy_btc.messages.parts import BTCBlockHeader, BTCOutPoint
from scapy_btc.messages.transactions import BTCTx, BTCTxIn, BTCTxOut, BTCTxWitness
from scapy_btc.net.client import connect
from scapy_btc.net.socket import BTCStreamSocket
from scapy_btc.networks import REGTEST
from scapy_btc.peer.transaction import Tx
from scapy_btc.wire import compactsize

from .layers import block_of
from .measure import Row, in_turn

VECTORS = Path(__file__).parent.parent / "tests" / "vectors" / "messages"
Address = tuple[str, int]


def rows(quick: bool) -> Iterator[Row]:
    many, large = ordinary_block(950_000), inscribed_block(63)
    rounds = 5 if quick else 15
    yield messages(large, 20, rounds)
    yield from blocks(many, 20, rounds)


def messages(block: bytes, count: int, rounds: int) -> Row:
    with sender(block) as (address, raw):
        def ours() -> None:
            sock = BTCStreamSocket(socket.create_connection(address), REGTEST)
            for _ in range(count):
                sock.ins.sendall(b"!")
                frame = sock.recv_frame()
                assert frame.verdict == "ok" and len(frame.payload) == len(block)
            sock.close()

        return Row(f"{count} messages of {len(block) / 1e6:.1f} MB from a socket, checksums verified (recv loop)",
                   *in_turn(ours, lambda: bare(address, len(raw), count), rounds), 3, faster=False)


def blocks(block: bytes, count: int, rounds: int) -> Iterator[Row]:
    """A block is taken apart and every transaction hashed, which takes nearly all of the time; the bound against the
    bare loop is there to notice when it gets much worse."""
    packet = BTCBlock(block)
    work = f"{count} x get_block of {len(block) / 1e6:.1f} MB, {len(packet.transactions):,} transactions"
    with sender(block, greeting=True) as (address, raw), sender(block) as (other, _), connect(*address) as client:
        def ours() -> None:
            for _ in range(count):
                assert len(client.get_block(packet.block_hash).transactions) == len(packet.transactions)

        def checked(payload: bytes) -> None:
            read = CBlock.deserialize(payload)
            assert read.calc_merkle_root() == read.hashMerkleRoot and b2lx(read.GetHash()) == packet.block_hash

        yield Row(f"{work} (python-bitcoinlib)",
                  *in_turn(ours, lambda: bare(other, len(raw), count, checked), rounds // 3), 3)
        yield Row(f"{work} (recv loop)", *in_turn(ours, lambda: bare(other, len(raw), count), rounds), 50, faster=False)


def bare(address: Address, size: int, count: int, use: Callable[[bytes], object] = len) -> None:
    """Ask for a message, and receive it: the header, then the rest."""
    with socket.create_connection(address) as sock:
        for _ in range(count):
            sock.sendall(b"!")
            header = b""
            while len(header) < 24:
                header += sock.recv(24 - len(header))
            parts, missing = [], size - 24
            while missing:
                parts.append(sock.recv(min(missing, 1 << 18)))
                missing -= len(parts[-1])
            use(b"".join(parts))


@contextmanager
def sender(block: bytes, greeting: bool = False) -> Iterator[tuple[Address, bytes]]:
    """A process that sends a block for everything that it is sent; its address, and the message.

    :param greeting: agree on the connection before
    """
    raw = bytes(BTC(magic="regtest", msgtype="block") / block)
    spawn: Any = multiprocessing.get_context("spawn")
    told, tell = spawn.Pipe(duplex=False)
    process = spawn.Process(target=send, args=(tell, raw, greeting), daemon=True)
    process.start()
    try:
        yield told.recv(), raw
    finally:
        process.kill()
        process.join()
        told.close()
        tell.close()


def send(tell: Any, raw: bytes, greeting: bool) -> None:
    """What the process does."""
    hello = bytes(BTC(magic="regtest") / BTCVersion()) + bytes(BTC(magic="regtest") / BTCVerack())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tell.send(listener.getsockname())
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if greeting:
                    connection.sendall(hello)
                while came := connection.recv(1 << 16):
                    if not greeting or b"getdata" in came:
                        connection.sendall(raw)


def ordinary_block(size: int) -> bytes:
    """A valid block of recorded transactions over and over, each with a lock time of its own."""
    recorded = list(raws(BTCBlock(block_of(size)).transactions))
    return block([raw[:-4] + number.to_bytes(4, "little") for number, raw in enumerate(recorded)])


def inscribed_block(count: int) -> bytes:
    """A valid block of so many transactions, each with 62 kB of witness."""
    raw = gzip.decompress((VECTORS / "tx-witness-62-kB.bin.gz").read_bytes())
    return block([raw[:-4] + number.to_bytes(4, "little") for number in range(count)])


def block(transactions: list[bytes]) -> bytes:
    """The block with these transactions, and a coinbase that commits to them."""
    reserved = bytes(32)
    wtxids = [bytes(32), *(Tx(raw).wtxid for raw in transactions)]
    commitment = bytes.fromhex("6a24aa21a9ed") + witness_commitment(wtxids, reserved)
    coinbase = bytes(BTCTx(
        marker=0, flag=1, inputs=[BTCTxIn(previous_output=BTCOutPoint(index=0xFFFFFFFF), script=b"\1\1")],
        outputs=[BTCTxOut(value=0, script=commitment)], witness=[BTCTxWitness(items=[reserved])]))
    everything = [coinbase, *transactions]
    header = BTCBlockHeader(merkle_root=merkle_root([Tx(raw).txid for raw in everything]).root)
    return bytes(header) + compactsize.encode(len(everything)) + b"".join(everything)
