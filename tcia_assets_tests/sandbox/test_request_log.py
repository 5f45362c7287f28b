"""What the sandbox records of requests."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest
from starlette.types import Message

from tcia_assets.sandbox.app import App
from tcia_assets.sandbox.request_log import RequestLog
from tcia_assets.sandbox.server import Sandbox

from .api_client import ApiClient


def test_secrets_are_not_recorded(api: ApiClient, sandbox: Sandbox) -> None:
    api.grant()
    api("bindaas-v3", "getCollectionValues", api_key=sandbox.authenticator.api_key)
    kept = str(sandbox.requests.summary())
    assert sandbox.authenticator.api_key not in kept
    assert "'password': '...'" in kept


@pytest.mark.parametrize("endpoint", ["getImage", "getSeries"])
def test_a_request_is_over_before_its_client_can_send_the_next_one(
    endpoint: str, api: ApiClient, sandbox: Sandbox
) -> None:
    uid = api.rows("nbia-v4", "getSeries")[0]["SeriesInstanceUID"]
    log = RequestLog()
    app = App(sandbox.archive, sandbox.authenticator, sandbox.faults, log, sandbox.idc)
    counted: list[tuple[str, int]] = []
    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return asked.pop() if asked else await asyncio.get_running_loop().create_future()

    async def send(message: Message) -> None:
        is_last = not message.get("more_body", message["type"] == "http.response.start")
        counted.append(("last" if is_last else "earlier", log.in_flight))

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"{urlsplit(sandbox.base_url()).path}/{endpoint}",
        "query_string": f"SeriesInstanceUID={uid}".encode(),
        "headers": [(b"host", b"localhost")],
    }
    asyncio.run(app(scope, receive, send))
    assert set(counted) == {("earlier", 1), ("last", 0)}
    assert counted[-1] == ("last", 0) and log.in_flight == 0
