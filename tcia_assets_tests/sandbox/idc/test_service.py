"""Which path is whose, the index by URL, and what the log and faults are told."""

from __future__ import annotations

import hashlib
import io

import pyarrow.parquet as pq
import pytest
import requests

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.small_series import UID

from .bucket_client import BucketClient


@pytest.fixture
def file(sandbox: Sandbox, session: requests.Session) -> bytes:
    return session.get(f"{sandbox.idc_index_url}/idc_index.parquet", timeout=5).content


def test_an_index_release_is_served_with_its_digest(
    sandbox: Sandbox, session: requests.Session, file: bytes
) -> None:
    assert pq.read_table(io.BytesIO(file)).num_rows == 844
    url = sandbox.idc_index_url.replace("current", "25.0.5")
    reply = session.get(f"{url}/idc_index.parquet.sha256", timeout=5)
    assert reply.text == f"{hashlib.sha256(file).hexdigest()}  idc_index.parquet\n"


def test_current_is_the_newest_release(sandbox: Sandbox, session: requests.Session) -> None:
    sandbox.idc.publish("26.0.1")
    url = f"{sandbox.idc_index_url}/version_metadata_index.parquet"
    for release, versions in {"current": 26, "26.0.1": 26, "25.0.5": 25}.items():
        body = session.get(url.replace("current", release), timeout=5).content
        assert pq.read_table(io.BytesIO(body)).num_rows == versions


@pytest.mark.parametrize(
    "path",
    [
        "current/release_artifacts/nothing.parquet",
        "24.0/release_artifacts/idc_index.parquet",
        "current/idc_index.parquet",
        "current/release_artifacts/idc_index.csv",
    ],
)
def test_other_files_do_not_exist(sandbox: Sandbox, session: requests.Session, path: str) -> None:
    reply = session.get(f"{sandbox.url}/idc-index-data-artifacts/{path}", timeout=5)
    assert (reply.status_code, "NoSuchKey" in reply.text) == (404, True)


def test_an_index_file_can_be_wrong(
    sandbox: Sandbox, session: requests.Session, file: bytes
) -> None:
    url = f"{sandbox.idc_index_url}/idc_index.parquet"
    sandbox.faults.add(
        Fault("index_truncated"),
        Fault("index_renamed_column", column="instanceCount", value="instances"),
        Fault("index_wrong_sha"),
    )
    assert session.get(url, timeout=5).content == file[: len(file) // 2]
    renamed = pq.read_schema(io.BytesIO(session.get(url, timeout=5).content))
    assert "instances" in renamed.names
    digest = session.get(f"{url}.sha256", timeout=5).text.split()[0]
    assert digest != hashlib.sha256(file).hexdigest()
    assert session.get(url, timeout=5).content == file


def test_requests_for_the_buckets_are_logged(sandbox: Sandbox, buckets: BucketClient) -> None:
    bucket, listed = buckets.of_series(UID)
    buckets.get(bucket, listed[0].key)
    assert (sandbox.requests["list"], sandbox.requests["object"]) == (1, 1)
    last = sandbox.requests.last[-1]
    assert (last.dialect, last.parameters["key"]) == ("idc", listed[0].key)


def test_a_fault_may_be_for_one_series_or_one_object(
    sandbox: Sandbox, buckets: BucketClient
) -> None:
    bucket, listed = buckets.of_series(UID)
    series = sandbox.archive.find(UID)
    assert series is not None
    sop_instance = next(uid for uid, _ in sandbox.archive.objects(series))
    sandbox.faults.add(
        Fault("access_denied", series="1.2.3", times=0),
        Fault("no_such_key", series=UID, sop_instance=sop_instance, times=0),
    )
    replies = [buckets.get(bucket, each.key).status_code for each in listed]
    assert sorted(replies) == [200] * (len(listed) - 1) + [404]
