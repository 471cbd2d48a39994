# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: `scapy-btc`. One file per command; what is heavy is imported when a command runs."""

from __future__ import annotations

import codecs
import gc
import os
import sys
import threading
from io import TextIOWrapper
from typing import Any

import click

from .. import __version__
from ..errors import BTCError
from .completion import completion
from .crawl import crawl
from .decode import decode
from .ending import heed_signals, status_after
from .getaddr import getaddr
from .getdata import getdata
from .handshake import handshake
from .headers import headers
from .mempool import mempool
from .messages import messages
from .peers import peers
from .ping import ping
from .proxy import proxy
from .read import read
from .replay import replay
from .serve import serve
from .shell import shell
from .sniff import sniff
from .stats import stats

GROUPS = {
    "Reading": (read, decode, stats, sniff),
    "Talking": (handshake, ping, getaddr, getdata, headers, mempool, peers, crawl, serve, proxy, replay),
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
            drop_output()  # nobody reads any more
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

    Exit status: 0 fine, 1 failed, 2 usage, 3 errors were found (with --strict), 130 interrupted by Ctrl-C,
    129 the terminal went away, 143 terminated. Ctrl-C is the normal end of serve, proxy, sniff and mempool: 0.
    """


for _commands in GROUPS.values():
    for _command in _commands:
        group.add_command(_command)


def drop_output() -> None:
    """Let what Python would flush at exit go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escaped(error: UnicodeError) -> tuple[str, int]:
    """Characters that the terminal's encoding does not have, in a form that is right inside JSON, too."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[p : p + 2].hex()}" for p in range(0, len(units), 2)), error.end


def main(args: list[str] | None = None) -> None:
    """Run the command line; a closed pipe and Ctrl-C are quiet."""
    status: Any = 0
    gc.set_threshold(50_000, 20, 20)  # records are many small objects without cycles: a tenth of the time of -T jsonl
    codecs.register_error("scapy-btc", escaped)
    if threading.current_thread() is threading.main_thread():
        heed_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="scapy-btc")
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
    except OSError as error:  # of sources these are CaptureErrors
        drop_output()
        click.echo(f"scapy-btc: writing failed: {error.strerror or error}", err=True)
        status = 1
    except (KeyboardInterrupt, click.Abort) as stop:
        status = status_after(stop.__cause__ or stop)  # click makes an Abort of it
    sys.exit(status or 0)
