# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading sources one after the other, and showing what they hold: what `read` and `sniff` have in common."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..capture import reader as readers
from ..capture.message import Message
from ..capture.message_log import looks_like_log
from ..capture.reader import keys_of, read
from ..capture.select import Selection
from ..errors import CaptureError
from ..layers.registry import lookup, printable
from ..messages.findings import Severity, severity
from ..text import plural
from ..wire.hashes import hash_hex
from .ending import status_after
from .options import refuse_idle, selection, suggestion
from .printing import Printer, use_colour

if TYPE_CHECKING:
    from ..bip324.keylog import KeyLog

ERRORS_FOUND = 3
PATIENCE = 1.0
"""Seconds of work before a bar is shown."""


class Show:
    """Prints, writes and counts what was selected of any number of sources.

    :param chosen: the options of `options.output`
    :param live: hand on every line and message at once: somebody waits for it
    :ivar more: what the closing line says besides
    """

    def __init__(self, chosen: dict[str, Any], wanted: Selection, stack: ExitStack, live: bool = False) -> None:
        self.wanted, self.live = wanted, live
        self.limit, self.quiet, self.strict = chosen["limit"], chosen["quiet"], chosen["strict"]
        out = sys.stderr if chosen["write"] == "-" else sys.stdout
        self.printer = Printer(
            out, chosen["form"], chosen["tree"], chosen["hexdump"], not chosen["no_fields"], chosen["derived"],
            chosen["payload"], thorough=self.strict, colour=use_colour(out))
        self.writer = None
        if chosen["write"]:
            from ..capture.writers import open_writer

            self.writer = stack.enter_context(open_writer(chosen["write"], live))
        self.more: list[str] = []
        self.seen = 0
        self.messages = 0
        self.bytes = 0
        self.findings: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.unknown = unknown_names(wanted)

    def take(self, reader: Iterable[Any]) -> None:
        """Show what a reader gives, until it ends or enough was shown; raises what it raises."""
        quiet, printer, wanted = self.quiet, self.printer, self.wanted
        known = set(wanted.transactions)
        for item in reader:
            if not isinstance(item, Message):
                if wanted.covers(item):
                    self.events[item.event] += 1
                    if not quiet and not wanted.by_content:
                        printer.event(item)
                continue
            self.seen += 1
            if self.unknown:
                self.unknown.discard(item.msgtype)
            chosen = wanted(item)
            if len(wanted.transactions) != len(known):  # of a source that could not be read before
                for other in wanted.transactions - known:
                    click.echo(f"scapy-btc: also known as {hash_hex(other)}", err=True)
                known |= wanted.transactions
            if not chosen:
                continue
            self.messages += 1
            self.bytes += len(item.payload)
            found = printer.findings(item)
            if found:
                self.findings.update(found)
            if not quiet:
                printer.message(item, found)
                if self.live:
                    printer.flush()
            if self.writer:
                self.writer.write(item)
            if self.limit and self.messages >= self.limit:
                return

    def tell_unknown(self) -> None:
        """Say which of the names that are chosen no message has; once. Of what has no end, when it begins."""
        tell_unknown(self.unknown)
        self.unknown = set()

    @property
    def full(self) -> bool:
        return bool(self.limit and self.messages >= self.limit)

    def closing(self) -> str:
        """One line: how much, and what was wrong."""
        parts = [f"{self.messages:,} message{'' if self.messages == 1 else 's'}, {self.bytes:,} payload bytes"]
        if self.seen and not self.messages:
            parts = [f"0 of {self.seen:,} message{'' if self.seen == 1 else 's'} were chosen"]
        parts += [f"{name} {count:,}" for name, count in self.events.items()]
        parts += [f"{code} {count:,}" for code, count in self.findings.most_common()]
        parts += self.more
        return "; ".join(parts)

    def close(self, failed: bool) -> int:
        """End the output, and give the exit status."""
        if failed and not self.messages:
            self.printer.close()
        elif self.quiet and self.printer.form == "text":
            click.echo(self.closing(), file=self.printer.out)
        else:
            self.printer.close()
            click.echo(self.closing(), err=True)
        if self.writer and self.events:
            lost = ", ".join(f"{name} {count:,}" for name, count in self.events.items() if name != "guess")
            click.echo(f"scapy-btc: not written: {lost}", err=True)
        unknown = bool(self.unknown) and not self.full
        self.tell_unknown()
        if failed or unknown:
            return 1
        bad = any(severity(code) == Severity.ERROR for code in self.findings)
        return ERRORS_FOUND if self.strict and bad else 0


