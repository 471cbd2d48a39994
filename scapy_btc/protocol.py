# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of the protocol with their names: versions, services, inventory types, reject codes, networks, limits.

A name that exists in Bitcoin Core is Core's. Where other chains or drafts claim the same number, the meaning it has
on Bitcoin wins, and a comment names the other.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

# --- protocol versions -----------------------------------------------------------------------------------------

PROTOCOL_VERSION = 70016  # what released nodes announce
INIT_PROTO_VERSION = 209
MIN_PEER_PROTO_VERSION = 31800
CADDR_TIME_VERSION = 31402
BIP0031_VERSION = 60000  # ping has a nonce in all versions above this one
NO_BLOOM_VERSION = 70011
SENDHEADERS_VERSION = 70012
FEEFILTER_VERSION = 70013
SHORT_IDS_BLOCKS_VERSION = 70014
INVALID_CB_NO_BAN_VERSION = 70015
WTXID_RELAY_VERSION = 70016
FEATURE_VERSION = 70017

PROTOCOL_VERSIONS: dict[int, str] = {
    105: "0.1.5: the oldest version in public history",
    106: "0.1.6, October 2009: sender address, nonce and sub-version in version",
    209: "0.2.9, May 2010: checksum in the header, verack, start height in version, more than one address per addr",
    311: "0.3.11, August 2010: alert",
    10300: "0.3.0, a slip of that release: read as 300",
    31402: "0.3.14.2, October 2010: time in the entries of addr",
    31800: "0.3.18, December 2010: getheaders and headers; the oldest that Bitcoin Core still talks to",
    60000: "0.6.0, 2012: counted apart from the client's version, user agent (BIP 14)",
    60001: "2012: nonce in ping, and pong (BIP 31)",
    60002: "0.7, 2012: mempool (BIP 35)",
    70001: "0.8, 2013: bloom filters, merkleblock, relay flag in version (BIP 37), notfound",
    70002: "0.9, 2014: reject (BIP 61)",
    70003: "2014: getutxos (BIP 64)",
    70004: "2014: getutxos (BIP 64) as Bitcoin XT shipped it",
    70011: "0.12, 2016: bloom filters only with NODE_BLOOM (BIP 111)",
    70012: "0.12, 2016: sendheaders (BIP 130)",
    70013: "0.13, 2016: feefilter (BIP 133)",
    70014: "0.13, 2016: compact blocks (BIP 152)",
    70015: "0.13.2, 2017: no punishment for an invalid compact block",
    70016: "0.21, 2021: wtxidrelay (BIP 339)",
    70017: "32: feature (BIP 434)",
}


def explain_version(version: int) -> str:
    """One line on a protocol version: what the newest known step at or below it brought; "" below the first."""
    if version >= 80000:
        return "Bitcoin Unlimited and relatives"
    return PROTOCOL_VERSIONS.get(max((known for known in PROTOCOL_VERSIONS if known <= version), default=0), "")


# --- services --------------------------------------------------------------------------------------------------


class ServiceFlags(IntFlag):
    """What a node offers (u64 in version and addr, CompactSize in addrv2)."""

    NODE_NETWORK = 1 << 0  # the whole chain
    NODE_GETUTXO = 1 << 1  # BIP 64, Bitcoin XT
    NODE_BLOOM = 1 << 2  # BIP 111
    NODE_WITNESS = 1 << 3  # BIP 144
    NODE_XTHIN = 1 << 4  # Bitcoin Unlimited
    NODE_BITCOIN_CASH = 1 << 5
    NODE_COMPACT_FILTERS = 1 << 6  # BIP 157; NODE_GRAPHENE on Bitcoin Unlimited
    NODE_SEGWIT2X = 1 << 7  # btc1, 2017; NODE_WEAKBLOCKS on Bitcoin Unlimited
    NODE_CF = 1 << 8  # filters of Bitcoin Cash nodes
    NODE_NETWORK_LIMITED = 1 << 10  # BIP 159: the last 288 blocks
    NODE_P2P_V2 = 1 << 11  # BIP 324; NODE_EXTVERSION on Bitcoin Cash, NODE_HEADERS_COMPRESSED on Dash
    NODE_UTREEXO = 1 << 12  # BIP 183 draft; the SegData draft wants it too, NODE_P2P_V2 on Dash
    NODE_UTREEXO_ARCHIVE = 1 << 13  # BIP 183 draft; other drafts want it too
    NODE_UTXO_SET = 1 << 14  # UTXO set sharing draft
    NODE_MWEB_LIGHT_CLIENT = 1 << 23  # Litecoin
    NODE_MWEB = 1 << 24  # Litecoin; NODE_AVALANCHE on eCash. Bits 24 to 31 are for experiments
    NODE_REPLACE_BY_FEE = 1 << 26  # full replace-by-fee peers, Knots
    NODE_REDUCED_DATA = 1 << 27  # Knots
    NODE_BLAKE2B = 1 << 28  # Knots
    NODE_LIBRE_RELAY = 1 << 29


