# SPDX-License-Identifier: GPL-2.0-or-later
"""The v1 envelope: magic, msgtype, length, checksum; one message, one `BTC` packet."""

from __future__ import annotations

import gc
import re
from typing import Any, Literal

from scapy.config import conf
from scapy.fields import Field, LEIntField, RawVal
from scapy.packet import Packet, Padding
from scapy.volatile import RandBin, RandChoice, VolatileValue

from ..errors import FormatError, UnknownNetwork
from ..networks import Network, all_networks, by_magic, by_name
from ..protocol import MAX_PROTOCOL_MESSAGE_LENGTH
from ..wire.hashes import checksum
from ..wire.header import (
    HEADER_SIZE,
    OLD_HEADER_SIZE,
    VERACK,
    is_plausible,
    is_well_formed,
    looks_like_old_version,
    message_name,
)
from .fields import as_bytes
from .plan import BROKEN
from .registry import BTCMessage, lookup, messages
from .undecoded import BTCMalformed, BTCUnknown, with_underlayer

conf.contribs.setdefault("bitcoin", {"network": "mainnet"})


def default_network() -> Network:
    """The network of packets that name none: `conf.contribs["bitcoin"]["network"]`, a name or a `Network`."""
    chosen = conf.contribs["bitcoin"]["network"]
    return chosen if isinstance(chosen, Network) else by_name(chosen)


EIGHT_DIGITS = re.compile("[0-9a-fA-F]{8}")


def four_bytes(name: str, number: int, order: Literal["little", "big"]) -> bytes:
    """The 4 bytes of the value of field `name`. Raises FormatError where they cannot hold it."""
    if not 0 <= number <= 0xFFFFFFFF:
        raise FormatError(f"{name} is a number of 4 bytes, not {number:#x}")
    return number.to_bytes(4, order)


class MagicField(Field[Any, Any]):
    """Four bytes; None means the default network.

    Accepted are a network or its name, Bitcoin Core's number for it (little-endian), and the bytes as 8 hex digits.
    """

    def __init__(self, name: str, default: Any) -> None:
        Field.__init__(self, name, default, "4s")

    def any2i(self, pkt: Any, x: Any) -> Any:
        if isinstance(x, list):
            return [self.any2i(pkt, v) for v in x]
        if isinstance(x, int):
            return four_bytes(self.name, x, "little")
        if isinstance(x, str):
            try:
                return by_name(x).magic
            except UnknownNetwork:
                if not EIGHT_DIGITS.fullmatch(x):
                    raise
                return bytes.fromhex(x)
        return x.magic if isinstance(x, Network) else as_bytes(x, self.name)

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
        return x.encode("latin-1") if isinstance(x, str) else as_bytes(x, self.name)

    def i2h(self, pkt: Any, x: Any) -> Any:
        return x.decode() if isinstance(x, bytes) and (not x or is_well_formed(x)) else x

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + bytes(val or b"").ljust(12, b"\0")

    def randval(self) -> VolatileValue[Any]:
        return RandChoice(*(cls.msgtype.encode() for cls in messages() if len(cls.msgtype) <= 12))


