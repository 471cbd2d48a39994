# SPDX-License-Identifier: GPL-2.0-or-later
"""The built wheel in an environment of its own: what is in it, and that Scapy takes it for an extension."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent

SAME_CLASSES = """
from scapy.config import conf
{first}
conf.exts.load("scapy-btc")
from scapy.main import load_contrib
names = {{}}
load_contrib("bitcoin", globals_dict=names)
import scapy_btc, scapy_btc.all as everything
from scapy.packet import Packet
assert set(names) == set(everything.__all__), set(names) ^ set(everything.__all__)
assert all(names[name] is getattr(everything, name) for name in names)
packets = [cls for cls in names.values() if isinstance(cls, type) and issubclass(cls, Packet)]
assert len(packets) > 100, len(packets)
registered = [cls.__name__ for cls in conf.layers]
assert not [cls.__name__ for cls in packets if registered.count(cls.__name__) != 1]
assert scapy_btc.BTCVersion is names["BTCVersion"]
assert bytes(names["BTC"]() / names["BTCVerack"]()).hex().startswith("f9beb4d976657261636b")
print(scapy_btc.__file__)
"""

EXPLORE = """
from scapy.config import conf
conf.exts.load("scapy-btc")
conf.layers.layers()
from scapy.packet import explore, ls
explore("bitcoin")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "scapy_btc", source / "scapy_btc", ignore=shutil.ignore_patterns("__pycache__"))
    made = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index",
        "--wheel-dir", made, source)
    return next(made.glob("*.whl"))


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; what it depends on is found where this interpreter has it."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    run(sys.executable, "-m", "pip", "-q", "--python", folder / "bin" / "python",
        "install", "--no-deps", "--no-index", wheel)
    # a line in a .pth file adds the folder, but not what its own .pth files add: our editable self stays out
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def run_python(fresh: Path, code: str) -> str:
    return run(fresh / "bin" / "python", "-c", code, cwd=fresh)


def test_what_is_in_the_wheel(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        info = next(name for name in names if name.endswith(".dist-info/METADATA")).rpartition("/")[0]
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
        assert archive.read(f"{info}/top_level.txt").split() == [b"scapy_btc"]
    assert metadata["License-Expression"] == "GPL-2.0-or-later"
    assert {name.split("/")[0] for name in names} == {"scapy_btc", info}
    assert f"{info}/licenses/LICENSE" in names
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "scapy_btc").rglob("*.py")}
    assert {name for name in names if name.startswith("scapy_btc/")} == expected | {"scapy_btc/py.typed"}


@pytest.mark.parametrize("first", ["", "import scapy_btc.all", "import scapy_btc; scapy_btc.BTCPing"])
def test_scapy_gets_the_very_same_classes(fresh: Path, first: str) -> None:
    output = run_python(fresh, SAME_CLASSES.format(first=first))
    assert output.splitlines()[-1].startswith(str(fresh))


def test_explore_finds_the_layers(fresh: Path) -> None:
    output = run_python(fresh, EXPLORE)
    assert "Packets contained in scapy.contrib.bitcoin" in output
    for name in ("BTC ", "BTCVersion", "BTCInvVector", "BTCMalformed"):
        assert name in output


def test_the_command_is_installed(fresh: Path, wheel: Path) -> None:
    version = wheel.name.split("-")[1]
    assert run(fresh / "bin" / "scapy-btc", "--version", cwd=fresh).strip().endswith(version)
    assert run(fresh / "bin" / "python", "-m", "scapy_btc", "--version", cwd=fresh).strip().endswith(version)
