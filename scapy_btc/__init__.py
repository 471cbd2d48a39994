# SPDX-License-Identifier: GPL-2.0-or-later
"""Bitcoin peer-to-peer protocol for Scapy."""

__version__ = "0.1.0.dev0"
