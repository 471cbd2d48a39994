# SPDX-License-Identifier: GPL-2.0-or-later
"""Mined blocks, checked by python-bitcoinlib, which shares nothing with us."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bitcoin
import pytest
from bitcoin.core import (
    CBlock,
    CheckBlock,
    COutPoint,
    CTransaction,
    CTxIn,
    CTxInWitness,
    CTxOut,
    CTxWitness,
)
from bitcoin.core.script import CScript, CScriptWitness
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc.chain.merkle import check_witness_commitment
from scapy_btc.chain.mining import MinedTx, mine_block, mine_header, push_height, subsidy
from scapy_btc.errors import BTCError
from scapy_btc.networks import MAINNET, REGTEST, SIGNET, TESTNET3, TESTNET4, Network
from scapy_btc.wire.hashes import sha256d

TIP, TIME, BITS = sha256d(REGTEST.genesis), 1_700_000_000, 0x207FFFFF
SCRIPT = bytes.fromhex("0014" + "ab" * 20)


@pytest.fixture(autouse=True)
def regtest() -> Iterator[None]:
    bitcoin.SelectParams("regtest")
    yield
    bitcoin.SelectParams("mainnet")


def transaction(number: int, witness: bool) -> CTransaction:
    stack = CTxWitness([CTxInWitness(CScriptWitness([b"witness", b""]))] if witness else [])
    inputs, outputs = [CTxIn(COutPoint(bytes([number]) * 32, 0))], [CTxOut(1000, CScript(b"\x51"))]
    return CTransaction(inputs, outputs, witness=stack)


def mined(*transactions: CTransaction, fee: int = 0, **changed: Any) -> CBlock:
    given = [MinedTx(tx.serialize(), tx.GetTxid(), sha256d(tx.serialize()), fee) for tx in transactions]
    told = {"network": REGTEST, "height": 1, "previous": TIP, "time": TIME, "bits": BITS, "script": SCRIPT, **changed}
    raw = mine_block(transactions=given, **told)
    block = CBlock.deserialize(raw)
    assert block.serialize() == raw
    return block


@pytest.mark.parametrize("height", [1, 16, 17, 127, 128, 255, 256, 32767, 32768, 8_388_607, 8_388_608, 500_000_000])
def test_an_empty_block(height: int) -> None:
    block = mined(height=height)
    CheckBlock(block, cur_time=TIME)
    assert (block.nVersion, block.hashPrevBlock, block.nTime, block.nBits) == (0x20000000, TIP, TIME, BITS)
    assert block.vtx[0].is_coinbase() and block.vtx[0].vin[0].scriptSig.startswith(bytes(CScript([height])))
    assert [(out.nValue, bytes(out.scriptPubKey)) for out in block.vtx[0].vout] == [(subsidy(REGTEST, height), SCRIPT)]


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("witness", [False, True])
def test_a_block_with_transactions(count: int, witness: bool) -> None:
    block = mined(*(transaction(n, witness and n == count) for n in range(1, count + 1)), fee=7)
    CheckBlock(block, cur_time=TIME)
    assert len(block.vtx) == 1 + count and block.vtx[0].vout[0].nValue == 50 * 10**8 + 7 * count
    scripts = [bytes(out.scriptPubKey) for out in block.vtx[0].vout]
    of_inputs = block.vtx[0].wit.vtxinwit  # codespell:ignore wit
    stacks = [bytes(item) for entry in of_inputs for item in entry.scriptWitness.stack]
    wtxids = [sha256d(tx.serialize()) for tx in block.vtx]
    assert check_witness_commitment(wtxids, scripts, stacks) is (True if witness else None)


# Bitcoin Core, src/test/main_tests.cpp: 50 coins at first, halved every 210,000 blocks, 2,099,999,997,690,000 in all
def test_subsidy() -> None:
    assert [subsidy(MAINNET, h) for h in (0, 209_999, 210_000, 840_000)] == [50 * 10**8] * 2 + [25 * 10**8, 312_500_000]
    assert [subsidy(REGTEST, h) for h in (149, 150, 300, 150 * 64)] == [50 * 10**8, 25 * 10**8, 1_250_000_000, 0]
    assert sum(subsidy(MAINNET, h) * 1000 for h in range(0, 14_000_000, 1000)) == 2_099_999_997_690_000


@given(st.integers(0, 2**31 - 1))
def test_the_height_is_a_script_number(height: int) -> None:
    assert push_height(height) == bytes(CScript([height]))


def test_extra_bytes_make_another_block() -> None:
    assert mined(extra=b"a").vtx[0].GetTxid() != mined(extra=b"b").vtx[0].GetTxid()
    with pytest.raises(BTCError, match="at most 100 bytes"):
        mined(extra=bytes(99))


def test_the_search_is_bounded() -> None:
    header = REGTEST.genesis[:72] + bytes.fromhex("ffff001d") + bytes(4)
    with pytest.raises(BTCError, match="no proof of work in 1,000 tries"):
        mine_header(header, 1000)
    with pytest.raises(BTCError, match="no proof of work"):
        mine_header(header[:76] + b"\xfe\xff\xff\xff")


@pytest.mark.parametrize("network", [MAINNET, TESTNET3, TESTNET4, SIGNET], ids=str)
def test_the_nonces_of_genesis_blocks_are_found_again(network: Network) -> None:
    assert network.genesis is not None
    nonce = int.from_bytes(network.genesis[76:], "little")
    assert mine_header(network.genesis[:76] + (nonce - 5000).to_bytes(4, "little"), 5001) == network.genesis
