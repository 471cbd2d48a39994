# SPDX-License-Identifier: GPL-2.0-or-later
"""The chain of headers: real ones of four networks, reorganisations, a naive model, and what hostile peers may send."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_headers import bits_of, in_a_row, mine, time_of

from scapy_btc.chain import difficulty
from scapy_btc.chain import headers as module
from scapy_btc.chain.headers import HeaderChain
from scapy_btc.chain.mining import mine_header
from scapy_btc.chain.proof_of_work import decode_bits, encode_bits, work
from scapy_btc.errors import BTCError, FormatError, InvalidHeader
from scapy_btc.networks import MAINNET, REGTEST, SIGNET, TESTNET3, TESTNET4, Network, by_name
from scapy_btc.wire.hashes import hex_hash, sha256d

START = 1_700_000_000


def fed(chain: HeaderChain, headers: list[bytes]) -> HeaderChain:
    for header in headers:
        chain.add(header)
    return chain


# Real headers


@pytest.mark.parametrize(("network", "name", "height", "bits"), [
    (MAINNET, "headers-mainnet-30240.dat", 30240, {0x1D00FFFF, 0x1D00D86A}),
    (MAINNET, "headers-mainnet-822528.dat", 822_528, {0x1703E8B3, 0x1703D869}),
    (TESTNET3, "headers-testnet3-4032.dat", 4032, {0x1D00FFFF, 0x1C3FFFC0}),
    (TESTNET3, "headers-testnet3-6048.dat", 6048, {0x1D00FFFF, 0x1C0FFFF0, 0x1C3FFFC0}),
    (TESTNET4, "headers-testnet4-0.dat", 0, {0x1D00FFFF}),
])
def test_real_headers(network: Network, name: str, height: int, bits: set[int]) -> None:
    headers = in_a_row(name)
    chain = fed(HeaderChain(network, headers[0], height), headers[1:])
    assert (chain.base, chain.height, chain.tip) == (height, height + len(headers) - 1, sha256d(headers[-1]))
    assert list(chain) == headers and chain.at(height + 9) == headers[9]
    assert [chain.height_of(sha256d(header)) for header in headers] == list(range(height, chain.height + 1))
    assert {bits_of(header) for header in headers} == bits


# EthanYuan/ckb-bitcoin-spv-testdata, main-chain/chainwork: at 822527, 824543 and 824544
def test_work_on_mainnet() -> None:
    headers = in_a_row("headers-mainnet-822528.dat")
    chain = HeaderChain(MAINNET, headers[0], 822_528, work=0x624C18BF09286E431639DF40)
    assert fed(chain, headers[1:-1]).work == 0x644FD5016EEFCFF2E182C740
    assert fed(chain, headers[-1:]).work == 0x64501794587EF4725E5041F9
    assert HeaderChain(MAINNET).work == 0x100010001


# bitcoin-data/stale-blocks, by way of EthanYuan/ckb-bitcoin-spv-testdata
STALE_823226 = bytes.fromhex(
    "000000241da7fa68024cc77531305dbd7a0a21bbfecafc2a26f502000000000000000000"
    "957ede58ed39056c26d5a1e6eaa36ddee621700191eeda2207ff27a0fe1f081fe7e88c65b3e80317bd8a210f")


def test_a_real_stale_block_stays_beside_the_chain() -> None:
    headers = in_a_row("headers-mainnet-822528.dat")
    at = 823_226 - 822_528
    assert STALE_823226[4:36] == sha256d(headers[at - 1])
    chain = fed(HeaderChain(MAINNET, headers[0], 822_528), headers[1:])
    assert chain.add(STALE_823226) is None and chain.tip == sha256d(headers[-1])
    assert sha256d(STALE_823226) not in chain and chain.height_of(sha256d(STALE_823226)) == 823_226
    # and as it came in those days: first, then overtaken
    chain = fed(HeaderChain(MAINNET, headers[0], 822_528), headers[1:at])
    assert chain.add(STALE_823226) == 823_226
    assert chain.add(headers[at]) is None and chain.at(823_226) == STALE_823226
    assert chain.add(headers[at + 1]) == 823_226 and chain.at(823_226) == headers[at]


@pytest.mark.parametrize("number", [1, 2015, 2016, 2019])
def test_one_changed_bit(number: int) -> None:
    headers = in_a_row("headers-mainnet-30240.dat")
    chain = HeaderChain(MAINNET, b"".join(headers[:number]), 30240)
    for bit in range(640):
        changed = bytearray(headers[number])
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidHeader) as refusal:
            chain.add(bytes(changed))
        previous = 32 <= bit < 36 * 8
        assert refusal.value.height == (None if previous else 30240 + number)
        assert refusal.value.reason in (("prev-blk-not-found",) if previous else ("high-hash", "bad-diffbits"))
    assert chain.add(headers[number]) == 30240 + number


def test_the_text_says_height_and_reason() -> None:
    headers = in_a_row("headers-mainnet-30240.dat")
    chain = HeaderChain(MAINNET, b"".join(headers[:2016]), 30240)
    stated = mine_header(headers[2016][:72] + bytes.fromhex("ffff7f20") + bytes(4))  # easier than it must be
    with pytest.raises(InvalidHeader, match=r"^header 32256: bits are 207fffff and must be 1d00d86a \(bad-diffbits\)$"):
        chain.add(stated)
    with pytest.raises(InvalidHeader, match=r"^header 32256: [0-9a-f]{64} is no proof of work .*\(high-hash\)$"):
        chain.add(headers[2016][:-1] + b"\0")
    with pytest.raises(InvalidHeader, match=r"^header: [0-9a-f]{64} follows [0-9a-f]{64}, which is not known"):
        chain.add(headers[2017])
    assert chain.add(headers[2016]) == 32256 and chain.add(headers[2017]) == 32257


# Where a chain starts


def test_it_starts_with_the_genesis_block() -> None:
    for network in (MAINNET, TESTNET3, TESTNET4, SIGNET, REGTEST):
        chain = HeaderChain(network)
        assert (chain.height, len(chain), list(chain)) == (0, 1, [network.genesis])
        assert chain.locator() == [chain.tip] == [sha256d(network.genesis)] and chain.add(network.genesis) is None


def test_where_it_cannot_start() -> None:
    headers = in_a_row("headers-mainnet-30240.dat")
    with pytest.raises(BTCError, match="multiple of 2016, not at height 30241"):
        HeaderChain(MAINNET, headers[1], 30241)
    with pytest.raises(FormatError, match="header 30242 does not follow") as broken:
        HeaderChain(MAINNET, headers[0] + headers[1] + headers[3], 30240)
    assert broken.value.offset == 160
    with pytest.raises(FormatError, match="header 30241 has no proof of work"):
        HeaderChain(MAINNET, headers[0] + headers[1][:-1] + b"\0", 30240)
    with pytest.raises(FormatError, match="80 bytes each"):
        HeaderChain(MAINNET, headers[0][:-1], 30240)
    with pytest.raises(FormatError, match="genesis block of mainnet"):
        HeaderChain(MAINNET, TESTNET3.genesis or b"")
    with pytest.raises(BTCError, match="rules for headers of litecoin are not known"):
        HeaderChain(by_name("litecoin"))


def test_regtest_may_start_anywhere() -> None:
    first = mine(b"", START)
    chain = HeaderChain(REGTEST, first, 7)
    assert fed(chain, [second := mine(first, START + 1)]).height == 8
    assert chain.locator() == [sha256d(second), sha256d(first)]


@pytest.mark.parametrize("count", [2, 2015, 2016, 2017, 4033])
def test_what_was_loaded_goes_on_as_what_was_fed(count: int) -> None:
    headers = in_a_row("headers-testnet3-6048.dat") if count < 4000 else regtest_row(count)
    network, height = (TESTNET3, 6048) if count < 4000 else (REGTEST, 0)
    grown = fed(HeaderChain(network, headers[0], height, work=5), headers[1:count])
    loaded = HeaderChain(network, b"".join(headers[:count]), height, work=5)
    assert (loaded.tip, loaded.height, loaded.work, loaded.median_time) == (
        grown.tip, grown.height, grown.work, grown.median_time)
    for header in headers[count : count + 2]:
        assert loaded.add(header) == grown.add(header) is not None


# Looking up


def regtest_row(count: int, spacing: int = 600) -> list[bytes]:
    assert REGTEST.genesis is not None
    headers = [REGTEST.genesis]
    for number in range(1, count):
        headers.append(mine(headers[-1], START + number * spacing))
    return headers


def test_locator_and_fork_point() -> None:
    headers = regtest_row(101)
    chain = fed(HeaderChain(REGTEST), headers[1:])
    # Bitcoin Core, src/chain.cpp, LocatorEntries: ten in single steps, then the step doubles each time
    heights = [100, 99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 88, 84, 76, 60, 28, 0]
    assert chain.locator() == [sha256d(headers[height]) for height in heights]
    assert chain.fork_point([bytes(32), sha256d(headers[60]), sha256d(headers[28])]) == 60
    assert chain.fork_point([]) == chain.fork_point([bytes(32)]) == 0
    assert list(chain.after(98)) == headers[99:] and list(chain.after(100)) == []
    assert [chain.hash_at(height) for height in (0, 50, 100)] == [sha256d(headers[n]) for n in (0, 50, 100)]
    for height in (-1, 101):
        with pytest.raises(IndexError, match=f"height {height} is not among 0 to 100"):
            chain.at(height)
        with pytest.raises(IndexError, match="is not among"):
            chain.hash_at(height)


# Times


def test_time_is_after_the_median_of_eleven() -> None:
    times = [START + n for n in (5, 100, 1, 2, 101, 102, 103, 104, 3, 4, 105)]  # the sixth in order is START + 100
    chain = HeaderChain(REGTEST, mine(b"", times[0]), 2016)
    for moment in times[1:]:
        chain = HeaderChain(REGTEST, b"".join(chain) + mine(chain.at(chain.height), moment), 2016)
    assert chain.median_time == START + 100
    last = chain.at(chain.height)
    with pytest.raises(InvalidHeader, match=rf"header 2027: time {START + 100} is not after {START + 100}.*too-old"):
        chain.add(mine(last, START + 100))
    assert chain.add(mine(last, START + 101)) == 2027
    assert chain.median_time == START + 101  # START + 5 has left the window, START + 101 has come


def test_no_median_of_fewer_than_eleven_times_but_at_the_genesis_block() -> None:
    first = mine(b"", START)
    chain = HeaderChain(REGTEST, first, 2016)
    for number in range(10):
        assert chain.add(mine(chain.at(chain.height), START, mark=number)) == 2017 + number
    with pytest.raises(InvalidHeader, match=r"header 2027.*time-too-old"):
        chain.add(mine(chain.at(chain.height), START))
    with pytest.raises(InvalidHeader, match=r"header 1: .*time-too-old"):
        HeaderChain(REGTEST).add(mine(REGTEST.genesis or b"", time_of(REGTEST.genesis or b"")))


def test_time_is_at_most_two_hours_ahead_where_now_is_known() -> None:
    chain = HeaderChain(REGTEST)
    header = mine(chain.at(0), START + 7201)
    with pytest.raises(InvalidHeader, match=r"header 1: time \d+ is 7,201 s ahead \(time-too-new\)"):
        chain.add(header, now=START)
    assert chain.add(header, now=START + 1) == 1
    assert chain.add(mine(header, 0xFFFFFFFF)) == 2


def test_time_may_not_warp_on_testnet4() -> None:
    easy = replace(TESTNET4, name="easy", pow_limit=REGTEST.pow_limit, genesis=None)
    row = [mine(b"", START)]
    for number in range(1, 2016):
        row.append(mine(row[-1], START + number * 600))
    chain = HeaderChain(easy, b"".join(row), 0)
    required = chain.required_bits(0)
    with pytest.raises(InvalidHeader, match=r"header 2016: .*more than 600 s before.*time-timewarp-attack"):
        chain.add(mine(row[-1], time_of(row[-1]) - 601, required))
    assert chain.add(mine(row[-1], time_of(row[-1]) - 600, required)) == 2016


# Reorganisations


def branch(before: bytes, count: int, mark: int, spacing: int = 600) -> list[bytes]:
    headers = [before]
    for _ in range(count):
        headers.append(mine(headers[-1], time_of(headers[-1]) + spacing, mark=mark))
    return headers[1:]


def test_the_first_of_equals_stays_until_another_has_more_work() -> None:
    row = regtest_row(11)
    chain = fed(HeaderChain(REGTEST), row[1:])
    other = branch(row[5], 6, mark=1)
    for header in other[:5]:
        assert chain.add(header) is None
    assert chain.height == 10 and chain.tip == sha256d(row[10])
    assert chain.add(other[5]) == 6
    assert list(chain) == row[:6] + other and chain.height == 11 and chain.work == 2 * 12
    assert sha256d(row[6]) not in chain and chain.height_of(sha256d(row[6])) == 6
    assert [chain.height_of(sha256d(header)) for header in other] == [6, 7, 8, 9, 10, 11]
    # and back, from the branch that was left
    assert len(chain._side) == 5
    back = branch(row[10], 2, mark=2)
    assert chain.add(back[0]) is None and chain.add(back[1]) == 6
    assert list(chain) == row + back and all(chain.height_of(sha256d(header)) for header in other)


def test_a_branch_of_a_branch() -> None:
    row = regtest_row(6)
    chain = fed(HeaderChain(REGTEST), row[1:])
    side = branch(row[2], 2, mark=1)
    twig = branch(side[0], 4, mark=2)
    fed(chain, side + twig[:1])
    assert list(chain) == row
    assert [chain.add(header) for header in twig[1:]] == [None, 3, 7]
    assert list(chain) == [*row[:3], side[0], *twig]
    assert chain.add(branch(side[1], 1, mark=3)[0]) is None


def test_more_work_counts_not_more_headers() -> None:
    network = replace(TESTNET3, name="easy", pow_limit=REGTEST.pow_limit, genesis=None)
    hard = encode_bits(decode_bits(0x207FFFFF).target >> 4)
    start = mine(b"", START, hard)
    chain = HeaderChain(network, start, 2016)
    easy = branch(start, 5, mark=1, spacing=1201)  # 20 minutes between blocks: the easiest target is allowed
    assert [chain.add(header) for header in easy] == [2017, 2018, 2019, 2020, 2021]
    assert chain.add(mine(start, START + 600, hard)) == 2017
    assert chain.height == 2017 and chain.work == 2 * work(hard)


def test_across_a_retarget() -> None:
    network = replace(MAINNET, name="easy", pow_limit=REGTEST.pow_limit, genesis=None)
    row = [mine(b"", START)]
    for number in range(1, 2016):
        row.append(mine(row[-1], START + number * 300))
    chain = HeaderChain(network, b"".join(row), 0)
    harder = encode_bits(decode_bits(0x207FFFFF).target * (2015 * 300) // (2016 * 600))
    slow = branch(row[2013], 1, mark=1, spacing=600 * 2016)  # its period took long, so its target stays the easiest
    slow.append(mine(slow[-1], time_of(slow[-1]) + 600))
    assert chain.add(slow[0]) is None
    assert chain.add(mine(row[2015], time_of(row[2015]) + 600, harder)) == 2016
    assert chain.add(slow[1]) is None  # as high, but with less work
    assert chain.height == 2016 and bits_of(chain.at(2016)) == harder
    tail = branch(slow[1], 4, mark=1)
    assert [chain.add(header) for header in tail].index(2014) in (1, 2)
    assert chain.at(2014) == slow[0] and bits_of(chain.at(2016)) == 0x207FFFFF


# A naive model: every header with all its ancestors, Bitcoin Core's algorithm word by word


class Model:
    """Knows everything and computes everything anew."""

    def __init__(self, network: Network, first: bytes) -> None:
        self.network = network
        self.rows = {sha256d(first): [first]}
        self.best = sha256d(first)

    def work(self, block_hash: bytes) -> int:
        return sum((1 << 256) // (decode_bits(bits_of(header)).target + 1) for header in self.rows[block_hash])

    def next_bits(self, row: list[bytes], moment: int) -> int:
        network, last = self.network, len(row) - 1
        limit = encode_bits(network.pow_limit or 0)
        if not network.retarget:
            return bits_of(row[-1])
        if len(row) % PERIOD:
            if network.min_difficulty_blocks:
                if moment > time_of(row[-1]) + 1200:
                    return limit
                while last > 0 and last % PERIOD != 0 and bits_of(row[last]) == limit:
                    last -= 1
                return bits_of(row[last])
            return bits_of(row[-1])
        first = row[len(row) - PERIOD]
        span = min(max(time_of(row[-1]) - time_of(first), PERIOD * 150), PERIOD * 2400)
        target = decode_bits(bits_of(first if network.bip94 else row[-1])).target * span // (PERIOD * 600)
        return encode_bits(min(target, network.pow_limit or 0))

    def add(self, header: bytes) -> None:
        row = self.rows.get(header[4:36])
        if row is None:
            raise InvalidHeader("prev-blk-not-found", "")
        moments = sorted(time_of(one) for one in row[-11:])
        if bits_of(header) != self.next_bits(row, time_of(header)):
            raise InvalidHeader("bad-diffbits", "", len(row))
        if time_of(header) <= moments[len(moments) // 2]:
            raise InvalidHeader("time-too-old", "", len(row))
        if self.network.bip94 and len(row) % PERIOD == 0 and time_of(header) < time_of(row[-1]) - 600:
            raise InvalidHeader("time-timewarp-attack", "", len(row))
        block_hash = sha256d(header)
        if block_hash not in self.rows:
            self.rows[block_hash] = [*row, header]
            if self.work(block_hash) > self.work(self.best):
                self.best = block_hash


PERIOD = 8


@pytest.fixture
def short_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Periods of 8 blocks instead of 2016, so that chains of a few dozen headers go through several."""
    for name, value in (("INTERVAL", PERIOD), ("TIMESPAN", PERIOD * 600)):
        monkeypatch.setattr(difficulty, name, value)
    monkeypatch.setattr(module, "INTERVAL", PERIOD)


