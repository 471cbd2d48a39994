# SPDX-License-Identifier: GPL-2.0-or-later
"""Bringing a chain of headers up to that of a peer: what to ask, and what its answers may be. No socket, no clock."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..chain.headers import MAX_SIDE_HEADERS, HeaderChain
from ..errors import InvalidHeader, PeerError, TooMuch
from ..messages.inventory import BTCGetHeaders, BTCHeaders, headers_in
from ..protocol import MAX_HEADERS_RESULTS
from ..wire.hashes import sha256d

MAX_HEADERS = 10_000_000
"""Headers that are taken of one peer, whatever height it states."""


class HeadersTaken(NamedTuple):
    """What became of one `headers` message."""

    received: int
    new: int
    """Those that were not known."""
    first: int | None
    """Height from which on the best chain is another one now; None where it stays."""
    replaced: int
    """Headers of the best chain that a reorganisation replaced."""
    height: int
    """Of its last header."""
    beside: bool
    """Whether that header is beside the best chain, on a branch that has less work."""


class HeaderSync:
    """Asks for page after page until the peer has no more.

    A peer may send as many headers as the height that it stated in `version`, and 20,000 more for new blocks and other
    branches (10 million at most).

    :param chain: takes in what comes; it stays valid whatever comes
    :param stated: the peer's `start_height`
    :ivar request: what to ask next
    :ivar complete: nothing more is to be asked
    """

    def __init__(self, chain: HeaderChain, stated: int) -> None:
        self.chain, self.complete = chain, False
        self.request = BTCGetHeaders(locator=chain.locator())
        self._left = min(max(stated, chain.height) - chain.height + MAX_SIDE_HEADERS, MAX_HEADERS)
        self._height = -1
        self._stray = b""

    def fits(self, message: Any) -> bool:
        """Whether a message can be the answer: headers that follow one that is known, or none."""
        if not isinstance(message, BTCHeaders):
            return False
        first = next(headers_in(message.self_build()), None)
        if first is None or self.chain.height_of(first[4:36]) is not None:
            return True
        self._stray = first
        return False

    def end(self) -> None:
        """The peer answers nothing: then it has nothing more, as some nodes send no empty message.

        Raises InvalidHeader where it sent headers that follow no known block.
        """
        if self._stray:
            self.chain.add(self._stray)
        self.complete = True

    def take(self, message: BTCHeaders, now: int) -> HeadersTaken:
        """Check an answer and take it in.

        :param now: seconds since 1970

        Raises InvalidHeader with the height, TooMuch, and PeerError where the peer only repeats what is known; the
        headers before remain in the chain.
        """
        chain, before = self.chain, self.chain.height
        page = list(headers_in(message.self_build()))
        self._left -= len(page)
        if len(page) > MAX_HEADERS_RESULTS:
            raise TooMuch(f"{len(page):,} headers in a message, which holds {MAX_HEADERS_RESULTS:,} at most")
        if self._left < 0:
            raise TooMuch("the peer sends more headers than the height that it stated; another run goes on from here")
        new, first, height, previous = 0, None, before, b""
        for header in page:
            if previous and header[4:36] != previous:
                raise InvalidHeader("non-continuous", "it does not follow the one before it in the message", height + 1)
            previous = sha256d(header)
            if chain.height_of(previous) is None:
                new += 1
                changed = chain.add(header, now)
                first = changed if first is None else first
            height = chain.height_of(previous) or 0
        self.complete = len(page) < MAX_HEADERS_RESULTS
        if not self.complete and not new and height <= self._height:
            raise PeerError("the peer repeats headers instead of sending more")
        self._height = height
        # the last header may be beside the best chain, and the peer may leave its branch meanwhile
        self.request = BTCGetHeaders(locator=[previous, *chain.locator()])
        replaced = 0 if first is None else before + 1 - first
        return HeadersTaken(len(page), new, first, replaced, height, bool(page) and previous not in chain)
