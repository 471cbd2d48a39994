# SPDX-License-Identifier: GPL-2.0-or-later
"""Times and numbers as text."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache


def format_time(time_ns: int) -> str:
    """ISO 8601 in UTC with nanoseconds: `2026-11-21T01:16:02.123456789Z`.

    :param time_ns: nanoseconds since 1970-01-01 UTC
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest:09d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):  # no year of four digits
        return str(seconds)


def plural(count: int, one: str, many: str = "") -> str:
    """The word for so many: `one` for 1, else `many`, by default `one` with an s."""
    return one if count == 1 else many or f"{one}s"
