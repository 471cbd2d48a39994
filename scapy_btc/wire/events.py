# SPDX-License-Identifier: GPL-2.0-or-later
"""What stream decoders report. Positions are byte offsets in one direction of a stream, `end` is exclusive.

After `close` every byte fed is in exactly one `Frame`, `Skipped`, `Note` or `Truncated`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Frame:
    """One message with its envelope, as it stood on the wire."""

    magic: bytes
    msgtype: bytes
    """The command up to its first zero byte."""
    command: bytes
    """The raw 12 bytes of the header."""
    length: int
    """Payload bytes, as announced and received."""
    checksum: bytes
    """4 bytes; b"" with the 20-byte header that `version` and `verack` had before 20 February 2012, and in v2 streams
    of others."""
    payload: bytes
    start: int
    end: int
    verdict: str
    """Whether the checksum is that of the payload: "ok", "bad", or "none" where the header has none."""
    resynchronised: bool = False
    """The first frame that was found again after bytes that were lost or belonged to no message."""

    @property
    def header(self) -> bytes:
        """The 24 (or 20) header bytes."""
        return self.magic + self.command + self.length.to_bytes(4, "little") + self.checksum


@dataclass(slots=True)
class Gap:
    """Bytes that never arrived. `end` is None when nobody knows how many, and offsets go on as if there were none."""

    start: int
    end: int | None


@dataclass(slots=True)
class Skipped:
    """Bytes that arrived and belong to no message that could be recognised.

    `reason` is what came before the search for the next header: "no-magic" (the stream does not begin with a known
    one), "bad-magic", "bad-length" (above `MAX_SIZE`), "bad-checksum" (no header follows the message, but another
    message lies in it), "after-gap".
    """

    start: int
    end: int
    reason: str


@dataclass(slots=True)
class Truncated:
    """A message of which bytes are missing."""

    start: int
    end: int | None
    """Where it would have ended; None when its header is incomplete."""
    received: int
    """How many of its bytes arrived, header included."""
    msgtype: bytes
    """b"" when the header is incomplete."""
    reason: str
    """"gap" or "end" (the stream ended)."""


@dataclass(slots=True)
class Unrecognised:
    """The stream does not begin like the v1 transport: told at once, while a cheap search for v1 headers goes on."""

    start: int
    head: bytes
    """The first 16 bytes."""


@dataclass(slots=True)
class Note:
    """Bytes of a v2 stream (BIP 324) that are no message.

    `kind` is "handshake" (key, garbage, terminator and version packet), "decoy", "skipped" (a packet without a
    message), "bad-tag" (a packet that is not authentic) or "encrypted" (what cannot be decrypted).
    """

    kind: str
    size: int
    """Bytes."""
    start: int
    """Between `start` and `end` they stand, perhaps with others."""
    end: int
    reason: str


Event = Frame | Gap | Skipped | Truncated | Unrecognised | Note
