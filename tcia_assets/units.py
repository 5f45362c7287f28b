"""Quantities as people read them."""

from __future__ import annotations

_STEP = 1000


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
