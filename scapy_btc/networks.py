# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks that speak this wire format: Bitcoin's own, chains that split or copied from it, and what a user registers.

Seeds, genesis headers and limits are those of Bitcoin Core (master of August 2026, `src/kernel/chainparams.cpp`);
fixed peers are a few of Core's list per network, for when no DNS is to be asked. The values of other chains come
from each project's own chain parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from .errors import UnknownNetwork

BITCOIN = "bitcoin"


@dataclass(frozen=True)
class Network:
    """One network. Only name, magic and port must be known to read its traffic; None or () means "not known"."""

    name: str
    magic: bytes
    """4 bytes as they stand on the wire."""
    port: int
    """Default TCP port."""
    chain: str = BITCOIN
    """Project whose rules apply beyond the envelope: transactions, service bits and inventory types may differ."""
    aliases: tuple[str, ...] = ()
    onion_port: int | None = None
    """Port on which Bitcoin Core accepts what its Tor daemon forwards."""
    dns_seeds: tuple[str, ...] = ()
    fixed_peers: tuple[str, ...] = ()
    """As "host:port", IPv6 in brackets."""
    genesis: bytes | None = None
    """80-byte header of the first block."""
    pow_limit: int | None = None
    """Easiest target that is allowed."""
    retarget: bool = True
    """Whether the target follows, every 2016 blocks, the time that they took."""
    min_difficulty_blocks: bool = False
    """Whether a block more than 20 minutes after the one before it may have the easiest target."""
    bip94: bool = False
    """Whether a new target follows from that of the first block of a period, and time may not warp between periods."""
    halving_interval: int = 210_000
    """Blocks until the subsidy is halved."""
    pubkey_prefix: int | None = None
    """Version byte of Base58 addresses that pay to a key hash."""
    script_prefix: int | None = None
    """Version byte of Base58 addresses that pay to a script hash."""
    bech32_hrp: str | None = None
    challenge: bytes | None = None
    """BIP 325 challenge script of a signet."""
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.magic, bytes) or len(self.magic) != 4:
            raise ValueError(f"a magic is 4 bytes, not {self.magic!r}")
        if not 0 <= self.port <= 0xFFFF:
            raise ValueError(f"not a TCP port: {self.port}")

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Network {self.name}>"


def _genesis(merkle_root: str, time_bits_nonce: str) -> bytes:
    return bytes.fromhex("01000000" + "00" * 32 + merkle_root + time_bits_nonce)


# merkle root (wire order) of the coinbase that quotes The Times of 3 January 2009: all networks but testnet4 share it
_TIMES = "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
_EASIEST_MAIN = (1 << 224) - 1

