# SPDX-License-Identifier: GPL-2.0-or-later
"""Where fields write the code that reads them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAME = re.compile(r"[A-Za-z_]\w*")


class Writer:
    """The lines of one generated function, its constants, and which local holds which field."""

    def __init__(self, mode: str, namespace: dict[str, Any]) -> None:
        self.mode, self.space = mode, namespace
        self.lines: list[str] = []
        self.depth, self.count = 1, 0
        self.pending, self.moves = 0, list[str]()
        self.vars: dict[str, str] = {}
        self.top, self.last = True, False

    def line(self, text: str) -> None:
        self.flush()
        self.lines.append("    " * self.depth + text)

    def flush(self) -> None:
        """Write the bytes skipped so far as one addition."""
        if self.pending or self.moves:
            terms = " + ".join([*self.moves, str(self.pending)] if self.pending else self.moves)
            self.pending = 0
            self.moves.clear()  # in place: who appends to it may have flushed it to make what gets appended
            self.lines.append("    " * self.depth + f"p += {terms}")

    def offset(self) -> int:
        """Constant bytes skipped but not yet added to `p`; what is not constant is added now."""
        if self.moves:
            self.flush()
        offset, self.pending = self.pending, 0
        return offset

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(head)
        self.depth += 1
        size = len(self.lines)
        yield
        self.flush()
        if len(self.lines) == size:
            self.line("pass")
        self.depth -= 1

    def new(self, hint: str = "v") -> str:
        self.count += 1
        return f"{hint}{self.count}"

    def const(self, value: Any, hint: str = "K") -> str:
        for name, known in self.space.items():
            if known is value:
                return name
        name = f"{hint}_{len(self.space)}"
        self.space[name] = value
        return name

    def unpack(self, codes: str) -> str:
        name = f"U_{codes}"
        self.space.setdefault(name, struct.Struct("<" + codes).unpack_from)
        return name

    def expression(self, text: str) -> str:
        """A condition over field names, over locals."""
        return NAME.sub(lambda m: self.vars.get(m[0], m[0]), text)
