# SPDX-License-Identifier: GPL-2.0-or-later
"""Bitcoin Core's block files: the recording, the key, reserved zeros, garbage between blocks, files cut anywhere."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.capture.block_files import looks_like_block_file, read_blocks, xor_key
from scapy_btc.capture.bytesource import ByteSource
from scapy_btc.capture.message import Message, StreamEvent
from scapy_btc.errors import CaptureError
from scapy_btc.networks import MAINNET, REGTEST, TESTNET4

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PCAPS = Path(__file__).parents[2] / "pcaps"
RECORDING = PCAPS / "core-blocks" / "blk00000.dat"
TRUTH = tomllib.loads((PCAPS / "index.toml").read_text(encoding="utf-8"))["core-blocks"]
NO_KEY = bytes(8)
KEY = bytes.fromhex("0123456789abcdef")
keys = st.sampled_from([NO_KEY, KEY])


def block(number: int, size: int = 100) -> bytes:
    """A block that has no magic in it, of that many bytes."""
    return bytes(68) + number.to_bytes(4, "little") + b"\x77" * (size - 72)


def stored(data: bytes, magic: bytes = MAINNET.magic) -> bytes:
    return magic + len(data).to_bytes(4, "little") + data


def hidden(data: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[place % 8] for place, byte in enumerate(data))


class Slowly(io.BytesIO):
    """Gives a few bytes at a time, as a pipe may."""

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(7)


def gather(data: bytes, key: bytes = NO_KEY, network: Any = None, slowly: bool = False) -> tuple[list[Any], str]:
    """What a file gives: block numbers, (event, bytes), and the error after them."""
    got: list[Any] = []
    items: Iterable[Any] = read_blocks(ByteSource((Slowly if slowly else io.BytesIO)(data), "blk7.dat"), network, key)
    try:
        for item in items:
            if isinstance(item, StreamEvent):
                got.append((item.event, item.bytes))
            else:
                got.append(item.time_ns // 1_000_000_000)
    except CaptureError as error:
        return got, str(error)
    return got, ""


def test_recording() -> None:
    with RECORDING.open("rb") as file:
        blocks = list(read_blocks(ByteSource(file, str(RECORDING))))
    assert {type(item) for item in blocks} == {Message}
    assert len(blocks) == TRUTH["blocks"]
    assert sum(len(message.payload) for message in blocks) == TRUTH["block_bytes"]
    digests = sorted(hashlib.sha256(message.payload).hexdigest() for message in blocks)
    assert hashlib.sha256("\n".join(digests).encode()).hexdigest() == TRUTH["digest"]
    assert {(m.source, m.destination, m.network, m.transport, m.msgtype, m.checksum) for m in blocks} == {
        ("blk00000.dat", "", REGTEST, "log", "block", "none")
    }
    assert REGTEST.genesis is not None and blocks[0].payload.startswith(REGTEST.genesis)
    assert blocks[0].time_ns == 1_296_688_602 * 1_000_000_000
    assert [message.frames for message in blocks] == [(number, number) for number in range(1, 127)]
    assert not any(message.findings for message in blocks)


def test_told_by_content_and_by_name(tmp_path: Path) -> None:
    data = RECORDING.read_bytes()
    assert looks_like_block_file(data[:8], str(RECORDING))
    assert looks_like_block_file(data[:8], str(RECORDING.with_name("other")))
    assert not looks_like_block_file(data[:8], str(tmp_path / "other"))
    assert looks_like_block_file(data[:8], str(tmp_path / "blk00000.dat"))
    assert looks_like_block_file(stored(block(1)), str(tmp_path / "other"))
    assert not looks_like_block_file(MAINNET.magic + b"version\0\0\0\0\0", str(tmp_path / "other"))
    assert not looks_like_block_file(b"", str(tmp_path / "blk00000.dat"))


def test_wrong_key_file(tmp_path: Path) -> None:
    (tmp_path / "xor.dat").write_bytes(b"1234567")
    with pytest.raises(CaptureError, match=r"xor\.dat"):
        xor_key(str(tmp_path / "blk00000.dat"))


def test_without_its_key_a_file_is_no_block_file(tmp_path: Path) -> None:
    copy = tmp_path / "blk00000.dat"
    copy.write_bytes(RECORDING.read_bytes())
    with copy.open("rb") as file, pytest.raises(CaptureError, match=r"xor\.dat"):
        list(read_blocks(ByteSource(file, str(copy))))


@given(keys, st.lists(st.integers(81, 300), max_size=5), st.integers(0, 100), st.booleans())
def test_blocks_and_the_zeros_after_them(key: bytes, sizes: list[int], zeros: int, slowly: bool) -> None:
    data = b"".join(stored(block(number, size)) for number, size in enumerate(sizes))
    assert gather(hidden(data, key) + bytes(zeros), key, slowly=slowly) == (list(range(len(sizes))), "")


@given(keys, st.binary(min_size=1, max_size=60), st.booleans())
def test_garbage_between_blocks(key: bytes, noise: bytes, slowly: bool) -> None:
    noise = noise.replace(MAINNET.magic[:1], b"\1") + b"\x80"
    data = stored(block(1)) + noise + stored(block(2)) + stored(block(3))
    assert gather(hidden(data, key), key, slowly=slowly) == ([1, ("skipped", len(noise)), 2, 3], "")


@pytest.mark.parametrize("size", [1_000, 1 << 24, 0xFFFFFFFF])
def test_a_wrong_length_costs_one_block(size: int) -> None:
    broken = MAINNET.magic + size.to_bytes(4, "little") + block(1)
    assert gather(broken + stored(block(2)) + stored(block(3))) == ([("skipped", 108), 2, 3], "")


@given(keys, st.integers(0, 3 * 108))
def test_cut_anywhere(key: bytes, size: int) -> None:
    data = b"".join(stored(block(number)) for number in range(3))[:size]
    got, error = gather(hidden(data, key), key)
    whole, left = divmod(size, 108)
    assert got[:whole] == list(range(whole))
    if not left:
        assert (got[whole:], error) == ([], "")
    elif left < 4:
        assert got[whole:] == [("skipped", left)]  # nobody knows of what
    else:
        assert got[whole:] == [("truncated", left)]
        assert f"cut short inside block {whole + 1}" in error


def test_a_length_too_short_is_believed() -> None:
    data = MAINNET.magic + (90).to_bytes(4, "little") + block(1) + stored(block(2))
    assert gather(data) == ([1, ("skipped", 10), 2], "")


def test_zeros_in_a_block_are_no_end() -> None:
    data = bytes(500)
    assert gather(hidden(stored(data), KEY), KEY) == ([0], "")
    assert gather(hidden(stored(data) + stored(block(5)), KEY), KEY) == ([0, 5], "")


def test_zeros_between_blocks() -> None:
    first = hidden(stored(block(1)), KEY)
    then = hidden(bytes(108 + 1000) + stored(block(2)), KEY)[108 + 1000 :]
    assert gather(first + bytes(1000) + then, KEY) == ([1, 2], "")


def test_the_network_is_that_of_the_magic_or_the_users() -> None:
    data = stored(block(1), TESTNET4.magic)
    (message,) = read_blocks(ByteSource(io.BytesIO(data), "x"), None, NO_KEY)
    assert isinstance(message, Message) and message.network is TESTNET4
    assert gather(data, network=MAINNET)[0] == [("skipped", 108)]
    mixed = stored(block(1)) + stored(block(2), TESTNET4.magic) + stored(block(3))
    assert gather(mixed) == ([1, ("skipped", 108), 3], "")


@given(st.binary(max_size=3000), keys)
def test_any_bytes(data: bytes, key: bytes) -> None:
    got, error = gather(b"\x05" + data, key)  # a compressed file begins otherwise
    assert sum(item[1] for item in got if isinstance(item, tuple)) <= 1 + len(data)
    assert bool(error) or not any(isinstance(item, tuple) for item in got)
