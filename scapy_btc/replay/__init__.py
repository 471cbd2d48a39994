# SPDX-License-Identifier: GPL-2.0-or-later
"""Recorded conversations once more: to handlers as if they came from a socket, and to nodes, one side of them."""
