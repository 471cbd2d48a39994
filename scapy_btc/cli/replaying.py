# SPDX-License-Identifier: GPL-2.0-or-later
"""Playing recordings, on the screen and to nodes: what `replay` does."""

from __future__ import annotations

import math
import sys
from collections import Counter
from contextlib import ExitStack
from typing import Any

import click

from ..capture.message import Message
from ..capture.reader import read
from ..capture.select import Selection
from ..chain.address import parse_endpoint
from ..errors import CaptureError, FormatError
from ..layers.registry import printable
from ..net.transports import Choice
from ..networks import Network
from ..replay.compare import Difference, line_of
from ..replay.live import Playing, play_listening, play_to
from ..replay.offline import paced
from ..replay.player import Outcome
from ..replay.script import CLIENT, SERVER, Script, load
from ..text import plural
from ..wire.header import HEADER_SIZE
from . import ending
from .options import allowed_address
from .printing import Printer, use_colour
from .reading import ERRORS_FOUND, Show, network_note, reason_of, refuse_overwriting
from .talking import DEFAULT, output

LINES = 5
"""Differences of one kind, of messages of one name, that are printed."""


class Ended(Exception):
    """The user pressed q."""


def speed_of(text: str | None, live: bool) -> float | None:
    """How many times faster; None: without pauses. Raises BadParameter."""
    if text is None:
        return None if live else 1.0
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise click.BadParameter(f"{text!r} is no positive number, and not max", param_hint="--speed")
    return speed


def key() -> None:
    """Wait for a key. Raises Ended; UsageError where there is no terminal."""
    try:
        pressed = click.getchar()
    except OSError as error:
        raise click.UsageError("--step needs a terminal") from error
    if pressed in ("q", "Q", "\x04", ""):
        raise Ended


def play_on_screen(file: str, connection: int | None, network: Network | None, keylog: str | None,
                   speed: float | None, step: bool, form: str, hexdump: bool, write: str | None, strict: bool,
                   **_: Any) -> int:
    """Print the messages of a recording at its pace; the exit status."""
    refuse_overwriting(write, (file, *filter(None, (keylog,))))
    shown = {"form": form, "hexdump": hexdump, "write": write, "strict": strict, "tree": False, "quiet": False,
             "limit": None, "no_fields": False, "derived": False, "payload": False}
    wanted = Selection(connections=frozenset() if connection is None else frozenset([connection]))
    noting = network_note(network)
    failed = False
    if step:
        click.echo("a key: the next message; q: the end", err=True)
    with ExitStack() as stack:
        show = Show(shown, wanted, stack, live=True)
        try:
            with read(file, events=True, network=network, keylog=keylog) as reader:
                chosen = (item for item in noting(reader) if wanted.covers(item))
                show.take(paced(chosen, speed, (lambda item: key()) if step else None))
        except Ended:
            pass
        except KeyboardInterrupt:
            show.close(failed)
            raise
        except CaptureError as error:
            failed = True
            sys.stdout.flush()
            click.echo(f"scapy-btc: {reason_of(file, error)}", err=True)
        return show.close(failed)


