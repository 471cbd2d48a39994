# SPDX-License-Identifier: GPL-2.0-or-later
"""The v1 envelope: magic, msgtype, length, checksum; one message, one `BTC` packet."""

from __future__ import annotations

import struct
from typing import Any

from scapy.config import conf
from scapy.fields import Field, LEIntField
from scapy.packet import Packet, Padding
from scapy.volatile import RandBin, RandChoice, VolatileValue

from ..networks import Network, all_networks, by_magic, by_name
from ..protocol import MAX_PROTOCOL_MESSAGE_LENGTH
from ..wire.hashes import checksum
from .fields import as_bytes
from .plan import BROKEN
from .registry import BTCMessage, lookup, messages
from .undecoded import BTCMalformed, BTCUnknown

HEADER = 24
OLD_HEADER = 20
"""Bytes of the header; before February 2012 `version` and `verack` had no checksum."""

conf.contribs.setdefault("bitcoin", {"network": "mainnet"})


def default_network() -> Network:
    """The network of packets that name none: `conf.contribs["bitcoin"]["network"]`, a name or a `Network`."""
    chosen = conf.contribs["bitcoin"]["network"]
    return chosen if isinstance(chosen, Network) else by_name(chosen)


class MagicField(Field[Any, Any]):
    """Four bytes; a network's name is accepted, None means the default network."""

    def __init__(self, name: str, default: Any) -> None:
        Field.__init__(self, name, default, "4s")

    def any2i(self, pkt: Any, x: Any) -> Any:
        if isinstance(x, str):
            return by_name(x).magic
        return x.magic if isinstance(x, Network) else as_bytes(x)

    def i2m(self, pkt: Any, x: Any) -> bytes:
        return default_network().magic if x is None else bytes(x)

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + self.i2m(pkt, val)

    def i2repr(self, pkt: Any, x: Any) -> str:
        if x is not None and not isinstance(x, bytes):
            return repr(x)
        found = by_magic(self.i2m(pkt, x))
        return f"{self.i2m(pkt, x).hex()} ({found[0].name if found else 'unknown network'})"

    def randval(self) -> VolatileValue[Any]:
        return RandChoice(*{network.magic for network in all_networks()})


class MsgTypeField(Field[Any, Any]):
    """The name of the message: ASCII, padded with zeros to 12 bytes.

    A str where the 12 bytes are a well-formed name, else those bytes; bytes and longer names are sent as given.
    """

    def __init__(self, name: str, default: Any) -> None:
        Field.__init__(self, name, default, "12s")

    def any2i(self, pkt: Any, x: Any) -> Any:
        return x.encode("latin-1") if isinstance(x, str) else as_bytes(x)

    def i2h(self, pkt: Any, x: Any) -> Any:
        return readable_name(x) if isinstance(x, bytes) else x

    def i2repr(self, pkt: Any, x: Any) -> str:
        return repr(self.i2h(pkt, x))

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + bytes(val or b"").ljust(12, b"\0")

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, bytes]:
        name = s[:12].rstrip(b"\0")
        return s[12:], name

    def randval(self) -> VolatileValue[Any]:
        return RandChoice(*(cls.msgtype.encode() for cls in messages() if len(cls.msgtype) <= 12))


def readable_name(command: bytes) -> str | bytes:
    """A command field as text, or as it is where it breaks the rules (printable ASCII, then zeros)."""
    name = command.rstrip(b"\0")
    return name.decode() if name.isascii() and name.decode().isprintable() else command


class ChecksumField(Field[Any, Any]):
    """The first four bytes of SHA256d(payload); `b""` where the header has none (before 2012), None computes it."""

    def __init__(self, name: str, default: Any) -> None:
        Field.__init__(self, name, default, "4s")

    def any2i(self, pkt: Any, x: Any) -> Any:
        return as_bytes(x)

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + (bytes(4) if val is None else bytes(val))

    def i2repr(self, pkt: Any, x: Any) -> str:
        if not isinstance(x, bytes):
            return repr(x)
        return x.hex() + pkt.checksum_remark() if x else "none"

    def randval(self) -> VolatileValue[bytes]:
        return RandBin(4)


