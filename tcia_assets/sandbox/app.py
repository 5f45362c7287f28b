"""The ASGI application: routes the paths of all dialects.

It maps a path to its endpoint, and a request to its handler. Replies are made in `handlers.py` and
sent in `transport.py`; the sockets are in `server.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from tcia_assets.sandbox.api_request import ApiRequest
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.authentication import Authenticator
from tcia_assets.sandbox.control_api import PREFIX, ControlApi
from tcia_assets.sandbox.endpoints import SERVED, ServedEndpoint
from tcia_assets.sandbox.faults import Fault, Faults
from tcia_assets.sandbox.handlers import Handlers
from tcia_assets.sandbox.idc.releases import Releases
from tcia_assets.sandbox.idc.service import DIALECT, IdcService, is_for_idc
from tcia_assets.sandbox.reply import Reply, json_reply, server_error, text_reply
from tcia_assets.sandbox.request_log import RequestInFlight, RequestLog
from tcia_assets.sandbox.transport import plain_response, response
from tcia_assets.spec import Dialect, Endpoint

TOKEN_PATH = "/nbia-api/oauth/token"  # noqa: S105 - a path
# A shared list or a hold of 100,000 Series has 7 MB.
_LONGEST_BODY = 16 << 20
_UP_PATH = "/nbia-api/services/up"
_TOKEN = "token"  # noqa: S105 - the name of the token endpoint in faults and counts


def _path(dialect: Dialect) -> str:
    return urlsplit(dialect.base_url).path


ROUTES = {f"{_path(each.dialect)}/{each.endpoint.path}": each for each in SERVED}
_BINDAAS = tuple({f"{_path(each.dialect)}/" for each in SERVED if each.is_bindaas})


class App:
    """Serves an archive."""

    def __init__(
        self,
        archive: Archive,
        authenticator: Authenticator,
        faults: Faults,
        request_log: RequestLog,
        releases: Releases,
    ) -> None:
        self._authenticator, self._faults = authenticator, faults
        self._request_log = request_log
        self._handlers = Handlers(archive, authenticator)
        self._idc = IdcService(releases)
        self._control = ControlApi(archive, authenticator, faults, request_log, releases)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        refusal, body = _refusal(request), b""
        if refusal is None:
            body, refusal = await _limited_body(request)
        if refusal is not None:
            await plain_response(refusal)(scope, receive, send)
            return
        path = request.scope["path"]
        if path.startswith(PREFIX):
            reply = await run_in_threadpool(self._control, request.method, path, body)
            await plain_response(reply)(scope, receive, send)
        elif path == _UP_PATH:
            await plain_response(text_reply("up"))(scope, receive, send)
        elif path in ROUTES:
            await self._serve_endpoint(request, body, send)
        elif is_for_idc(path):
            await self._serve_idc(request, send)
        else:
            await self._serve_other(request, _first_values(request, body), send)

    async def _serve_endpoint(self, request: Request, body: bytes, send: Send) -> None:
        served = ROUTES[request.scope["path"]]
        dialect, endpoint = served.dialect, served.endpoint
        sent = _first_values(request, body, _repeatable_fields(endpoint))
        with self._request_log.record(dialect.name, endpoint.name, sent) as logged:
            api_request = ApiRequest(served, sent, request.headers, logged.number)
            fault = self._faults.take(
                dialect.name, endpoint.name, api_request.values, returns=endpoint.returns
            )
            await _send_reply(
                request,
                send,
                fault,
                lambda: self._reply(request, served, api_request, fault),
                logged,
            )

    async def _serve_idc(self, request: Request, send: Send) -> None:
        sent = _first_values(request, b"")
        asked = await run_in_threadpool(
            self._idc.read, request.scope["path"], sent, dict(request.headers)
        )
        shown = {"bucket": asked.request.bucket, "key": asked.request.key} | sent
        with self._request_log.record(DIALECT, asked.endpoint, shown) as logged:
            fault = self._faults.take(
                DIALECT, asked.endpoint, {**asked.values}, returns=asked.returns
            )
            await _send_reply(
                request, send, fault, lambda: self._idc.handle(request.method, asked, fault), logged
            )

    async def _serve_other(self, request: Request, sent: Mapping[str, str], send: Send) -> None:
        name = _TOKEN if request.scope["path"] == TOKEN_PATH else ""
        with self._request_log.record("", name, sent) as logged:
            fault = self._faults.take("", name, {}, returns=_TOKEN) if name else None
            await _send_reply(
                request, send, fault, lambda: self._other_reply(request, sent), logged
            )

    def _reply(
        self,
        request: Request,
        served: ServedEndpoint,
        api_request: ApiRequest,
        fault: Fault | None,
    ) -> Reply:
        method = "GET" if request.method == "HEAD" else request.method
        if method != served.endpoint.method:
            return server_error("HTTP 405 Method Not Allowed")
        return self._handlers.handle(api_request, fault)

    def _other_reply(self, request: Request, sent: Mapping[str, str]) -> Reply:
        path = request.scope["path"]
        if path == TOKEN_PATH and request.method == "POST":
            return self._authenticator.token(sent)
        if path.startswith(_BINDAAS):
            return json_reply({"errorMessage": "there is no such query"}, 404)
        return server_error("HTTP 404 Not Found")


def _refusal(request: Request) -> Reply | None:
    """Return the reply to a request that a page in a browser may have sent; None for any other.

    A page of another site can send requests to loopback; with a name of its own that leads there it
    could also read the replies.
    """
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if not _is_loopback(host):
        return text_reply(f"the sandbox is not the host {host[:100]!r}", 403)
    if origin is not None and origin != f"http://{host}":
        return text_reply(f"the sandbox takes no request from {origin[:100]!r}", 403)
    return None


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _limited_body(request: Request) -> tuple[bytes, Reply | None]:
    """Return the body; if it is too long, the reply to that."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_BODY:
            return b"", text_reply(f"a body has {_LONGEST_BODY} bytes at most", 413)
    return bytes(body), None


async def _send_reply(
    request: Request,
    send: Send,
    fault: Fault | None,
    make_reply: Callable[[], Reply],
    logged: RequestInFlight,
) -> None:
    """Send a reply; the request ends before the last part, with which the next one may come."""

    async def send_part(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            logged.end()
        await send(message)

    made = await response(request, make_reply, fault, send)
    await made(request.scope, request.receive, send_part)


def _first_values(request: Request, body: bytes, repeatable: Sequence[str] = ()) -> dict[str, str]:
    """Return the form fields, or the query parameters: the first value of each name.

    The values of `repeatable` names are joined by commas.
    """
    sent = body if request.method == "POST" else request.scope["query_string"]
    pairs = parse_qsl(sent.decode("latin-1"), keep_blank_values=True)
    first = dict(reversed(pairs))
    return first | {
        name: ",".join(value for each, value in pairs if each == name)
        for name in repeatable
        if name in first
    }


def _repeatable_fields(endpoint: Endpoint) -> list[str]:
    """Return the form fields that may be sent several times; query parameters may not."""
    return [p.wire_name for p in endpoint.parameters if p.is_list and endpoint.method == "POST"]
