# SPDX-License-Identifier: GPL-2.0-or-later
"""What a careful reader of a message would want to be told: stable codes, and the checks that find them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from ..chain.merkle import check_witness_commitment, merkle_root
from ..chain.partial_merkle import extract
from ..chain.proof_of_work import check_header
from ..errors import FormatError
from ..layers.plan import BROKEN, Notes
from ..layers.registry import BTCMessage, lookup
from ..networks import Network
from ..protocol import MAX_MONEY
from ..wire.hashes import hex_hash, sha256d
from .blocks import BTCBlock, BTCBlockTxn, BTCCmpctBlock, BTCMerkleBlock
from .following import transactions_in
from .inventory import BTCHeaders, headers_in
from .transactions import BTCTx, Places, amounts_at, txid_at


class Severity(IntEnum):
    """How much a finding matters."""

    NOTE = 0
    WARNING = 1
    ERROR = 2


class Finding(NamedTuple):
    """What a code means."""

    severity: Severity
    meaning: str


_N, _W, _E = Severity.NOTE, Severity.WARNING, Severity.ERROR

FINDINGS: dict[str, Finding] = {
    # the stream
    "resynchronised": Finding(_N, "the first message found again after bytes that were lost or belonged to none"),
    "gap": Finding(_W, "bytes of the connection are not in the capture"),
    "skipped": Finding(_W, "bytes that belong to no message"),
    "truncated": Finding(_W, "a message of which bytes are missing"),
    "overlap-differs": Finding(_E, "bytes of a connection were sent again with other content"),
    "encrypted": Finding(_N, "bytes of v2, or of another protocol on a port of Bitcoin's, that cannot be read"),
    "unrecognised": Finding(_N, "the same, and the beginning of the connection was not captured"),
    "handshake": Finding(_N, "the key exchange of a v2 connection (BIP 324): key, garbage, version packet"),
    "decoy": Finding(_N, "a packet of a v2 connection that its receiver throws away"),
    "bad-tag": Finding(_E, "a packet of a v2 connection that is not authentic; nothing after it can be read"),
    "guess": Finding(_N, "what a write of a v2 connection may be, from its size alone (`--guess`)"),
    # the envelope
    "bad-checksum": Finding(_E, "the checksum is not that of the payload; nodes drop the message"),
    "no-checksum": Finding(_N, "a 20-byte header without checksum, as before February 2012"),
    "bad-msgtype": Finding(_W, "the message name is not printable ASCII followed by zeros"),
    "over-size": Finding(_E, "a payload above 4,000,000 bytes; Bitcoin Core closes the connection"),
    "unknown-message": Finding(_N, "a message name that nobody registered"),
    "unknown-network": Finding(_N, "a magic that is nobody's"),
    # the order
    "repeated-handshake": Finding(_W, "a second `version` or `verack` of the same side"),
    "before-verack": Finding(_W, "sent before the sender's own `verack`; Bitcoin Core ignores it"),
    "after-verack": Finding(_E, "must come between `version` and `verack`; Bitcoin Core disconnects"),
    # what a proxy did
    "dropped": Finding(_N, "the proxy did not pass it on: its receiver never saw it"),
    "injected": Finding(_N, "the proxy sent it, not the end that is named as its source"),
    # the encoding
    "malformed": Finding(_E, "the payload ends before its last field, or breaks its format"),
    "trailing-bytes": Finding(_W, "bytes after the last field; Bitcoin Core ignores them"),
    "non-minimal-size": Finding(_E, "a CompactSize in a longer form than needed; nodes drop the message"),
    "over-limit": Finding(_E, "a list or string over the limit of the protocol; nodes drop or punish it"),
    # what it says
    "bad-proof-of-work": Finding(_E, "a header's hash is above its target, or its target above the network's limit"),
    "not-continuous": Finding(_E, "a header does not follow the one before it"),
    "bad-merkle-root": Finding(_E, "the transactions are not those of the header"),
    "mutated-merkle-tree": Finding(_E, "a repeated transaction leaves the merkle root as it was (CVE-2012-2459)"),
    "bad-witness-commitment": Finding(_E, "the witnesses are not those that the coinbase commits to (BIP 141)"),
    "bad-partial-merkle-tree": Finding(_E, "the partial merkle tree proves nothing for its header (BIP 37)"),
    "superfluous-witness": Finding(_E, "a transaction in extended form whose witnesses are all empty"),
    "unknown-transaction-data": Finding(_E, "a flag of a transaction that Bitcoin does not know"),
    "bad-amount": Finding(_E, "an output below 0 or above 21,000,000 BTC"),
}
"""Every code, in the order in which reports list them."""


def severity(code: str) -> Severity:
    """How much a finding matters; a code that a user made is a note."""
    return FINDINGS[code].severity if code in FINDINGS else Severity.NOTE


def examine(msgtype: str, payload: bytes, network: Network | None = None) -> list[str]:
    """The codes of what is wrong with a payload, each once, in the order in which it was found.

    :param msgtype: the message's name
    :param payload: all of its bytes
    :param network: whose proof-of-work limit holds; None leaves that limit unchecked
    """
    cls = lookup(msgtype)
    codes = encoding(msgtype, payload)
    if cls and "malformed" not in codes:
        codes += dict.fromkeys(_content(cls, payload, network.pow_limit if network else None))
    return codes


def encoding(msgtype: str, payload: bytes) -> list[str]:
    """Likewise, but only of how it is written, not of what it says: quick."""
    cls = lookup(msgtype)
    if cls is None:
        return ["unknown-message"]
    notes: Notes = []
    try:
        end = cls.plan.end(payload, 0, len(payload), notes)
    except BROKEN:
        return ["malformed"]
    if end < len(payload):
        notes.append(("trailing-bytes", ""))
    return list(dict.fromkeys(code for code, _ in notes)) if notes else []


def _content(cls: type[BTCMessage], payload: bytes, pow_limit: int | None) -> Iterator[str]:
    if cls is BTCTx:
        yield from _transaction(payload, BTCTx.plan.starts(payload, 0, len(payload)))
    elif cls is BTCHeaders:
        yield from _headers(payload, pow_limit)
    elif cls in (BTCBlock, BTCMerkleBlock, BTCCmpctBlock):
        if not check_header(payload[:80], pow_limit):
            yield "bad-proof-of-work"
        if cls is BTCBlock:
            yield from _block(payload)
        elif cls is BTCMerkleBlock:
            yield from _partial_tree(payload)
    elif cls is BTCBlockTxn:
        for places in transactions_in("blocktxn", payload):
            yield from _transaction(payload, places)


def _transaction(b: bytes, places: Places) -> list[str]:
    _, marker, flag, inputs, _, _, _, witness, lock_time, _ = places
    codes = []
    if inputs > marker:
        if b[flag] & ~1:
            codes.append("unknown-transaction-data")
        if b[flag] & 1 and not any(b[witness:lock_time]):
            codes.append("superfluous-witness")
    amounts = amounts_at(b, places)
    if amounts and (min(amounts) < 0 or sum(amounts) > MAX_MONEY):
        codes.append("bad-amount")
    return codes


def _headers(payload: bytes, pow_limit: int | None) -> Iterator[str]:
    previous = None
    for header in headers_in(payload):
        if not check_header(header, pow_limit):
            yield "bad-proof-of-work"
        if previous is not None and header[4:36] != previous:
            yield "not-continuous"
        previous = sha256d(header)


def _block(payload: bytes) -> Iterator[str]:
    txids, wtxids = [], []
    for places in transactions_in("block", payload):
        yield from _transaction(payload, places)
        txids.append(txid_at(payload, places))
        wtxids.append(sha256d(payload[places[0]:places[-1]]) if places[3] > places[1] else txids[-1])
    root, mutated = merkle_root(txids)
    if root != payload[36:68]:
        yield "bad-merkle-root"
    elif mutated:
        yield "mutated-merkle-tree"
    if wtxids != txids:  # a block without any witness was asked for without them
        first = next(transactions_in("block", payload))
        coinbase = BTCTx.plan.record(payload, first[0], first[-1])[0]
        scripts = [bytes.fromhex(output["script"]) for output in coinbase["outputs"]]
        stack = [bytes.fromhex(item) for item in coinbase["witness"][0]] if coinbase.get("witness") else []
        if not check_witness_commitment(wtxids, scripts, stack):
            yield "bad-witness-commitment"


def _partial_tree(payload: bytes) -> Iterator[str]:
    record = BTCMerkleBlock.plan.record(payload, 0, len(payload))[0]
    try:
        tree = extract(record["total_transactions"], [hex_hash(h) for h in record["hashes"]],
                       bytes.fromhex(record["flags"]))
        proven = tree.root == payload[36:68]
    except FormatError:
        proven = False
    if not proven:
        yield "bad-partial-merkle-tree"