class BTC(Packet):
    """A Bitcoin message: the 24-byte header of the v1 transport, and its payload.

    `magic`, `msgtype`, `length` and `checksum` are computed where they are None. Dissecting never raises: a payload
    that cannot be read is a `BTCMalformed`, an unknown one a `BTCUnknown`.
    """

    name = "BTC"
    fields_desc = [
        MagicField("magic", None),
        MsgTypeField("msgtype", None),
        LEIntField("length", None),
        ChecksumField("checksum", None),
    ]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *args: Any, **kwargs: Any) -> type[Packet]:
        """`BTCMalformed` for bytes in which no message starts."""
        if _pkt and not starts_message(bytes(_pkt)):
            return BTCMalformed
        return cls

    def do_dissect(self, s: bytes) -> bytes:
        old = has_old_header(s)
        size = OLD_HEADER if old else HEADER
        self.fields = {
            "magic": s[:4],
            "msgtype": s[4:16].rstrip(b"\0"),
            "length": struct.unpack_from("<I", s, 16)[0],
            "checksum": b"" if old else s[20:24],
        }
        self.raw_packet_cache, self.raw_packet_cache_fields = s[:size], {}
        self.explicit = 1
        return s[size:]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        return s[:self.length], s[self.length:]

    def do_dissect_payload(self, s: bytes) -> None:
        self.add_payload(self.payload_of(s))

    def payload_of(self, s: bytes) -> Packet:
        """The layer for a payload, by the message's name; `s` may be shorter than the header says."""
        cls = lookup(self.msgtype) if isinstance(self.msgtype, str) else None
        missing = self.length - len(s)
        if missing > 0:
            reason = f"{missing:,} of {self.length:,} payload bytes are missing"
            _, readable = cls.plan.failure(s, 0, len(s)) if cls else (None, {})
            return BTCMalformed.of(s, reason, len(s), readable, self)
        if cls is None:
            return BTCUnknown(load=s, _internal=1, _underlayer=self)
        return dissected(cls, s, self)

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        msgtype, length, check = (self.getfieldval(name) for name in ("msgtype", "length", "checksum"))
        if msgtype is None and isinstance(self.payload, BTCMessage):
            pkt = pkt[:4] + self.payload.msgtype.encode()[:12].ljust(12, b"\0") + pkt[16:]
        head = 4 + max(12, len(msgtype or b""))
        if length is None:
            pkt = pkt[:head] + struct.pack("<I", len(pay) & 0xFFFFFFFF) + pkt[head + 4:]
        if check is None:
            pkt = pkt[:head + 4] + checksum(pay) + pkt[head + 8:]
        return pkt + pay

    def checksum_remark(self) -> str:
        """What a reader of the checksum wants to know of it."""
        right = checksum(self.payload.do_build())
        return " (ok)" if self.checksum == right else f" (bad, should be {right.hex()})"

    def hashret(self) -> bytes:
        return b"BTC"

    def answers(self, other: Packet) -> int:
        return int(isinstance(other, BTC) and self.payload.answers(other.payload))

    def mysummary(self) -> Any:
        bad = isinstance(self.checksum, bytes) and self.checksum and self.checksum_remark().startswith(" (bad")
        magic = self.getfieldval("magic")
        network = by_magic(magic) if isinstance(magic, bytes) else (default_network(),)
        names = "" if network and network[0].name == "mainnet" else f" {network[0].name if network else magic.hex()}"
        return f"BTC{names}{' bad checksum' if bad else ''}", [type(self.payload)]

    @classmethod
    def tcp_reassemble(cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """For Scapy's own `TCPSession` and `StreamSocket`: the first message as soon as it is whole.

        They lose and repeat messages where segments do; `BTCSession` and `BTCStreamSocket` do not.
        """
        if len(data) < HEADER and not (len(data) >= OLD_HEADER and has_old_header(data)):
            metadata["tcp_min_len"] = HEADER
            return None
        length = struct.unpack_from("<I", data, 16)[0]
        if length > MAX_PROTOCOL_MESSAGE_LENGTH or not by_magic(data[:4]):
            return cls(data)
        end = length + (OLD_HEADER if has_old_header(data) else HEADER)
        if len(data) < end:
            metadata["tcp_min_len"] = end
            return None
        packet = cls(data[:end])
        if len(data) > end:
            packet.add_payload(Padding(data[end:]))
        return packet


def starts_message(s: bytes) -> bool:
    """Whether a header stands at the start: known magic, or a name as names must be."""
    if len(s) < HEADER:
        return len(s) >= OLD_HEADER and has_old_header(s)
    name = s[4:16].rstrip(b"\0")
    return bool(by_magic(s[:4])) or (bool(name) and 0 not in name and isinstance(readable_name(name), str))


def has_old_header(s: bytes) -> bool:
    """Whether a `version` or `verack` stands here with the 20-byte header of before February 2012."""
    if s[4:16] == b"verack\0\0\0\0\0\0" and s[16:20] == bytes(4):
        return len(s) == OLD_HEADER or (bool(by_magic(s[20:24])) and s[20:24] == s[:4])
    if s[4:16] == b"version\0\0\0\0\0" and len(s) >= HEADER:
        length, version = struct.unpack_from("<Ii", s, 16)
        return 105 <= version <= 70099 and checksum(s[HEADER:HEADER + length]) != s[20:24] and length >= 46
    return False


def dissected(cls: type[BTCMessage], s: bytes, underlayer: Packet | None = None) -> Packet:
    """The packet of a whole payload, or a `BTCMalformed` that says why it is none."""
    try:
        packet = cls(_internal=1, _underlayer=underlayer)
        packet.fields = {}
        packet.original = s
        packet.dissect(s)
        return packet
    except BROKEN:
        error, readable = cls.plan.failure(s, 0, len(s))
        return BTCMalformed.of(s, str(error), error.offset, readable, underlayer)

