"""The ASGI application: the paths of all dialects.

What belongs here: from a path to an endpoint, and from a request to who answers it. What does not:
the answers (`handlers.py`), their delivery (`transport.py`), sockets (`server.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from tcia_assets.catalog import DIALECTS
from tcia_assets.sandbox.api_request import ApiRequest
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.authentication import Authenticator
from tcia_assets.sandbox.control_api import PREFIX, ControlApi
from tcia_assets.sandbox.faults import Fault, Faults
from tcia_assets.sandbox.handlers import Handlers
from tcia_assets.sandbox.reply import Reply, json_reply, server_error, text_reply
from tcia_assets.sandbox.request_log import RequestLog
from tcia_assets.sandbox.transport import response, whole
from tcia_assets.spec import Dialect, Endpoint

TOKEN_PATH = "/nbia-api/oauth/token"  # noqa: S105 - a path
_UP_PATH = "/nbia-api/services/up"
_TOKEN = "token"  # noqa: S105 - how faults and counts call the token endpoint

ROUTES: dict[str, tuple[Dialect, Endpoint]] = {
    f"{urlsplit(dialect.base_url).path}/{endpoint.path}": (dialect, endpoint)
    for dialect in DIALECTS
    for endpoint in dialect.endpoints
}
_BINDAAS = tuple(f"{urlsplit(d.base_url).path}/" for d in DIALECTS if d.server == "bindaas")


class App:
    """Serves an archive."""

    def __init__(
        self,
        archive: Archive,
        authenticator: Authenticator,
        faults: Faults,
        request_log: RequestLog,
    ) -> None:
        self._authenticator, self._faults, self._traffic = authenticator, faults, request_log
        self._answers = Handlers(archive, authenticator)
        self._control = ControlApi(archive, authenticator, faults, request_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path, body = request.scope["path"], await request.body()
        if path.startswith(PREFIX):
            answer = await run_in_threadpool(self._control, request.method, path, body)
            await whole(answer)(scope, receive, send)
        elif path == _UP_PATH:
            await whole(text_reply("up"))(scope, receive, send)
        elif path in ROUTES:
            await self._endpoint(request, body, send)
        else:
            await self._other(request, _first_of_each(request, body), send)

    async def _endpoint(self, request: Request, body: bytes, send: Send) -> None:
        dialect, endpoint = ROUTES[request.scope["path"]]
        sent = _first_of_each(request, body, _lists(endpoint))
        with self._traffic.record(dialect.name, endpoint.name, sent) as number:
            asked = ApiRequest(dialect, endpoint, sent, request.headers, number)
            fault = self._faults.take(
                dialect.name, endpoint.name, asked.values, answers=endpoint.returns
            )
            await self._deliver(request, send, fault, lambda: self._answer(request, asked, fault))

    async def _other(self, request: Request, sent: Mapping[str, str], send: Send) -> None:
        name = _TOKEN if request.scope["path"] == TOKEN_PATH else ""
        with self._traffic.record("", name, sent):
            fault = self._faults.take("", name, {}, answers=_TOKEN) if name else None
            await self._deliver(request, send, fault, lambda: self._elsewhere(request, sent))

    async def _deliver(
        self, request: Request, send: Send, fault: Fault | None, make: Callable[[], Reply]
    ) -> None:
        carrier = await response(request, make, fault, send)
        await carrier(request.scope, request.receive, send)

    def _answer(self, request: Request, asked: ApiRequest, fault: Fault | None) -> Reply:
        method = "GET" if request.method == "HEAD" else request.method
        if method != asked.endpoint.method:
            return server_error("HTTP 405 Method Not Allowed")
        return self._answers.answer(asked, fault)

    def _elsewhere(self, request: Request, sent: Mapping[str, str]) -> Reply:
        path = request.scope["path"]
        if path == TOKEN_PATH and request.method == "POST":
            return self._authenticator.token(sent)
        if path.startswith(_BINDAAS):
            return json_reply({"errorMessage": "there is no such query"}, 404)
        return server_error("HTTP 404 Not Found")


def _first_of_each(request: Request, body: bytes, lists: Sequence[str] = ()) -> dict[str, str]:
    """The fields of the form, or the parameters of the query.

    The first of each name counts, but of `lists` all do.
    """
    sent = body if request.method == "POST" else request.scope["query_string"]
    pairs = parse_qsl(sent.decode("latin-1"), keep_blank_values=True)
    first = dict(reversed(pairs))
    return first | {
        name: ",".join(value for each, value in pairs if each == name)
        for name in lists
        if name in first
    }


def _lists(endpoint: Endpoint) -> list[str]:
    """The fields of a form that may be repeated; of a query's parameters the first is taken."""
    return [p.wire_name for p in endpoint.parameters if p.is_list and endpoint.method == "POST"]
