"""A page of a bucket's listing is read, whichever server wrote it."""

from __future__ import annotations

import pytest

from tcia_assets.errors import UnreadableReply
from tcia_assets.sources.idc.listing import Page, StoredObject, read_page

MD5 = "0cc175b9c0f1b6a831c399e269772661"


def page(etag: str, namespace: str = "") -> bytes:
    return (
        f"<ListBucketResult{namespace}><IsTruncated>false</IsTruncated><Contents><Key>a/1.dcm</Key>"
        f"<Size> 7 </Size><ETag>{etag}</ETag></Contents></ListBucketResult>"
    ).encode()


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'])
@pytest.mark.parametrize(
    ("etag", "md5"),
    [
        (f"&quot;{MD5}&quot;", MD5),
        (MD5.upper(), MD5),
        (f'"{MD5}-2"', ""),
        ("", ""),
        ("&quot;W/abc&quot;", ""),
    ],
)
def test_the_md5_is_the_etag_if_it_can_be(etag: str, md5: str, namespace: str) -> None:
    found = read_page(page(etag, namespace), "a/", "http://x")
    assert found == Page((StoredObject("1.dcm", 7, md5),), "")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe<\0", page("").decode().encode("utf-16")])
def test_what_is_no_text_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableReply, match="not the listing of a bucket"):
        read_page(body, "a/", "http://x")


def test_the_folder_itself_is_no_object() -> None:
    folder = b"<Contents><Key>a/</Key><Size>0</Size></Contents></ListBucketResult>"
    body = page(MD5).replace(b"</ListBucketResult>", folder)
    assert [each.name for each in read_page(body, "a/", "http://x").objects] == ["1.dcm"]
