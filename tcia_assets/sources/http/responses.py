"""What a status, a header, or an exception of the HTTP library means, as errors of this package."""

from __future__ import annotations

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from tcia_assets.errors import ArchiveBroken, NotPublic, RemoteError, RequestRefused

OK = {200, 204}
# Servers also send it for a wrong parameter.
CATCH_ALL = 500
BUSY = {408, 425, 429, 502, 503, 504}


def error_of(response: requests.Response, excerpt: str, not_public: tuple[str, ...]) -> RemoteError:
    """Return the error that a response with a bad status stands for.

    Args:
        response: The response; its body need not have been read.
        excerpt: The beginning of its body.
        not_public: Texts by which the server refuses what it does not offer.
    """
    status = response.status_code
    if status in BUSY or status >= CATCH_ALL:
        problem = "the source is busy or down" if status in BUSY else "the source failed"
        error = ArchiveBroken(problem, url=response.url, status=status, excerpt=excerpt)
        error.retry_after_s = _retry_after_s(response)
        return error
    # 400 may be the only sign that something is not public.
    if any(text in excerpt for text in not_public):
        problem = "the source does not offer these images"
        return NotPublic(problem, url=response.url, status=status, excerpt=excerpt)
    problem = "the source refused the request"
    return RequestRefused(problem, url=response.url, status=status, excerpt=excerpt)


def _retry_after_s(response: requests.Response) -> float | None:
    try:
        return Retry().get_retry_after(response.raw)
    except InvalidHeader:  # then the wait is ours to choose
        return None


def describe(error: Exception) -> str:
    """Return why there was no response, in a text without headers and query."""
    text = str(error)
    causes = {
        "no connection within the time-out": isinstance(error, requests.ConnectTimeout),
        "no byte within the read time-out": "Read timed out" in text,
        "no secure connection: the host's certificate or its protocol does not fit": isinstance(
            error, requests.exceptions.SSLError
        ),
        "too many redirects": isinstance(error, requests.TooManyRedirects),
        "the name of the host is unknown": "NameResolution" in text,
        "the host refuses connections": "refused" in text,
    }
    cut = f"the connection was cut ({type(error).__name__})"
    return next((words for words, is_it in causes.items() if is_it), cut)