def play_live(file: str, node: str | None, listen: str | None, connection: int | None, network: Network | None,
              keylog: str | None, transport: Choice, new_keylog: str | None, speed: float | None, step: bool,
              timeout: float, verbatim: bool, anywhere: bool, form: str, hexdump: bool, write: str | None, strict: bool
              ) -> int:
    """Play one side of a connection to a node; the exit status."""
    from ..capture.writers import open_writer

    refuse_overwriting(write, (file, *filter(None, (keylog,))))
    try:
        with read(file, events=True, network=network, keylog=keylog) as reader:
            script = load(network_note(network)(reader), CLIENT if node else SERVER, connection)
    except CaptureError as error:
        raise CaptureError(reason_of(file, error)) from error
    host, port = endpoint(node, script.network.port) if node else endpoint(listen or "", None)
    host = allowed_address(host, port, anywhere)
    for note in script.notes:
        click.echo(f"scapy-btc: {printable(note)}", err=True)
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(write, live=True)) if write else None
        printer = Printer(sys.stderr, hexdump=True, colour=use_colour(sys.stderr)) if hexdump else None

        def sink(message: Message) -> None:
            if printer:
                printer.message(message, message.findings)
            if writer:
                writer.write(message)

        def ask(packet: Any) -> None:
            click.echo(f"to be sent: {line_of(packet.msgtype or '', bytes(packet)[HEADER_SIZE:])}  [a key, or q]",
                       err=True)
            key()

        how = Playing(timeout, speed, verbatim, ask if step else None, sink if printer or writer else None,
                      transport=transport, keylog=new_keylog)
        try:
            outcome = ending.run(conversation(script, host, port, bool(node), how))
        except Ended:
            return 0
    show_differences(outcome, form)
    click.echo(closing(outcome), err=True)
    if outcome.failure:
        click.echo(f"scapy-btc: {printable(outcome.failure)}", err=True)
        return 1
    return ERRORS_FOUND if strict and outcome.unexpected else 0


def endpoint(text: str, default: int | None) -> tuple[str, int]:
    """Host and port of `--to`, or of `--listen`, where the port is a must and may stand alone. Raises BadParameter."""
    try:
        host, port = (DEFAULT, int(text)) if text.isascii() and text.isdecimal() else parse_endpoint(text)
        port = default if port is None else port
        if port is None or port > 0xFFFF:
            raise FormatError(f"no port: {text!r}")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen" if default is None else "--to") from error
    return host, port


async def conversation(script: Script, host: str, port: int, connects: bool, how: Playing) -> Outcome:
    to_send, to_come = script.to_send, len(script.messages) - script.to_send
    click.echo(f"connection {script.messages[0].connection}: as {printable(script.ours)}, {to_send:,} "
               f"{plural(to_send, 'message')} to send, {to_come:,} to come", err=True)
    if connects:
        return await play_to(script, host, port, how)
    return await play_listening(script, host, port, how, lambda where: click.echo(f"listening on {where}", err=True))


def closing(outcome: Outcome) -> str:
    found, bad = len(outcome.differences), len(outcome.unexpected)
    return (f"{outcome.sent:,} of {outcome.to_send:,} {plural(outcome.to_send, 'message')} sent, {outcome.came:,} of "
            f"{outcome.to_come:,} came; {found:,} {plural(found, 'difference')}, {bad:,} unexpected")


def show_differences(outcome: Outcome, form: str) -> None:
    """The differences one by one for programs; for people those to be expected in short, after the others."""
    if form == "jsonl":
        for difference in outcome.differences:
            output(form, "", difference.record)
        return
    shown: Counter[tuple[str, str]] = Counter()
    for difference in outcome.unexpected:
        alike = difference.kind, difference.msgtype
        shown[alike] += 1
        if shown[alike] <= LINES:
            click.echo(f"unexpected: {printable(line(difference))}")
    for (kind, msgtype), number in shown.items():
        if number > LINES:
            click.echo(f"unexpected: {number - LINES:,} more: {kind}, {printable(msgtype)}")
    expected = Counter((d.msgtype, d.field or d.kind, d.reason) for d in outcome.differences if d.expected)
    for (msgtype, what, reason), number in expected.items():
        click.echo(f"expected: {msgtype}: {what} ({reason}){f', {number:,} times' if number > 1 else ''}")


def line(difference: Difference) -> str:
    """One difference for people."""
    frame = f" (frame {difference.frame})" if difference.frame is not None else ""
    name = difference.msgtype or "(no name)"
    if difference.kind == "missing":
        return f"missing{frame}: {difference.recorded}"
    if difference.kind == "extra":
        return f"not in the recording: {difference.live}"
    if difference.kind == "order":
        return f"{name}{frame}: came later than messages that it preceded"
    if difference.field == "...":
        return f"{name}{frame}: and more fields"
    old, new = ("absent" if value is None else value for value in (difference.recorded, difference.live))
    return f"{name}{frame}: {difference.field} was {old}, is {new}"
