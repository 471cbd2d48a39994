# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of one node: connects, keeps the rules, asks and waits for answers. It blocks, as Scapy does."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

from ..chain.proof_of_work import check_header
from ..errors import Disconnected, FormatError, HandshakeError, NotFound, PeerError, Refused, TimedOut
from ..layers.envelope import BTC
from ..layers.registry import BTCMessage
from ..messages.addresses import BTCAddr, BTCAddrV2, BTCGetAddr
from ..messages.inventory import BTCGetData, BTCGetHeaders, BTCHeaders, BTCInv, BTCMempool, BTCNotFound
from ..messages.parts import BTCBlockHeader, BTCInvVector
from ..networks import Network, by_name
from ..peer.behaviour import Peer
from ..peer.options import PeerOptions
from ..protocol import MAX_HEADERS_RESULTS, InvType
from ..wire.hashes import hash_hex, sha256d
from .socket import BTCStreamSocket

Observer = Callable[[BTC, bool], None]
"""Called with every packet, and whether we sent it."""


class BTCClient:
    """One connection to a node. Use `connect` to make one.

    :param sock: a connected TCP socket
    :param options: what we say of ourselves; also the network
    :param timeout: seconds that every answer is waited for
    :ivar peer: the rules of the connection, and what is known of the other side
    """

    def __init__(self, sock: socket.socket, options: PeerOptions, timeout: float = 10.0,
                 observer: Observer | None = None, random: Random | None = None) -> None:
        self.options, self.timeout, self.observer = options, timeout, observer
        self.socket = BTCStreamSocket(sock, options.network)
        self.peer = Peer(options, outbound=True, random=random)
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> BTCClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    # Speaking

    def send(self, message: BTCMessage | BTC) -> None:
        """Send a message, or a whole packet as it is. Raises Disconnected."""
        packet = message if isinstance(message, BTC) else self.peer.envelope(message)
        try:
            self.socket.send(packet)
        except OSError as error:
            raise Disconnected(f"sending {packet.msgtype or message.msgtype}: {error.strerror or error}") from error
        if self.observer:
            self.observer(packet, True)

    def receive(self, timeout: float | None = None) -> BTC:
        """The next packet; pings are answered on the way. Raises TimedOut, Disconnected, HandshakeError."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        try:
            while not self.socket.waiting():
                self.socket.ins.settimeout(max(0.001, deadline - time.monotonic()))
                self.socket.fill()
                if time.monotonic() > deadline and not self.socket.waiting():
                    raise TimeoutError
            packet: Any = self.socket.recv()
        except TimeoutError:
            raise TimedOut("no message in time") from None
        except EOFError:
            raise Disconnected(self._whence("the peer closed the connection")) from None
        except FormatError as error:
            raise HandshakeError(str(error)) from error
        except OSError as error:
            raise Disconnected(self._whence(error.strerror or str(error))) from error
        self.counts[str(packet.msgtype)] += 1
        if self.observer:
            self.observer(packet, False)
        for answer in self.peer.receive(packet, time.time()):
            self.send(answer)
        received: BTC = packet
        return received

    def _whence(self, text: str) -> str:
        return text if self.peer.established else f"{text} during the handshake"

    def wait_for(self, wanted: str | type[BTCMessage] | Callable[[Any], bool], timeout: float | None = None) -> Any:
        """The next message of a name or class, or of which a function says yes. Raises as `receive` does."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimedOut(f"no answer within {self.timeout if timeout is None else timeout:g} s")
            try:
                message = self.receive(remaining).payload
            except TimedOut:
                continue
            if matches(message, wanted):
                return message

    def messages(self, seconds: float) -> Iterator[BTC]:
        """Every packet that comes in so many seconds; keeps the connection alive."""
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            for packet in self.peer.tick(time.time()):
                self.send(packet)
            try:
                yield self.receive(min(remaining, 1.0, self.options.ping_interval / 2))
            except TimedOut:
                continue

    # Asking

    def handshake(self) -> Any:
        """Agree on the connection; the peer's `version`. Raises HandshakeError, TimedOut, Disconnected."""
        for packet in self.peer.start(time.time()):
            self.send(packet)
        deadline = time.monotonic() + self.timeout
        while not self.peer.established:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimedOut("no handshake in time")
            try:
                self.receive(remaining)
            except TimedOut:
                raise TimedOut("no handshake in time") from None
        return self.peer.version

    def ping(self) -> float:
        """Seconds until the pong came."""
        start = time.monotonic()
        packet = self.peer.ping(time.time())
        self.send(packet)
        self.wait_for(lambda m: getattr(m, "msgtype", "") == "pong" and m.nonce == packet.nonce)
        return time.monotonic() - start

    def getaddr(self, seconds: float | None = None) -> list[Any]:
        """Addresses that the peer knows (`BTCTimedNetAddr`, `BTCNetAddrV2`): of all messages until an announcement of
        more than its own address came, or the time is over."""
        self.send(BTCGetAddr())
        found: list[Any] = []
        deadline = time.monotonic() + (self.timeout if seconds is None else seconds)
        while (remaining := deadline - time.monotonic()) > 0:
            try:
                message = self.receive(remaining).payload
            except TimedOut:
                break
            if isinstance(message, (BTCAddr, BTCAddrV2)):
                found.extend(message.addresses)
                if len(message.addresses) > 1:
                    break
        return found

    def getdata(self, *wanted: tuple[InvType | int | str, str | bytes]) -> list[Any]:
        """Objects by (type, hash), in the order of the answers. Raises NotFound for what the peer does not have."""
        vectors = [BTCInvVector(type=kind, hash=of) for kind, of in wanted]
        request = BTCGetData(inventory=vectors)
        self.send(request)
        found: list[Any] = []
        while len(found) < len(vectors):
            message = self.wait_for(lambda m: isinstance(m, BTCMessage) and bool(m.answers(request)))
            if isinstance(message, BTCNotFound):
                raise NotFound(f"the peer does not have {message.inventory[0].hash}")
            found.append(message)
        return found

    def get_block(self, block_hash: str | bytes, witness: bool = True) -> Any:
        """A block. Nodes say nothing about blocks that they do not have: then TimedOut."""
        return self.getdata((InvType.MSG_WITNESS_BLOCK if witness else InvType.MSG_BLOCK, block_hash))[0]

    def get_headers(self, locator: Iterable[str | bytes] | None = None, stop: str | bytes = bytes(32)) -> Iterator[Any]:
        """Headers (`BTCBlockHeader`) after the locator, page by page up to the tip or `stop`.

        The genesis block is the locator if there is none. Raises PeerError for headers that do not follow each other
        or have no proof of work.
        """
        genesis = self.options.network.genesis
        tips = list(locator) if locator is not None else [sha256d(genesis)] if genesis else []
        previous: bytes | None = None
        while True:
            self.send(BTCGetHeaders(locator=tips, stop=stop))
            page = self.wait_for(BTCHeaders).headers
            for entry in page:
                raw = bytes(entry.header)
                if previous is not None and raw[4:36] != previous:
                    raise PeerError(f"header {hash_hex(sha256d(raw))} does not follow the one before it")
                if not check_header(raw, self.options.network.pow_limit):
                    raise PeerError(f"header {hash_hex(sha256d(raw))} has no proof of work")
                previous = sha256d(raw)
                header: BTCBlockHeader = entry.header
                yield header
            if len(page) < MAX_HEADERS_RESULTS or previous is None:
                return
            tips = [previous]

    def mempool(self, seconds: float | None = None) -> list[str]:
        """Ids of the transactions in the peer's memory pool, as reversed hex; it must offer NODE_BLOOM."""
        self.send(BTCMempool())
        deadline = time.monotonic() + (self.timeout if seconds is None else seconds)
        found: list[str] = []
        kinds = (InvType.MSG_TX, InvType.MSG_WTX, InvType.MSG_WITNESS_TX)
        while (remaining := deadline - time.monotonic()) > 0:
            try:
                message = self.wait_for(BTCInv, remaining)
            except TimedOut:
                break
            ids = [vector.hash for vector in message.inventory if vector.type in kinds]
            found.extend(ids)
            if ids:
                break
        return found

    def send_tx(self, transaction: BTCMessage) -> None:
        """Announce a transaction, and send it when the peer asks."""
        by_wtxid = self.options.wtxidrelay and "wtxidrelay" in self.peer.agreed
        kind = InvType.MSG_WTX if by_wtxid else InvType.MSG_TX
        announced: str = transaction.wtxid if by_wtxid else transaction.txid
        self.send(BTCInv(inventory=[BTCInvVector(type=kind, hash=announced)]))
        self.wait_for(lambda m: isinstance(m, BTCGetData) and any(v.hash == announced for v in m.inventory))
        self.send(transaction)


