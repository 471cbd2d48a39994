# SPDX-License-Identifier: GPL-2.0-or-later
"""What an encrypted packet may be, from its size alone: a guess, and never more.

Nodes write a message with one call, and TCP marks its end (PSH). Where such marks are seen, a write that is as large as
a packet with a message of a certain kind may be one. It may be another, a decoy, or several packets.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

OVERHEAD = 20
"""Bytes of a packet beside its contents: length, header, tag (BIP 324)."""
LONG = 13
"""Bytes of contents before the payload of a message that has no one-byte id."""
OPENING = 2
"""Writes that belong to the key exchange: key and garbage, then terminator, version packet and what follows them."""
MOST = 2000
"""Entries that are thought of in a list."""

OF_ONE_SIZE = ("ping", "pong", "feefilter", "sendcmpct", "verack", "getaddr", "sendheaders", "sendaddrv2", "wtxidrelay",
               "sendtxrcncl", "mempool", "filterclear")
OF_EQUAL_PARTS = {"inv": "inventory", "getdata": "inventory", "notfound": "inventory", "headers": "headers",
                  "getheaders": "locator"}
"""Lists, and the field that holds them."""


@lru_cache(maxsize=1)
def sizes() -> dict[int, str]:
    """What a packet of so many bytes may be, in words; sizes that say nothing are not there."""
    from ..messages.catalogue import catalogue

    found: dict[int, list[str]] = {}
    for cls in catalogue():
        before = OVERHEAD + (1 if cls.short_id else LONG)
        if cls.msgtype in OF_ONE_SIZE:
            found.setdefault(before + len(bytes(cls())), []).append(cls.msgtype)
        elif cls.msgtype in OF_EQUAL_PARTS:
            for count, size in enumerate(list_sizes(cls, OF_EQUAL_PARTS[cls.msgtype]), 1):
                found.setdefault(before + size, []).append(f"{cls.msgtype} of {count}")
    return {size: ", ".join(names) for size, names in found.items()}


def list_sizes(cls: Any, field: str) -> list[int]:
    """Payload bytes of a message whose list has 1, 2, 3 ... entries: from the declaration, by building some."""
    entry: Any = bytes(32) if field == "locator" else next(f for f in cls.fields_desc if f.name == field).cls()
    one, two = (len(bytes(cls(**{field: [entry] * n}))) for n in (1, 2))
    wide = [0 if n < 0xFD else 2 for n in range(1, MOST + 1)]  # the count takes more bytes
    return [one + (two - one) * n + more for n, more in enumerate(wide)]


class Writes:
    """The writes of one direction."""

    def __init__(self) -> None:
        self._count = 0
        self._size = 0  # bytes of the write that has begun
        self._sure = True  # its beginning was seen

    def add(self, size: int, pushed: bool | None) -> tuple[int, str] | None:
        """Take a segment; bytes of the write that ends with it, and what that may be.

        :param pushed: whether it is the end of a write; None: nobody knows
        """
        self._size += size
        if pushed is None:
            self._sure = False
        if not pushed:
            return None
        whole, sure = self._size, self._sure
        self._size, self._sure = 0, True
        self._count += 1
        if not sure or self._count <= OPENING or whole not in sizes():
            return None
        return whole, f"perhaps {sizes()[whole]}: a packet of that size"
