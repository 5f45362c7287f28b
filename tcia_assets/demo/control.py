"""Changes of the sandbox by its control API, and whether a server answers."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

_SECONDS = 30


def change_sandbox(url: str, change: str, **body: object) -> list[str]:
    """Change the sandbox's Series, and return the UIDs of the Series concerned.

    Args:
        url: URL of the sandbox.
        change: Such as `hold`, `release`, `revise`, `move`, `withdraw`, `faults`, `faults/clear`.
        body: What the change takes.
    """
    reply = _post(f"{url}/_sandbox/{change}", body) or {}
    return list(reply.get("uids", []))


def publish_release(url: str) -> str:
    """Publish a release of the Imaging Data Commons with what the sandbox has, and return it."""
    return str(_post(f"{url}/_sandbox/idc/publish", {})["release"])


def is_up(url: str) -> bool:
    """Return whether the sandbox at this URL answers."""
    try:
        with urlopen(f"{url}/nbia-api/services/up", timeout=5) as response:  # noqa: S310 - http
            return bool(response.read())
    except OSError:
        return False


def _post(url: str, body: dict[str, object]) -> Any:
    content = {"content-type": "application/json"}
    request = Request(url, json.dumps(body).encode(), content)  # noqa: S310 - a loopback URL
    with urlopen(request, timeout=_SECONDS) as response:  # noqa: S310 - as above
        return json.loads(response.read())
