"""How far long work is, told to whoever shows it: the command line's bar, or nobody.

Work that runs inside a Dagster step cannot be handed an object from outside, so there is one place
in the process where a listener may stand.
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
    """Says that `done` of `total` are done; costs nothing where nobody listens."""
    for listener in _listeners:
        listener(done, total, note)


@contextmanager
def shown_by(listener: Listener) -> Iterator[None]:
    """While this lasts, `listener` is told of all progress in this process."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
