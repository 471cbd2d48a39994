# SPDX-License-Identifier: GPL-2.0-or-later
"""Measuring two ways to do the same work, in turn."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison.

    :ivar ours: seconds of our side
    :ivar peer: seconds of the peer
    :ivar unit: of both, where it is not seconds
    :ivar wanted: the ratio that the design asks for
    :ivar faster: True where `peer / ours` is to be at least `wanted`; False where `ours / peer` is to be at most that
    """

    work: str
    ours: float
    peer: float
    wanted: float
    faster: bool = True
    unit: str = "s"

    @property
    def ratio(self) -> float:
        return self.peer / self.ours if self.faster else self.ours / self.peer

    @property
    def reached(self) -> bool:
        return self.ratio >= self.wanted if self.faster else self.ratio <= self.wanted

    def line(self) -> str:
        bound = f"{'>=' if self.faster else '<='} {self.wanted:g}"
        mark = "" if self.reached else "  MISSED"
        ours, peer = self.amount(self.ours), self.amount(self.peer)
        return f"{self.work:<62} {ours:>10} {peer:>10} {self.ratio:>9.4g} {bound:>9}{mark}"

    def amount(self, value: float) -> str:
        """A measured value with its unit."""
        if self.unit != "s":
            return f"{value:.0f} {self.unit}"
        return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.2f} ms"


def in_turn(ours: Callable[[], Any], peer: Callable[[], Any], rounds: int = 5) -> tuple[float, float]:
    """Medians in seconds of both sides, run alternately so that the machine's moods meet both."""
    first: list[float] = []
    second: list[float] = []
    for _ in range(rounds):
        for work, times in ((ours, first), (peer, second)):
            gc.collect()  # what the other side left behind
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return median(first), median(second)


def median_of(work: Callable[[], Any], rounds: int) -> float:
    """The median of so many runs, in seconds: for work so long that taking turns would not matter."""
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return median(times)
