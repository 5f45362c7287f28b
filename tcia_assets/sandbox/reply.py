"""HTTP replies, and the texts with which each server refuses a request (archive-api.md 5.5)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass

from tcia_assets.sandbox.endpoints import ServedEndpoint
from tcia_assets.spec import Endpoint

_PROCESS_SEED = random.getrandbits(32)


@dataclass(frozen=True)
class Reply:
    """An HTTP reply. The default is an empty 200, which the servers also send on some failures."""

    chunks: Iterable[bytes] = ()
    status: int = 200
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    is_streamed: bool = False  # sent without a Content-Length, even if small


class RequestRefused(Exception):
    """The server refuses the request with `reply`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def text_reply(text: str, status: int = 200, content_type: str = "text/plain") -> Reply:
    """Return a reply of this text."""
    return Reply([text.encode()], status, content_type)


def json_reply(value: object, status: int = 200) -> Reply:
    """Return a reply of this value as JSON."""
    return text_reply(json.dumps(value), status, "application/json")


def server_error(message: str = "null") -> Reply:
    """Return NBIA's reply to every exception, to its framework's own 404 and 405 too."""
    sentence = "Server was not able to process your request"
    return text_reply(f"{sentence}\n{message}" if message else sentence, 500)


def unknown_parameter(endpoint: Endpoint, name: str, accepted: Iterable[str]) -> Reply:
    """Return the reply to a request with a parameter that the endpoint does not take."""
    # Java prints a set in an order that changes with each start of the server.
    names = random.Random(_PROCESS_SEED).sample(sorted(accepted), len(set(accepted)))  # noqa: S311
    where = "form" if endpoint.method == "POST" else "query"
    sentence = f"Invalid {where} parameter: '{name}'. Allowed parameters are: [{', '.join(names)}]"
    return text_reply(sentence, 400, "")


def missing_parameter(served: ServedEndpoint) -> Reply:
    """Return the reply to a request without a required parameter."""
    if served.is_bindaas:
        return json_reply({"errorMessage": served.missing_parameter_message}, 500)
    return text_reply(served.missing_parameter_message, 400, "application/json")


def not_public(served: ServedEndpoint, series_uid: str) -> Reply:
    """Return the reply to a request for images of a Series that is hidden or does not exist."""
    # getDCMImage of nbia-v4 kept the message of nbia-v1.
    is_dcm_image = served.is_native_sql and served.endpoint.name == "getDCMImage"
    if served.dialect.name == "nbia-v1" or is_dcm_image:
        sentence = f"Image with given SeriesInstanceUID,{series_uid}, is not in public domain."
    else:
        sentence = (
            "The user has not been granted the access to image with given "
            f"SeriesInstanceUID,{series_uid}. Please contact System Admin to resolve this issue."
        )
    return text_reply(sentence, 400, "application/json")
