# SPDX-License-Identifier: GPL-2.0-or-later
"""What options take: times and names."""

from __future__ import annotations

import click
import pytest

from scapy_btc.cli import GROUPS
from scapy_btc.cli.options import Moment, NetworkName, Number, ProxyAddress

SECONDS = 1_795_226_269  # 2026-11-21T01:57:49Z


@pytest.mark.parametrize(("text", "expected"), [
    ("2026-11-21T01:57:49", SECONDS * 10**9),
    ("2026-11-21 01:57:49Z", SECONDS * 10**9),
    ("2026-11-21T01:57:49.590530906Z", SECONDS * 10**9 + 590_530_906),
    ("2026-11-21T01:57:49.5", SECONDS * 10**9 + 500_000_000),
    ("2026-11-21T02:57:49.25+01:00", SECONDS * 10**9 + 250_000_000),
    ("2026-11-21", (SECONDS - 7069) * 10**9),
    (str(SECONDS), SECONDS * 10**9),
    (f"{SECONDS}.000000001999", SECONDS * 10**9 + 1),
])
def test_times(text: str, expected: int) -> None:
    assert Moment().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["", "now", ".5", "2026-13-01", "1e5", "²", "1Z", "2026-11-21T01:57:49\n."])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time"):
        Moment().convert(text, None, None)


def test_networks() -> None:
    assert NetworkName().convert("Regtest", None, None).name == "regtest"
    assert NetworkName().convert("signet:51", None, None).challenge == b"\x51"
    for text in ("nowhere", "signet:5", "signet:" + "51" * 10_001):
        with pytest.raises(click.BadParameter):
            NetworkName().convert(text, None, None)


@pytest.mark.parametrize("text", ["127.0.0.1:9050", "socks5://127.0.0.1:9050", "socks5h://127.0.0.1:9050/",
                                  "SOCKS5://127.0.0.1:9050"])
def test_proxies(text: str) -> None:
    assert ProxyAddress().convert(text, None, None) == "127.0.0.1:9050"
    assert ProxyAddress().convert("[::1]:9050", None, None) == "[::1]:9050"


@pytest.mark.parametrize("text", ["", "127.0.0.1", "9050", "tor", "socks5://127.0.0.1", "http://127.0.0.1:9050",
                                  ":9050", "socks4://127.0.0.1:9050", "me:secret@127.0.0.1:9050", "me@127.0.0.1:9050",
                                  "127.0.0.1:0", "127.0.0.1:99999"])
def test_what_is_no_proxy_address(text: str) -> None:
    with pytest.raises(click.BadParameter):
        ProxyAddress().convert(text, None, None)


@pytest.mark.parametrize("option", [pytest.param(option, id=str(command.name)) for commands in GROUPS.values()
                                    for command in commands for option in command.params if option.name == "proxy"])
def test_every_proxy_is_read_so(option: click.Option) -> None:
    assert isinstance(option.type, ProxyAddress)


NUMBERS = [pytest.param(option, id=f"{command.name} {option.opts[0]}") for commands in GROUPS.values()
           for command in commands for option in command.params if isinstance(option.type, click.types.FloatParamType)]


@pytest.mark.parametrize("option", NUMBERS)
def test_no_number_is_one_that_nobody_can_wait_for(option: click.Option) -> None:
    assert isinstance(option.type, Number) and option.type.convert("2.5", option, None) == 2.5
    for text in ("nan", "inf", "1e10", "-1", "-inf"):
        with pytest.raises(click.BadParameter):
            option.type.convert(text, option, None)
