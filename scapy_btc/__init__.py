# SPDX-License-Identifier: GPL-2.0-or-later
"""Bitcoin peer-to-peer protocol for Scapy.

Importing this package loads neither Scapy nor a layer; the names below load what they need when they are used.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .capture.message import Message as Message
    from .capture.reader import read as read
    from .net.client import connect as connect

__version__ = "0.1.0.dev0"

_HOMES = {"Message": ".capture.message", "read": ".capture.reader", "connect": ".net.client"}


def scapy_ext(ext: Any) -> None:
    """Tell Scapy what this extension holds; `conf.exts.load("scapy-btc")` calls it (`scapy.config.ScapyExt`)."""
    ext.config("Bitcoin", __version__)
    # Scapy executes the file again under its own name, so it only re-exports: the classes must exist once
    ext.register("bitcoin", ext.MODE.CONTRIB, Path(__file__).parent / "_contrib.py", default=False)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name) or (".all" if name.startswith("BTC") else None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)


def __dir__() -> list[str]:
    everything = import_module(".all", __name__).__all__
    return sorted({*globals(), *_HOMES, *(name for name in everything if name.startswith("BTC"))})
