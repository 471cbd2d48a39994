# SPDX-License-Identifier: GPL-2.0-or-later
"""An SQLite file of ours: told apart from other files, written in transactions, open to several processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StoreError

Self = TypeVar("Self", bound="Database")


class Database:
    """A file of one kind; a subclass says which. Use it in a `with` block, or close it.

    It is in WAL mode: a killed process loses the transaction that it was in and nothing else.

    :param path: ":memory:" keeps it in memory

    Raises StoreError, here and in every method, for a file that is something else or cannot be used.
    """

    WHAT: str
    """For people: "a header store"."""
    APPLICATION_ID: int
    """32 bits in the file's head that tell its kind."""
    VERSION: int
    """Of the schema (`user_version`)."""
    SCHEMA: str
    """Statements that make an empty file one of ours."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        with self._told():
            self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            with self.transaction():
                self._open()
            with self._told():  # only now: the mode stays in the file, which might have been somebody else's
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        version, application = (self._one(f"PRAGMA {name}") for name in ("user_version", "application_id"))
        if not version and not self._one("SELECT count(*) FROM sqlite_master"):
            for statement in self.SCHEMA.split(";\n"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {self.VERSION}")
            self._db.execute(f"PRAGMA application_id = {self.APPLICATION_ID}")
        elif application != self.APPLICATION_ID:
            raise StoreError(f"{self.path}: not {self.WHAT}")
        elif version != self.VERSION:
            raise StoreError(f"{self.path}: {self.WHAT} of version {version}, which this program does not know")

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeError) as error:  # the latter of a damaged file: names of columns
            raise StoreError(f"{self.path}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is done inside, or nothing of it; inside another one it is part of that."""
        with self._told():
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.commit()
            except BaseException:
                self._db.rollback()
                raise

    def _one(self, sql: str, *values: Any) -> Any:
        row = self._db.execute(sql, values).fetchone()
        return row[0] if row else None
