# SPDX-License-Identifier: GPL-2.0-or-later
"""v1 framing: bytes of one direction of a connection go in, frames and what could not be read come out.

Any split of the stream gives the same events. Time is linear in the bytes fed. Memory holds at most the message
that is arriving; a length that was only announced allocates nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..networks import Network, all_networks
from ..protocol import MAX_SIZE
from .events import Event, Frame, Gap, Skipped, Truncated, Unrecognised
from .hashes import checksum
from .header import (
    HEADER_SIZE,
    OLD_HEADER_SIZE,
    VERACK,
    VERSION,
    doubtful_frame,
    looks_like_old_version,
    message_name,
    old_frame,
    unpack_header,
)
from .resync import HeaderSearch

_SMALL = 512  # shorter pieces of a payload share one buffer: a message in single bytes must not cost an object each

# Messages that are not believed are searched for others, so their bytes are hashed again: at most so many bytes.
_SEARCHED_AT_FIRST, _SEARCHED_PER_BYTE = 1 << 14, 4
_ENOUGH = 16  # bytes that tell whether a stream begins like v1: magic and command


class V1Decoder:
    """Decodes one direction of a v1 stream.

    The magic is that of the first header: one of `networks` (all known ones without it), or any if the stream
    begins with a `version`. From then on only this magic is looked for. Lengths up to `MAX_SIZE` (32 MiB) are
    frames; what a limit of today's nodes says about them is not decided here.

    :param live: hand on a message with a wrong checksum at once, where nothing may follow it for long
    """

    __slots__ = (
        "_body", "_broken", "_doubt", "_gaps", "_head", "_header", "_live", "_lost", "_lost_at", "_magics", "_missing",
        "_old", "_search", "_searched", "_skip", "magic", "offset",
    )  # fmt: skip

    def __init__(self, networks: Iterable[Network] | None = None, live: bool = False) -> None:
        self._live = live
        self.magic: bytes | None = None
        self.offset = 0
        """Bytes fed so far, known gaps included."""
        self._magics = frozenset(network.magic for network in (all_networks() if networks is None else networks))
        self._head = b""  # fewer bytes than a header
        self._header = (0, b"", 0, b"")  # start, command, length, checksum of the message whose payload is arriving
        self._missing = 0  # payload bytes still to come
        self._body: list[bytes | bytearray] = []
        self._broken = Truncated(0, None, 0, b"", "gap")  # a message with a hole, while its rest is passed over:
        self._skip = 0  # so many bytes
        self._doubt: Frame | None = None  # a message with a wrong checksum, until it is known what follows it
        self._searched = 0  # bytes of messages that were not believed
        self._gaps = 0  # bytes of `offset` that never came
        self._old = False  # headers without checksum were seen
        self._lost = ""  # why the next header is searched; "" while in step
        self._lost_at = 0
        self._search: HeaderSearch | None = None

    @property
    def lost(self) -> str:
        """Why the next header is being searched, as `Skipped.reason` will say; "" while in step."""
        return self._lost

    @property
    def held(self) -> int:
        """Bytes kept in memory for a message that is not complete."""
        held = len(self._head) + (len(self._search.buffer) if self._search else 0)
        return held + sum(map(len, self._body)) + (self._doubt.length if self._doubt else 0)

    def feed(self, data: bytes) -> Sequence[Event]:
        """Take the next bytes of the stream and return what they completed, in stream order."""
        size = len(data)
        missing = self._missing - size
        if missing > 0:  # the middle of a payload
            self._missing = missing
            self.offset += size
            if size >= _SMALL:
                self._body.append(data)
            elif type(self._body[-1]) is bytearray:
                self._body[-1] += data
            else:
                self._body.append(bytearray(data))
            return ()
        return self._feed(data) if size else ()

    @property
    def wanted(self) -> int:
        """How many bytes are needed at least before the next event: those to the end of the payload, else 1."""
        return self._missing or 1

    def feed_parts(self, parts: list[bytes]) -> Sequence[Event]:
        """Take bytes in several parts, as `feed` does one; fastest if all but the last are less than `wanted`."""
        if len(parts) == 1:
            return self.feed(parts[0])
        *gathered, last = parts
        size = sum(map(len, gathered))
        if size >= self._missing:
            return [event for part in parts for event in self.feed(part)]
        self._body += gathered if size >= _SMALL * len(gathered) else (b"".join(gathered),)
        self._missing -= size
        self.offset += size
        return self.feed(last)

    def gap(self, size: int | None = None) -> list[Event]:
        """Bytes are missing here: `size` of them, None when nobody knows.

        A hole of known size inside a payload costs that message only, since its header said where the next one
        starts. Otherwise the next header is searched.
        """
        if size == 0:
            return []
        out = self._settle()
        if not self._lost:
            self._tear(size, out)
        out.append(Gap(self.offset, None if size is None else self.offset + size))
        self.offset += size or 0
        self._gaps += size or 0
        if self._lost:
            self._lose("after-gap", self.offset, b"")
        return out

    def close(self) -> list[Event]:
        """The stream ends here; nothing may be fed after it."""
        out = self._settle()
        if self._skip:
            self._broken.received -= self._skip
            out.append(self._broken)
        elif self._missing:
            out.append(self._incomplete(HEADER_SIZE + self._header[2] - self._missing, "end"))
        elif self._head:
            out.append(self._incomplete_header("end"))
        self._skip, self._missing, self._body, self._head = 0, 0, [], b""
        return out

    def _feed(self, data: bytes) -> list[Event]:
        self.offset += len(data)
        out: list[Event] = []
        if self._lost:
            if self._search:
                self._search.extend(data)
                self._resume(self._search, out)
            return out
        if self._skip > len(data):
            self._skip -= len(data)
            return out
        frame: Frame | None = None
        if self._missing:
            frame, data = self._complete(data)
        elif self._skip:
            out.append(self._broken)
            data = data[self._skip :]
            self._skip = 0
        elif self._head or self._doubt:
            frame, data = self._doubt, self._head + data
            self._doubt, self._head = None, b""
        pos, reason = 0, ""
        if frame:
            believed = frame.verdict != "bad" or self._is_followed(frame, data[:4])
            if believed is None:
                self._doubt, self._head = frame, data
                return out
            if believed:
                out.append(frame)
            else:
                self._doubt, reason = frame, "bad-checksum"
                data = frame.header + frame.payload + data
        base = self.offset - len(data)
        reason = reason or self._begin(data, base, out)
        if not reason:
            pos, reason = self._parse(data, 0, base, out)
        if reason:
            self._resume(self._lose(reason, base + pos, data[pos:]), out)
        return out

    def _begin(self, data: bytes, base: int, out: list[Event]) -> str:
        """Learn the magic from the first bytes of the stream; "no-magic" when they are none of v1."""
        if self.magic is not None or len(data) < _ENOUGH:
            return ""
        if data[:4] not in self._magics and data[4:16] != VERSION:
            out.append(Unrecognised(base, data[:_ENOUGH]))
            return "no-magic"
        self.magic = data[:4]
        return ""

    def _parse(self, data: bytes | bytearray, pos: int, base: int, out: list[Event]) -> tuple[int, str]:
        """Read messages from `pos` on and keep an incomplete one. Returns where and why the framing was lost, if so."""
        magic = self.magic
        size = len(data)
        self._head = b""
        while size - pos >= HEADER_SIZE and magic is not None:
            found, command, length, check = unpack_header(data, pos)
            if found != magic:
                return pos, "bad-magic"
            if length > MAX_SIZE:
                return pos, "bad-length"
            body = pos + HEADER_SIZE
            stop = body + length
            if stop > size:
                self._header = (base + pos, command, length, check)
                self._missing = stop - size
                self._body = [bytes(data[body:])]
                return size, ""
            payload = bytes(data[body:stop])
            if checksum(payload) == check:
                start = base + pos
                out.append(
                    Frame(magic, message_name(command), command, length, check, payload, start, base + stop, "ok")
                )
                pos = stop
                continue
            frame = doubtful_frame(magic, base + pos, command, check, payload)
            self._old |= not frame.checksum
            stop = frame.end - base
            believed = frame.verdict == "none" or self._is_followed(frame, data[stop : stop + 4])
            if believed:
                out.append(frame)
                pos = stop
                continue
            self._doubt = frame
            if believed is None:
                pos = stop
                break
            return pos, "bad-checksum"
        self._head = bytes(data[pos:])
        return size, ""

    def _complete(self, data: bytes) -> tuple[Frame, bytes]:
        """Finish the message whose payload was arriving; returns it and the bytes after it."""
        self._body.append(data[: self._missing])
        payload = b"".join(self._body)
        data = data[self._missing :]
        self._missing, self._body = 0, []
        start, command, length, check = self._header
        end = start + HEADER_SIZE + length
        if checksum(payload) == check:
            return Frame(
                self.magic or b"", message_name(command), command, length, check, payload, start, end, "ok"
            ), data
        frame = doubtful_frame(self.magic or b"", start, command, check, payload)
        self._old |= not frame.checksum
        return frame, payload[length - (end - frame.end) :] + data

    def _is_followed(self, frame: Frame, rest: bytes | bytearray) -> bool | None:
        """Whether a message with a wrong checksum may be believed, by the 4 bytes after it (None: not there yet).

        If they begin no header, that of the message may be none or its length wrong: then messages are searched in
        its payload, too, but no byte is looked at again and again.
        """
        magic = frame.magic
        if rest == magic:
            return True
        if len(rest) < 4 and magic.startswith(rest):
            return True if self._live else None
        self._searched += frame.end - frame.start
        return self._searched > _SEARCHED_AT_FIRST + _SEARCHED_PER_BYTE * (frame.end - self._gaps)

    def _lose(self, reason: str, offset: int, data: bytes) -> HeaderSearch:
        """Fall out of step at that offset of the stream; `data` is what arrived from there on."""
        self._lost, self._lost_at = reason, offset
        search = self._search = self._search or HeaderSearch()
        if self.magic is None:  # no v1 stream is longer than a message without a header: later, bytes are only counted
            search.begin(data, offset, self._magics, limit=offset + HEADER_SIZE + MAX_SIZE)
        else:
            search.begin(data, offset, frozenset((self.magic,)))
            search.restart(int(self._doubt is not None), frozenset((self.magic,)))
        return search

    def _resume(self, search: HeaderSearch, out: list[Event], final: bool = False) -> None:
        """Search for the next message, and read on from it."""
        while frame := search.find(final):
            self._leave_out(frame.start, out)
            out.append(frame)
            self.magic = frame.magic
            pos, self._lost = self._parse(search.buffer, frame.end - search.offset, search.offset, out)
            if not self._lost:
                search.clear()
                return
            self._lost_at = search.offset + pos
            search.restart(pos + (self._doubt is not None), frozenset((frame.magic,)))
        if search.exhausted:
            self._search = None

    def _leave_out(self, end: int, out: list[Event]) -> None:
        """Say that nothing was found from where the framing was lost to `end`, except a message that was in doubt."""
        doubt, self._doubt = self._doubt, None
        if doubt and doubt.end <= end:
            out.append(doubt)
            self._lost_at = doubt.end
        if end > self._lost_at:
            out.append(Skipped(self._lost_at, end, self._lost))
        self._lost_at = end

    def _settle(self) -> list[Event]:
        """Decide what waits for bytes that will not come: candidates, and headers that may have 20 bytes."""
        out: list[Event] = []
        if self._lost:
            if self._search:
                self._resume(self._search, out, final=True)
            if self._lost:
                self._leave_out(self.offset, out)
        if self._doubt:
            out.append(self._doubt)
            self._doubt = None
        start, command, length, check = self._header
        if 0 < self._missing <= len(check) and looks_like_old_version(command, length, check):
            body = check + b"".join(self._body)
            out.append(old_frame(self.magic or b"", command, body[:length], start))
            self._missing, self._body, self._head, self._old = 0, [], body[length:], True
        head, magic = self._head, self.magic
        if self._old and magic == head[:4] and head[4:20] == VERACK + bytes(4) and magic.startswith(head[20:]):
            out.append(old_frame(magic, VERACK, b"", self.offset - len(head)))
            self._head = head[OLD_HEADER_SIZE:]
        return out

    def _tear(self, size: int | None, out: list[Event]) -> None:
        """Put a hole into the message that was arriving: pass over its rest, or fall out of step."""
        rest = 0
        broken: Truncated | Skipped | None = None
        if self._skip:
            rest, broken = self._skip, self._broken
        elif self._missing:
            rest, broken = self._missing, self._incomplete(HEADER_SIZE + self._header[2], "gap")
        elif self._head:
            broken = self._incomplete_header("gap")
            command, length = self._head[4:16], int.from_bytes(self._head[16:20], "little")
            known = len(self._head) >= OLD_HEADER_SIZE and command not in (VERSION, VERACK) and length <= MAX_SIZE
            if known and isinstance(broken, Truncated):
                rest = HEADER_SIZE + length - len(self._head)
                broken.end = broken.start + HEADER_SIZE + length
                broken.received = HEADER_SIZE + length
        self._skip, self._missing, self._body, self._head = 0, 0, [], b""
        torn = size if size is not None and size <= rest else None
        if isinstance(broken, Truncated):
            broken.received -= rest if torn is None else torn
            self._broken = broken
        if torn is None:
            self._lost = "after-gap"
        else:
            self._skip = rest - torn
        if broken and not self._skip:
            out.append(broken)

    def _incomplete(self, received: int, reason: str) -> Truncated:
        start, command, length, _ = self._header
        return Truncated(start, start + HEADER_SIZE + length, received, message_name(command), reason)

    def _incomplete_header(self, reason: str) -> Truncated | Skipped:
        head = self._head
        start = self.offset - len(head)
        magics = self._magics if self.magic is None else (self.magic,)
        if any(magic.startswith(head[:4]) for magic in magics):
            return Truncated(start, None, len(head), message_name(head[4:16]) if len(head) >= 16 else b"", reason)
        return Skipped(start, self.offset, "no-magic" if self.magic is None else "bad-magic")
