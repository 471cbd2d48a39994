# SPDX-License-Identifier: GPL-2.0-or-later
"""Which class belongs to which message name; everything that lists messages reads it here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from scapy.packet import Packet

from .packet import BTCPacket
from .plan import BROKEN
from .undecoded import BTCTrailing, with_underlayer

ACTIVE, OPTIONAL, HISTORIC, PROPOSED, NEVER = "active", "optional", "historic", "proposed", "never deployed"
"""What became of a message, as protocol references say it."""

_messages: dict[str, type[BTCMessage]] = {}


class BTCMessage(BTCPacket):
    """A message: what follows the envelope. Declaring a subclass with a `msgtype` registers it.

    :cvar msgtype: the name on the wire; ending in `*` it stands for all names that begin so
    :cvar short_id: its one-byte id in the encrypted transport (BIP 324), if it has one
    :cvar bip: where it is specified
    :cvar since: the protocol version that introduced it
    :cvar status: what became of it
    :cvar answered_by: names of the messages that answer it
    :cvar echoes: names of the fields that it copies from the request it answers
    :cvar before_verack: True for what is agreed between `version` and `verack` and must not come later; None for what
        may come at any time after `version`
    """

    msgtype: ClassVar[str] = ""
    short_id: ClassVar[int | None] = None
    bip: ClassVar[str | None] = None
    since: ClassVar[int | None] = None
    status: ClassVar[str] = ACTIVE
    answered_by: ClassVar[tuple[str, ...]] = ()
    echoes: ClassVar[tuple[str, ...]] = ()
    before_verack: ClassVar[bool | None] = False

    @classmethod
    def register_variant(cls) -> None:
        """Scapy calls this for every new subclass."""
        if name := cls.__dict__.get("msgtype"):
            _messages[name] = cls

    def extract_padding(self, s: bytes) -> tuple[bytes, None]:
        return s, None

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        return BTCTrailing

    @classmethod
    def describe(cls, v: Mapping[str, Any], payload: bytes) -> str:
        """What matters of a message in one line.

        :param v: its record; lists are sequences that are read when looked at
        :param payload: the bytes that the record is of
        """
        return ""

    @classmethod
    def derive(cls, payload: bytes) -> dict[str, Any]:
        """What is not on the wire but follows from it: txid, wtxid, block_hash.

        :param payload: a payload that can be read; bytes after its last field do not count
        """
        return {}

    def mysummary(self) -> Any:
        name = getattr(self.underlayer, "msgtype", None)
        known = isinstance(name, str) and lookup(name) is type(self)
        return with_underlayer(self, summary_line(type(self), self.self_build(), name if known else None))

    def hashret(self) -> bytes:
        return b"BTC"  # as the envelope: a socket may put it around a message that is sent

    def answers(self, other: Packet) -> int:
        return int(self.msgtype in getattr(other, "answered_by", ()) and self.belongs_to(other))

    def belongs_to(self, request: Any) -> bool:
        """Whether this message, of the right type, answers just that request."""
        return all(self.getfieldval(name) == request.getfieldval(name) for name in self.echoes)


def summary_line(cls: type[BTCMessage], payload: bytes, msgtype: str | None = None) -> str:
    """`msgtype` and what matters of the payload, printable; the name alone where it cannot be read.

    :param msgtype: the name on the wire, where the class may stand for several
    """
    name = printable(msgtype or cls.msgtype)
    try:
        text = cls.describe(cls.plan.view(payload, 0, len(payload))[0], payload)
    except BROKEN:
        text = ""
    return f"{name} {printable(text)}" if text else name


def printable(text: str) -> str:
    """A text of somebody else's that must not break the line or steer the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lookup(msgtype: str) -> type[BTCMessage] | None:
    """The class of a message name; None when no such message is known."""
    found = _messages.get(msgtype)
    if found is None and msgtype[:1] == "_":
        found = _messages.get("_*")
    return found


def messages() -> Iterator[type[BTCMessage]]:
    """Every registered message class, in the order of declaration."""
    return iter(list(_messages.values()))
