# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses of nodes in an SQLite file: who told them, what came of dialling them, and what a crawl has still to do.

The file belongs to one network, several processes may use it, and sizes are bounded: see `AddressBook`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any, NamedTuple

from ..chain.address import format_bip155, parse
from ..errors import FormatError, StoreError
from ..networks import Network
from ..protocol import BIP155_ADDRESS_SIZES, BIP155Network
from .database import Database
from .reach import Kind, kind_of, kind_of_text

PER_SOURCE = 4_096
"""Addresses that one host may have been the first to tell; four pages of 1,000 at most, as many as Core keeps."""
TOTAL = 1_000_000
"""Addresses in all."""

USER = "user"
"""The source of what the user named: dialled whatever kind it is."""

# Bitcoin Core's rules for addresses (addrman: IsTerrible, nTime of a peer's addr)
RETRIES = 3
"""Failures after which an address that never answered is given up."""
MAX_FAILURES, MIN_FAIL = 10, 7 * 86_400
"""Failures since the last success, if that is so long ago in seconds, after which an address is given up."""
HORIZON = 30 * 86_400
"""Seconds after which an address that nobody told again, and that did not answer, is given up."""
_FUTURE, _PENALTY, _EARLIEST = 600, 5 * 86_400, 100_000_000
_UPDATE = 3_600  # a told time counts when it is so much newer

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE address (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL,          -- "1.2.3.4", "2001:db8::1", "....onion"
    port INTEGER NOT NULL,
    network_id INTEGER NOT NULL,    -- BIP 155
    services INTEGER NOT NULL,      -- as told; once it answered, of its version. 64 bits, so read them as unsigned
    source TEXT NOT NULL,           -- host that told it first, "user", "fixed", the name of a seed
    first_seen INTEGER NOT NULL,    -- by us; this and all times: seconds since 1970
    last_seen INTEGER NOT NULL,     -- as told
    tried INTEGER,                  -- last attempt
    success INTEGER,                -- last handshake
    successes INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,    -- since the last success
    version INTEGER,
    transport TEXT,                 -- by which it said that: v1, v2
    user_agent TEXT,
    start_height INTEGER,
    latency REAL,                   -- of a ping, seconds
    addresses INTEGER,              -- that it told in its last conversation
    error TEXT,                     -- of the last attempt: refused, timed-out ...
    reason TEXT,                    -- the same in words
    pending INTEGER NOT NULL DEFAULT 1,     -- the present run has still to visit it
    UNIQUE (address, port)
);
CREATE INDEX newest ON address (network_id, last_seen) WHERE pending;
CREATE INDEX eldest ON address (network_id) WHERE pending;
CREATE INDEX told ON address (source);
CREATE TABLE run (id INTEGER PRIMARY KEY, started INTEGER NOT NULL, ended INTEGER);
"""

_GIVEN_UP = f"""(success IS NULL AND failures >= {RETRIES}
    OR failures >= {MAX_FAILURES} AND success < :now - {MIN_FAIL}
    OR max(last_seen, ifnull(success, 0)) < :now - {HORIZON})"""

_NETWORKS = ", ".join(map(str, BIP155_ADDRESS_SIZES))
_YEAR_9999 = 253_402_300_799
_SOUND = " AND ".join((
    f"port BETWEEN 0 AND 65535 AND network_id IN ({_NETWORKS})",
    *(f"typeof({name}) = 'text'" for name in ("address", "source")),
    *(f"typeof({name}) = 'integer'" for name in ("port", "services", "successes", "failures")),
    *(f"typeof({name}) IN ('text', 'null')" for name in ("transport", "user_agent", "error", "reason")),
    *(f"typeof({name}) IN ('integer', 'real', 'null')" for name in ("version", "start_height", "latency", "addresses")),
    *(f"ifnull({name}, 0) BETWEEN 0 AND {_YEAR_9999}" for name in ("first_seen", "last_seen", "tried", "success")),
))
"""What holds for every row that was written here: SQLite itself takes any value in any column."""


class Told(NamedTuple):
    """An address as somebody told it."""

    address: str
    port: int
    services: int
    time: int
    """Seconds since 1970."""


class Added(NamedTuple):
    """What became of told addresses."""

    new: int
    known: int
    refused: Counter[str]
    """Why others were not taken: the `Kind` that the book does not keep to, or "too many"."""


class AddressBook(Database):
    """A file of addresses of one network.

    An address is taken when it is of the `kind` that the file keeps to, and has a port (I2P has none). One host can be
    the first to tell `per_source` of them, and the book takes no more when it holds `total`. What did not answer for
    long is removed when a new run begins (`begin_run`), never during one.

    :param path: ":memory:" keeps it in memory
    :ivar kind: which addresses are taken; those that are routable, unless `keep_to` said something else
    """

    WHAT = "an address book"
    APPLICATION_ID = 0x62746161  # "btaa"
    VERSION = 2
    SCHEMA = SCHEMA

    def __init__(self, path: str | Path, network: Network, per_source: int = PER_SOURCE, total: int = TOTAL) -> None:
        self.network, self._per_source, self._total = network, per_source, total
        self._size: int | None = None
        super().__init__(path)
        try:
            with self.transaction():
                self._db.execute("INSERT OR IGNORE INTO meta VALUES ('network', ?)", (network.name,))
                name, kind = (self._one("SELECT value FROM meta WHERE key = ?", key) for key in ("network", "kind"))
            if name != network.name:
                raise StoreError(f"{self.path}: an address book of {name}, not of {network.name}")
            if self._rows(f"SELECT 1 FROM address WHERE ({_SOUND}) IS NOT 1 LIMIT 1"):
                raise StoreError(f"{self.path}: damaged: delete the file to begin anew")
            self.kind = Kind(kind or Kind.ROUTABLE)
        except ValueError as error:
            self.close()
            raise StoreError(f"{self.path}: damaged: {error}") from error
        except BaseException:
            self.close()
            raise

    def keep_to(self, kind: Kind) -> None:
        """Take addresses of this kind from now on."""
        with self.transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('kind', ?)", (kind.value,))
        self.kind = kind

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            with super().transaction():
                yield
        except BaseException:
            self._size = None
            raise

    def _rows(self, sql: str, *values: Any, **named: Any) -> list[Any]:
        with self._told():
            return self._db.execute(sql, named or values).fetchall()

    # Addresses

    @property
    def size(self) -> int:
        """Addresses in the book, as far as this process knows."""
        if self._size is None:
            self._size = int(self._rows("SELECT count(*) FROM address")[0][0])
        return self._size

    def add(self, told: Iterable[Told], source: str, now: int) -> Added:
        """Take up addresses that somebody told, in one transaction. Raises StoreError.

        :param source: the teller's host, the name of a seed, or `USER`
        :param now: seconds since 1970
        """
        known, refused = 0, Counter[str]()
        new: dict[tuple[str, int], tuple[Any, ...]] = {}
        newer: list[tuple[int, str, int]] = []
        find = self._db.execute
        with self.transaction():
            room = self._total - self.size
            if source != USER:
                room = min(room, self._per_source - self._one("SELECT count(*) FROM address WHERE source = ?", source))
            for address, port, services, said in told:
                time = said if _EARLIEST < said <= now + _FUTURE else now - _PENALTY
                last = find("SELECT last_seen FROM address WHERE address = ? AND port = ?", (address, port)).fetchone()
                if last or (address, port) in new:
                    known += 1
                    if last and time > last[0] + _UPDATE:
                        newer.append((time, address, port))
                    continue
                network_id = self._network_of(address, port, source == USER)
                if network_id is None or len(new) >= room:
                    kind = kind_of_text(address)
                    wrong = kind if kind is not self.kind else Kind.INVALID  # for its port
                    refused["too many" if network_id else wrong.value] += 1
                    continue
                new[address, port] = (address, port, network_id, _signed(services), source, now, time)
            self._db.executemany(
                "INSERT INTO address (address, port, network_id, services, source, first_seen, last_seen)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)", new.values())
            self._db.executemany("UPDATE address SET last_seen = ? WHERE address = ? AND port = ?", newer)
        self._size = self.size + len(new)
        return Added(len(new), known, refused)

    def add_user(self, host: str, port: int, now: int) -> None:
        """Take up what the user named, to be dialled in the present run. Raises FormatError for a host that is a name,
        or of a network that nobody knows.
        """
        network_id, data = parse(host)
        if network_id not in BIP155_ADDRESS_SIZES:
            raise FormatError(f"an address of no known network: {host!r}")
        address = format_bip155(network_id, data)
        with self.transaction():
            self.add([Told(address, port, 0, now)], USER, now)
            self._db.execute("UPDATE address SET source = ?, pending = pending OR tried IS NULL"
                             " WHERE address = ? AND port = ?", (USER, address, port))

    def _network_of(self, address: str, port: int, any_kind: bool) -> int | None:
        """The BIP 155 network id of an address that may be taken."""
        try:
            network_id, data = parse(address)
        except FormatError:
            return None
        if not any_kind and kind_of(network_id, data) is not self.kind:
            return None
        return network_id if 0 < port < 65536 or network_id == BIP155Network.I2P else None

    def may_dial(self, address: str, source: str) -> bool:
        """Whether an address of the book may be dialled in this crawl: one may have come in by an earlier one."""
        return source == USER or self._network_of(address, 1, False) is not None

    # Choosing

    def best(self, count: int, network_ids: Sequence[int], now: int) -> list[tuple[str, int, int]]:
        """Addresses worth dialling, as (address, port, services): those that answered last first, then untried ones
        that were seen last."""
        marks = ", ".join(map(str, network_ids))
        return self._rows(
            f"SELECT address, port, services FROM address WHERE network_id IN ({marks}) AND NOT {_GIVEN_UP}"
            " ORDER BY success IS NULL, success DESC, failures, last_seen DESC, id LIMIT :count", now=now, count=count)

    def pending(self, count: int, network_ids: Sequence[int]) -> list[tuple[int, str, int, str, int]]:
        """What the present run has still to visit, as (id, address, port, source, services), at least one if there is
        any.

        Of each network half are those that were seen last, half those that were told first: whoever tells false
        addresses says that he has just seen them.

        :param count: of each network and half
        """
        found: dict[int, Any] = {}
        for network_id in network_ids:
            for order in ("last_seen DESC", "id"):
                found |= {row[0]: row for row in self._rows(
                    f"SELECT id, address, port, source, services FROM address WHERE pending AND network_id = ?"
                    f" ORDER BY {order} LIMIT ?", network_id, count)}
        return list(found.values())

    # Runs

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one process at a time is inside, so that no node is dialled twice. Raises StoreError."""
        if self.path == ":memory:":
            yield
            return
        try:
            file = open(f"{self.path}.lock", "a")  # noqa: SIM115  # empties nothing; SQLite's own locks are not touched
        except OSError as error:
            raise StoreError(f"{self.path}.lock: {error.strerror}") from error
        with file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except OSError:
                raise StoreError(f"{self.path}: another process crawls with it") from None
            yield

    def begin_run(self, now: int) -> bool:
        """Go on with a run that was not finished (True), or begin a new one, for which every address is pending."""
        with self.transaction():
            if self._one("SELECT count(*) FROM run WHERE ended IS NULL"):
                return True
            self._db.execute(f"DELETE FROM address WHERE {_GIVEN_UP}", {"now": now})
            self._db.execute("UPDATE address SET pending = 1 WHERE NOT pending")
            self._db.execute("INSERT INTO run (started) VALUES (?)", (now,))
            self._size = None
        return False

    def end_run(self, now: int) -> None:
        """Everything that can be reached was visited."""
        with self.transaction():
            self._db.execute("UPDATE run SET ended = ? WHERE ended IS NULL", (now,))

    def done(self, row: int) -> None:
        """The present run has visited the address with that id."""
        with self.transaction():
            self._db.execute("UPDATE address SET pending = 0 WHERE id = ?", (row,))

    def tried(self, address: str, port: int, now: int, error: str = "", reason: str = "",
              version: dict[str, Any] | None = None, latency: float | None = None, addresses: int | None = None,
              transport: str | None = None) -> None:
        """What came of an attempt to talk to a node; nothing is kept of one that is not in the book.

        :param error: a code, "" for none; `reason` says it in words
        :param version: what the node said of itself: version, services, user_agent, start_height; None: no handshake
        :param latency: of a ping, seconds
        :param addresses: how many it told; None: it was not asked
        :param transport: by which it said its version
        """
        result: dict[str, Any] = {"tried": now, "error": error or None, "reason": reason or None}
        if version is not None:
            result |= {"success": now, "services": _signed(version["services"]), "version": version["version"],
                       "user_agent": version.get("user_agent"), "start_height": version.get("start_height"),
                       "latency": latency, "transport": transport}
            if addresses is not None:
                result["addresses"] = addresses
        count = "failures = failures + 1" if version is None else "successes = successes + 1, failures = 0"
        with self.transaction():
            self._db.execute(
                f"UPDATE address SET {count}, {', '.join(f'{name} = :{name}' for name in result)}"
                " WHERE address = :address AND port = :port", {**result, "address": address, "port": port})

    # Results

    def rows(self, only_reached: bool = False) -> Iterator[dict[str, Any]]:
        """Every address with all that is known, sorted; `only_reached`: those whose last attempt was a success."""
        where = "WHERE success = tried" if only_reached else ""
        with self._told():
            cursor = self._db.execute(f"SELECT * FROM address {where} ORDER BY network_id, address, port")
            names = [column[0] for column in cursor.description]
            for values in cursor:
                row = dict(zip(names, values, strict=True))
                row["services"] &= (1 << 64) - 1
                yield row

    def counts(self, column: str, where: str = "1", limit: int = -1) -> list[tuple[Any, int]]:
        """How often each value of a column occurs, most often first; `column` and `where` are SQL of ours."""
        return self._rows(f"SELECT {column}, count(*) AS n FROM address WHERE {where} GROUP BY 1 ORDER BY n DESC, 1"
                          " LIMIT ?", limit)


def _signed(services: int) -> int:
    """64 bits as SQLite keeps them."""
    return services - (1 << 64) if services >> 63 else services
