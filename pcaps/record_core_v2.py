# SPDX-License-Identifier: GPL-2.0-or-later
"""Record core-v2-regtest.pcapng and its keys: Bitcoin Core over the encrypted transport, on regtest, loopback only.

    python pcaps/record_core_v2.py /path/to/bitcoind

Needs what record_core.py needs, and the package. A node listens. First the package's transport connects to it, with
garbage and decoys, and more than 224 packets go each way, so that both ends change their keys. Then the node connects
to the package's transport. Last, another node connects to the first: nobody has the keys of that connection. What the
first two hold is counted in the node's own message capture. Takes about 5 s.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import frames as plain
import index
from frames import Endpoint
from record import HERE, PORT, WITNESS, PlainClient, Recorder, inventory, wire, without_machine
from record_core import Core, same_mempool, same_tip, spend, until

from scapy_btc.bip324.keylog import append_key
from scapy_btc.bip324.transport import ResponderTransport, V2Options, V2Transport
from scapy_btc.messages.catalogue import short_ids
from scapy_btc.networks import REGTEST

Ends = tuple[Endpoint, Endpoint]
"""The node's end of a connection, and ours."""

NAME = "core-v2-regtest.pcapng"
KEYS = "core-v2-regtest.keylog"


class V2Client(PlainClient):
    """The plain client, but what it says is encrypted."""

    def __init__(self, keys: Path, sock: socket.socket | None = None) -> None:
        log = partial(append_key, keys)
        self.frames: list[tuple[str, bytes]] = []
        if sock is None:
            options = V2Options(decoys_first=(0, 40), decoys_between=(7,))
            self.transport: Any = V2Transport(REGTEST, True, short_ids(), options, Random(324), log)
            super().__init__(protocol=70016)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.transport = ResponderTransport(REGTEST, short_ids(), V2Options(garbage=b""), on_key=log)
            self.socket, self.seen = sock, []

    def send(self, msgtype: str, payload: bytes = b"") -> None:
        header = REGTEST.magic + struct.pack("<12sI", msgtype.encode(), len(payload)) + bytes(4)
        self.transport.send(header + payload)
        self.socket.sendall(self.transport.to_send())

    def receive(self, until: str) -> bytes:
        while True:
            while self.frames:
                name, payload = self.frames.pop(0)
                self.seen.append(name)
                if name == until:
                    return payload
            data = self.socket.recv(1 << 16)
            if not data or self.transport.broken:
                raise SystemExit(f"the node closed the connection after {self.seen} {self.transport.broken}")
            self.frames += [(frame.msgtype.decode(), frame.payload) for frame in self.transport.receive(data)]
            self.socket.sendall(self.transport.to_send())


def client_asks(core: Core, keys: Path) -> Ends:
    """Every block twice, a transaction, a compact block, filters, and many pings."""
    client = V2Client(keys)
    hashes = [core.call("getblockhash", height) for height in range(1, 121)]
    (peer,) = core.call("getpeerinfo")
    if (peer["transport_protocol_type"], peer["session_id"]) != ("v2", client.transport.session_id.hex()):
        raise SystemExit(f"the node sees another session: {peer}")
    client.ask("getheaders", struct.pack("<IB", 70016, 1) + wire(core.call("getblockhash", 0)) + bytes(32))
    for kind in (2, 2 | WITNESS):
        client.ask("getdata", inventory(kind, *hashes))
    for _ in range(115):
        client.ask("ping", os.urandom(8))
    client.ask("sendheaders")
    client.ask("getcfheaders", b"\x00" + struct.pack("<I", 1) + wire(hashes[99]))
    client.ask("getdata", inventory(1, "11" * 32))
    client.send("getaddr")
    txid = core.call("sendrawtransaction", spend(*core.coin(1), 3, witness=False)[0], 0)
    client.receive("inv")
    client.ask("getdata", inventory(1 | WITNESS, txid))
    core.mine(1)
    client.receive("headers")
    client.ask("getdata", inventory(4, core.call("getbestblockhash")))
    ends = client.socket.getpeername(), client.socket.getsockname()
    client.close()
    return ends


