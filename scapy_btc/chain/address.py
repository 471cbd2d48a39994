# SPDX-License-Identifier: GPL-2.0-or-later
"""Network addresses as people write them: IPv4, IPv6, Tor, I2P, CJDNS, Yggdrasil.

On the wire an address is either 16 bytes (`addr`, `version`) or a BIP 155 network id with its bytes (`addrv2`).
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha3_256
from ipaddress import IPv4Address, IPv6Address, ip_address

from ..errors import FormatError
from ..protocol import BIP155_ADDRESS_SIZES, MAX_ADDRV2_SIZE, BIP155Network

_IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"
_TORV2_IN_IPV6 = bytes.fromhex("fd87d87eeb43")  # OnionCat
_CJDNS_PREFIX = 0xFC
_YGGDRASIL_PREFIX = 0x02  # 0200::/7
_ONION = ".onion"
_I2P = ".b32.i2p"
_UNNAMED = ".net"  # of our own: what nobody has a way to write is "<hex>.net<id>"
_LONGEST_TEXT = 2 * MAX_ADDRV2_SIZE + len(".net255")


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _base32_bytes(text: str) -> bytes:
    padded = text.upper() + "=" * (-len(text) % 8)
    try:
        data = base64.b32decode(padded)
    except binascii.Error as exc:
        raise FormatError(f"not base32: {text!r}") from exc
    if _base32(data) != text.lower():  # bits that no byte needs must be 0, or two texts would mean one address
        raise FormatError(f"not base32: {text!r}")
    return data


def _torv3_checksum(public_key: bytes) -> bytes:
    return sha3_256(b".onion checksum" + public_key + b"\x03").digest()[:2]


def _ipv6(data: bytes) -> str:
    address = IPv6Address(data)
    # the ipaddress of newer Pythons writes mapped addresses this way by itself
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)


def format_bip155(network_id: int, data: bytes) -> str:
    """Text of an `addrv2` address: dotted IPv4, RFC 5952 IPv6 (also CJDNS and Yggdrasil), ".onion", ".b32.i2p".

    An unknown network id, or bytes of the wrong length for theirs, give "<hex>.net<id>". Never raises on any bytes.
    """
    if BIP155_ADDRESS_SIZES.get(network_id) != len(data):
        return f"{data.hex()}{_UNNAMED}{network_id}"
    if network_id == BIP155Network.IPV4:
        return str(IPv4Address(data))
    if network_id == BIP155Network.TORV2:
        return _base32(data) + _ONION
    if network_id == BIP155Network.TORV3:
        return _base32(data + _torv3_checksum(data) + b"\x03") + _ONION
    if network_id == BIP155Network.I2P:
        return _base32(data) + _I2P
    return _ipv6(data)


def from_legacy(ip: bytes) -> tuple[int, bytes]:
    """The BIP 155 form of 16 address bytes: IPv4-mapped is IPv4, the OnionCat range is Tor v2, all else IPv6."""
    if ip.startswith(_IPV4_IN_IPV6):
        return BIP155Network.IPV4, ip[12:]
    if ip.startswith(_TORV2_IN_IPV6):
        return BIP155Network.TORV2, ip[6:]
    return BIP155Network.IPV6, ip


def to_legacy(network_id: int, data: bytes) -> bytes:
    """The 16 bytes of an address in the older form. Raises FormatError for one that it cannot express."""
    if len(data) == BIP155_ADDRESS_SIZES.get(network_id):
        if network_id == BIP155Network.IPV4:
            return _IPV4_IN_IPV6 + data
        if network_id == BIP155Network.TORV2:
            return _TORV2_IN_IPV6 + data
        if len(data) == 16:
            return data
    raise FormatError(f"no address of 16 bytes: {format_bip155(network_id, data)}")


def format_legacy(ip: bytes) -> str:
    """Text of the 16 address bytes of `addr` and `version`; other lengths give hex. Never raises on any bytes."""
    return format_bip155(*from_legacy(ip)) if len(ip) == 16 else ip.hex()


def _parse_onion(text: str, label: str) -> tuple[int, bytes]:
    data = _base32_bytes(label)
    if len(data) == 10:
        return BIP155Network.TORV2, data
    if len(data) != 35 or data[34:] != b"\x03":
        raise FormatError(f"neither a Tor v2 nor a v3 address: {text!r}")
    if data[32:34] != _torv3_checksum(data[:32]):
        raise FormatError(f"wrong checksum in the Tor address {text!r}")
    return BIP155Network.TORV3, data[:32]


def _parse_unnamed(text: str, label: str, number: str) -> tuple[int, bytes]:
    try:
        network_id, data = int(number), bytes.fromhex(label)
    except ValueError as exc:
        raise FormatError(f"not an address: {text!r}") from exc
    if not 0 <= network_id <= 0xFF:
        raise FormatError(f"a network id has one byte: {text!r}")
    return network_id, data


def parse(text: str) -> tuple[int, bytes]:
    """The (BIP 155 network id, bytes) that a text as written by the functions above means.

    IPv6 text in fc00::/8 is CJDNS and in 0200::/7 Yggdrasil, brackets around it are allowed. Raises FormatError.
    """
    name = text.strip()
    if len(name) > _LONGEST_TEXT or not name.isascii():
        raise FormatError(f"not an address: {text[:80]!r}")
    lower = name.lower()
    if lower.endswith(_ONION):
        return _parse_onion(text, name[: -len(_ONION)])
    if lower.endswith(_I2P):
        data = _base32_bytes(name[: -len(_I2P)])
        if len(data) != BIP155_ADDRESS_SIZES[BIP155Network.I2P]:
            raise FormatError(f"not an I2P address: {text!r}")
        return BIP155Network.I2P, data
    label, unnamed, number = lower.rpartition(_UNNAMED)
    if unnamed:
        return _parse_unnamed(text, label, number)
    try:
        address = ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError as exc:
        raise FormatError(f"not an address: {text!r}") from exc
    packed = address.packed
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise FormatError(f"an address on the wire has no zone: {text!r}")
    if len(packed) == 4:
        return BIP155Network.IPV4, packed
    if packed[0] == _CJDNS_PREFIX:
        return BIP155Network.CJDNS, packed
    if packed[0] & 0xFE == _YGGDRASIL_PREFIX:
        return BIP155Network.YGGDRASIL, packed
    return BIP155Network.IPV6, packed


def format_endpoint(host: str, port: int) -> str:
    """Host and port as people write them: "1.2.3.4:8333", "[::1]:8333"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_endpoint(text: str) -> tuple[str, int | None]:
    """Host and port, None where none is named, of "1.2.3.4:8333", "seed.example", "[::1]:8333", "::1", an onion name.

    Raises FormatError. Whether there is such a host is not looked at.
    """
    host, separator, port = text, "", ""
    if "/" in text:
        raise FormatError(f"not a host and port: {text[:80]!r}; write 192.0.2.1 or 192.0.2.1:8333")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        separator, port = rest[:1], rest[1:]
        if not bracket or separator not in ("", ":"):
            raise FormatError(f"not a host and port: {text[:80]!r}")
    elif text.count(":") == 1:
        host, separator, port = text.partition(":")
    if not host:
        raise FormatError(f"no host: {text[:80]!r}")
    if host.isdecimal():
        raise FormatError(f"no host: {host[:80]!r} is only a number; write 127.0.0.1:{host[:5]}")
    if separator and not (port.isascii() and port.isdecimal() and len(port) < 6 and int(port) <= 0xFFFF):
        raise FormatError(f"not a port: {port[:80]!r}")
    return host, int(port) if separator else None
