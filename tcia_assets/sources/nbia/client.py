"""HTTP client of an NBIA server: rows, hashes and files, in the dialect of the settings."""

from __future__ import annotations

import json
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Self

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME
from tcia_assets.errors import (
    ForeignRows,
    RequestRefused,
    TciaError,
    UnknownReply,
    UnreadableReply,
    UsageError,
    shorten,
)
from tcia_assets.settings import Settings
from tcia_assets.sources import (
    Connection,
    Cost,
    FetchedFile,
    SampleReply,
    SourceRows,
    Strictness,
    Target,
)
from tcia_assets.sources.http import text
from tcia_assets.sources.http.rate_limit import RateLimit, of_process
from tcia_assets.sources.http.scratch import Scratch, scratch_errors
from tcia_assets.sources.http.transport import Transport
from tcia_assets.sources.nbia import wire
from tcia_assets.sources.nbia.credentials import make_credentials
from tcia_assets.sources.nbia.date_forms import date_forms, declared_forms
from tcia_assets.sources.nbia.downloads import FILES, save
from tcia_assets.sources.nbia.filters import check_rows
from tcia_assets.sources.nbia.reply_digest import digest_reply
from tcia_assets.sources.nbia.request import Request, RequestBuilder
from tcia_assets.sources.pacing import Pacing
from tcia_assets.spec import Dialect, Endpoint
from tcia_assets.store.cores import computing

__all__ = ["Client"]

# A hash is shorter than this; of a reply that is none, this much is read.
_LONGEST_HASH_REPLY = 4000
# What other replies may have at most, by what was requested: a list of one column, such as the UIDs
# of a Series' objects, of which there may be 100,000s; the facts about one Series. For everything
# else it is TCIA_MAX_REPLY_BYTES.
_LONGEST_LIST = 64 << 20
_LONGEST_ROW = 1 << 20
_SERIES = "SeriesInstanceUID"
_HASH = re.compile("[0-9a-f]{32}")
_NOT_PUBLIC = ("is not in public domain", "has not been granted the access")
_NO_ROWS = "No data found."
# A parameter that no server has, and the status with which strict ones refuse it.
_NO_PARAMETER, _BAD_REQUEST = "TciaAssets", 400


