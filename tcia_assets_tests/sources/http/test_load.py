"""Fewer requests at once while the archive is overrun, and as many as before when it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest

from tcia_assets.errors import RemoteError, RequestRefused
from tcia_assets.sources import Target
from tcia_assets.sources.http import limiter
from tcia_assets.sources.nbia.client import Client
from tcia_assets_tests.sources.conftest import FAST, Serve, talking
from tcia_assets_tests.sources.scripted import HANGING, RESET, Answer, Asked, answer, chunked

GOOD = answer('[{"Collection":"A"}]')
UID = {"SeriesInstanceUID": "1.2.3"}
ONCE = replace(FAST, attempts=1, attempts_when_in_doubt=1)


def ask_at_once(client: Client, many: int) -> int:
    """How many of so many questions, asked by as many threads, were answered."""

    def ask(_number: int) -> bool:
        try:
            return client.get_rows("getCollectionValues").table.num_rows == 1
        except RemoteError:
            return False

    with ThreadPoolExecutor(many) as threads:
        return sum(threads.map(ask, range(many)))


def in_bursts(sizes: list[int], given: Answer) -> Callable[[Asked], Answer]:
    """Answers so many requests only when all of them are there; then the next burst; then well."""
    left, lock, barriers = list(sizes), threading.Lock(), [threading.Barrier(n) for n in sizes]

    def handler(_asked: Asked) -> Answer:
        with lock:
            place = next((at for at, size in enumerate(left) if size), None)
            if place is None:
                return GOOD
            left[place] -= 1
        barriers[place].wait(10)
        return given

    return handler


OVERRUN = {
    "429": answer("", 429),
    "503": answer("", 503),
    "504": answer("", 504),
    "reset": RESET,
    "cut on the way": chunked(b"[", is_whole=False),
    "hang": HANGING,
}


@pytest.mark.parametrize("name", ["503", "504", "reset", "cut on the way"])
def test_bursts_of_each_failure_halve_what_is_sent_at_once(name: str, serve: Serve) -> None:
    server = serve(in_bursts([8, 4], OVERRUN[name]))
    with talking(server.url, max_connections=8, pacing=ONCE) as client:
        assert (ask_at_once(client, 8), client.connections) == (0, 4)
        assert (ask_at_once(client, 4), client.connections) == (0, 2)
        assert ask_at_once(client, 4) == 4
        assert client.connections == 3


@pytest.mark.parametrize("name", ["429", pytest.param("hang", marks=pytest.mark.slow)])
def test_bursts_of_failures_halve_what_is_sent_at_once_and_good_answers_bring_it_back(
    name: str, serve: Serve
) -> None:
    server = serve(in_bursts([8, 4], OVERRUN[name]))
    # Forty at once, which are answered in the end, may wait for the processor longer than a second.
    pacing = replace(ONCE, read_timeout_s=1.5) if name == "hang" else ONCE
    with talking(server.url, max_connections=8, pacing=pacing) as client:
        assert (ask_at_once(client, 8), client.connections) == (0, 4)
        assert (ask_at_once(client, 4), client.connections) == (0, 2)
        server.most_at_once = 0
        assert ask_at_once(client, 4) == 4
        assert server.most_at_once <= 3
        assert client.connections == 3
        seen = {client.connections}
        while client.connections < 8 and len(server.asked) < 200:
            client.get_rows("getCollectionValues")
            seen.add(client.connections)
        assert seen == {3, 4, 5, 6, 7, 8}
        assert ask_at_once(client, 40) == 40
        assert client.connections == 8
    assert server.most_at_once <= 8


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_failures_that_are_not_of_too_many_change_nothing(status: int, serve: Serve) -> None:
    server = serve(answer("no", status))
    with talking(server.url, max_connections=4, pacing=ONCE) as client:
        assert ask_at_once(client, 12) == 0
        assert client.connections == 4


def test_a_quick_refusal_is_not_what_answers_are_compared_with(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "_NEVER_SLOW_S", 0.0)
    honest = replace(GOOD, after_s=0.1)
    server = serve([answer("no", 400), *repeat(honest, 6)])
    with talking(server.url, max_connections=8, pacing=ONCE) as client:
        with pytest.raises(RequestRefused):
            client.get_rows("getCollectionValues")
        for _ in range(6):
            client.get_rows("getCollectionValues")
        assert client.connections == 8


def test_what_the_caller_makes_of_a_body_is_not_the_archive_s_failure(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(answer(b"PK\3\4" + bytes(100_000)))
    with talking(server.url, max_connections=4, pacing=ONCE) as client:
        for _ in range(3):
            with pytest.raises(RemoteError, match="more than 5 bytes"):
                client.download("getImage", Target(tmp_path / "zip", max_bytes=5), **UID)
            with pytest.raises(IsADirectoryError):
                client.download("getImage", Target(tmp_path), **UID)
        assert client.connections == 4


@pytest.mark.parametrize("bears", [1, 3])
def test_an_archive_that_bears_few_at_once_gets_all_questions_answered(
    bears: int, serve: Serve
) -> None:
    lock, at_once, highest = threading.Lock(), [0], [0]

    def handler(_asked: Asked) -> Answer:
        with lock:
            at_once[0] += 1
            highest[0] = max(highest[0], at_once[0])
            is_too_many = at_once[0] > bears
        threading.Event().wait(0.002)
        with lock:
            at_once[0] -= 1
        return answer("", 429) if is_too_many else GOOD

    server = serve(handler)
    pacing = replace(FAST, attempts=50)
    with talking(server.url, max_connections=6, pacing=pacing) as client:
        assert ask_at_once(client, 60) == 60
        assert 1 <= client.connections <= 6
    assert max(highest[0], server.most_at_once) <= 6


def test_a_token_is_renewed_by_who_holds_the_only_place(serve: Serve) -> None:
    token = answer('{"access_token":"t","expires_in":0}')
    server = serve(lambda asked: token if "oauth" in asked.path else GOOD)
    with talking(server.url, "nbia-v2", max_connections=1) as client:
        assert ask_at_once(client, 10) == 10
    assert server.most_at_once == 1
    assert len(server.asked) == 20
