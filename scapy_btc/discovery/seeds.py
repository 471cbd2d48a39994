# SPDX-License-Identifier: GPL-2.0-or-later
"""First addresses: DNS seeds, asked for nodes with certain services, and fixed peers when DNS has nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ..errors import FormatError
from ..networks import Network
from ..protocol import ServiceFlags
from .reach import Kind, kind_of_text

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

SERVICES = int(ServiceFlags.NODE_NETWORK | ServiceFlags.NODE_WITNESS)
"""What Bitcoin Core asks its seeds for."""
PER_SEED = 32
"""Addresses that are taken of one seed, so that none of them fills the book; Core's limit."""
DNS_TIMEOUT = 10.0
"""Seconds for all questions to one seed."""


@dataclass
class SeedAnswer:
    """What one seed said.

    :ivar name: the name that was asked; with the services' subdomain, or the seed itself where it has none
    :ivar services: what its nodes offer as the name says; 0 for the seed itself
    :ivar error: why there are no addresses, "" where there are
    """

    seed: str
    name: str
    services: int = 0
    addresses: list[str] = field(default_factory=list)
    error: str = ""


async def ask_seeds(seeds: Iterable[str], services: int = SERVICES, nameserver: tuple[str, int] | None = None,
                    timeout: float = DNS_TIMEOUT, kind: Kind = Kind.ROUTABLE) -> list[SeedAnswer]:
    """Ask DNS seeds for the addresses of nodes (A and AAAA), all at once; what fails is in the answers.

    A seed that knows service bits has subdomains for them, "x9.seed.example" (hexadecimal). One that has none is asked
    by its own name.

    :param services: bits that nodes must have; 0 asks for the seeds' own names only
    :param nameserver: its address and port; without it those of the system
    :param kind: of addresses that are taken

    Raises FormatError for a nameserver that is none.
    """
    resolver = make_resolver(nameserver)
    return list(await asyncio.gather(*(_ask(resolver, seed, services, timeout, kind) for seed in seeds)))


def make_resolver(nameserver: tuple[str, int] | None) -> Resolver:
    """A resolver that asks this name server. Raises FormatError."""
    from dns.asyncresolver import Resolver
    from dns.resolver import NoResolverConfiguration

    if nameserver is None:
        try:
            return Resolver()
        except NoResolverConfiguration:
            raise FormatError("the system names no name server; name one") from None
    resolver = Resolver(configure=False)
    host, resolver.port = nameserver
    try:
        resolver.nameservers = [str(ip_address(host))]
    except ValueError:
        raise FormatError(f"a name server is named by its address, not {host!r}") from None
    return resolver


async def _ask(resolver: Resolver, seed: str, services: int, timeout: float, kind: Kind) -> SeedAnswer:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    answer = SeedAnswer(seed, seed)
    for name, bits in ((f"x{services:x}.{seed}", services), (seed, 0)) if services else ((seed, 0),):
        answer = SeedAnswer(seed, name, bits)
        left = deadline - loop.time()
        if left <= 0:
            answer.error = "timed out"
            break
        found = await asyncio.gather(*(_resolve(resolver, name, record, left) for record in ("A", "AAAA")))
        taken = [text for texts, _ in found for text in texts if kind_of_text(text) is kind]
        answer.addresses = list(dict.fromkeys(taken))[:PER_SEED]
        if answer.addresses:
            break
        refused = f"only addresses that are not {kind.value}" if any(texts for texts, _ in found) else ""
        answer.error = next((error for _, error in found if error), "") or refused or "no addresses"
    return answer


async def _resolve(resolver: Resolver, name: str, record: str, timeout: float) -> tuple[list[str], str]:
    """Addresses, and what went wrong; "" for a name without such records."""
    from dns.exception import DNSException, Timeout
    from dns.resolver import NXDOMAIN, NoAnswer, NoNameservers

    try:
        return [item.address for item in await resolver.resolve(name, record, lifetime=timeout)], ""
    except NoAnswer:
        return [], ""
    except NXDOMAIN:
        return [], "the name does not exist"
    except Timeout:
        return [], "timed out"
    except NoNameservers:
        return [], "no name server answered"
    except (DNSException, OSError, UnicodeError) as error:
        return [], str(error) or type(error).__name__


def fixed_peers(network: Network) -> list[tuple[str, int]]:
    """The fixed peers of a network as (host, port)."""
    pairs = (text.rpartition(":") for text in network.fixed_peers)
    return [(host.strip("[]"), int(port)) for host, _, port in pairs]
