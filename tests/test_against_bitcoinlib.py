# SPDX-License-Identifier: GPL-2.0-or-later
"""python-bitcoinlib and we agree on bytes, ids and fields of the messages that it knows.

The messages are those of the recordings and the known answers. Where python-bitcoinlib is wrong, the case stands below
with its reason, and the tests hold it to being wrong, so that they notice when it no longer is.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bitcoin.core import CBlock, CBlockHeader, CTransaction, b2lx
from bitcoin.core.serialize import SerializationError
from bitcoin.messages import MsgSerializable, messagemap
from bitcoin.net import CUnsignedAlert
from recordings import INDEX, messages_of

from scapy_btc.all import BTC, BTCBlock, BTCTx
from scapy_btc.capture.records import message_record
from scapy_btc.chain.merkle import merkle_root
from scapy_btc.layers.envelope import dissected
from scapy_btc.layers.registry import lookup
from scapy_btc.messages.enrich import enrich

VECTORS = Path(__file__).parent / "vectors" / "messages"
KNOWN = {command.decode() for command in messagemap}


class Case(NamedTuple):
    msgtype: str
    payload: bytes
    name: str = ""
    """Of the known answer; none for what was recorded."""
    verdict: str = ""


@cache
def cases() -> tuple[Case, ...]:
    recorded = {
        Case(message.msgtype, message.payload)
        for name in INDEX
        for message in messages_of(name)
        if message.msgtype in KNOWN and message.checksum != "bad"
    }
    return (*sorted(recorded), *known_answers())


def known_answers() -> Iterator[Case]:
    for msgtype in sorted(KNOWN):
        for vector in json.loads((VECTORS / f"{msgtype}.json").read_bytes()):
            if vector.get("verdict") == "malformed":
                continue
            file = vector.get("payload_file")
            payload = gzip.decompress((VECTORS / file).read_bytes()) if file else bytes.fromhex(vector["payload"])
            yield Case(msgtype, payload, vector["name"], vector.get("verdict", ""))


def transaction(tx: CTransaction) -> dict[str, Any]:
    of_inputs = tx.wit.vtxinwit  # codespell:ignore wit
    extended = {"marker": 0, "flag": 1} if of_inputs else {}
    witness = [[bytes(item).hex() for item in each.scriptWitness.stack] for each in of_inputs]
    return {
        "version": tx.nVersion & 0xFFFFFFFF,
        **extended,
        "inputs_count": len(tx.vin),
        "inputs": [
            {
                "previous_output": {"hash": b2lx(txin.prevout.hash), "index": txin.prevout.n},
                "script_length": len(txin.scriptSig),
                "script": bytes(txin.scriptSig).hex(),
                "sequence": txin.nSequence,
            }
            for txin in tx.vin
        ],
        "outputs_count": len(tx.vout),
        "outputs": [
            {
                "value": txout.nValue,
                "script_length": len(txout.scriptPubKey),
                "script": bytes(txout.scriptPubKey).hex(),
            }
            for txout in tx.vout
        ],
        **({"witness": witness} if extended else {}),
        "lock_time": tx.nLockTime,
    }


def header(block: CBlockHeader) -> dict[str, Any]:
    return {
        "version": block.nVersion,
        "previous_block": b2lx(block.hashPrevBlock),
        "merkle_root": b2lx(block.hashMerkleRoot),
        "timestamp": block.nTime,
        "bits": block.nBits,
        "nonce": block.nNonce,
    }


def address(entry: Any, timed: bool = True) -> dict[str, Any]:
    when = {"timestamp": entry.nTime} if timed else {}
    return {**when, "services": entry.nServices, "ip": entry.ip, "port": entry.port}


def text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def version(m: Any) -> dict[str, Any]:
    record = {
        "version": m.nVersion,
        "services": m.nServices,
        "timestamp": m.nTime,
        "receiver_address": address(m.addrTo, timed=False),
    }
    if m.addrFrom is not None:
        record |= {
            "sender_address": address(m.addrFrom, timed=False),
            "nonce": m.nNonce,
            "user_agent_length": len(m.strSubVer),
            "user_agent": text(m.strSubVer),
            "start_height": m.nStartingHeight,
        }
    return record | ({"relay": m.fRelay} if m.nVersion >= 70001 else {})


def inventory(m: Any) -> dict[str, Any]:
    entries = [{"type": entry.type & 0xFFFFFFFF, "hash": b2lx(entry.hash)} for entry in m.inv]
    return {"inventory_count": len(m.inv), "inventory": entries}


def locator(m: Any) -> dict[str, Any]:
    hashes = [b2lx(each) for each in m.locator.vHave]
    return {
        "version": m.locator.nVersion,
        "locator_count": len(hashes),
        "locator": hashes,
        "stop": b2lx(m.hashstop),
    }


def alert(m: Any) -> dict[str, Any]:
    inner = CUnsignedAlert.deserialize(m.alert.vchMsg)
    return {
        "alert_length": len(m.alert.vchMsg),
        "alert": {
            "version": inner.nVersion,
            "relay_until": inner.nRelayUntil,
            "expiration": inner.nExpiration,
            "id": inner.nID,
            "cancel": inner.nCancel,
            "cancel_set_count": len(inner.setCancel),
            "cancel_set": list(inner.setCancel),
            "min_ver": inner.nMinVer,
            "max_ver": inner.nMaxVer,
            "subver_set_count": len(inner.setSubVer),
            "subver_set": list(inner.setSubVer),
            "priority": inner.nPriority,
            "comment_text_length": len(inner.strComment),
            "comment_text": text(inner.strComment),
            "status_bar_length": len(inner.strStatusBar),
            "status_bar": text(inner.strStatusBar),
            "reserved_length": len(inner.strReserved),
            "reserved": text(inner.strReserved),
        },
        "signature_length": len(m.alert.vchSig),
        "signature": m.alert.vchSig.hex(),
    }


RECORDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "version": version,
    "verack": lambda m: {},
    "getaddr": lambda m: {},
    "mempool": lambda m: {},
    "addr": lambda m: {"addresses_count": len(m.addrs), "addresses": [address(entry) for entry in m.addrs]},
    "inv": inventory,
    "getdata": inventory,
    "notfound": inventory,
    "getblocks": locator,
    "getheaders": locator,
    "headers": lambda m: {
        "headers_count": len(m.headers),
        "headers": [{"header": header(each), "transaction_count": 0} for each in m.headers],
    },
    "tx": lambda m: transaction(m.tx),
    "block": lambda m: {
        "header": header(m.block),
        "transactions_count": len(m.block.vtx),
        "transactions": [transaction(tx) for tx in m.block.vtx],
    },
    "ping": lambda m: {"nonce": m.nonce},
    "pong": lambda m: {"nonce": m.nonce},
    "reject": lambda m: {
        "message_length": len(m.message),
        "message": text(m.message),
        "ccode": m.ccode[0],
        "reason_length": len(m.reason),
        "reason": text(m.reason),
    },
    "alert": alert,
}


def as_they_expect(case: Case) -> bytes:
    """The payload; of headers without the transaction count (0) behind each, which python-bitcoinlib does not know."""
    payload = case.payload
    if case.msgtype != "headers" or len(payload) != 1 + 81 * payload[0]:
        return payload
    return payload[:1] + b"".join(payload[at : at + 80] for at in range(1, len(payload), 81))


def theirs(case: Case) -> tuple[dict[str, Any], bytes, bytes] | None:
    """What python-bitcoinlib reads, in our form; what it leaves unread; what it writes. None where it fails."""
    stream = BytesIO(as_they_expect(case))
    try:
        message = messagemap[case.msgtype.encode()].msg_deser(stream)
        return RECORDS[case.msgtype](message), stream.read(), message.to_bytes()[24:]
    except (SerializationError, AttributeError):  # the latter when it writes a version that has no sender
        return None


def ours(case: Case) -> tuple[dict[str, Any], bytes]:
    """Our record, and the bytes after the last field."""
    cls = lookup(case.msgtype)
    assert cls is not None
    record, end = cls.plan.record(case.payload, 0, len(case.payload))
    return record, case.payload[end:]


def fields_by_number(r: dict[str, Any]) -> bool:
    """Whether a version has just the fields that its number promises."""
    number = r["version"]
    promised = {"nonce": 106, "start_height": 209, "relay": 70001}
    return all((name in r) == (number >= since) for name, since in promised.items())


# Where python-bitcoinlib 0.12 is wrong: the message, the reason, and for which of them that holds.
Faults = list[tuple[str, str, Callable[[Case, dict[str, Any]], bool]]]
READS_WRONG: Faults = [
    ("version", "goes by the number, not by what is there", lambda c, r: not fields_by_number(r)),
    ("version", "knows no OnionCat", lambda c, r: ".onion" in str(r)),
    ("version", "cannot write what it read of a version before 106", lambda c, r: r["version"] < 106),
    ("addr", "knows no OnionCat", lambda c, r: ".onion" in str(r)),
    ("addr", "knows no entries without time", lambda c, r: any("timestamp" not in e for e in r["addresses"])),
    ("headers", "knows no transaction counts", lambda c, r: any(c.payload[81::81]) or "count" in c.name),
    ("tx", "takes any flag but 1 for no inputs", lambda c, r: r.get("flag", 1) != 1),
    ("ping", "knows no ping without nonce", lambda c, r: "nonce" not in r),
    ("reject", "does not read the data", lambda c, r: "data" in r),
    ("alert", "takes sub-versions for integers", lambda c, r: bool(r["alert"]["subver_set"])),
]
WRITES_WRONG: Faults = [
    *(
        (msgtype, "writes every count as short as it can be", lambda c, r: c.verdict == "nonminimal")
        for msgtype in ("addr", "block", "getblocks", "inv", "tx", "version")
    ),
    ("version", "always writes a relay byte", lambda c, r: r["version"] < 70001),
    ("tx", "leaves out witnesses that are all empty", lambda c, r: "flag" in r and not any(r.get("witness", []))),
]


def faults_of(case: Case, record: dict[str, Any], known: Faults) -> list[str]:
    return [reason for msgtype, reason, holds in known if msgtype == case.msgtype and holds(case, record)]


def of_type(msgtype: str) -> list[Case]:
    return [case for case in cases() if case.msgtype == msgtype]


@pytest.mark.parametrize("msgtype", sorted(KNOWN))
def test_fields_and_bytes(msgtype: str) -> None:
    """Read to the same fields, with the same bytes left over, and written to the same bytes."""
    for case in of_type(msgtype):
        record, rest = ours(case)
        found = theirs(case)
        if faults_of(case, record, READS_WRONG):
            assert found is None or found[:2] != (record, rest), case.name
            continue
        assert found is not None, case.name
        assert found[:2] == (record, rest), case.name
        same = found[2] + rest == as_they_expect(case)
        assert same is not bool(faults_of(case, record, WRITES_WRONG)), case.name


@pytest.mark.parametrize("msgtype", sorted(KNOWN))
def test_rebuilt_from_fields(msgtype: str) -> None:
    cls = lookup(msgtype)
    assert cls is not None
    for case in of_type(msgtype):
        packet = dissected(cls, case.payload)
        packet.clear_cache()
        assert bytes(packet) == case.payload, case.name


def test_each_fault_is_met() -> None:
    met = {
        (case.msgtype, reason)
        for case in cases()
        for reason in faults_of(case, ours(case)[0], [*READS_WRONG, *WRITES_WRONG])
    }
    assert met == {(msgtype, reason) for msgtype, reason, _ in [*READS_WRONG, *WRITES_WRONG]}


def test_recordings_hold_every_message_that_it_knows() -> None:
    count = Counter(case.msgtype for case in cases() if case.name == "")
    assert set(count) == set(KNOWN) == set(RECORDS)
    assert count["block"] > 250
    assert count["tx"] > 50


@pytest.mark.parametrize("msgtype", sorted(KNOWN))
def test_each_reads_the_envelope_of_the_other(msgtype: str) -> None:
    cls = lookup(msgtype)
    assert cls is not None
    for case in of_type(msgtype)[:50]:
        record, rest = ours(case)
        if rest or msgtype == "headers" or faults_of(case, record, [*READS_WRONG, *WRITES_WRONG]):
            continue
        crafted = bytes(BTC(magic="mainnet") / dissected(cls, case.payload))
        message = MsgSerializable.from_bytes(crafted)
        assert message is not None
        assert message.to_bytes() == crafted
        packet = BTC(message.to_bytes())
        assert (packet.msgtype, packet.checksum) == (msgtype, packet.right_checksum())
        assert type(packet.payload) is cls


def has_ids(case: Case) -> bool:
    return not ours(case)[1] and not faults_of(case, ours(case)[0], [*READS_WRONG, *WRITES_WRONG])


def test_transaction_ids() -> None:
    checked = 0
    for case in filter(has_ids, of_type("tx")):
        tx = CTransaction.deserialize(case.payload)
        ids = b2lx(tx.GetTxid()), b2lx(tx.GetHash())
        packet = BTCTx(case.payload)
        assert (packet.txid, packet.wtxid) == ids
        derived = BTCTx.derive(case.payload)
        assert (derived["txid"], derived["wtxid"]) == ids
        checked += tx.has_witness()
    assert checked > 5


def test_blocks() -> None:
    """Hash, ids of all transactions, difficulty and merkle root."""
    for case in filter(has_ids, of_type("block")):
        block = CBlock.deserialize(case.payload)
        record, _ = ours(case)
        packet = BTCBlock(case.payload)
        assert packet.block_hash == BTCBlock.derive(case.payload)["block_hash"] == b2lx(block.GetHash())
        txids = [b2lx(tx.GetTxid()) for tx in block.vtx]
        assert packet.txids() == txids
        derived = enrich(BTCBlock, case.payload, record, None)
        assert [tx["txid"] for tx in derived.get("transactions", [])] == txids
        assert [tx["wtxid"] for tx in derived.get("transactions", [])] == [b2lx(tx.GetHash()) for tx in block.vtx]
        assert derived["difficulty"] == pytest.approx(block.difficulty)
        if txids:
            assert merkle_root([tx.GetTxid() for tx in block.vtx]).root == block.calc_merkle_root()


def test_other_block_hashes() -> None:
    """Of the messages that python-bitcoinlib does not know but that begin with a header."""
    checked: Counter[str] = Counter()
    for name in INDEX:
        for message in messages_of(name):
            if message.msgtype in ("cmpctblock", "merkleblock") and message.checksum != "bad":
                expected = b2lx(CBlockHeader.deserialize(message.payload[:80]).GetHash())
                assert message.record["derived"]["block_hash"] == message.packet.payload.block_hash == expected
                checked[message.msgtype] += 1
    assert min(checked["cmpctblock"], checked["merkleblock"]) > 100


def test_transactions_of_compact_blocks() -> None:
    """Those of blocktxn, one after the other, and those that a cmpctblock brings with it."""
    checked: Counter[str] = Counter()
    for message in messages_of("bcoin-regtest.pcapng") + messages_of("core-v1-regtest.pcapng"):
        if message.msgtype not in ("blocktxn", "cmpctblock"):
            continue
        record = message_record(message, derived=True)
        stream = BytesIO(message.payload)
        if message.msgtype == "blocktxn":
            stream.seek(33)
        else:
            stream.seek(88 + 1 + 6 * record["fields"]["shortids_count"] + 1)
        expected = []
        for _ in record["derived"]["transactions"]:
            stream.read(message.msgtype == "cmpctblock")  # the index, below 253
            expected.append(b2lx(CTransaction.stream_deserialize(stream).GetTxid()))
        assert stream.read() == b""
        assert [tx["txid"] for tx in record["derived"]["transactions"]] == expected
        checked[message.msgtype] += len(expected)
    assert checked["blocktxn"] >= 4
    assert checked["cmpctblock"] > 90
