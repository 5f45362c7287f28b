"""Who may ask: bearer tokens (nbia-v2), a key (bindaas-v3), and what each dialect says to others.

What belongs here: the token endpoint, and the check of a request's credentials (archive-api.md 8).
What does not: the check that a Series is public (`image_handlers.py`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tcia_assets.sandbox.api_request import ApiRequest
from tcia_assets.sandbox.reply import Reply, RequestRefused, json_reply, server_error
from tcia_assets.spec import Dialect, Endpoint

_BEARER = len("Bearer ")
_IMAGES = {"zip", "dicom"}
_REFRESHES = 1800


@dataclass
class Authenticator:
    """The one account and key of the sandbox, and the tokens that were given out."""

    username: str = "sandbox"
    password: str = "sandbox"  # noqa: S105 - not a secret: it protects synthetic images on loopback
    api_key: str = "sandbox-key"
    expires_in: float = 300
    clock: Callable[[], float] = time.monotonic
    _tokens: dict[str, float] = field(default_factory=dict)
    _refresh_tokens: dict[str, float] = field(default_factory=dict)

    def token(self, form: Mapping[str, str]) -> Reply:
        """The answer of /oauth/token to these fields."""
        grant = form.get("grant_type")
        if grant == "password":
            same = (form.get("username"), form.get("password")) == (self.username, self.password)
            return self._issue() if same else _no_grant("Invalid user credentials")
        if grant == "refresh_token":
            known = self._is_live(self._refresh_tokens, form.get("refresh_token", ""))
            return self._issue() if known else _no_grant("Token is not active")
        raise RequestRefused(server_error())

    def _issue(self) -> Reply:
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        now = self.clock()
        self._tokens[access] = now + self.expires_in
        self._refresh_tokens[refresh] = now + _REFRESHES
        whole = int(self.expires_in)
        return json_reply(
            {
                "access_token": access,
                "expires_in": whole if whole == self.expires_in else self.expires_in,
                "refresh_expires_in": _REFRESHES,
                "refresh_token": refresh,
                "token_type": "Bearer",
                "not-before-policy": 0,
                "session_state": secrets.token_hex(8),
                "scope": "profile email",
            }
        )

    def expire(self) -> None:
        """Let every access token be expired; refresh tokens stay good."""
        self._tokens.clear()

    def _is_live(self, tokens: Mapping[str, float], token: str) -> bool:
        return tokens.get(token, 0) > self.clock()

    def check(self, asked: ApiRequest) -> None:
        """Let the request pass.

        Raises:
            RequestRefused: with the answer that the dialect gives instead.
        """
        dialect = asked.dialect
        if dialect.auth == "api_key":
            sent = {asked.headers.get("api_key"), asked.parameters.get("api_key")}
            if self.api_key not in sent:
                raise RequestRefused(
                    json_reply({"errorMessage": "Invalid or missing API key"}, 401)
                )
        elif dialect.auth == "bearer" or dialect.server == "sql":
            self._check_token(dialect, asked.endpoint, asked.headers.get("authorization"))

    def _check_token(self, dialect: Dialect, endpoint: Endpoint, header: str | None) -> None:
        is_v4, is_image = dialect.server == "sql", endpoint.returns in _IMAGES
        if is_v4 and header in {None, "Bearer undefined"}:
            return  # a guest
        if header is None:
            if is_image or endpoint.name.endswith("Values"):
                raise RequestRefused(server_error())
            raise RequestRefused(Reply())
        if self._is_live(self._tokens, header[_BEARER:]):
            return
        if is_image or endpoint.name == "getCollectionValues":
            raise RequestRefused(Reply(status=401))
        # nbia-v4 builds the SQL of getSeries without its authorisation clause, which then fails.
        raise RequestRefused(server_error() if is_v4 and endpoint.name == "getSeries" else Reply())


def _no_grant(description: str) -> Reply:
    return json_reply({"error": "invalid_grant", "error_description": description}, 401)
