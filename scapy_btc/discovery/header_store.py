# SPDX-License-Identifier: GPL-2.0-or-later
"""Block headers in an SQLite file, so that a second run goes on where the first one ended.

    with HeaderStore("headers.sqlite", network) as store:
        chain = store.chain()
        for step in client.sync_headers(chain):
            store.save(chain)
"""

from __future__ import annotations

from pathlib import Path

from ..chain.headers import HeaderChain
from ..chain.proof_of_work import HEADER_SIZE, work
from ..errors import BTCError, FormatError, StoreError
from ..networks import Network
from .database import Database


class HeaderStore(Database):
    """The best chain of one network in a file that may hold those of several.

    Several processes may use a file at once: the chain with most work stays.
    """

    WHAT = "a store of headers"
    APPLICATION_ID = 0x62746168  # "btah"
    VERSION = 1
    SCHEMA = """
        CREATE TABLE header (
            network TEXT NOT NULL,
            height INTEGER NOT NULL,
            header BLOB NOT NULL,       -- 80 bytes, as they stand in a block
            PRIMARY KEY (network, height)
        ) WITHOUT ROWID"""

    def __init__(self, path: str | Path, network: Network) -> None:
        super().__init__(path)
        self.network = network

    def chain(self) -> HeaderChain:
        """What the file has of this network, or its genesis block alone.

        That the headers follow each other and have their proof of work is checked anew.
        """
        raw = bytearray()
        try:
            with self._told():
                for height, header in self._db.execute(
                        "SELECT height, header FROM header WHERE network = ? ORDER BY height", (self.network.name,)):
                    sound = isinstance(header, bytes) and len(header) == HEADER_SIZE
                    if height != len(raw) // HEADER_SIZE or not sound:
                        raise FormatError(f"header {len(raw) // HEADER_SIZE} is missing")
                    raw += header
            return HeaderChain(self.network, bytes(raw))
        except FormatError as error:
            raise StoreError(f"{self.path}: damaged: {error}; delete the file to fetch all headers again") from error

    def save(self, chain: HeaderChain) -> None:
        """Make the file hold this chain: append what is new, replace what a reorganisation replaced.

        A chain in the file that has more work than this one stays.
        """
        if chain.base or chain.network != self.network:
            raise BTCError(f"this store keeps chains of {self.network} from height 0, "
                           f"not of {chain.network} from {chain.base}")
        name = self.network.name
        with self.transaction():
            stored: int = self._one("SELECT ifnull(max(height), -1) FROM header WHERE network = ?", name)
            common = min(stored, chain.height)
            while common >= 0 and self._at(common) != chain.at(common):
                common -= 1
            if stored > common:
                others = self._db.execute("SELECT header FROM header WHERE network = ? AND height > ?", (name, common))
                if sum(_work(header) for header, in others) >= sum(map(_work, chain.after(common))):
                    return
                self._db.execute("DELETE FROM header WHERE network = ? AND height > ?", (name, common))
            self._db.executemany("INSERT INTO header VALUES (?, ?, ?)", (
                (name, height, header) for height, header in enumerate(chain.after(common), common + 1)))

    def _at(self, height: int) -> bytes:
        header: bytes = self._one("SELECT header FROM header WHERE network = ? AND height = ?",
                                  self.network.name, height)
        return header


def _work(header: bytes) -> int:
    return work(int.from_bytes(header[72:76], "little"))
