"""What goes wrong in the buckets on request."""

from __future__ import annotations

import gzip
import hashlib
import io

import pydicom
import pytest
import requests

from tcia_assets.sandbox.faults import BUCKETS, LISTINGS, OBJECTS, STORED, Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.small_series import COUNT, UID

from .bucket_client import BucketClient, Listed


@pytest.fixture
def listed(buckets: BucketClient) -> list[Listed]:
    return buckets.of_series(UID)[1]


def listing(buckets: BucketClient) -> requests.Response:
    bucket, uuid = buckets.place(UID)
    return buckets.get(bucket, prefix=f"{uuid}/", **{"list-type": "2"})


def test_there_are_thirty_kinds() -> None:
    assert len(BUCKETS | LISTINGS | OBJECTS | STORED) >= 30


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("slow_down", 503, "SlowDown"),
        ("internal_error", 500, "InternalError"),
        ("access_denied", 403, "AccessDenied"),
        ("no_such_key", 404, "NoSuchKey"),
        ("no_such_bucket", 404, "NoSuchBucket"),
        ("permanent_redirect", 301, "PermanentRedirect"),
    ],
)
def test_errors_of_s3(
    sandbox: Sandbox, buckets: BucketClient, kind: str, status: int, code: str
) -> None:
    sandbox.faults.add(Fault(kind, retry_after="7"))
    reply = listing(buckets)
    assert (reply.status_code, f"<Code>{code}</Code>" in reply.text) == (status, True)
    assert reply.headers.get("Retry-After") == "7"
    assert listing(buckets).status_code == 200


def test_listings_that_lie(sandbox: Sandbox, buckets: BucketClient, listed: list[Listed]) -> None:
    bucket, uuid = buckets.place(UID)
    sandbox.idc.page_size = 3

    def page(kind: str) -> tuple[list[Listed], str]:
        sandbox.faults.add(Fault(kind, endpoint="list"))
        return buckets.page(bucket, f"{uuid}/")

    three = listed[:3]
    assert page("list_short")[0] == three[:2]
    assert page("list_one_page") == (three, "")
    assert page("list_empty") == ([], "")
    assert page("list_duplicate")[0] == [three[0], *three]
    assert page("list_extra")[0][:3] == three
    extra = page("list_extra")[0][3]
    assert buckets.get(bucket, extra.key).status_code == 404
    assert page("list_wrong_size")[0][0].size == three[0].size + 1
    assert page("list_foreign_key")[0][0].key == "../../outside.dcm"
    assert page("list_folder")[0][0] == Listed(f"{uuid}/", three[0].etag, 0)


def test_a_listing_without_an_end(
    sandbox: Sandbox, buckets: BucketClient, listed: list[Listed]
) -> None:
    bucket, uuid = buckets.place(UID)
    sandbox.faults.add(Fault("list_endless", times=0))
    token = ""
    for _ in range(4):
        page, token = buckets.page(bucket, f"{uuid}/", continuation_token=token)
        assert page == listed
        assert token


def test_a_listing_that_has_more_but_not_where(sandbox: Sandbox, buckets: BucketClient) -> None:
    sandbox.idc.page_size = 3
    sandbox.faults.add(Fault("list_no_token"))
    text = listing(buckets).text
    assert "<IsTruncated>true</IsTruncated>" in text
    assert "NextContinuationToken" not in text


def test_a_listing_of_entities(sandbox: Sandbox, buckets: BucketClient) -> None:
    sandbox.faults.add(Fault("list_entities"))
    assert "<!ENTITY" in listing(buckets).text


def test_objects_that_are_not_what_is_stored(
    sandbox: Sandbox, buckets: BucketClient, listed: list[Listed]
) -> None:
    bucket, _ = buckets.place(UID)
    whole = buckets.get(bucket, listed[0].key).content

    def sent(kind: str, range_: str = "") -> requests.Response:
        sandbox.faults.add(Fault(kind, endpoint="object"))
        return buckets.get(bucket, listed[0].key, range_=range_)

    assert sent("object_short").content == whole[:-1]
    assert sent("object_long").content == whole + b"?"
    flipped = sent("object_flipped").content
    assert sum(a != b for a, b in zip(flipped, whole, strict=True)) == 1
    assert sent("object_other").headers["ETag"] == listed[1].etag
    zipped = sent("object_gzip")
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.content == whole
    assert sent("range_ignored", "bytes=0-3").content == whole
    assert sent("range_shifted", "bytes=0-3").content == whole[1:5]
    assert gzip.compress(whole) != whole
    with pytest.raises(requests.RequestException):
        sent("length_wrong")


def test_etags_that_are_not_what_they_should_be(
    sandbox: Sandbox, buckets: BucketClient, listed: list[Listed]
) -> None:
    bucket, _ = buckets.place(UID)
    right = listed[0].etag
    expected = {
        "etag_wrong": f'"{right[-2:0:-1]}"',
        "etag_unquoted": right.strip('"'),
        "etag_in_parts": f'{right[:-1]}-2"',
        "etag_missing": "",
    }
    for kind, etag in expected.items():
        sandbox.faults.add(Fault(kind, times=2))
        assert buckets.of_series(UID)[1][0].etag == etag
        assert buckets.get(bucket, listed[0].key).headers.get("ETag", "") == etag


def test_objects_that_only_their_headers_give_away(
    sandbox: Sandbox, buckets: BucketClient, listed: list[Listed]
) -> None:
    bucket, _ = buckets.place(UID)

    def sent(kind: str) -> list[bytes]:
        sandbox.faults.clear()
        sandbox.faults.add(Fault(kind, times=0))
        found = buckets.of_series(UID)[1]
        bodies = [buckets.get(bucket, each.key).content for each in found]
        for each, body in zip(found, bodies, strict=True):
            assert each.etag == f'"{hashlib.md5(body).hexdigest()}"'
            assert each.size == len(body)
        return bodies

    other = pydicom.dcmread(io.BytesIO(sent("other_series")[0]))
    assert other.SeriesInstanceUID != UID
    assert len(set(sent("same_object"))) == 1
    assert set(sent("not_dicom")[0]) == {0}
    assert len(listed) == COUNT
