"""The errors that this package raises on purpose, in one tree.

Which errors are retried is in `sources/pacing.py`; how Dagster shows them, in `defs/events.py`.

    TciaError
    ├─ RemoteError              a failure on the server's side: url, status, excerpt
    │  ├─ RequestRefused        the server refuses the request (4xx)
    │  │  └─ NotPublic          images that it does not offer: unknown, hidden or elsewhere
    │  ├─ ArchiveBroken         5xx, timeout, cut connection: a retry may succeed
    │  │  └─ ArchiveUnreachable no connection, or no response, after all retries
    │  ├─ UnreadableReply       not what was requested: HTML, cut JSON, an error instead of rows
    │  ├─ TooLarge              more bytes than possible for what was requested
    │  ├─ SourceGone            no answer for TCIA_SOURCE_GONE_DAYS; says how to go on
    │  ├─ ForeignRows           rows that do not satisfy the filter that was sent
    │  └─ UnknownReply          an empty reply where something was expected
    ├─ DataError                rows that break their declaration: table, column, value, key
    │  ├─ BadValue              a value that is not of its column's kind
    │  ├─ MissingColumn         a column that the dialect promises is in no row
    │  ├─ RepeatedKey           two different rows with one key
    │  └─ BadArchive            a Series' zip that contradicts the source's metadata
    ├─ DatasetRefused           samples that a declaration forbids, or that cannot be made
    ├─ StorageError             the disk or a lock fails; what was stored is unchanged
    │  └─ Busy                  another run holds the lock for too long
    ├─ UsageError               a mistake of the caller: names the value and the valid ones
    │  ├─ UnknownName           a Collection, table, dialect, setting or list that does not exist
    │  ├─ BadDeclaration        a file that declares a dataset: file, line, key
    │  ├─ LicenseConflict       Series that a declaration selects and whose licence it refuses
    │  ├─ CohortMoved           a lock file that does not match what is stored
    │  └─ MissingExtra          an optional dependency that is not installed
    ├─ RunFailed                runs of which a part failed; what is complete is kept
    └─ Stopped                  the source was stopped while this was running
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

# Names or reasons in a message.
_MOST_SHOWN = 12
# Characters of a message. What the network sent is cut to less than that where it enters a message;
# this is for what was forgotten, since Dagster records each message several times.
_LONGEST_MESSAGE = 10_000


def escape_unprintable(text: str) -> str:
    """Return the text with control characters and other unprintable ones as Python escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shorten(text: str, most: int = 200) -> str:
    """Return a text of at most about `most` characters; a longer one lacks its middle.

    >>> shorten("a" * 500 + "b", 20)
    'aaaaaaaaaaaaaa[... 481 characters ...]aaaaab'
    """
    if len(text) <= most:
        return text
    end = most * 3 // 10
    start = most - end
    return f"{text[:start]}[... {len(text) - most} characters ...]{text[-end:]}"


def _join_first(
    texts: Sequence[str], separator: str, before_rest: str = " and", most: int = _MOST_SHOWN
) -> str:
    """Join the first texts, followed by the number of the others."""
    left = len(texts) - most
    rest = f"{before_rest} {left} more" if left > 0 else ""
    return separator.join(texts[:most]) + rest


def quote_first(names: Iterable[str], most: int = _MOST_SHOWN) -> str:
    """Quote the first names for a message, each cut to a short text."""
    return _join_first([repr(shorten(name)) for name in names], ", ", most=most)


class TciaError(Exception):
    """Base of all errors of this package; the text is one line.

    `retryable` is whether the same request or work may succeed later.
    """

    retryable = False

    def __init__(self, text: str) -> None:
        # It may contain what a server sent, which must not break a line of a log or a terminal.
        super().__init__(escape_unprintable(shorten(text, _LONGEST_MESSAGE)))

    def rewritten(self, rewrite: Callable[[str], str]) -> TciaError:
        """Return this error with each of its texts rewritten; itself if nothing changes."""
        args = tuple(_rewritten(value, rewrite) for value in self.args)
        facts = {name: _rewritten(value, rewrite) for name, value in vars(self).items()}
        if (args, facts) == (self.args, vars(self)):
            return self
        return _restore(type(self), args, facts)

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors are sent between processes, and each class has a constructor of its own.
        return _restore, (type(self), self.args, vars(self))


