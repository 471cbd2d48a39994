# SPDX-License-Identifier: GPL-2.0-or-later
"""Message captures of Bitcoin Core (`-capturemessages`): per peer a folder with `msgs_recv.dat` and `msgs_sent.dat`.

A record is time (i64, microseconds since 1970), command (12 bytes), length (u32) and payload, all little-endian. What
was sent or received through the v2 transport stands there in clear, too. Several sessions with the same peer stand in
one file, one after the other.
"""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heapreplace
from pathlib import Path
from struct import Struct
from typing import BinaryIO

from ..errors import CaptureError
from ..networks import MAINNET, Network
from ..protocol import MAX_SIZE
from ..wire.events import Frame
from ..wire.header import is_well_formed, message_name
from .bytesource import ByteSource
from .message import Message, StreamEvent, msgtype_text

RECEIVED, SENT = "msgs_recv.dat", "msgs_sent.dat"

_header = Struct("<q12sI").unpack_from
_HEADER_SIZE = 24
_TIMES = range(1_230_768_000_000_000, 7_258_118_400_000_000)  # microseconds: from 2009 to 2200
_HANDLES, _BUFFER = 128, 1 << 16  # files open at a time, and bytes read ahead of each
_POLL = 0.2  # seconds
_PEER = re.compile(r".+_\d{1,5}")

_ReadAt = Callable[[int, int], bytes]
"""So many bytes at an offset of a file; fewer where it ends."""


def looks_like_log(head: bytes) -> bool:
    """Whether the first bytes of a file (24 are enough) are the header of a record."""
    if len(head) < _HEADER_SIZE:
        return False
    when, command, length = _header(head)
    return when in _TIMES and length <= MAX_SIZE and is_well_formed(command)


def peer_of(path: str | os.PathLike[str]) -> str:
    """The peer whose messages a file holds. Its folder has the address for a name, with "_" for every ":":
    "127.0.0.1_8333", "[2001_db8__1]_8333"; "peer" where the folder is named otherwise."""
    name = Path(path).absolute().parent.name
    return name.replace("_", ":") if _PEER.fullmatch(name) else "peer"


def read_log(
    source: ByteSource, network: Network | None = None, follow: bool = False
) -> Iterator[Message | StreamEvent]:
    """The messages of one file: sent if it is named `msgs_sent.dat`, else received.

    :param network: whose messages they are, mainnet's by default
    :param follow: go on while the file grows, until the iterator is closed; a pipe and a compressed file end anyway

    Raises CaptureError, after all that can be read, when the file is damaged or ends inside a record.
    """
    path = Path(source.name)
    if follow and _is_plain(path):
        return _followed(_Folder(path, network or MAINNET))
    return _merged([_Log(_stream(source), path, 0, network or MAINNET)], source.name, _Handles())


def read_directory(
    folder: str | os.PathLike[str], network: Network | None = None, follow: bool = False
) -> Iterator[Message | StreamEvent]:
    """The messages of a peer's folder, or of a folder of such folders, merged by time; parameters as of `read_log`.

    Connections are the folders, numbered in the order of their names. With `follow`, what has arrived is merged and
    handed on every 0.2 seconds, of new folders too; those get the next numbers.

    Raises CaptureError when there is no message capture; and, after all that can be read, when files are damaged or
    end inside a record.
    """
    found = _Folder(Path(folder), network or MAINNET)
    if follow:
        return _followed(found)
    logs = found.new_logs()
    if not logs:
        raise CaptureError(f"{folder}: no message capture ({RECEIVED}, {SENT}) in this directory")
    return _merged(logs, str(folder), found.handles)


class _Log:
    """One file of records."""

    def __init__(self, read: _ReadAt, path: Path, connection: int, network: Network) -> None:
        peer = peer_of(path)
        self.path = path
        self.ends = ("node", peer) if path.name.startswith("msgs_sent") else (peer, "node")
        self.offset = 0
        """Where the next record starts."""
        self.records = 0
        self.time_ns = 0
        self.damage = ""
        self._read = read
        self._connection = connection
        self._network = network
        self._head = b""  # header of the next record, as far as it is there
        self._payload = 0  # bytes of its payload, where the file ends inside it
        self._said: str | None = ""

    def next_time(self) -> int | None:
        """Time of the next record, in microseconds; None where there is none, or the file is damaged."""
        if len(self._head) < _HEADER_SIZE:
            self._head += self._read(self.offset + len(self._head), _HEADER_SIZE - len(self._head))
            if len(self._head) < _HEADER_SIZE:
                return None
        when, command, length = _header(self._head)
        if length > MAX_SIZE:
            self.damage = f"record {self.records + 1} announces {length:,} bytes"
        elif not is_well_formed(command):
            self.damage = f"record {self.records + 1} names no message"
        return None if self.damage else int(when)

    def take(self) -> Message | None:
        """The message whose time was told; None when the file ends inside it."""
        when, command, length = _header(self._head)
        start = self.offset
        payload = self._read(start + _HEADER_SIZE, length)
        if len(payload) < length:
            self._payload = len(payload)
            return None
        self._head = b""
        self.offset = end = start + _HEADER_SIZE + length
        self.records = number = self.records + 1
        self.time_ns = when * 1000
        source, destination = self.ends
        name = message_name(command)
        frame = Frame(self._network.magic, name, command, length, b"", payload, start, end, "none")
        return Message(
            self.time_ns, source, destination, self._connection, self._network, "log", msgtype_text(name), payload,
            "none", (number, number), frame, self._before(name),
        )  # fmt: skip

    def rest(self) -> StreamEvent | None:
        """What is left of a file that is damaged or ends inside a record."""
        size = len(self._head) + self._payload
        if not size:
            return None
        event, reason = "truncated", f"the file ends inside record {self.records + 1}"
        if self.damage:
            event, reason = "skipped", self.damage
            while more := len(self._read(self.offset + size, _BUFFER)):
                size += more
        numbers = (self.records + 1, self.records + 1)
        return StreamEvent(event, size, self.time_ns, self._connection, *self.ends, reason, numbers, self._network)

    def _before(self, name: bytes) -> str | None:
        """What was said in this session before a message of that name: a `version` begins another session."""
        said = "" if name == b"version" else self._said
        if name in (b"version", b"verack"):
            self._said = None if said is None else name.decode()
        elif said == "":
            self._said = said = None
        return said


