# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own address as others see it: what peers say in `version`, and an HTTP service when one is asked for."""

from __future__ import annotations

import re
from collections import Counter
from http.client import HTTPException
from queue import Empty, Queue
from threading import Thread

from ..errors import FormatError, PeerError, Refused, TimedOut
from .reach import Kind, kind_of_text

ANSWER_SIZE = 1 << 14
"""Bytes that are read of what an HTTP service answers."""
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}")


class ExternalAddress:
    """Counts what peers say our address is; each host has one vote, and its last word counts.

    :param kind: of addresses that are believed; a node tells its own view of loopback on loopback
    """

    def __init__(self, kind: Kind = Kind.ROUTABLE) -> None:
        self._kind = kind
        self._said: dict[str, str] = {}

    def add(self, peer: str, address: str) -> None:
        """A peer said so.

        :param peer: its host
        :param address: `receiver_address` of its `version`, as text
        """
        if kind_of_text(address) is self._kind:
            self._said[peer] = address

    @property
    def votes(self) -> list[tuple[str, int]]:
        """Addresses with the number of hosts that said so, most first."""
        return Counter(self._said.values()).most_common()

    @property
    def best(self) -> str | None:
        """What most say; None: nobody said anything believable."""
        return self.votes[0][0] if self._said else None


def http_address(url: str, timeout: float = 10.0, kind: Kind = Kind.ROUTABLE) -> str:
    """Our address as an HTTP service sees it, the first one that its answer contains. It blocks.

    :param url: http or https; it is asked directly, or through the HTTP proxy that the environment names
    :param timeout: seconds in all

    Raises Refused, TimedOut, PeerError for an answer without an address, FormatError for another kind of URL.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise FormatError(f"not an http or https URL: {url!r}")
    results: Queue[str | PeerError] = Queue()
    # the timeout of urlopen is one of each read, so a service that drips could hold it for ever
    Thread(target=lambda: results.put(_fetch(url, timeout)), daemon=True).start()
    try:
        text = results.get(timeout=timeout)
    except Empty:
        raise TimedOut(f"{url}: no answer within {timeout:g} s") from None
    if isinstance(text, PeerError):
        raise text
    for word in _ADDRESS.findall(text):
        if kind_of_text(address := word.rstrip(".")) is kind:
            return str(address)
    raise PeerError(f"{url}: no {kind.value} address in the answer")


def _fetch(url: str, timeout: float) -> str | PeerError:
    """The beginning of what a URL gives."""
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url, headers={"User-Agent": "scapy_btc"}), timeout=timeout) as answer:
            return str(answer.read(ANSWER_SIZE).decode("latin-1"))
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            return TimedOut(f"{url}: no answer within {timeout:g} s")
        return Refused(f"{url}: {getattr(reason, 'strerror', None) or reason}")
