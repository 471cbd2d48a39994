# SPDX-License-Identifier: GPL-2.0-or-later
"""Scripts for people: disassembly in Bitcoin Core's style, kind of output, address, and the way back from it.

Op code names, Base58 and Bech32 come from btclib, which is loaded on first use.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from ..errors import FormatError
from ..networks import Network

_OP_PUSHDATA1 = 0x4C
_OP_PUSHDATA4 = 0x4E
_OP_1NEGATE = 0x4F
_OP_1 = 0x51
_OP_16 = 0x60
_OP_RETURN = 0x6A
_OP_CHECKSIG = 0xAC
_OP_CHECKMULTISIG = 0xAE
_MAX_PUBKEYS_PER_MULTISIG = 20
_PUBKEY_SIZES = {2: 33, 3: 33, 4: 65, 6: 65, 7: 65}  # by first byte
_WITNESS_TYPES = {(0, 20): "p2wpkh", (0, 32): "p2wsh", (1, 32): "p2tr"}
_ANCHOR = (1, bytes.fromhex("4e73"))


class Operation(NamedTuple):
    """One step of a script."""

    opcode: int
    data: bytes | None
    """What a push puts on the stack; None for any other op code."""
    end: int
    """Offset after the operation."""


def operations(script: bytes) -> Iterator[Operation]:
    """Walk a script. A push that runs beyond the end ends the walk: then the last `end` is not the script's length."""
    position, size = 0, len(script)
    while position < size:
        opcode = script[position]
        position += 1
        if opcode > _OP_PUSHDATA4:
            yield Operation(opcode, None, position)
            continue
        length = opcode
        if opcode >= _OP_PUSHDATA1:
            width = 1 << opcode - _OP_PUSHDATA1
            if position + width > size:
                return
            length = int.from_bytes(script[position : position + width], "little")
            position += width
        end = position + length
        if end > size:
            return
        yield Operation(opcode, script[position:end], end)
        position = end


@lru_cache(maxsize=1)
def _opcode_names() -> list[str]:
    from btclib.script.script import OP_CODE_NAME_FROM_INT

    names = [OP_CODE_NAME_FROM_INT.get(opcode, "OP_UNKNOWN") for opcode in range(255)] + ["OP_INVALIDOPCODE"]
    # Core writes the op codes that push a small number as that number
    names[_OP_1NEGATE] = "-1"
    names[_OP_1 : _OP_16 + 1] = map(str, range(1, 17))
    return names


def _number(data: bytes) -> int:
    """A script number: little-endian, the top bit is the sign."""
    value = int.from_bytes(data, "little")
    sign = 0x80 << 8 * (len(data) - 1) if data else 0
    return -(value ^ sign) if value & sign else value


def disassemble(script: bytes) -> str:
    """The script as Bitcoin Core writes it ("asm"): pushes of up to 4 bytes as numbers, longer ones as hex.

    A script that breaks off inside a push ends with "[error]" and the rest in hex. Never raises on any bytes.
    """
    names = _opcode_names()
    words = []
    end = 0
    for opcode, data, end in operations(script):
        if data is None:
            words.append(names[opcode])
        else:
            words.append(str(_number(data)) if len(data) <= 4 else data.hex())
    if end < len(script):
        words += ["[error]", script[end:].hex()]
    return " ".join(words)


