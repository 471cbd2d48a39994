# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a v2 connection that others had, with the private key of either end.

Both directions are needed from their first byte up to the public keys; the rest of each is read for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ..wire.events import Event, Frame, Gap, Note, Truncated
from ..wire.header import message_name
from .contents import Ids, commands_of
from .keys import (
    PUBLIC_SIZE,
    TERMINATOR_SIZE,
    EphemeralKey,
    SessionKeys,
    is_pair,
    session_keys,
    shared_secret,
    terminators,
)
from .packets import MAX_GARBAGE_LEN, Packet, PacketReader

OPENING_SIZE = PUBLIC_SIZE + MAX_GARBAGE_LEN + TERMINATOR_SIZE
"""Bytes within which the terminator of each direction stands."""


class _Lock(NamedTuple):
    """What the connection's secret would be, and its terminators by direction."""

    secret: bytes
    magic: bytes
    initiator: int
    terminators: tuple[bytes, bytes]


class Unlocker:
    """Finds out the keys of a connection: which end opened it, and on which network, is told by the terminators.

    :param lookup: the private key for a public one, None when there is none
    :param magics: of the networks that it may be
    :ivar reason: why there are no keys yet
    """

    def __init__(self, lookup: Callable[[bytes], bytes | None], magics: Iterable[bytes]) -> None:
        self._lookup, self._magics = lookup, tuple(dict.fromkeys(magics))
        self._locks: list[_Lock] = []
        self._searched = [PUBLIC_SIZE, PUBLIC_SIZE]
        self.reason = ""

    @property
    def has_key(self) -> bool:
        """Whether the private key of an end is known."""
        return bool(self._locks)

    def __repr__(self) -> str:
        return f"<Unlocker {self.reason or 'without keys'}>"

    def unlock(self, openings: Sequence[bytes | bytearray]) -> tuple[SessionKeys, bytes, int] | None:
        """The keys, the magic, and which direction is that of the initiator; None while that cannot be said.

        To be called again when more is there.

        :param openings: what each of the two directions has from its first byte on
        """
        if min(map(len, openings)) < PUBLIC_SIZE:
            self.reason = "the key exchange is not complete"
            return None
        if not self._locks:
            self._locks = list(self._made(*(bytes(opening[:PUBLIC_SIZE]) for opening in openings)))
        for number, opening in enumerate(openings) if self._locks else ():
            for lock in self._locks:
                if opening.find(lock.terminators[number], self._searched[number], OPENING_SIZE) >= 0:
                    return session_keys(lock.secret, lock.magic), lock.magic, lock.initiator
            self._searched[number] = max(PUBLIC_SIZE, len(opening) - TERMINATOR_SIZE + 1)
        return None

    def _made(self, *publics: bytes) -> Iterator[_Lock]:
        """Every way in which the connection may have been begun."""
        self.reason = "its key is not in the key log"
        for number, public in enumerate(publics):
            private = self._lookup(public)
            if private is None:
                continue
            if not is_pair(public, private):
                self.reason = "the private key in the key log is not that of the public one"
                continue
            self.reason = "its key is known, but no terminator of a known network follows"
            for initiator in (0, 1):
                secret = shared_secret(EphemeralKey(public, private), publics[1 - number], number == initiator)
                for magic in self._magics:
                    first, second = terminators(secret, magic)
                    yield _Lock(secret, magic, initiator, (second, first) if initiator else (first, second))
            return


