# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of one node: asks, and waits for answers that fit. It blocks, as Scapy does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

from ..chain.address import format_endpoint, parse_endpoint
from ..chain.headers import HeaderChain
from ..chain.proof_of_work import check_header
from ..errors import FormatError, PeerError, Rejected, TimedOut
from ..layers.lists import raws
from ..layers.registry import BTCMessage, summary_line
from ..messages.addresses import BTCAddr, BTCAddrV2, BTCGetAddr
from ..messages.blocks import BTCBlock
from ..messages.filters import BTCGetCFCheckpt, BTCGetCFHeaders, BTCGetCFilters
from ..messages.handshake import BTCSendCmpct
from ..messages.inventory import BTCGetData, BTCGetHeaders, BTCHeaders, BTCInv, BTCMempool
from ..messages.keepalive import BTCPong
from ..messages.parts import BTCBlockHeader, BTCInvVector
from ..messages.retired import BTCReject
from ..messages.transactions import BTCTx
from ..networks import Network, by_name
from ..peer.answers import Answers, Wanted, check_contents, vectors_in
from ..peer.compact import PartialBlock
from ..peer.header_sync import HeadersTaken, HeaderSync
from ..peer.options import PeerOptions
from ..peer.transaction import Tx
from ..protocol import (
    BIP0031_VERSION,
    MAX_ADDR_TO_SEND,
    MAX_GETCFHEADERS_SIZE,
    MAX_GETCFILTERS_SIZE,
    MAX_HEADERS_RESULTS,
    MAX_INV_SZ,
    MSG_TYPE_MASK,
    InvType,
    ServiceFlags,
)
from ..wire.hashes import hash_hex, hex_hash, sha256d
from .blocking import BlockingConnection, Test
from .connection import Observer
from .socket import open_socket
from .transports import Choice, KeyLogFile

MAX_ADDRESSES = 10 * MAX_ADDR_TO_SEND
MAX_MEMPOOL = 10 * MAX_INV_SZ
"""So many are taken of one peer, who might go on for ever."""
SOON = 1.0
"""Seconds that the rest of an answer in several messages is waited for."""
NO_BLOCK = "nodes say nothing about blocks that they do not have, and pruned ones close the connection"
INVALID = "it had asked for the transaction and got it; some close the connection for an invalid one"
NO_REQUEST = "a node does not ask for a transaction that it has already, or if it takes none"


