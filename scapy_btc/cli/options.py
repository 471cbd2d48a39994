# SPDX-License-Identifier: GPL-2.0-or-later
"""Options that several commands share, and what they mean."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from ..capture.select import Selection
    from ..networks import Network

Command = Callable[..., Any]

MOMENT = re.compile(r"(.*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?", re.DOTALL)
"""A time without fraction and zone, digits of the fraction, zone."""


ENDPOINT = re.compile(r"[A-Za-z0-9.:%_\[\]-]+")
"""The characters of addresses, host names and ports."""


class MessageName(click.ParamType):
    """Names of messages, separated by commas."""

    name = "msgtype"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names = [name for name in value.split(",") if name]
        if not names:
            self.fail("no message name", param, ctx)
        return names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from ..messages.catalogue import catalogue
        before, _, last = incomplete.rpartition(",")
        start = f"{before}," if before else ""
        return [CompletionItem(start + cls.msgtype) for cls in catalogue() if cls.msgtype.startswith(last)]


def suggestion(name: str) -> str:
    """`; did you mean version?` where a message has a name like this, else nothing."""
    import difflib

    from ..messages.catalogue import catalogue

    close = difflib.get_close_matches(name[:100], [cls.msgtype for cls in catalogue()], 1)
    return f"; did you mean {close[0]}?" if close else ""


class Peer(click.ParamType):
    """An end of a connection, as captures name it: addresses, host names, onion and I2P names, "node", "peer"."""

    name = "peer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not ENDPOINT.fullmatch(value):
            self.fail(f"{value!r} is no address; write 192.0.2.1, 192.0.2.1:8333, [2001:db8::1]:8333", param, ctx)
        return str(value)


class Endpoint(click.ParamType):
    """Host and port, (str, int) inside.

    :param port: where none is named
    """

    name = "endpoint"

    def __init__(self, port: int) -> None:
        self.port = port

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        from ..chain.address import parse_endpoint
        from ..errors import FormatError
        try:
            host, port = parse_endpoint(value)
        except FormatError as error:
            self.fail(str(error), param, ctx)
        return host, self.port if port is None else port


class ProxyAddress(click.ParamType):
    """A SOCKS5 proxy, also as curl and Tor write it: socks5://host:port, socks5h://host:port; "host:port" inside."""

    name = "proxy"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from ..chain.address import format_endpoint, parse_endpoint
        from ..errors import FormatError
        text = re.sub(r"\Asocks5h?://|/\Z", "", value, flags=re.IGNORECASE)
        try:
            host, port = parse_endpoint(text)
        except FormatError as error:
            self.fail(f"{error}; Tor is at 127.0.0.1:9050", param, ctx)
        if not port or not ENDPOINT.fullmatch(host):
            self.fail(f"{value!r} is no host and port, as 127.0.0.1:9050 for Tor", param, ctx)
        return format_endpoint(host, port)


class NetworkName(click.ParamType):
    """The name of a network, or the challenge of a custom signet as `signet:HEX`."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        from .. import networks
        try:
            if value.startswith("signet:"):
                return networks.signet(bytes.fromhex(value.removeprefix("signet:")))
            return networks.by_name(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from ..networks import all_networks
        return [CompletionItem(network.name) for network in all_networks() if network.name.startswith(incomplete)]


class Moment(click.ParamType):
    """A time: ISO 8601 (UTC unless it says otherwise) or seconds since 1970; nanoseconds since 1970 inside."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        # datetime knows microseconds at best, and before Python 3.11 neither "Z" nor other fractions
        whole, fraction, zone = MOMENT.fullmatch(value).groups(default="")  # type: ignore[union-attr]  # takes any text
        nanoseconds = int(f"{fraction:0<9.9}")
        try:
            if whole.isdigit() and not zone:
                return int(whole) * 10**9 + nanoseconds
            moment = datetime.fromisoformat(whole + zone.replace("Z", "+00:00"))
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-11-21T01:16:02 or seconds since 1970", param, ctx)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return int(moment.timestamp()) * 10**9 + nanoseconds


class Number(click.FloatRange):
    """A number that a system can wait for: neither infinite nor nan, at most a billion."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not found <= 1e9:
            self.fail(f"{value} is no number up to a billion", param, ctx)
        return found


POSITIVE, NOT_NEGATIVE = Number(min=0, min_open=True), Number(min=0)


class HashHex(click.ParamType):
    """A hash as users know it: 64 hex digits; 32 wire bytes inside."""

    name = "hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        from ..wire.hashes import hex_hash
        try:
            return value if isinstance(value, bytes) else hex_hash(value)
        except ValueError:
            self.fail(f"{value!r} is not 64 hex digits", param, ctx)


def stacked(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""
    def apply(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command
    return apply


network = click.option("--network", type=NetworkName(), metavar="NAME",
                       help="Read as this network (mainnet, testnet4, signet:CHALLENGE ...); default: by magic, "
                            "then port.")

def _if_it_is_there(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Programs that write keys may be told where by the same variable, and not have written any yet."""
    from_environment = ctx.get_parameter_source(param.name or "") == ParameterSource.ENVIRONMENT
    return None if value and from_environment and not os.path.exists(value) else value


