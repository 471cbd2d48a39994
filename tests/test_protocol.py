# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers with names: what other rooms and Scapy fields rely on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc import protocol
from scapy_btc.protocol import BIP155Network, InvType, RejectCode, ServiceFlags


@pytest.mark.parametrize(
    ("services", "names"),
    [
        (0, []),
        # a full node with v2 transport and bloom filters; a pruned one; bits nobody uses
        (0xC0D, ["NETWORK", "BLOOM", "WITNESS", "NETWORK_LIMITED", "P2P_V2"]),
        (0xC08, ["WITNESS", "NETWORK_LIMITED", "P2P_V2"]),
        (1 << 6, ["COMPACT_FILTERS"]),
        (1 << 9 | 1 << 63, ["UNKNOWN[2^9]", "UNKNOWN[2^63]"]),
    ],
)
def test_service_names(services, names):
    assert protocol.service_names(services) == names


@given(st.integers(0, 2**64 - 1))
def test_names_of_services_are_read_back(services):
    assert protocol.parse_services("|".join(protocol.service_names(services)) or "none") == services


@pytest.mark.parametrize(("text", "services"), [("NODE_NETWORK", 1), (" network | witness ", 9)])
def test_services_by_name(text, services):
    assert protocol.parse_services(text) == services


def test_every_bit_of_services_has_one_name():
    assert len(set(protocol.SERVICE_FLAG_NAMES)) == 64
    for name, flag in ServiceFlags.__members__.items():
        assert f"NODE_{protocol.SERVICE_FLAG_NAMES[flag.value.bit_length() - 1]}" == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0, "UNDEFINED"),
        (1, "MSG_TX"),
        (5, "MSG_WTX"),
        (0x40000001, "MSG_WITNESS_TX"),
        (0x40000002, "MSG_WITNESS_BLOCK"),
        (0x40000005, "MSG_WITNESS_FLAG|MSG_WTX"),
        (0x41000001, "MSG_WITNESS_UTREEXO_TX"),
        (0x94A0, "MSG_DOUBLESPENDPROOF"),
        (0x40000000, "0x40000000"),
        (99, "0x00000063"),
        (0xFFFFFFFF, "0xffffffff"),
    ],
)
def test_inventory_type_names(value, name):
    assert protocol.inv_type_name(value) == name


@given(st.integers(0, 2**32 - 1))
def test_any_inventory_type_has_a_name_of_its_own(value):
    name = protocol.inv_type_name(value)
    back = InvType[name] if name in InvType.__members__ else eval(name, {}, {**vars(protocol), **InvType.__members__})
    assert back == value


@pytest.mark.parametrize(
    ("version", "word"),
    [(70016, "wtxidrelay"), (70014, "compact blocks"), (70010, "BIP 64"), (209, "checksum"), (80001, "Unlimited")],
)
def test_explain_version(version, word):
    assert word in protocol.explain_version(version)


def test_versions_before_the_first():
    assert protocol.explain_version(104) == ""
    assert protocol.explain_version(-5) == ""


def test_reject_codes():
    # BIP 61
    assert protocol.REJECT_CODE_NAMES[0x42] == "REJECT_INSUFFICIENTFEE"
    assert sorted(RejectCode) == [0x01, 0x10, 0x11, 0x12, 0x40, 0x41, 0x42, 0x43]


def test_bip155_networks():
    sizes = {network.name: protocol.BIP155_ADDRESS_SIZES[network] for network in BIP155Network}
    assert sizes == {"IPV4": 4, "IPV6": 16, "TORV2": 10, "TORV3": 32, "I2P": 32, "CJDNS": 16, "YGGDRASIL": 16}
    assert protocol.BIP155_NETWORK_NAMES[6] == "CJDNS"


def test_derived_limits():
    assert protocol.MAX_CONTENTS_LEN == 4_000_013
    assert protocol.MAX_SIZE == 33_554_432
    assert protocol.MAX_MONEY == 2_100_000_000_000_000
    assert protocol.MAX_BLOCK_WEIGHT // 240 == protocol.MAX_MERKLEBLOCK_TXS