MAINNET = Network(
    name="mainnet",
    magic=bytes.fromhex("f9beb4d9"),
    port=8333,
    aliases=("main",),
    onion_port=8334,
    dns_seeds=(
        "dnsseed.bluematt.me",
        "seed.bitcoin.jonasschnelli.ch",
        "seed.btc.petertodd.net",
        "seed.bitcoin.sprovoost.nl",
        "dnsseed.emzy.de",
        "seed.bitcoin.wiz.biz",
        "seed.mainnet.achownodes.xyz",
    ),
    fixed_peers=(
        "23.137.57.100:8333",
        "82.68.63.28:8333",
        "139.191.2.18:8333",
        "188.214.129.52:8333",
        "[2400:6180:100:d0::2913:a002]:8333",
        "[2a00:1398:4:2a03::bc03]:8333",
        "3cjide55n3vix3pdeuarnvim3se7ffnzvnx6mzp7d6tc7z27ink3guyd.onion:8333",
        "4v2k7bxwwgmc2slsm4pcnzfhqworcoqpbrjeq7p2nldoih43nzqq.b32.i2p:0",
        "[fc11:f769:16e6:3611:58ae:1d4a:fcf7:57a4]:8333",
    ),
    genesis=_genesis(_TIMES, "29ab5f49ffff001d1dac2b7c"),
    pow_limit=_EASIEST_MAIN,
    pubkey_prefix=0,
    script_prefix=5,
    bech32_hrp="bc",
)
TESTNET3 = Network(
    name="testnet3",
    magic=bytes.fromhex("0b110907"),
    port=18333,
    aliases=("testnet", "test"),
    onion_port=18334,
    dns_seeds=(
        "testnet-seed.bitcoin.jonasschnelli.ch",
        "seed.tbtc.petertodd.net",
        "testnet-seed.bluematt.me",
        "seed.testnet.achownodes.xyz",
    ),
    fixed_peers=(
        "185.210.125.33:18333",
        "6bhop3n32rreiynu35epznhc2exxkhuleromdhnida2hgmu2bhczgmqd.onion:18333",
        "[fc1f:22c3:95dc:a3af:4a93:8251:beb9:1858]:18333",
    ),
    genesis=_genesis(_TIMES, "dae5494dffff001d1aa4ae18"),
    pow_limit=_EASIEST_MAIN,
    min_difficulty_blocks=True,
    pubkey_prefix=111,
    script_prefix=196,
    bech32_hrp="tb",
)
TESTNET4 = replace(
    TESTNET3,
    name="testnet4",
    magic=bytes.fromhex("1c163f28"),
    port=48333,
    aliases=(),
    onion_port=48334,
    dns_seeds=("seed.testnet4.bitcoin.sprovoost.nl", "seed.testnet4.wiz.biz"),
    fixed_peers=(
        "144.172.110.246:48333",
        "[2604:2dc0:142:2100::]:48333",
        "ebozcmtkdq37pvmbuev6f7k3ya2oh3phiditwqwqgg2tq7kf75stgdad.onion:48333",
        "[fc1f:22c3:95dc:a3af:4a93:8251:beb9:1858]:48333",
    ),
    genesis=_genesis("4e7b2b9128fe0291db0693af2ae418b767e657cd407e80cb1434221eaea7a07a", "046f3566ffff001dbb0c7817"),
    bip94=True,
    note="BIP 94",
)
SIGNET = replace(
    TESTNET3,
    name="signet",
    magic=bytes.fromhex("0a03cf40"),
    port=38333,
    aliases=(),
    onion_port=38334,
    dns_seeds=("seed.signet.bitcoin.sprovoost.nl", "seed.signet.achownodes.xyz"),
    fixed_peers=(
        "69.62.125.171:38333",
        "185.202.239.115:38333",
        "[2a02:29e0:1:420::64]:38333",
        "fo7cekwzd3ibyoxuo53mfqoxffgfaupg5ydxbl3rofvwxtzbvgy3ciqd.onion:38333",
        "[fc1f:22c3:95dc:a3af:4a93:8251:beb9:1858]:38333",
    ),
    genesis=_genesis(_TIMES, "008f4d5fae77031e8ad22203"),
    pow_limit=0x377AE << 216,
    min_difficulty_blocks=False,
    challenge=bytes.fromhex(
        "512103ad5e0edad18cb1f0fc0d28a3d4f1f3e445640337489abb10404f2d1e086be430"
        "210359ef5021964fe22d6f8e05b2463c9540ce96883fe3b278760f048f5189f2e6c452ae"
    ),
    note="BIP 325, the default challenge",
)
REGTEST = replace(
    TESTNET3,
    name="regtest",
    magic=bytes.fromhex("fabfb5da"),
    port=18444,
    aliases=(),
    onion_port=18445,
    dns_seeds=(),
    fixed_peers=(),
    genesis=_genesis(_TIMES, "dae5494dffff7f2002000000"),
    pow_limit=(1 << 255) - 1,
    retarget=False,
    halving_interval=150,
    bech32_hrp="bcrt",
    note="private; the testnets before 2012 used the same magic on port 18333",
)
_HISTORIC_TESTNET = Network(
    name="testnet2",
    magic=REGTEST.magic,
    port=18333,
    aliases=("testnet1",),
    pubkey_prefix=111,
    script_prefix=196,
    note="the first two testnets, 2010 to 2012; their magic is now regtest's",
)
_SIMNET = Network(name="simnet", magic=bytes.fromhex("161c1412"), port=18555, note="btcd's private network")

_OWN = (MAINNET, TESTNET3, TESTNET4, SIGNET, REGTEST, _HISTORIC_TESTNET, _SIMNET)

