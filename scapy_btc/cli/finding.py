# SPDX-License-Identifier: GPL-2.0-or-later
"""What `peers` and `crawl` have in common: where to begin, and how a node is printed."""

from __future__ import annotations

from typing import Any

import click

from ..chain.address import format_endpoint, parse
from ..discovery.addressbook import Told
from ..discovery.reach import ANONYMOUS, DIRECT
from ..discovery.seeds import SERVICES, ask_seeds, fixed_peers
from ..discovery.visit import Visit
from ..errors import FormatError
from ..layers.registry import printable
from ..networks import Network
from ..protocol import service_names
from ..text import plural
from .talking import host_and_port

End = tuple[str, int]

FIXED = "fixed"
"""The source of fixed peers in an address book."""


def endpoint(text: str, port: int) -> End:
    """Host and port that a user named. Raises BadParameter."""
    host, named = host_and_port(text)
    return host, named or port


async def first_peers(network: Network, nameserver: End | None, proxy: str | None) -> dict[str, list[Told]]:
    """What DNS seeds say, and fixed peers when they say nothing, by source; says on standard error what went wrong.

    Through a proxy no name server is asked: the seeds are then to be visited by their names, as Bitcoin Core does, and
    stand for themselves here.
    """
    if proxy:
        return {seed: [Told(seed, network.port, 0, 0)] for seed in network.dns_seeds}
    answers = await ask_seeds(network.dns_seeds, nameserver=nameserver)
    for answer in answers:
        if answer.error:
            click.echo(f"scapy-btc: {answer.name}: {answer.error}", err=True)
    found = {answer.seed: [Told(address, network.port, answer.services, 0) for address in answer.addresses]
             for answer in answers if answer.addresses}
    if not found and network.fixed_peers:
        click.echo(f"scapy-btc: no seed of {network} has addresses: {len(network.fixed_peers)} fixed peers are taken",
                   err=True)
        found[FIXED] = [Told(host, port, SERVICES, 0) for host, port in fixed_peers(network)]
    return found


def reachable(proxy: str | None) -> tuple[int, ...]:
    """The BIP 155 ids of networks on which nodes can be dialled."""
    return (*DIRECT, *ANONYMOUS) if proxy else tuple(DIRECT)


def record_of(visit: Visit) -> dict[str, Any]:
    """What came of a visit, for programs."""
    record: dict[str, Any] = {"address": format_endpoint(visit.host, visit.port), "alive": visit.version is not None}
    if visit.version is not None:
        record["transport"] = visit.transport
        record |= {name: visit.version.get(name) for name in ("version", "user_agent")}
        record["services"] = service_names(visit.version["services"])
        record["start_height"] = visit.version.get("start_height")
        record["latency"] = None if visit.latency is None else round(visit.latency, 6)
        if visit.told is not None:
            record["addresses"] = len(visit.told)
    if visit.error:
        record |= {"error": visit.error, "reason": visit.reason}
    return record


def line_of(visit: Visit) -> str:
    """The same for people."""
    record = record_of(visit)
    if not record["alive"]:
        return printable(f"{record['address']:<40} dead  {visit.error}: {visit.reason}")
    took = "no pong" if visit.latency is None else f"{visit.latency * 1e3:.1f} ms"
    told = "" if visit.told is None else f", {len(visit.told):,} {plural(len(visit.told), 'address', 'addresses')}"
    ended = f" [{visit.error}]" if visit.error else ""
    said = f"{visit.transport} {record['version']} {record['user_agent'] or '-'}"
    return printable(f"{record['address']:<40} alive {took:>9}  {said} {'|'.join(record['services']) or 'none'}, "
                     f"height {record['start_height']}{told}{ended}")


def can_be_dialled(host: str, proxy: str | None) -> bool:
    """Whether an address is of a network that is reachable, or a name."""
    try:
        return parse(host)[0] in reachable(proxy)
    except FormatError:
        return True

