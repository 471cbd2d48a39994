# SPDX-License-Identifier: GPL-2.0-or-later
"""Base-128 numbers: the values in a comment of Bitcoin Core's serialize.h, and bytes that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.errors import FormatError
from scapy_btc.wire.base128 import encode, read

KNOWN = {
    0: "00",
    1: "01",
    127: "7f",
    128: "8000",
    255: "807f",
    256: "8100",
    16_383: "fe7f",
    16_384: "ff00",
    16_511: "ff7f",
    0x1234: "a334",
    65_535: "82fe7f",
    2**32: "8efefeff00",
}


@pytest.mark.parametrize("number", KNOWN)
def test_known_forms(number: int) -> None:
    data = bytes.fromhex(KNOWN[number])
    assert encode(number) == data
    assert read(b"\xff" + data + b"\xff", 1) == (number, 1 + len(data))


@given(st.integers(0, 2**64 - 1))
def test_every_number_has_one_form(number: int) -> None:
    assert read(encode(number)) == (number, len(encode(number)))


@given(st.binary(max_size=12))
def test_bytes_that_can_be_read_are_the_only_form(data: bytes) -> None:
    try:
        number, end = read(data)
    except FormatError:
        return
    assert encode(number) == data[:end]


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 3])
def test_cut_short(data: bytes) -> None:
    with pytest.raises(FormatError, match="cut short"):
        read(data)


def test_a_number_of_megabytes_is_refused_at_once() -> None:
    with pytest.raises(FormatError, match="64 bits"):
        read(b"\xff" * 4_000_000)
    with pytest.raises(FormatError):
        encode(2**64)
    with pytest.raises(FormatError):
        encode(-1)