# which known header comes before (counted from the latest), seconds after it, whether its bits are what they must be
STEPS = st.lists(st.tuples(st.one_of(st.just(0), st.integers(0, 12)), st.sampled_from([1, 100, 600, 1200, 1201, 9000,
                           -300, -2000]), st.integers(0, 15)), min_size=20, max_size=90)


@pytest.mark.parametrize("kind", [MAINNET, TESTNET3, TESTNET4, REGTEST], ids=str)
@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
@pytest.mark.usefixtures("short_periods")
def test_against_the_model(kind: Network, steps: list[tuple[int, int, int]]) -> None:
    first = mine(b"", START)
    network = replace(kind, name="short", pow_limit=REGTEST.pow_limit, genesis=first)
    chain, model = HeaderChain(network), Model(network, first)
    known = [first]
    for back, seconds, wrong in steps:
        before = known[-1 - back % len(known)]
        moment = time_of(before) + seconds
        bits = model.next_bits(model.rows[sha256d(before)], moment)
        if wrong == 0:
            bits = 0x207FFFFF if bits != 0x207FFFFF else 0x203FFFFF
        if decode_bits(bits).target < 1 << 241:
            continue  # no more than some ten thousand hashes for one
        header = mine(before, moment, bits)
        outcomes = []
        for one in (chain, model):
            try:
                one.add(header)
                outcomes.append(None)
            except InvalidHeader as error:
                outcomes.append((error.reason, error.height))
        assert outcomes[0] == outcomes[1]
        if outcomes[0] is None:
            known.append(header)
        best = model.rows[model.best]
        assert (chain.tip, list(chain), chain.work) == (model.best, best, model.work(model.best))
        assert all(chain.height_of(sha256d(one)) == len(model.rows[sha256d(one)]) - 1 for one in known)
        assert {one for one in known if sha256d(one) in chain} == set(best)
        again = HeaderChain(network, b"".join(chain))
        assert (again.work, again.median_time) == (chain.work, chain.median_time)
        assert again.required_bits(moment) == chain.required_bits(moment) == model.next_bits(best, moment)