def node_calls(core: Core, keys: Path, listener: socket.socket) -> Ends:
    """The node opens a connection to us; we tell of ourselves, answer its ping, and ask a little."""
    core.call("addnode", f"127.0.0.1:{listener.getsockname()[1]}", "onetry", True)
    sock, _ = listener.accept()
    sock.settimeout(10)
    client = V2Client(keys, sock)
    address = struct.pack("<Q16sH", 0, bytes(10) + b"\xff\xff\x7f\x00\x00\x01", PORT)
    agent = b"/plain-client:1.0/"
    version = struct.pack("<iQq", 70016, 0, int(time.time())) + 2 * address + os.urandom(8)
    client.receive("version")
    client.send("version", version + bytes([len(agent)]) + agent + struct.pack("<i?", 0, True))
    client.receive("verack")
    client.send("verack")
    client.send("pong", client.receive("ping"))
    for _ in range(3):
        client.ask("feefilter", struct.pack("<Q", 1000))
    ends = sock.getpeername(), sock.getsockname()
    client.close()
    return ends


def nodes_talk(core: Core, other: Core) -> None:
    """A connection that nobody has the keys of."""
    other.call("addnode", f"127.0.0.1:{PORT}", "onetry", True)
    same_tip(core, other)
    core.call("sendrawtransaction", spend(*core.coin(2), 1, witness=False)[0], 0)
    same_mempool(core, other)
    core.mine(1)
    same_tip(core, other)
    other.call("setnetworkactive", False)
    until(lambda: core.call("getconnectioncount") == 0, "the connection to close")


def logged(folder: Path, connections: list[Ends]) -> Iterator[tuple[Endpoint, Endpoint, plain.Message]]:
    """What the node's message capture says of these connections."""
    for node, peer in connections:
        for name, way in (("msgs_sent", (node, peer)), ("msgs_recv", (peer, node))):
            data = (folder / f"{peer[0]}_{peer[1]}" / f"{name}.dat").read_bytes()
            position = 0
            while position < len(data):
                _, msgtype, size = struct.unpack_from("<q12sI", data, position)
                raw = plain.MAGIC + msgtype + struct.pack("<I", size)
                payload = data[position + 24 : position + 24 + size]
                check = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
                position += 24 + size
                yield *way, plain.Message(msgtype.rstrip(b"\0").decode(), 0, 0, raw + check + payload)


def main(program: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        capture, keys = folder / "lo.pcapng", folder / KEYS
        listen = [f"-bind=127.0.0.1:{PORT}", "-capturemessages", "-v2transport=1"]
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            Core(program, folder / "core", *listen, "-blockfilterindex", "-peerblockfilters") as core,
            Core(program, folder / "other", "-listen=0", "-v2transport=1") as other,
            Recorder(capture, f"tcp port {PORT} or tcp port {listener.getsockname()[1]}"),
        ):
            core.mine(120)
            connections = [client_asks(core, keys), node_calls(core, keys, listener)]
            until(lambda: core.call("getconnectioncount") == 0, "the connections to close")
            nodes_talk(core, other)
        output = HERE / NAME
        output.write_bytes(without_machine(capture.read_bytes()))
        (HERE / KEYS).write_bytes(keys.read_bytes())
        known = list(logged(core.folder / "message_capture", connections))
    segments = [plain.parse(frame.data) for frame in plain.read(output)]
    streams = plain.streams(segments)
    ends = {way for pair in connections for way in (pair, pair[::-1])}
    entry = index.entry(output, "pcaps/record_core_v2.py", len(segments), len(streams) // 2)
    entry |= {"keylog": KEYS, "lost_bytes": 0, "holes": 0, "unread_bytes": 0}
    entry["encrypted_bytes"] = sum(len(data) for way, data in streams.items() if way not in ends)
    index.update(HERE, {NAME: entry | plain.totals(known)})
    print(f"{output}: {output.stat().st_size} bytes, {len(known)} messages")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
