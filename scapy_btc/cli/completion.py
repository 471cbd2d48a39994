# SPDX-License-Identifier: GPL-2.0-or-later
"""`scapy-btc completion`: the script that teaches a shell to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(epilog="""
\b
Examples:
  scapy-btc completion bash > ~/.local/share/bash-completion/completions/scapy-btc
  scapy-btc completion zsh > ~/.zfunc/_scapy-btc
  scapy-btc completion fish > ~/.config/fish/completions/scapy-btc.fish
""")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    complete = get_completion_class(shell)
    root = ctx.find_root()
    if complete is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(complete(root.command, {}, "scapy-btc", "_SCAPY_BTC_COMPLETE").source())
