"""A client that is told to stop: nothing waits on, nothing new is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.errors import RemoteError, Stopped
from tcia_assets.sources import Target
from tcia_assets.sources.nbia.client import Client
from tcia_assets_tests.sources.conftest import FAST, Serve, talking
from tcia_assets_tests.sources.http.test_limiter import until
from tcia_assets_tests.sources.scripted import HANGING, Answer, Scripted, answer

UID = {"SeriesInstanceUID": "1.2.3"}
GOOD = answer('[{"Collection":"A"}]')
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nPK"
PATIENT = replace(FAST, longest_retry_after_s=300.0)


@contextmanager
def under_way(
    server: Scripted, put: Callable[[], Any], *, asked: int = 1, threads: int = 1
) -> Iterator[list[Future[Any]]]:
    """Threads that ask, and of which the server has heard so many."""
    pool = ThreadPoolExecutor(threads)
    futures = [pool.submit(put) for _ in range(threads)]
    until(lambda: len(server.asked) >= asked)
    yield futures
    pool.shutdown(wait=False)
    for future in futures:
        assert isinstance(future.exception(5), Stopped)


WAITING = {
    "no answer": HANGING,
    "no more bytes": Answer(BODY, "hang"),
    "a drip": Answer(BODY, tail=lambda: repeat(b"x"), pause_s=0.01),
    "a slow line": Answer(BODY, tail=lambda: repeat(bytes(20_000)), pause_s=0.01),
    "a fast line": Answer(BODY, tail=lambda: repeat(bytes(100_000))),
    "an error page": answer("no", 400, promised=1000, then="hang"),
    "a pause before the next attempt": answer("", 503, Retry_After="300"),
}


@pytest.mark.parametrize("waiting", WAITING.values(), ids=WAITING)
def test_whatever_is_waited_for_ends_at_once(waiting: Answer, serve: Serve, tmp_path: Path) -> None:
    server = serve(waiting)
    with talking(server.url, pacing=PATIENT) as client:
        with under_way(
            server, lambda: client.download("getImage", Target(tmp_path / "zip"), **UID)
        ):
            client.stop()
        assert len(server.asked) == 1


def test_a_token_is_not_waited_for(serve: Serve) -> None:
    server = serve(HANGING)
    with (
        talking(server.url, "nbia-v2", pacing=PATIENT) as client,
        under_way(server, lambda: client.get_rows("getCollectionValues"), threads=3),
    ):
        client.stop()


def test_nobody_waits_for_a_place(serve: Serve) -> None:
    server = serve(HANGING)
    with (
        talking(server.url, max_connections=2) as client,
        under_way(server, lambda: client.get_rows("getCollectionValues"), asked=2, threads=6),
    ):
        client.stop()
    assert len(server.asked) == 2


def test_a_stopped_client_sends_nothing(serve: Serve, tmp_path: Path) -> None:
    server = serve(GOOD)
    with talking(server.url) as client:
        client.get_rows("getCollectionValues")
        client.stop()
        asking: list[Callable[[], Any]] = [
            lambda: client.get_rows("getCollectionValues"),
            lambda: client.get_hash("getMD5Hierarchy", **UID),
            lambda: client.download("getImage", Target(tmp_path / "zip"), **UID),
        ]
        for put in asking:
            with pytest.raises(Stopped, match="was stopped") as caught:
                put()
            assert not caught.value.retryable
        replies = client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", ["1.2", "1.3"])
        assert isinstance(replies.failure, Stopped)
    assert len(server.asked) == 1


def test_stopping_is_no_failure_of_the_archive() -> None:
    assert not issubclass(Stopped, RemoteError)


def test_many_threads_may_stop_a_client_many_times(serve: Serve) -> None:
    server = serve(HANGING)
    with (
        talking(server.url) as client,
        under_way(server, lambda: client.get_rows("getCollectionValues"), asked=4, threads=4),
    ):
        stopping = [threading.Thread(target=client.stop) for _ in range(8)]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join(10)
            assert not thread.is_alive()
        client.stop()


def test_a_stopped_client_says_how_far_nothing_came(serve: Serve, tmp_path: Path) -> None:
    told: list[int] = []

    def stop(client: Client, size: int) -> None:
        told.append(size)
        client.stop()

    server = serve(Answer(BODY, tail=lambda: repeat(bytes(100_000))))
    with talking(server.url) as client:
        target = Target(tmp_path / "zip", on_bytes=lambda size: stop(client, size))
        with pytest.raises(Stopped):
            client.download("getImage", target, **UID)
    assert len(told) == 2
    assert sum(told) == 0