class Client:
    """Client of one NBIA server; safe to share among threads.

    At most `settings.max_connections` requests run at the same time, and fewer (`connections`)
    while the server is overloaded. Every method that sends a request raises Stopped after `stop`.

    Args:
        settings: Server, dialect and secrets.
        form: The format of rows: "json", or "csv", "xml", "html" for a cross-check.
        pacing: Timeouts and retries.
        rate_limit: What is received per second; by default that of the process.

    Raises:
        UnknownName: There is no such format.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        form: str = "json",
        pacing: Pacing | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        self.settings, self.dialect = settings, settings.api
        self._requests = RequestBuilder(settings, form)
        self._transport = Transport(
            settings.max_connections,
            pacing or Pacing(),
            lambda post_form: make_credentials(settings, post_form),
            _NOT_PUBLIC,
            rate_limit or of_process(settings.max_bytes_per_second),
        )
        # Parsing two large replies at the same time would only double the memory.
        self._parsing = threading.Lock()
        self._scratch = Scratch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """The number of requests that may run at the same time now."""
        return self._transport.connections

    def stop(self) -> None:
        """End all running requests, in any thread, and refuse new ones; `close` is still needed.

        Waits end immediately; bodies too, or with their next chunk.
        """
        self._transport.stop()

    def waiting_until(self, deadline: float) -> AbstractContextManager[None]:
        """Let no retry wait beyond `deadline`, a time of `time.monotonic()`, in any thread.

        Requests that are running then are not interrupted.
        """
        return self._transport.waiting_until(deadline)

    def close(self) -> None:
        self._transport.close()
        self._scratch.close()

    def get_rows(
        self, name: str, *, trust_empty: bool = False, known: str = "", **filters: str | date
    ) -> SourceRows:
        """Get the rows of an endpoint.

        A parameter that the dialect does not have is never sent. If an endpoint that may have
        nothing to return gives an empty reply, a second request checks that the server works.

        Args:
            name: The endpoint.
            trust_empty: Take an empty reply for no rows, without that second request.
            known: The digest of an earlier reply, as in `Source.rows`.
            filters: Values by our column names, or `since`.

        Raises:
            UnknownName: The endpoint does not have one of these filters.
            UsageError: A filter is missing or empty.
            UnknownReply: No row where some were expected, or from a server that does not work.
            ForeignRows: Rows that the filters exclude.
            BadValue: A value that identifies its row cannot be read; any other one is in
                `unreadable`.
        """
        request = self._requests.build(name, filters, "rows")
        started, cost = time.monotonic(), Cost()
        rows = self._transport.retry(
            lambda: self._rows(request, cost, known, trust_empty=trust_empty)
        )
        if not rows.is_known:
            with self._transport.redacting():
                check_rows(rows, request.endpoint, filters, request.url)
        promised = _promised(request.endpoint)
        return replace(rows, promised=promised, cost=cost, seconds=time.monotonic() - started)

    def get_rows_for_each(self, name: str, by: str, values: Sequence[str]) -> SourceRows:
        """Get the rows of an endpoint for each value of column `by`, in parallel.

        Each row has its value in column `by`; if the server has none, a row with nothing else. The
        first failure ends the work: it is in the result, with the rows that came before it. For
        small replies: they are parsed together, because parsing one costs more than its request.
        """
        dialect, _ = self._requests.server_of(name)
        endpoint = dialect.endpoint(name)
        rows: list[dict[str, object]] = []
        total, failure = Cost(), None
        with ThreadPoolExecutor(self.settings.max_connections) as pool:
            replies = [pool.submit(self._small, name, by, value) for value in values]
            try:
                for reply in replies:
                    found, cost = reply.result()
                    rows += found
                    total += cost
            except TciaError as error:
                failure = error
            except KeyboardInterrupt:
                self.stop()  # the pool waits for its requests, which may wait for minutes
                raise
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        with self._transport.redacting():
            columns = tuple(dict.fromkeys((by, *endpoint.columns)))
            read = self._typed(rows, replace(endpoint, columns=columns), dialect)
        return replace(read, promised=_promised(endpoint), cost=total, failure=failure)

    def get_sample(self, name: str, **filters: str) -> SampleReply:
        """Get the rows of an endpoint as `get_rows` does, and how they are written.

        For small replies: they are parsed in Python.

        Raises:
            UnknownReply: There is no row.
        """
        request = self._requests.build(name, filters, "rows")
        endpoint, dialect = request.endpoint, request.dialect
        started, cost = time.monotonic(), Cost()
        untyped = self._transport.retry(lambda: self._untyped(request, cost))
        with self._transport.redacting():
            rows = self._typed(untyped, endpoint, dialect)
            check_rows(rows, endpoint, filters, request.url)
        seconds = time.monotonic() - started
        rows = replace(rows, promised=_promised(endpoint), cost=cost, seconds=seconds)
        return SampleReply(rows, date_forms(untyped), declared_forms(dialect, endpoint))

    def connect(self) -> Connection:
        """Request the rows that a working server always has, and describe the connection."""
        request = self._health_request()
        return self._transport.connect(request.url, request.parameters)

    def strictness(self) -> Strictness:
        """Send a parameter that no server has."""
        request = self._health_request()
        request = replace(request, parameters=request.parameters | {_NO_PARAMETER: "1"})
        try:
            self._transport.retry(lambda: self._untyped(request, Cost()))
        except RequestRefused as error:
            if error.status != _BAD_REQUEST:
                raise
            return Strictness(refuses=True, declared=self.dialect.is_strict)
        return Strictness(refuses=False, declared=self.dialect.is_strict)

    def _health_request(self) -> Request:
        return self._requests.build(self.dialect.health_endpoint.name, {}, "rows")

    def get_hash(self, name: str, **filters: str) -> str:
        """Get the hash that an endpoint returns: 32 lower-case hex digits.

        Raises:
            UnknownReply: An empty reply: there is no such thing, or the server failed.
            UnreadableReply: The reply is not a hash.
        """
        request = self._requests.build(name, filters, "text")
        if not filters:
            names = " or ".join(p.name for p in request.endpoint.parameters)
            raise UsageError(f"{name} needs {names}")
        return self._transport.retry(lambda: self._hash(request, Cost()))

    def download(self, name: str, target: Target, **filters: str) -> FetchedFile:
        """Download the file that an endpoint returns; it is complete when this returns.

        Args:
            name: The endpoint.
            target: Where it goes.
            filters: Values by our column names.

        Raises:
            UnknownReply: A body of zero bytes.
            UnreadableReply: A body that is not such a file; nothing of it is written.
            TooLarge: The body is longer than `max_bytes`.
        """
        request = self._requests.build(name, filters, *FILES)
        started, cost = time.monotonic(), Cost()
        sha256 = self._transport.retry(lambda: self._save(request, target, cost))
        seconds = time.monotonic() - started
        return FetchedFile(target.path.stat().st_size, sha256, cost.requests, seconds)

    def _send(self, request: Request, cost: Cost) -> AbstractContextManager[Iterator[bytes]]:
        endpoint = request.endpoint
        return self._transport.send(
            endpoint.method,
            request.url,
            request.parameters,
            cost,
            empty_text=_NO_ROWS if endpoint.may_be_empty else "",
            is_file=endpoint.returns in FILES,
            max_bytes=self._most_bytes(request),
        )

    def _most_bytes(self, request: Request) -> int:
        """Return the most that the reply to a request may have."""
        most = self.settings.max_reply_bytes
        if len(request.endpoint.columns) == 1:
            return min(most, _LONGEST_LIST)
        uid = next((p.wire_name for p in request.endpoint.parameters if p.name == _SERIES), "")
        return min(most, _LONGEST_ROW) if uid in request.parameters else most

    # --- Rows -----------------------------------------------------------------------------------

    def _rows(self, request: Request, cost: Cost, known: str, *, trust_empty: bool) -> SourceRows:
        rows = self._read(request, cost, known)
        if rows is not None:
            return rows
        if not request.endpoint.may_be_empty:
            raise request.empty_reply()
        if trust_empty:
            return wire.empty(request.endpoint)
        # A failed database and an expired token also give an empty reply. So send a request to
        # which no reply is ever empty (it renews a token), and then the same one again.
        control = self._health_request()
        if self._read(control, cost) is None:
            raise control.empty_reply()
        return self._read(request, cost) or wire.empty(request.endpoint)

    def _read(self, request: Request, cost: Cost, known: str = "") -> SourceRows | None:
        """Return the rows of one reply; None if it has none, for whatever reason."""
        with (
            scratch_errors(),
            tempfile.TemporaryDirectory(dir=self._scratch.path) as folder,
        ):
            body = Path(folder) / "body"
            with self._send(request, cost) as chunks, body.open("wb") as file:
                for chunk in chunks:
                    cost.size_bytes += file.write(chunk)
            size = body.stat().st_size
            if not size:
                return None
            with computing():
                digest = digest_reply(body)
            if digest == known:
                return replace(wire.empty(request.endpoint), digest=digest, is_known=True)
            with self._parsing if size > wire.LARGE else nullcontext(), computing():
                rows = wire.read(
                    body,
                    request.endpoint,
                    request.dialect.value_format,
                    form=request.form,
                    url=request.url,
                )
        return replace(rows, digest=digest) if rows.table.num_rows else None

    def _small(self, name: str, by: str, value: str) -> tuple[list[dict[str, object]], Cost]:
        """Return the untyped rows of a small reply, each with the value of `by`."""
        request, cost = self._requests.build(name, {by: value}, "rows"), Cost()
        try:
            rows = self._transport.retry(lambda: self._untyped(request, cost))
        except UnknownReply:
            rows = [{}]
        foreign = [row[by] for row in rows if row.get(by, value) != value]
        if foreign:
            problem = f"{name} for {by}={value!r}: a row of {shorten(repr(foreign[0]))}"
            with self._transport.redacting():
                raise ForeignRows(problem, url=request.url)
        return [{by: value} | row for row in rows], cost

    def _untyped(self, request: Request, cost: Cost) -> list[dict[str, object]]:
        with self._send(request, cost) as chunks:
            body = b"".join(chunks)
        cost.size_bytes += len(body)
        rows = body and wire.untyped(body, request.endpoint, form=request.form, url=request.url)
        if not rows:
            raise request.empty_reply()
        return rows

    def _typed(
        self, rows: list[dict[str, object]], endpoint: Endpoint, dialect: Dialect
    ) -> SourceRows:
        if not rows:
            return wire.empty(endpoint)
        with (
            scratch_errors(),
            tempfile.TemporaryDirectory(dir=self._scratch.path) as folder,
        ):
            body = Path(folder) / "body"
            body.write_text(json.dumps(rows), encoding="utf-8")
            return wire.read(body, endpoint, dialect.value_format)

    # --- Hashes and files -----------------------------------------------------------------------

    def _hash(self, request: Request, cost: Cost) -> str:
        body = b""
        with self._send(request, cost) as chunks:
            for chunk in chunks:
                body += chunk
                if len(body) > _LONGEST_HASH_REPLY:
                    break
        found = body.decode("latin-1").strip().lower()
        if not found:
            raise request.empty_reply()
        if not _HASH.fullmatch(found):
            problem = f"{request.name}: not a hash of 32 hex digits"
            raise UnreadableReply(problem, url=request.url, excerpt=text.excerpt(body))
        return found

    def _save(self, request: Request, target: Target, cost: Cost) -> str:
        with self._send(request, cost) as chunks:
            return save(chunks, request, target)


def _promised(endpoint: Endpoint) -> tuple[str, ...]:
    return tuple(COLUMNS_BY_WIRE_NAME[name].name for name in endpoint.columns)
