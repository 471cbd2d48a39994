# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m scapy_btc`."""

from .cli import main

main()
