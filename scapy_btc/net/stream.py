# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP connection of an asyncio program, as bytes, for whom each end closes by itself: the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..chain.address import format_endpoint

HELD = 1 << 18
"""Bytes that wait to be read before the other end is made to wait."""


class ByteStream(asyncio.Protocol):
    """Unlike asyncio's own streams: what came before the other end reset the connection can still be read.

    :param accepted: called when the connection is there
    :ivar address: of the other end, "192.0.2.1:8333"
    :ivar received: bytes that came so far
    :ivar ended: nothing more will come, and everything that came was read
    :ivar gone: the connection is over
    :ivar writable: what is written may still reach the other end
    :ivar reset: the system's words for why the connection broke; "" while it did not
    """

    def __init__(self, accepted: Callable[[ByteStream], object] | None = None) -> None:
        self._accepted = accepted
        self._tcp: Any = None
        self._waiting: list[bytes] = []
        self._size = 0
        self._no_more = False
        self._came, self._room, self._lost = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self.address, self.received, self.reset = "", 0, ""
        self.ended = self.gone = False
        self.writable = True

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = transport
        end = transport.get_extra_info("peername")
        self.address = format_endpoint(*end[:2]) if end else ""
        if self._accepted:
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        self.received += len(data)
        if self._size > HELD:
            self._tcp.pause_reading()
        self._came.set()

    def eof_received(self) -> bool:
        self._no_more = True
        self._came.set()
        return True  # what we write may still be wanted

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_more = self.gone = True
        self.writable = False
        if isinstance(exc, OSError):
            self.reset = exc.strerror or str(exc)
        for event in (self._came, self._room, self._lost):
            event.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    # What the program calls

    async def read(self) -> bytes:
        """All that has come; b"" at the end."""
        while not self._waiting and not self._no_more:
            self._came.clear()
            await self._came.wait()
        data = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        if self._size > HELD and not self._no_more:
            self._tcp.resume_reading()
        self._waiting, self._size = [], 0
        self.ended = not data
        return data

    def write(self, data: bytes) -> None:
        """Send, without waiting; nothing happens when it is no longer `writable`."""
        if self.writable and self._tcp.is_closing():  # it broke, and asyncio will tell: until then it would complain
            self.writable = False
        if data and self.writable:
            self._tcp.write(data)

    async def drain(self) -> None:
        """Wait while too much waits to go."""
        if not self._room.is_set():
            await self._room.wait()

    def finish(self) -> None:
        """Nothing more is written: the other end learns it after what was written before."""
        if self.writable:
            self.writable = False
            with suppress(OSError):  # it is gone, and asyncio will tell
                self._tcp.write_eof()

    def close(self) -> None:
        """Close the connection; what was written still goes out."""
        self._tcp.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._tcp.abort()

    async def closed(self, patience: float) -> None:
        """Wait until it is closed; at most so many seconds for what was written to go out."""
        try:
            await asyncio.wait_for(self._lost.wait(), patience)
        except asyncio.TimeoutError:
            pass
        finally:
            self._tcp.abort()
        await self._lost.wait()
