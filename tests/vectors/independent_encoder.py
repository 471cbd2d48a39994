# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds message payloads from expected records with nothing but ``struct``; shares no code with the package.

The layouts are written down from the BIPs and the drafts, one short function per message. The vectors that nobody has
published (``"published": false``) are made here from their ``fields``; run the file to write them anew.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Fields = dict[str, Any]
HERE = Path(__file__).parent / "messages"


def u8(value: int) -> bytes:
    return struct.pack("<B", value)


def u16(value: int) -> bytes:
    return struct.pack("<H", value)


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def i8(value: int) -> bytes:
    return struct.pack("<b", value)


def i32(value: int) -> bytes:
    return struct.pack("<i", value)


def u48(value: int) -> bytes:
    return struct.pack("<Q", value)[:6]


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def i64(value: int) -> bytes:
    return struct.pack("<q", value)


def port(value: int) -> bytes:
    return struct.pack(">H", value)


def raw(value: str) -> bytes:
    return bytes.fromhex(value)


def hash32(value: str) -> bytes:
    if len(value) != 64:
        raise ValueError(f"not a 32-byte hash: {value}")
    return bytes.fromhex(value)[::-1]


def text(value: str) -> bytes:
    """UTF-8, where a byte that is no part of it is written as backslash, x and two digits."""
    parts = re.split(r"\\x([89a-f][0-9a-f])", value)
    return b"".join(bytes.fromhex(p) if n % 2 else p.encode() for n, p in enumerate(parts))


def compact(value: int | tuple[int, int]) -> bytes:
    """CompactSize; a pair is the value and the number of bytes to write it in."""
    number, width = value if isinstance(value, tuple) else (value, 0)
    for size, limit, head, form in ((1, 253, b"", "<B"), (3, 1 << 16, b"\xfd", "<H"), (5, 1 << 32, b"\xfe", "<I")):
        if width == size or (not width and number < limit):
            return head + struct.pack(form, number)
    return b"\xff" + struct.pack("<Q", number)


def varint(number: int) -> bytes:
    """The base-128 number of Core's databases, used by the draft of BIP 180."""
    out = bytes([number & 0x7F])
    while number > 0x7F:
        number = (number >> 7) - 1
        out = bytes([number & 0x7F | 0x80]) + out
    return out


def var(f: Fields, name: str, convert: Callable[[str], bytes] = raw) -> bytes:
    return compact(f[name + "_length"]) + convert(f[name])


def many(f: Fields, name: str, convert: Callable[[Any], bytes]) -> bytes:
    return compact(f[name + "_count"]) + b"".join(map(convert, f[name]))


def laid_out(layout: str) -> Callable[[Fields], bytes]:
    """An encoder from a line: ``name:how`` one value, ``name@how`` a counted list, ``name=how`` with its length."""

    def encode_fields(f: Fields) -> bytes:
        out = b""
        for name, kind, how in re.findall(r"(\w+)([:@=])(\w+)", layout):
            convert = globals()[how]
            if kind == ":":
                out += convert(f[name])
            else:
                out += many(f, name, convert) if kind == "@" else var(f, name, convert)
        return out

    return encode_fields