# What a hostile peer may send


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(header: bytes) -> None:
    with pytest.raises(InvalidHeader):
        HeaderChain(REGTEST).add(header)


def test_orphans_duplicates_and_loops_change_nothing() -> None:
    row = regtest_row(21)
    chain = fed(HeaderChain(REGTEST), row[1:11])
    for _ in range(3):
        for header in row[1:11]:
            assert chain.add(header) is None
        for header in row[12:]:
            with pytest.raises(InvalidHeader, match="prev-blk-not-found"):
                chain.add(header)
    itself = bytearray(row[11])
    itself[4:36] = sha256d(row[11])
    with pytest.raises(InvalidHeader, match="prev-blk-not-found"):
        chain.add(bytes(itself))
    assert list(chain) == row[:11] and chain.height_of(sha256d(row[11])) is None


def test_endless_forks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SIDE_HEADERS", 50)
    row = regtest_row(102)
    chain = fed(HeaderChain(REGTEST), row[1:])
    random = Random(5)
    for mark in range(1, 400):
        for header in branch(row[random.randrange(95)], random.randrange(1, 5), mark):
            assert chain.add(header) is None
    assert list(chain) == row and len(chain._side) <= 50
    # a branch of honest blocks that comes now still becomes the best: what is in its way is forgotten
    honest = branch(row[70], 32, mark=1000)
    assert [chain.add(header) for header in honest] == [None] * 31 + [71]
    assert chain.height == 102 and list(chain) == row[:71] + honest


