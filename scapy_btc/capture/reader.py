# SPDX-License-Identifier: GPL-2.0-or-later
"""`read`: the messages of any source, which is told by its content."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import CaptureError
from ..networks import Network, by_name
from . import pcap, pcapng
from .bytesource import ByteSource
from .message import Message, StreamEvent
from .streams import StreamTable

if TYPE_CHECKING:
    from ..bip324.keylog import KeyLog

Item = Message | StreamEvent
Source = str | os.PathLike[str] | BinaryIO


class Reader:
    """An iterator over the messages of a source; also a context manager that closes what was opened.

    :ivar counts: how many messages, events and connections there were so far, and what else the source held
    """

    def __init__(self, items: Iterable[Item], counts: Counter[str], source: ByteSource | None = None,
                 file: BinaryIO | None = None) -> None:
        self.counts = counts
        self._source, self._file = source, file
        self._items = _closing(items, file)

    @property
    def position(self) -> int:
        """Bytes of the file that were read so far, compressed as they are."""
        return self._source.position if self._source else 0

    def __iter__(self) -> Iterator[Any]:
        return self._items

    def __next__(self) -> Any:
        return next(self._items)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the reading."""
        self._items.close()
        if self._file:  # a generator that was never started closes nothing
            self._file.close()

    def only_messages(self) -> Reader:
        """The same without the events, which are still counted."""
        self._items = _closing(filter(_is_message, self._items), None)
        return self


def _closing(items: Iterable[Item], file: BinaryIO | None) -> Generator[Item, None, None]:
    try:
        yield from items
    finally:
        if file:
            file.close()


def read(source: Source | Sequence[Source], events: bool = False, network: Network | str | None = None,
         follow: bool = False, keylog: KeyLog | str | os.PathLike[str] | None = None,
         guess: bool = False) -> Reader:
    """The messages of a capture, a message capture of Bitcoin Core, or a block file.

    :param source: a path, `-` for standard input, or a binary file; pcap and pcapng, also gzip or zstd; for message
        captures a `msgs_recv.dat`, a `msgs_sent.dat` or a directory of them; `blk*.dat` or a directory of them; or
        several of these, read one after the other, each by itself, with connections numbered through
    :param events: also give what is no message but must not be lost (`StreamEvent`); it is always counted
    :param network: read as this network; without it the magic tells, then the port; a message capture is mainnet's
    :param follow: message captures: go on while they grow
    :param keylog: a file of keys of v2 connections (BIP 324), see `bip324.keylog`
    :param guess: also give events that say what the writes of v2 connections may be that cannot be decrypted, from
        their sizes
    :return: an iterator of `Message` (and `StreamEvent`)

    Raises CaptureError, at once or after everything readable, when the source is none of these, damaged or cut short;
    of several sources after the last one. Likewise when there is no such file of keys.
    """
    known = by_name(network) if isinstance(network, str) else network
    keys = keys_of(keylog)
    if isinstance(source, (list, tuple)):
        counts: Counter[str] = Counter()
        reader = Reader(_one_after_the_other(source, known, follow, keys, guess, counts), counts)
    else:
        reader = _open(source, known, follow, keys, guess)
    return reader if events else reader.only_messages()


def keys_of(keylog: KeyLog | str | os.PathLike[str] | None, must_exist: bool = True) -> KeyLog | None:
    """The key log of a file. Raises CaptureError where there is none."""
    if not isinstance(keylog, (str, os.PathLike)):
        return keylog
    from ..bip324.keylog import KeyLog

    if must_exist and not os.path.exists(keylog):
        raise CaptureError(f"{os.fspath(keylog)}: no such key log")
    return KeyLog(keylog)


def read_live(frames: Iterable[tuple[int, int, int, bytes, int]], network: Network | None = None,
              keylog: KeyLog | str | os.PathLike[str] | None = None, guess: bool = False) -> Reader:
    """The messages and events of frames as they come: (number, time_ns, linktype, bytes, original length).

    :param keylog: a file of keys, as for `read`; it may come to be later
    :param guess: as for `read`
    """
    table = StreamTable(network, keylog=keys_of(keylog, must_exist=False), guess=guess)
    return Reader((item for frame in frames for item in table.feed(*frame)), table.counts)


