"""The objects of a Series become one zip, or an error that says why."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tcia_assets.errors import (
    ArchiveBroken,
    NotPublic,
    RemoteError,
    RequestRefused,
    TooLarge,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.images.acceptance.rules import Expectation, accept
from tcia_assets.sources import Target
from tcia_assets.sources.idc.source import IdcSource
from tcia_assets_tests.sources.idc.buckets import (
    SERIES,
    Buckets,
    dicom,
    error,
    index_row,
    series_objects,
    serving,
    uuid,
)
from tcia_assets_tests.sources.idc.index_files import DOI
from tcia_assets_tests.sources.scripted import RESET, Answer, Scripted, answer

KEYS = sorted(series_objects())


@dataclass(frozen=True)
class Bucket:
    """What a bucket answers, its server and a source that uses it."""

    buckets: Buckets
    server: Scripted
    source: IdcSource


@pytest.fixture(scope="module")
def served_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """Serve a Series of three objects: a source takes longer to read its index than to fetch."""
    buckets = Buckets()
    with serving(buckets, tmp_path_factory.mktemp("bucket")) as (server, source):
        yield Bucket(buckets, server, source)


@pytest.fixture
def bucket(served_bucket: Bucket) -> Bucket:
    """Return that bucket as if it had not been used."""
    vars(served_bucket.buckets).update(vars(Buckets()))
    served_bucket.server.asked.clear()
    return served_bucket


def fetch(source: IdcSource, folder: Path, **chosen: object) -> Path:
    path = folder / "series.zip"
    source.fetch_zip("objects", SERIES, Target(path, **chosen))  # type: ignore[arg-type]
    return path


def test_objects_are_packed_in_the_order_of_their_uids(tmp_path: Path) -> None:
    buckets, received = Buckets(), []
    with serving(buckets, tmp_path) as (server, source):
        path = tmp_path / "series.zip"
        found = source.fetch_zip("objects", SERIES, Target(path, on_bytes=received.append))
    with zipfile.ZipFile(path) as file:
        names = [f"{SERIES}.{n}.dcm" for n in (1, 2, 3)]
        assert file.namelist() == ["LICENSE", *names, "md5hashes.csv"]
        assert "Attribution 3.0 Unported License" in file.read("LICENSE").decode()
        assert f"https://doi.org/{DOI}" in file.read("LICENSE").decode()
        assert [file.read(name) for name in names] == [buckets.objects[k] for k in reversed(KEYS)]
    size = sum(map(len, buckets.objects.values()))
    proof = accept(path, Expectation(SERIES, 3, size))
    assert (proof.verified_by, proof.image_count, proof.image_bytes) == ("md5", 3, size)
    assert (found.size_bytes, found.sha256) == (path.stat().st_size, sha256(path))
    assert (found.requests, sum(received)) == (len(server.asked), size)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index", "series.zip"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_each_fetch_gives_the_same_bytes(tmp_path: Path) -> None:
    with serving(Buckets(), tmp_path, idc_connections=1) as (_, source):
        first = sha256(fetch(source, tmp_path))
    with serving(Buckets(page=1), tmp_path) as (_, source):
        assert sha256(fetch(source, tmp_path)) == first


def test_a_listing_of_many_pages_is_continued(tmp_path: Path) -> None:
    buckets = Buckets(series_objects(25), page=10)
    with serving(buckets, tmp_path) as (server, source):
        path = fetch(source, tmp_path)
        assert (
            source.md5_hash(SeriesInstanceUID=SERIES)
            == hashlib.md5(
                "".join(sorted(map(buckets.etag, buckets.objects))).encode(), usedforsecurity=False
            ).hexdigest()
        )
    assert len(zipfile.ZipFile(path).namelist()) == 27
    assert [a.path for a in server.asked].count("/idc-open-data/") == 6


def test_an_etag_that_is_no_md5_proves_nothing(bucket: Bucket, tmp_path: Path) -> None:
    buckets = bucket.buckets
    buckets.etags[KEYS[1]] = "0" * 32 + "-2"
    path = fetch(bucket.source, tmp_path)
    with pytest.raises(UnreadableReply, match="does not list the MD5"):
        bucket.source.md5_hash(SeriesInstanceUID=SERIES)
    with zipfile.ZipFile(path) as file:
        rows = list(csv.DictReader(io.StringIO(file.read("md5hashes.csv").decode())))
    assert [bool(row["MD5Hash"]) for row in rows] == [True, False, True]
    proof = accept(path, Expectation(SERIES, 3, sum(map(len, buckets.objects.values()))))
    assert proof.verified_by == "count+size"


GOOD = series_objects()[KEYS[0]]
PASSING: dict[str, list[Answer]] = {
    "busy": [error(503, "SlowDown", Retry_After="0")] * 2,
    "failed": [error(500, "InternalError")],
    "reset": [RESET, RESET],
    "cut": [answer(GOOD[:500], promised=2000, then="close")],
    "longer than promised": [answer(GOOD, promised=1999, then="close")],
    "empty": [answer(b"")],
    "no content": [answer(b"", 204)],
    "another object of the same size": [answer(dicom("1.2.3"))],
    "one flipped byte": [answer(GOOD[:-1] + b"\1")],
    "too long": [answer(GOOD + b"more")],
    "html": [answer("<html>Sign in</html>", Content_Type="text/html")],
    "compressed": [answer(GOOD, Content_Encoding="gzip")],
    "redirected": [answer(b"", 307, Location=f"/idc-open-data/{KEYS[0]}")],
}


@pytest.fixture(scope="module")
def sha256_without_faults(served_bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> str:
    vars(served_bucket.buckets).update(vars(Buckets()))
    return sha256(fetch(served_bucket.source, tmp_path_factory.mktemp("without_faults")))


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_leaves_no_wrong_byte(
    fault: str, bucket: Bucket, tmp_path: Path, sha256_without_faults: str
) -> None:
    received: list[int] = []
    bucket.buckets.first[KEYS[0]] = list(PASSING[fault])
    path = fetch(bucket.source, tmp_path, on_bytes=received.append)
    assert not bucket.buckets.first[KEYS[0]], "the fault was sent"
    assert sha256(path) == sha256_without_faults
    assert sum(received) == 6000


LASTING: dict[str, tuple[Answer, type[RemoteError], str]] = {
    "busy": (error(503, "SlowDown"), ArchiveBroken, "busy"),
    "down": (RESET, ArchiveBroken, "cut"),
    "forbidden": (error(403, "AccessDenied"), NotPublic, "does not offer"),
    "removed": (error(404, "NoSuchKey"), NotPublic, "was removed"),
    "refused by a proxy": (answer("<p>No", 403), RequestRefused, "refused"),
    "cut": (answer(GOOD[:500], promised=2000, then="close"), ArchiveBroken, "cut"),
    "short": (answer(GOOD[:500]), UnreadableReply, "500 bytes were received"),
    "too long": (answer(GOOD + b"more"), UnreadableReply, "more bytes were received"),
    "changed": (answer(GOOD[:-1] + b"\1"), UnreadableReply, "MD5"),
    "html": (answer("<html>", Content_Type="text/html"), UnreadableReply, "text/html"),
    "elsewhere": (
        answer(b"", 307, Location="http://other.example.org/x"),
        UnreadableReply,
        "set TCIA_IDC_BASE_URL",
    ),
}


@pytest.mark.parametrize("fault", LASTING)
def test_a_fault_that_lasts_is_an_error_with_its_reason(
    fault: str, bucket: Bucket, tmp_path: Path
) -> None:
    given, kind, problem = LASTING[fault]
    parts = tmp_path / "parts"
    received: list[int] = []
    bucket.buckets.first[KEYS[0]] = [given] * 20
    with pytest.raises(kind, match=problem) as caught:
        fetch(bucket.source, tmp_path, parts=parts, on_bytes=received.append)
    assert KEYS[0] in str(caught.value)
    # What was received stays: the next attempt needs one object only.
    bucket.buckets.first.clear()
    bucket.server.asked.clear()
    fetch(bucket.source, tmp_path, parts=parts, on_bytes=received.append)
    assert sum(received) == 6000
    assert len(bucket.server.asked) <= 4


XML = {
    "html": "<html></html>",
    "cut": "<ListBucketResult><IsTrunc",
    "entities": '<!DOCTYPE a [<!ENTITY x "xxxx">]><ListBucketResult>&x;</ListBucketResult>',
    "another document": "<Error><Code>NoSuchBucket</Code></Error>",
    "not said whether whole": "<ListBucketResult/>",
    "empty": "",
}


@pytest.mark.parametrize("fault", XML)
def test_a_listing_that_is_none_is_refused(fault: str, bucket: Bucket, tmp_path: Path) -> None:
    bucket.buckets.listed = lambda _: XML[fault]
    with pytest.raises(UnreadableReply):
        fetch(bucket.source, tmp_path)


CHANGED = {
    "outside": (("<Key>" + uuid(1), "<Key>" + uuid(2)), "no file below"),
    "below another folder": (("/" + uuid(100), "/../" + uuid(100)), "no file below"),
    "hidden": ((uuid(100), "." + uuid(100)), "no file below"),
    "negative": (("<Size>2000", "<Size>-1"), "'-1' bytes"),
    "not a number": (("<Size>2000", "<Size>many"), "'many' bytes"),
    "huge": (("<Size>2000", "<Size>" + "9" * 30), "bytes"),
    "twice": ((uuid(101), uuid(100)), "twice"),
    "another size": (("<Size>2000", "<Size>2001"), "but the index says 3 of 6000"),
    "lost token": (("<IsTruncated>false", "<IsTruncated>true"), "without a token"),
}


@pytest.mark.parametrize("fault", CHANGED)
def test_a_listing_that_is_not_of_this_series_is_refused(
    fault: str, bucket: Bucket, tmp_path: Path
) -> None:
    (before, after), problem = CHANGED[fault]
    bucket.buckets.listed = lambda text: text.replace(before, after)
    with pytest.raises(RemoteError, match=problem):
        fetch(bucket.source, tmp_path)
    assert {a.path for a in bucket.server.asked} == {"/idc-open-data/"}


def test_a_listing_that_does_not_end_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    again = ("<IsTruncated>false</IsTruncated>", "<NextContinuationToken>0</NextContinuationToken>")
    endless = again[0].replace("false", "true") + again[1]
    bucket.buckets.listed = lambda text: text.replace(again[0], endless)
    with pytest.raises(UnreadableReply):
        fetch(bucket.source, tmp_path)
    assert len(bucket.server.asked) == 2


def test_a_listing_of_more_objects_than_the_index_ends_early(tmp_path: Path) -> None:
    buckets = Buckets(series_objects(50), page=5)
    row = index_row(buckets.objects, instanceCount=10)
    with (
        serving(buckets, tmp_path, row) as (server, source),
        pytest.raises(UnreadableReply, match="more than 10 objects"),
    ):
        fetch(source, tmp_path)
    assert len(server.asked) == 3


def test_objects_of_another_series_are_refused(bucket: Bucket, tmp_path: Path) -> None:
    objects = bucket.buckets.objects
    objects[KEYS[1]] = dicom("1.2.3.4", "1.2.3")
    with pytest.raises(UnreadableReply, match=r"belongs to Series 1\.2\.3"):
        fetch(bucket.source, tmp_path)


def test_the_same_object_twice_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    objects = bucket.buckets.objects
    objects[KEYS[1]] = objects[KEYS[0]]
    with pytest.raises(UnreadableReply, match="the same SOPInstanceUID"):
        fetch(bucket.source, tmp_path)


def test_what_is_no_dicom_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    objects = bucket.buckets.objects
    objects[KEYS[1]] = bytes(2000)
    with pytest.raises(UnreadableReply, match="not a DICOM file"):
        fetch(bucket.source, tmp_path)


def test_another_version_is_refused_before_a_byte_is_fetched(
    bucket: Bucket, tmp_path: Path
) -> None:
    for expected in ({"image_count": 4}, {"image_bytes": 5999}):
        with pytest.raises(UnknownReply, match="another version of this Series"):
            fetch(bucket.source, tmp_path, **expected)
    with pytest.raises(TooLarge):
        fetch(bucket.source, tmp_path, max_bytes=5999)
    assert {a.path for a in bucket.server.asked} <= {"/idc-open-data/"}


@pytest.mark.parametrize("place", [{"aws_bucket": None}, {"crdc_series_uuid": "../x"}])
def test_a_place_that_is_none_is_not_requested(
    place: dict[str, str | None], tmp_path: Path
) -> None:
    row = index_row(series_objects(), **place)
    with serving(Buckets(), tmp_path, row) as (server, source):
        with pytest.raises(UnknownReply, match="no place of this Series"):
            fetch(source, tmp_path)
        assert not server.asked


def test_a_series_that_the_release_lacks_is_named(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(UnknownReply, match=r"release 25\.0\.5 does not have this Series"):
        bucket.source.fetch_zip("objects", "1.2.3", Target(tmp_path / "x"))


# --- Parts ----------------------------------------------------------------------------------------


def test_parts_that_are_right_are_not_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    buckets, parts = bucket.buckets, tmp_path / "parts"
    parts.mkdir()
    right, wrong, other = (parts / k.rpartition("/")[2] for k in (*KEYS[:2], f"{uuid(1)}/x.dcm"))
    right.write_bytes(buckets.objects[KEYS[0]])
    wrong.write_bytes(bytes(2000))
    other.write_bytes(b"of an older version")
    fetch(bucket.source, tmp_path, parts=parts)
    asked = {a.path.rpartition("open-data/")[2] for a in bucket.server.asked}
    assert asked == {"", *KEYS[1:]}
    assert not other.exists()


def test_a_part_whose_md5_nobody_lists_is_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    bucket.buckets.etags[KEYS[0]] = "0" * 32 + "-9"
    for _ in range(2):
        fetch(bucket.source, tmp_path, parts=tmp_path / "parts")
    asked = [a.path.rpartition("open-data/")[2] for a in bucket.server.asked]
    assert [asked.count(key) for key in KEYS] == [2, 1, 1]


def test_as_many_requests_as_allowed_run_at_once(tmp_path: Path) -> None:
    objects = series_objects(40)
    first = {key: [answer(content, after_s=0.02)] for key, content in objects.items()}
    with serving(Buckets(objects, first), tmp_path, idc_connections=4) as (server, source):
        fetch(source, tmp_path)
        assert source.connections == 4
    assert server.most_at_once == 4


def test_an_error_ends_the_series_soon(tmp_path: Path) -> None:
    objects = series_objects(300)
    gone = min(objects)
    first = {gone: [error(404, "NoSuchKey")]}
    with (
        serving(Buckets(objects, first), tmp_path, idc_connections=2) as (server, source),
        pytest.raises(NotPublic),
    ):
        fetch(source, tmp_path)
    assert len(server.asked) < 100