class BTCClient(BlockingConnection):
    """One connection to a node. Use `connect` to make one; `BlockingConnection` says what it listens to.

    What is asked raises TimedOut when no answer comes within `timeout` seconds, Disconnected, and PeerError for an
    answer that cannot be true. What does not answer the question is no answer.
    """

    def __enter__(self) -> BTCClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ping(self) -> float:
        """Seconds until the pong came."""
        return self._ping()

    def _ping(self, hint: str = "") -> float:
        if self.peer.version and self.peer.common_version <= BIP0031_VERSION:
            raise PeerError(f"the peer's version {self.peer.version.version} knows no pong")
        start = time.perf_counter()
        packet: Any = self.peer.ping(time.time())
        self.send(packet)
        self._await(lambda m: isinstance(m, BTCPong) and m.nonce == packet.nonce, hint=hint)
        return time.perf_counter() - start

    def getaddr(self, seconds: float | None = None) -> list[Any]:
        """Addresses that the peer knows (`BTCTimedNetAddr`, `BTCNetAddrV2`), none if it tells none in so many seconds.

        A single address may be the peer's own, more are the answer. Bitcoin Core answers a connection only once:
        immediately, or within a minute or so.
        """
        self.send(BTCGetAddr())
        found: list[Any] = []
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        while len(found) < MAX_ADDRESSES:
            try:
                message = self._await(lambda m: isinstance(m, (BTCAddr, BTCAddrV2)), end - time.monotonic())
            except TimedOut:
                break
            found.extend(message.addresses[:MAX_ADDR_TO_SEND])
            if len(message.addresses) > 1:
                end = min(end, time.monotonic() + SOON)
        return found

    def getdata(self, *wanted: Wanted) -> list[Any]:
        """Objects by type and hash: transactions, whole, filtered and compact blocks, in the order asked.

        The transactions of a `merkleblock`, whose proof is checked, follow it; its filter has to be loaded before. A
        node may answer with a block where a compact one was asked for. Raises NotFound when the peer says so.
        """
        answers = Answers(wanted)
        self.send(answers.request)
        while not answers.complete:
            silent = f"; {NO_BLOCK}" if answers.wait_for_block else ""
            self._await(answers.take, hint=f"asked for {answers.next}{silent}")
        return answers.found

    def get_block(self, block_hash: str | bytes, witness: bool = True, compact: bool = False,
                  known: Iterable[BTCTx | bytes] = ()) -> Any:
        """A block (`BTCBlock`) that its header and its coinbase commit to.

        :param witness: with its witnesses
        :param compact: fetch it as a compact block with those transactions that are not among `known`, and whole where
            no block can be made of that. Nodes send only their newest ones so

        Raises FormatError for bytes in `known` that are no transaction.
        """
        if not compact:
            return self.getdata((InvType.MSG_WITNESS_BLOCK if witness else InvType.MSG_BLOCK, block_hash))[0]
        have = [Tx(bytes(tx)) for tx in known]
        if self.options.sendcmpct is None:
            self.send(BTCSendCmpct(announce=0, version=2))
        message, = self.getdata((InvType.MSG_CMPCT_BLOCK, block_hash))
        if isinstance(message, BTCBlock):
            return message
        try:
            payload = self._completed(PartialBlock(message, have))
            check_contents(payload)
        except (FormatError, Rejected):
            return self.get_block(block_hash)
        return BTCBlock(payload)

    def _completed(self, partial: PartialBlock) -> bytes:
        """The `block` payload, when what is missing has come."""
        if partial.missing:
            answer = self._ask(partial.request(), NO_BLOCK)
            if isinstance(answer, BTCBlock):
                return answer.self_build()
            partial.fill(list(raws(answer.transactions)))
        return partial.payload()

    def get_headers(self, locator: Iterable[str | bytes] | None = None, stop: str | bytes = bytes(32)) -> Iterator[Any]:
        """Headers (`BTCBlockHeader`) after the locator, page by page up to the tip or `stop`.

        The genesis block is the locator if there is none. Raises PeerError for headers that do not follow each other or
        have no proof of work, and where the peer knows no block of the locator.
        """
        genesis = self.options.network.genesis
        first = [sha256d(genesis)] if genesis else []
        tips = first if locator is None else [hex_hash(of) if isinstance(of, str) else of for of in locator]
        while True:
            previous = [*tips, *first]
            self.send(BTCGetHeaders(locator=tips, stop=stop))
            stray: list[bytes] = []
            answer = self._unless_silent(headers_after(previous, stray), "no headers that follow a known block")
            if answer is None and stray:
                raise PeerError(f"header {hash_hex(sha256d(stray[0]))} does not follow a known block")
            if answer is None:
                return
            page = answer.headers
            if len(page) > MAX_HEADERS_RESULTS:
                raise PeerError(f"{len(page):,} headers in a message, which holds {MAX_HEADERS_RESULTS:,} at most")
            if page and tips and bytes(page[0].header)[4:36] not in tips:
                raise PeerError(f"the peer does not know the block {hash_hex(tips[0])}")
            for entry in page:
                raw = bytes(entry.header)
                block_hash = sha256d(raw)
                if previous and raw[4:36] not in previous:
                    raise PeerError(f"header {hash_hex(block_hash)} does not follow the one before it")
                if not check_header(raw, self.options.network.pow_limit):
                    raise PeerError(f"header {hash_hex(block_hash)} has no proof of work")
                previous = [block_hash]
                header: BTCBlockHeader = entry.header
                yield header
            if len(page) < MAX_HEADERS_RESULTS:
                return
            tips = previous

    def sync_headers(self, chain: HeaderChain) -> Iterator[HeadersTaken]:
        """Bring a chain up to the peer's, message by message; says of each what became of it.

        Raises InvalidHeader with height and reason, TooMuch, and PeerError where the peer only repeats itself; what
        was valid remains in the chain.
        """
        sync = HeaderSync(chain, (self.peer.version.start_height or 0) if self.peer.version else 0)
        while not sync.complete:
            self.send(sync.request)
            answer = self._unless_silent(sync.fits, "no headers that follow a known block")
            if answer:
                yield sync.take(answer, int(time.time()))
            else:
                sync.end()

    def _unless_silent(self, test: Test, hint: str) -> Any:
        """The message that passes, None if the peer answers a later ping instead."""
        with suppress(TimedOut):
            return self._await(test, min(SOON, self.timeout))
        ping: Any = self.peer.ping(time.time())
        self.send(ping)
        answer = self._await(lambda m: test(m) or (isinstance(m, BTCPong) and m.nonce == ping.nonce), hint=hint)
        return None if isinstance(answer, BTCPong) else answer

    def get_cfilters(self, start_height: int, stop_hash: str | bytes) -> list[Any]:
        """The filters (`BTCCFilter`) of the blocks from a height to a block, at most 1,000 (BIP 157)."""
        request = BTCGetCFilters(start_height=start_height, stop_hash=stop_hash)
        hint = self._unless(ServiceFlags.NODE_COMPACT_FILTERS)
        found = [self._ask(request, hint)]
        while found[-1].block_hash != request.stop_hash:
            if len(found) == MAX_GETCFILTERS_SIZE:
                raise PeerError(f"more than {MAX_GETCFILTERS_SIZE:,} filters")
            found.append(self._await(answer_to(request), hint=hint))
        return found

    def get_cfheaders(self, start_height: int, stop_hash: str | bytes) -> Any:
        """The hashes of the filters from a height to a block, at most 2,000: a `BTCCFHeaders` (BIP 157)."""
        answer = self._ask(BTCGetCFHeaders(start_height=start_height, stop_hash=stop_hash),
                           self._unless(ServiceFlags.NODE_COMPACT_FILTERS))
        if len(answer.filter_hashes) > MAX_GETCFHEADERS_SIZE:
            raise PeerError(f"more than {MAX_GETCFHEADERS_SIZE:,} hashes of filters")
        return answer

    def get_cfcheckpt(self, stop_hash: str | bytes) -> Any:
        """Every thousandth filter header up to a block: a `BTCCFCheckpt` (BIP 157)."""
        return self._ask(BTCGetCFCheckpt(stop_hash=stop_hash), self._unless(ServiceFlags.NODE_COMPACT_FILTERS))

    def mempool(self, seconds: float | None = None) -> list[str]:
        """Ids of the transactions in the peer's memory pool, as reversed hex; none if it tells none in so many seconds.

        A peer that does not offer NODE_BLOOM closes the connection.
        """
        self.send(BTCMempool())
        found: list[str] = []
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        while len(found) < MAX_MEMPOOL:
            try:
                message = self._await(lambda m: isinstance(m, BTCInv), end - time.monotonic(),
                                      self._unless(ServiceFlags.NODE_BLOOM))
            except TimedOut:
                break
            ids = [hash_hex(of) for kind, of in vectors_in(message)
                   if kind & MSG_TYPE_MASK in (InvType.MSG_TX, InvType.MSG_WTX)]
            found.extend(ids)
            if ids and len(message.inventory) < MAX_INV_SZ:
                break
        return found

    def send_tx(self, transaction: BTCTx) -> None:
        """Announce a transaction, send it when the peer asks for it, and wait until it was looked at.

        Raises TimedOut when it does not ask, PeerError when it answers `reject`, which Bitcoin Core does not.
        """
        by_wtxid = self.options.wtxidrelay and "wtxidrelay" in self.peer.agreed
        ids = (transaction.txid, transaction.wtxid)
        vector = BTCInvVector(type=InvType.MSG_WTX if by_wtxid else InvType.MSG_TX, hash=ids[by_wtxid])
        announced = bytes(vector)[4:]
        self.send(BTCInv(inventory=[vector]))
        self._await(lambda m: isinstance(m, BTCGetData) and any(of == announced for _, of in vectors_in(m)),
                    hint=NO_REQUEST)
        self.send(transaction)
        self._ping(INVALID)
        refusal = self.inbox.take(lambda m: isinstance(m, BTCReject) and m.data in ids)
        if refusal:
            raise PeerError(f"refused: {summary_line(BTCReject, refusal.payload.self_build())}")

    def _ask(self, request: BTCMessage, hint: str) -> Any:
        self.send(request)
        return self._await(answer_to(request), hint=hint)

    def _unless(self, service: ServiceFlags) -> str:
        """What to say of a peer that does not answer: it may never have offered to."""
        offered = self.peer.version is None or self.peer.version.services & service
        return "" if offered else f"the peer does not offer {service.name}"


