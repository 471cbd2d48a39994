# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding nodes: seeds, an address book, a crawler; and headers that are kept."""