def witness_program(script: bytes) -> tuple[int, bytes] | None:
    """(version, program) of an output script that is a witness program (BIP 141), None for any other."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] == 0:
        return 0, script[2:]
    return (script[0] - _OP_1 + 1, script[2:]) if _OP_1 <= script[0] <= _OP_16 else None


def _is_pubkey(data: bytes | None) -> bool:
    return data is not None and len(data) > 0 and len(data) == _PUBKEY_SIZES.get(data[0])


def _key_count(operation: Operation) -> int:
    """A number of keys, 0 for what is none: 1 to 16 have their op codes, only 17 to 20 are pushed."""
    if _OP_1 <= operation.opcode <= _OP_16:
        return operation.opcode - _OP_1 + 1
    if operation.opcode == 1 and operation.data and 16 < operation.data[0] <= _MAX_PUBKEYS_PER_MULTISIG:
        return operation.data[0]
    return 0


def _is_multisig(script: bytes) -> bool:
    longest = _MAX_PUBKEYS_PER_MULTISIG + 3  # operations: both counts and the op code
    steps = list(islice(operations(script), longest))
    if len(steps) < 4 or steps[-1].opcode != _OP_CHECKMULTISIG or steps[-1].end != len(script):
        return False
    required, *keys, total, _ = steps
    return 1 <= _key_count(required) <= len(keys) == _key_count(total) and all(_is_pubkey(key.data) for key in keys)


def _is_push_only(script: bytes) -> bool:
    end = 0
    for opcode, _, end in operations(script):
        if opcode > _OP_16:
            return False
    return end == len(script)


def script_type(script: bytes) -> str:
    """Kind of an output script, told apart as Bitcoin Core does.

    One of "p2pk", "p2pkh", "p2sh", "multisig", "p2wpkh", "p2wsh", "p2tr", "anchor", "witness_unknown" (of a later
    version), "nulldata" (OP_RETURN, then pushes only), and "nonstandard" for all else.
    """
    size = len(script)
    if size == 23 and script.startswith(b"\xa9\x14") and script.endswith(b"\x87"):
        return "p2sh"
    program = witness_program(script)
    if program is not None:
        later = "anchor" if program == _ANCHOR else "witness_unknown" if program[0] else "nonstandard"
        return _WITNESS_TYPES.get((program[0], len(program[1])), later)
    if size == 25 and script.startswith(b"\x76\xa9\x14") and script.endswith(b"\x88\xac"):
        return "p2pkh"
    if size in (35, 67) and script[0] == size - 2 and script[-1] == _OP_CHECKSIG and _is_pubkey(script[1:-1]):
        return "p2pk"
    if script[:1] == bytes((_OP_RETURN,)) and _is_push_only(script[1:]):
        return "nulldata"
    return "multisig" if _is_multisig(script) else "nonstandard"


def address(script: bytes, network: Network) -> str | None:
    """The address that stands for an output script on a network; None if there is none or the prefixes are unknown.

    Pay to public key (p2pk) and bare multisig have none.
    """
    kind = script_type(script)
    if kind in ("p2pkh", "p2sh"):
        prefix, payload = (
            (network.pubkey_prefix, script[3:23]) if kind == "p2pkh" else (network.script_prefix, script[2:22])
        )
        return None if prefix is None else _base58(bytes((prefix,)) + payload)
    program = witness_program(script)
    if program is None or kind == "nonstandard" or network.bech32_hrp is None:
        return None
    return _bech32(network.bech32_hrp, *program)


def script_of(text: str, network: Network) -> bytes:
    """The output script that an address of a network stands for. Raises FormatError."""
    hrp = network.bech32_hrp
    try:
        if hrp and text.lower().startswith(f"{hrp}1"):
            return _script_of_bech32(text)
        payload = _base58_payload(text)
    except ValueError as error:
        reason = str(error).partition(" instead")[0]
        raise FormatError(f"not an address of {network}: {text[:100]!r}: {reason[:100]}") from error
    prefix, digest = payload[0], payload[1:]
    if len(digest) == 20 and prefix == network.pubkey_prefix:
        return b"\x76\xa9\x14" + digest + b"\x88\xac"
    if len(digest) == 20 and prefix == network.script_prefix:
        return b"\xa9\x14" + digest + b"\x87"
    raise FormatError(f"not an address of {network}: {text[:100]!r}")


def _script_of_bech32(text: str) -> bytes:
    from btclib import b32, bech32

    _, (version, *values) = bech32.decode(text)
    program = bytes(b32.power_of_2_base_conversion(values, 5, 8, False))
    b32.bytes_from_witness_program(version, program)  # checks its length
    return bytes((version and _OP_1 - 1 + version, len(program))) + program


def _base58_payload(text: str) -> bytes:
    from btclib import base58

    return base58.decode(text)


def _base58(payload: bytes) -> str:
    from btclib import base58

    return base58.encode(payload).decode()


def _bech32(prefix: str, version: int, program: bytes) -> str:
    from btclib import b32, bech32

    return bech32.encode(prefix, [version, *b32.power_of_2_base_conversion(program, 8, 5, True)]).decode()
