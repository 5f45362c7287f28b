"""Requests to one server, and their retries, from any thread over one pool of connections."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from requests.utils import requote_uri

from tcia_assets.errors import (
    ArchiveBroken,
    ArchiveUnreachable,
    RemoteError,
    RequestRefused,
    Stopped,
    TciaError,
    UnreadableReply,
    shorten,
)
from tcia_assets.progress import note
from tcia_assets.sources import Connection, Cost
from tcia_assets.sources.http.connection import describe_connection
from tcia_assets.sources.http.credentials import Credentials, PostForm
from tcia_assets.sources.http.exchange import Exchange
from tcia_assets.sources.http.limiter import ConcurrencyLimiter
from tcia_assets.sources.http.rate_limit import RateLimit
from tcia_assets.sources.http.responses import BUSY, CATCH_ALL, OK, error_of, may_redirect
from tcia_assets.sources.http.watchdog import Deadline, Watchdog, WatchedAdapter
from tcia_assets.sources.pacing import Pacing
from tcia_assets.version import __version__

Result = TypeVar("Result")

# A token has about 1 kB.
_LONGEST_TOKEN_REPLY = 1 << 16
_MOST_REDIRECTS = 10
# After the other redirects a POST becomes a GET.
_KEEP_METHOD = {307, 308}


class Transport:
    """Send requests to one server.

    Args:
        max_connections: Requests that may run at the same time; fewer while the server is
            overloaded.
        pacing: Timeouts and retries.
        make_credentials: Called once, with a function that posts a form to a token server.
        not_public: Texts by which the server refuses what it does not offer.
        rate_limit: The most that is received per second; no limit by default.
        address: The setting that has the server's URL.
    """

    def __init__(
        self,
        max_connections: int,
        pacing: Pacing,
        make_credentials: Callable[[PostForm], Credentials] = lambda _: Credentials(),
        not_public: tuple[str, ...] = (),
        rate_limit: RateLimit | None = None,
        address: str = "TCIA_BASE_URL",
    ) -> None:
        self._address = address
        self._rate_limit = rate_limit or RateLimit(None)
        self._pacing, self._not_public = pacing, not_public
        self._limiter = ConcurrencyLimiter(max_connections)
        # The first byte of an answer may take the whole read timeout, and then its head is read.
        longest_answer_s = pacing.read_timeout_s + pacing.slowest_read_s
        self._watchdog = Watchdog(longest_answer_s, pacing.slowest_read_s)
        self._timeouts = pacing.connect_timeout_s, pacing.read_timeout_s
        self._stopped = threading.Event()
        self._deadline = inf
        # A slot is held for the life of a connection, so the pool never blocks.
        self._adapter = WatchedAdapter(pool_maxsize=max_connections, pool_block=True)
        self._sessions = threading.local()
        self._credentials = make_credentials(self._post_form)

    def _exchange(self, url: str, deadline: Deadline) -> Exchange:
        slowest_read_s = self._pacing.slowest_read_s
        return Exchange(url, deadline, slowest_read_s, self._stopped, self._rate_limit)

    @property
    def connections(self) -> int:
        """The number of requests that may run at the same time now."""
        return self._limiter.limit

    def stop(self) -> None:
        """End all waiting and all requests, in any thread, with Stopped; refuse new ones."""
        self._stopped.set()
        self._limiter.stop()
        self._watchdog.expire_all()

    def close(self) -> None:
        self._adapter.close()

    @contextmanager
    def waiting_until(self, deadline: float) -> Iterator[None]:
        """While the context lasts, let no retry wait beyond that time of `time.monotonic()`."""
        before, self._deadline = self._deadline, deadline
        try:
            yield
        finally:
            self._deadline = before

    @contextmanager
    def send(
        self,
        method: str,
        url: str,
        parameters: Mapping[str, str],
        cost: Cost,
        *,
        max_bytes: int,
        empty_text: str = "",
        is_file: bool = False,
        kind: str = "",
    ) -> Iterator[Iterator[bytes]]:
        """Send a request, once there is a slot for it, and yield the chunks of its body.

        The caller must not send another request before it has left the context.

        Args:
            method: GET or POST.
            url: Without a query.
            parameters: The query, or the form of a POST.
            cost: Increased by one request.
            max_bytes: The most that a body other than a file may have when it is decoded.
            empty_text: A status 500 with this text stands for an empty body.
            is_file: The body is a file: it is not decoded, and is no HTML or JSON. Its size is for
                the caller to limit.
            kind: Requests of one kind take about as long; by default all to one URL.

        Raises:
            RemoteError: Any failure of the server or the network, up to the last chunk. What the
                caller raises within the context passes unchanged.
            Stopped: `stop` was called.
        """
        with self._limiter.slot() as slot, self._watchdog.deadline() as deadline:
            cost.requests += 1
            exchange = self._exchange(url, deadline)
            try:
                with self._request(exchange, method, url, parameters, is_file=is_file) as response:
                    # A refusal may be fast, so it is not counted as a response time.
                    if response.status_code in OK:
                        slot.responded(kind or url, response.elapsed.total_seconds())
                        yield (
                            exchange.file_chunks(response)
                            if is_file
                            else exchange.limited(exchange.chunks(response), max_bytes)
                        )
                    else:
                        self._raise_unless_empty(
                            response, exchange.read_excerpt(response), empty_text
                        )
                        yield iter(())
            except ArchiveBroken as error:
                if error.status is None or error.status in BUSY:
                    slot.overloaded()
                raise
            slot.succeeded()

    def connect(self, url: str, parameters: Mapping[str, str]) -> Connection:
        """Send a GET request once, and describe the connection; any status will do.

        Raises:
            RemoteError: There is no answer.
            Stopped: `stop` was called.
        """
        started = time.monotonic()
        with self.redacting(), self._limiter.slot(), self._watchdog.deadline() as deadline:
            exchange = self._exchange(url, deadline)
            try:
                with self._request(exchange, "GET", url, parameters, is_file=False) as response:
                    proxies = self._adapter.proxy_manager
                    found = describe_connection(response, deadline.socket, proxies)
                    exchange.read_excerpt(response)  # a short body whole, to keep the connection
                    return found
            except RemoteError as error:
                raise self._final(error, 1, time.monotonic() - started) from None

    def retry(self, attempt: Callable[[], Result]) -> Result:
        """Return the result of `attempt`, called again after pauses while that can help.

        What it raises has no secrets.
        """
        with self.redacting():
            return self._retry(attempt)

    def _retry(self, attempt: Callable[[], Result]) -> Result:
        started, is_renewed, number = time.monotonic(), False, 1
        while True:
            try:
                return attempt()
            except RemoteError as error:
                if not is_renewed and self._credentials.may_have_expired(error):
                    self._credentials.renew()
                    is_renewed = True
                    continue
                chance = random.random()  # noqa: S311 - spreads load, guards nothing
                wait_s, now = self._pacing.wait_s(error, number, chance), time.monotonic()
                may_retry = self._pacing.may_retry(error, number)
                if may_retry and now + wait_s > self._deadline:
                    error.problem += f", and no time was left to wait {wait_s:.0f} s for it"
                    may_retry = False
                if not may_retry:
                    raise self._final(error, number, now - started) from None
                if wait_s > self._pacing.longest_silent_wait_s:
                    self._note_wait(error, number, wait_s)
                if self._stopped.wait(wait_s):
                    raise Stopped from None
                number += 1

    def _note_wait(self, error: RemoteError, attempt: int, wait_s: float) -> None:
        status = "" if error.status is None else f" (status {error.status})"
        text = (
            f"{urlsplit(error.url).netloc}: {error.problem}{status}; waiting {wait_s:.0f} s before "
            f"attempt {attempt + 1} of {self._pacing.most_attempts(error)}"
        )
        note(self._credentials.redact(text))

    @contextmanager
    def redacting(self) -> Iterator[None]:
        """Remove secrets from what is raised while the context lasts: a server may repeat them."""
        try:
            yield
        except TciaError as error:
            # Not the error itself, nor its causes, which would be shown with it.
            raise error.rewritten(self._credentials.redact) from None

    def _request(
        self,
        exchange: Exchange,
        method: str,
        url: str,
        parameters: Mapping[str, str],
        *,
        is_file: bool,
    ) -> requests.Response:
        options: dict[str, Any] = {"data" if method == "POST" else "params": parameters}
        if is_file:
            options["headers"] = {"Accept-Encoding": "identity"}
        session = self._session()
        with exchange.waiting_for_answer():
            for _ in range(_MOST_REDIRECTS):
                response = session.request(
                    method,
                    url,
                    stream=True,
                    timeout=self._timeouts,
                    allow_redirects=False,
                    **options,
                )
                location = session.location(response)
                if not location:
                    return response
                # Unread: its body may be of any length.
                response.close()
                before, url = url, self._follow(response, urljoin(url, requote_uri(location)))
                options.pop("params", None)  # the new URL has its own
                if method == "POST" and response.status_code not in _KEEP_METHOD:
                    method = "GET"
                    options.pop("data")
                if session.should_strip_auth(before, url):  # type: ignore[no-untyped-call]
                    options["auth"] = lambda request: request
            raise requests.TooManyRedirects

    def _follow(self, response: requests.Response, url: str) -> str:
        """Return the URL of a redirect.

        Raises:
            UnreadableReply: It leads to another host, or has a secret that the server repeats.
        """
        if self._credentials.are_in(url):  # the HTTP library would log it
            problem = "a redirect with a secret in its URL is not followed"
            raise UnreadableReply(problem, url=response.url.partition("?")[0])
        if not may_redirect(response.url, url):
            host = shorten(urlsplit(url).netloc.rpartition("@")[2])
            raise UnreadableReply(
                f"a redirect to another host, {host!r}, is not followed; if that is the source's "
                f"new address, set {self._address} to it",
                url=response.url.partition("?")[0],
                status=response.status_code,
            )
        return url

    def _raise_unless_empty(
        self, response: requests.Response, excerpt: str, empty_text: str
    ) -> None:
        is_empty = response.status_code == CATCH_ALL and empty_text and empty_text in excerpt
        if not is_empty:
            url = response.url.partition("?")[0]
            raise error_of(response, url, excerpt, self._not_public)

    def _session(self) -> _Session:
        """Return the session of the calling thread; all sessions share one pool."""
        if not hasattr(self._sessions, "own"):
            self._sessions.own = self._open_session(self._credentials)
        own: _Session = self._sessions.own
        return own

    def _open_session(self, credentials: Credentials) -> _Session:
        session = _Session()
        session.mount("http://", self._adapter)
        session.mount("https://", self._adapter)
        session.headers["User-Agent"] = f"tcia_assets/{__version__}"
        # Set even if there is nothing to sign: without it, requests would add what a .netrc has.
        session.auth = credentials.sign
        return session

    def _post_form(self, url: str, form: dict[str, str]) -> Mapping[str, object]:
        """Post a form to a token server. Nothing that is sent or received gets into an error.

        The calling thread holds a slot, and takes its own connection only afterwards.
        """
        with self._watchdog.deadline() as deadline:
            exchange = self._exchange(url, deadline)
            with exchange.waiting_for_answer("no token: "):
                response = self._open_session(Credentials()).post(
                    url, data=form, timeout=self._timeouts, stream=True
                )
            with response:
                status, body = response.status_code, b""
                if status in OK:
                    chunks = exchange.limited(exchange.chunks(response), _LONGEST_TOKEN_REPLY)
                    body = b"".join(chunks)
        if status in BUSY or status >= CATCH_ALL:
            raise ArchiveBroken("no token: the token server failed", url=url, status=status)
        if status not in OK:
            problem = "no token for TCIA_USERNAME and TCIA_PASSWORD"
            raise RequestRefused(problem, url=url, status=status)
        try:
            reply: object = json.loads(body)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            raise UnreadableReply("the reply of the token server is not a JSON object", url=url)
        return reply

    def _final(self, error: RemoteError, attempts: int, seconds: float) -> RemoteError:
        """Return the last attempt's error, with the number of attempts."""
        kind, problem = type(error), error.problem
        if isinstance(error, ArchiveBroken) and error.status is None:
            kind = ArchiveUnreachable
            problem = f"no response from {urlsplit(error.url).netloc}: {problem}"
        if attempts > 1 or kind is ArchiveUnreachable:
            tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
            problem += f"; gave up after {tries} in {seconds:.0f} s; nothing was changed"
        final = kind(problem, url=error.url, status=error.status, excerpt=error.excerpt)
        if isinstance(error, ArchiveBroken) and isinstance(final, ArchiveBroken):
            final.retry_after_s = error.retry_after_s
        return final


class _Session(requests.Session):
    """A session that follows no redirect: requests would read its body, of whatever length."""

    def __init__(self) -> None:
        super().__init__()
        self._environment: dict[tuple[str, str], Any] = {}

    def merge_environment_settings(self, url: Any, *settings: Any) -> Any:
        """Read proxies and certificates of the environment once for each host.

        To read them takes a third of the processor time of a request for a small object.
        """
        parts = urlsplit(url)
        host = (parts.scheme, parts.netloc)
        if host not in self._environment:
            self._environment[host] = super().merge_environment_settings(url, *settings)
        return dict(self._environment[host])

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None, so that no response counts as a redirect."""
        del resp
        return None

    def location(self, response: requests.Response) -> str | None:
        """Return where a redirect leads; None if the response is none."""
        return super().get_redirect_target(response)
