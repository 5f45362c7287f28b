"""A client of the sandbox over HTTP, in every dialect."""

from __future__ import annotations

from typing import Any

import requests

from tcia_assets.catalog import dialect
from tcia_assets.sandbox.server import Sandbox

DIALECTS = ("nbia-v4", "nbia-v1", "nbia-v2", "bindaas-v4", "bindaas-v3")
NBIA = DIALECTS[:3]
BINDAAS = DIALECTS[3:]


class ApiClient:
    """Sends a request as a dialect needs it, with its credentials."""

    def __init__(self, sandbox: Sandbox, session: requests.Session) -> None:
        self.sandbox, self.session = sandbox, session

    def __call__(
        self,
        dialect_name: str,
        endpoint_name: str,
        values: dict[str, str] | None = None,
        *,
        credentials: bool = True,
        headers: dict[str, str] | None = None,
        **parameters: str,
    ) -> requests.Response:
        """Return the reply; `values` have our names, `parameters` are sent as they are."""
        spoken = dialect(dialect_name)
        endpoint = spoken.endpoint(endpoint_name)
        sent = {endpoint.parameter(name).wire_name: value for name, value in (values or {}).items()}
        return self.session.request(
            endpoint.method,
            f"{self.sandbox.base_url(dialect_name)}/{endpoint.path}",
            **{"data" if endpoint.method == "POST" else "params": {**sent, **parameters}},
            headers={**(self.credentials(dialect_name) if credentials else {}), **(headers or {})},
            timeout=20,
        )

    def rows(self, dialect_name: str, endpoint_name: str, **values: str) -> list[dict[str, Any]]:
        reply = self(dialect_name, endpoint_name, values, **as_json(dialect_name, endpoint_name))
        assert reply.status_code == 200, reply.text
        return reply.json() if reply.content else []

    def credentials(self, dialect_name: str) -> dict[str, str]:
        auth = dialect(dialect_name).auth
        if auth == "api_key":
            return {"api_key": self.sandbox.authenticator.api_key}
        return {"Authorization": f"Bearer {self.token()}"} if auth == "bearer" else {}

    def token(self) -> str:
        return str(self.grant().json()["access_token"])

    def grant(self, **fields: str) -> requests.Response:
        access = self.sandbox.authenticator
        account = {"username": access.username, "password": access.password}
        form = {"grant_type": "password", "client_id": "NBIA", **account, **fields}
        return self.session.post(self.sandbox.token_url, data=form, timeout=20)


def as_json(dialect_name: str, endpoint_name: str) -> dict[str, str]:
    """Return the format parameter, which Bindaas needs and some endpoints do not take."""
    return {"format": "json"} if dialect(dialect_name).endpoint(endpoint_name).formats else {}