def test_a_side_branch_of_too_many_headers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SIDE_HEADERS", 50)
    row = regtest_row(102)
    chain = fed(HeaderChain(REGTEST), row[1:])
    side = branch(row[10], 51, mark=1)
    fed(chain, side[:49] + branch(row[11], 1, mark=2) + side[49:50])
    assert [chain.height_of(sha256d(header)) for header in side[:50]] == list(range(11, 61))
    for _ in range(2):
        with pytest.raises(InvalidHeader, match=r"header 61: a branch of more than 50 headers .*side-branch-too-long"):
            chain.add(side[50])
    assert list(chain) == row and len(chain._side) == 50
    assert fed(chain, branch(row[101], 3, mark=2)).height == 104


def test_what_a_reorganisation_leaves_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SIDE_HEADERS", 50)
    network = replace(TESTNET3, name="easy", pow_limit=REGTEST.pow_limit, genesis=None)
    hard = encode_bits(decode_bits(0x207FFFFF).target >> 9)
    start = mine(b"", START, hard)
    easy = branch(start, 80, mark=1, spacing=1201)
    chain = fed(HeaderChain(network, start, 2016), easy)
    assert chain.add(mine(start, START + 600, hard)) == 2017 and len(chain) == 2
    assert [chain.height_of(sha256d(header)) is not None for header in easy] == [True] * 50 + [False] * 30


