# SPDX-License-Identifier: GPL-2.0-or-later
"""CompactSize: the boundaries of the format, longer forms than needed, and bytes that end too early."""

import copy
import pickle

import pytest
from bitcoin.core.serialize import VarIntSerializer
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.errors import FormatError
from scapy_btc.wire.compactsize import CompactSize, encode, minimal_width, read

U64 = st.integers(0, 2**64 - 1)

# the boundaries between the four forms
BOUNDARIES = {
    0: "00",
    252: "fc",
    253: "fdfd00",
    255: "fdff00",
    65_535: "fdffff",
    65_536: "fe00000100",
    4_294_967_295: "feffffffff",
    4_294_967_296: "ff0000000001000000",
    2**64 - 1: "ffffffffffffffffff",
}


@pytest.mark.parametrize(("value", "wire"), BOUNDARIES.items())
def test_boundaries(value, wire):
    assert encode(value).hex() == wire
    assert read(bytes.fromhex(wire)) == (value, len(wire) // 2)
    assert type(read(bytes.fromhex(wire))[0]) is int


@pytest.mark.parametrize(
    ("wire", "value", "width"),
    [
        ("fd0000", 0, 3),
        ("fdfc00", 252, 3),
        ("feffff0000", 65_535, 5),
        ("ffffffffff00000000", 4_294_967_295, 9),
        ("ff0100000000000000", 1, 9),
    ],
)
def test_longer_form_is_remembered(wire, value, width):
    number, position = read(bytes.fromhex(wire))
    assert (number, position) == (value, width)
    assert isinstance(number, CompactSize)
    assert number.width == width
    assert encode(number).hex() == wire
    assert encode(number, width=9) == b"\xff" + value.to_bytes(8, "little")


def test_remembered_width_survives_copies_and_repr():
    number = CompactSize(7, 5)
    for twin in (copy.copy(number), copy.deepcopy(number), pickle.loads(pickle.dumps(number)), eval(repr(number))):
        assert twin == 7
        assert twin.width == 5
    assert f"{number} {number!s} {number:03d}" == "7 7 007"
    assert CompactSize(253).width == 3


@pytest.mark.parametrize("wire", ["", "fd", "fdff", "fe000001", "ff00000000000000"])
def test_cut_short(wire):
    with pytest.raises(FormatError) as caught:
        read(b"\0" + bytes.fromhex(wire), 1)
    assert caught.value.offset == 1


@pytest.mark.parametrize(("value", "width"), [(-1, None), (2**64, None), (253, 1), (65_536, 3), (2**32, 5), (1, 4)])
def test_what_does_not_fit_is_refused(value, width):
    with pytest.raises(FormatError):
        encode(value, width)
    with pytest.raises(FormatError):
        CompactSize(value, width)


@given(U64, st.sampled_from([1, 3, 5, 9]), st.binary(max_size=4), st.binary(max_size=4))
def test_round_trip_in_every_width(value, width, before, after):
    width = max(width, minimal_width(value))
    buffer = before + encode(value, width) + after
    for view in (buffer, bytearray(buffer), memoryview(buffer)):
        number, position = read(view, len(before))
        assert number == value
        assert position == len(before) + width
        assert encode(number) == buffer[len(before) : position]


@given(U64)
def test_agrees_with_python_bitcoinlib(value):
    assert encode(value) == VarIntSerializer.serialize(value)


@given(st.binary(max_size=12))
def test_any_bytes_are_read_or_refused(data):
    try:
        number, position = read(data)
    except FormatError:
        assert len(data) < {0xFD: 3, 0xFE: 5, 0xFF: 9}.get(data[0] if data else 0, 1)
    else:
        assert encode(number) == data[:position]
