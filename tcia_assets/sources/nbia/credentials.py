"""Secrets on their way to the archive: none, an api key, or a bearer token that expires.

What belongs here: how a request is signed, when a token is fetched anew. What does not: sending
anything (`transport.py` hands in the function that does). No secret leaves this room as text.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from tcia_assets.errors import RemoteError, UnknownReply, UnreadableReply
from tcia_assets.settings import Settings

# The headers that carry secrets; they must not follow a redirect to another host.
SECRET_HEADERS = ("Authorization", "api_key")

# A token is used for this part of its life: an expired one is answered with 200 and no rows.
_TRUSTED = 0.8
# The public client id of the archive's own data retriever; it has no secret.
_CLIENT_ID = "NBIA"
_UNAUTHORIZED = 401

# The beginning of a secret that is too short to tell anything.
_TELLING = 3

Send = Callable[[str, dict[str, str]], Mapping[str, object]]


class Credentials:
    """Nothing to show: the open dialects."""

    def sign(self, request: Any) -> Any:
        """The request, with whatever proves who asks in its headers."""
        return request

    def may_have_expired(self, error: RemoteError) -> bool:
        """Whether new credentials could turn that error into an answer."""
        del error
        return False

    def renew(self) -> None:
        """Forget what the calling thread's last request was signed with, if it can expire."""

    def hidden(self, text: str) -> str:
        """The text without any secret that the archive may have repeated in it."""
        for secret in self._secrets():
            text = text.replace(secret, "***")
            # An excerpt may end in the middle of one.
            for length in range(len(secret) - 1, _TELLING - 1, -1):
                if text.endswith(secret[:length]):
                    text = text[:-length] + "***"
                    break
        return text

    def _secrets(self) -> list[str]:
        return []


class ApiKey(Credentials):
    """A key that travels as a header: in a URL it would end up in logs."""

    def __init__(self, key: str) -> None:
        self._key = key

    def sign(self, request: Any) -> Any:
        request.headers["api_key"] = self._key
        return request

    def _secrets(self) -> list[str]:
        return [self._key]


class Bearer(Credentials):
    """A token, fetched when needed and kept for 80 % of the life that the server gives it.

    Safe to share among threads: those that fail together fetch one new token.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        send: Send,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._send, self._clock = url, send, clock
        self._form = {
            "username": username,
            "password": password,
            "client_id": _CLIENT_ID,
            "grant_type": "password",
        }
        self._lock = threading.Lock()
        self._used = threading.local()
        self._token, self._good_until = "", 0.0

    def sign(self, request: Any) -> Any:
        self._used.token = self._current()
        request.headers["Authorization"] = f"Bearer {self._used.token}"
        return request

    def may_have_expired(self, error: RemoteError) -> bool:
        refused = error.status == _UNAUTHORIZED and error.url != self._url
        return refused or isinstance(error, UnknownReply)

    def renew(self) -> None:
        with self._lock:
            # Unless another thread has renewed it already.
            if getattr(self._used, "token", "") == self._token:
                self._good_until = 0.0

    def _current(self) -> str:
        with self._lock:
            asked = self._clock()
            if asked >= self._good_until:
                answer = self._send(self._url, self._form)
                self._token, lifetime = self._read(answer)
                self._good_until = asked + _TRUSTED * lifetime
            return self._token

    def _read(self, answer: Mapping[str, object]) -> tuple[str, float]:
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        is_token = isinstance(token, str) and token.isascii() and token.isprintable()
        if not is_token or not isinstance(lifetime, int | float):
            raise UnreadableReply(
                "the token server gave no access_token and expires_in", url=self._url
            )
        return str(token), float(lifetime)

    def _secrets(self) -> list[str]:
        return [secret for secret in (self._token, self._form["password"]) if secret]


def credentials(settings: Settings, send: Send) -> Credentials:
    """What the dialect asks for, from the settings."""
    match settings.speaks.auth:
        case "bearer":
            host = settings.url.partition("/services/")[0]
            return Bearer(f"{host}/oauth/token", settings.username, settings.password, send)
        case "api_key":
            return ApiKey(settings.api_key)
    return Credentials()
