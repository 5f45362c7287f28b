"""What a response shows of the connection that it came over: addresses, TLS, proxy, limits."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from tcia_assets.errors import shorten
from tcia_assets.sources import Connection

_MOST_LIMITS = 5


def describe_connection(
    response: requests.Response, used: Any, proxies: Iterable[str]
) -> Connection:
    """Describe the connection of a response.

    Args:
        response: The response; its body need not have been read.
        used: The socket; a fact that it does not tell any more is left out.
        proxies: URLs of the proxies that are in use.
    """
    address, tls, until = "", "", None
    with suppress(OSError, ValueError, TypeError):
        address = _address(used.getpeername())
    if isinstance(used, ssl.SSLSocket):
        with suppress(OSError, ValueError, KeyError):
            tls = used.version() or ""
            until = _expiry(used.getpeercert() or {})
    return Connection(
        host=urlsplit(response.url).netloc.rpartition("@")[2],
        address=address,
        proxy=without_user(next(iter(proxies), "")),
        tls=tls,
        certificate_until=until,
        status=response.status_code,
        seconds=response.elapsed.total_seconds(),
        server_time=_parse_date(response.headers.get("Date", "")),
        limits=_limits(response.headers),
    )


def without_user(url: str) -> str:
    """Return a URL without user and password.

    >>> without_user("http://jane:secret@proxy.example.org:3128/x")
    'http://proxy.example.org:3128/x'
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _address(peer: Any) -> str:
    host, port = peer[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _expiry(certificate: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def _parse_date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _limits(headers: Any) -> tuple[str, ...]:
    names = [name for name in headers if "ratelimit" in name.lower().replace("-", "")]
    names += [name for name in headers if name.lower() == "retry-after"]
    return tuple(f"{name}: {shorten(headers[name], 80)}" for name in names[:_MOST_LIMITS])
