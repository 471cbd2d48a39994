# SPDX-License-Identifier: GPL-2.0-or-later
"""`async with timeout(seconds)`: raises asyncio.TimeoutError. Before Python 3.12 `asyncio.wait_for` may swallow a
cancellation, so that a program does not end; this does not, but with Python 3.10 for one that comes at the very moment
at which the time is over.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout as timeout
else:
    from async_timeout import timeout as timeout
