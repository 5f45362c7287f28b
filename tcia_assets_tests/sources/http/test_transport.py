"""How many requests run at once, over which connections, and that each has its time-outs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tcia_assets.errors import ArchiveUnreachable
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Pacing, Target
from tcia_assets.sources.nbia.client import Client
from tcia_assets_tests.conftest import settings_for
from tcia_assets_tests.sources.conftest import Serve, talking
from tcia_assets_tests.sources.scripted import HANGING, Answer, Asked, answer

ROWS = '[{"Collection":"A"}]'
GOOD = answer(ROWS)
UID = {"SeriesInstanceUID": "1.2.3"}


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_more_requests_run_at_once_than_allowed(most: int, serve: Serve, tmp_path: Path) -> None:
    rows, images = answer(ROWS, after_s=0.01), answer(b"PK\3\4", after_s=0.01)
    server = serve(lambda asked: images if "getImage" in asked.path else rows)

    def put(number: int) -> None:
        if number % 2:
            client.get_rows("getCollectionValues")
        else:
            client.download("getImage", Target(tmp_path / str(number)), **UID)

    with talking(server.url, max_connections=most) as client, ThreadPoolExecutor(12) as threads:
        list(threads.map(put, range(30)))
    assert server.most_at_once == most
    assert server.connections <= most
    assert len(server.asked) == 30


def test_retries_and_tokens_keep_to_the_same_limit(serve: Serve) -> None:
    lock, count = threading.Lock(), [0]

    def handler(asked: Asked) -> Answer:
        if "oauth" in asked.path:
            return answer('{"access_token":"t","expires_in":0}', after_s=0.005)
        with lock:
            count[0] += 1
            busy = count[0] % 3 == 0
        return answer("", 503, after_s=0.005) if busy else answer(ROWS, after_s=0.005)

    server = serve(handler)
    with (
        talking(server.url, "nbia-v2", max_connections=2) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        list(threads.map(lambda _: client.get_rows("getCollectionValues"), range(20)))
    assert server.most_at_once <= 2


def test_the_sandbox_sees_no_more_at_once_than_allowed(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.requests.clear()
    settings = settings_for(sandbox, tmp_path)
    with Client(settings) as client, ThreadPoolExecutor(24) as threads:
        list(threads.map(lambda _: client.get_rows("getCollectionValues"), range(48)))
    assert 1 <= sandbox.requests.most_at_once <= settings.max_connections
    assert sandbox.requests["getCollectionValues"] == 48


def test_connections_are_kept_and_shared_by_threads(serve: Serve) -> None:
    server = serve(GOOD)
    with talking(server.url) as client:
        for _ in range(5):
            client.get_rows("getCollectionValues")
            thread = threading.Thread(target=client.get_rows, args=("getCollectionValues",))
            thread.start()
            thread.join()
    assert (len(server.asked), server.connections) == (10, 1)


def test_each_thread_has_a_session_of_its_own(serve: Serve) -> None:
    server = serve(answer(ROWS, Set_Cookie="id=1"))
    with talking(server.url) as client:
        client.get_rows("getCollectionValues")
        client.get_rows("getCollectionValues")
        thread = threading.Thread(target=client.get_rows, args=("getCollectionValues",))
        thread.start()
        thread.join()
    assert [asked.headers.get("Cookie") for asked in server.asked] == [None, "id=1", None]


def test_a_client_that_is_closed_has_closed_its_connections(serve: Serve) -> None:
    server = serve(GOOD)
    with talking(server.url) as client:
        client.get_rows("getCollectionValues")
    deadline = time.monotonic() + 5
    while any(t.is_alive() for t in server._threads[1:]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.is_alive() for thread in server._threads[1:])


@pytest.mark.parametrize("what", ["rows", "bytes", "token"])
@pytest.mark.parametrize(
    "silence", [HANGING, answer("[", promised=100, then="hang")], ids=["at once", "on the way"]
)
def test_no_request_waits_for_ever(
    what: str, silence: Answer, serve: Serve, tmp_path: Path
) -> None:
    pacing = Pacing(attempts=1, read_timeout_s=0.1)
    speaks = "nbia-v2" if what == "token" else "nbia-v4"
    started = time.monotonic()
    with talking(serve(silence).url, speaks, pacing=pacing) as client:
        put = partial(client.get_rows, "getCollectionValues")
        if what == "bytes":
            put = partial(client.download, "getImage", tmp_path / "zip", **UID)
        with pytest.raises(ArchiveUnreachable, match="read time-out") as caught:
            put()
    assert time.monotonic() - started < 5
    assert caught.value.status is None


@pytest.mark.slow
def test_many_threads_get_each_its_own_answer(serve: Serve) -> None:
    def handler(asked: Asked) -> Answer:
        name = dict(asked.query)["Collection"]
        return answer(f'[{{"SeriesInstanceUID":"1.2.3","Collection":"{name}"}}]')

    server = serve(handler)
    with talking(server.url) as client, ThreadPoolExecutor(16) as threads:
        names = [f"c{number}" for number in range(100)]
        tables = threads.map(
            lambda name: client.get_rows("getSeries", Collection=name).table, names
        )
        assert [table["Collection"][0].as_py() for table in tables] == names
