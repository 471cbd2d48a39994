# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts that several messages share: addresses, inventory vectors, block headers."""

from __future__ import annotations

from typing import Any

from scapy.fields import ByteEnumField, LEIntEnumField, LEIntField, LESignedIntField, ShortField

from ..chain.address import format_bip155, parse
from ..layers.fields import (
    BytesField,
    CompactServicesField,
    CompactSizeField,
    HashField,
    LegacyIPField,
    ServicesField,
    TextField,
    TimeField,
    as_bytes,
)
from ..layers.packet import BTCPacket
from ..layers.txfields import BitsField
from ..protocol import BIP155_ADDRESS_SIZES, BIP155_NETWORK_NAMES, INV_TYPE_NAMES, MAX_ADDRV2_SIZE, parse_inv_type
from ..wire.hashes import hash_hex, sha256d


class BTCOutPoint(BTCPacket):
    """Names an output of a transaction; an all-zero hash with index ffffffff stands in a coinbase input."""

    name = "BTC outpoint"
    fields_desc = [HashField("hash"), LEIntField("index", 0)]


class InvTypeField(LEIntEnumField):
    """The type of an inventory vector; a name that nobody gave raises ValueError, which lists those there are."""

    def any2i_one(self, pkt: Any, x: Any) -> Any:
        return parse_inv_type(x) if isinstance(x, str) else LEIntEnumField.any2i_one(self, pkt, x)


class BTCInvVector(BTCPacket):
    """Names an object; the witness flag of the type (BIP 144) is part of it."""

    name = "BTC inventory vector"
    fields_desc = [InvTypeField("type", 1, INV_TYPE_NAMES), HashField("hash")]


class BTCBlockHeader(BTCPacket):
    """The 80 bytes that `block_hash` is the hash of."""

    name = "BTC block header"
    fields_desc = [
        LESignedIntField("version", 0x20000000),
        HashField("previous_block"),
        HashField("merkle_root"),
        TimeField("timestamp", 0),
        BitsField("bits", 0x207FFFFF),
        LEIntField("nonce", 0),
    ]

    @property
    def block_hash(self) -> str:
        """SHA256d of the header, as reversed hex."""
        return hash_hex(sha256d(self.self_build()))

    def mysummary(self) -> str:
        return f"block header {self.block_hash}"


class BTCNetAddr(BTCPacket):
    """A network address in its legacy form, without time: in `version`, and in `addr` before 31402."""

    name = "BTC network address"
    fields_desc = [ServicesField("services", 0), LegacyIPField("ip"), ShortField("port", 0)]


class BTCTimedNetAddr(BTCPacket):
    """A network address in its legacy form, with the time the sender last believed the node reachable."""

    name = "BTC timed network address"
    fields_desc = [TimeField("timestamp", 0), *BTCNetAddr.fields_desc]


def bip155_text(network_id: int, address: bytes) -> str:
    """An address as people write it; hex where the network, or an address of that length on it, is unknown."""
    if BIP155_ADDRESS_SIZES.get(network_id) == len(address):
        return format_bip155(network_id, address)
    return address.hex()


class BIP155AddressField(BytesField):
    """An address of the network that `network_id` names; shown as people write it, hex where that is unknown.

    Text is accepted, and sets `network_id` where that was not set.
    """

    plain = "bip155_text(network_id, {})"
    helpers = {"bip155_text": bip155_text}

    def any2i(self, pkt: Any, x: Any) -> Any:
        if not isinstance(x, str):
            return as_bytes(x, self.name)
        network_id, address = parse(x)
        if pkt is not None:
            pkt.fields.setdefault("network_id", network_id)
        return address

    def i2h(self, pkt: Any, x: Any) -> Any:
        network_id: Any = pkt.getfieldval("network_id") if pkt is not None else None
        if isinstance(x, bytes) and BIP155_ADDRESS_SIZES.get(network_id) == len(x):
            return format_bip155(network_id, x)
        return x

    def i2repr(self, pkt: Any, x: Any) -> str:
        x = self.i2h(pkt, x)
        return x if isinstance(x, str) else x.hex() if isinstance(x, bytes) else repr(x)


class BTCNetAddrV2(BTCPacket):
    """A network address in the form of BIP 155."""

    name = "BTC network address v2"
    fields_desc = [
        TimeField("timestamp", 0),
        CompactServicesField("services", 0),
        ByteEnumField("network_id", 1, BIP155_NETWORK_NAMES),
        CompactSizeField("address_length", None, length_of="address", limit=MAX_ADDRV2_SIZE),
        BIP155AddressField("address", bytes(4)),
        ShortField("port", 0),
    ]


class BTCKeyValue(BTCPacket):
    """A pair of texts, as the maps of early messages hold them."""

    name = "BTC key and value"
    fields_desc = [
        CompactSizeField("key_length", None, length_of="key"),
        TextField("key", b""),
        CompactSizeField("value_length", None, length_of="value"),
        TextField("value", b""),
    ]


def listed(count: int, one: str, many: str, first: list[str]) -> str:
    """`1 address: 1.2.3.4:8333`, `9 addresses: 1.2.3.4:8333 ...`, `no addresses`."""
    if not count or not first:
        return f"{count or 'no'} {many}"
    return f"{count} {one if count == 1 else many}: {first[0]}{' ...' if count > 1 else ''}"
