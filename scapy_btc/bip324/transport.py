# SPDX-License-Identifier: GPL-2.0-or-later
"""The v2 transport of a live connection (BIP 324), in both roles, as bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from ..networks import Network, by_magic
from ..protocol import MAX_CONTENTS_LEN
from ..wire.events import Frame
from ..wire.hashes import checksum
from ..wire.header import HEADER_SIZE, VERSION, message_name
from ..wire.transport import Transport, V1Transport
from .contents import LONG, Ids, commands_of, pack
from .keys import PUBLIC_SIZE, EphemeralKey, SessionKeys, derive, new_key
from .packets import MAX_GARBAGE_LEN, Packet, PacketReader, PacketWriter

V1_PREFIX_SIZE = 16
"""Magic and command of a `version`: how every v1 connection begins."""

OnKey = Callable[[EphemeralKey], object]
"""Called with our key before anything is sent that it protects: for a key log."""


@dataclass(frozen=True)
class V2Options:
    """What a researcher may do otherwise than nodes do."""

    key: EphemeralKey | None = None
    """Ours, instead of a new one."""
    garbage: bytes | None = None
    """After our key, instead of 0 to 4095 random bytes; more are sent as told."""
    decoys_first: tuple[int, ...] = ()
    """Decoys before the version packet: how many bytes of contents each has."""
    decoys_between: tuple[int, ...] = ()
    """Decoys before every message, likewise."""
    wrong_terminator: bool = False
    hold_terminator: bool = False
    """Send nothing after the garbage before `release` is called."""
    wrong_tag: int | None = None
    """Number, from 0, of the packet whose tag is spoiled; decoys and the version packet count."""


class V2Transport:
    """One end of a v2 connection.

    Frames look as in v1: magic of the network, padded name, a computed checksum; verdict "none", for none was sent.

    :param network: the keys depend on it; ends of different networks cannot read each other
    :param initiating: whether we opened the connection
    :param ids: names of messages by their one-byte ids; others are sent and read by name
    :param random: where the garbage comes from; the key comes from the operating system
    :ivar session_id: 32 bytes for both users to compare; b"" until the peer's key came
    :ivar decoys: how many the peer sent
    :ivar dropped: packets of the peer without a message in them
    """

    name = "v2"

    def __init__(self, network: Network, initiating: bool, ids: Ids, options: V2Options | None = None,
                 random: Random | None = None, on_key: OnKey | None = None) -> None:
        self.network, self.initiating = network, initiating
        self.options = options or V2Options()
        self.broken = ""
        self.session_id = b""
        self.decoys = self.dropped = 0
        self._commands = commands_of(ids)
        self._numbers = {command: number for number, command in enumerate(self._commands) if number != LONG}
        self._key = self.options.key or new_key()
        if on_key:
            on_key(self._key)
        garbage, random = self.options.garbage, random or Random()
        self._garbage = random.randbytes(random.randint(0, MAX_GARBAGE_LEN)) if garbage is None else garbage
        self._head = b""  # of the peer's key
        self._agreed: SessionKeys | None = None
        self._reader: PacketReader | None = None
        self._writer: PacketWriter | None = None  # once packets may be sent
        self._held = self.options.hold_terminator
        self._packets = 0
        self._version_came = False
        self._waiting: list[bytes] = []  # what was sent too early
        self._out = [self._key.public + self._garbage]
        self._sent = 0

    def __repr__(self) -> str:
        return f"<V2Transport {'initiator' if self.initiating else 'responder'}, {self.network.name}>"

    @property
    def handshake_done(self) -> bool:
        """Whether the peer's version packet came: it speaks v2, and its garbage is authentic."""
        return self._version_came

    @property
    def held(self) -> int:
        """Bytes of the peer that wait for the rest of what they belong to."""
        return self._reader.held if self._reader else len(self._head)

    @property
    def answered(self) -> bool:
        """Whether any byte of the peer came."""
        return bool(self._head)

    @property
    def try_v1(self) -> bool:
        """Whether the peer, now that the connection is over, may be one that speaks v1 only.

        That is so if it said nothing after it had as many bytes of ours as a v1 header has: it took them for one.
        Bitcoin Core connects again with v1 then. Also so if it began like v1.
        """
        return self.initiating and (self._speaks_v1() or (not self.answered and self._sent >= HEADER_SIZE))

    @property
    def peer_garbage(self) -> bytes | None:
        """What the peer sent between its key and its terminator; None while that has not come."""
        return self._reader.garbage if self._reader else None

    def receive(self, data: bytes) -> list[Frame]:
        if self.broken:
            return []
        if self._reader is None:
            self._head += data
            data = self._begin()
        if self._reader is None:
            return []
        frames = [frame for packet in self._reader.feed(data) if (frame := self._take(packet))]
        if self._reader.broken:
            hint = "" if self._reader.garbage is not None else " (on another network, or no v2 peer)"
            self.broken = f"the peer broke the v2 transport: {self._reader.broken}{hint}"
        return frames

    def close(self) -> list[Frame]:
        return []

    def send(self, raw: bytes) -> None:
        """Send a message, given with its header as in v1; it waits until the peer's key has come.

        Raises FormatError for what no packet can hold.
        """
        if self._writer is None:
            pack(raw, self._numbers)
            self._waiting.append(raw)
            return
        for size in self.options.decoys_between:
            self._packet(bytes(size), decoy=True)
        self._packet(*pack(raw, self._numbers))

    def to_send(self) -> bytes:
        out, self._out = self._out, []
        data = out[0] if len(out) == 1 else b"".join(out)
        self._sent += len(data)
        return data

    def release(self) -> None:
        """Send the terminator that `hold_terminator` holds, and what waits behind it, once the peer's key is there."""
        self._held = False
        if self._agreed and self._writer is None:
            self._open(self._agreed)

    def _speaks_v1(self) -> bool:
        return self._head[4:V1_PREFIX_SIZE] == VERSION

    def _begin(self) -> bytes:
        """Agree on keys once the peer's key is whole; returns what follows it."""
        head = self._head
        if self._speaks_v1():
            self._head = head[:V1_PREFIX_SIZE]
            self.broken = f"the peer speaks v1 {_on(head[:4], self.network)}"
            return b""
        if len(head) < PUBLIC_SIZE:
            return b""
        self._head = head[:PUBLIC_SIZE]
        keys = self._agreed = derive(self._key, self._head, self.initiating, self.network.magic)
        self.session_id = keys.session_id
        self._reader = PacketReader(keys.responder if self.initiating else keys.initiator, self._commands,
                                    MAX_CONTENTS_LEN)
        if not self._held:
            self._open(keys)
        return head[PUBLIC_SIZE:]

    def _open(self, keys: SessionKeys) -> None:
        """Send our terminator, the version packet and what waited."""
        ours = keys.initiator if self.initiating else keys.responder
        self._out.append(_spoiled(ours.terminator) if self.options.wrong_terminator else ours.terminator)
        self._writer = PacketWriter(ours, self._garbage)
        for size in self.options.decoys_first:
            self._packet(bytes(size), decoy=True)
        self._packet()
        waiting, self._waiting = self._waiting, []
        for raw in waiting:
            self.send(raw)

    def _packet(self, *contents: bytes, decoy: bool = False) -> None:
        assert self._writer
        sealed = self._writer.packet(contents, decoy)
        self._out.append(_spoiled(sealed) if self._packets == self.options.wrong_tag else sealed)
        self._packets += 1

    def _take(self, packet: Packet) -> Frame | None:
        """The message of a packet, if there is one in it."""
        is_decoy, said, start, end = packet
        if is_decoy:
            self.decoys += 1
            return None
        if not self._version_came:
            self._version_came = True  # what a version packet says is left to later versions of BIP 324
            return None
        if said is None:
            self.dropped += 1
            return None
        command, payload = said
        return Frame(self.network.magic, message_name(command), command, len(payload), checksum(payload), payload,
                     start, end, "none")