def _shortened(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(_shortened(each) for each in value)
    return shorten(value) if isinstance(value, str) else value


def _rewritten(value: Any, rewrite: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, tuple):
        return tuple(_rewritten(each, rewrite) for each in value)
    return value


def _restore(kind: type[TciaError], args: tuple[Any, ...], facts: dict[str, Any]) -> TciaError:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(facts)
    return error


class RemoteError(TciaError):
    """A failure on the server's side.

    Attributes:
        problem: The text without the facts below.
        url: Without the query; never a secret.
        status: HTTP status; None if there was no response.
        excerpt: The beginning of the body, on one line.
    """

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
            parts.append(f"reply: {excerpt!r}")
        super().__init__("; ".join(parts))


class RequestRefused(RemoteError):
    """The server refuses the request (4xx); a retry would not help."""


class NotPublic(RequestRefused):
    """The server does not offer the images of this Series, whether or not they exist."""


class ArchiveBroken(RemoteError):
    """The server failed (5xx, a timeout, a cut connection); a retry may succeed.

    `retry_after_s` is the wait that the server requested, or None.
    """

    retryable = True
    retry_after_s: float | None = None


class ArchiveUnreachable(ArchiveBroken):
    """No connection, or no response, after all retries."""


class UnreadableReply(RemoteError):
    """A reply that cannot be parsed as what was requested."""

    retryable = True


class TooLarge(RemoteError):
    """A body that is longer than what was requested can be; it was not read to its end."""


class SourceGone(RemoteError):
    """The source has not answered for so long that it counts as gone; nothing was changed."""


class ForeignRows(RemoteError):
    """Rows that do not satisfy the filter that was sent: the server ignored it."""


class UnknownReply(RemoteError):
    """An empty reply where something was expected.

    There may be nothing, the server's database may have failed, or a token may have expired.
    """

    retryable = True


class DataError(TciaError):
    """Rows that break their declaration.

    Attributes:
        problem: The text without the facts below.
        table: Name of the table, or of the endpoint that sent the rows.
        column: Name of the column; "" if the problem is not about one.
        value: The wrong value.
        key: The key of the row, if the problem is about one.
    """

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
        # It may come from the network, so it may have any length.
        row = f" (row {_shortened(key)})" if key is not None else ""
        super().__init__(f"{place}: {problem}{row}")


class BadValue(DataError):
    """A value that is not of its column's kind, or null in a required column."""


class MissingColumn(DataError):
    """No row has a column that the dialect promises and the table requires."""


class RepeatedKey(DataError):
    """Two different rows with the same key."""


class BadArchive(DataError):
    """A Series' zip that contradicts the source's own metadata."""

    retryable = True


class DatasetRefused(TciaError):
    """A dataset that is not built; its earlier versions stay. `reasons` has one line for each."""

    def __init__(self, name: str, problem: str, reasons: Iterable[str], advice: str) -> None:
        self.name, self.problem, self.reasons = name, problem, tuple(reasons)
        shown = _join_first(self.reasons, "; ")
        super().__init__(f"the dataset {name!r} is not built: {problem}: {shown}; {advice}")


class StorageError(TciaError):
    """The disk fails, or the views cannot be made; what was stored is unchanged."""


class Busy(StorageError):
    """Another run has held a lock for too long; a later attempt may succeed."""

    retryable = True


class UsageError(TciaError):
    """A mistake of the caller; the text names the valid values."""


class UnknownName(UsageError):
    """A name that does not exist; the text has the nearest ones that do.

    Args:
        what: The kind of thing, as "Collection".
        name: The name.
        valid: The names that exist.
    """

    def __init__(self, what: str, name: str, valid: Iterable[str]) -> None:
        self.what, self.name, self.valid = what, name, tuple(valid)
        super().__init__(f"no {what} {shorten(name)!r}; {self._advice()}")

    def _advice(self) -> str:
        folded = {v.casefold(): v for v in self.valid}
        # To compare a name of megabytes would take hours.
        near = difflib.get_close_matches(shorten(self.name.casefold()), folded, n=5, cutoff=0.5)
        if near:
            return f"did you mean {', '.join(repr(shorten(folded[n])) for n in near)}?"
        shown = quote_first(sorted(self.valid))
        return f"valid: {shown}" if shown else "there are none yet"


def require_known(what: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise UnknownName if one of the names is not known."""
    for name in names:
        if name not in known:
            raise UnknownName(what, name, known)


class BadDeclaration(UsageError):
    """A declaration that is not valid. Has `file`, `line` (from 1), `key` and `problem`."""

    def __init__(self, file: str, line: int, key: str, problem: str) -> None:
        self.file, self.line, self.key, self.problem = file, line, key, problem
        super().__init__(f"{file}, line {line}{f', {key}' if key else ''}: {problem}")


class LicenseConflict(UsageError):
    """Series that are selected and whose licence is refused; `series` maps UID to licence."""

    def __init__(self, what: str, series: dict[str, str]) -> None:
        self.series = series
        shown = [f"{uid} ({name})" for uid, name in sorted(series.items())]
        super().__init__(
            f"{what} selects {len(series)} Series whose licence it refuses: "
            f"{_join_first(shown, ', ')}; exclude them from the cohort, or change its licenses"
        )


class CohortMoved(UsageError):
    """A lock file that does not match what is stored."""


class MissingExtra(UsageError):
    """An optional dependency that is not installed; the text has the command that installs it."""

    def __init__(self, module: str, extra: str, purpose: str) -> None:
        from tcia_assets.extras import install_command  # noqa: PLC0415 - rarely needed

        super().__init__(
            f"{purpose} needs {module!r}, which is not installed: {install_command(extra)}"
        )


class RunFailed(TciaError):
    """Runs in this process of which a part failed; what was complete is kept and recorded.

    Carries `failures`, a line or a few each.
    """

    def __init__(self, failures: Iterable[str]) -> None:
        self.failures = tuple(failures)
        # A failure may have a line for each of its parts.
        in_one_line = [each.replace(":\n", ": ").replace("\n", "; ") for each in self.failures]
        super().__init__(_join_first(in_one_line, "; ", before_rest="; and"))


class Stopped(TciaError):
    """The source was stopped while this was running; it is no verdict about the work."""

    def __init__(self) -> None:
        super().__init__("ended early, because the source was stopped")