class _Handles:
    """Open files, of which there may be more than can be open: the one not used for the longest time is closed."""

    def __init__(self) -> None:
        self._files: OrderedDict[Path, BinaryIO] = OrderedDict()

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Bytes of a file; fewer where it ends."""
        try:
            file = self._files.get(path)
            if file is None:
                if len(self._files) >= _HANDLES:
                    self._files.popitem(last=False)[1].close()
                file = self._files[path] = open(path, "rb", buffering=_BUFFER)  # noqa: SIM115  (closed in turn)
            else:
                self._files.move_to_end(path)
            file.seek(offset)
            return file.read(size)
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror or error}") from error

    def close(self) -> None:
        while self._files:
            self._files.popitem()[1].close()


class _Folder:
    """Finds the files of a folder: a peer's, or one of such folders; or is one file itself."""

    def __init__(self, path: Path, network: Network) -> None:
        self.handles = _Handles()
        self._path = path
        self._network = network
        self._known: set[Path] = set()
        self._connections: dict[Path, int] = {}

    def new_logs(self) -> list[_Log]:
        """The files that are there and were not before."""
        logs = []
        for path in sorted(path for path in self._files() if path not in self._known):
            self._known.add(path)
            connection = self._connections.setdefault(path.parent, len(self._connections))
            logs.append(_Log(self._reader_of(path), path, connection, self._network))
        return logs

    def _files(self) -> Iterator[Path]:
        if self._path.is_file():
            yield self._path
            return
        try:
            folders = [self._path, *(Path(entry.path) for entry in os.scandir(self._path) if entry.is_dir())]
        except OSError as error:
            raise CaptureError(f"{self._path}: {error.strerror or error}") from error
        for folder in folders:
            for name in (RECEIVED, SENT):
                path = folder / name
                if path not in self._known and path.is_file():
                    yield path

    def _reader_of(self, path: Path) -> _ReadAt:
        return lambda offset, size: self.handles.read(path, offset, size)


def _stream(source: ByteSource) -> _ReadAt:
    """Reads a source that cannot be sought in: each offset follows the bytes before."""
    buffer = source.read()
    pos = 0

    def read(offset: int, size: int) -> bytes:
        nonlocal buffer, pos
        if len(buffer) - pos < size:
            buffer, pos = source.read_at_least(size, buffer[pos:]), 0
        pos += size
        return buffer[pos - size : pos]

    return read


def _in_order(logs: list[_Log]) -> Iterator[Message]:
    """What the files hold, merged by time; only the header of each file's next record is held."""
    heap = [(when, place) for place, log in enumerate(logs) if (when := log.next_time()) is not None]
    heapify(heap)
    while heap:
        place = heap[0][1]
        log = logs[place]
        message = log.take()
        if message:
            yield message
            when = log.next_time()
            if when is not None:
                heapreplace(heap, (when, place))
                continue
        heappop(heap)


def _merged(logs: list[_Log], name: str, handles: _Handles) -> Iterator[Message | StreamEvent]:
    """All messages of files that do not grow, then what is left of those that are damaged."""
    failures = []
    try:
        yield from _in_order(logs)
        for log in logs:
            rest = log.rest()
            if rest:
                yield rest
                where = f"{log.path.parent.name}/{log.path.name} is " if len(logs) > 1 else ""
                failures.append(f"{where}{'damaged and cut short' if log.damage else 'cut short'}: {rest.reason}")
    finally:
        handles.close()
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise CaptureError(f"{name}: {failures[0]}{more}")


def _followed(folder: _Folder) -> Iterator[Message | StreamEvent]:
    """The messages of files as they are written; ends when the iterator is closed."""
    logs: list[_Log] = []
    sizes: dict[Path, int] = {}
    try:
        while True:
            logs += folder.new_logs()
            grown = []
            for log in logs:
                size = _size(log.path)
                if size not in (0, sizes.get(log.path)):
                    sizes[log.path] = size
                    grown.append(log)
            yield from _in_order(grown)
            for log in grown:
                if log.damage and (rest := log.rest()):
                    yield rest
                    logs.remove(log)
            time.sleep(_POLL)
    finally:
        folder.handles.close()


def _is_plain(path: Path) -> bool:
    """Whether a path is an uncompressed log on a disk."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return looks_like_log(file.read(_HEADER_SIZE))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # removed: nothing more to read
