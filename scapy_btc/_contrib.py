# SPDX-License-Identifier: GPL-2.0-or-later
"""Bitcoin peer-to-peer protocol.

Scapy loads this file as `scapy.contrib.bitcoin`; it re-exports what exists once, in `scapy_btc`.
"""

# scapy.contrib.description = Bitcoin peer-to-peer protocol
# scapy.contrib.status = loads

# absolute: under the name that Scapy gives it, this file has no parent package
from scapy_btc.all import *  # noqa: F403
from scapy_btc.all import __all__  # noqa: F401
