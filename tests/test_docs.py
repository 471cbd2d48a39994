# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documentation shows is what happens: its commands are run, its Python too, its links lead somewhere."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from scapy_btc.cli import group

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pcaps/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
QUOTED = re.compile(r"^From `([^`]+)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    return [body for language, body in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the root of the repository; what a page writes stays there."""
    for name in ("pcaps", "docs", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def transcript(block: str) -> Iterator[tuple[str, str]]:
    """Command and what it prints, for each `$ ` of a console block."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = command[:-1] + more
        yield command, output


@pages
def test_commands_print_what_the_page_says(page: Path, checkout: Path) -> None:
    checker = doctest.OutputChecker()
    for block in blocks(page, "console"):
        for command, expected in transcript(block):
            assert command.split()[0] in ("scapy-btc", "python"), command
            done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=60)
            assert done.returncode == 0, f"{command}\n{done.stdout}"
            got = re.sub(r"[ \t]+$", "", done.stdout, flags=re.MULTILINE)
            if not checker.check_output(expected, got, doctest.ELLIPSIS):
                pytest.fail(f"{command}\nexpected:\n{expected}\ngot:\n{got}")


@pages
def test_python_prints_what_the_page_says(page: Path, checkout: Path) -> None:
    source = "\n".join(block for block in blocks(page, "python") if block.startswith(">>>"))
    examples = checkout / "examples.txt"
    examples.write_text(source, encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "doctest", "-o", "ELLIPSIS", "-o", "NORMALIZE_WHITESPACE",
                           str(examples)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pages
def test_quoted_code_is_in_the_file(page: Path) -> None:
    for name, code in QUOTED.findall(page.read_text(encoding="utf-8")):
        assert code in (ROOT / name).read_text(encoding="utf-8"), name


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def commands_in(page: Path) -> Iterator[list[str]]:
    """The words of every call of `scapy-btc` in the fenced blocks of a page."""
    lines = [command for block in blocks(page, "console") for command, _ in transcript(block)]
    lines += [line for block in blocks(page, "sh") for line in re.sub(r"\\\n", "", block).splitlines()]
    for line in lines:
        words = list(shlex.shlex(line, posix=True, punctuation_chars="|;&<>()"))
        while "scapy-btc" in words:
            words = words[words.index("scapy-btc") + 1:]
            end = next((i for i, word in enumerate(words) if set(word) <= set("|;&<>()")), len(words))
            yield words[:end]


@pages
def test_commands_and_options_exist(page: Path) -> None:
    for words in commands_in(page):
        if not words or words[0].startswith("-"):
            continue
        command = group.commands[words[0]]
        known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        with click.Context(command) as context:
            known |= set(command.get_help_option_names(context))
        used = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[A-Za-z]", word)}
        assert used <= known, f"scapy-btc {' '.join(words)}: {used - known}"


def test_generated_parts_are_current() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
