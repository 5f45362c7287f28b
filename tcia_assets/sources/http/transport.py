"""One request to the archive, and the same one again: pool, time-outs, retries, statuses.

What belongs here: HTTP, and what its failures mean. What does not: what is asked (`__init__.py`),
how many requests run at once (`gate.py`), what ends one that drips (`watch.py`), and what the body
holds.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry

from tcia_assets.errors import (
    ArchiveBroken,
    ArchiveUnreachable,
    NotPublic,
    RemoteError,
    RequestRefused,
    Stopped,
    UnreadableReply,
)
from tcia_assets.settings import Settings
from tcia_assets.sources.http.limiter import Gate
from tcia_assets.sources.http.watchdog import (
    SMALLEST_READ,
    Line,
    Pool,
    Watch,
    longest_s,
    next_size,
)
from tcia_assets.sources.nbia.credentials import SECRET_HEADERS, credentials
from tcia_assets.sources.nbia.formats import beginning
from tcia_assets.sources.pacing import Pacing
from tcia_assets.version import __version__

# Of an error's body, this many bytes are looked at.
_LOOKED_AT = 4000
_OK = {200, 204}
_CATCH_ALL = 500
_BUSY = {408, 425, 429, 502, 503, 504}
_NOT_PUBLIC = ("is not in public domain", "has not been granted the access")
_NOTHING_NEW = "No data found."
# What is said of errors only, where bytes are asked for; what is said of these is not documented.
_NO_BYTES = {"text/html", "application/json"}
_NO_ANSWER = (requests.RequestException, HTTPError, ConnectionError, TimeoutError)

Result = TypeVar("Result")


@dataclass
class Spent:
    """What one question has cost so far, over all its attempts."""

    requests: int = 0
    size_bytes: int = 0

    def add(self, other: Spent) -> None:
        self.requests += other.requests
        self.size_bytes += other.size_bytes


class Transport:
    """Sends requests to one archive, from any thread, over one pool of connections."""

    def __init__(self, settings: Settings, pacing: Pacing) -> None:
        self._pacing = pacing
        self._gate = Gate(settings.max_connections)
        # An answer's head may come late, and then in drops.
        self._watch = Watch(pacing.read_timeout_s + pacing.slowest_read_s, pacing.slowest_read_s)
        self._over = threading.Event()
        self._deadline = inf
        # It blocks where all are taken, which it need never do: who has a place has a connection.
        self._pool = Pool(pool_maxsize=settings.max_connections, pool_block=True)
        self._sessions = threading.local()
        self._credentials = credentials(settings, self._token)

    @property
    def connections(self) -> int:
        """How many requests may be under way at once, now."""
        return self._gate.limit

    def stop(self) -> None:
        """Ends all waiting and all requests, in any thread, with Stopped; no new one is sent."""
        self._over.set()
        self._gate.stop()
        self._watch.cut_all()

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def waiting_until(self, deadline: float) -> Iterator[None]:
        """While this lasts, no wait goes beyond that time of `time.monotonic()`."""
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
        spent: Spent,
        *,
        silent: bool = False,
        as_it_is: bool = False,
    ) -> Iterator[Iterator[bytes]]:
        """The body, in chunks, of an answer whose status is good; waits for its turn to ask.

        Every failure of the archive or the network, up to the last chunk, is a RemoteError; what
        the caller raises while it has the body passes as it is. `silent` questions may be answered
        with the 500 that says that there is nothing new. A body that is wanted `as_it_is` is not
        decoded: UnreadableReply if it comes encoded, or as HTML or JSON. The caller must not send
        another request while it has the body.
        """
        with self._gate.place() as place, self._watch.line() as line:
            spent.requests += 1
            try:
                with self._answer(method, url, parameters, line, as_it_is=as_it_is) as response:
                    # What refuses may be quick, and is no measure for what works.
                    if response.status_code in _OK:
                        place.answered(url, response.elapsed.total_seconds())
                    yield self._body(response, url, line, silent=silent, as_it_is=as_it_is)
            except ArchiveBroken as error:
                if error.status is None or error.status in _BUSY:
                    place.failed()
                raise
            place.good()

    def insist(self, attempt: Callable[[], Result]) -> Result:
        """What `attempt` gives; tried again, with pauses, while that can help."""
        started, renewed, number = time.monotonic(), False, 1
        while True:
            try:
                return attempt()
            except RemoteError as error:
                if not renewed and self._credentials.may_have_expired(error):
                    self._credentials.renew()
                    renewed = True
                    continue
                chance = random.random()  # noqa: S311 - spreads load, guards nothing
                wait_s, now = self._pacing.wait_s(error, number, chance), time.monotonic()
                may_retry = self._pacing.may_retry(error, number)
                if may_retry and now + wait_s > self._deadline:
                    error.problem += f", and no time was left to wait {wait_s:.0f} s for it"
                    may_retry = False
                if not may_retry:
                    # In place of the error, whose excerpt may repeat a secret.
                    raise self._final(error, number, now - started) from None
                if self._over.wait(wait_s):
                    raise Stopped from None
                number += 1

    def _answer(
        self, method: str, url: str, parameters: Mapping[str, str], line: Line, *, as_it_is: bool
    ) -> requests.Response:
        where = "data" if method == "POST" else "params"
        sent: dict[str, Any] = {where: parameters}
        if as_it_is:
            sent["headers"] = {"Accept-Encoding": "identity"}
        with self._waiting(url, line, f"no answer within {line.longest_answer_s:g} s"):
            return self._session().request(method, url, stream=True, timeout=self._timeouts, **sent)

    @contextmanager
    def _waiting(self, url: str, line: Line, late: str, about: str = "") -> Iterator[None]:
        """Says in our words why nothing came; `late` is what it means if the line was cut."""
        self._demand_uncut(url, line, about + late)
        try:
            yield
        except _NO_ANSWER as error:
            self._demand_uncut(url, line, about + late)
            raise ArchiveBroken(about + _cause(error), url=url) from None
        finally:
            line.rest()
        # A cut may look like the good end of a body.
        self._demand_uncut(url, line, about + late)

    def _demand_uncut(self, url: str, line: Line, late: str) -> None:
        if self._over.is_set():
            raise Stopped from None
        if line.is_cut:
            raise ArchiveBroken(late, url=url) from None

    def _body(
        self, response: requests.Response, url: str, line: Line, *, silent: bool, as_it_is: bool
    ) -> Iterator[bytes]:
        if response.status_code in _OK:
            if as_it_is:
                return self._bytes(response, url, line)
            return self._chunks(response, url, line, decode=True)
        said = self._beginning(response, url, line)
        if silent and response.status_code == _CATCH_ALL and _NOTHING_NEW in said:
            return iter(())
        raise _refusal(response, said)

    def _bytes(self, response: requests.Response, url: str, line: Line) -> Iterator[bytes]:
        encoding = response.headers.get("Content-Encoding", "identity").strip()
        if encoding.lower() not in {"identity", ""}:
            problem = f"Content-Encoding {encoding!r}, where none was asked for"
            raise UnreadableReply(problem, url=url, status=response.status_code)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type not in _NO_BYTES:
            return self._chunks(response, url, line, decode=False)
        if said := self._beginning(response, url, line):
            problem = f"Content-Type {media_type}, where bytes were asked for"
            raise UnreadableReply(problem, url=url, status=response.status_code, excerpt=said)
        return iter(())

    def _chunks(
        self, response: requests.Response, url: str, line: Line, *, decode: bool
    ) -> Iterator[bytes]:
        # Raw, which is twice as fast as `iter_content`; urllib3 raises where fewer bytes come than
        # were promised.
        size = SMALLEST_READ
        while True:
            started, most_s = time.monotonic(), longest_s(size, self._pacing.slowest_read_s)
            with self._waiting(url, line, f"fewer than {size} bytes in {most_s:g} s"):
                chunk = line.read(response, size, most_s, decode=decode)
            if not chunk:
                return
            size = next_size(size, time.monotonic() - started)
            yield chunk
            del chunk  # or it would be held while the next one, as large, is read

    def _beginning(self, response: requests.Response, url: str, line: Line) -> str:
        """What an answer with a bad status says first, as far as it arrives."""
        try:
            with self._waiting(url, line, "cut"):
                said = line.read(response, _LOOKED_AT, self._pacing.slowest_read_s)
        except ArchiveBroken:
            return ""
        return beginning(said)

    def _session(self) -> requests.Session:
        """The session of the calling thread; all share one pool."""
        if not hasattr(self._sessions, "mine"):
            self._sessions.mine = self._opened(self._credentials.sign)
        mine: requests.Session = self._sessions.mine
        return mine

    def _opened(self, sign: Callable[[Any], Any]) -> requests.Session:
        session = _Session()
        session.mount("http://", self._pool)
        session.mount("https://", self._pool)
        session.headers["User-Agent"] = f"tcia_assets/{__version__}"
        # Even where there is nothing to sign: else a .netrc would add what is not the archive's.
        session.auth = sign
        return session

    @property
    def _timeouts(self) -> tuple[float, float]:
        return self._pacing.connect_timeout_s, self._pacing.read_timeout_s

    def _token(self, url: str, form: dict[str, str]) -> Mapping[str, object]:
        """The token server's answer. What was sent and what came back never reach an error.

        Whoever asks for one has a place already, and asks before it takes a connection.
        """
        with self._watch.line() as line:
            late = f"no answer within {line.longest_answer_s:g} s"
            with self._waiting(url, line, late, about="no token: "):
                response = self._opened(lambda request: request).post(
                    url, data=form, timeout=self._timeouts, allow_redirects=False
                )
        status = response.status_code
        if status in _BUSY or status >= _CATCH_ALL:
            raise ArchiveBroken("no token: the token server failed", url=url, status=status)
        if status not in _OK:
            problem = "no token for TCIA_USERNAME and TCIA_PASSWORD"
            raise RequestRefused(problem, url=url, status=status)
        try:
            answer: object = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise UnreadableReply("the token server answered no JSON object", url=url)
        return answer

    def _final(self, error: RemoteError, attempts: int, seconds: float) -> RemoteError:
        """The error of the last attempt; says how long was tried, and what that means."""
        kind, problem = type(error), error.problem
        if isinstance(error, ArchiveBroken) and error.status is None:
            kind = ArchiveUnreachable
            problem = f"{urlsplit(error.url).netloc} gives no answer: {problem}"
        if attempts > 1 or kind is ArchiveUnreachable:
            problem += f"; tried {attempts} times in {seconds:.0f} s, nothing was changed"
        excerpt = self._credentials.hidden(error.excerpt)
        final = kind(problem, url=error.url, status=error.status, excerpt=excerpt)
        if isinstance(error, ArchiveBroken) and isinstance(final, ArchiveBroken):
            final.retry_after_s = error.retry_after_s
        return final


class _Session(requests.Session):
    """A session whose secrets do not follow a redirect to another host."""

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        before, after = response.request.url, prepared_request.url
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            for name in SECRET_HEADERS:
                prepared_request.headers.pop(name, None)


def _refusal(response: requests.Response, said: str) -> RemoteError:
    status = response.status_code
    kind, problem = _verdict(status, said)
    error = kind(problem, url=response.url, status=status, excerpt=said)
    if isinstance(error, ArchiveBroken):
        error.retry_after_s = _retry_after_s(response)
    return error


def _verdict(status: int, said: str) -> tuple[type[RemoteError], str]:
    """What a status means here: 400 may be the only sign of "not public", 500 may be our typo."""
    if status in _BUSY:
        return ArchiveBroken, "the archive is busy or down"
    if status >= _CATCH_ALL:
        return ArchiveBroken, "the archive failed"
    if any(text in said for text in _NOT_PUBLIC):
        return NotPublic, "the archive does not offer these images"
    return RequestRefused, "the archive refuses the request"


def _retry_after_s(response: requests.Response) -> float | None:
    try:
        return Retry().get_retry_after(response.raw)
    except InvalidHeader:  # then we choose the wait ourselves
        return None


def _cause(error: Exception) -> str:
    """Why there was no answer, in words that hold no header and no query."""
    text = str(error)
    causes = {
        "no connection within the time-out": isinstance(error, requests.ConnectTimeout),
        "no byte within the read time-out": "Read timed out" in text,
        "no secure connection: the host's certificate or its protocol does not fit": isinstance(
            error, requests.exceptions.SSLError
        ),
        "it redirects in a circle": isinstance(error, requests.TooManyRedirects),
        "the name of the host is unknown": "NameResolution" in text,
        "the host refuses connections": "refused" in text,
    }
    cut = f"the connection was cut ({type(error).__name__})"
    return next((words for words, is_it in causes.items() if is_it), cut)
