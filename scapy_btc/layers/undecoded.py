# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers for bytes that are no message we can read: each keeps them exactly and says what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scapy.fields import Field, StrField
from scapy.packet import Packet

from ..text import plural
from .fields import as_bytes


class NoteField(Field[Any, Any]):
    """Says something about the packet; takes no bytes."""

    def __init__(self, name: str, default: Any) -> None:
        Field.__init__(self, name, default, "0s")

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        return s

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        return s, self.default

    def i2len(self, pkt: Any, x: Any) -> int:
        return 0

    def i2repr(self, pkt: Any, x: Any) -> str:
        text = repr(x)
        return text if len(text) <= 2000 else f"{text[:2000]}... ({len(text):,} characters)"

    def randval(self) -> Any:
        return None


class LoadField(StrField):
    """All the bytes."""

    def any2i(self, pkt: Any, x: Any) -> Any:
        return as_bytes(x, self.name)

    def i2repr(self, pkt: Any, x: Any) -> str:
        if not isinstance(x, bytes):
            return repr(x)
        return x.hex() if len(x) <= 64 else f"{x[:64].hex()}... ({len(x):,} bytes)"


def with_underlayer(packet: Packet, text: str) -> tuple[str, list[type[Packet]]]:
    """What `mysummary()` returns, so that Scapy asks the layer below too: by itself it asks only the topmost."""
    return text, [type(packet.underlayer)] if packet.underlayer is not None else []


def size_of(load: bytes) -> str:
    return f"{len(load)} {plural(len(load), 'byte')}"


class _Undecoded(Packet):
    fields_desc = [LoadField("load", b"")]

    def answers(self, other: Packet) -> int:
        return 0

    def mysummary(self) -> Any:
        return with_underlayer(self, f"{self._name} ({size_of(self.load)})")


class BTCUnknown(_Undecoded):
    """The payload of a message whose name nobody registered."""

    name = "BTC unknown message"

    def mysummary(self) -> Any:
        msgtype = getattr(self.underlayer, "msgtype", None) or "nameless message"
        name = msgtype if isinstance(msgtype, str) else msgtype.hex()
        return with_underlayer(self, f"{name} (unknown, {size_of(self.load)})")


class BTCMalformed(_Undecoded):
    """A message that is known but broken, or bytes that are no whole message; all of them are kept.

    `reason` says why it cannot be read, `offset` where (bytes from its start), `readable` is the record of what could.
    """

    name = "BTC malformed"
    fields_desc = [
        NoteField("reason", ""),
        NoteField("offset", 0),
        NoteField("readable", None),
        LoadField("load", b""),
    ]

    def do_dissect(self, s: bytes) -> bytes:
        rest = super().do_dissect(s)
        self.fields["reason"] = f"no message starts in these {len(s):,} bytes"
        return rest

    @classmethod
    def of(cls, load: bytes, reason: str, offset: int = 0, readable: Mapping[str, Any] | None = None,
           underlayer: Packet | None = None) -> BTCMalformed:
        """The layer for `load`, which a dissector could not read."""
        made: BTCMalformed = cls(_internal=1, _underlayer=underlayer, reason=reason, offset=offset,
                                 readable=dict(readable) if readable else None, load=load)
        made.explicit = 1
        return made

    def mysummary(self) -> Any:
        msgtype = getattr(self.underlayer, "msgtype", None) or ""
        return with_underlayer(self, f"{msgtype} malformed: {self.reason} ({size_of(self.load)})".lstrip())


class BTCTrailing(_Undecoded):
    """Bytes after the last field of a message; Bitcoin Core ignores them."""

    name = "BTC trailing bytes"


class BTCEncrypted(_Undecoded):
    """Bytes of an encrypted connection (BIP 324) for which there is no key."""

    name = "BTC encrypted"
