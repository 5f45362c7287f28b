"""No body drips forever, and no honest line is given up for being slow."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.errors import ArchiveUnreachable
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Target
from tcia_assets.sources.http.watchdog import LARGEST_READ, SMALLEST_READ, longest_s, next_size
from tcia_assets.sources.nbia.client import Client
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.sources.conftest import FAST, Serve, talking
from tcia_assets_tests.sources.scripted import Answer, answer

UID = {"SeriesInstanceUID": "1.2.3"}
ONCE = replace(FAST, attempts=1, slowest_read_s=0.3)
ZIP = b"PK\3\4" + bytes(1000)
DRIP = 0.02


def drops(piece: bytes) -> Callable[[], Iterable[bytes]]:
    return lambda: repeat(piece)


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
DRIPPING = {
    "of a length": Answer(LENGTH + b"PK", tail=drops(b"x"), pause_s=DRIP),
    "after a good start": Answer(LENGTH + b"PK" + bytes(500_000), tail=drops(b"x"), pause_s=DRIP),
    "in chunks": Answer(CHUNKS + b"2\r\nPK\r\n", tail=drops(b"1\r\nx\r\n"), pause_s=DRIP),
    "within a chunk": Answer(CHUNKS + b"fffff\r\nPK", tail=drops(b"x"), pause_s=DRIP),
    "until it is closed": Answer(TO_THE_END + b"PK", tail=drops(b"x"), pause_s=DRIP),
}


@pytest.mark.parametrize("dripping", DRIPPING.values(), ids=DRIPPING)
def test_a_body_that_drips_is_given_up_with_its_rate(
    dripping: Answer, serve: Serve, tmp_path: Path
) -> None:
    server = serve(dripping)
    with (
        talking(server.url, pacing=ONCE) as client,
        pytest.raises(ArchiveUnreachable, match=r"fewer than \d+ bytes in 0\.[3-6]\d* s") as caught,
    ):
        client.download("getImage", Target(tmp_path / "zip"), **UID)
    assert caught.value.status is None
    assert caught.value.retryable
    assert len(server.asked) == 1


def test_rows_that_drip_are_given_up(serve: Serve) -> None:
    server = serve(Answer(LENGTH + b"[", tail=drops(b" "), pause_s=DRIP))
    with (
        talking(server.url, pacing=ONCE) as client,
        pytest.raises(ArchiveUnreachable, match=r"fewer than 16384 bytes in 0.3 s"),
    ):
        client.get_rows("getCollectionValues")


def test_an_answer_whose_beginning_drips_is_given_up(serve: Serve) -> None:
    server = serve(Answer(b"HTTP/1.1 200 OK\r\nX: ", tail=drops(b"x"), pause_s=DRIP))
    pacing = replace(ONCE, read_timeout_s=0.2)
    with (
        talking(server.url, pacing=pacing) as client,
        pytest.raises(ArchiveUnreachable, match=r"no answer within 0.5 s"),
    ):
        client.get_rows("getCollectionValues")


def test_a_token_that_drips_is_given_up(serve: Serve) -> None:
    server = serve(Answer(LENGTH, tail=drops(b" "), pause_s=DRIP))
    with (
        talking(server.url, "nbia-v2", pacing=ONCE) as client,
        pytest.raises(ArchiveUnreachable, match=r"fewer than 16384 bytes in \S+ s; .*/oauth/token"),
    ):
        client.get_rows("getCollectionValues")


def test_an_error_page_that_drips_is_still_that_error(serve: Serve) -> None:
    head = b"HTTP/1.1 503 No\r\nContent-Length: 9999\r\n\r\n"
    server = serve(Answer(head, tail=drops(b"x"), pause_s=DRIP))
    with talking(server.url, pacing=ONCE) as client, pytest.raises(Exception, match="status 503"):
        client.get_rows("getCollectionValues")


def test_after_a_drip_the_download_is_begun_anew(sandbox: Sandbox, tmp_path: Path) -> None:
    pacing = replace(ONCE, attempts=3, slowest_read_s=1.0)
    with Client(settings_for(sandbox, tmp_path), pacing=pacing) as client:
        uid = client.get_rows("getSeries", Collection=SMALL).table["SeriesInstanceUID"][0].as_py()
        sandbox.faults.add(Fault("drip", "getImage", seconds=DRIP, times=2))
        got = client.download("getImage", Target(tmp_path / "zip"), SeriesInstanceUID=uid)
    assert got.requests == 3
    assert zipfile.ZipFile(tmp_path / "zip").testzip() is None


# Of the time that a read may take, each needs a tenth; all together need more.
HONEST = {
    "slow from the start": (0, SMALLEST_READ, 14),
    "slow after it was fast": (4_000_000, LARGEST_READ // 8, 60),
}


@pytest.mark.parametrize(("start", "piece", "pieces"), HONEST.values(), ids=HONEST)
@pytest.mark.parametrize("how", ["of a length", "in chunks"])
def test_a_line_that_is_slow_but_honest_is_waited_for(
    how: str, start: int, piece: int, pieces: int, serve: Serve, tmp_path: Path
) -> None:
    pause_s = 0.02 if start else 0.08
    whole = b"PK\3\4" + bytes(start + piece * pieces)
    cut = [whole[: start + 4], *(whole[4 + start + n * piece :][:piece] for n in range(pieces))]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole)
    if how == "in chunks":
        head = CHUNKS
        cut = [*(b"%x\r\n" % len(each) + each + b"\r\n" for each in cut), b"0\r\n\r\n"]
    server = serve(Answer(head, tail=lambda: cut, pause_s=pause_s))
    with talking(server.url, pacing=replace(ONCE, slowest_read_s=1.0)) as client:
        client.download("getImage", Target(tmp_path / "zip"), **UID)
    assert (tmp_path / "zip").read_bytes() == whole


def test_a_slow_disk_is_not_taken_for_a_slow_line(serve: Serve, tmp_path: Path) -> None:
    server = serve(answer(b"PK\3\4" + bytes(50_000)))
    with talking(server.url, pacing=replace(ONCE, slowest_read_s=0.1)) as client:
        target = Target(tmp_path / "zip", on_bytes=lambda _: time.sleep(0.2))
        got = client.download("getImage", target, **UID)
    assert got.size_bytes == 50_004


def test_a_connection_that_was_cut_is_not_used_again(serve: Serve, tmp_path: Path) -> None:
    dripping = DRIPPING["in chunks"]
    server = serve([dripping, dripping, answer(ZIP)])
    pacing = replace(ONCE, attempts=3)
    with talking(server.url, pacing=pacing, max_connections=1) as client:
        assert client.download("getImage", Target(tmp_path / "zip"), **UID).requests == 3
    assert server.connections == 3


# --- The size of a read ---------------------------------------------------------------------------


@given(size=st.sampled_from([1 << n for n in range(14, 21)]), seconds=st.floats(0, 1e6))
def test_a_read_has_its_bounds(size: int, seconds: float) -> None:
    assert SMALLEST_READ <= next_size(size, seconds) <= LARGEST_READ


@given(rate=st.floats(1e3, 1e10))
def test_reads_settle_where_a_line_fills_them_in_time(rate: float) -> None:
    size, seen = SMALLEST_READ, []
    for _ in range(20):
        seen.append(size)
        size = next_size(size, size / rate)
    assert seen[-1] == SMALLEST_READ or seen[-1] / rate <= 1.0
    assert seen[-1] == seen[-2]
    assert rate < 1.2e7 or seen[-1] == LARGEST_READ


def test_even_a_large_read_is_filled_in_time_by_a_line_of_nine_kilobytes_a_second() -> None:
    for size in (SMALLEST_READ, LARGEST_READ):
        assert size / longest_s(size, slowest_read_s=60.0) < 9_000
    assert longest_s(SMALLEST_READ, slowest_read_s=60.0) == 60.0
    assert longest_s(LARGEST_READ, slowest_read_s=60.0) == 120.0
