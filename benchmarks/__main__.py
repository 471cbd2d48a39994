# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m benchmarks [NAME...]`: ratios against peers, both sides measured in the same run.

Each function in `BENCHMARKS` yields `Row`s. Numbers of one machine and one moment: only the ratios mean anything.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import version

from . import crawling, encryption, layers, network, proxying, reading
from .measure import Row

BENCHMARKS = {"layers": layers.rows, "encryption": encryption.rows, "reading": reading.rows, "network": network.rows,
              "crawling": crawling.rows, "proxying": proxying.rows}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller inputs")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    print(f"{date.today()}, {versions()}\n")
    print(f"{'work':<62} {'ours':>10} {'peer':>10} {'ratio':>9} {'wanted':>9}")
    for name in chosen.names or BENCHMARKS:
        for row in BENCHMARKS[name](chosen.quick):
            rows.append(row)
            print(row.line(), flush=True)
    missed = [row for row in rows if not row.reached]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} reached")
    return 0


def versions() -> str:
    """What was measured with."""
    tshark = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    return ", ".join([f"Python {platform.python_version()}", f"Scapy {version('scapy')}",
                      f"python-bitcoinlib {version('python-bitcoinlib')}", tshark])


if __name__ == "__main__":
    sys.exit(main())
