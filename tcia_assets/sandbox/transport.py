"""Send a reply, with faults of the connection if requested.

Replies are made in threads; the event loop only sends.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.reply import Reply, RequestRefused, server_error, text_reply

# Up to this size a body is sent in one piece with a Content-Length, like most of the server's.
_ONE_PIECE_BYTES = 1 << 20

_NO_CONTENT = 204
_BREAKING = {"reset", "unterminated"}
_WHILE_SENDING = {*_BREAKING, "drip"}
_PAGE = "<html><head><title>Maintenance</title></head><body><p>Back soon.</p></body></html>"
_LINGER_ZERO = struct.pack("ii", 1, 0)  # with this, close() sends RST instead of FIN


class ConnectionBroken(Exception):
    """The rest of the body is not sent."""


async def response(
    request: Request, make_reply: Callable[[], Reply], fault: Fault | None, send: Send
) -> Response:
    """Return the response of a reply, changed by the fault.

    Args:
        request: The request, to notice that the client closed the connection.
        make_reply: Makes the reply; runs in a thread.
        fault: The fault to apply.
        send: The ASGI function, to reset its connection.
    """
    if fault and fault.kind == "hang":
        await _hang(request, fault.seconds)
    reply, body, is_complete = await run_in_threadpool(_prepare, make_reply, fault)
    headers = dict(reply.headers)
    if reply.content_type:
        headers["content-type"] = reply.content_type
    if is_complete and reply.status != _NO_CONTENT:
        headers.setdefault("content-length", str(sum(map(len, body))))
    if is_complete and not (fault and fault.kind in _WHILE_SENDING):
        return Response(b"".join(body), reply.status, headers)
    return StreamingResponse(_send(body, fault, send), reply.status, headers)


def _prepare(
    make_reply: Callable[[], Reply], fault: Fault | None
) -> tuple[Reply, Iterable[bytes], bool]:
    """Return the reply, its body, and whether the body is complete and not an iterator."""
    try:
        reply = (_replacement(fault) if fault else None) or make_reply()
        return reply, *_body(reply, fault)
    except RequestRefused as refusal:
        return refusal.reply, *_body(refusal.reply, None)
    except Exception as error:  # noqa: BLE001 - the server has the same catch-all
        reply = server_error(f"{type(error).__name__}: {error}")
        return reply, *_body(reply, None)


def _body(reply: Reply, fault: Fault | None) -> tuple[Iterable[bytes], bool]:
    body = iter(reply.chunks)
    if fault and fault.kind.startswith("cut"):
        body = _cut(body, fault)
    if reply.is_streamed:
        return body, False
    start = list(_take(body, _ONE_PIECE_BYTES + 1))
    is_complete = sum(map(len, start)) <= _ONE_PIECE_BYTES
    return start if is_complete else chain(start, body), is_complete


def plain_response(reply: Reply) -> Response:
    """Return the response of a reply that has no faults."""
    return Response(b"".join(reply.chunks), reply.status, media_type=reply.content_type or None)


# --- Faults -------------------------------------------------------------------------------------


def _replacement(fault: Fault) -> Reply | None:
    """Return the reply that a fault sends instead of the archive's, if it does."""
    if fault.kind == "status":
        headers = (("retry-after", fault.retry_after),) if fault.retry_after else ()
        return Reply([fault.body.encode()], fault.status, fault.content_type, headers)
    fixed = {
        "html": text_reply(_PAGE, content_type="text/html"),
        "empty": Reply(),
        "no_data": text_reply("No data found.", 500),
    }
    return fixed.get(fault.kind)


async def _hang(request: Request, seconds: float) -> None:
    """Wait, but not longer than the client does."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass


def _cut(body: Iterable[bytes], fault: Fault) -> Iterator[bytes]:
    start = b"".join(_take(body, fault.after_bytes))[: fault.after_bytes]
    if fault.kind == "cut_after_comma":
        start = start[: start.rfind(b",") + 1]
    return iter([start])


def _take(body: Iterable[bytes], length: int) -> Iterator[bytes]:
    """Yield pieces until they hold `length` bytes or more."""
    for piece in body:
        yield piece
        length -= len(piece)
        if length <= 0:
            return


async def _send(body: Iterable[bytes], fault: Fault | None, send: Send) -> AsyncIterator[bytes]:
    kind = fault.kind if fault else ""
    if fault and kind in _BREAKING:
        yield b"".join(_take(body, fault.after_bytes))[: fault.after_bytes]
        if kind == "reset":
            await _reset(send)
        raise ConnectionBroken
    async for piece in iterate_in_threadpool(body):
        if fault and kind == "drip":
            for at in range(len(piece)):
                yield piece[at : at + 1]
                await asyncio.sleep(fault.seconds)
        else:
            yield piece


async def _reset(send: Send) -> None:
    """Reset the connection like a crash: the client receives what was sent, then the reset."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)  # uvicorn's
    if transport is not None:
        await asyncio.sleep(0.05)  # let the client receive what was sent
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO
        )
        transport.abort()
