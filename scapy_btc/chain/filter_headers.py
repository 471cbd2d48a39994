# SPDX-License-Identifier: GPL-2.0-or-later
"""The chain of filter headers (BIP 157), and which of several peers disagree about it.

Every header commits to the filter of its block and to all filters before it, so one true header proves them all. Peers
are asked for every thousandth (`cfcheckpt`); where they differ, for the filter hashes between (`cfheaders`); at the
first height that differs the block itself tells who is right, because its filter can be built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from ..errors import InvalidFilter
from ..protocol import CFCHECKPT_INTERVAL
from ..wire.hashes import hash_hex
from .block_filter import filter_hash, filter_header

HASH_SIZE = 32


class FilterHeaderChain:
    """The filter headers of the best chain, from the genesis block or a trusted height on; 32 wire bytes each.

    :param height: of the first filter header that is to come
    :param previous: the filter header before it; zeros before the genesis block
    """

    def __init__(self, height: int = 0, previous: bytes = bytes(HASH_SIZE)) -> None:
        self.base = height
        self._headers = bytearray(previous)

    def __len__(self) -> int:
        return len(self._headers) // HASH_SIZE - 1

    @property
    def height(self) -> int:
        """Of the last filter header; one below the first that is to come where there is none yet."""
        return self.base + len(self) - 1

    def at(self, height: int) -> bytes:
        """The filter header of the block at a height, also that of the one before the first. Raises IndexError."""
        if not self.base - 1 <= height <= self.height:
            raise IndexError(f"height {height} is not among {self.base} to {self.height}")
        start = (height + 1 - self.base) * HASH_SIZE
        return bytes(self._headers[start : start + HASH_SIZE])

    def extend(self, previous: bytes, filter_hashes: Iterable[bytes]) -> int:
        """Take in what a `cfheaders` says of the blocks after the last one; the new height.

        Raises InvalidFilter where its `previous` is not our last filter header.
        """
        if previous != self.at(self.height):
            raise InvalidFilter(f"filter hashes after height {self.height} follow filter header {hash_hex(previous)}, "
                                f"not {hash_hex(self.at(self.height))}")
        for one in filter_hashes:
            previous = filter_header(one, previous)
            self._headers += previous
        return self.height

    def truncate(self, height: int) -> None:
        """Forget what is above a height: after a reorganisation. Raises IndexError."""
        self.at(height)
        del self._headers[(height + 2 - self.base) * HASH_SIZE :]

    def check(self, height: int, encoded: bytes) -> None:
        """Raises InvalidFilter unless that is the filter of the block at a height (the `filter` of its `cfilter`)."""
        stated, found = self.at(height), filter_header(filter_hash(encoded), self.at(height - 1))
        if found != stated:
            raise InvalidFilter(f"the filter at height {height} gives filter header {hash_hex(found)}, "
                                f"not {hash_hex(stated)}")

    def checkpoints(self, stop: int | None = None) -> list[bytes]:
        """The filter headers at heights 1000, 2000 ... up to `stop` (or the last): what a `cfcheckpt` holds.

        Raises IndexError where some of them are before our first.
        """
        last = self.height if stop is None else stop
        return [self.at(height) for height in range(CFCHECKPT_INTERVAL, last + 1, CFCHECKPT_INTERVAL)]

    def check_checkpoints(self, checkpoints: Sequence[bytes]) -> None:
        """Raises InvalidFilter where a peer's `cfcheckpt` differs from what is known here."""
        for number, stated in enumerate(checkpoints, 1):
            height = number * CFCHECKPT_INTERVAL
            if self.base <= height <= self.height and stated != self.at(height):
                raise InvalidFilter(f"checkpoint {height} is filter header {hash_hex(stated)}, "
                                    f"not {hash_hex(self.at(height))}")


class Conflict(NamedTuple):
    """Where the answers of several peers differ first."""

    position: int
    """In the lists: checkpoint `position` is of height (position + 1) * 1000."""
    sides: dict[bytes | None, list[str]]
    """Which peers say what there, the side with most of them first. None is said by those whose list has ended."""

    def liars(self, truth: bytes) -> list[str]:
        """The peers that say something else than the truth, which the block tells: `block_filter.build`."""
        return [peer for said, peers in self.sides.items() if said != truth for peer in peers]


def first_conflict(answers: Mapping[str, Sequence[bytes]]) -> Conflict | None:
    """Compare what peers answered: their `filter_headers` of `cfcheckpt`, or the `filter_hashes` of `cfheaders`.

    :param answers: by the peer's name
    :returns: None where all say the same
    """
    for position, column in enumerate(zip_longest(*answers.values())):
        if len(set(column)) > 1:
            sides: dict[bytes | None, list[str]] = {}
            for peer, said in zip(answers, column, strict=True):
                sides.setdefault(said, []).append(peer)
            return Conflict(position, dict(sorted(sides.items(), key=lambda side: -len(side[1]))))
    return None
