"""Bytes to a file: whole, hashed, and refused where they are not what was asked for."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.errors import (
    ArchiveUnreachable,
    NotPublic,
    RemoteError,
    TooLarge,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Target
from tcia_assets.sources.nbia.client import Client
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.sources.conftest import FAST, HASTY, Serve, base, talking
from tcia_assets_tests.sources.scripted import HANGING, RESET, Answer, Asked, answer, chunked

UID = {"SeriesInstanceUID": "1.2.3"}
ZIP = b"PK\3\4" + bytes(range(256)) * 20_000
DICOM = bytes(128) + b"DICM" + b"rest"


@pytest.mark.parametrize("speaks", ["nbia-v4", "nbia-v1", "nbia-v2", "bindaas-v4", "bindaas-v3"])
def test_the_images_of_a_series_arrive_as_a_zip(
    speaks: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "series.zip"
    with Client(settings_for(sandbox, tmp_path, speaks), pacing=FAST) as client:
        uid = client.get_rows("getSeries", Collection=SMALL).table["SeriesInstanceUID"][0].as_py()
        got = client.download("getImage", Target(path), SeriesInstanceUID=uid)
    assert zipfile.ZipFile(path).testzip() is None
    assert got.size_bytes == path.stat().st_size
    assert got.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (got.requests, got.seconds > 0) == (1, True)


@pytest.mark.parametrize("sent", [answer(ZIP), chunked(ZIP[:1], ZIP[1:3_000_000], ZIP[3_000_000:])])
def test_a_download_is_byte_for_byte_what_was_served(
    sent: Answer, serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "zip"
    with talking(serve(sent).url) as client:
        got = client.download("getImage", Target(path), **UID)
    assert path.read_bytes() == ZIP
    assert (got.size_bytes, got.sha256) == (len(ZIP), hashlib.sha256(ZIP).hexdigest())


def test_what_was_there_is_replaced(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "zip"
    path.write_bytes(b"x" * 10_000_000)
    with talking(serve(answer(ZIP)).url) as client:
        client.download("getImage", Target(path), **UID)
    assert path.read_bytes() == ZIP


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br", "GZIP, identity"])
def test_bytes_are_asked_for_as_they_are_and_refused_if_compressed_for_the_way(
    encoding: str, serve: Serve, tmp_path: Path
) -> None:
    # Even where they begin as a zip does.
    bodies = [answer(body, Content_Encoding=encoding) for body in (gzip.compress(ZIP), ZIP)]
    server, path = serve(bodies), tmp_path / "zip"
    said = f"Content-Encoding '{encoding}'"
    with talking(server.url) as client, pytest.raises(UnreadableReply, match=said):
        client.download("getImage", Target(path), **UID)
    assert not path.exists()
    assert {asked.headers["Accept-Encoding"] for asked in server.asked} == {"identity"}


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_an_encoding_that_is_none_is_no_matter(encoding: str, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "zip"
    with talking(serve(answer(ZIP, Content_Encoding=encoding)).url) as client:
        client.download("getImage", Target(path), **UID)
    assert path.read_bytes() == ZIP


@pytest.mark.parametrize("told", ["text/html", "Text/HTML; charset=utf-8", "application/json"])
def test_a_page_is_refused_however_it_begins(told: str, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "zip"
    page = answer(b"PK is what this page is called", Content_Type=told)
    with talking(serve(page).url) as client, pytest.raises(UnreadableReply) as refused:
        client.download("getImage", Target(path), **UID)
    assert f"Content-Type {told.partition(';')[0].lower()}" in refused.value.problem
    assert refused.value.excerpt == "PK is what this page is called"
    assert not path.exists()


def test_nothing_is_nothing_whatever_it_is_called(serve: Serve, tmp_path: Path) -> None:
    empty = answer(b"", Content_Type="text/html")
    with talking(serve(empty).url) as client, pytest.raises(UnknownReply, match="zero bytes"):
        client.download("getImage", Target(tmp_path / "zip"), **UID)


@pytest.mark.parametrize("told", ["application/zip", "text/plain", "x-unheard/of", ""])
def test_bytes_may_be_called_anything_else(told: str, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "zip"
    with talking(serve(answer(ZIP, Content_Type=told)).url) as client:
        client.download("getImage", Target(path), **UID)
    assert path.read_bytes() == ZIP


def test_a_single_image_is_dicom(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "dcm"
    with talking(serve(answer(DICOM)).url) as client:
        client.download("getSingleImage", Target(path), **UID, SOPInstanceUID="1.2.3.4")
    assert path.read_bytes() == DICOM


@pytest.mark.parametrize(
    ("name", "body", "error", "said"),
    [
        ("getImage", b"<html>Down</html>", UnreadableReply, "getImage: not a zip"),
        ("getImage", b"No data", UnreadableReply, "not a zip"),
        ("getImage", DICOM, UnreadableReply, "not a zip"),
        ("getImage", b"", UnknownReply, "zero bytes where a zip was expected"),
        ("getSingleImage", ZIP, UnreadableReply, "getSingleImage: not a DICOM"),
        ("getSingleImage", b"DICM", UnreadableReply, "not a DICOM"),
        ("getSingleImage", b"", UnknownReply, "zero bytes where a DICOM was expected"),
    ],
)
def test_what_is_not_what_was_asked_for_is_refused_before_it_is_written(
    name: str, body: bytes, error: type[Exception], said: str, serve: Serve, tmp_path: Path
) -> None:
    server, path = serve(answer(body)), tmp_path / "file"
    chosen = UID | ({"SOPInstanceUID": "1.2"} if name == "getSingleImage" else {})
    with talking(server.url) as client, pytest.raises(error, match=said):
        client.download(name, Target(path), **chosen)
    assert not path.exists()
    assert len(server.asked) == 3


BROKEN = {
    "busy": answer("", 503),
    "failed": answer("Server was not able to process your request\nnull", 500),
    "reset": RESET,
    "reset on the way": answer(ZIP[:2_000_000], promised=len(ZIP), then="reset"),
    "cut on the way": answer(ZIP[:2_000_000], promised=len(ZIP), then="close"),
    "chunks that end early": chunked(ZIP[:2_000_000], is_whole=False),
    "hangs": HANGING,
    "hangs on the way": answer(ZIP[:2_000_000], promised=len(ZIP), then="hang"),
    "a page": answer("<html>"),
    "nothing": answer(b""),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_download_that_fails_is_begun_anew(broken: Answer, serve: Serve, tmp_path: Path) -> None:
    server, path = serve([broken, answer(ZIP)]), tmp_path / "zip"
    with talking(server.url, pacing=HASTY if broken.then == "hang" else FAST) as client:
        got = client.download("getImage", Target(path), **UID)
    assert path.read_bytes() == ZIP
    assert got.requests == len(server.asked) == 2


def test_a_download_that_is_always_cut_is_an_error(serve: Serve, tmp_path: Path) -> None:
    server = serve(chunked(ZIP[:2_000_000], is_whole=False))
    with talking(server.url) as client, pytest.raises(ArchiveUnreachable, match="was cut"):
        client.download("getImage", Target(tmp_path / "zip"), **UID)
    assert len(server.asked) == 5


def test_images_that_are_not_public_are_not_asked_for_again(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    for speaks in ("nbia-v4", "nbia-v1", "nbia-v2"):
        sandbox.requests.clear()
        with (
            Client(settings_for(sandbox, tmp_path, speaks), pacing=FAST) as client,
            pytest.raises(NotPublic),
        ):
            client.download("getImage", Target(tmp_path / "zip"), **UID)
        assert sandbox.requests["getImage"] == 1


def test_a_reset_in_the_middle_of_a_zip_is_survived(sandbox: Sandbox, tmp_path: Path) -> None:
    with Client(settings_for(sandbox, tmp_path), pacing=FAST) as client:
        uid = client.get_rows("getSeries", Collection=SMALL).table["SeriesInstanceUID"][0].as_py()
        sandbox.faults.add(Fault("reset", "getImage", times=2), Fault("unterminated", "getImage"))
        got = client.download("getImage", Target(tmp_path / "zip"), SeriesInstanceUID=uid)
    assert got.requests == 4
    assert zipfile.ZipFile(tmp_path / "zip").testzip() is None


# --- Limits, and the target's own failures --------------------------------------------------------


def test_a_body_that_grows_beyond_what_is_allowed_is_stopped(serve: Serve, tmp_path: Path) -> None:
    server, path = serve(chunked(ZIP, ZIP, ZIP)), tmp_path / "zip"
    with talking(server.url) as client, pytest.raises(TooLarge, match="more than 1000000 bytes"):
        client.download("getImage", Target(path, max_bytes=1_000_000), **UID)
    assert path.stat().st_size <= 3_000_000


@pytest.mark.parametrize("most", [len(ZIP), len(ZIP) + 1])
def test_a_body_of_just_what_is_allowed_passes(most: int, serve: Serve, tmp_path: Path) -> None:
    with talking(serve(answer(ZIP)).url) as client:
        assert client.download("getImage", Target(tmp_path / "zip", max_bytes=most), **UID)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda folder: folder / "missing" / "zip", FileNotFoundError),
        (lambda folder: folder, IsADirectoryError),
        (lambda _folder: Path("/dev/full"), OSError),
    ],
    ids=["no folder", "a folder", "a full disk"],
)
def test_a_target_that_cannot_be_written_is_no_failure_of_the_archive(
    make: Any, error: type[OSError], serve: Serve, tmp_path: Path
) -> None:
    path = make(tmp_path)
    if path == Path("/dev/full") and not path.exists():
        pytest.skip("this system has no /dev/full")
    server = serve(answer(ZIP))
    with talking(server.url, max_connections=1) as client:
        for _ in range(3):
            with pytest.raises(error):
                client.download("getImage", Target(path), **UID)
        assert len(server.asked) == 3
        # The connection and the place that it took are free again.
        assert client.download("getImage", Target(tmp_path / "zip"), **UID).size_bytes == len(ZIP)


@pytest.mark.parametrize("error", [ConnectionError("NFS"), TimeoutError("NFS")])
def test_a_network_failure_of_the_target_is_no_failure_of_the_archive(
    error: OSError, serve: Serve, tmp_path: Path
) -> None:
    class Unwritable(type(tmp_path)):  # type: ignore[misc]
        def open(self, *_given: object, **_named: object) -> object:
            raise error

    server = serve(answer(ZIP))
    with talking(server.url) as client, pytest.raises(type(error), match="NFS"):
        client.download("getImage", Target(Unwritable(tmp_path / "zip")), **UID)
    assert len(server.asked) == 1


def test_failures_use_up_neither_places_nor_connections(serve: Serve, tmp_path: Path) -> None:
    bad = [answer("", 503), RESET, answer("<html>"), chunked(b"PK", is_whole=False)]
    bad = [*bad, answer("x" * 100_000, 400)] * 2
    server = serve([*bad, answer(ZIP)])
    once = replace(FAST, attempts=1, attempts_when_in_doubt=1)
    with talking(server.url, max_connections=1, pacing=once) as client:
        for _ in bad:
            with pytest.raises(RemoteError):
                client.download("getImage", Target(tmp_path / "zip"), **UID)
        assert client.download("getImage", Target(tmp_path / "zip"), **UID).size_bytes == len(ZIP)
    assert len(server.asked) == len(bad) + 1


# --- While it arrives -----------------------------------------------------------------------------


def test_the_bytes_are_told_as_they_are_written(serve: Serve, tmp_path: Path) -> None:
    told: list[int] = []

    def note(size: int) -> None:
        told.append(size)
        assert sum(told) >= path.stat().st_size

    path = tmp_path / "zip"
    with talking(serve(answer(ZIP)).url) as client:
        client.download("getImage", Target(path, on_bytes=note), **UID)
    assert sum(told) == len(ZIP)
    assert len(told) > 3
    assert min(told) > 0


@pytest.mark.parametrize("broken", [b for b in BROKEN.values() if b.then != "hang"])
def test_what_a_failed_attempt_had_told_is_taken_back(
    broken: Answer, serve: Serve, tmp_path: Path
) -> None:
    told: list[int] = []
    server = serve([broken, broken, answer(ZIP)])
    with talking(server.url) as client:
        client.download("getImage", Target(tmp_path / "zip", on_bytes=told.append), **UID)
    assert sum(told) == len(ZIP)
    told.clear()
    with talking(serve(broken).url) as client, pytest.raises(RemoteError):
        client.download("getImage", Target(tmp_path / "zip", on_bytes=told.append), **UID)
    assert sum(told) == 0


def test_an_error_of_who_is_told_ends_the_download(serve: Serve, tmp_path: Path) -> None:
    def fail(_size: int) -> None:
        raise ZeroDivisionError

    server = serve(answer(ZIP))
    with talking(server.url) as client, pytest.raises(ZeroDivisionError):
        client.download("getImage", Target(tmp_path / "zip", on_bytes=fail), **UID)
    assert len(server.asked) == 1


PEAKS = """
import resource, sys
from pathlib import Path
from tcia_assets.sources import Target
from tcia_assets.sources.nbia.client import Client
from tcia_assets.settings import Settings

with Client(Settings(dialect="nbia-v4", base_url=sys.argv[1])) as client:
    for uid in ("1.1", "1.2"):
        client.download("getImage", Target(Path(sys.argv[2])), SeriesInstanceUID=uid)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_large_body_needs_no_more_memory_than_a_small_one(serve: Serve, tmp_path: Path) -> None:
    block = b"PK\3\4" + bytes((1 << 20) - 4)

    def handler(asked: Asked) -> Answer:
        blocks = 200 if ("SeriesInstanceUID", "1.2") in asked.query else 4
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {blocks << 20}\r\n\r\n"
        return Answer(head.encode(), tail=lambda: repeat(block, blocks))

    url = base(serve(handler).url, "nbia-v4")
    given = [sys.executable, "-c", PEAKS, url, str(tmp_path / "zip")]
    done = subprocess.run(given, capture_output=True, text=True, check=True, timeout=60)
    small, large = map(int, done.stdout.split())  # KiB
    assert (tmp_path / "zip").stat().st_size == 200 << 20
    assert large - small < 20_000
