# SPDX-License-Identifier: GPL-2.0-or-later
"""An address book as a table for other programs: CSV and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ..errors import MissingDependency, StoreError
from ..layers.registry import printable
from ..protocol import BIP155_NETWORK_NAMES
from ..text import format_time
from .addressbook import AddressBook

TIMES = ("first_seen", "last_seen", "tried", "success")
_ROWS = 10_000  # that are held in memory at a time


def records(book: AddressBook) -> Iterator[dict[str, Any]]:
    """Every address of a book: the columns of `COLUMNS`; times in seconds since 1970, None for what is not known."""
    for row in book.rows():
        row["network"] = BIP155_NETWORK_NAMES[row["network_id"]].lower()
        yield {name: row[name] for name in COLUMNS}


def check_writable(path: str) -> None:
    """Look whether a file can be written, without touching what is in it. Raises StoreError.

    One that was not there is empty then.
    """
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


def pyarrow(path: str) -> tuple[Any, Any]:
    """The modules that write Parquet. Raises MissingDependency.

    :param path: what is to be written
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependency(f"{path}: Parquet needs the package pyarrow: pip install 'scapy-btc[analysis]'"
                                ) from error
    return pa, pq


def write_csv(book: AddressBook, path: str) -> int:
    """Write a book as CSV with a header line: times as ISO 8601, what cannot be printed as escapes.

    The number of addresses. Raises StoreError.
    """
    count = 0
    try:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for record in records(book):
                for name in TIMES:
                    if record[name] is not None:
                        record[name] = format_time(record[name] * 10**9)[:19] + "Z"
                record["user_agent"] = record["user_agent"] and printable(record["user_agent"])
                writer.writerow(record)
                count += 1
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    return count


def write_parquet(book: AddressBook, path: str) -> int:
    """Write a book as Parquet; times as timestamps in UTC. The number of addresses.

    Raises StoreError, and MissingDependency without pyarrow.
    """
    pa, pq = pyarrow(path)
    types = {"text": pa.string(), "int": pa.int64(), "flags": pa.uint64(), "time": pa.timestamp("s", tz="UTC"),
             "real": pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    count, rows = 0, records(book)
    try:
        with pq.ParquetWriter(path, schema) as writer:
            while some := list(islice(rows, _ROWS)):
                writer.write_table(pa.Table.from_pylist(some, schema))
                count += len(some)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    return count


COLUMNS = {
    "address": "text",
    "port": "int",
    "network": "text",
    "services": "flags",
    "version": "int",
    "transport": "text",
    "user_agent": "text",
    "start_height": "int",
    "latency": "real",
    "addresses": "int",
    "source": "text",
    "first_seen": "time",
    "last_seen": "time",
    "tried": "time",
    "success": "time",
    "successes": "int",
    "failures": "int",
    "error": "text",
    "reason": "text",
}
"""Name and type of every column; what they mean is in the schema of `addressbook`."""
