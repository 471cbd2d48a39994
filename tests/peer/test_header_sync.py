# SPDX-License-Identifier: GPL-2.0-or-later
"""Headers of a peer, page by page: honest peers that reorganise, and peers that send what they must not."""

from __future__ import annotations

import pytest
from real_headers import in_a_row, mine, time_of

from scapy_btc.chain.headers import MAX_SIDE_HEADERS, HeaderChain
from scapy_btc.errors import InvalidHeader, PeerError, TooMuch
from scapy_btc.messages.inventory import BTCGetHeaders, BTCHeaders, BTCInv
from scapy_btc.networks import MAINNET, REGTEST
from scapy_btc.peer.header_sync import HeadersTaken, HeaderSync
from scapy_btc.wire import compactsize
from scapy_btc.wire.hashes import sha256d

START = 1_700_000_000
NOW = START + 10**8


def row(count: int, before: bytes = REGTEST.genesis or b"", mark: int = 0) -> list[bytes]:
    headers = [before]
    for _ in range(count):
        headers.append(mine(headers[-1], max(START, time_of(headers[-1])) + 1, mark=mark))
    return headers[1:]


def message(headers: list[bytes]) -> BTCHeaders:
    return BTCHeaders(compactsize.encode(len(headers)) + b"".join(header + b"\0" for header in headers))


class Honest:
    """Answers as a node does: what follows the first hash of the locator that it has."""

    def __init__(self, headers: list[bytes]) -> None:
        self.headers = headers

    def answer(self, sync: HeaderSync) -> BTCHeaders:
        asked = BTCGetHeaders(sync.request.self_build())  # as it is on the wire
        hashes = [sha256d(header) for header in self.headers]
        known = next((hashes.index(one) + 1 for one in map(bytes, asked.locator) if one in hashes), 0)
        return message(self.headers[known : known + 2000])