def matches(message: Any, wanted: str | type[BTCMessage] | Callable[[Any], bool]) -> bool:
    """Whether a message is of that name or class, or the function says yes."""
    if isinstance(wanted, str):
        return getattr(message, "msgtype", None) == wanted
    if isinstance(wanted, type):
        return isinstance(message, wanted)
    return wanted(message)


def connect(host: str, port: int | None = None, network: Network | str = "regtest", timeout: float = 10.0,
            options: PeerOptions | None = None, observer: Observer | None = None,
            handshake: bool = True) -> BTCClient:
    """Connect to a node and agree with it.

    :param host: a name, an IPv4 or IPv6 address
    :param port: the network's port without it
    :param network: its name, or a `Network`
    :param timeout: seconds for connecting, and for every answer
    :param options: what we say of ourselves; its network counts then
    :param observer: called with every packet, and whether we sent it

    Raises Refused, TimedOut, Disconnected, WrongNetwork or another HandshakeError.
    """
    said = options or PeerOptions(network=by_name(network) if isinstance(network, str) else network)
    port = said.network.port if port is None else port
    try:
        sock = socket.create_connection((host, port), timeout)
    except TimeoutError:
        raise TimedOut(f"{host}:{port}: no connection within {timeout:g} s") from None
    except OSError as error:
        raise Refused(f"{host}:{port}: {error.strerror or error}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = BTCClient(sock, said, timeout, observer)
    if handshake:
        try:
            client.handshake()
        except BaseException:
            client.close()
            raise
    return client


