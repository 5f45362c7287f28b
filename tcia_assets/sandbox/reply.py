"""What an answer is, and the texts with which each dialect refuses (archive-api.md 5.5)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass

from tcia_assets.spec import Dialect, Endpoint

_START = random.getrandbits(32)


@dataclass(frozen=True)
class Reply:
    """A reply: by default the bare 200 that means nothing, or no rows, or a failure."""

    chunks: Iterable[bytes] = ()
    status: int = 200
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    is_streamed: bool = False  # sent in chunks however small


class RequestRefused(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(answer.status)
        self.answer = answer


def text_reply(text: str, status: int = 200, content_type: str = "text/plain") -> Reply:
    return Reply([text.encode()], status, content_type)


def json_reply(value: object, status: int = 200) -> Reply:
    return text_reply(json.dumps(value), status, "application/json")


def server_error(message: str = "null") -> Reply:
    """The catch-all for whatever the server throws, the framework's own 404 and 405 included."""
    sentence = "Server was not able to process your request"
    return text_reply(f"{sentence}\n{message}" if message else sentence, 500)


def unknown_parameter(endpoint: Endpoint, name: str, taken: Iterable[str]) -> Reply:
    # the order is that of a Java set, which each start of the server changes
    names = random.Random(_START).sample(sorted(taken), len(set(taken)))  # noqa: S311
    where = "form" if endpoint.method == "POST" else "query"
    sentence = f"Invalid {where} parameter: '{name}'. Allowed parameters are: [{', '.join(names)}]"
    return text_reply(sentence, 400, "")


def missing_parameter(dialect: Dialect, endpoint: Endpoint) -> Reply:
    if dialect.server == "bindaas":
        return json_reply({"errorMessage": endpoint.missing}, 500)
    return text_reply(endpoint.missing, 400, "application/json")


def not_public(dialect: Dialect, endpoint: Endpoint, uid: str) -> Reply:
    # getDCMImage of nbia-v4 kept the sentence of nbia-v1
    if dialect.name == "nbia-v1" or (dialect.server == "sql" and endpoint.name == "getDCMImage"):
        sentence = f"Image with given SeriesInstanceUID,{uid}, is not in public domain."
    else:
        sentence = (
            "The user has not been granted the access to image with given "
            f"SeriesInstanceUID,{uid}. Please contact System Admin to resolve this issue."
        )
    return text_reply(sentence, 400, "application/json")
