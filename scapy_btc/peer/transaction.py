# SPDX-License-Identifier: GPL-2.0-or-later
"""A transaction as a node looks at it: its ids, what it spends and what it creates, read from its bytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import FormatError
from ..layers.plan import BROKEN
from ..messages.transactions import BTCTx, BTCTxIn, BTCTxOut, Places, txid_at
from ..protocol import WITNESS_SCALE_FACTOR
from ..wire import compactsize
from ..wire.hashes import sha256d

NO_OUTPOINT = bytes(32) + b"\xff" * 4
"""What a coinbase spends."""


class TxInput(NamedTuple):
    outpoint: bytes
    """36 wire bytes."""
    script: bytes
    sequence: int


class TxOutput(NamedTuple):
    value: int
    """Satoshi."""
    script: bytes


class Tx:
    """A transaction inside a buffer. Hashes are 32 wire bytes.

    :param places: where its fields are, as `BTCTx.plan.starts` gives them; without it the buffer is a transaction

    Raises FormatError for bytes that are none.
    """

    __slots__ = ("_buffer", "_output_starts", "_places", "txid", "wtxid")

    def __init__(self, buffer: bytes, places: Places | None = None) -> None:
        if places is None:
            places = _places(buffer, 0)
            if places[-1] != len(buffer):
                raise FormatError("bytes after the end of the transaction")
        self._buffer, self._places = buffer, places
        self._output_starts: array[int] | None = None
        self.txid = txid_at(buffer, places)
        self.wtxid = sha256d(self.raw) if self.has_witness else self.txid

    @property
    def raw(self) -> bytes:
        """The form that is sent."""
        return self._buffer[self._places[0]:self._places[-1]]

    @property
    def has_witness(self) -> bool:
        return self._places[1] != self._places[3]

    @property
    def stripped(self) -> bytes:
        """The form without witness."""
        if not self.has_witness:
            return self.raw
        buffer, (version, marker, _, inputs, _, _, _, witness, lock_time, end) = self._buffer, self._places
        return buffer[version:marker] + buffer[inputs:witness] + buffer[lock_time:end]

    @property
    def weight(self) -> int:
        return (WITNESS_SCALE_FACTOR - 1) * len(self.stripped) + self._places[-1] - self._places[0]

    @property
    def vsize(self) -> int:
        """Virtual bytes, rounded up."""
        return -(-self.weight // WITNESS_SCALE_FACTOR)

    @property
    def lock_time(self) -> int:
        return int.from_bytes(self._buffer[self._places[8]:self._places[9]], "little")

    def inputs(self) -> Iterator[TxInput]:
        buffer, p, stop = self._buffer, self._places[4], self._places[5]
        while p < stop:
            outpoint, length, script, sequence, end = BTCTxIn.plan.starts(buffer, p, stop)
            yield TxInput(buffer[outpoint:length], buffer[script:sequence],
                          int.from_bytes(buffer[sequence:end], "little"))
            p = end

    def outputs(self) -> Iterator[TxOutput]:
        buffer, p, stop = self._buffer, self._places[6], self._places[7]
        while p < stop:
            value, length, script, end = BTCTxOut.plan.starts(buffer, p, stop)
            yield TxOutput(int.from_bytes(buffer[value:length], "little", signed=True), buffer[script:end])
            p = end

    def output(self, index: int) -> TxOutput | None:
        """The output of that number; None where there are fewer. They are walked through once only."""
        if self._output_starts is None:
            p, stop, starts = self._places[6], self._places[7], array("I")
            while p < stop:
                starts.append(p)
                p = BTCTxOut.plan.starts(self._buffer, p, stop)[-1]
            self._output_starts = starts
        if index >= len(self._output_starts):
            return None
        value, length, script, end = BTCTxOut.plan.starts(self._buffer, self._output_starts[index], self._places[7])
        return TxOutput(int.from_bytes(self._buffer[value:length], "little", signed=True), self._buffer[script:end])

    def outpoint(self, index: int) -> bytes:
        """The 36 wire bytes that name one of its outputs."""
        return self.txid + index.to_bytes(4, "little")

    @property
    def is_coinbase(self) -> bool:
        return [spent.outpoint for spent in self.inputs()] == [NO_OUTPOINT]

    def witness(self) -> list[list[bytes]]:
        """The witness stack of each input; nothing where it has none."""
        return [list(stack.items) for stack in BTCTx.from_wire(self.raw).witness] if self.has_witness else []


def _places(buffer: bytes, start: int) -> Places:
    try:
        return BTCTx.plan.starts(buffer, start, len(buffer))
    except BROKEN as error:
        raise FormatError(f"no transaction: {error}") from None


def transactions_of(block: bytes) -> list[Tx]:
    """The transactions of a `block` payload. Raises FormatError for bytes that are no block."""
    count, p = compactsize.read(block, 80)  # behind the header
    found = []
    for _ in range(count):
        places = _places(block, p)
        found.append(Tx(block, places))
        p = places[-1]
    if p != len(block):
        raise FormatError("bytes after the end of the block")
    return found
