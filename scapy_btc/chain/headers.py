# SPDX-License-Identifier: GPL-2.0-or-later
"""A chain of block headers, checked against the rules of its network: the branch with most work, and others beside it.

Headers are 80 bytes, hashes 32 wire bytes, times seconds since 1970. A header must follow a known one, have the proof
of work that it states and state the target that it must; its time is after the median of the 11 before it and, if
the caller says what time it is, at most two hours ahead. Versions and what a block commits to are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from ..errors import BTCError, FormatError, InvalidHeader
from ..networks import Network
from ..wire.hashes import hash_hex, sha256d
from .difficulty import INTERVAL, MAX_TIMEWARP, Period, begin, follow, required_bits, warps_time
from .proof_of_work import HEADER_SIZE, decode_bits, work

MEDIAN_TIME_SPAN = 11
MAX_FUTURE_BLOCK_TIME = 2 * 60 * 60
MAX_SIDE_HEADERS = 20_000

_HEADER = Struct("<4s32s32sII4s")  # version, previous block, merkle root, time, bits, nonce
_TIME_AND_BITS = Struct("<II")


class _Block(NamedTuple):
    """A header, and what the next one is checked against."""

    hash: bytes
    raw: bytes
    period: Period
    times: tuple[int, ...]
    """Of this block and those before it, at most 11."""
    work: int
    """Of this block and all before it."""


@lru_cache(maxsize=64)
def _target_and_work(bits: int) -> tuple[int, int]:
    """The target, -1 for one that no hash meets, and the work that it stands for."""
    compact = decode_bits(bits)
    return compact.target if compact.valid else -1, work(bits)


class HeaderChain:
    """The best chain of headers: the one with most work, of equal ones the one that was seen first.

    Headers beside it are kept, too, at most 20,000 (`MAX_SIDE_HEADERS`), as one of the branches may become the best.
    When there are more, all but the branch that grows are forgotten, and what would make a single branch longer is
    refused: so a peer that feeds endless forks costs about 15 MB. The best chain takes about 250 bytes a header.

    :param network: whose rules hold
    :param start: trusted headers in a row, of which only is checked that they follow each other and have their proof of
        work; without them the network's genesis block. Elsewhere times are checked from the 12th header on
    :param height: of the first of them: a multiple of 2016, as the target depends on the first block of its period
    :param work: of all blocks before them
    """

    def __init__(self, network: Network, start: bytes = b"", height: int = 0, work: int = 0) -> None:
        start = start or network.genesis or b""
        if network.pow_limit is None or not start:
            raise BTCError(f"the rules for headers of {network} are not known")
        if network.retarget and height % INTERVAL:
            raise BTCError(f"a chain starts at a multiple of {INTERVAL}, not at height {height}")
        self.network, self.base = network, height
        self._raw = bytearray(start)
        self._heights: dict[bytes, int] = {}
        self._work_before: list[int] = []  # every 2016th block, counted from the base
        self._side: dict[bytes, _Block] = {}
        self._load(work)
        self._tip = self._block_at(self.base + len(self) - 1)

    def _load(self, work: int) -> None:
        raw = self._raw
        if len(raw) % HEADER_SIZE:
            raise FormatError(f"headers have {HEADER_SIZE} bytes each, {len(raw):,} is no multiple")
        before = b""
        for number, (_, previous, _, _, bits, _) in enumerate(_HEADER.iter_unpack(raw)):
            if before and previous != before:
                raise FormatError(f"header {self.base + number} does not follow the one before it",
                                  offset=number * HEADER_SIZE)
            if number % INTERVAL == 0:
                self._work_before.append(work)
            before = sha256d(raw[number * HEADER_SIZE : (number + 1) * HEADER_SIZE])
            target, proof = _target_and_work(bits)
            if int.from_bytes(before, "little") > target:
                raise FormatError(f"header {self.base + number} has no proof of work", offset=number * HEADER_SIZE)
            self._heights[before] = self.base + number
            work += proof
        genesis = self.network.genesis
        if self.base == 0 and genesis and not raw.startswith(genesis):
            raise FormatError(f"these headers do not start with the genesis block of {self.network}")

    # What is known

    @property
    def height(self) -> int:
        """Of the best chain's last header."""
        return self.base + len(self) - 1

    @property
    def tip(self) -> bytes:
        """Hash of the best chain's last header."""
        return self._tip.hash

    @property
    def work(self) -> int:
        """Expected number of hashes behind the best chain."""
        return self._tip.work

    @property
    def median_time(self) -> int:
        """What the time of the next header must be above."""
        return _median(self._tip.times)

    def required_bits(self, time: int) -> int:
        """What the next header must state, if that is its time."""
        return required_bits(self.network, self._tip.period, time)

    def __len__(self) -> int:
        return len(self._raw) // HEADER_SIZE

    def __iter__(self) -> Iterator[bytes]:
        return self.after(self.base - 1)

    def __contains__(self, block_hash: bytes) -> bool:
        """Whether the best chain has the header."""
        return block_hash in self._heights

    def at(self, height: int) -> bytes:
        """The header of the best chain at a height. Raises IndexError."""
        if not self.base <= height <= self.height:
            raise IndexError(f"height {height} is not among {self.base} to {self.height}")
        start = (height - self.base) * HEADER_SIZE
        return bytes(self._raw[start : start + HEADER_SIZE])

    def after(self, height: int) -> Iterator[bytes]:
        """The headers of the best chain above a height; a reorganisation meanwhile is not noticed."""
        return (self.at(following) for following in range(height + 1, self.height + 1))

    def hash_at(self, height: int) -> bytes:
        """The hash of the best chain's header at a height. Raises IndexError."""
        if height == self.height:
            return self.tip
        self.at(height)
        return self.at(height + 1)[4:36]

    def height_of(self, block_hash: bytes) -> int | None:
        """The height of a known header, of the best chain or beside it; None for any other."""
        beside = self._side.get(block_hash)
        return beside.period.height if beside else self._heights.get(block_hash)

    def locator(self) -> list[bytes]:
        """Hashes of the best chain from the tip to the first, ever farther apart: what `getheaders` asks with."""
        heights, step = [self.height], 1
        while heights[-1] > self.base:
            heights.append(max(self.base, heights[-1] - step))
            if len(heights) > 10:
                step *= 2
        return [self.hash_at(height) for height in heights]

    def fork_point(self, locator: Iterable[bytes]) -> int:
        """The height up to which the owner of a locator shares the best chain: that of its first hash in it, or the
        base where none is."""
        heights = map(self._heights.get, locator)
        return next((height for height in heights if height is not None), self.base)

    # Growing

    def add(self, header: bytes, now: int | None = None) -> int | None:
        """Check a header and take it in.

        :returns: the height from which on the best chain changed: its own, where it extends the best chain, a lower
            one where its branch became the best (a reorganisation), None where the best chain stays as it is

        Raises InvalidHeader.
        """
        if len(header) != HEADER_SIZE:
            raise InvalidHeader("bad-length", f"has {HEADER_SIZE} bytes, not {len(header)}")
        block_hash = sha256d(header)
        if block_hash in self._heights or block_hash in self._side:
            return None
        tip = self._tip
        if header[4:36] == tip.hash:
            block = self._checked(tip, header, block_hash, now)
            self._append(block)
            return block.period.height
        parent = self._find(header[4:36])
        if parent is None:
            raise InvalidHeader("prev-blk-not-found", f"{hash_hex(block_hash)} follows {hash_hex(header[4:36])}, "
                                "which is not known")
        block = self._checked(parent, header, block_hash, now)
        if block.work > tip.work:
            return self._reorganise(block)
        self._keep(block)
        return None

    def _checked(self, parent: _Block, raw: bytes, block_hash: bytes, now: int | None) -> _Block:
        network, before = self.network, parent.period
        time, bits = _TIME_AND_BITS.unpack_from(raw, 68)
        height = before.height + 1
        if int.from_bytes(block_hash, "little") > _target_and_work(bits)[0]:
            raise InvalidHeader("high-hash", f"{hash_hex(block_hash)} is no proof of work for bits {bits:08x}", height)
        required = required_bits(network, before, time)
        if bits != required:
            raise InvalidHeader("bad-diffbits", f"bits are {bits:08x} and must be {required:08x}", height)
        if time <= _median(parent.times) and (self.base == 0 or len(parent.times) == MEDIAN_TIME_SPAN):
            raise InvalidHeader("time-too-old", f"time {time} is not after {_median(parent.times)}, the median of the "
                                f"{MEDIAN_TIME_SPAN} before it", height)
        if warps_time(network, before, time):
            raise InvalidHeader("time-timewarp-attack", f"time {time} is more than {MAX_TIMEWARP} s before "
                                f"{before.time}, the last of the period before", height)
        if now is not None and time > now + MAX_FUTURE_BLOCK_TIME:
            raise InvalidHeader("time-too-new", f"time {time} is {time - now:,} s ahead", height)
        return self._after(parent, raw, block_hash)

    def _after(self, parent: _Block, raw: bytes, block_hash: bytes) -> _Block:
        time, bits = _TIME_AND_BITS.unpack_from(raw, 68)
        times = (*parent.times[1 - MEDIAN_TIME_SPAN :], time)
        return _Block(block_hash, raw, follow(self.network, parent.period, time, bits), times,
                      parent.work + _target_and_work(bits)[1])

    def _append(self, block: _Block) -> None:
        if len(self) % INTERVAL == 0:
            self._work_before.append(self._tip.work)
        self._raw += block.raw
        self._heights[block.hash] = block.period.height
        self._tip = block

    # Branches

    def _find(self, block_hash: bytes) -> _Block | None:
        height = self._heights.get(block_hash)
        return self._side.get(block_hash) if height is None else self._block_at(height)

    def _block_at(self, height: int) -> _Block:
        """A block of the best chain with what follows from those before it: it looks at 2016 of them at most."""
        position = (height - self.base) // INTERVAL
        start = self.base + position * INTERVAL
        work, period = self._work_before[position], None
        for current in range(start, height + 1):
            time, bits = self._time_and_bits(current)
            period = follow(self.network, period, time, bits) if period else begin(start, time, bits)
            work += _target_and_work(bits)[1]
        assert period is not None
        oldest = max(self.base, height + 1 - MEDIAN_TIME_SPAN)
        times = tuple(self._time_and_bits(current)[0] for current in range(oldest, height + 1))
        raw = self.at(height)
        return _Block(sha256d(raw), raw, period, times, work)

    def _time_and_bits(self, height: int) -> tuple[int, int]:
        return _TIME_AND_BITS.unpack_from(self._raw, (height - self.base) * HEADER_SIZE + 68)

    def _branch(self, block: _Block) -> list[_Block]:
        """The headers from the best chain (which is left out) to this one."""
        branch = [block]
        while (parent := self._side.get(branch[-1].raw[4:36])) is not None:
            branch.append(parent)
        return branch[::-1]

    def _keep(self, block: _Block) -> None:
        if len(self._side) >= MAX_SIDE_HEADERS:
            branch = self._branch(block)
            if len(branch) > MAX_SIDE_HEADERS:
                raise InvalidHeader("side-branch-too-long", f"a branch of more than {MAX_SIDE_HEADERS:,} headers "
                                    "that has less work than the best chain", block.period.height)
            self._side = {one.hash: one for one in branch}
        self._side[block.hash] = block

    def _reorganise(self, block: _Block) -> int:
        branch = self._branch(block)
        fork = self._heights[branch[0].raw[4:36]]
        last = self._block_at(fork)
        left: list[_Block] = []
        for raw in self.after(fork):
            left.append(self._after(left[-1] if left else last, raw, sha256d(raw)))
            del self._heights[left[-1].hash]
        del self._raw[(fork + 1 - self.base) * HEADER_SIZE :]
        del self._work_before[(fork - self.base) // INTERVAL + 1 :]
        self._tip = last
        for one in branch:
            self._side.pop(one.hash, None)
            self._append(one)
        if len(self._side) + len(left) > MAX_SIDE_HEADERS:
            self._side = {}
        self._side.update((one.hash, one) for one in left[:MAX_SIDE_HEADERS])
        return fork + 1


def _median(times: tuple[int, ...]) -> int:
    return sorted(times)[len(times) // 2]