def read_files(files: tuple[str, ...], chosen: dict[str, Any]) -> int:
    """Show the messages of files; the exit status."""
    refuse_idle(chosen)
    wanted = selection(chosen)
    network, follow, guess = chosen.pop("network"), chosen.pop("follow"), chosen.pop("guess")
    keylog = keys_of(chosen.pop("keylog"))
    refuse_overwriting(chosen["write"], (*files, *paths_of(keylog)))
    if follow:
        refuse_following(files)
    tell_no_keys(keylog)
    learn_ids(wanted, files, network, keylog)
    noting = network_note(network)
    failed = False
    with ExitStack() as stack:
        show = Show(chosen, wanted, stack, live=follow or "-" in files)
        try:
            for name in files:
                if show.full:
                    break
                try:
                    out = None if show.quiet else show.printer.out
                    found = keylog.found if keylog else 0
                    with progress(name, out) as report, read(name, events=True, network=network, follow=follow,
                                                             keylog=keylog, guess=guess) as reader:
                        show.take(noting(report(reader)))
                    tell_unread(name, reader.counts, keylog, found)
                except CaptureError as error:
                    failed = True
                    sys.stdout.flush()
                    click.echo(f"scapy-btc: {reason_of(name, error)}", err=True)
        except KeyboardInterrupt:
            show.close(failed)
            raise
        return show.close(failed)


def read_live(interfaces: tuple[str, ...], bpf: str | None, chosen: dict[str, Any]) -> int:
    """Show the messages of interfaces until Ctrl-C; the exit status."""
    if "-" in interfaces:
        return read_files(("-",), {**chosen, "follow": False})
    from ..capture.live import LiveFrames

    refuse_idle(chosen)
    wanted = selection(chosen)
    network, keylog, guess = chosen.pop("network"), keys_of(chosen.pop("keylog"), must_exist=False), chosen.pop("guess")
    tell_no_keys(keylog)
    refuse_overwriting(chosen["write"], paths_of(keylog))
    with ExitStack() as stack:
        show = Show(chosen, wanted, stack, live=True)
        frames = LiveFrames(interfaces, bpf)
        stack.callback(frames.close)
        show.tell_unknown()
        stop = None
        with readers.read_live(frames, network, keylog, guess) as reader:
            try:
                click.echo(f"scapy-btc: listening on {', '.join(frames.names)}; Ctrl-C ends it", err=True)
                show.take(reader)
            except KeyboardInterrupt as interrupt:
                stop = interrupt
        frames.close()
        tell_unread(", ".join(frames.names), reader.counts, keylog)
        if frames.dropped:
            click.echo(f"scapy-btc: {frames.dropped:,} frames were dropped: too many to keep up with", err=True)
        status = show.close(failed=False)
    return status_after(stop, normal=True) or status


def learn_ids(wanted: Selection, files: tuple[str, ...], network: Any, keylog: Any = None) -> None:
    """Where transactions are followed, learn their other ids first: a wtxid is announced before its transaction comes.

    Pipes can be read only once; what is wrong with a file is told when it is read for its messages.
    """
    if not wanted.transactions:
        return
    for name in files:
        if os.path.isfile(name) or os.path.isdir(name):
            with (suppress(CaptureError), progress(name) as report,
                  read(name, network=network, keylog=keylog) as reader):
                wanted.learn(report(reader))


def paths_of(keylog: KeyLog | None) -> tuple[str, ...]:
    return () if keylog is None else (os.fspath(keylog.path),)


def refuse_overwriting(target: str | None, files: tuple[str, ...]) -> None:
    """Raises UsageError when the file to write is one of those to read: opening it would empty it."""
    if not target or target == "-" or not os.path.exists(target):
        return
    for name in files:
        if name == "-":
            same = sys.stdin is not None and os.path.samestat(os.fstat(sys.stdin.fileno()), os.stat(target))
        elif os.path.isdir(name):
            same = target.endswith(".dat") and Path(name).resolve() in Path(target).resolve().parents
        else:
            same = os.path.exists(name) and os.path.samefile(name, target)
        if same and os.path.isfile(target):
            raise click.UsageError(f"-w {target!r} would overwrite what is read")


