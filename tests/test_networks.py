# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks: values, preference among those that share a magic or a port, custom signets, registration."""

import pytest

from scapy_btc import networks
from scapy_btc.chain.address import format_endpoint, parse
from scapy_btc.chain.proof_of_work import check_header
from scapy_btc.errors import UnknownNetwork
from scapy_btc.networks import MAINNET, REGTEST, SIGNET, TESTNET3, TESTNET4, Network
from scapy_btc.wire.hashes import hash_hex, sha256d

OWN = [MAINNET, TESTNET3, TESTNET4, SIGNET, REGTEST]


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(networks, "_registered", {})


# Bitcoin Core, src/kernel/chainparams.cpp
@pytest.mark.parametrize(
    ("network", "magic", "port", "genesis", "limit_bits"),
    [
        (MAINNET, "f9beb4d9", 8333, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f", 0x1D00FFFF),
        (TESTNET3, "0b110907", 18333, "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943", 0x1D00FFFF),
        (TESTNET4, "1c163f28", 48333, "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043", 0x1D00FFFF),
        (SIGNET, "0a03cf40", 38333, "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6", 0x1E0377AE),
        (REGTEST, "fabfb5da", 18444, "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206", 0x207FFFFF),
    ],
)
def test_bitcoin_networks(network, magic, port, genesis, limit_bits):
    assert network.magic.hex() == magic
    assert network.port == port
    assert network.onion_port == port + 1
    assert hash_hex(sha256d(network.genesis)) == genesis
    assert int.from_bytes(network.genesis[72:76], "little") == limit_bits
    assert check_header(network.genesis, network.pow_limit)
    assert not check_header(network.genesis, network.pow_limit >> 24)


@pytest.mark.parametrize(
    ("challenge", "magic"),
    [
        (SIGNET.challenge, "0a03cf40"),
        # the example of BIP 325
        (bytes.fromhex("512103ad5e0edad18cb1f0fc0d28a3d4f1f3e445640337489abb10404f2d1e086be43051ae"), "7ec653a5"),
        (b"\x51", "54d26fbd"),
    ],
)
def test_magic_follows_from_the_signet_challenge(challenge, magic):
    network = networks.signet(challenge)
    assert network.magic.hex() == magic
    assert network.challenge == challenge
    assert (network.port, network.genesis, network.bech32_hrp) == (38333, SIGNET.genesis, "tb")


def test_default_challenge_is_signet_and_others_have_no_seeds():
    assert networks.signet(SIGNET.challenge) is SIGNET
    assert networks.signet(b"\x51").name == "signet-54d26fbd"
    assert not networks.signet(b"\x51").dns_seeds
    assert not networks.signet(b"\x51").fixed_peers


def test_long_signet_challenge():
    # from 253 bytes on the length in front of the challenge takes three bytes
    assert networks.signet(b"\x51" * 253).magic == sha256d(b"\xfd\xfd\x00" + b"\x51" * 253)[:4]
    with pytest.raises(ValueError, match="10,000"):
        networks.signet(bytes(10_001))


@pytest.mark.parametrize(
    ("magic", "names"),
    [
        ("f9beb4d9", ["mainnet"]),
        ("fabfb5da", ["regtest", "testnet2", "litecoin-regtest", "dogecoin-regtest", "namecoin-regtest"]),
        ("e3e1f3e8", ["bitcoincash", "ecash", "bsv"]),
        ("1c163f28", ["testnet4", "namecoin-testnet4"]),
        ("fcc1b7dc", ["dogecoin-testnet", "dash-regtest"]),
        ("fbc0b6db", ["litecoin"]),
        ("161c1412", ["simnet"]),
        ("00000000", []),
    ],
)
def test_by_magic_prefers_bitcoin(registry, magic, names):
    assert [network.name for network in networks.by_magic(bytes.fromhex(magic))] == names


@pytest.mark.parametrize(
    ("port", "first"),
    [
        (8333, "mainnet"),
        (8334, "mainnet"),
        (18333, "testnet3"),
        (18334, "testnet3"),
        (48333, "testnet4"),
        (38333, "signet"),
        (38334, "signet"),
        (18444, "regtest"),
        (9333, "bsv-stn"),
        (22556, "dogecoin"),
    ],
)
def test_by_port(registry, port, first):
    assert networks.by_port(port)[0].name == first


def test_unknown_port():
    assert networks.by_port(80) == ()


@pytest.mark.parametrize(
    ("name", "network"), [("mainnet", MAINNET), ("MAIN", MAINNET), ("test", TESTNET3), (" signet ", SIGNET)]
)
def test_by_name(name, network):
    assert networks.by_name(name) is network


def test_unknown_name():
    with pytest.raises(UnknownNetwork, match="regtest"):
        networks.by_name("mainnnet")


def test_names_are_unique(registry):
    names = [name for network in networks.all_networks() for name in (network.name, *network.aliases)]
    assert len(names) == len(set(names))


def test_sister_chains_are_told_from_bitcoin():
    assert {network.chain for network in networks.all_networks()[:7]} == {"bitcoin"}
    assert "bitcoin" not in {network.chain for network in networks.all_networks()[7:]}
    assert networks.by_name("litecoin").chain == "litecoin"


def test_registered_networks_come_before_sister_chains(registry):
    mine = networks.register(Network("mine", bytes.fromhex("fabfb5da"), 19444, aliases=("M",)))
    assert networks.by_name("m") is mine
    assert [network.name for network in networks.by_magic(mine.magic)][:3] == ["regtest", "testnet2", "mine"]
    assert networks.by_port(19444)[0] is mine
    again = networks.register(Network("mine", b"abcd", 19444))
    assert networks.by_name("mine") is again
    assert networks.by_magic(b"abcd") == (again,)


@pytest.mark.parametrize("name", ["mainnet", "test", "litecoin"])
def test_built_in_names_cannot_be_taken(registry, name):
    with pytest.raises(ValueError, match="taken"):
        networks.register(Network(name, b"abcd", 1))
    with pytest.raises(ValueError, match="taken"):
        networks.register(Network("mine", b"abcd", 1, aliases=(name,)))


@pytest.mark.parametrize(("magic", "port"), [(b"abc", 1), ("abcd", 1), (b"abcd", 65536), (b"abcd", -1)])
def test_impossible_networks(magic, port):
    with pytest.raises(ValueError, match=r"magic|port"):
        Network("mine", magic, port)


@pytest.mark.parametrize("network", OWN, ids=str)
def test_fixed_peers_are_addresses(network):
    for peer in network.fixed_peers:
        host, _, port = peer.rpartition(":")
        parse(host)
        assert format_endpoint(host.strip("[]"), int(port)) == peer
        assert int(port) == (0 if host.endswith(".i2p") else network.port)


# Bitcoin Core, src/kernel/chainparams.cpp: fPowNoRetargeting, fPowAllowMinDifficultyBlocks, enforce_BIP94, halving
@pytest.mark.parametrize(
    ("network", "retarget", "min_difficulty_blocks", "bip94", "halving"),
    [
        (MAINNET, True, False, False, 210_000),
        (TESTNET3, True, True, False, 210_000),
        (TESTNET4, True, True, True, 210_000),
        (SIGNET, True, False, False, 210_000),
        (networks.signet(b"\x51"), True, False, False, 210_000),
        (REGTEST, False, True, False, 150),
    ],
    ids=str,
)
def test_rules_of_difficulty(network, retarget, min_difficulty_blocks, bip94, halving):
    assert (network.retarget, network.bip94, network.halving_interval) == (retarget, bip94, halving)
    assert network.min_difficulty_blocks == min_difficulty_blocks
