# SPDX-License-Identifier: GPL-2.0-or-later
"""`make demo` shows what the README says, and ends well."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def test_the_demo() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "demo"], cwd=Path(__file__).parent.parent, env=environment, capture_output=True,
                          text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in ("version 70016 /Satoshi:28.1.0/", "handshake: 126 bytes, v2", "transport     v2", "3 pongs, ",
                  "1 address\n", "5 headers, checked; height 120", "###[ BTC block ]###"):
        assert shown in done.stdout + done.stderr, shown
