# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said on a connection, with its bytes, on standard error."""

from __future__ import annotations

import sys
from typing import Any

from ..capture.message import Message
from ..text import format_time
from .printing import Printer, use_colour


class Dump(Printer):
    """Prints messages as they go (`->`) and come (`<-`).

    :param ours: our end
    """

    def __init__(self, ours: str) -> None:
        super().__init__(sys.stderr, hexdump=True, colour=use_colour(sys.stderr))
        self.ours = ours

    def __call__(self, message: Message) -> None:
        self.message(message, self.findings(message))

    def where(self, item: Any) -> str:
        sent = item.source == self.ours
        arrow, peer = ("->", item.destination) if sent else ("<-", item.source)
        if self.colour:
            arrow = f"\x1b[1;{'34' if sent else '32'}m{arrow}\x1b[0m"
        return f"{format_time(item.time_ns)[11:26]} {arrow} {peer}"
