"""One request and its response: reads the body within its deadlines and names what goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import requests
from urllib3.exceptions import DecodeError, HTTPError

from tcia_assets.errors import ArchiveBroken, Stopped, TooLarge, UnreadableReply
from tcia_assets.sources.http import responses, text
from tcia_assets.sources.http.rate_limit import RateLimit
from tcia_assets.sources.http.watchdog import SMALLEST_READ, Deadline, longest_s, next_size

# Bytes of an error's body that are read.
_EXCERPT_BYTES = 4000
# Where files are requested, a body of these types is an error in spite of its status.
_ERROR_TYPES = {"text/html", "application/json"}
_NO_ANSWER = (requests.RequestException, HTTPError, ConnectionError, TimeoutError)


class Exchange:
    """A request to `url`, bound by its deadline; `stopped` ends it from any thread."""

    def __init__(
        self,
        url: str,
        deadline: Deadline,
        slowest_read_s: float,
        stopped: threading.Event,
        rate_limit: RateLimit,
    ) -> None:
        self._rate_limit = rate_limit
        self._url, self._deadline = url, deadline
        self._slowest_read_s, self._stopped = slowest_read_s, stopped

    def waiting_for_answer(self, prefix: str = "") -> AbstractContextManager[None]:
        """Translate failures while the request is sent, until the response arrives."""
        late = f"{prefix}no answer within {self._deadline.longest_answer_s:g} s"
        return self._waiting(late, prefix)

    def chunks(self, response: requests.Response, *, decode: bool = True) -> Iterator[bytes]:
        """Yield the body in chunks; `decode` undoes its Content-Encoding."""
        # From `raw`, which is twice as fast as `iter_content`. urllib3 raises if fewer bytes arrive
        # than were announced.
        size = SMALLEST_READ
        while True:
            started, limit_s = time.monotonic(), longest_s(size, self._slowest_read_s)
            with self._waiting(f"fewer than {size} bytes in {limit_s:g} s"):
                chunk = self._deadline.read(response, size, limit_s, decode=decode)
            if not chunk:
                return
            size = next_size(size, time.monotonic() - started)
            self._stopped.wait(self._rate_limit.seconds_to_wait(len(chunk)))
            yield chunk
            del chunk  # not held while the next one, as large, is read

    def limited(self, chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
        """Yield chunks of a decoded body.

        Raises:
            TooLarge: There are more than `max_bytes`.
        """
        read = 0
        for chunk in chunks:
            read += len(chunk)
            if read > max_bytes:
                problem = f"the reply has more than {max_bytes} bytes, the most that it may have"
                raise TooLarge(problem, url=self._url)
            yield chunk

    def file_chunks(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the body of a file as it was sent.

        Raises:
            UnreadableReply: It is compressed for transport, or declared as HTML or JSON.
        """
        encoding = response.headers.get("Content-Encoding", "identity").strip()
        if encoding.lower() not in {"identity", ""}:
            problem = f"Content-Encoding {encoding!r}, although none was requested"
            raise UnreadableReply(problem, url=self._url, status=response.status_code)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type not in _ERROR_TYPES:
            return self.chunks(response, decode=False)
        if excerpt := self.read_excerpt(response):
            problem = f"Content-Type {media_type}, although a file was requested"
            status = response.status_code
            raise UnreadableReply(problem, url=self._url, status=status, excerpt=excerpt)
        return iter(())

    def read_excerpt(self, response: requests.Response) -> str:
        """Read the beginning of an error's body, as far as it arrives."""
        try:
            with self._waiting("cut"):
                body = self._deadline.read(response, _EXCERPT_BYTES, self._slowest_read_s)
        except (ArchiveBroken, UnreadableReply):
            return ""
        return text.excerpt(body)

    @contextmanager
    def _waiting(self, late: str, prefix: str = "") -> Iterator[None]:
        """Translate failures of the network; `late` is the problem if the deadline expired."""
        self._check(late)
        try:
            yield
        except DecodeError:  # it arrived, so fewer connections would not help
            problem = f"{prefix}the body is not encoded as its Content-Encoding announces"
            raise UnreadableReply(problem, url=self._url) from None
        except _NO_ANSWER as error:
            self._check(late)
            raise ArchiveBroken(prefix + responses.describe(error), url=self._url) from None
        finally:
            self._deadline.suspend()
        # An expired deadline may look like the regular end of a body.
        self._check(late)

    def _check(self, late: str) -> None:
        if self._stopped.is_set():
            raise Stopped from None
        if self._deadline.has_expired:
            raise ArchiveBroken(late, url=self._url) from None
