# SPDX-License-Identifier: GPL-2.0-or-later
"""How commands are ended from outside: SIGTERM, and SIGHUP when the terminal goes; Ctrl-C Python knows itself."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: what was begun is ended properly, as after Ctrl-C. Its argument is the signal's number."""


def heed_signals() -> None:
    """Raise Terminated when the program is to end, unless whoever started it lets it ignore that (nohup)."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _terminate)


def _terminate(number: int, frame: object) -> None:
    _hung_up(number)
    raise Terminated(number)


def run(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, but signals cancel `work` as Python 3.11 does for Ctrl-C: an exception amid other tasks would
    end those without a word. Raises KeyboardInterrupt, Terminated, when all has ended."""
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    async def heeding() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task
        cancel = task.cancel

        def end(number: int, frame: object) -> None:
            if not received:
                loop.call_soon_threadsafe(cancel)
            restore()  # a second one need not wait
            _hung_up(number)
            received.append(number)

        for number in before:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, end)
        return await work

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        result = asyncio.run(heeding())
    except asyncio.CancelledError:
        if not received:
            raise
    finally:
        if not received:
            restore()
    if received:
        raise KeyboardInterrupt if received[0] == signal.SIGINT else Terminated(received[0])
    return result


def _hung_up(number: int) -> None:
    """The terminal may be gone: what is written there would fail."""
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)  # system and shell send one each; the second must not disturb the end
        for descriptor in (1, 2):
            _silence(descriptor)


def _silence(descriptor: int) -> None:
    """Let what is written go nowhere, where it would fail: of a terminal that is gone."""
    try:
        os.write(descriptor, b"")
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def status_after(stop: BaseException | None, normal: bool = False) -> int:
    """The exit status after an interruption; 0 without one.

    :param normal: Ctrl-C is the normal end of the command
    """
    if stop is None:
        return 0
    if isinstance(stop, Terminated):
        return 128 + int(stop.args[0])
    return 0 if normal else 128 + signal.SIGINT
