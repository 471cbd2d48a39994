# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of one connection: handshake, answers to pings, liveness. Packets and times go in, packets come out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from random import Random
from typing import Any

from ..errors import HandshakeError, TimedOut, WrongNetwork
from ..layers.envelope import BTC
from ..layers.registry import BTCMessage
from ..messages.handshake import (
    BTCFeeFilter,
    BTCSendAddrV2,
    BTCSendCmpct,
    BTCSendHeaders,
    BTCSendTxRcncl,
    BTCVerack,
    BTCVersion,
    BTCWtxidRelay,
)
from ..messages.keepalive import BTCPing, BTCPong
from ..messages.parts import BTCNetAddr
from ..networks import by_magic
from ..protocol import (
    BIP0031_VERSION,
    FEEFILTER_VERSION,
    INIT_PROTO_VERSION,
    SENDHEADERS_VERSION,
    SHORT_IDS_BLOCKS_VERSION,
    WTXID_RELAY_VERSION,
)
from .options import PeerOptions


class Peer:
    """One side of a connection that keeps the rules of the protocol.

    It reads no socket and no clock: `start`, `receive` and `tick` take the time and return what is to be sent.

    :param options: what we say of ourselves
    :param outbound: whether we opened the connection, and so speak first
    :param random: where nonces come from
    :param own_nonces: those of connections that we opened, by which one to ourselves is known when it comes in
    :ivar remote: IP address and port that we tell the peer as its own; None tells none
    :ivar version: the peer's `version`; None before it came
    :ivar established: both sides have said `verack`
    :ivar latency: seconds from the last answered ping to its pong; None before the first
    :ivar agreed: names of what the peer announced between `version` and `verack`, and of `sendheaders` and the like
    """

    def __init__(self, options: PeerOptions, outbound: bool = True, random: Random | None = None,
                 own_nonces: Collection[int] = ()) -> None:
        self.options, self.outbound, self.own_nonces = options, outbound, own_nonces
        self._random = random or Random()
        self.nonce = self._random.getrandbits(64)
        self.remote: tuple[str, int] | None = None
        self.version: BTCVersion | None = None
        self.established = False
        self.latency: float | None = None
        self.agreed: set[str] = set()
        self._started: float | None = None
        self._ping: tuple[int, float] | None = None
        self._last_ping = 0.0

    @property
    def common_version(self) -> int:
        """The protocol version of the connection: the smaller of both; 0 before the peer's is known."""
        return min(self.options.version, self.version.version) if self.version else 0

    def start(self, now: float) -> list[BTC]:
        """The connection is there; what to send first."""
        self._started = now
        return [self._own(self._our_version(now))] if self.outbound else []

    def envelope(self, message: BTCMessage) -> BTC:
        """A message as it is sent on this connection."""
        packet: BTC = BTC(magic=self.options.network.magic) / message
        return packet

    def _own(self, message: BTCMessage) -> BTC:
        """Likewise of one that was made here: nobody else has it and its values are plain, so that Scapy need not
        copy it now nor when it is built, which takes most of the time of a handshake."""
        packet: BTC = BTC(magic=self.options.network.magic)
        packet.add_payload(message)
        packet.explicit = message.explicit = 1
        return packet

    def receive(self, packet: Any, now: float) -> list[BTC]:
        """A packet of the peer; what to answer. Raises HandshakeError where the connection has to end."""
        if packet.magic != self.options.network.magic:
            found = by_magic(packet.magic)
            name = found[0].name if found else packet.magic.hex()
            raise WrongNetwork(f"the peer speaks {name}, not {self.options.network.name}")
        message = packet.payload
        if isinstance(message, BTCVersion):
            return list(map(self._own, self._on_version(message, now)))
        if self.version is None:
            return []  # nodes ignore what comes before version
        if isinstance(message, BTCVerack):
            return list(map(self._own, self._on_verack(now)))
        if isinstance(message, BTCPing) and message.nonce is not None and self.common_version > BIP0031_VERSION:
            return [self._own(BTCPong(nonce=message.nonce))]
        if isinstance(message, BTCPong):
            self._on_pong(message, now)
        elif isinstance(message, BTCMessage) and message.before_verack is not False:
            self.agreed.add(message.msgtype)
        return []

    def tick(self, now: float) -> list[BTC]:
        """Time has passed; what to send now. Raises TimedOut when the peer has had its chance."""
        if not self.established:
            if self._started is not None and now - self._started > self.options.handshake_timeout:
                raise TimedOut(f"no handshake within {self.options.handshake_timeout:g} s")
            return []
        if self._ping and now - self._ping[1] > self.options.ping_timeout:
            raise TimedOut(f"no pong within {self.options.ping_timeout:g} s")
        if self._ping is None and now - self._last_ping >= self.options.ping_interval:
            return [self.ping(now)]
        return []

    def ping(self, now: float) -> BTC:
        """A ping whose pong is waited for; `latency` tells when it came."""
        nonce = self._random.getrandbits(64) or 1
        self._ping, self._last_ping = (nonce, now), now
        return self._own(BTCPing(nonce=nonce))

    @property
    def waits_for_pong(self) -> bool:
        return self._ping is not None

    def _our_version(self, now: float) -> BTCVersion:
        said = self.options
        message: BTCVersion = BTCVersion(
            version=said.version, services=said.services, timestamp=int(now), nonce=self.nonce,
            user_agent=said.user_agent, start_height=said.start_height, relay=int(said.relay))
        if self.remote:
            message.receiver_address = BTCNetAddr(ip=self.remote[0], port=self.remote[1])
        return message

    def _on_version(self, theirs: BTCVersion, now: float) -> Iterator[BTCMessage]:
        if self.version is not None:
            return  # a repetition is ignored
        if theirs.version < self.options.lowest_version:
            lowest = self.options.lowest_version
            raise HandshakeError(f"obsolete peer: version {theirs.version}, at least {lowest} wanted")
        if not self.outbound and theirs.nonce and theirs.nonce in self.own_nonces:
            raise HandshakeError("connected to ourselves")
        self.version = theirs
        if not self.outbound:
            yield self._our_version(now)
        said = self.options
        if self.common_version >= WTXID_RELAY_VERSION:
            if said.wtxidrelay:
                yield BTCWtxidRelay()
            if said.sendaddrv2:
                yield BTCSendAddrV2()
            if said.sendtxrcncl is not None:
                yield BTCSendTxRcncl(salt=said.sendtxrcncl)
        if self.common_version >= INIT_PROTO_VERSION:
            yield BTCVerack()
        else:
            yield from self._on_verack(now)

    def _on_verack(self, now: float) -> Iterator[BTCMessage]:
        if self.established:
            return
        self.established = True
        self._last_ping = now
        said, common = self.options, self.common_version
        if said.sendcmpct is not None and common >= SHORT_IDS_BLOCKS_VERSION:
            yield BTCSendCmpct(announce=0, version=said.sendcmpct)
        if said.feefilter is not None and common >= FEEFILTER_VERSION:
            yield BTCFeeFilter(feerate=said.feefilter)
        if said.sendheaders and common >= SENDHEADERS_VERSION:
            yield BTCSendHeaders()

    def _on_pong(self, message: BTCPong, now: float) -> None:
        if self._ping and message.nonce == self._ping[0]:
            self.latency = now - self._ping[1]
            self._ping = None