# one name per bit of a u64, without "NODE_", as Bitcoin Core's interface shows them
_service_names = {flag.value: name.removeprefix("NODE_") for name, flag in ServiceFlags.__members__.items()}
SERVICE_FLAG_NAMES: list[str] = [_service_names.get(1 << bit, f"UNKNOWN[2^{bit}]") for bit in range(64)]


def service_names(services: int) -> list[str]:
    """Names of the service bits that are set, lowest first: ["NETWORK", "WITNESS", "UNKNOWN[2^40]"]."""
    return [name for bit, name in enumerate(SERVICE_FLAG_NAMES) if services >> bit & 1]


def parse_services(text: str) -> int:
    """The service bits of names with "|" between them, each with or without "NODE_", in any letter case.

    "NETWORK|WITNESS" is 9; "UNKNOWN[2^40]" and "none" are read as they are shown. Raises ValueError.
    """
    services = 0
    for part in [] if text == "none" else text.split("|"):
        name = part.strip().upper().removeprefix("NODE_")
        if name not in SERVICE_FLAG_NAMES:
            raise ValueError(f"no service is named {part.strip()!r} (known are {', '.join(_service_names.values())})")
        services |= 1 << SERVICE_FLAG_NAMES.index(name)
    return services


# --- inventory -------------------------------------------------------------------------------------------------

MSG_WITNESS_FLAG = 1 << 30
MSG_TYPE_MASK = 0xFFFFFFFF >> 2


class InvType(IntEnum):
    """Type of an inventory vector (u32)."""

    UNDEFINED = 0
    MSG_TX = 1
    MSG_BLOCK = 2
    MSG_FILTERED_BLOCK = 3  # BIP 37
    MSG_CMPCT_BLOCK = 4  # BIP 152; thin block on Bitcoin XT
    MSG_WTX = 5  # BIP 339; also claimed by Dandelion, Bitcoin Unlimited's XThin, BSV
    MSG_PKGTXNS = 6  # BIP 331; MSG_UTREEXO_PROOF_HASH in the BIP 183 draft
    MSG_ANCPKGINFO = 7  # BIP 331; MSG_UTREEXO_SUMMARY in the BIP 183 draft
    MSG_WITNESS_TX = MSG_TX | MSG_WITNESS_FLAG  # BIP 144
    MSG_WITNESS_BLOCK = MSG_BLOCK | MSG_WITNESS_FLAG
    MSG_FILTERED_WITNESS_BLOCK = MSG_FILTERED_BLOCK | MSG_WITNESS_FLAG
    MSG_DOUBLESPENDPROOF = 0x94A0  # Bitcoin Cash
    MSG_UTREEXO_TX = 1 << 24 | MSG_TX  # BIP 183 draft
    MSG_WITNESS_UTREEXO_TX = 1 << 24 | MSG_TX | MSG_WITNESS_FLAG
    MSG_AVA_PROOF = 0x1F000001  # eCash
    MSG_AVA_STAKE_CONTENDER = 0x1F000002
    MSG_SEGDATA_TX = 0x20000005  # SegData draft
    MSG_MWEB_HEADER = 0x20000008  # Litecoin
    MSG_MWEB_LEAFSET = 0x20000009


INV_TYPE_NAMES: dict[int, str] = {int(kind): kind.name for kind in InvType}


def inv_type_name(value: int) -> str:
    """A name for any u32: "MSG_TX", "MSG_WITNESS_FLAG|MSG_WTX", and hex with eight digits for what nobody named."""
    name = INV_TYPE_NAMES.get(value)
    if name is None and value & MSG_WITNESS_FLAG and value ^ MSG_WITNESS_FLAG:
        base = INV_TYPE_NAMES.get(value ^ MSG_WITNESS_FLAG)
        name = base and f"MSG_WITNESS_FLAG|{base}"
    return name or f"0x{value:08x}"


def parse_inv_type(text: str) -> int:
    """The number of a type of an inventory vector, by its name. Raises ValueError."""
    if text not in InvType.__members__:
        raise ValueError(f"no inventory type is named {text!r} (known are {', '.join(InvType.__members__)})")
    return int(InvType[text])


# --- reject, filters, addresses --------------------------------------------------------------------------------


