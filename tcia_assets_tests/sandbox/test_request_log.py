"""What the sandbox records of requests."""

from __future__ import annotations

from tcia_assets.sandbox.server import Sandbox

from .api_client import ApiClient


def test_secrets_are_not_recorded(api: ApiClient, sandbox: Sandbox) -> None:
    api.grant()
    api("bindaas-v3", "getCollectionValues", api_key=sandbox.authenticator.api_key)
    kept = str(sandbox.requests.summary())
    assert sandbox.authenticator.api_key not in kept
    assert "'password': '...'" in kept
