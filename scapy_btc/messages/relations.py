# SPDX-License-Identifier: GPL-2.0-or-later
"""What may come when: the order of the handshake, as one side of a connection keeps it or not."""

from __future__ import annotations

from enum import Enum, auto

from ..layers.registry import lookup


class _Said(Enum):
    NOTHING = auto()
    VERSION = auto()
    VERACK = auto()
    UNKNOWN = auto()
    """The beginning was not captured."""


class HandshakeOrder:
    """Follows the messages that one side sends; says what comes out of order.

    Where the first message seen is no `version` the beginning is not known, and nothing is said.
    """

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said = _Said.NOTHING

    def finding(self, msgtype: str) -> str | None:
        """The code for the next message of this side, None when it may come now."""
        said = self._said
        if said is _Said.UNKNOWN:
            return None
        if said is _Said.NOTHING:
            self._said = _Said.VERSION if msgtype == "version" else _Said.UNKNOWN
            return None
        if msgtype == "version":
            return "repeated-handshake"
        if msgtype == "verack":
            self._said = _Said.VERACK
            return "repeated-handshake" if said is _Said.VERACK else None
        cls = lookup(msgtype)
        if cls is None:
            return None
        if said is _Said.VERSION:
            return None if cls.before_verack is not False else "before-verack"
        return "after-verack" if cls.before_verack else None