def finished(sync: HeaderSync, peer: Honest) -> list[HeadersTaken]:
    steps = []
    while not sync.complete:
        answer = peer.answer(sync)
        assert sync.fits(answer)
        steps.append(sync.take(answer, NOW))
    return steps


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 4500])
def test_page_by_page(count: int) -> None:
    headers = row(count)
    chain = HeaderChain(REGTEST)
    steps = finished(HeaderSync(chain, count), Honest(headers))
    assert list(chain)[1:] == headers
    assert [step.received for step in steps] == [2000] * (count // 2000) + [count % 2000]
    assert sum(step.new for step in steps) == count and not any(step.replaced or step.beside for step in steps)
    assert [step.first for step in steps] == [
        number * 2000 + 1 if step.received else None for number, step in enumerate(steps)]
    # nothing is asked twice
    again, = finished(HeaderSync(chain, count), Honest(headers))
    assert again == HeadersTaken(0, 0, None, 0, count, False)


def test_a_peer_on_a_better_branch_is_followed() -> None:
    headers = row(2500)
    chain = HeaderChain(REGTEST)
    finished(HeaderSync(chain, 2500), Honest(headers))
    other = headers[:100] + row(2405, headers[99], mark=1)
    steps = finished(HeaderSync(chain, 2505), Honest(other))
    assert list(chain)[1:] == other
    # the locator goes back 10, then ever farther: the page begins at the fork or below it
    assert [step.beside for step in steps] == [True, False]
    assert steps[-1].first == 101 and steps[-1].replaced == 2400 and steps[-1].height == 2505


def test_a_peer_on_a_lesser_branch_changes_nothing() -> None:
    headers = row(50)
    chain = HeaderChain(REGTEST)
    finished(HeaderSync(chain, 50), Honest(headers))
    lesser = headers[:30] + row(20, headers[29], mark=1)
    for _ in range(2):
        step, = finished(HeaderSync(chain, 50), Honest(lesser))
        assert step.beside and step.first is None and step.height == 50
    assert list(chain)[1:] == headers


def test_a_peer_that_reorganises_meanwhile() -> None:
    headers = row(6000)
    chain = HeaderChain(REGTEST)
    sync, peer = HeaderSync(chain, 6000), Honest(headers)
    sync.take(peer.answer(sync), NOW)
    sync.take(peer.answer(sync), NOW)
    peer.headers = headers[:3900] + row(2105, headers[3899], mark=1)
    finished(sync, peer)
    assert list(chain)[1:] == peer.headers


def test_what_is_no_answer() -> None:
    headers = row(10)
    sync = HeaderSync(HeaderChain(REGTEST), 10)
    assert sync.fits(message([])) and sync.fits(message(headers))
    assert not sync.fits(message(headers[1:])) and not sync.fits(BTCInv())


# Peers that send what they must not: what was valid stays


def refused(error: type[PeerError], text: str, sync: HeaderSync, headers: list[bytes], now: int = NOW) -> None:
    with pytest.raises(error, match=text):
        sync.take(message(headers), now)


def test_an_invalid_header_is_told_with_height_and_reason() -> None:
    headers = in_a_row("headers-mainnet-30240.dat")
    chain = HeaderChain(MAINNET, headers[0], 30240)
    assert sum(step.new for step in [HeaderSync(chain, 32259).take(message(headers[1:1001]), NOW)]) == 1000
    changed = bytearray(headers[2016])
    changed[75] ^= 1
    refused(InvalidHeader, r"^header 32256: .*\(high-hash\)$", HeaderSync(chain, 32259),
            [*headers[1001:2016], bytes(changed), headers[2017]])
    assert chain.height == 32255
    HeaderSync(chain, 32259).take(message(headers[2016:]), NOW)
    assert chain.height == 32259


def test_headers_must_follow_each_other() -> None:
    headers, chain = row(10), HeaderChain(REGTEST)
    refused(InvalidHeader, "header 5: it does not follow the one before it in the message", HeaderSync(chain, 10),
            [*headers[:4], *headers[5:]])
    assert chain.height == 4
    refused(InvalidHeader, "header 4: it does not follow", HeaderSync(chain, 10), [*headers[:3], row(1, mark=1)[0]])


def test_times_ahead_are_refused() -> None:
    chain, headers = HeaderChain(REGTEST), row(3)
    refused(InvalidHeader, "header 3: .*time-too-new", HeaderSync(chain, 3), headers, now=time_of(headers[1]) - 7200)
    assert chain.height == 2


def test_more_than_fits_a_message() -> None:
    refused(TooMuch, "2,001 headers in a message, which holds 2,000 at most", HeaderSync(HeaderChain(REGTEST), 9999),
            row(2001))


def test_the_same_page_again_and_again() -> None:
    sync, page = HeaderSync(HeaderChain(REGTEST), 10**6), row(2000)
    sync.take(message(page), NOW)
    for _ in range(3):
        refused(PeerError, "repeats headers", sync, page)


@pytest.mark.parametrize("stated", [0, 5000])
def test_headers_without_end(stated: int) -> None:
    chain = HeaderChain(REGTEST)
    sync = HeaderSync(chain, stated)
    last = chain.at(0)
    with pytest.raises(TooMuch, match="more headers than the height that it stated; another run goes on from here"):
        for _ in range(100):
            page = row(2000, last)
            sync.take(message(page), NOW)
            last = page[-1]
    assert chain.height == stated + MAX_SIDE_HEADERS - (stated + MAX_SIDE_HEADERS) % 2000
    again = HeaderSync(chain, stated)
    assert again.take(message(row(2000, chain.at(chain.height))), NOW).new == 2000


def test_forks_without_end() -> None:
    chain = HeaderChain(REGTEST)
    finished(HeaderSync(chain, 3000), Honest(row(3000)))
    sync = HeaderSync(chain, 3000)
    with pytest.raises(TooMuch):
        for mark in range(1, 100):
            sync.take(message(row(2000, chain.at(10), mark)), NOW)
    assert chain.height == 3000


def test_a_stated_height_without_bound() -> None:
    sync = HeaderSync(HeaderChain(REGTEST), 2**31 - 1)
    assert sync._left == 10_000_000
    assert HeaderSync(HeaderChain(REGTEST), -5)._left == MAX_SIDE_HEADERS