def refuse_following(files: tuple[str, ...]) -> None:
    """Raises UsageError when one of the files to follow is no message capture: only those grow."""
    for name in files:
        if name == "-" or not os.path.exists(name):
            continue
        if os.path.isdir(name):
            followable = not any(Path(name).glob("blk*.dat"))
        elif os.path.isfile(name) and os.access(name, os.R_OK):
            with open(name, "rb") as file:
                head = file.read(64)
            followable = not head or looks_like_log(head)
        else:
            continue
        if not followable:
            raise click.UsageError(f"--follow is for message captures (msgs_*.dat), and {name} is none")


def reason_of(name: str, error: CaptureError) -> str:
    """One line that says which file, and why."""
    text = str(error)
    return printable(text if name in text else f"{name}: {text}")


def unknown_names(wanted: Selection) -> set[str]:
    """Names that are chosen but that no message has, as far as is known."""
    return {name for name in wanted.msgtypes if lookup(name) is None}


def tell_unknown(names: set[str]) -> None:
    """Say that these names are no messages', lest nothing found be taken for an answer."""
    for name in sorted(names):
        click.echo(f"scapy-btc: no message is called {name!r}{suggestion(name)}", err=True)


def tell_no_keys(keylog: KeyLog | None) -> None:
    """Say that a file of keys has none."""
    if keylog is not None:
        keylog.refresh()
        if not len(keylog):
            what = "no line of it is a key" if keylog.broken else "no keys there yet"
            click.echo(f"scapy-btc: {printable(os.fspath(keylog.path))}: {what}", err=True)


def tell_unread(name: str, counts: Counter[str], keylog: KeyLog | None, found: int = 0) -> None:
    """Say what may be in a source although nothing of it was shown: v2 has no mark, so events tell only of ports that
    are Bitcoin's, and of connections whose key is there.

    :param found: how many keys were found before it was read
    """
    connections, messages = counts["connections"], counts["messages"]
    what = ""
    if keylog is not None and len(keylog) and keylog.found == found:
        if counts["v2 streams without a key"] or (connections and not messages):
            what = f"no key of {os.fspath(keylog.path)} is of a connection in it"
    elif connections and not messages and not (counts["encrypted"] or counts["unrecognised"]):
        what = f"nothing was recognised in {connections:,} TCP {plural(connections, 'connection')}"
        if keylog is None:
            what += "; v2 on other ports than Bitcoin's is read with --keylog"
    if what:
        where = "standard input" if name == "-" else name
        click.echo(printable(f"scapy-btc: {where}: {what}"), err=True)


def network_note(network: Any) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """A function that hands on what a reader gives, and says once that the network of a message capture is assumed."""
    told = network is not None

    def noting(items: Iterable[Any]) -> Iterator[Any]:
        nonlocal told
        for item in items:
            # block files, which have no ends, do have a magic
            if not told and isinstance(item, Message) and item.transport == "log" and item.destination:
                told = True
                click.echo("scapy-btc: no network is written in a message capture: read as mainnet; "
                           "--network says another", err=True)
            yield item

    return noting


@contextmanager
def progress(name: str, out: TextIO | None = None) -> Iterator[Callable[[Any], Any]]:
    """A bar on standard error while a file of known size is read, after a second of that, where it disturbs nothing.

    :param out: where messages are printed meanwhile; None where they are not
    """
    quiet = out is None or (out is sys.stdout and is_kept(out))
    if name == "-" or not sys.stderr.isatty() or not quiet or not os.path.isfile(name):
        yield lambda reader: reader
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    bars = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
                    console=Console(stderr=True), transient=True)
    task = bars.add_task(os.path.basename(name), total=os.path.getsize(name))
    began = time.monotonic()

    def report(reader: Any) -> Iterator[Any]:
        for number, item in enumerate(reader):
            if not number % 512 and time.monotonic() - began > PATIENCE:
                bars.start()
                bars.update(task, completed=reader.position)
            yield item

    try:
        yield report
    finally:
        if bars.live.is_started:
            bars.stop()


def is_kept(out: TextIO) -> bool:
    """Whether output goes to a file or nowhere: not to a terminal, nor to a program that may show it on one."""
    try:
        mode = os.fstat(out.fileno()).st_mode
    except (OSError, ValueError):  # closed, or no real file
        return False
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or out.isatty())
