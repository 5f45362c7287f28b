"""What a status, a header, or an exception of the HTTP library means, as errors of this package."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from tcia_assets.errors import ArchiveBroken, NotPublic, RemoteError, RequestRefused

OK = {200, 204}
# Servers also send it for a wrong parameter.
CATCH_ALL = 500
_STANDARD = {("http", 80), ("https", 443)}
_TCIA = ".cancerimagingarchive.net"
BUSY = {408, 425, 429, 502, 503, 504}


def error_of(
    response: requests.Response, url: str, excerpt: str, not_public: tuple[str, ...]
) -> RemoteError:
    """Return the error that a response with a bad status stands for.

    Args:
        response: The response; its body need not have been read.
        url: What was requested, without its query.
        excerpt: The beginning of its body.
        not_public: Texts by which the server refuses what it does not offer.
    """
    status = response.status_code
    if status in BUSY or status >= CATCH_ALL:
        problem = "the source is busy or down" if status in BUSY else "the source failed"
        error = ArchiveBroken(problem, url=url, status=status, excerpt=excerpt)
        error.retry_after_s = _retry_after_s(response)
        return error
    # 400 may be the only sign that something is not public.
    if any(text in excerpt for text in not_public):
        problem = "the source does not offer these images"
        return NotPublic(problem, url=url, status=status, excerpt=excerpt)
    problem = "the source refused the request"
    return RequestRefused(problem, url=url, status=status, excerpt=excerpt)


def _retry_after_s(response: requests.Response) -> float | None:
    try:
        return Retry().get_retry_after(response.raw)
    except InvalidHeader:  # then the wait is ours to choose
        return None


def describe(error: Exception) -> str:
    """Return why there was no response, in a text without headers and query."""
    text = str(error)
    causes = {
        "the proxy (HTTPS_PROXY) refuses, or cannot be reached": isinstance(
            error, requests.exceptions.ProxyError
        ),
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


def may_redirect(before: str, after: str) -> bool:
    """Return whether a redirect may be followed: to the same host, or within TCIA.

    A redirect to any other host could make this machine send requests to its own network.

    >>> may_redirect("http://a.org/x", "https://a.org/y"), may_redirect("http://a.org", "http://b")
    (True, False)
    >>> tcia = "cancerimagingarchive.net"
    >>> may_redirect(f"https://services.{tcia}/x", f"https://nbia.{tcia}/x")
    True
    """
    try:
        old, new = _origin(before), _origin(after)
    except ValueError:  # not a port, or not an IPv6 address
        return False
    if old == new:
        return True
    is_standard = old[0::2] in _STANDARD and new[0::2] == ("https", 443)
    return is_standard and (old[1] == new[1] or all(f".{p[1]}".endswith(_TCIA) for p in (old, new)))


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname or "", port