class V2Decoder:
    """Decodes one direction of a v2 stream, as `wire.framing.V1Decoder` does one of v1.

    Frames have the checksum b"". After `close` every byte fed is in exactly one frame, note or `Truncated`.

    :param keys: of the connection
    :param magic: of its network
    :param is_initiator: whether it is the direction of the end that opened the connection
    :param ids: names of messages by their one-byte ids
    :ivar stopped: why nothing more can be decrypted; "" while it can
    """

    __slots__ = ("_end", "_in_session", "_key", "_lost", "_reader", "_session_id", "_told", "magic",
                 "offset", "stopped")  # fmt: skip

    def __init__(self, keys: SessionKeys, magic: bytes, is_initiator: bool, ids: Ids) -> None:
        self.magic = magic
        self.offset = 0
        """Bytes fed so far, gaps included."""
        self.stopped = ""
        self._reader = PacketReader(keys.initiator if is_initiator else keys.responder, commands_of(ids))
        self._session_id = keys.session_id
        self._key = PUBLIC_SIZE  # bytes of the public key that have still to come
        self._in_session = False  # the version packet came
        self._told = self._lost = 0  # bytes
        self._end = 0  # stream offset up to which everything was told

    @property
    def wanted(self) -> int:
        """How many bytes are needed at least before anything more can be said."""
        if self.stopped:
            return OPENING_SIZE  # any number: there is nothing more to say before the end
        return 1 if self._key else self._reader.wanted

    @property
    def held(self) -> int:
        """Bytes kept in memory."""
        return self._reader.held

    def feed_parts(self, parts: Sequence[bytes]) -> list[Event]:
        """Take the next bytes, in one part or more, and return what they complete."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        size = len(data)
        self.offset += size
        if self._key:
            data, self._key = data[self._key :], max(0, self._key - size)
        if self.stopped:
            return []
        out: list[Event] = [self._event(packet) for packet in self._reader.feed(data)]
        if self._reader.broken:
            self.stopped = self._reader.broken
            end = self._reader.broken_at
            if end is not None:
                out.append(self._note("bad-tag", self._reader.offset, end, self.stopped))
        return out

    def gap(self, size: int) -> list[Event]:
        """So many bytes are missing here: nothing that follows can be decrypted."""
        out = self._torn("gap")
        self.stopped = self.stopped or "after lost bytes"
        out.append(Gap(self.offset, self.offset + size))
        self.offset += size
        self._lost += size
        return out

    def abandon(self, offset: int, lost: int, reason: str) -> None:
        """The stream has come to that offset, with so many bytes lost, and what came was not kept."""
        self.offset, self._lost, self.stopped = offset, lost, self.stopped or reason

    def close(self) -> list[Event]:
        """The stream ends here; nothing may be fed after it."""
        out = self._torn("end")
        rest = self.offset - self._lost - self._told
        if rest:
            reason = self.stopped or "the handshake is not complete"
            out.append(Note("encrypted", rest, self._end, self.offset, reason))
        return out

    def _event(self, packet: Packet) -> Frame | Note:
        is_decoy, said, start, end = packet
        if is_decoy:
            return self._note("decoy", start, end, "a packet that its receiver throws away")
        if not self._in_session:
            self._in_session = True
            garbage = len(self._reader.garbage or b"")
            before = PUBLIC_SIZE + garbage + TERMINATOR_SIZE
            self._told += before + end - start
            self._end = end
            reason = f"v2, {garbage:,} bytes of garbage, session {self._session_id.hex()}"
            return Note("handshake", before + end - start, 0, end, reason)
        if said is None:
            return self._note("skipped", start, end, "a packet without a message in it")
        self._told += end - start
        self._end = end
        command, payload = said
        return Frame(self.magic, message_name(command), command, len(payload), b"", payload, start, end, "none")

    def _note(self, kind: str, start: int, end: int, reason: str) -> Note:
        self._told += end - start
        self._end = end
        return Note(kind, end - start, start, end, reason)

    def _torn(self, reason: str) -> list[Event]:
        """The packet that has begun to arrive, and will not be whole."""
        held = self._reader.held
        if self.stopped or not self._in_session or not held:
            return []
        begin, expected = self._reader.offset, self._reader.expected
        self._told += held
        self._end = begin + held
        return [Truncated(begin, expected, held, b"", reason)]
