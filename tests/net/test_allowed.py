# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses are loopback or private."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from scapy_btc.errors import Refused
from scapy_btc.net import allowed
from scapy_btc.net.allowed import is_private, private_address


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1", "::1",
    "fd00::1", "fe80::1", "fe80::1%lo", "::ffff:10.0.0.1"])
def test_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", [
    "0.0.0.0", "8.8.8.8", "126.255.255.255", "128.0.0.1", "11.0.0.1", "172.15.255.255", "172.32.0.0", "192.167.255.255",
    "192.169.0.0", "100.64.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "::", "::2", "2001:db8::1", "fc00::1",
    "64:ff9b::a00:1", "ff02::1", "::ffff:8.8.8.8", "2002:a00:1::1"])
def test_not_private(address: str) -> None:
    assert not is_private(address)


def test_a_name_is_what_it_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """And all of it: one public address among private ones would do."""
    answers: list[str] = []

    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 1)) for address in answers]

    monkeypatch.setattr(allowed.socket, "getaddrinfo", resolve)
    answers[:] = ["10.0.0.1", "127.0.0.1"]
    assert private_address("inside.example", 1) == "10.0.0.1"
    answers[:] = ["10.0.0.1", "8.8.8.8"]
    assert private_address("outside.example", 1) is None


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(Refused, match="the name is not known"):
        private_address("no-such-name.invalid", 1)


def test_this_machine() -> None:
    assert private_address("localhost", 1) in ("127.0.0.1", "::1")
