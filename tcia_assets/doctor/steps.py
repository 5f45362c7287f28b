"""Run steps one after another, within a time, and judge what they raise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tcia_assets.doctor.step_result import StepResult, differs, unknown
from tcia_assets.errors import (
    ArchiveBroken,
    ArchiveUnreachable,
    DataError,
    ForeignRows,
    RemoteError,
    RequestRefused,
    Stopped,
    StorageError,
    TciaError,
    UnknownReply,
    UnreadableReply,
    shorten,
)

Found = TypeVar("Found")

# After the end of the time, for a step to notice that it is over.
_GRACE_S = 1.0
_LONGEST_SEEN = 400
_NO_TIME = "not checked: no time was left"
_AGAIN = "run it again when the source is less busy"
REPORT = "report it, with the output of `tcia-assets doctor --format json`"
_NOT_ROWS = (
    "check TCIA_BASE_URL, and open it in a browser: a page of a login, of a proxy or of "
    f"maintenance would explain it; else {REPORT}"
)
_BY_STATUS = {
    401: "check TCIA_USERNAME and TCIA_PASSWORD, or TCIA_API_KEY, as TCIA_DIALECT needs them",
    403: "check the account or the key of this dialect, and whether a proxy refuses the request",
    404: "check TCIA_BASE_URL and TCIA_DIALECT: the server does not know this path",
}
# The first class that fits.
_ADVICE: tuple[tuple[type[TciaError], str], ...] = (
    (ArchiveBroken, "try again later; if it stays so, tell the source's help desk"),
    (UnreadableReply, _NOT_ROWS),
    (UnknownReply, "try again later: a server whose database fails answers so too"),
    (ForeignRows, f"such replies are refused by a refresh; {REPORT}"),
    (StorageError, "make room there, or correct the permissions"),
)


class NotChecked(TciaError):
    """What a step needs is not there; the text says what."""


@dataclass(frozen=True)
class Step:
    """A named step; `look` returns its check, or raises a TciaError."""

    name: str
    look: Callable[[], StepResult]


class Once(Generic[Found]):
    """A fact that is found out once, when it is first needed.

    Args:
        what: The fact, for those that lack it: "the list of Collections".
        find: Finds it, or raises a TciaError.
    """

    def __init__(self, what: str, find: Callable[[], Found]) -> None:
        self._what, self._find = what, find
        self._found: list[Found] = []
        self._error: TciaError | None = None

    def get(self) -> Found:
        """Return the fact, or raise what finding it out has raised."""
        if self._error is None and not self._found:
            try:
                self._found.append(self._find())
            except TciaError as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._found[0]

    def need(self) -> Found:
        """Return the fact for a step that depends on it.

        Raises:
            NotChecked: It could not be found out, which is another step's result.
        """
        try:
            return self.get()
        except Stopped:
            raise
        except NotChecked as error:
            raise error from None
        except TciaError:
            raise NotChecked(f"not checked: that needs {self._what}") from None


class Walk:
    """Runs steps in a thread, which is left behind when the time is over.

    A step may be stuck where nothing can interrupt it, such as in the system's look-up of a name.

    Args:
        steps: The steps, in order.
        deadline: A time of `time.monotonic()`.
        stop: Ends what the running step waits for.
        on_step: Called after each step.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        deadline: float,
        *,
        stop: Callable[[], object] = lambda: None,
        on_step: Callable[[], object] = lambda: None,
    ) -> None:
        self._steps, self._deadline, self._stop, self._on_step = steps, deadline, stop, on_step
        self._made: dict[str, StepResult] = {}
        self._thread = threading.Thread(target=self._run, name="tcia-doctor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for step in self._steps:
            if time.monotonic() >= self._deadline:
                return
            self._made[step.name] = look(step)
            self._on_step()

    def checks(self) -> dict[str, StepResult]:
        """Wait for the end, and return the check of each step by its name."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self._thread.is_alive():
            self._stop()
            self._thread.join(_GRACE_S)
        made = dict(self._made)
        return {
            step.name: made.get(step.name) or unknown(step.name, _NO_TIME, _AGAIN)
            for step in self._steps
        }


def look(step: Step) -> StepResult:
    """Return the check of a step, also if it raises."""
    try:
        return step.look()
    except TciaError as error:
        return judge(step.name, error)
    except Exception as error:  # noqa: BLE001 - the others still have something to tell
        problem = shorten(f"{type(error).__name__}: {error}", _LONGEST_SEEN)
        return differs(step.name, f"this program failed: {problem}", REPORT)


def judge(name: str, error: TciaError) -> StepResult:
    """Return the check that an error of a step stands for."""
    if isinstance(error, Stopped):
        return unknown(name, _NO_TIME, _AGAIN)
    seen = shorten(str(error), _LONGEST_SEEN)
    if isinstance(error, NotChecked):
        return unknown(name, seen)
    if isinstance(error, ArchiveUnreachable):
        # It may only be slow: a refresh waits longer, and tries again.
        return unknown(name, seen, _AGAIN)
    return differs(name, seen, _advice(error))


def _advice(error: TciaError) -> str:
    if isinstance(error, RequestRefused) and error.status in _BY_STATUS:
        return _BY_STATUS[error.status]
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice
    is_remote = isinstance(error, RemoteError | DataError)
    return REPORT if is_remote else "do what it says, and run this again"
