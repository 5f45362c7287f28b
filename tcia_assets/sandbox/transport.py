"""An answer -> bytes on the wire, and every way in which a connection fails.

What belongs here: statuses, lengths, chunks, and the faults of the connection. What does not: what
is answered. Whatever works hard runs in a thread: the event loop only sends.
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

# A body that is no larger goes in one piece and has a Content-Length, as most of the server's do.
_WHOLE = 1 << 20

_NO_CONTENT = 204
_FAILING = {"reset", "unterminated"}
_IN_THE_MIDDLE = {*_FAILING, "drip"}
_PAGE = "<html><head><title>Maintenance</title></head><body><p>Back soon.</p></body></html>"
_RESET_AT_ONCE = struct.pack("ii", 1, 0)  # linger for no second: close() sends RST, not FIN


class ConnectionFails(Exception):
    """The rest of the body is never sent."""


async def response(
    request: Request, make: Callable[[], Reply], fault: Fault | None, send: Send
) -> Response:
    """The response that carries the answer, or what the fault makes of it."""
    if fault and fault.kind == "hang":
        await _hang(request, fault.seconds)
    answer, body, is_whole = await run_in_threadpool(_prepared, make, fault)
    headers = dict(answer.headers)
    if answer.content_type:
        headers["content-type"] = answer.content_type
    if is_whole and answer.status != _NO_CONTENT:
        headers["content-length"] = str(sum(map(len, body)))
    if is_whole and not (fault and fault.kind in _IN_THE_MIDDLE):
        return Response(b"".join(body), answer.status, headers)
    return StreamingResponse(_sent(body, fault, send), answer.status, headers)


def _prepared(
    make: Callable[[], Reply], fault: Fault | None
) -> tuple[Reply, Iterable[bytes], bool]:
    """The answer, its body, and whether that is the whole of it, in a list."""
    try:
        answer = (_instead(fault) if fault else None) or make()
        return answer, *_body(answer, fault)
    except RequestRefused as refusal:
        return refusal.answer, *_body(refusal.answer, None)
    except Exception as error:  # noqa: BLE001 - the server has the same catch-all
        answer = server_error(f"{type(error).__name__}: {error}")
        return answer, *_body(answer, None)


def _body(answer: Reply, fault: Fault | None) -> tuple[Iterable[bytes], bool]:
    body = iter(answer.chunks)
    if fault and fault.kind.startswith("cut"):
        body = _cut(body, fault)
    if answer.is_streamed:
        return body, False
    start = list(_up_to(body, _WHOLE + 1))
    is_whole = sum(map(len, start)) <= _WHOLE
    return start if is_whole else chain(start, body), is_whole


def whole(answer: Reply) -> Response:
    """The response to a request that no fault can reach."""
    return Response(b"".join(answer.chunks), answer.status, media_type=answer.content_type or None)


# --- Faults -------------------------------------------------------------------------------------


def _instead(fault: Fault) -> Reply | None:
    """The answer that a fault gives in place of the archive's."""
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
    """Waits, but for nobody: whoever has gone is not in flight any more."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass


def _cut(body: Iterable[bytes], fault: Fault) -> Iterator[bytes]:
    start = b"".join(_up_to(body, fault.after_bytes))[: fault.after_bytes]
    if fault.kind == "cut_after_comma":
        start = start[: start.rfind(b",") + 1]
    return iter([start])


def _up_to(body: Iterable[bytes], length: int) -> Iterator[bytes]:
    """Pieces that hold as many bytes, or a few more."""
    for piece in body:
        yield piece
        length -= len(piece)
        if length <= 0:
            return


async def _sent(body: Iterable[bytes], fault: Fault | None, send: Send) -> AsyncIterator[bytes]:
    kind = fault.kind if fault else ""
    if fault and kind in _FAILING:
        yield b"".join(_up_to(body, fault.after_bytes))[: fault.after_bytes]
        if kind == "reset":
            await _reset(send)
        raise ConnectionFails
    async for piece in iterate_in_threadpool(body):
        if fault and kind == "drip":
            for at in range(len(piece)):
                yield piece[at : at + 1]
                await asyncio.sleep(fault.seconds)
        else:
            yield piece


async def _reset(send: Send) -> None:
    """Cut the connection as a crash does: what was sent arrives, then a reset."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)  # uvicorn's
    if transport is not None:
        await asyncio.sleep(0.05)  # let the client take what is under way
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE
        )
        transport.abort()