class ResponderTransport:
    """What a node speaks to a peer that connects to it: v1 if the peer begins so, else v2.

    Nothing is sent before that is known. The parameters are those of `V2Transport`.

    :ivar v2: the transport, once it is known to be v2
    """

    def __init__(self, network: Network, ids: Ids, options: V2Options | None = None, random: Random | None = None,
                 on_key: OnKey | None = None) -> None:
        self.network = network
        self.v2: V2Transport | None = None
        self._ids, self._options, self._random, self._on_key = ids, options, random, on_key
        self._v1: V1Transport | None = None
        self._head = b""
        self._waiting: list[bytes] = []

    @property
    def _known(self) -> Transport | None:
        return self._v1 or self.v2

    @property
    def name(self) -> str:
        return self._known.name if self._known else ""

    try_v1 = False

    @property
    def handshake_done(self) -> bool:
        return self._known.handshake_done if self._known else False

    @property
    def held(self) -> int:
        return self._known.held if self._known else len(self._head)

    @property
    def broken(self) -> str:
        return self._known.broken if self._known else ""

    def receive(self, data: bytes) -> list[Frame]:
        if self._known is None:
            data = self._head = self._head + data
            prefix = self.network.magic + VERSION
            if prefix.startswith(data[:V1_PREFIX_SIZE]):
                if len(data) < V1_PREFIX_SIZE:
                    return []
                self._v1 = V1Transport(self.network)
            else:
                self.v2 = V2Transport(self.network, False, self._ids, self._options, self._random, self._on_key)
            self._head = b""
            waiting, self._waiting = self._waiting, []
            for raw in waiting:
                self.send(raw)
        assert self._known
        return self._known.receive(data)

    def close(self) -> list[Frame]:
        return self._known.close() if self._known else []

    def send(self, raw: bytes) -> None:
        if self._known:
            self._known.send(raw)
        else:
            self._waiting.append(raw)

    def to_send(self) -> bytes:
        return self._known.to_send() if self._known else b""


def _spoiled(data: bytes) -> bytes:
    """The same with another last byte."""
    return data[:-1] + bytes((data[-1] ^ 1,))


def _on(magic: bytes, ours: Network) -> str:
    """On which network a v1 peer is."""
    if magic == ours.magic:
        return f"on {ours.name}"
    known = by_magic(magic)
    other = known[0].name if known else f"a network with the magic {magic.hex()}"
    return f"on {other}, not {ours.name}"
