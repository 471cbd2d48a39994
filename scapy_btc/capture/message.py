# SPDX-License-Identifier: GPL-2.0-or-later
"""What reading a capture gives: messages, and events for what is no message but must not be lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ..networks import MAINNET, Network
from ..protocol import MAX_PROTOCOL_MESSAGE_LENGTH
from ..text import format_time, plural
from ..wire.events import Frame
from ..wire.hashes import checksum
from ..wire.header import is_well_formed


@lru_cache(maxsize=1024)
def msgtype_text(name: bytes) -> str:
    """A message name as text: ASCII as it is, every other byte as `\\xNN`."""
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E else f"\\x{byte:02x}" for byte in name)


def line_start(item: Message | StreamEvent) -> str:
    """Time and ends, as a `repr` shows them: `2012-11-04 03:33:20.000000005 1.2.3.4:8333 > [::1]:50000 `."""
    ends = " > ".join(filter(None, (item.source, item.destination)))
    return f"{format_time(item.time_ns)[:-1].replace('T', ' ')} {ends}{' ' if ends else ''}"


@dataclass(slots=True)
class Message:
    """One message of a capture, a message log or a live interface."""

    time_ns: int
    """When the segment that completed it was captured, in nanoseconds since 1970 (UTC)."""
    source: str
    """"1.2.3.4:8333", "[::1]:8333"; in a message log the peer's address or "node"."""
    destination: str
    connection: int
    """Number of the connection within the source, from 0; ports are reused, numbers are not."""
    network: Network | None
    """None: the magic is nobody's."""
    transport: str
    """"v1", "v2", or "log" for what a node wrote to its disk."""
    msgtype: str
    payload: bytes
    checksum: str
    """"ok" or "bad"; "none" where the wire has none (v2, logs, the header of before 2012)."""
    frames: tuple[int, int]
    """Numbers, from 1, of the first and the last captured frame (record, of a log) that holds bytes of it."""
    frame: Frame
    """The envelope as it stood on the wire. In a log magic and checksum are not on record."""
    said: str | None = None
    """What its sender had said before: "version", "verack", or "" for neither; None: the beginning is not on record."""
    fate: str = ""
    """What a proxy did: "dropped" (it came and was not passed on), "injected" (the other way round), "" for nothing."""
    _found: list[str] | None = field(default=None, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        size, bad = len(self.payload), ", bad checksum" if self.checksum == "bad" else ""
        return f"<Message {line_start(self)}{self.msgtype or '(no name)'}, {size:,} {plural(size, 'byte')}{bad}>"

    @property
    def frame_findings(self) -> list[str]:
        """What is wrong with the envelope and its place in the conversation, as codes."""
        frame = self.frame
        found = []
        if frame.verdict == "bad":
            found.append("bad-checksum")
        elif frame.verdict == "none" and self.transport == "v1":
            found.append("no-checksum")
        if not is_well_formed(frame.command):
            found.append("bad-msgtype")
        if frame.length > MAX_PROTOCOL_MESSAGE_LENGTH:
            found.append("over-size")
        if frame.resynchronised:
            found.append("resynchronised")
        if self.said:
            from ..messages.relations import out_of_order

            misplaced = out_of_order(self.said, self.msgtype)
            if misplaced:
                found.append(misplaced)
        if self.fate:
            found.append(self.fate)
        return found

    @property
    def quick_findings(self) -> list[str]:
        """Those of `findings` that take no time: of the envelope, and of the encoding of everything but blocks."""
        if self.msgtype == "block":
            return self.frame_findings
        from ..messages.findings import encoding

        return self.frame_findings + encoding(self.msgtype, self.payload)

    @property
    def findings(self) -> list[str]:
        """Everything that a careful reader would want to be told, as codes (`messages.findings.FINDINGS`)."""
        if self._found is None:
            from ..messages.findings import examine

            # a log does not say of which network it is, so the limit of one accuses nobody
            network = None if self.transport == "log" else self.network
            self._found = self.frame_findings + examine(self.msgtype, self.payload, network)
        return self._found

    @property
    def packet(self) -> Any:
        """The Scapy packet, `BTC/...` as it would be in v1."""
        from ..layers.envelope import framed

        return framed(self.frame_bytes)

    @property
    def record(self) -> dict[str, Any]:
        """The message in the record format, as `-T jsonl` prints it."""
        from .records import message_record

        return message_record(self)

    @property
    def frame_bytes(self) -> bytes:
        """Header and payload as they stood on the wire, or as they would in v1."""
        frame = self.frame
        if self.transport == "v1":
            return frame.header + self.payload
        magic = (self.network or MAINNET).magic
        length = len(self.payload).to_bytes(4, "little")
        return magic + frame.command + length + checksum(self.payload) + self.payload


@dataclass(slots=True)
class StreamEvent:
    """Something of a stream that is no message.

    ======================= ==============================================================================
    `event`                 `bytes`
    ======================= ==============================================================================
    gap                     lost: never captured, or cut off by the snapshot length
    skipped                 captured, but in no message that could be recognised; `reason` says after what
    truncated               captured, of a message of which others are missing
    overlap-differs         sent again with different content; the first are the ones that count
    encrypted               of a direction that is v2, or not v1 on a port of Bitcoin's; `reason` says why not read
    unrecognised            likewise, but the beginning of the connection was not captured
    handshake               key, garbage, terminator and version packet of a v2 direction
    decoy                   of a v2 packet that its receiver throws away
    bad-tag                 of a v2 packet that is not authentic; nothing after it can be read
    guess                   of a write of an `encrypted` direction, which has them too; `reason` says what it may be
    ======================= ==============================================================================
    """

    event: str
    bytes: int
    time_ns: int
    connection: int | None
    source: str | None
    destination: str | None
    reason: str
    frames: tuple[int, int]
    """Numbers of the first and the last captured frame concerned."""
    network: Network | None = None

    def __repr__(self) -> str:
        return f"<StreamEvent {line_start(self)}{self.text}>"

    @property
    def text(self) -> str:
        """One line for people."""
        amount = f"{self.bytes:,} {plural(self.bytes, 'byte')}"
        return f"{self.event}: {amount}, {self.reason}" if self.reason else f"{self.event}: {amount}"
