"""Credentials of the NBIA dialects: an API key, or a bearer token that expires."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from tcia_assets.errors import RemoteError, UnknownReply, UnreadableReply
from tcia_assets.settings import Settings
from tcia_assets.sources.http.credentials import Credentials, PostForm

# A token is used for this part of its life: an expired one is answered with 200 and no rows.
_USED_LIFETIME = 0.8
# The public client id of TCIA's own data retriever; it has no secret.
_CLIENT_ID = "NBIA"
_UNAUTHORIZED = 401


def make_credentials(settings: Settings, post_form: PostForm) -> Credentials:
    """Make the credentials that the dialect of the settings needs.

    Args:
        settings: Dialect, URL and secrets.
        post_form: Sends a form to a URL and returns the JSON object of the reply.
    """
    match settings.api.auth:
        case "bearer":
            host = settings.url.partition("/services/")[0]
            return Bearer(f"{host}/oauth/token", settings.username, settings.password, post_form)
        case "api_key":
            return ApiKey(settings.api_key)
    return Credentials()


class ApiKey(Credentials):
    """A key that is sent as a header: a URL would end up in logs."""

    headers = ("api_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def sign(self, request: Any) -> Any:
        request.headers["api_key"] = self._key
        return request

    def _secrets(self) -> list[str]:
        return [self._key]


class Bearer(Credentials):
    """A token that is fetched when it is needed and used for 80 % of its lifetime.

    Safe to share among threads: if several fail at the same time, one new token is fetched.
    """

    headers = ("Authorization",)

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        post_form: PostForm,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._post_form, self._clock = url, post_form, clock
        self._form = {
            "username": username,
            "password": password,
            "client_id": _CLIENT_ID,
            "grant_type": "password",
        }
        self._lock = threading.Lock()
        self._used = threading.local()
        self._token, self._valid_until = "", 0.0

    def sign(self, request: Any) -> Any:
        self._used.token = self._current_token()
        request.headers["Authorization"] = f"Bearer {self._used.token}"
        return request

    def may_have_expired(self, error: RemoteError) -> bool:
        is_refused = error.status == _UNAUTHORIZED and error.url != self._url
        return is_refused or isinstance(error, UnknownReply)

    def renew(self) -> None:
        with self._lock:
            # Unless another thread has renewed it already.
            if getattr(self._used, "token", "") == self._token:
                self._valid_until = 0.0

    def _current_token(self) -> str:
        with self._lock:
            now = self._clock()
            if now >= self._valid_until:
                self._token, lifetime_s = self._parse(self._post_form(self._url, self._form))
                self._valid_until = now + _USED_LIFETIME * lifetime_s
            return self._token

    def _parse(self, reply: Mapping[str, object]) -> tuple[str, float]:
        token, lifetime_s = reply.get("access_token"), reply.get("expires_in")
        is_token = isinstance(token, str) and token.isascii() and token.isprintable()
        if not is_token or not isinstance(lifetime_s, int | float):
            raise UnreadableReply(
                "the reply of the token server has no access_token and expires_in", url=self._url
            )
        return str(token), float(lifetime_s)

    def _secrets(self) -> list[str]:
        return [secret for secret in (self._token, self._form["password"]) if secret]