_THREE = "not told apart by magic: Bitcoin Cash, eCash and BSV"
_AUXPOW = "headers may carry a merged-mining proof"
_DASH = "transactions have a type and may have an extra payload"
_SISTER_TABLE: tuple[tuple[str, str, str, int, str], ...] = (
    # chain, network ("" is its main one), magic, port, note
    ("bitcoincash", "", "e3e1f3e8", 8333, _THREE),
    ("ecash", "", "e3e1f3e8", 8333, _THREE),
    ("bsv", "", "e3e1f3e8", 8333, _THREE),
    ("bitcoincash", "testnet", "f4e5f3f4", 18333, _THREE),
    ("ecash", "testnet", "f4e5f3f4", 18333, _THREE),
    ("bsv", "testnet", "f4e5f3f4", 18333, _THREE),
    ("bitcoincash", "regtest", "dab5bffa", 18444, _THREE),
    ("ecash", "regtest", "dab5bffa", 18444, _THREE),
    ("bsv", "regtest", "dab5bffa", 18444, _THREE),
    ("bitcoincash", "testnet4", "e2b7daaf", 28333, ""),
    ("bitcoincash", "scalenet", "c3afe1a2", 38333, ""),
    ("bitcoincash", "chipnet", "e2b7daaf", 48333, "same magic as bitcoincash-testnet4"),
    ("bsv", "stn", "fbcec4f9", 9333, "scaling testnet"),
    ("bitcoinunlimited", "nolnet", "fbcec4e9", 9333, ""),
    ("bitcoinunlimited", "testnet4", "cd22a792", 28333, "source of 2021"),
    ("bitcoinunlimited", "scalenet", "bac22dc4", 38333, "source of 2021"),
    ("litecoin", "", "fbc0b6db", 9333, "transactions may carry MWEB data"),
    ("litecoin", "testnet", "fdd2c8f1", 19335, "transactions may carry MWEB data"),
    ("litecoin", "regtest", "fabfb5da", 19444, "transactions may carry MWEB data"),
    ("dogecoin", "", "c0c0c0c0", 22556, _AUXPOW),
    ("dogecoin", "testnet", "fcc1b7dc", 44556, _AUXPOW),
    ("dogecoin", "regtest", "fabfb5da", 18444, _AUXPOW),
    ("dash", "", "bf0c6bbd", 9999, _DASH),
    ("dash", "testnet", "cee2caff", 19999, _DASH),
    ("dash", "devnet", "e2caffce", 19799, _DASH),
    ("dash", "regtest", "fcc1b7dc", 19899, _DASH),
    ("namecoin", "", "f9beb4fe", 8334, _AUXPOW),
    ("namecoin", "testnet", "fabfb5fe", 18334, _AUXPOW),
    ("namecoin", "testnet4", "1c163f28", 48333, "magic and port are those of Bitcoin's testnet4"),
    ("namecoin", "signet", "0a03cf40", 38334, "its default challenge is Bitcoin's, so is the magic"),
    ("namecoin", "regtest", "fabfb5da", 18444, _AUXPOW),
)
_SISTERS = tuple(
    Network(name=f"{chain}-{net}" if net else chain, magic=bytes.fromhex(magic), port=port, chain=chain, note=note)
    for chain, net, magic, port, note in _SISTER_TABLE
)

_registered: dict[str, Network] = {}


def all_networks() -> tuple[Network, ...]:
    """Every known network in order of preference: Bitcoin's own, what the user registered, the sister chains."""
    return _OWN + tuple(_registered.values()) + _SISTERS


def register(network: Network) -> Network:
    """Make a network known to all lookups and return it.

    Registering under the name of a network that is built in raises ValueError; an earlier one of the user is replaced.
    """
    taken = {name for known in _OWN + _SISTERS for name in (known.name, *known.aliases)}
    for name in (network.name, *network.aliases):
        if name in taken:
            raise ValueError(f"the network name {name!r} is taken")
    _registered[network.name] = network
    return network


def by_name(name: str) -> Network:
    """The network of that name or alias, in any letter case. Raises UnknownNetwork."""
    wanted = name.strip().lower()
    for network in all_networks():
        if wanted in map(str.lower, (network.name, *network.aliases)):
            return network
    own = ", ".join(network.name for network in _OWN + tuple(_registered.values()))
    raise UnknownNetwork(f"no network is named {name!r} (known are {own}; other chains by their name, as litecoin)")


def by_magic(magic: bytes) -> tuple[Network, ...]:
    """Networks with that magic (4 bytes in wire order), in order of preference; empty if there is none."""
    return tuple(network for network in all_networks() if network.magic == magic)


def by_port(port: int) -> tuple[Network, ...]:
    """Networks whose default or onion port that is, in order of preference; empty if there is none."""
    return tuple(network for network in all_networks() if port in (network.port, network.onion_port))


def signet(challenge: bytes) -> Network:
    """The signet with that challenge script (BIP 325): its magic follows from the challenge, all else is signet's.

    The network is not registered. Raises ValueError for a challenge longer than a script can be (10,000 bytes).
    """
    if challenge == SIGNET.challenge:
        return SIGNET
    size = len(challenge)
    if size > 10_000:
        raise ValueError(f"a challenge script has at most 10,000 bytes, not {size}")
    prefix = bytes((size,)) if size < 0xFD else b"\xfd" + size.to_bytes(2, "little")
    magic = sha256(sha256(prefix + challenge).digest()).digest()[:4]
    return replace(
        SIGNET,
        name=f"signet-{magic.hex()}",
        magic=magic,
        dns_seeds=(),
        fixed_peers=(),
        challenge=bytes(challenge),
        note="BIP 325, custom challenge",
    )
