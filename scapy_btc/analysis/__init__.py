# SPDX-License-Identifier: GPL-2.0-or-later
"""What a capture says as a whole."""
