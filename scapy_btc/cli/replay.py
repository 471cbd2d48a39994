# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc replay`: a recording once more."""

from __future__ import annotations

from typing import Any

import click

from . import options


@click.command(short_help="Play a recording again: on the screen, or to a node.", epilog="""
\b
Examples:
  scapy-btc replay --speed 10 capture.pcapng             # on the screen, ten times faster than it was
  scapy-btc replay --step capture.pcapng                 # a key for each message
  scapy-btc replay capture.pcapng --to 127.0.0.1:18444   # the client's part, to a node
  scapy-btc replay capture.pcapng --listen 18444         # the node's part, to whoever connects
  scapy-btc replay --connection 3 --strict -T jsonl capture.pcapng --to 127.0.0.1 | jq -c 'select(.expected | not)'
""")
@click.argument("file", metavar="FILE", type=click.Path(exists=False, allow_dash=True))
@click.option("--to", "node", metavar="HOST[:PORT]", help="Connect to a node, and play the client's part.")
@click.option("--listen", metavar="[HOST:]PORT", help="Listen, and play the other part to the first who connects.")
@click.option("--connection", type=int, metavar="N",
              help="Only this connection; to a node, the first with a handshake is the default.")
@options.network
@options.keylog
@click.option("--transport", type=options.TRANSPORTS, default="auto", show_default=True,
              help="How to speak with a node; auto: with --to as recorded, or v1 where v2 is not answered, with "
                   "--listen as the other end likes.")
@click.option("--new-keylog", type=click.Path(dir_okay=False), metavar="FILE",
              help="Add the key of the new connection to this file, if it is v2.")
@click.option("--speed", metavar="X", default=None,
              help="X times faster than recorded; max: without pauses. Default: 1 on the screen, max to a node.")
@click.option("--step", is_flag=True, help="Wait for a key before each message; q ends.")
@click.option("--timeout", type=options.POSITIVE, default=10.0, show_default=True,
              metavar="SECONDS", help="How long to wait for each message that the recording has.")
@click.option("--verbatim", is_flag=True, help="Send exactly what was recorded: no nonce, time or address anew, no "
                                               "pong but the recorded ones.")
@options.anywhere
@click.option("-T", "form", type=click.Choice(["text", "jsonl"]), default="text", show_default=True,
              help="How to print messages; to a node, differences.")
@click.option("-x", "hexdump", is_flag=True,
              help="Print the bytes, too; to a node, all that is said, on standard error.")
@click.option("-w", "write", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write what is played as a capture; to a node, what is said.")
@click.option("--strict", is_flag=True, help="Exit with 3 when something was wrong; to a node, not as recorded.")
@click.pass_context
def replay(context: click.Context, /, file: str, node: str | None, listen: str | None, **chosen: Any) -> None:
    """Play a recording again. On the screen it is what `read` prints, at the pace of the recording.

    To a node, one side of a connection says what it said, once it has heard what it had heard before; nonces, times and
    addresses are those of the new connection. The answers are compared with the recorded ones: of what differs, it is
    said why it had to (a nonce, a time), or that it had not.
    """
    from .replaying import play_live, play_on_screen, speed_of

    if node and listen:
        raise click.UsageError("--to and --listen are two parts of one conversation: choose one")
    for name in ("timeout", "verbatim", "anywhere", "transport", "new_keylog"):
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and not (node or listen):
            flag = "yes-i-am-allowed" if name == "anywhere" else name.replace("_", "-")
            raise click.UsageError(f"--{flag} does nothing without --to or --listen")
    chosen["speed"] = speed_of(chosen["speed"], live=bool(node or listen))
    if chosen["step"] and context.get_parameter_source("speed") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--step waits for a key, --speed for a time: choose one")
    raise SystemExit(play_live(file, node, listen, **chosen) if node or listen else play_on_screen(file, **chosen))
