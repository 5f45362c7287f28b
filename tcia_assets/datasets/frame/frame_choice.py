"""Which frames of an object with several are used: `frames.choose` of a declaration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FIRST, MIDDLE, LAST, ALL = "first", "middle", "last", "all"
PICKS: Mapping[str, str] = {
    FIRST: "the first one",
    MIDDLE: "the one in the middle; of two the later one",
    LAST: "the last one",
    ALL: "each is a sample",
}
"""Ways to pick one frame, or all, of an object."""


def chosen_frames(count: int, pick: str) -> Sequence[int]:
    """Return the numbers of the chosen frames of an object, from 0.

    >>> [list(chosen_frames(4, pick)) for pick in ("first", "middle", "last", "all")]
    [[0], [2], [3], [0, 1, 2, 3]]
    """
    if pick == ALL:
        return range(count)
    return ({FIRST: 0, MIDDLE: count // 2, LAST: count - 1}[pick],)
