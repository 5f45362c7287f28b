"""A bucket with one Series or a few, on a scripted server, and an index release of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from tcia_assets.settings import Settings
from tcia_assets.sources import Pacing
from tcia_assets.sources.idc.source import IdcSource
from tcia_assets_tests.images.headers.dicom_bytes import EXPLICIT, element, wrap
from tcia_assets_tests.sources.conftest import FAST
from tcia_assets_tests.sources.idc import index_files
from tcia_assets_tests.sources.scripted import Answer, Asked, Scripted, answer

BUCKET = "idc-open-data"
SERIES = "1.3.6.1.4.1.14519.5.2.1.7014.4598.1"


def uuid(number: int) -> str:
    return str(UUID(int=number))


def dicom(sop_instance_uid: str, series: str = SERIES, size: int = 2000) -> bytes:
    """A DICOM object of these UIDs, and as many bytes."""
    uids = ((0x00080018, sop_instance_uid), (0x0020000E, series))
    head = wrap(b"".join(element(tag, "UI", uid.encode()) for tag, uid in uids), EXPLICIT)
    return head + element(0x7FE00010, "OW", bytes(size - len(head) - 12))


def series_objects(count: int = 3, series: str = SERIES, **chosen: Any) -> dict[str, bytes]:
    """The objects of a Series by key; the order of the keys is not that of the UIDs."""
    return {
        f"{uuid(1)}/{uuid(100 + n)}.dcm": dicom(f"{series}.{count - n}", series, **chosen)
        for n in range(count)
    }


@dataclass
class Buckets:
    """What a bucket answers.

    Attributes:
        objects: The bytes of each object, by key.
        first: Answers to send before the true one, by key; "" is for the listing.
        page: The objects of a page of a listing.
        listed: Changes the text of each page.
        etags: ETags by key that are not the object's MD5.
    """

    objects: dict[str, bytes] = field(default_factory=series_objects)
    first: dict[str, list[Answer]] = field(default_factory=dict)
    page: int = 1000
    listed: Callable[[str], str] = str
    etags: dict[str, str] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> Answer:
        key = unquote(asked.path.removeprefix(f"/{BUCKET}/"))
        if self.first.get(key):
            return self.first[key].pop(0)
        if not key:
            return answer(self.listing(dict(asked.query)), Content_Type="application/xml")
        if key not in self.objects:
            return error(404, "NoSuchKey")
        return answer(self.objects[key], Content_Type="binary/octet-stream")

    def listing(self, query: Mapping[str, str]) -> str:
        keys = sorted(key for key in self.objects if key.startswith(query["prefix"]))
        start = int(query.get("continuation-token", 0))
        page, is_cut = keys[start : start + self.page], start + self.page < len(keys)
        found = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(self.objects[key])}</Size>"
            f"<ETag>&quot;{self.etag(key)}&quot;</ETag></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{start + self.page}</NextContinuationToken>"
        return self.listed(
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>{token if is_cut else ''}{found}"
            "</ListBucketResult>"
        )

    def etag(self, key: str) -> str:
        return self.etags.get(key, md5(self.objects[key], usedforsecurity=False).hexdigest())


def error(status: int, code: str, **headers: str) -> Answer:
    """An error as S3 sends it."""
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    return answer(text, status, Content_Type="application/xml", **headers)


def index_row(objects: Mapping[str, bytes], series: str = SERIES, **chosen: Any) -> dict[str, Any]:
    """The row of a Series whose objects are these."""
    return index_files.series(
        0,
        **{
            "SeriesInstanceUID": series,
            "instanceCount": len(objects),
            "series_size_MB": sum(map(len, objects.values())) / 1e6,
            "crdc_series_uuid": next(iter(objects)).partition("/")[0],
        }
        | chosen,
    )


@contextmanager
def serving(
    buckets: Buckets, folder: Path, *rows: dict[str, Any], pacing: Pacing = FAST, **chosen: Any
) -> Iterator[tuple[Scripted, IdcSource]]:
    """A server of these buckets, and a source that uses it."""
    index = index_files.write_index(folder / "index", rows or [index_row(buckets.objects)])
    with Scripted(buckets) as server:
        settings = Settings(
            source="idc",
            idc_index=str(index),
            idc_base_url=f"{server.url}/{{bucket}}",
            data_dir=str(folder),
            **chosen,
        )
        with IdcSource(settings, pacing=pacing) as source:
            yield server, source
