"""Process-wide reporting of progress and notes: from long work to a terminal, or to a log.

Work that runs inside a Dagster step cannot be given an object from outside the run, so listeners
register here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[int, int, str], None]
ProgressCallback = Callable[[int, int], None]
NoteListener = Callable[[str], None]

_LOG = logging.getLogger(__name__)

_listeners: list[Listener] = []
_note_listeners: list[NoteListener] = []


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


def note(text: str) -> None:
    """Report a line of text, such as why work stands still; without a listener it is logged."""
    for listener in list(_note_listeners) or [_LOG.warning]:
        listener(text)


@contextmanager
def notes_to(listener: NoteListener) -> Iterator[None]:
    """Call `listener(text)`, from any thread, for all notes while the context lasts."""
    _note_listeners.append(listener)
    try:
        yield
    finally:
        _note_listeners.remove(listener)
