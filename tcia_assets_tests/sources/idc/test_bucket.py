"""Objects in a folder of a bucket are listed and downloaded; names are checked before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.errors import ArchiveUnreachable, UnknownReply
from tcia_assets.sources import Cost
from tcia_assets.sources.http.transport import Transport
from tcia_assets.sources.idc.bucket import SeriesFolder
from tcia_assets_tests.sources.conftest import FAST, Serve
from tcia_assets_tests.sources.idc.buckets import BUCKET, Buckets, uuid


def test_objects_are_listed_and_downloaded(serve: Serve, tmp_path: Path) -> None:
    buckets, cost = Buckets(), Cost()
    server = serve(buckets)
    transport = Transport(2, FAST)
    folder = SeriesFolder(transport, f"{server.url}/{{bucket}}", BUCKET, uuid(1))
    objects = folder.objects(10, cost)
    for each in objects:
        md5 = folder.download(each, tmp_path / each.name, cost, lambda _: None)
        key = f"{uuid(1)}/{each.name}"
        assert (tmp_path / each.name).read_bytes() == buckets.objects[key]
        assert md5 == each.md5 == buckets.etag(key)
    assert cost.requests == len(server.asked) == 4
    assert cost.size_bytes > 6000
    transport.close()


@pytest.mark.parametrize(
    ("bucket", "name"), [("A", "b"), ("a/b", "c"), ("abc", ""), ("abc", "a/b")]
)
def test_names_that_lead_elsewhere_are_refused(bucket: str, name: str) -> None:
    with pytest.raises(UnknownReply, match="no place"):
        SeriesFolder(Transport(1, FAST), "http://x/{bucket}", bucket, name)


def test_a_proxy_of_the_environment_is_used(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(Buckets())
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    transport = Transport(2, FAST)
    folder = SeriesFolder(transport, "http://buckets.invalid/{bucket}", BUCKET, uuid(1))
    assert len(folder.objects(10, Cost())) == 3
    assert server.asked[0].target.startswith("http://buckets.invalid/idc-open-data/?list-type=2")
    transport.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://buckets.invalid/{bucket}", "the name of the host is unknown"),
        ("http://127.0.0.1:9/{bucket}", "the host refuses connections"),
    ],
)
def test_a_host_that_is_not_there_is_named(
    url: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    folder = SeriesFolder(Transport(1, FAST), url, BUCKET, uuid(1))
    with pytest.raises(ArchiveUnreachable, match=problem) as caught:
        folder.objects(10, Cost())
    assert url.partition("/")[2].strip("/").partition("/")[0] in str(caught.value)
