# SPDX-License-Identifier: GPL-2.0-or-later
"""Scripts: what Bitcoin Core prints for them, python-bitcoinlib's opinion, and scripts that are broken."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bitcoin.core.script import CScript, CScriptInvalidError
from bitcoin.wallet import CBitcoinAddress, CBitcoinAddressError
from hypothesis import given
from hypothesis import strategies as st

from scapy_btc import networks
from scapy_btc.chain.script import address, disassemble, operations, script_of, script_type, witness_program
from scapy_btc.errors import FormatError
from scapy_btc.networks import MAINNET, REGTEST, TESTNET3, Network

VECTORS = Path(__file__).parents[1] / "vectors" / "chain"
SCRIPTS = json.loads((VECTORS / "scripts.json").read_text())
ADDRESSES = json.loads((VECTORS / "addresses.json").read_text())
CORE_NAMES = {
    "witness_v1_taproot": "p2tr",
    "witness_v0_scripthash": "p2wsh",
    "witness_v0_keyhash": "p2wpkh",
    "scripthash": "p2sh",
    "pubkeyhash": "p2pkh",
    "pubkey": "p2pk",
}
GENESIS_SCRIPT = bytes.fromhex(
    "4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"
    "49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac"
)
KEY = b"\x21\x02" + b"\x11" * 32


@pytest.mark.parametrize(("script", "asm", "kind", "addressed"), SCRIPTS, ids=[row[0][:12] for row in SCRIPTS])
def test_decodescript(script, asm, kind, addressed):
    raw = bytes.fromhex(script)
    printed, error, rest = disassemble(raw).partition("[error]")
    assert printed + error == asm
    assert bool(rest) == bool(error)
    assert script_type(raw) == CORE_NAMES.get(kind, kind)
    assert address(raw, REGTEST) == addressed


@pytest.mark.parametrize(("text", "script", "chain"), ADDRESSES, ids=[row[0][:16] for row in ADDRESSES])
def test_addresses(text, script, chain):
    assert address(bytes.fromhex(script), networks.by_name(chain)) == text
    assert script_of(text, networks.by_name(chain)).hex() == script


# the first ten: BIP 350, invalid addresses
@pytest.mark.parametrize("text", [
    "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    "bc1pw5dgrnzv",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "bc1gmk9yu",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",  # checksum
    "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",  # testnet's
    "5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss",  # a private key
    "", "1", "bc1", "é", "bc1é", "bc1" + "q" * 5000, "1" * 5000,
])
def test_what_is_no_address_of_a_network(text):
    with pytest.raises(FormatError, match=r"^not an address of mainnet: ") as error:
        script_of(text, MAINNET)
    assert len(str(error.value)) < 300


# BIP 350, test vectors for v0-v16 addresses
@pytest.mark.parametrize(
    ("text", "script", "kind"),
    [
        ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "0014751e76e8199196d454941c45d1b3a323f1433bd6", "p2wpkh"),
        (
            "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
            "5128751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
            "witness_unknown",
        ),
        ("BC1SW50QGDZ25J", "6002751e", "witness_unknown"),
        ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "5210751e76e8199196d454941c45d1b3a323", "witness_unknown"),
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "p2tr",
        ),
        # Bitcoin Core, pay to anchor
        ("bc1pfeessrawgf", "51024e73", "anchor"),
    ],
)
def test_witness_addresses(text, script, kind):
    assert address(bytes.fromhex(script), MAINNET) == text.lower()
    assert script_type(bytes.fromhex(script)) == kind


def test_taproot_of_bip341():
    script = bytes.fromhex("512053a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343")
    assert address(script, MAINNET) == "bc1p2wsldez5mud2yam29q22wgfh9439spgduvct83k3pm50fcxa5dps59h4z5"


def test_genesis_output_has_no_address():
    assert script_type(GENESIS_SCRIPT) == "p2pk"
    assert address(GENESIS_SCRIPT, MAINNET) is None
    assert disassemble(GENESIS_SCRIPT) == f"{GENESIS_SCRIPT[1:-1].hex()} OP_CHECKSIG"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (b"\x51" + KEY + b"\x51\xae", "multisig"),
        (b"\x52" + KEY * 3 + b"\x53\xae", "multisig"),
        (b"\x01\x11" + KEY * 17 + b"\x01\x11\xae", "multisig"),
        (b"\x51" + KEY * 20 + b"\x01\x14\xae", "multisig"),
        (b"\x51" + KEY * 21 + b"\x01\x15\xae", "nonstandard"),
        (b"\x52" + KEY + b"\x51\xae", "nonstandard"),
        (b"\x51" + KEY * 2 + b"\x51\xae", "nonstandard"),
        (b"\x00" + KEY + b"\x51\xae", "nonstandard"),
        (b"\x51\x51\xae", "nonstandard"),
        (b"\x51" + KEY + b"\x51\xae\xae", "nonstandard"),
        (b"\x51" + b"\x21\x05" + b"\x11" * 32 + b"\x51\xae", "nonstandard"),
        (KEY + b"\xac", "p2pk"),
        (b"\x21\x05" + b"\x11" * 32 + b"\xac", "nonstandard"),
        (b"\x6a", "nulldata"),
        (b"\x6a\x50\x60\x4c\x01\x00", "nulldata"),
        (b"\x6a\x61", "nonstandard"),
        (b"\x6a\x4c", "nonstandard"),
        (b"\x00\x13" + bytes(19), "nonstandard"),
        (b"\x51\x01\x00", "nonstandard"),
        (b"\x51\x29" + bytes(41), "nonstandard"),
        (b"\x50\x02\x00\x00", "nonstandard"),
        (b"", "nonstandard"),
    ],
)
def test_kinds(script, kind):
    assert script_type(script) == kind
    assert address(script, MAINNET) is None


def test_networks_without_prefixes_have_no_addresses():
    unknown = Network("unknown", b"abcd", 1)
    for script in ("0014" + "00" * 20, "76a914" + "00" * 20 + "88ac", "a914" + "00" * 20 + "87"):
        assert address(bytes.fromhex(script), unknown) is None
        assert address(bytes.fromhex(script), TESTNET3) is not None


@pytest.mark.parametrize(
    ("script", "asm"),
    [
        ("", ""),
        ("0000", "0 0"),
        ("4f51605061", "-1 1 16 OP_RESERVED OP_NOP"),
        ("0181", "-1"),
        ("02ff7f0280800180", "32767 -128 0"),
        ("04ffffffff", "-2147483647"),
        ("05ffffffff00", "ffffffff00"),
        ("4c0161", "97"),
        ("4d05000102030405", "0102030405"),
        (
            "b1b2b3babbfeff",
            "OP_CHECKLOCKTIMEVERIFY OP_CHECKSEQUENCEVERIFY OP_NOP4 OP_CHECKSIGADD OP_UNKNOWN OP_UNKNOWN "
            "OP_INVALIDOPCODE",
        ),
        # broken: the rest stays visible
        ("02aa", "[error] 02aa"),
        ("7602aa", "OP_DUP [error] 02aa"),
        ("764c", "OP_DUP [error] 4c"),
        ("764dff", "OP_DUP [error] 4dff"),
        ("764effffffff00", "OP_DUP [error] 4effffffff00"),
    ],
)
def test_disassemble(script, asm):
    assert disassemble(bytes.fromhex(script)) == asm


@given(st.binary(max_size=120))
def test_operations_agree_with_python_bitcoinlib(script):
    theirs = []
    try:
        for opcode, data, _ in CScript(script).raw_iter():
            # python-bitcoinlib gives no data for an empty push by OP_0
            theirs.append((int(opcode), b"" if opcode == 0 else data))
        broken = False
    except CScriptInvalidError:
        broken = True
    ours = list(operations(script))
    assert [(opcode, data) for opcode, data, _ in ours] == theirs
    assert broken == ((ours[-1].end if ours else 0) < len(script))
    assert broken == ("[error]" in disassemble(script))


@given(st.binary(max_size=60))
def test_operations_cover_the_script(script):
    text = disassemble(script)
    assert len(text.split()) == len(list(operations(script))) + 2 * ("[error]" in text)
    assert isinstance(script_type(script), str)


@given(
    st.one_of(
        st.binary(min_size=20, max_size=20).map(lambda h: b"\x76\xa9\x14" + h + b"\x88\xac"),
        st.binary(min_size=20, max_size=20).map(lambda h: b"\xa9\x14" + h + b"\x87"),
        st.binary(min_size=20, max_size=20).map(lambda h: b"\x00\x14" + h),
        st.binary(min_size=32, max_size=32).map(lambda h: b"\x00\x20" + h),
    )
)
def test_addresses_agree_with_python_bitcoinlib(script):
    try:
        expected = str(CBitcoinAddress.from_scriptPubKey(CScript(script)))
    except CBitcoinAddressError:
        expected = None
    assert address(script, MAINNET) == expected


@given(st.integers(0, 16), st.binary(min_size=2, max_size=40))
def test_witness_programs(version, program):
    script = bytes((0x50 + version if version else 0, len(program))) + program
    assert witness_program(script) == (version, program)
    assert (address(script, MAINNET) is None) == (version == 0 and len(program) not in (20, 32))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("unit", [b"\x76", b"\x4c\x00", b"\x4e\xff\xff\xff\xff", b"\x01\xae"])
def test_a_script_of_a_megabyte(unit):
    script = unit * (1_000_000 // len(unit))
    assert disassemble(script)
    assert script_type(script) == "nonstandard"
    assert script_type(b"\x6a" + script) in ("nonstandard", "nulldata")


def test_library_is_loaded_on_first_use_only():
    code = (
        "import sys, scapy_btc.chain.script as s; assert 'btclib' not in sys.modules; "
        "s.script_type(b'Q'); assert 'btclib' not in sys.modules; s.disassemble(b'Q'); assert 'btclib' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