def var_raw(value: str) -> bytes:
    return compact(len(value) // 2) + raw(value)


outpoint = laid_out("hash:hash32 index:u32")
txin = laid_out("previous_output:outpoint script=raw sequence:u32")
txout = laid_out("value:i64 script=raw")


def transaction(f: Fields) -> bytes:
    out = u32(f["version"])
    if "marker" in f:
        out += u8(f["marker"]) + u8(f["flag"])
    out += many(f, "inputs", txin) + many(f, "outputs", txout)
    for stack in f.get("witness", []):
        out += compact(len(stack)) + b"".join(map(var_raw, stack))
    return out + u32(f["lock_time"])


header = laid_out("version:i32 previous_block:hash32 merkle_root:hash32 timestamp:u32 bits:u32 nonce:u32")
headerless = laid_out("version:i32 merkle_root:hash32 timestamp:u32 bits:u32 nonce:u32")


def ip16(value: str) -> bytes:
    if value.endswith(".onion"):
        return raw("fd87d87eeb43") + base64.b32decode(value[:-6].upper())
    if ":" in value:
        return socket.inet_pton(socket.AF_INET6, value)
    return bytes(10) + b"\xff\xff" + socket.inet_aton(value)


def address(f: Fields) -> bytes:
    stamp = u32(f["timestamp"]) if "timestamp" in f else b""
    return stamp + u64(f["services"]) + ip16(f["ip"]) + port(f["port"])


def bip155_bytes(network: int, length: int, value: str) -> bytes:
    """The address bytes behind the printed form; hex where the length is not the one of the network id."""
    if {1: 4, 2: 16, 3: 10, 4: 32, 5: 32, 6: 16, 7: 16}.get(network) != length:
        return raw(value)
    if network == 1:
        return socket.inet_aton(value)
    if network in (3, 4):
        return base64.b32decode(value.removesuffix(".onion").upper())[:length]
    if network == 5:
        return base64.b32decode(value.removesuffix(".b32.i2p").upper() + "====")
    return socket.inet_pton(socket.AF_INET6, value)


def address2(f: Fields) -> bytes:
    length = compact(f["address_length"])
    body = bip155_bytes(f["network_id"], int.from_bytes(length[1:] or length, "little"), f["address"])
    return u32(f["timestamp"]) + compact(f["services"]) + u8(f["network_id"]) + length + body + port(f["port"])


def version(f: Fields) -> bytes:
    out = i32(f["version"]) + u64(f["services"]) + i64(f["timestamp"]) + address(f["receiver_address"])
    if "sender_address" in f:
        out += address(f["sender_address"]) + u64(f["nonce"])
    if "user_agent" in f:
        out += var(f, "user_agent", text)
    if "start_height" in f:
        out += i32(f["start_height"])
    return out + (u8(f["relay"]) if "relay" in f else b"")


alert_body = laid_out(
    "version:i32 relay_until:i64 expiration:i64 id:i32 cancel:i32 cancel_set@i32 min_ver:i32 max_ver:i32"
    " subver_set@var_text priority:i32 comment_text=text status_bar=text reserved=text"
)


def var_text(value: str) -> bytes:
    return compact(len(text(value))) + text(value)


def coin(f: Fields) -> bytes:
    script = var(f, "script") if f["script_prefix"] == 0 else raw(f["script"])
    return u32(f["input_index"]) + u32(f["code"]) + u8(f["script_prefix"]) + script + compact(f["amount"])


def leaf(f: Fields) -> bytes:
    script = var(f, "script") if f["script_tag"] == 0 else b""
    return u32(f["header_code"]) + i64(f["amount"]) + u8(f["script_tag"]) + script


def leaves(values: list[Fields]) -> bytes:
    return b"".join(map(leaf, values))


def hashes(values: list[str]) -> bytes:
    return b"".join(map(hash32, values))


def fraud(f: Fields) -> bytes:
    if "block_hash" not in f:
        return b""
    return hash32(f["block_hash"]) + varint(f["type_code"]) + raw(f.get("proof", ""))


pair = laid_out("key=text value=text")
inventory_vector = laid_out("type:u32 hash:hash32")
header_entry = laid_out("header:header transaction_count:compact")
prefilled_transaction = laid_out("index:compact transaction:transaction")
merkle_tx = laid_out("transaction:transaction block_hash:hash32 merkle_branch@hash32 position_in_block:i32")
order = laid_out(
    "transaction:transaction block_hash:hash32 merkle_branch@hash32 position_in_block:i32"
    " previous_transactions@merkle_tx map@pair order_form@pair"
    " f_time_received_is_tx_time:u32 time_received:u32 f_from_me:i8 f_spent:i8"
)
ttl = laid_out("death_height:u32 index:u32")
ttl_block = laid_out("height:u32 ttls@ttl")
utxo = laid_out("tx_version:u32 height:u32 output:txout")

inventory = laid_out("inventory@inventory_vector")
compact_block = laid_out("header:header nonce:u64 shortids@u48 prefilled@prefilled_transaction")
block_indexes = laid_out("block_hash:hash32 indexes@compact")
filter_range = laid_out("filter_type:u8 start_height:u32 stop_hash:hash32")

ENCODERS: dict[str, Callable[[Fields], bytes]] = {
    "version": version,
    "sendtxrcncl": laid_out("version:u32 salt:u64"),
    "feature": laid_out("featureid=text featuredata=raw"),
    "sendpackages": laid_out("versions:u64"),
    "sendcmpct": laid_out("announce:u8 version:u64"),
    "feefilter": laid_out("feerate:i64"),
    "addr": laid_out("addresses@address"),
    "addrv2": laid_out("addresses@address2"),
    "inv": inventory,
    "getdata": inventory,
    "notfound": inventory,
    "getblocks": laid_out("version:u32 locator@hash32 stop:hash32"),
    "getheaders": laid_out("version:u32 locator@hash32 stop:hash32"),
    "headers": laid_out("headers@header_entry"),
    "block": laid_out("header:header transactions@transaction"),
    "tx": transaction,
    "dandeliontx": transaction,
    "ping": lambda f: u64(f["nonce"]) if "nonce" in f else b"",
    "pong": laid_out("nonce:u64"),
    "filterload": laid_out("filter=raw n_hash_funcs:u32 n_tweak:u32 n_flags:u8"),
    "filteradd": laid_out("data=raw"),
    "merkleblock": laid_out("header:header total_transactions:u32 hashes@hash32 flags=raw"),
    "cmpctblock": compact_block,
    "template": compact_block,
    "getblocktxn": block_indexes,
    "blocktxn": laid_out("block_hash:hash32 transactions@transaction"),
    "getcfilters": filter_range,
    "getcfheaders": filter_range,
    "cfilter": laid_out("filter_type:u8 block_hash:hash32 filter=raw"),
    "cfheaders": laid_out("filter_type:u8 stop_hash:hash32 previous_filter_header:hash32 filter_hashes@hash32"),
    "getcfcheckpt": laid_out("filter_type:u8 stop_hash:hash32"),
    "cfcheckpt": laid_out("filter_type:u8 stop_hash:hash32 filter_headers@hash32"),
    "reject": lambda f: laid_out("message=text ccode:u8 reason=text")(f) + (hash32(f["data"]) if "data" in f else b""),
    "alert": laid_out("alert_length:compact alert:alert_body signature=raw"),
    "checkorder": laid_out("hash_reply:hash32 order:order"),
    "submitorder": laid_out("hash_reply:hash32 order:order"),
    "reply": lambda f: hash32(f["hash_reply"]) + i32(f["code"]) + (var(f, "script") if "script" in f else b""),
    "review": laid_out("version:i32 hash:hash32 map@pair public_key=raw signature=raw"),
    "subscribe": laid_out("channel:u32 hops:u32"),
    "sub-cancel": laid_out("channel:u32"),
    "publish": laid_out("channel:u32 hops:u32 object:raw"),
    "pub-cancel": laid_out("channel:u32 hops:u32 hash:hash32"),
    "product": laid_out(
        "version:i32 address:address map@pair details@pair order_form@pair sequence:u32 public_key=raw signature=raw"
    ),
    "reqrecon": laid_out("set_size:u16 q:u16"),
    "sketch": laid_out("skdata=raw"),
    "reconcildiff": laid_out("success:u8 ask_shortids@u32"),
    "ancpkginfo": laid_out("wtxids@hash32"),
    "getpkgtxns": laid_out("wtxids@hash32"),
    "pkgtxns": laid_out("transactions@transaction"),
    "staletip": laid_out("fork_point:hash32 headers@headerless have_block:u8"),
    "getbspent": laid_out("block_hash:hash32 cutoff:u32"),
    "bspent": laid_out("block_hash:hash32 coins@coin"),
    "getutxotree": laid_out("block_hash:hash32"),
    "utxotree": laid_out("block_hash:hash32 format_version:u16 data_length:u64 chunk_hashes:hashes"),
    "getutxoset": laid_out("block_hash:hash32 chunk_index:u32"),
    "utxoset": laid_out("block_hash:hash32 chunk_index:u32 chunk:raw"),
    "txent": laid_out("transaction:transaction entries@var_raw"),
    "getsegdata": block_indexes,
    "segdata": laid_out("block_hash:hash32 entries@var_raw"),
    "segdatacov": laid_out("tier:u8"),
    "uproof": laid_out("block_hash:hash32 proof_hashes@hash32 targets@compact leaves@leaf"),
    "getuproof": laid_out("block_hash:hash32 request_bitmap:u8 proof_bitmap=raw leaf_bitmap=raw"),
    "uttls": laid_out("blocks@ttl_block proof_hashes@hash32"),
    "getuttls": laid_out("version:u32 start_height:u32 exponent:u8"),
    "usummary": laid_out("block_hash:hash32 number_of_additions:compact targets@u64"),
    "utreexotx": laid_out("targets@compact proof_hashes@hash32 transaction:transaction leaves:leaves"),
    "uroot": laid_out("number_of_leaves:compact target:compact block_hash:hash32 roots@hash32 proof@hash32"),
    "geturoot": laid_out("block_hash:hash32"),
    "getutxos": laid_out("check_mempool:u8 outpoints@outpoint"),
    "utxos": laid_out("height:u32 tip:hash32 bitmap=raw results@utxo"),
    "encinit": laid_out("public_key:raw cipher:i8"),
    "encack": laid_out("public_key:raw"),
    "authchallenge": laid_out("hash:hash32"),
    "authreply": laid_out("signature:raw"),
    "authpropose": laid_out("hash:hash32"),
    "getoutputs": laid_out("payment_type:u8 address_hash:raw"),
    "outputs": laid_out("payment_type:u8 address_hash:raw outpoints@outpoint"),
    "getspend": laid_out("outpoint:outpoint"),
    "spend": laid_out("outpoint:outpoint spending_input:outpoint"),
    "getfraud": laid_out("version:u32 locator@hash32"),
    "fraud": fraud,
    "_MySampleSvc": lambda f: f["sub_command"].encode().ljust(12, b"\0") + raw(f["data"]),
}
EMPTY = """verack wtxidrelay sendaddrv2 sendheaders disabletx getaddr mempool filterclear
reqsketchext sendtemplate gettemplate sendsegdata"""
ENCODERS |= {msgtype: laid_out("") for msgtype in EMPTY.split()}


def encode(msgtype: str, vector: Fields) -> bytes:
    """Payload of a vector: its fields, the widths of its longer CompactSizes, and what trails."""
    fields = json.loads(json.dumps(vector["fields"]))
    for path, width in vector.get("widths", {}).items():
        where: Any = fields
        *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        for step in parents:
            where = where[step]
        where[last] = (where[last], width)
    return ENCODERS[msgtype](fields) + bytes.fromhex(vector.get("trailing", ""))


def main() -> None:
    for path in sorted(HERE.glob("*.json")):
        vectors = json.loads(path.read_text("utf-8"))
        for vector in vectors:
            if not vector["published"]:
                vector["payload"] = encode(path.stem, vector).hex()
        path.write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
