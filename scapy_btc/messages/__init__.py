# SPDX-License-Identifier: GPL-2.0-or-later
"""What the protocol says: every message, declared once. Importing this package registers all of them."""

from __future__ import annotations

from . import (
    addresses,
    blocks,
    bloom,
    closed,
    early,
    filters,
    handshake,
    inventory,
    keepalive,
    parts,
    proposed,
    retired,
    state,
    transactions,
    utreexo,
)

TOPICS = (
    parts,
    handshake,
    addresses,
    inventory,
    transactions,
    keepalive,
    blocks,
    bloom,
    filters,
    retired,
    early,
    proposed,
    state,
    utreexo,
    closed,
)
"""The modules that declare them, those of today's nodes first."""