class RejectCode(IntEnum):
    """Reason of a reject message (BIP 61, u8)."""

    REJECT_MALFORMED = 0x01
    REJECT_INVALID = 0x10
    REJECT_OBSOLETE = 0x11
    REJECT_DUPLICATE = 0x12
    REJECT_NONSTANDARD = 0x40
    REJECT_DUST = 0x41
    REJECT_INSUFFICIENTFEE = 0x42
    REJECT_CHECKPOINT = 0x43


REJECT_CODE_NAMES: dict[int, str] = {int(code): code.name for code in RejectCode}


class BloomUpdate(IntEnum):
    """What a node adds to a bloom filter by itself when an output matches (BIP 37, low two bits of the flags)."""

    BLOOM_UPDATE_NONE = 0
    BLOOM_UPDATE_ALL = 1
    BLOOM_UPDATE_P2PUBKEY_ONLY = 2


BLOOM_UPDATE_MASK = 3
BLOOM_UPDATE_NAMES: dict[int, str] = {int(update): update.name for update in BloomUpdate}

BLOCK_FILTER_TYPES: dict[int, str] = {0: "BASIC"}  # BIP 158


class BIP155Network(IntEnum):
    """Network id of an address in addrv2 (u8)."""

    IPV4 = 1
    IPV6 = 2
    TORV2 = 3
    TORV3 = 4
    I2P = 5
    CJDNS = 6
    YGGDRASIL = 7


BIP155_NETWORK_NAMES: dict[int, str] = {int(network): network.name for network in BIP155Network}
BIP155_ADDRESS_SIZES: dict[int, int] = {1: 4, 2: 16, 3: 10, 4: 32, 5: 32, 6: 16, 7: 16}  # bytes

# --- limits ----------------------------------------------------------------------------------------------------

# the envelope
MESSAGE_TYPE_SIZE = 12
MAX_PROTOCOL_MESSAGE_LENGTH = 4_000_000  # payload bytes; more closes a connection of Bitcoin Core
MAX_CONTENTS_LEN = 1 + MESSAGE_TYPE_SIZE + MAX_PROTOCOL_MESSAGE_LENGTH  # a v2 packet
MAX_SIZE = 0x02000000  # any CompactSize that is a length or a count

# counts of list entries
MAX_INV_SZ = 50_000  # also getdata and notfound
MAX_GETDATA_SZ = 1_000  # what Bitcoin Core sends in one getdata
MAX_NOTFOUND_SZ = 5_016  # longer ones are ignored
MAX_GETBLOCKS_RESULTS = 500
MAX_HEADERS_RESULTS = 2_000
MAX_BLOCKS_TO_ANNOUNCE = 8  # headers sent unasked
MAX_LOCATOR_SZ = 101
MAX_ADDR_TO_SEND = 1_000
MAX_GETCFILTERS_SIZE = 1_000  # blocks
MAX_GETCFHEADERS_SIZE = 2_000  # blocks
CFCHECKPT_INTERVAL = 1_000  # blocks
MAX_CMPCTBLOCK_TXS = 100_000
MAX_CMPCTBLOCK_INDEX = 0xFFFF
MAX_MERKLEBLOCK_TXS = 16_666
MAX_GETPKGTXNS_SZ = 100  # BIP 331
MAX_UTTLS_EXPONENT = 5  # BIP 183 draft

# bytes of one field
MAX_SUBVERSION_LENGTH = 256
MAX_ADDRV2_SIZE = 512
MAX_REJECT_MESSAGE_LENGTH = 111
MAX_BLOOM_FILTER_SIZE = 36_000
MAX_HASH_FUNCS = 50
MAX_SCRIPT_ELEMENT_SIZE = 520  # also the data of filteradd
MAX_SCRIPT_SIZE = 10_000  # longer ones cannot be spent
MIN_FEATUREID_LENGTH = 4  # BIP 434
MAX_FEATUREID_LENGTH = 80
MAX_FEATUREDATA_LENGTH = 512

# what a node asks for and serves
MAX_BLOCKS_IN_TRANSIT_PER_PEER = 16
BLOCK_DOWNLOAD_WINDOW = 1_024
NODE_NETWORK_LIMITED_MIN_BLOCKS = 288
MAX_CMPCTBLOCK_DEPTH = 5
MAX_BLOCKTXN_DEPTH = 10

# consensus
COIN = 100_000_000  # satoshi
MAX_MONEY = 21_000_000 * COIN
MAX_BLOCK_WEIGHT = 4_000_000
WITNESS_SCALE_FACTOR = 4
LOCKTIME_THRESHOLD = 500_000_000  # below: a block height, from here on: a Unix time
