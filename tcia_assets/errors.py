"""Everything that this package raises on purpose, one tree.

What belongs here: the classes, the facts that they carry, and whether trying again can help.
What does not: the decision to try again (`client`) and what Dagster makes of it (`defs/`).

    TciaError
    ├─ RemoteError              the archive's side: url, status, excerpt
    │  ├─ RequestRefused        the archive understood, and says no (4xx)
    │  │  └─ NotPublic          images that are not offered here: unknown, hidden or elsewhere
    │  ├─ ArchiveBroken         5xx, time-out, connection cut: the same request may succeed later
    │  │  └─ ArchiveUnreachable no connection at all, or no answer, after the retries
    │  ├─ UnreadableReply       not what was asked for: HTML, cut JSON, an error in place of rows
    │  ├─ TooLarge              more bytes than what was asked for can have
    │  ├─ ForeignRows           rows that do not satisfy the filter that was sent
    │  └─ UnknownReply          nothing where something was expected: neither yes nor no
    ├─ DataError                rows that break their declaration: table, column, value, key
    │  ├─ BadValue              a value that is not of its column's kind
    │  ├─ MissingColumn         a column that the dialect promises is in no row
    │  ├─ RepeatedKey           two different rows with one key
    │  └─ BadArchive            a Series' zip that is not what the archive says it is
    ├─ DatasetRefused           samples that a declaration forbids, or that cannot be made
    ├─ StorageError             the disk or a lock refuses; what was there is as it was
    │  └─ Busy                   another run holds the lock for too long
    ├─ UsageError               the caller's slip: names the value and the valid ones
    │  ├─ UnknownName           a Collection, table, dialect, setting or list that does not exist
    │  ├─ BadDeclaration        a file that declares a dataset: file, line, key
    │  ├─ LicenseConflict       Series that a declaration asks for and whose licence it refuses
    │  ├─ CohortMoved           what was locked is not what is there
    │  └─ MissingExtra          an optional dependency that is not installed
    ├─ RunFailed                runs in this process of which a part failed; what is complete stays
    └─ Stopped                  whoever asked wants no more answers: the client was told to stop
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

# Of the valid names, where none is near.
_MOST_SHOWN = 12


def escape_unprintable(text: str) -> str:
    """Return the text with control characters and other unprintable ones as Python escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class TciaError(Exception):
    """Anything that this package raises on purpose; its text is one line for a person."""

    retryable = False

    def __init__(self, text: str) -> None:
        # What others sent may stand in it, and must not break a line of a log or a terminal.
        super().__init__(escape_unprintable(text))

    def __reduce__(self) -> tuple[Any, ...]:
        # Each class is made from facts of its own, not from its text; processes hand errors on.
        return _again, (type(self), self.args, vars(self))


def _again(kind: type[TciaError], args: tuple[Any, ...], facts: dict[str, Any]) -> TciaError:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(facts)
    return error


class RemoteError(TciaError):
    """The archive's side of a failure. Carries `url`, `status` and `excerpt`, never a secret."""

    def __init__(
        self, problem: str, *, url: str = "", status: int | None = None, excerpt: str = ""
    ) -> None:
        self.problem, self.url, self.status, self.excerpt = problem, url, status, excerpt
        parts = [problem]
        if status is not None:
            parts.append(f"status {status}")
        if url:
            parts.append(url)
        if excerpt:
            parts.append(f"it said {excerpt!r}")
        super().__init__("; ".join(parts))


class RequestRefused(RemoteError):
    """The archive understood the request and refuses it (4xx); asking again changes nothing."""


class NotPublic(RequestRefused):
    """The images of this Series are not offered here; says nothing about whether they exist."""


class ArchiveBroken(RemoteError):
    """The archive failed (5xx, a time-out, a cut connection); asking again may help.

    `retry_after_s` is how long the archive itself asks to wait, if it says so.
    """

    retryable = True
    retry_after_s: float | None = None


class ArchiveUnreachable(ArchiveBroken):
    """No connection or no answer, after all retries."""


class UnreadableReply(RemoteError):
    """A reply that cannot be read as what was asked for."""

    retryable = True


class TooLarge(RemoteError):
    """A body that has more bytes than what was asked for can have; it was not read to its end."""


class ForeignRows(RemoteError):
    """Rows that do not satisfy the filter that was sent: the server ignored it."""


class UnknownReply(RemoteError):
    """Zero bytes or no row where some were expected.

    It may mean that there are none, a failure of the archive's database, or an expired token.
    """

    retryable = True