def test_time_and_memory_are_linear() -> None:
    row = regtest_row(60_001, spacing=1)
    tracemalloc.start()
    seconds, sizes = [], []
    try:
        for count in (20_000, 60_000):
            chain = HeaderChain(REGTEST)
            before = tracemalloc.get_traced_memory()[0]
            start = time.process_time()
            fed(chain, row[1 : count + 1])
            seconds.append(time.process_time() - start)
            sizes.append(tracemalloc.get_traced_memory()[0] - before)
            assert chain.height == count
    finally:
        tracemalloc.stop()
    assert seconds[1] < 3 * seconds[0] * 2
    assert sizes[1] / 60_000 < 300  # bytes for each header, so a million of them are 300 MB at most


def test_a_deep_reorganisation_is_quick() -> None:
    row = regtest_row(8001, spacing=1)
    chain = fed(HeaderChain(REGTEST), row[1:])
    other = branch(row[10], 7991, mark=1, spacing=1)
    start = time.process_time()
    fed(chain, other)
    assert chain.height == 8001 and time.process_time() - start < 5


def test_hashes_as_people_write_them_are_found() -> None:
    headers = in_a_row("headers-mainnet-30240.dat")
    chain = HeaderChain(MAINNET, b"".join(headers), 30240)
    first_retarget = hex_hash("000000004f2886a170adb7204cb0c7a824217dd24d11a74423d564c4e0904967")
    assert chain.height_of(first_retarget) == 32256
