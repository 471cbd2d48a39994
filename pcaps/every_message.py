# SPDX-License-Identifier: GPL-2.0-or-later
"""Write every-message.pcapng: every message that the package knows, crafted with it, in one connection.

    python pcaps/every_message.py [FOLDER]

The content of each is a known answer of tests/vectors/messages, built from its fields. `authchallenge` cannot be sent:
its name has 13 letters, and a header room for 12. Nobody ever held this conversation, as some of it was last spoken in
2010 and some is a draft. Times and ports are fixed, so the same file comes out each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import index

import scapy_btc.all as everything
from scapy_btc.all import BTC, REGTEST, Message
from scapy_btc.capture.writers import open_writer
from scapy_btc.layers.registry import lookup
from scapy_btc.wire.framing import V1Decoder

HERE = Path(__file__).parent
VECTORS = HERE.parent / "tests" / "vectors" / "messages"
NAME = "every-message.pcapng"
CLIENT, SERVER = "127.0.0.1:50000", f"127.0.0.1:{REGTEST.port}"
START_NS = 1_767_225_600 * 10**9  # 2026-01-01
STEP_NS = 20_000_000

# who speaks, what, and the name of the known answer
CONVERSATION = """
> version       70016 /Satoshi:22.0.0/
< version       70015 /Satoshi:0.17.1/
< wtxidrelay    mainnet
< sendaddrv2    regtest
< sendtxrcncl   salt 0123456789abcdef
> sendpackages  both bits
> feature       stale tips
> disabletx     empty
> sendtemplate  empty
> sendsegdata   empty
< verack        mainnet
> verack        mainnet
> sendheaders   regtest
> sendcmpct     low bandwidth, version 2
> feefilter     1000 on regtest
> getaddr       mainnet
< addr          wiki, one entry
< addrv2        every network in one message
> ping          123123
< pong          123123
> getheaders    regtest, six hashes
< headers       mainnet 900000 to 900002
> getblocks     two hashes
< inv           two transactions
> getdata       block and transaction
< notfound      block and transaction
< tx            witness, key hash
< block         mainnet 1
> mempool       mainnet
> filterload    three items
> filteradd     a txid
< merkleblock   block 1
> filterclear   mainnet
< cmpctblock    mainnet 898352
> getblocktxn   recorded 1
< blocktxn      legacy and witness
> getcfilters   regtest
< cfilter       regtest
> getcfheaders  regtest
< cfheaders     genesis
> getcfcheckpt  regtest
< cfcheckpt     regtest
< reject        bad-txns-inputs-spent
< alert         final alert
> reqrecon      size 100, q 0.1
< sketch        capacity 4 of three ids
> reqsketchext  empty
> reconcildiff  two ids asked
< ancpkginfo    two
> getpkgtxns    two
< pkgtxns       legacy and witness
> dandeliontx   with witness
> gettemplate   empty
< template      one short id, coinbase-like first
< staletip      signet, 19 headers
> getbspent     cutoff 800000
< bspent        every script form
> getutxotree   genesis
< utxotree      two chunks
> getutxoset    chunk 3
< utxoset       short last chunk
< txent         two entries
< segdatacov    archive
> getsegdata    differential
< segdata       two entries
> getuproof     bitmaps
< uproof        two leaves
> getuttls      version 848248
< uttls         two blocks
< usummary      two targets
< utreexotx     unconfirmed second input
> geturoot      genesis
< uroot         two roots
> getutxos      one, with mempool
< utxos         genesis output
> getoutputs    payment type 0
< outputs       two
> getspend      one
< spend         one
> getfraud      two hashes
< fraud         valid
> encinit       chacha20-poly1305
< encack        key
> authreply     a signature
< authpropose   a hash
> checkorder    everything present
< reply         to checkorder: script
> submitorder   everything present
> review        two values
> product       complete
> subscribe     channel 1
< publish       channel 1, free bytes
< pub-cancel    channel 1
> sub-cancel    channel 1
> _MySampleSvc  search
"""


def lines() -> Iterator[tuple[bool, str, str]]:
    """Whether the client speaks, the message and the name of the known answer."""
    for line in CONVERSATION.strip().splitlines():
        direction, msgtype, name = line.split(maxsplit=2)
        yield direction == ">", msgtype, name


def known_answer(msgtype: str, name: str) -> bytes:
    """The payload of a vector."""
    (vector,) = (each for each in json.loads((VECTORS / f"{msgtype}.json").read_bytes()) if each["name"] == name)
    return bytes.fromhex(vector["payload"])


def crafted(msgtype: str, payload: bytes) -> bytes:
    """A message with the content of a payload, built from fields."""
    message = lookup(msgtype)
    assert message is not None
    copied = eval(message(payload).command(), vars(everything))
    return bytes(BTC(magic=REGTEST, msgtype=msgtype) / copied)


def conversation() -> Iterator[Message]:
    """The messages as a reader would give them."""
    decoders = {True: V1Decoder(), False: V1Decoder()}
    for number, (asks, msgtype, name) in enumerate(lines()):
        (frame,) = decoders[asks].feed(crafted(msgtype, known_answer(msgtype, name)))
        source, destination = (CLIENT, SERVER) if asks else (SERVER, CLIENT)
        when = START_NS + number * STEP_NS
        yield Message(when, source, destination, 0, REGTEST, "v1", msgtype, frame.payload, "ok", (0, 0), frame)


def make(folder: Path) -> Path:
    """Write the file."""
    path = folder / NAME
    with open_writer(path) as writer:
        for message in conversation():
            writer.write(message)
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    index.update(target, {NAME: index.clean_entry(make(target), index.CLEAN[NAME])})
