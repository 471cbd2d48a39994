# SPDX-License-Identifier: GPL-2.0-or-later
"""The rooms of the house: who may import whom, and what every file must have."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "scapy_btc"
FILES = sorted(PACKAGE.rglob("*.py"))
OTHERS = sorted(path for folder in ("benchmarks", "docs", "pcaps", "tests") for path in (ROOT / folder).rglob("*.py")
                if "node_modules" not in path.parts)

RANKS = [
    {"errors", "protocol", "networks", "text"},
    {"wire"},
    {"bip324", "chain"},
    {"layers"},
    {"messages"},
    {"capture", "peer"},
    {"net"},
    {"discovery", "replay", "fuzz", "analysis"},
    {"all"},
    {"cli"},
    {"__init__", "__main__", "_contrib"},
]
ONE_ROOM = {"errors", "protocol", "networks", "text"}  # four files that make up the ground floor
WITH_SCAPY = {"capture.records", "capture.schema", "capture.select", "capture.session"}
"""What of the bytes rooms speaks of packets."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def room(module: str) -> str:
    """`scapy_btc.wire.framing` -> `wire`; the package itself is `__init__`."""
    return [*module.split("."), "__init__"][1]


def rank(name: str) -> int:
    return next(number for number, rooms in enumerate(RANKS) if name in rooms)


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything that a file imports, in functions too; not what only type checkers see."""
    module = module_of(path)
    parent = module.rpartition(".")[0]
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo += node.orelse
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), parent) if node.level else node.module or ""
            yield from ((base, alias.name) for alias in node.names)
        else:
            todo += ast.iter_child_nodes(node)


def inner_imports(path: Path) -> Iterator[str]:
    """The rooms of this package that a file imports."""
    for module, name in imports(path):
        if module == "scapy_btc" and name != "__version__":
            is_room = (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()
            yield name if is_room else "__init__"
        elif module.startswith("scapy_btc."):
            yield room(module)


def test_every_room_has_a_rank() -> None:
    known = set().union(*RANKS)
    assert {room(module_of(path)) for path in FILES} <= known


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_lower_rooms_do_not_import_higher_ones(path: Path) -> None:
    own = room(module_of(path))
    for other in inner_imports(path):
        allowed = other == own or {other, own} <= ONE_ROOM or rank(other) < rank(own)
        assert allowed, f"{own} imports {other}"


@pytest.mark.parametrize("path", FILES + OTHERS, ids=module_of)
def test_nobody_imports_everything_of_scapy(path: Path) -> None:
    assert not [module for module, name in imports(path) if "scapy.all" in (module, f"{module}.{name}")]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_inside_the_package_are_relative(path: Path) -> None:
    if path.name == "_contrib.py":  # Scapy executes it under another name
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    absolute = [node.lineno for node in ast.walk(tree)
                if (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("scapy_btc"))
                or (isinstance(node, ast.Import) and any(a.name.startswith("scapy_btc") for a in node.names))]
    assert not absolute


def loaded_after(statement: str) -> set[str]:
    """The modules that a new interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True, timeout=60)
    return set(output.splitlines()[-1].split())


def test_bytes_rooms_do_not_load_scapy() -> None:
    rooms = ONE_ROOM | {"wire", "bip324", "chain", "capture"}
    modules = [module_of(path).removesuffix(".__init__") for path in FILES if room(module_of(path)) in rooms]
    modules = [module for module in modules if module.removeprefix("scapy_btc.") not in WITH_SCAPY]
    assert len(modules) > 20
    assert "scapy" not in loaded_after("\n".join(f"import {module}" for module in modules))


@pytest.mark.parametrize("statement", ["import scapy_btc", "import scapy_btc.cli"])
def test_what_must_be_light_loads_no_scapy(statement: str) -> None:
    heavy = {"scapy", "rich", "orjson", "cryptography", "coincurve", "btclib", "scapy_btc.layers", "scapy_btc.all"}
    assert not heavy & loaded_after(statement)


def test_help_loads_no_scapy() -> None:
    loaded = loaded_after("import scapy_btc.cli\ntry: scapy_btc.cli.main(['read', '--help'])\nexcept SystemExit: pass")
    assert "scapy_btc.cli.read" in loaded
    assert "scapy" not in loaded


def test_star_names_do_not_load_everything_of_scapy() -> None:
    assert "scapy.all" not in loaded_after("from scapy_btc.all import *")


@pytest.mark.parametrize("path", FILES + OTHERS, ids=module_of)
def test_licence_is_named_on_the_first_line(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert "# SPDX-License-Identifier: GPL-2.0-or-later" in lines[:1 + lines[0].startswith("#!")]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_can_be_read_in_one_go(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_tests_mirror_the_package() -> None:
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")
               if "node_modules" not in path.parts}
    of_their_own = {Path("."), Path("peers")}
    assert not [folder for folder in folders - of_their_own if not (PACKAGE / folder).is_dir()]


def test_names_of_test_files_are_unique() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py") if "node_modules" not in path.parts]
    assert sorted(names) == sorted(set(names))


def names_of(requirements: list[str]) -> set[str]:
    found = {normal(re.match(r"[\w.-]+", requirement).group()) for requirement in requirements}  # type: ignore[union-attr]
    return found - {"scapy-btc"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_distributions(paths: list[Path]) -> set[str]:
    """The packages of the index that files import, by their names there (not installed ones by their own)."""
    local = {path.stem for path in paths} | {"scapy_btc", "benchmarks"} | set(sys.stdlib_module_names)
    local |= {"tomllib"} if sys.version_info < (3, 11) else {"tomli"}  # one stands in for the other
    tops = {module.split(".")[0] for path in paths for module, _ in imports(path)} - local
    owners: dict[str, set[str]] = {}
    for distribution in distributions():
        for file in distribution.files or ():
            owners.setdefault(file.parts[0].split(".")[0], set()).add(normal(distribution.name))
    return {name for top in tops for name in owners.get(top, {normal(top)})}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def test_what_is_imported_is_declared(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    declared = names_of(project["dependencies"])
    optional = names_of(extras["zstd"] + extras["analysis"])
    used = imported_distributions(FILES)
    assert used - optional == declared
    assert optional <= used
    for_tests = names_of([requirement for extra in extras.values() for requirement in extra])
    assert imported_distributions(FILES + OTHERS) <= declared | for_tests
