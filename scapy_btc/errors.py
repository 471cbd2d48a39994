# SPDX-License-Identifier: GPL-2.0-or-later
"""The one exception tree: whatever the package raises on purpose is a `BTCError`."""


class BTCError(Exception):
    """Root of all errors that the package raises on purpose."""


class FormatError(BTCError, ValueError):
    """Bytes (or a value meant to become bytes) that do not follow the format.

    :ivar field: the field that could not be read, "" where none was reached
    :ivar offset: where that field starts, in bytes from the start of what was being read
    """

    def __init__(self, reason: str, field: str = "", offset: int = 0) -> None:
        super().__init__(reason)
        self.field, self.offset = field, offset


class CaptureError(BTCError):
    """A file or an interface that cannot be read as a capture."""


class UnknownNetwork(BTCError, ValueError):
    """A network name that is not registered."""


class MissingDependency(BTCError):
    """A feature whose optional package is not installed; the message says how to install it."""


class StoreError(BTCError):
    """A file in which something is kept (addresses, headers) that cannot be read or written, or is of another kind."""


class PeerError(BTCError):
    """A conversation with a peer that failed."""


class Refused(PeerError):
    """The peer cannot be reached: nobody listens, no route, an unknown name."""


class ProxyDown(Refused):
    """The proxy is not there, or is none: this says nothing about the peer."""


class TimedOut(PeerError):
    """The peer did not answer in time."""


class Disconnected(PeerError):
    """The peer closed the connection."""


class HandshakeError(PeerError):
    """The peer cannot be spoken with: obsolete, ourselves, or against the rules."""


class WrongNetwork(HandshakeError):
    """The peer speaks on another network."""


class TooMuch(PeerError):
    """The peer sends more than it may."""


class NotFound(PeerError):
    """The peer does not have what was asked for."""


class InvalidHeader(PeerError):
    """A block header that breaks the network's rules.

    :ivar reason: Bitcoin Core's word for it: "bad-diffbits", "high-hash", "time-too-old" ...
    :ivar height: None where the header before it is not known
    """

    def __init__(self, reason: str, text: str, height: int | None = None) -> None:
        super().__init__(f"header{'' if height is None else f' {height}'}: {text} ({reason})")
        self.reason, self.height = reason, height


class InvalidFilter(PeerError):
    """A compact block filter, or a header of one, that does not follow from what is known (BIP 157)."""


class Rejected(PeerError):
    """A transaction or a block that is not accepted.

    :ivar reason: Bitcoin Core's word for it: "bad-txnmrklroot", "txn-mempool-conflict" ...
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{text} ({reason})")
        self.reason = reason


class Misbehaved(PeerError):
    """The peer broke a rule for which nodes disconnect it."""
