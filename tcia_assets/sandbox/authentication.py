"""Authentication: bearer tokens (nbia-v2), an API key (bindaas-v3), and refusals without them.

This module has the token endpoint, and the check of a request's credentials (archive-api.md 8).
Whether a Series is public is checked in `image_handlers.py`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tcia_assets.sandbox.api_request import ApiRequest
from tcia_assets.sandbox.endpoints import ServedEndpoint
from tcia_assets.sandbox.reply import Reply, RequestRefused, json_reply, server_error

_BEARER = len("Bearer ")
_IMAGES = {"zip", "dicom"}
_REFRESH_TOKEN_SECONDS = 1800


@dataclass
class Authenticator:
    """The one account and API key of the sandbox, and the tokens that it has issued.

    Args:
        username: The account's name.
        password: The account's password.
        api_key: The key that bindaas-v3 requires.
        expires_in: Lifetime of an access token in seconds.
        clock: The time in seconds.
    """

    username: str = "sandbox"
    password: str = "sandbox"  # noqa: S105 - not a secret: it protects synthetic images on loopback
    api_key: str = "sandbox-key"
    expires_in: float = 300
    clock: Callable[[], float] = time.monotonic
    _tokens: dict[str, float] = field(default_factory=dict)
    _refresh_tokens: dict[str, float] = field(default_factory=dict)

    def token(self, form: Mapping[str, str]) -> Reply:
        """Return the reply of /oauth/token to these form fields.

        Raises:
            RequestRefused: The grant type is unknown.
        """
        grant = form.get("grant_type")
        if grant == "password":
            sent = form.get("username"), form.get("password")
            is_known = sent == (self.username, self.password)
            return self._issue() if is_known else _grant_refused("Invalid user credentials")
        if grant == "refresh_token":
            is_valid = self._is_valid(self._refresh_tokens, form.get("refresh_token", ""))
            return self._issue() if is_valid else _grant_refused("Token is not active")
        raise RequestRefused(server_error())

    def _issue(self) -> Reply:
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        now = self.clock()
        self._tokens[access] = now + self.expires_in
        self._refresh_tokens[refresh] = now + _REFRESH_TOKEN_SECONDS
        seconds = int(self.expires_in)
        return json_reply(
            {
                "access_token": access,
                "expires_in": seconds if seconds == self.expires_in else self.expires_in,
                "refresh_expires_in": _REFRESH_TOKEN_SECONDS,
                "refresh_token": refresh,
                "token_type": "Bearer",
                "not-before-policy": 0,
                "session_state": secrets.token_hex(8),
                "scope": "profile email",
            }
        )

    def expire(self) -> None:
        """Expire every access token; refresh tokens stay valid."""
        self._tokens.clear()

    def _is_valid(self, tokens: Mapping[str, float], token: str) -> bool:
        return tokens.get(token, 0) > self.clock()

    def check(self, request: ApiRequest) -> None:
        """Check the credentials of a request, if its dialect requires any.

        Raises:
            RequestRefused: They are missing or wrong.
        """
        auth = request.served.dialect.auth
        if auth == "api_key":
            sent = {request.headers.get("api_key"), request.parameters.get("api_key")}
            if self.api_key not in sent:
                reply = json_reply({"errorMessage": "Invalid or missing API key"}, 401)
                raise RequestRefused(reply)
        elif auth == "bearer" or request.served.is_native_sql:
            self._check_token(request.served, request.headers.get("authorization"))

    def _check_token(self, served: ServedEndpoint, header: str | None) -> None:
        name, is_image = served.endpoint.name, served.endpoint.returns in _IMAGES
        if served.is_native_sql and header in {None, "Bearer undefined"}:
            return  # a guest
        if header is None:
            raise RequestRefused(server_error() if is_image or name.endswith("Values") else Reply())
        if self._is_valid(self._tokens, header[_BEARER:]):
            return
        if is_image or name == "getCollectionValues":
            raise RequestRefused(Reply(status=401))
        # nbia-v4 builds the SQL of getSeries without its authorization clause, which then fails.
        is_invalid_sql = served.is_native_sql and name == "getSeries"
        raise RequestRefused(server_error() if is_invalid_sql else Reply())


def _grant_refused(description: str) -> Reply:
    return json_reply({"error": "invalid_grant", "error_description": description}, 401)
