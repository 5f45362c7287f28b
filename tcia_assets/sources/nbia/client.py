"""Asks the archive: rows, a hash, the bytes of a Series. The only importer of requests.

What belongs here: which question to send in which dialect (this module), how one is sent and sent
again (`transport.py`), how many at once (`gate.py`), what ends one that drips (`watch.py`), what
proves who asks (`credentials.py`), and whether rows answer the question (`filters.py`). What does
not: what rows mean (`wire.py`, `conform.py`), and the disk.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from tcia_assets.catalog import ARRIVING, FORMATS, SHARED_LISTS
from tcia_assets.errors import (
    ForeignRows,
    TciaError,
    TooLarge,
    UnknownName,
    UnknownReply,
    UnreadableReply,
    UsageError,
)
from tcia_assets.settings import Settings
from tcia_assets.sources import FetchedFile, SourceRows
from tcia_assets.sources.http.scratch import Scratch
from tcia_assets.sources.http.transport import Spent, Transport
from tcia_assets.sources.nbia import wire
from tcia_assets.sources.nbia.filters import demand_filtered
from tcia_assets.sources.nbia.formats import beginning
from tcia_assets.sources.pacing import Pacing
from tcia_assets.spec import Dialect, Endpoint

__all__ = ["Client"]

# A hash is no longer; of what is, this much is looked at.
_LONGEST_TEXT = 4000
_HASH = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class _Question:
    """All that is sent, and in whose language the answer comes."""

    dialect: Dialect
    endpoint: Endpoint
    url: str
    parameters: dict[str, str]
    form: str


class Client:
    """One archive, asked in its dialect; safe to share among threads.

    At most `settings.max_connections` requests are under way at once, and fewer (`connections`)
    while the archive is overrun. `form` is the format in which rows travel: "json", or "csv",
    "xml", "html" for a cross-check. All methods that ask raise Stopped once `stop` was called.
    """

    def __init__(
        self, settings: Settings, *, form: str = "json", pacing: Pacing | None = None
    ) -> None:
        if form not in FORMATS:
            raise UnknownName("format", form, FORMATS)
        self.settings, self.form, self.dialect = settings, form, settings.speaks
        self._transport = Transport(settings, pacing or Pacing())
        # Two large replies read at once would only double the memory.
        self._reading = threading.Lock()
        self._scratch = Scratch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many requests may be under way at once, now: 1 to `settings.max_connections`."""
        return self._transport.connections

    def stop(self) -> None:
        """Ends what is under way in all threads, and refuses what is asked from now on.

        Waits end at once; bodies too, or with their next chunk. For good: `close` is still due.
        """
        self._transport.stop()

    def waiting_until(self, deadline: float) -> AbstractContextManager[None]:
        """While this lasts, in all threads: what would wait longer to be asked again has failed.

        `deadline` is a time of `time.monotonic()`. What is under way then goes on.
        """
        return self._transport.waiting_until(deadline)

    def close(self) -> None:
        self._transport.close()
        self._scratch.close()

    def get_rows(self, name: str, **filters: str | date) -> SourceRows:
        """Get the rows of an endpoint.

        A parameter that the dialect does not have is never sent. If an endpoint that may have
        nothing to return gives an empty reply, a second request checks that the server works.

        Args:
            name: The endpoint.
            filters: Values by our column names, or `since`.

        Raises:
            UnknownName: The endpoint does not have one of these filters.
            UsageError: A filter is missing or empty.
            UnknownReply: No row where some were expected, or from a server that does not work.
            ForeignRows: Rows that the filters exclude.
        """
        return self._get_rows(name, filters, trust_empty=False)

    def get_rows_if_any(self, name: str, **filters: str | date) -> SourceRows:
        """Get the rows of an endpoint, without the second request of `get_rows`.

        For callers to whom an empty reply changes nothing.
        """
        return self._get_rows(name, filters, trust_empty=True)

    def _get_rows(
        self, name: str, filters: Mapping[str, str | date], *, trust_empty: bool
    ) -> SourceRows:
        question = self._question(name, filters, "rows")
        started, spent = time.monotonic(), Spent()
        rows = self._transport.insist(lambda: self._rows(question, spent, is_believed=trust_empty))
        demand_filtered(rows.table, question.endpoint, filters, question.url)
        return SourceRows(
            rows.table,
            rows.unclaimed,
            tuple(ARRIVING[column].name for column in question.endpoint.columns),
            spent.requests,
            spent.size_bytes,
            time.monotonic() - started,
        )

    def get_rows_for_each(self, name: str, by: str, values: Sequence[str]) -> SourceRows:
        """Get the rows of an endpoint for each value of column `by`, in parallel.

        Each row has its value in column `by`; if the server has none, a row with nothing else. The
        first failure ends the work: it is in the result, with the rows that came before it. For
        small replies: they are parsed together, because parsing one costs more than its request.
        """
        dialect = self._speaker(name)[0]
        endpoint = dialect.endpoint(name)
        rows: list[dict[str, object]] = []
        spent, failure = Spent(), None
        with ThreadPoolExecutor(self.settings.max_connections) as pool:
            answers = [pool.submit(self._small, name, by, value) for value in values]
            try:
                for answer in answers:
                    found, cost = answer.result()
                    rows += found
                    spent.add(cost)
            except TciaError as error:
                failure = error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        read = self._typed(rows, replace(endpoint, columns=(by, *endpoint.columns)), dialect)
        return SourceRows(
            read.table,
            read.unclaimed,
            requests=spent.requests,
            size_bytes=spent.size_bytes,
            failure=failure,
        )

    def get_hash(self, name: str, **filters: str) -> str:
        """Get the hash that an endpoint returns: 32 lower-case hex digits.

        Raises:
            UnknownReply: An empty reply: there is no such thing, or the server failed.
            UnreadableReply: The reply is not a hash.
        """
        question = self._question(name, filters, "text")
        if not filters:
            names = " or ".join(p.name for p in question.endpoint.parameters)
            raise UsageError(f"{name} needs {names}")
        return self._transport.insist(lambda: self._hash(question, Spent()))

    def download(
        self,
        name: str,
        into: Path,
        *,
        max_bytes: int | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
        **filters: str,
    ) -> FetchedFile:
        """The bytes that endpoint `name` gives, streamed to the file `into` and hashed on the way.

        The file is whole when this returns; when it raises, it holds nothing of use. A body that
        does not begin as what the endpoint answers (a zip, a DICOM object, a manifest), is called
        HTML or JSON, or comes compressed for the way, is refused before it is written; one that
        grows beyond `max_bytes` while it is. An OSError is the target's and never the network's:
        it is not tried again.

        `on_bytes` is told the size of each chunk that is written, and where an attempt fails, all
        that it had written as one negative number: their sum is what there is. It must not ask.
        """
        question = self._question(name, filters, *_BEGINNINGS)
        started, spent = time.monotonic(), Spent()
        sha256 = self._transport.insist(
            lambda: self._stream(question, into, max_bytes, on_bytes, spent)
        )
        seconds = time.monotonic() - started
        return FetchedFile(into.stat().st_size, sha256, spent.requests, seconds)

    # --- What to send ---------------------------------------------------------------------------

    def _speaker(self, name: str) -> tuple[Dialect, str]:
        """Who answers an endpoint, in what dialect and below which URL."""
        if name in self.dialect.delegated or (
            name == SHARED_LISTS.endpoint and self.settings.shared_list_url
        ):
            return self.settings.shared_lists_speak, self.settings.shared_lists_url
        return self.dialect, self.settings.url

    def _question(self, name: str, filters: Mapping[str, str | date], *answers: str) -> _Question:
        dialect, base = self._speaker(name)
        endpoint = dialect.endpoint(name)
        if endpoint.answers not in answers:
            raise UsageError(f"{name} answers with {endpoint.answers}, not {' or '.join(answers)}")
        parameters = _parameters(endpoint, filters)
        form = self.form if self.form in endpoint.formats else "json"
        if endpoint.formats:
            parameters["format"] = form
        return _Question(dialect, endpoint, f"{base}/{endpoint.path}", parameters, form)

    @contextmanager
    def _sent(self, question: _Question, spent: Spent) -> Iterator[Iterator[bytes]]:
        endpoint = question.endpoint
        with self._transport.send(
            endpoint.method,
            question.url,
            question.parameters,
            spent,
            silent=endpoint.silent,
            as_it_is=endpoint.answers in _BEGINNINGS,
        ) as chunks:
            yield chunks

    # --- Rows -----------------------------------------------------------------------------------

    def _rows(self, question: _Question, spent: Spent, *, is_believed: bool) -> wire.Rows:
        endpoint = question.endpoint
        rows = self._read(question, spent)
        if rows is None and endpoint.silent and is_believed:
            return wire.empty(endpoint)
        if rows is None and endpoint.silent:
            # Nothing is a normal answer here, but a failed database and an expired token give it
            # too: so what is never empty is asked (which renews a token), then the same again.
            control = self._question(self.dialect.control.name, {}, "rows")
            if self._read(control, spent) is None:
                raise _unknown(control)
            rows = self._read(question, spent) or wire.empty(endpoint)
        if rows is None:
            raise _unknown(question)
        return rows

    def _read(self, question: _Question, spent: Spent) -> wire.Rows | None:
        """The rows of one answer; None where there are none, for whatever reason."""
        with self._saved(question, spent) as file:
            if not file.stat().st_size:
                return None
            is_large = file.stat().st_size > wire.LARGE
            with self._reading if is_large else nullcontext():
                rows = wire.read(
                    file,
                    question.endpoint,
                    question.dialect.wire,
                    form=question.form,
                    url=question.url,
                )
        return rows if rows.table.num_rows else None

    @contextmanager
    def _saved(self, question: _Question, spent: Spent) -> Iterator[Path]:
        """A reply's body as a file that is gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self._scratch.path) as folder:
            path = Path(folder) / "body"
            with self._sent(question, spent) as chunks, path.open("wb") as file:
                for chunk in chunks:
                    spent.size_bytes += file.write(chunk)
            yield path

    # --- Rows of small replies ------------------------------------------------------------------

    def _small(self, name: str, by: str, value: str) -> tuple[list[dict[str, object]], Spent]:
        """The rows of a small reply as they travel, with what they were asked by."""
        question, spent = self._question(name, {by: value}, "rows"), Spent()
        try:
            rows = self._transport.insist(lambda: self._untyped(question, spent))
        except UnknownReply:
            rows = [{}]
        foreign = [row[by] for row in rows if row.get(by, value) != value]
        if foreign:
            problem = f"{name} for {by}={value!r}: a row of {foreign[0]!r}"
            raise ForeignRows(problem, url=question.url)
        return [{by: value} | row for row in rows], spent

    def _untyped(self, question: _Question, spent: Spent) -> list[dict[str, object]]:
        with self._sent(question, spent) as chunks:
            whole = b"".join(chunks)
        spent.size_bytes += len(whole)
        rows = whole and wire.untyped(
            whole, question.endpoint, form=question.form, url=question.url
        )
        if not rows:
            raise _unknown(question)
        return rows

    def _typed(
        self, rows: list[dict[str, object]], endpoint: Endpoint, dialect: Dialect
    ) -> wire.Rows:
        if not rows:
            return wire.empty(endpoint)
        with tempfile.TemporaryDirectory(dir=self._scratch.path) as folder:
            body = Path(folder) / "body"
            body.write_text(json.dumps(rows), encoding="utf-8")
            return wire.read(body, endpoint, dialect.wire)

    # --- Hashes and bytes -----------------------------------------------------------------------

    def _hash(self, question: _Question, spent: Spent) -> str:
        said = b""
        with self._sent(question, spent) as chunks:
            for chunk in chunks:
                said += chunk
                if len(said) > _LONGEST_TEXT:
                    break
        text = said.decode("latin-1").strip().lower()
        if not text:
            raise _unknown(question)
        if not _HASH.fullmatch(text):
            problem = f"{question.endpoint.name}: not a hash of 32 hex digits"
            raise UnreadableReply(problem, url=question.url, excerpt=beginning(said))
        return text

    def _stream(
        self,
        question: _Question,
        into: Path,
        max_bytes: int | None,
        on_bytes: Callable[[int], None],
        spent: Spent,
    ) -> str:
        digest, written = hashlib.sha256(), 0
        try:
            with self._sent(question, spent) as chunks:
                first = next(chunks, b"")
                _demand_binary(first, question)
                with into.open("wb") as file:
                    for chunk in chain([first], chunks):
                        digest.update(chunk)
                        written += file.write(chunk)
                        on_bytes(len(chunk))
                        spent.size_bytes += len(chunk)
                        del chunk  # as the one who yields it does
                        _check_size(max_bytes, written, question)
        except BaseException:
            if written:
                on_bytes(-written)
            raise
        return digest.hexdigest()


def _parameters(endpoint: Endpoint, filters: Mapping[str, str | date]) -> dict[str, str]:
    """The query in the dialect's spelling and date format."""
    missing = [p.name for p in endpoint.parameters if p.required and p.name not in filters]
    if missing:
        raise UsageError(f"{endpoint.name} needs {' and '.join(missing)}")
    sent = dict(endpoint.always)
    for name, value in filters.items():
        spelling = endpoint.parameter(name).wire
        sent[spelling] = _written(endpoint, name, value)
    return sent


