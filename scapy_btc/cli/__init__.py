# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: `scapy-btc`. One file per command; what is heavy is imported when a command runs."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import click

from .. import __version__
from ..errors import BTCError
from .completion import completion
from .decode import decode
from .messages import messages
from .read import read
from .shell import shell
from .sniff import sniff
from .stats import stats

GROUPS = {
    "Reading": (read, decode, stats, sniff),
    "Help": (messages, shell, completion),
}


class Commands(click.Group):
    """A group that lists its commands by what they are for."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # nobody reads any more; what Python would flush at exit goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.commands)
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{c.name or '':{width}}", c.get_short_help_str(limit=200)) for c in commands])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog="""
\b
Examples:
  scapy-btc read capture.pcapng
  scapy-btc read --msgtype tx,block -T jsonl capture.pcap.gz | jq .derived
  tcpdump -i any -w - port 8333 | scapy-btc read -
  scapy-btc stats ~/.bitcoin/message_capture
  scapy-btc messages inv
""")
@click.version_option(__version__, prog_name="scapy-btc")
def group() -> None:
    """Read, craft and provoke Bitcoin peer-to-peer traffic.

    Exit status: 0 fine, 1 failed, 2 usage, 3 errors were found (with --strict), 130 interrupted.
    """


for _commands in GROUPS.values():
    for _command in _commands:
        group.add_command(_command)


def main(args: list[str] | None = None) -> None:
    """Run the command line; a closed pipe and Ctrl-C are quiet."""
    status: Any = 0
    try:
        status = group.main(args, prog_name="scapy-btc", standalone_mode=False)
    except click.exceptions.Exit as stop:
        status = stop.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except BTCError as error:
        click.echo(f"scapy-btc: {error}", err=True)
        status = 1
    except (KeyboardInterrupt, click.Abort):
        status = 128 + signal.SIGINT
    sys.exit(status or 0)
