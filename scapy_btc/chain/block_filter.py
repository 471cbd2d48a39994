# SPDX-License-Identifier: GPL-2.0-or-later
"""The basic block filter (BIP 158): a Golomb-coded set of the scripts that a block spends and creates.

`block_hash` is 32 bytes in wire order, an encoded filter is the `filter` field of `cfilter`: the number of elements
as CompactSize, then the bits. A filter never misses a script that is in it and has a false hit in 784,931 tries.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from ..errors import FormatError
from ..wire import compactsize
from ..wire.hashes import sha256d, siphash24

BASIC_FILTER_P = 19
BASIC_FILTER_M = 784931
_OP_RETURN = b"\x6a"


def basic_elements(output_scripts: Iterable[bytes], spent_scripts: Iterable[bytes]) -> set[bytes]:
    """What a basic filter holds: all output scripts of the block and all scripts spent by it, without the empty ones
    and without outputs that carry data only (OP_RETURN).
    """
    elements = {bytes(script) for script in output_scripts if not script.startswith(_OP_RETURN)}
    elements.update(map(bytes, spent_scripts))
    elements.discard(b"")
    return elements


def _values(block_hash: bytes, elements: Iterable[bytes], count: int) -> list[int]:
    """The elements as numbers below count * M, spread evenly; `count` is that of the whole filter."""
    k0, k1 = int.from_bytes(block_hash[:8], "little"), int.from_bytes(block_hash[8:16], "little")
    span = count * BASIC_FILTER_M
    return [siphash24(k0, k1, element) * span >> 64 for element in elements]


def build(block_hash: bytes, elements: Iterable[bytes]) -> bytes:
    """The encoded filter over a block's elements (see `basic_elements`)."""
    distinct = set(elements)
    previous = 0
    bits = []
    for value in sorted(_values(block_hash, distinct, len(distinct))):
        quotient, remainder = divmod(value - previous, 1 << BASIC_FILTER_P)
        bits.append("1" * quotient + f"0{remainder:0{BASIC_FILTER_P}b}")
        previous = value
    text = "".join(bits)
    size = (len(text) + 7) // 8
    packed = int(text, 2) << 8 * size - len(text) if text else 0
    return compactsize.encode(len(distinct)) + packed.to_bytes(size, "big")


def decode(encoded: bytes) -> list[int]:
    """The numbers in an encoded filter, in rising order (equal ones stay).

    Raises FormatError when the bits end too early or bytes are left over.
    """
    count, start = compactsize.read(encoded, 0)
    available = 8 * (len(encoded) - start)
    if count * (BASIC_FILTER_P + 1) > available:
        raise FormatError(f"{count} elements do not fit {len(encoded) - start} bytes", offset=start)
    # a string of digits: finding the end of a unary number in it is one search, at the speed of C
    bits = f"{int.from_bytes(encoded[start:], 'big'):0{available}b}" if available else ""
    differences = []
    position = 0
    for _ in range(count):
        end = bits.find("0", position)
        following = end + 1 + BASIC_FILTER_P
        if end < 0 or following > available:
            raise FormatError("filter cut short", offset=start)
        differences.append((end - position << BASIC_FILTER_P) + int(bits[end + 1 : following], 2))
        position = following
    if (position + 7) // 8 != len(encoded) - start:
        raise FormatError("bytes after the last element of the filter", offset=start + (position + 7) // 8)
    return list(accumulate(differences))


def match_any(block_hash: bytes, encoded: bytes, scripts: Iterable[bytes]) -> bool:
    """Whether any of the scripts may be in the filter. Raises FormatError for a filter that cannot be decoded."""
    values = decode(encoded)
    return not set(values).isdisjoint(_values(block_hash, scripts, len(values)))


def match(block_hash: bytes, encoded: bytes, script: bytes) -> bool:
    """Whether the script may be in the filter. Raises FormatError for a filter that cannot be decoded."""
    return match_any(block_hash, encoded, (script,))


def filter_hash(encoded: bytes) -> bytes:
    """32 wire bytes, as listed in `cfheaders`."""
    return sha256d(encoded)


def filter_header(hash_of_filter: bytes, previous_header: bytes = bytes(32)) -> bytes:
    """Link of the chain of filter headers (BIP 157): the filter's hash and the header before, zeros for genesis."""
    return sha256d(hash_of_filter + previous_header)
