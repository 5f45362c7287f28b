"""Buckets as S3 serves them: listings, objects, ranges and errors."""

from __future__ import annotations

import hashlib

import pytest

from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.released_series import series
from tcia_assets_tests.sandbox.small_series import COUNT, UID

from .bucket_client import BucketClient


def test_an_etag_is_the_md5_of_an_object(buckets: BucketClient) -> None:
    bucket, listed = buckets.of_series(UID)
    for each in listed[:3]:
        reply = buckets.get(bucket, each.key)
        md5 = hashlib.md5(reply.content).hexdigest()
        assert each.etag == reply.headers["ETag"] == f'"{md5}"'
        assert each.size == int(reply.headers["Content-Length"]) == len(reply.content)


def test_an_etag_of_an_upload_in_parts_is_no_md5(buckets: BucketClient) -> None:
    bucket, listed = buckets.of_series(min(series(Modality="MG")))
    reply = buckets.get(bucket, listed[0].key)
    assert listed[0].etag == reply.headers["ETag"]
    assert listed[0].etag.endswith('-1"')


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_a_listing_is_continued_until_all_are_listed(
    sandbox: Sandbox, buckets: BucketClient, page_size: int
) -> None:
    sandbox.idc.page_size = page_size
    _, listed = buckets.of_series(UID)
    assert len({each.key for each in listed}) == len(listed) == COUNT
    assert sandbox.requests["list"] == -(-COUNT // page_size)


def test_a_client_may_ask_for_smaller_pages_and_start_behind_a_key(buckets: BucketClient) -> None:
    bucket, listed = buckets.of_series(UID)
    prefix = f"{buckets.place(UID)[1]}/"
    page, token = buckets.page(bucket, prefix, max_keys="2")
    assert page == listed[:2]
    assert buckets.page(bucket, prefix, max_keys="1", continuation_token=token)[0] == listed[2:3]
    assert buckets.page(bucket, prefix, start_after=listed[-2].key)[0] == listed[-1:]


def test_a_prefix_need_not_be_a_series(buckets: BucketClient) -> None:
    bucket, uuid = buckets.place(UID)
    page, token = buckets.page(bucket, "", max_keys="3")
    assert len(page) == 3
    assert token
    assert buckets.list(bucket, "no-such-uuid/") == []
    reply = buckets.get(bucket, prefix=uuid, delimiter="/", **{"list-type": "2"})
    assert f"<CommonPrefixes><Prefix>{uuid}/</Prefix></CommonPrefixes>" in reply.text
    assert "<Contents>" not in reply.text


def test_a_range_is_a_part_of_the_object(buckets: BucketClient) -> None:
    bucket, listed = buckets.of_series(UID)
    key, whole = listed[0].key, buckets.get(bucket, listed[0].key).content
    for asked, part in {
        "bytes=128-131": whole[128:132],
        f"bytes={len(whole) - 5}-": whole[-5:],
        "bytes=-3": whole[-3:],
        f"bytes=10-{len(whole) * 2}": whole[10:],
    }.items():
        reply = buckets.get(bucket, key, range_=asked)
        assert (reply.status_code, reply.content) == (206, part)
        start = len(whole) - len(part) if asked != "bytes=128-131" else 128
        end = start + len(part) - 1
        assert reply.headers["Content-Range"] == f"bytes {start}-{end}/{len(whole)}"
    assert buckets.get(bucket, key, range_=f"bytes={len(whole)}-").status_code == 416
    assert buckets.get(bucket, key, range_="lines=1-2").content == whole


def test_head_tells_the_headers_without_the_object(buckets: BucketClient) -> None:
    bucket, listed = buckets.of_series(UID)
    reply = buckets.get(bucket, listed[0].key, "HEAD")
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["Content-Length"] == str(listed[0].size)
    assert reply.headers["ETag"] == listed[0].etag


@pytest.mark.parametrize(
    ("bucket", "key", "parameters", "status", "code"),
    [
        ("idc-open-data", "nothing.dcm", {}, 404, "NoSuchKey"),
        ("idc-closed-data", "", {"list-type": "2"}, 404, "NoSuchBucket"),
        ("idc-open-data", "", {}, 501, "NotImplemented"),
        (
            "idc-open-data",
            "",
            {"list-type": "2", "continuation-token": "?"},
            400,
            "InvalidArgument",
        ),
    ],
)
def test_errors_are_xml_as_of_s3(
    buckets: BucketClient, bucket: str, key: str, parameters: dict[str, str], status: int, code: str
) -> None:
    reply = buckets.get(bucket, key, **parameters)
    assert reply.status_code == status
    assert reply.headers["Content-Type"] == "application/xml"
    assert f"<Error><Code>{code}</Code>" in reply.text


def test_an_object_is_in_no_other_bucket(buckets: BucketClient) -> None:
    _, listed = buckets.of_series(UID)
    assert buckets.get("idc-open-data-cr", listed[0].key).status_code == 404


def test_nothing_can_be_written(buckets: BucketClient) -> None:
    reply = buckets.get("idc-open-data", "x", "PUT")
    assert (reply.status_code, "MethodNotAllowed" in reply.text) == (405, True)
