# SPDX-License-Identifier: GPL-2.0-or-later
"""The one line that says what matters of a message, from its bytes and from its Packet alike."""

from __future__ import annotations

import pytest

from scapy_btc.all import (
    BTC,
    BTCAlert,
    BTCAlertPayload,
    BTCBlockHeader,
    BTCBSpent,
    BTCCFHeaders,
    BTCCheckOrder,
    BTCCmpctBlock,
    BTCCustomService,
    BTCFeeFilter,
    BTCFraud,
    BTCGetUTTLs,
    BTCGetUTXOs,
    BTCInv,
    BTCInvVector,
    BTCKeyValue,
    BTCMerkleBlock,
    BTCMessage,
    BTCOutPoint,
    BTCPing,
    BTCReject,
    BTCReply,
    BTCReqRecon,
    BTCShortHeader,
    BTCSketch,
    BTCSpend,
    BTCSpentCoin,
    BTCStaleTip,
    BTCTxEnt,
    BTCUTXOTree,
    BTCVersion,
    BTCWalletTx,
)
from scapy_btc.layers.registry import summary_line

A, B = "0a" * 32, "0b" * 32
NO_HEADER = BTCBlockHeader().block_hash

KNOWN = [
    (BTCVersion(user_agent="/x:1/", start_height=7, services=9), "version 70016 /x:1/ NETWORK|WITNESS, height 7"),
    (BTCPing(nonce=5), "ping 0x0000000000000005"),
    (BTCPing(nonce=None), "ping without nonce"),
    (BTCFeeFilter(feerate=-1), "feefilter -1 sat/kvB"),
    (BTCInv(inventory=[BTCInvVector(type=2, hash=A)]), f"inv MSG_BLOCK {A}"),
    (BTCInv(inventory=[BTCInvVector(type=n) for n in (1, 1, 5)]), "inv 2 MSG_TX, 1 MSG_WTX"),
    (BTCReject(message="tx", ccode=0x41, reason="dust", data=A), f"reject tx {A}: DUST dust"),
    (BTCReject(message="version", ccode=0x99), "reject version: code 0x99"),
    (BTCAlert(alert=BTCAlertPayload(id=7, status_bar="Upgrade")), "alert 7 Upgrade"),
    (BTCAlert(alert=b"\1\2\3"), "alert 3 bytes"),
    (BTCCheckOrder(order=BTCWalletTx(order_form=[BTCKeyValue(key="Message", value="lunch")])),
     "checkorder Message: lunch"),
    (BTCReply(code=2, script=b""), "reply denied"),
    (BTCReply(script=b"\x51"), "reply ok, script 51"),
    (BTCReqRecon(set_size=3, q=16384), "reqrecon set of 3, q 0.500"),
    (BTCSketch(skdata=bytes(12)), "sketch of capacity 3"),
    (BTCSpend(outpoint=BTCOutPoint(hash=A, index=1), spending_input=BTCOutPoint(hash=B)), f"spend {A}:1 by {B}:0"),
    (BTCFraud(), "fraud no such block"),
    (BTCFraud(block_hash=A, type_code=2, proof=b"x"), f"fraud {A}: too large"),
    (BTCBSpent(block_hash=A, coins=[BTCSpentCoin(script_prefix=1, script=bytes(20))]), f"bspent {A}: 1 coin"),
    (BTCUTXOTree(block_hash=A, data_length=9, chunk_hashes=[B]), f"utxotree {A}: 9 bytes in 1 chunk"),
    (BTCBSpent(block_hash=A, coins=[BTCSpentCoin(script_prefix=1, script=bytes(20))] * 2), f"bspent {A}: 2 coins"),
    (BTCCmpctBlock(shortids=[1]), f"cmpctblock {NO_HEADER}: 1 short id, 0 prefilled"),
    (BTCCmpctBlock(shortids=[1, 2]), f"cmpctblock {NO_HEADER}: 2 short ids, 0 prefilled"),
    (BTCMerkleBlock(total_transactions=1, hashes=[A]), f"merkleblock {NO_HEADER}: 1 hash of 1 transaction"),
    (BTCCFHeaders(stop_hash=A, filter_hashes=[B]), f"cfheaders 1 filter hash up to {A}"),
    (BTCGetUTXOs(outpoints=[BTCOutPoint()]), "getutxos 1 outpoint"),
    (BTCGetUTXOs(), "getutxos 0 outpoints"),
    (BTCTxEnt(entries=[b""]),
     "txent 4ebd325a4b394cff8c57e8317ccf5a8d0e2bdf1b8526f8aad6c8e43d8240621a: 1 entry"),
    (BTCGetUTTLs(start_height=9, exponent=3), "getuttls 2^3 blocks from 9"),
    (BTCCustomService(sub_command="search", data=b"12"), "_* search, 2 bytes"),
    (BTCTxEnt(entries=[b"", b"a"]),
     "txent 4ebd325a4b394cff8c57e8317ccf5a8d0e2bdf1b8526f8aad6c8e43d8240621a: 2 entries"),
]


@pytest.mark.parametrize(("packet", "line"), KNOWN, ids=lambda value: value if isinstance(value, str) else "")
def test_summary(packet: BTCMessage, line: str) -> None:
    assert packet.summary() == line
    payload = bytes(packet)
    assert summary_line(type(packet), payload) == line
    assert (BTC() / packet).summary() == f"BTC / {line}"


def test_a_stale_tip_is_named_by_the_hash_of_its_last_header() -> None:
    packet = BTCStaleTip(fork_point=A, headers=[BTCShortHeader(nonce=1), BTCShortHeader(nonce=2)])
    tip = packet.derive(bytes(packet))["tip_hash"]
    assert packet.summary() == f"staletip {tip}: 2 headers after {A}"


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31mred", "bell\a", "\u202eturned", "line\u2028separator"])
def test_text_of_a_peer_stays_on_its_line(text: str) -> None:
    alert = BTCAlert(alert=BTCAlertPayload(status_bar=text))
    for packet in (BTCVersion(user_agent=text), BTCReject(message=text), alert):
        line = packet.summary()
        assert line.isprintable()
        assert text.encode("unicode_escape").decode() in line


def test_other_letters_stay_as_they_are() -> None:
    assert "/café:π/" in BTCVersion(user_agent="/café:π/").summary()


def test_a_service_is_called_by_its_own_name() -> None:
    content = BTCCustomService(sub_command="search", data=b"12")
    packet = BTC(bytes(BTC(magic="regtest", msgtype="_MySampleSvc") / content))
    assert packet.summary() == "BTC regtest / _MySampleSvc search, 2 bytes"
    packet.msgtype = "ping"  # a lie about what follows
    assert packet.summary() == "BTC regtest / _* search, 2 bytes"
