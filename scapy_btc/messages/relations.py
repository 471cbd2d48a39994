# SPDX-License-Identifier: GPL-2.0-or-later
"""What may come when: the order that one side of a connection has to keep in the handshake."""

from __future__ import annotations

from ..layers.registry import lookup


def out_of_order(said: str | None, msgtype: str) -> str | None:
    """The code of what is wrong with a message at its place, None when it may come there.

    :param said: what its sender had said before on the connection: "version", "verack" (and "version" before it), ""
        for nothing; None when the beginning was not captured
    """
    if not said:
        return None
    if msgtype == "version" or msgtype == said:
        return "repeated-handshake"
    cls = lookup(msgtype)
    if cls is None or msgtype == "verack":
        return None
    if said == "version":
        return "before-verack" if cls.before_verack is False else None
    return "after-verack" if cls.before_verack else None