class DataError(TciaError):
    """Rows that break their declaration. Carries `problem`, `table`, `column`, `value`, `key`."""

    def __init__(
        self,
        problem: str,
        *,
        table: str,
        column: str = "",
        value: object = None,
        key: object = None,
    ) -> None:
        self.problem = problem
        self.table, self.column, self.value, self.key = table, column, value, key
        place = f"{table}.{column}" if column else table
        row = f" (row {key})" if key is not None else ""
        super().__init__(f"{place}: {problem}{row}")


class BadValue(DataError):
    """A value that is not of its column's kind, or null where a value is required."""


class MissingColumn(DataError):
    """No row has a column that the dialect promises and the table requires."""


class RepeatedKey(DataError):
    """Two different rows with the same key."""


class BadArchive(DataError):
    """A Series' zip that is not what the archive's own metadata says."""

    retryable = True


class DatasetRefused(TciaError):
    """A dataset that is not built; its earlier versions stay. Carries `reasons`, a line each."""

    def __init__(self, name: str, problem: str, reasons: Iterable[str], advice: str) -> None:
        self.name, self.problem, self.reasons = name, problem, tuple(reasons)
        left = len(self.reasons) - _MOST_SHOWN
        more = f" and {left} more" if left > 0 else ""
        shown = "; ".join(self.reasons[:_MOST_SHOWN])
        super().__init__(f"the dataset {name!r} is not built: {problem}: {shown}{more}; {advice}")


class StorageError(TciaError):
    """The disk refuses, or the views cannot be made; what was there is as it was."""


class Busy(StorageError):
    """Another run has held a lock for too long; trying again later may help."""

    retryable = True


class UsageError(TciaError):
    """The caller's mistake; the text says what would be right."""


class UnknownName(UsageError):
    """A name that does not exist; lists the nearest that do."""

    def __init__(self, what: str, name: str, valid: Iterable[str]) -> None:
        self.what, self.name, self.valid = what, name, tuple(valid)
        super().__init__(f"no {what} is called {name!r}; {self._advice()}")

    def _advice(self) -> str:
        folded = {v.casefold(): v for v in self.valid}
        near = difflib.get_close_matches(self.name.casefold(), folded, n=5, cutoff=0.5)
        if near:
            return f"did you mean {', '.join(repr(folded[n]) for n in near)}?"
        shown = ", ".join(repr(v) for v in sorted(self.valid)[:_MOST_SHOWN])
        left = len(self.valid) - _MOST_SHOWN
        more = f" and {left} more" if left > 0 else ""
        return f"valid: {shown}{more}" if shown else "none is known yet"


class BadDeclaration(UsageError):
    """A declaration that cannot be kept. Carries `file`, `line` (from 1), `key` and `problem`."""

    def __init__(self, file: str, line: int, key: str, problem: str) -> None:
        self.file, self.line, self.key, self.problem = file, line, key, problem
        super().__init__(f"{file}, line {line}{f', {key}' if key else ''}: {problem}")


class LicenseConflict(UsageError):
    """Series that are asked for and whose licence is refused. Carries `series`: UID to licence."""

    def __init__(self, what: str, series: dict[str, str]) -> None:
        self.series = series
        shown = [f"{uid} ({name})" for uid, name in sorted(series.items())[:_MOST_SHOWN]]
        left = len(series) - len(shown)
        more = f" and {left} more" if left > 0 else ""
        super().__init__(
            f"{what} asks for {len(series)} Series whose licence it refuses: "
            f"{', '.join(shown)}{more}; leave them out of the cohort, or change its licenses"
        )


class CohortMoved(UsageError):
    """A lock file and what it locks do not agree any more."""


class MissingExtra(UsageError):
    """An optional dependency that is not installed."""

    def __init__(self, module: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {module!r}, which is not installed: "
            f"pip install 'tcia_assets[{extra}]'"
        )


class RunFailed(TciaError):
    """Runs in this process of which a part failed; what was complete is kept and recorded.

    Carries `failures`, a line each.
    """

    def __init__(self, failures: Iterable[str]) -> None:
        self.failures = tuple(failures)
        left = len(self.failures) - _MOST_SHOWN
        more = f"; and {left} more" if left > 0 else ""
        super().__init__("; ".join(self.failures[:_MOST_SHOWN]) + more)


class Stopped(TciaError):
    """The client was told to stop: this ends what was under way, and says nothing about it."""

    def __init__(self) -> None:
        super().__init__("ended early, because the client was told to stop")