def answer_to(request: BTCMessage) -> Test:
    """Whether a message answers a request."""
    return lambda message: isinstance(message, BTCMessage) and bool(message.answers(request))


def headers_after(previous: list[bytes], stray: list[bytes]) -> Test:
    """Whether a message is one of headers that begin behind one of these blocks, or of none.

    :param stray: takes the first header of a message that begins elsewhere
    """
    def test(message: Any) -> bool:
        if not isinstance(message, BTCHeaders):
            return False
        first = bytes(message.headers[0].header) if message.headers else None
        if not previous or first is None or first[4:36] in previous:
            return True
        stray[:] = [first]
        return False

    return test


def connect(host: str, port: int | None = None, network: Network | str = "regtest", *, timeout: float = 10.0,
            transport: Choice = "auto", keylog: KeyLogFile = None, proxy: str | None = None,
            record: str | os.PathLike[str] | None = None, options: PeerOptions | None = None,
            observer: Observer | None = None, handshake: bool = True) -> BTCClient:
    """Connect to a node and agree with it.

    :param host: a name, an IPv4 or IPv6 address, an onion name (with `proxy`); also with its port, as "[::1]:18444"
    :param port: the network's port without it
    :param network: its name, or a `Network`
    :param timeout: seconds for connecting, and for every answer
    :param transport: "v1", "v2" (encrypted, BIP 324), or "auto" for v2 and v1 where the node does not answer that; or
        `V2Options` for a v2 that provokes
    :param keylog: a file that gets the key of a v2 connection: whoever has it can read a capture of the connection
    :param proxy: "host:port" of a SOCKS5 proxy, as 127.0.0.1:9050 for Tor; it resolves the name
    :param record: a file for what is said, from the first message on: a capture, as `read` and Wireshark read it
    :param options: what we say of ourselves; its network counts then
    :param observer: called with every packet, and whether we sent it

    Raises Refused, TimedOut, Disconnected, WrongNetwork or another HandshakeError; CaptureError, or another BTCError,
    for a file that cannot be written.
    """
    said = options or PeerOptions(network=by_name(network) if isinstance(network, str) else network)
    host, named = parse_endpoint(host)
    port = port if port is not None else named if named is not None else said.network.port
    with ExitStack() as undo:
        sock = open_socket(host, port, said.network, timeout, proxy, transport, keylog)
        undo.callback(sock.close)
        client = BTCClient(sock, said, timeout, observer, record=record,
                           address=format_endpoint(host, port) if proxy else "")
        undo.callback(client.close)
        if handshake:
            client.handshake()
        undo.pop_all()
    return client