class ChecksumField(Field[Any, Any]):
    """The first four bytes of SHA256d(payload); `b""` where the header has none (before 2012), None computes it.

    Accepted are bytes, 8 hex digits, and the number that those write: 0xdeadbeef is sent as de ad be ef.
    """

    def __init__(self, name: str, default: Any) -> None:
        Field.__init__(self, name, default, "4s")

    def any2i(self, pkt: Any, x: Any) -> Any:
        if isinstance(x, list):
            return [self.any2i(pkt, v) for v in x]
        if isinstance(x, int):
            return four_bytes(self.name, x, "big")
        if isinstance(x, str):
            if not EIGHT_DIGITS.fullmatch(x):
                raise FormatError(f"{self.name} is 4 bytes, a number or 8 hex digits, not {x!r}")
            return bytes.fromhex(x)
        return as_bytes(x, self.name)

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s + (bytes(4) if val is None else bytes(val))

    def i2repr(self, pkt: Any, x: Any) -> str:
        if not isinstance(x, bytes):
            return repr(x)
        right = pkt.right_checksum()
        remark = "" if right is None else " (ok)" if x == right else f" (bad, should be {right.hex()})"
        return x.hex() + remark if x else "none"

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

    # Dissecting

    def do_dissect(self, s: bytes) -> bytes:
        old = has_old_header(s)
        size = OLD_HEADER_SIZE if old else HEADER_SIZE
        self.fields = {
            "magic": s[:4],
            "msgtype": s[4:16].rstrip(b"\0"),
            "length": int.from_bytes(s[16:20], "little"),
            "checksum": b"" if old else s[20:24],
        }
        self.raw_packet_cache, self.raw_packet_cache_fields = s[:size], {}
        self.explicit = 1
        return s[size:]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        return s[:self.length], s[self.length:]

    def do_dissect_payload(self, s: bytes) -> None:
        if self.stop_dissection_after and isinstance(self, self.stop_dissection_after):
            super().do_dissect_payload(s)
        else:
            self.add_payload(self.payload_of(s))

    def payload_of(self, s: bytes) -> Packet:
        """The layer for a payload, by the message's name; `s` may be shorter than the header says."""
        cls = lookup(message_name(self.fields["msgtype"]).decode("latin-1"))
        missing = self.length - len(s)
        if missing > 0:
            reason = f"{missing:,} of {self.length:,} payload bytes are missing"
            readable = cls.plan.failure(s, 0, len(s))[1] if cls else {}
            return BTCMalformed.of(s, reason, len(s), readable, self)
        if cls is None:
            return BTCUnknown(load=s, _internal=1, _underlayer=self)
        return dissected(cls, s, self)

    # Building

    def add_payload(self, payload: Packet | bytes) -> None:
        super().add_payload(payload)
        if isinstance(self.payload, BTCMessage):
            self.overloaded_fields = {"msgtype": self.payload.msgtype.encode()[:12]}

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        computed = {**self.overloaded_fields, "length": len(pay) & 0xFFFFFFFF, "checksum": checksum(pay)}
        header = b""
        for f in self.fields_desc:
            value = self.getfieldval(f.name)
            if value is None:
                value = computed.get(f.name)
            header = header + bytes(value) if isinstance(value, RawVal) else f.addfield(self, header, value)
        return header + pay

    # Looking

    def right_checksum(self) -> bytes | None:
        """The checksum of the payload; None where bytes of it are missing."""
        payload = self.payload.do_build()
        return None if isinstance(self.length, int) and self.length > len(payload) else checksum(payload)

    def mysummary(self) -> Any:
        magic, check = self.getfieldval("magic"), self.checksum
        network = by_magic(magic) if isinstance(magic, bytes) else (default_network(),)
        name = network[0].name if network else f"unknown network {magic.hex()}"
        bad = isinstance(check, bytes) and check and self.right_checksum() not in (None, check)
        return with_underlayer(self, f"BTC{'' if name == 'mainnet' else f' {name}'}{' bad checksum' if bad else ''}")

    def _command(self, json: bool = False) -> list[tuple[str, Any]]:
        commands = dict(super()._command(json))
        for name in ("magic", "checksum"):
            if json and isinstance(value := self.getfieldval(name), bytes):
                commands[name] = value.hex()
        return list(commands.items())

    # Matching

    def hashret(self) -> bytes:
        return b"BTC"

    def answers(self, other: Packet) -> int:
        request = other if isinstance(other, BTCMessage) else other.payload if isinstance(other, BTC) else None
        return int(request is not None and self.payload.answers(request))

    @classmethod
    def tcp_reassemble(cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """For Scapy's own `TCPSession` and `StreamSocket`: the first message as soon as it is whole.

        They lose and repeat messages where segments do; `BTCSession` and `BTCStreamSocket` do not.
        """
        if len(data) < HEADER_SIZE:
            metadata["tcp_min_len"] = HEADER_SIZE
            return None
        length = int.from_bytes(data[16:20], "little")
        if length > MAX_PROTOCOL_MESSAGE_LENGTH or not starts_message(data):
            return cls(data)
        end = length + (OLD_HEADER_SIZE if has_old_header(data) else HEADER_SIZE)
        if len(data) < end:
            metadata["tcp_min_len"] = end
            return None
        packet = cls(data[:end])
        if len(data) > end:
            packet.add_payload(Padding(data[end:]))
        return packet


LARGE, SWEEP = 1 << 16, 128 << 20
_unswept = 0


def sweep(size: int) -> None:
    """To be called for every packet of a live connection, with its bytes.

    A packet and its payload refer to each other, so only the garbage collector frees them, which counts objects and
    not bytes: a peer that sends, or asks for, large messages would fill gigabytes. So it is called after 128 MiB.
    """
    global _unswept
    if size > LARGE and gc.isenabled():
        _unswept += size
        if _unswept > SWEEP:
            _unswept = 0
            gc.collect()


def framed(raw: bytes) -> BTC:
    """The packet of bytes that are known to be a message, header and payload: also where neither its network nor its
    name tells, for which `BTC(raw)` is a `BTCMalformed`."""
    sweep(len(raw))
    packet: BTC = BTC(_internal=1)
    packet.original = raw
    packet.dissect(raw)
    return packet


def starts_message(s: bytes) -> bool:
    """Whether a header stands at the start: a known magic, or any magic with a name and a length as they must be."""
    if len(s) < HEADER_SIZE:
        return len(s) >= OLD_HEADER_SIZE and has_old_header(s)
    return bool(by_magic(s[:4])) or is_plausible(s, 0, s[:4])


def has_old_header(s: bytes) -> bool:
    """Whether a `version` or `verack` stands here with the 20-byte header of before February 2012."""
    command, length, rest = s[4:16], int.from_bytes(s[16:20], "little"), s[20:24]
    if command == VERACK and not length:
        return not rest or rest == s[:4]  # nothing follows, or the next message
    return len(rest) == 4 and looks_like_old_version(command, length, rest) and checksum(s[24:24 + length]) != rest


def dissected(cls: type[BTCMessage], s: bytes, underlayer: Packet | None = None) -> Packet:
    """The packet of a whole payload, or a `BTCMalformed` that says why it is none."""
    try:
        packet = cls(_internal=1, _underlayer=underlayer)
        packet.original = s
        packet.dissect(s)
        return packet
    except BROKEN:
        error, readable = cls.plan.failure(s, 0, len(s))
        return BTCMalformed.of(s, str(error), error.offset, readable, underlayer)
