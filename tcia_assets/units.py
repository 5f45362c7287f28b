"""Quantities as people read them."""

from __future__ import annotations

_STEP = 1000
_SECONDS_A_MINUTE = 60


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one.

    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def are(count: int) -> str:
    """Return "is" for one, else "are"."""
    return "is" if count == 1 else "are"


def format_bytes(count: float | None) -> str:
    """Return a number of bytes with a decimal unit; "?" for None.

    >>> [format_bytes(n) for n in (0, 999, 27_844_690, None)]
    ['0 B', '999 B', '27.8 MB', '?']
    """
    if count is None:
        return "?"
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= _STEP and len(units) > 1:
        count /= _STEP
        units.pop(0)
    return f"{count:.0f} {units[0]}" if units[0] == "B" else f"{count:.1f} {units[0]}"


def format_duration(seconds: float) -> str:
    """Return a duration to about two digits; what takes less than a second takes one.

    >>> [format_duration(s) for s in (0.2, 59, 90, 7_000)]
    ['1 s', '59 s', '2 min', '1.9 h']
    """
    if seconds < _SECONDS_A_MINUTE:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / _SECONDS_A_MINUTE
    return f"{minutes:.0f} min" if minutes < _SECONDS_A_MINUTE else f"{minutes / 60:.1f} h"