def _written(endpoint: Endpoint, name: str, value: str | date) -> str:
    # In a wrong format, and without a value, the archive does not refuse but lists all or nothing.
    if isinstance(value, date) != (name == "since"):
        noun = "a date" if name == "since" else "a text"
        raise UsageError(f"{endpoint.name}: {name} must be {noun}, not {value!r}")
    if isinstance(value, date):
        return value.strftime(endpoint.since)
    if not value.strip():
        raise UsageError(f"{endpoint.name}: {name} is empty")
    return value


def _unknown(question: _Question) -> UnknownReply:
    name = question.endpoint.name
    return UnknownReply(f"{name}: zero bytes or no row, which may mean anything", url=question.url)


# What each kind of bytes is called, and what stands at which place of it.
_BEGINNINGS = {
    "zip": ("zip", 0, b"PK"),
    "dicom": ("DICOM", 128, b"DICM"),
    "manifest": ("manifest", 0, b"downloadServerUrl="),
}


def _demand_binary(first: bytes, question: _Question) -> None:
    name = question.endpoint.name
    noun, place, mark = _BEGINNINGS[question.endpoint.answers]
    if first.startswith(mark, place):
        return
    if not first:
        raise UnknownReply(f"{name}: zero bytes where a {noun} was expected", url=question.url)
    problem = f"{name}: not a {noun}"
    raise UnreadableReply(problem, url=question.url, excerpt=beginning(first))


def _check_size(max_bytes: int | None, written: int, question: _Question) -> None:
    if max_bytes is not None and written > max_bytes:
        problem = f"{question.endpoint.name}: more than the {max_bytes} bytes that it can have"
        raise TooLarge(problem, url=question.url)