def _keylog(help: str, callback: Any = None) -> Callable[[Command], Command]:
    return click.option("--keylog", type=click.Path(dir_okay=False), envvar="BTC_KEYLOG", metavar="FILE",
                        callback=callback, help=f"{help} Default: $BTC_KEYLOG.")


keylog = _keylog("Read v2 connections with the keys of this file.", _if_it_is_there)
live_keylog = _keylog("Read v2 connections with the keys of this file, also those that are written to it later.")
TRANSPORTS = click.Choice(["auto", "v1", "v2"])
written_keylog = click.option("--keylog", type=click.Path(dir_okay=False), envvar="BTC_KEYLOG", metavar="FILE",
                              help="Add the keys of v2 connections to this file, for read --keylog. "
                                   "Default: $BTC_KEYLOG.")

guess = click.option("--guess", is_flag=True, help="Say what the writes of v2 connections without a key may be, from "
                     "their sizes.")

live_filters = stacked(
    click.option("--msgtype", "msgtypes", type=MessageName(), multiple=True, metavar="NAME[,NAME]",
                 help="Only these messages. Names that neither the protocol nor what is read has are an error."),
    click.option("--peer", "peers", type=Peer(), multiple=True, metavar="HOST[:PORT]",
                 help="Only connections with this end."),
    click.option("--connection", "connections", type=int, multiple=True, metavar="N", help="Only this connection."),
)

filters = stacked(
    live_filters,
    network,
    click.option("--since", type=Moment(), metavar="TIME", help="From this time on (UTC unless it says otherwise)."),
    click.option("--until", type=Moment(), metavar="TIME", help="Before this time."),
    click.option("--txid", "transactions", type=HashHex(), multiple=True, metavar="HASH",
                 help="Follow a transaction (txid or wtxid) through all messages."),
    click.option("--block", "blocks", type=HashHex(), multiple=True, metavar="HASH",
                 help="Follow a block through all messages."),
)

output = stacked(
    click.option("-T", "form", type=click.Choice(["text", "jsonl", "json"]), default="text", show_default=True,
                 help="How to print."),
    click.option("-V", "tree", is_flag=True, help="Print every field, as a tree."),
    click.option("-x", "hexdump", is_flag=True, help="Print the bytes, too."),
    click.option("-q", "quiet", is_flag=True, help="Print the closing counts only."),
    click.option("-c", "limit", type=click.IntRange(min=1), metavar="N", help="Stop after N messages."),
    click.option("-w", "write", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE",
                 help="Write what was selected as a capture (pcapng, or pcap by name)."),
    click.option("--no-fields", is_flag=True, help="JSON: leave out what the payloads say."),
    click.option("--derived", is_flag=True, help="JSON: with all that follows: nested ids, addresses, scripts."),
    click.option("--payload", is_flag=True, help="JSON: with the payload's bytes."),
    click.option("--strict", is_flag=True, help="Check everything, and exit with 3 when errors were found."),
)


anywhere = click.option("--yes-i-am-allowed", "anywhere", is_flag=True,
                        help="Also to addresses that are neither loopback nor private.")


def allowed_address(host: str, port: int, anywhere: bool) -> str:
    """The address to use of a host, of commands that provoke. Raises UsageError where that takes `anywhere`."""
    from ..chain.address import format_endpoint
    from ..net.allowed import private_address

    address = host if anywhere else private_address(host, port)
    if address is None:
        raise click.UsageError(f"{format_endpoint(host, port)} is neither loopback nor private; if its owner lets you, "
                               "add --yes-i-am-allowed")
    return address


def refuse_idle(options: dict[str, Any]) -> None:
    """Raises UsageError for options of `output` that would do nothing in the form that was chosen."""
    json = options["form"] != "text"
    flags = {"tree": "-V", "hexdump": "-x"} if json else {
        "no_fields": "--no-fields", "derived": "--derived", "payload": "--payload"}
    for name, flag in flags.items():
        if options[name]:
            other = "--payload gives the bytes" if name == "hexdump" else "JSON has every field"
            raise click.UsageError(f"{flag} is for -T text; {other}" if json else f"{flag} is for -T jsonl and json")


def selection(options: dict[str, Any]) -> Selection:
    """The filter that the options of `filters` or `live_filters` describe; takes them out of `options`."""
    from ..capture.select import Selection
    return Selection(
        msgtypes=frozenset(name for names in options.pop("msgtypes") for name in names),
        peers=frozenset(options.pop("peers")),
        connections=frozenset(options.pop("connections")),
        since=options.pop("since", None),
        until=options.pop("until", None),
        transactions=set(options.pop("transactions", ())),
        blocks=frozenset(options.pop("blocks", ())),
    )
