"""Process-wide progress reporting: from long work to a progress bar, if there is one.

Work that runs inside a Dagster step cannot be given an object from outside the run, so listeners
register here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[int, int, str], None]
ProgressCallback = Callable[[int, int], None]

_listeners: list[Listener] = []


def ignore_progress(_done: int, _total: int) -> None:
    """Do nothing: the `ProgressCallback` of callers that do not report progress."""


def report(done: int, total: int, note: str = "") -> None:
    """Report that `done` of `total` units are done; cheap without a listener."""
    for listener in _listeners:
        listener(done, total, note)


@contextmanager
def shown_by(listener: Listener) -> Iterator[None]:
    """Call `listener(done, total, note)` for all progress while the context lasts."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
