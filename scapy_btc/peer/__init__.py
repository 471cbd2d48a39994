# SPDX-License-Identifier: GPL-2.0-or-later
"""How one peer behaves, without input or output."""
