# SPDX-License-Identifier: GPL-2.0-or-later
"""DNS seeds, against a name server on loopback."""

from __future__ import annotations

import asyncio
import time

import pytest
from servers import Dns

from scapy_btc.discovery.reach import Kind
from scapy_btc.discovery.seeds import PER_SEED, SeedAnswer, ask_seeds, fixed_peers
from scapy_btc.errors import FormatError
from scapy_btc.networks import MAINNET


def ask(server: Dns, *seeds: str, **more: object) -> list[SeedAnswer]:
    return asyncio.run(ask_seeds(seeds, nameserver=server.end, **more))  # type: ignore[arg-type]


def test_service_bits_are_in_the_name() -> None:
    """Bitcoin Core asks x9.seed for NODE_NETWORK and NODE_WITNESS; the bits are hexadecimal."""
    with Dns({"x9.seed.example": ["1.2.3.4", "2001::5"], "x409.seed.example": ["8.8.8.8"]}) as server:
        answer, = ask(server, "seed.example")
        assert (answer.name, answer.services, answer.error) == ("x9.seed.example", 9, "")
        assert answer.addresses == ["1.2.3.4", "2001::5"]
        assert sorted(server.asked) == [("x9.seed.example", "A"), ("x9.seed.example", "AAAA")]
        assert ask(server, "seed.example", services=0x409)[0].addresses == ["8.8.8.8"]


def test_a_seed_without_subdomains_is_asked_by_its_name() -> None:
    with Dns({"seed.example": ["1.2.3.4"]}) as server:
        answer, = ask(server, "seed.example")
        assert (answer.name, answer.services, answer.addresses, answer.error) == ("seed.example", 0, ["1.2.3.4"], "")
        server.asked.clear()
        assert ask(server, "seed.example", services=0)[0].addresses == ["1.2.3.4"]
        assert {name for name, _ in server.asked} == {"seed.example"}


def test_what_fails_is_said_and_does_not_stop_the_others() -> None:
    zone = {"x9.good.example": ["1.2.3.4"], "x9.silent.example": None, "silent.example": None,
            "x9.broken.example": b"!", "broken.example": b"",
            "x9.lying.example": ["127.0.0.1", "10.0.0.1", "::1"], "lying.example": ["0.0.0.0"],
            "x9.empty.example": [], "empty.example": []}
    names = ["gone.example", "silent.example", "broken.example", "lying.example", "empty.example", "good.example",
             "..example", "x" * 70 + ".example"]
    started = time.monotonic()
    with Dns(zone) as server:
        answers = {answer.seed: answer for answer in ask(server, *names, timeout=1.0)}
    assert time.monotonic() - started < 6
    assert list(answers) == names
    assert answers["good.example"].addresses == ["1.2.3.4"]
    errors = {seed: answer.error for seed, answer in answers.items()}
    assert errors.pop("good.example") == ""
    assert all(errors.values()) and not any(answers[seed].addresses for seed in errors)
    assert errors["gone.example"] == "the name does not exist"
    assert errors["silent.example"] == errors["broken.example"] == "timed out"
    assert errors["lying.example"] == "only addresses that are not routable"
    assert errors["empty.example"] == "no addresses"


def test_what_one_seed_can_say_is_bounded() -> None:
    many = [f"8.8.{i // 250}.{i % 250}" for i in range(60)]  # more do not fit into one datagram of 1232 bytes
    with Dns({"x9.seed.example": many}) as server:
        found = ask(server, "seed.example")[0].addresses
    assert len(set(found)) == PER_SEED == 32 and set(found) < set(many)


def test_loopback_can_be_asked_for() -> None:
    with Dns({"x9.seed.example": ["127.0.0.1", "8.8.8.8"]}) as server:
        assert ask(server, "seed.example", kind=Kind.LOOPBACK)[0].addresses == ["127.0.0.1"]


def test_nobody_serves_names() -> None:
    with Dns({}) as server:
        end = server.end
    answer, = asyncio.run(ask_seeds(["seed.example"], nameserver=end, timeout=0.5))
    assert answer.error and not answer.addresses


def test_a_name_server_is_an_address() -> None:
    with pytest.raises(FormatError, match=r"^a name server is named by its address, not 'ns\.example'$"):
        asyncio.run(ask_seeds(["seed.example"], nameserver=("ns.example", 53)))


def test_fixed_peers() -> None:
    peers = fixed_peers(MAINNET)
    assert ("23.137.57.100", 8333) in peers and ("2400:6180:100:d0::2913:a002", 8333) in peers
    assert ("4v2k7bxwwgmc2slsm4pcnzfhqworcoqpbrjeq7p2nldoih43nzqq.b32.i2p", 0) in peers