def _one_after_the_other(sources: Sequence[Source], network: Network | None, follow: bool, keylog: KeyLog | None,
                         guess: bool, counts: Counter[str]) -> Iterator[Item]:
    """What several sources hold; `counts` grows with each source that is done."""
    failures = []
    first = following = 0
    for source in sources:
        try:
            with _open(source, network, follow, keylog, guess) as reader:
                try:
                    for item in reader:
                        if item.connection is not None:
                            item.connection += first
                            following = max(following, item.connection + 1)
                        yield item
                finally:
                    counts.update(reader.counts)
        except CaptureError as error:
            failures.append(str(error))
        first = following
    if failures:
        raise CaptureError("; ".join(failures))


def _open(source: Any, network: Network | None, follow: bool, keylog: KeyLog | None, guess: bool) -> Reader:
    if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
        from .message_log import read_directory

        counts: Counter[str] = Counter()
        blocks = sorted(Path(source).glob("blk*.dat"))
        items = _block_files(blocks, network) if blocks else read_directory(source, network, follow)
        return Reader(_counted(items, counts), counts)
    file, opened = _file_of(source)
    name = "standard input" if sys.stdin and file is sys.stdin.buffer else str(getattr(file, "name", "input"))
    try:
        return _open_file(file, opened, name, network, follow, keylog, guess)
    except BaseException:
        if opened:
            opened.close()
        raise


def _open_file(file: BinaryIO, opened: BinaryIO | None, name: str, network: Network | None, follow: bool,
               keylog: KeyLog | None, guess: bool) -> Reader:
    bytesource = ByteSource(file, name)
    head = bytesource.peek(64)
    if head[:4] in pcap.MAGICS or head[:4] == pcapng.MAGIC:
        frames = pcap.pcap_frames(bytesource) if head[:4] in pcap.MAGICS else pcapng.pcapng_frames(bytesource)
        table = StreamTable(network, keylog=keylog, guess=guess)
        return Reader(_messages(frames, table, name), table.counts, bytesource, opened)
    from .block_files import looks_like_block_file, read_blocks
    from .message_log import looks_like_log, read_log

    counts: Counter[str] = Counter()
    if looks_like_block_file(head, name):
        items = read_blocks(bytesource, network)
    elif looks_like_log(head):
        items = read_log(bytesource, network, follow)
    elif not head:
        raise CaptureError(f"{name}: empty")
    else:
        raise CaptureError(
            f"{name}: not a capture (pcap, pcapng), message capture (msgs_*.dat) or block file (blk*.dat)"
        )
    return Reader(_counted(items, counts), counts, bytesource, opened)


def _block_files(paths: Iterable[Path], network: Network | None) -> Iterator[Item]:
    """The blocks of the files of a folder, one after the other."""
    from .block_files import read_blocks

    for path in paths:
        file, _ = _file_of(path)
        with file:
            yield from read_blocks(ByteSource(file, str(path)), network)


def _file_of(source: Any) -> tuple[BinaryIO, BinaryIO | None]:
    """The file to read, and the same once more if it was opened here."""
    if source == "-":
        if sys.stdin is None:
            raise CaptureError("standard input is closed")
        return sys.stdin.buffer, None
    if not isinstance(source, (str, os.PathLike)):
        return source, None
    try:
        file = open(source, "rb")  # noqa: SIM115  # the reader closes it
    except OSError as error:
        raise CaptureError(f"{os.fspath(source)}: {error.strerror}") from error
    return file, file


def _messages(frames: Iterable[pcap.CapturedFrame], table: StreamTable, name: str) -> Iterator[Item]:
    """What captured frames hold; what still waits comes also when the frames end with an error."""
    try:
        yield from table.read(frames)
    except CaptureError:
        yield from table.close()
        raise
    yield from table.close()
    if table.unsupported is not None and not table.counts["connections"]:
        raise CaptureError(f"{name}: frames of link type {table.unsupported} cannot be read")


def _counted(items: Iterable[Item], counts: Counter[str]) -> Iterator[Item]:
    for item in items:
        counts["messages" if isinstance(item, Message) else item.event] += 1
        yield item


def _is_message(item: Item) -> bool:
    return isinstance(item, Message)
