"""A client receives no more bytes in a second than it may."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tcia_assets.sources import Target
from tcia_assets.sources.http.rate_limit import RateLimit, of_process
from tcia_assets_tests.sources.conftest import Serve, talking
from tcia_assets_tests.sources.scripted import answer


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_byte_takes_its_time() -> None:
    clock = Clock()
    limit = RateLimit(1000, clock)

    assert limit.seconds_to_wait(500) == 0.5
    assert limit.seconds_to_wait(250) == 0.75
    clock.now += 0.75
    assert limit.seconds_to_wait(1000) == 1.0


def test_idle_time_is_not_made_up_for() -> None:
    clock = Clock()
    limit = RateLimit(1000, clock)
    clock.now += 3600

    assert limit.seconds_to_wait(1000) == 1.0


def test_without_a_limit_nothing_waits() -> None:
    assert RateLimit(None).seconds_to_wait(10**12) == 0


def test_all_requests_together_keep_the_rate(serve: Serve, tmp_path: Path) -> None:
    server = serve(answer(b"PK\x03\x04" + bytes(100_000), Content_Type="application/zip"))
    with talking(server.url, max_bytes_per_second=1_000_000) as client:

        def download(number: int) -> None:
            target = Target(tmp_path / str(number))
            client.download("getImage", target, SeriesInstanceUID=f"1.2.{number}")

        began = time.monotonic()
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(download, range(4)))

    assert time.monotonic() - began >= 0.39


def test_the_sources_of_a_process_share_one_limit() -> None:
    assert of_process(1000) is of_process(1000)
