# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that do not begin as v1: what their two directions show together.

With a key log, the first bytes of both directions are kept until it has the key of one end. Without, only the 64 bytes
are kept with which each direction begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .guess import Writes

if TYPE_CHECKING:
    from ..bip324.keylog import KeyLog
    from ..bip324.passive import V2Decoder
    from .streams import StreamReceiver

KEY_SIZE = 64
MAX_GARBAGE = 4095
HELD = 1 << 16
"""Bytes of a direction that are kept at most. Nodes send 4,159 before the other end's key must have come."""
MANY_VALUES = 45
"""Different values among 64 random bytes: fewer come once in a million times."""


@dataclass
class Side:
    """One direction of a connection, as far as it was seen."""

    receiver: StreamReceiver | None
    """None when it is over."""
    size: int = 0
    """Bytes that came."""
    opening: bytearray = field(default_factory=bytearray)
    """The first of them, without a hole: as many as may be needed."""
    torn: bool = False
    """There is a hole after the opening, or more came than is kept."""
    ahead: bool = False
    """It sent more than may be sent before the other end's key has come."""
    writes: Writes = field(default_factory=Writes)

    def tear(self) -> None:
        """Keep nothing more."""
        self.torn = True
        del self.opening[KEY_SIZE:]

    @property
    def looks_random(self) -> bool:
        """Whether its first 64 bytes can be a public key."""
        return len(set(self.opening[:KEY_SIZE])) >= MANY_VALUES and not self.looks_like_tls

    @property
    def looks_like_tls(self) -> bool:
        return self.opening.startswith(b"\x16\x03")


class Conversation:
    """Both directions of a connection, the first that was seen first.

    :param keylog: where keys are looked up; None: only the shape is looked at
    :param magics: of the networks that the connection may be of
    """

    def __init__(self, keylog: KeyLog | None, magics: Sequence[bytes]) -> None:
        self.sides: list[Side] = []
        self._unlocker = None
        self._kept = KEY_SIZE if keylog is None else HELD
        if keylog is not None:
            from ..bip324.passive import Unlocker

            self._unlocker = Unlocker(keylog.lookup, magics)

    def join(self, receiver: StreamReceiver) -> Side:
        """A direction's part in it."""
        self.sides.append(Side(receiver))
        return self.sides[-1]

    def feed(self, side: Side, data: bytes) -> list[V2Decoder] | None:
        """Take bytes of a direction; a decoder for each side when they show the keys."""
        side.size += len(data)
        other = next((other for other in self.sides if other is not side), None)
        if side.size > KEY_SIZE + MAX_GARBAGE and (other is None or other.size < KEY_SIZE):
            side.ahead = True
        if side.torn:
            return None
        room = self._kept - len(side.opening)
        side.opening += data[:room]
        found = self._unlock() if other and self._unlocker else None
        if len(data) > room or (found is None and not self._is_worth_keeping()):
            side.tear()
        return found

    def _is_worth_keeping(self) -> bool:
        """Whether a key may still be found: a program may write it late. An odd key is found at once, or never."""
        if self._unlocker is None or self._unlocker.has_key or len(self.sides) < 2:
            return True
        return any(side.size < KEY_SIZE for side in self.sides) or all(side.looks_random for side in self.sides)

    @property
    def has_key(self) -> bool:
        """Whether the key log has the key of an end."""
        return self._unlocker is not None and self._unlocker.has_key

    def _unlock(self) -> list[V2Decoder] | None:
        found = self._unlocker and self._unlocker.unlock([side.opening for side in self.sides])
        if not found:
            return None
        from ..bip324.passive import V2Decoder
        from ..messages.catalogue import short_ids

        keys, magic, initiator = found
        return [V2Decoder(keys, magic, number == initiator, short_ids()) for number in (0, 1)]

    @property
    def reason(self) -> str:
        """Why nothing can be read, in words."""
        doubt = self.doubt()
        if self.has_key and self._unlocker:
            return f"v2, {self._unlocker.reason}"
        if doubt:
            return f"v2, or another protocol: {doubt}"
        return f"v2 by the shape of its handshake, {self._unlocker.reason if self._unlocker else 'no key log'}"

    def doubt(self) -> str:
        """What speaks against v2, or leaves it open; "" when the handshake has its shape.

        That is: both ends begin with 64 bytes that look random, and neither sends more than its garbage before it can
        have the other's key.
        """
        if len(self.sides) < 2:
            return "one direction only"
        if any(side.size < KEY_SIZE for side in self.sides):
            return f"fewer than {KEY_SIZE} bytes one way"
        if any(side.ahead for side in self.sides):
            return f"more than {KEY_SIZE + MAX_GARBAGE:,} bytes before the other end said {KEY_SIZE}"
        if any(side.looks_like_tls for side in self.sides):
            return "it begins as TLS does"
        if not all(side.looks_random for side in self.sides):
            return "it does not begin with random bytes"
        return ""
