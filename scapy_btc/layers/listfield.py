# SPDX-License-Identifier: GPL-2.0-or-later
"""What all fields share that hold lists."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from scapy.fields import Field
from scapy.volatile import VolatileValue

from .fields import WireField
from .plan import SHORT
from .writer import Writer

SHOWN = 100
"""Elements of a list that `show()` and `repr()` print before they say how many more there are."""

TO_END = "to end"
"""The `count` of a list that has none: it goes on to the end of the payload."""


class Unset(tuple[()]):
    """The default of a field whose value is made when first looked at.

    Scapy copies a list or Packet default into every new packet, where it wins over the random default that `fuzz()`
    sets; this one it leaves alone.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "made when looked at"


UNSET = Unset()


def shown(values: Any, text: Callable[[Any], str]) -> str:
    """A list as one line, not longer than a reader wants it."""
    if not isinstance(values, (list, tuple)):
        return repr(values)
    more = [f"... {len(values) - SHOWN:,} more"] if len(values) > SHOWN else []
    return f"[{', '.join([*map(text, values[:SHOWN]), *more])}]"


class ListField(WireField):
    """A list whose length field `count` gives (by default `NAME_count`).

    A list that is assigned is copied (its packets are not): two packets never share one.
    """

    islist = 1
    __slots__ = ["uses"]

    def __init__(self, name: str, count: str | None = None) -> None:
        Field.__init__(self, name, UNSET, "0s")
        self.uses = () if count == TO_END else (count or f"{name}_count",)

    def fresh(self, pkt: Any) -> list[Any]:
        return []

    def i2count(self, pkt: Any, x: Any) -> int:
        return len(x) if isinstance(x, (list, tuple)) else 1

    def i2repr(self, pkt: Any, x: Any) -> str:
        return shown(x, repr)

    def do_copy(self, x: Any) -> Any:
        return list(x) if isinstance(x, list) else x

    def any2i(self, pkt: Any, x: Any) -> Any:
        if isinstance(x, (VolatileValue, Unset)):
            return x
        values = self.fresh(pkt)
        values += [] if x is None else [self.any2element(pkt, v) for v in (x if isinstance(x, (list, tuple)) else [x])]
        return values

    def any2element(self, pkt: Any, x: Any) -> Any:
        return x

    def element_size(self) -> int | None:
        """Bytes that every element takes, where that is one number."""
        return None

    def _count(self, w: Writer, size: int) -> str:
        """The number of elements, which take `size` bytes each."""
        if self.uses:
            return w.vars[self.uses[0]]
        w.flush()
        return f"max(0, (e - p) // {size})"

    def _check(self, w: Writer, size: int) -> str:
        """Code that sets a local to the end of elements of a fixed size, and knows that they are all there."""
        q = w.new("q")
        w.line(f"{q} = p + {size} * {self._count(w, size)}")
        w.line(f"if {q} > e: {SHORT}")
        return q

    def _each(self, w: Writer) -> AbstractContextManager[None]:
        """A loop over the elements."""
        size = self.element_size()
        if self.uses or size:
            return w.block(f"for _ in range({self._count(w, size or 1)}):")
        return w.block("while p < e:")

    def emit_list_into(self, w: Writer, target: str) -> None:
        """Code that fills a list in place, so that what was read is there when the rest is not."""
        add, size = w.new("add"), self.element_size()
        w.line(f"{target} = []")
        if size is not None and w.mode != "trace":
            self._check(w, size)  # slices do not notice the end of the buffer
        w.line(f"{add} = {target}.append")
        with self._each(w):
            expression = self.emit_element(w)
            if w.mode == "trace":
                w.line("if p > e: " + SHORT)
            w.line(f"{add}({expression})")

    def emit_plain(self, w: Writer) -> str:
        v = w.vars[self.name] = w.new("l")
        self.emit_list_into(w, v)
        return v

    def emit_element(self, w: Writer) -> str:
        """Code that reads one element; the expression of its record value."""
        raise NotImplementedError
