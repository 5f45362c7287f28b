"""Replies of the buckets, as S3 gives them to anonymous clients.

A listing (`?list-type=2`) with prefix, delimiter, start-after and continuation; objects with HEAD
and ranges; errors in XML. Faults in them are those of `bucket_faults.py`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from xml.sax.saxutils import escape

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.idc import bucket_faults, clinical
from tcia_assets.sandbox.idc.bucket_faults import Item
from tcia_assets.sandbox.idc.first_release import BUCKETS
from tcia_assets.sandbox.idc.stored_objects import (
    Store,
    StoredFiles,
    StoredObject,
    StoredObjects,
)
from tcia_assets.sandbox.reply import Reply, RequestRefused

_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_LAST_MODIFIED = ("Sat, 26 Sep 2026 00:00:00 GMT", "2026-09-26T00:00:00.000Z")
_MESSAGES = {
    "AccessDenied": (403, "Access Denied"),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidArgument": (400, "The continuation token provided is incorrect"),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NotImplemented": (501, "Only ListObjectsV2 is served: add list-type=2"),
    "PermanentRedirect": (
        301,
        "The bucket you are attempting to access must be addressed using another endpoint.",
    ),
    "SlowDown": (503, "Please reduce your request rate."),
}
_CODES = {  # of faults that are errors of S3
    "access_denied": "AccessDenied",
    "internal_error": "InternalError",
    "no_such_bucket": "NoSuchBucket",
    "no_such_key": "NoSuchKey",
    "permanent_redirect": "PermanentRedirect",
    "slow_down": "SlowDown",
}


@dataclass(frozen=True)
class BucketRequest:
    """A request for a bucket, or for an object in it.

    Args:
        bucket: The bucket.
        key: The key; "" for the bucket itself.
        parameters: The query parameters.
        headers: The headers, with names in lower case.
    """

    bucket: str
    key: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def folder(self) -> str:
        """The uuid of the Series that it is about."""
        return (self.key or self.parameters.get("prefix", "")).partition("/")[0]


class Buckets:
    """The handlers of the buckets."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def handle(self, request: BucketRequest, fault: Fault | None) -> Reply:
        """Return the reply to a GET or HEAD.

        Raises:
            RequestRefused: There is no such bucket or object, or the request is wrong.
        """
        if fault and fault.kind in _CODES:
            raise refusal(_CODES[fault.kind], request, fault.retry_after)
        if request.bucket not in (*BUCKETS, clinical.BUCKET):
            raise refusal("NoSuchBucket", request)
        return self._object(request, fault) if request.key else self._listing(request, fault)

    def values(self, request: BucketRequest) -> dict[str, str]:
        """Return what a request is about, for faults: the Series, its Collection, the object."""
        folder = self._store.folder(request.folder)
        return folder.values(folder.find(request.key)) if folder else {}

    # --- Listings -------------------------------------------------------------------------------

    def _listing(self, request: BucketRequest, fault: Fault | None) -> Reply:
        sent = request.parameters
        if sent.get("list-type") != "2":
            raise refusal("NotImplemented", request)
        prefix, delimiter = sent.get("prefix", ""), sent.get("delimiter", "")
        token = sent.get("continuation-token", "")
        after = _decoded(token, request) if token else sent.get("start-after", "")
        limit = min(_whole(sent.get("max-keys"), 1000), self._store.releases.page_size)
        found = self._store.objects(request.bucket, prefix, after)
        items = [_item(*each) for each in islice(found, limit + 1)]
        is_truncated, items = len(items) > limit, items[:limit]
        page = bucket_faults.Page(items, _encoded(items[-1].key) if is_truncated else "")
        if fault:
            again = [_item(*e) for e in islice(self._store.objects(request.bucket, prefix), limit)]
            page = bucket_faults.page_with_fault(fault, page, again, prefix)
        return _xml(_listing_text(request, page, limit, prefix, delimiter))

    # --- Objects --------------------------------------------------------------------------------

    def _object(self, request: BucketRequest, fault: Fault | None) -> Reply:
        series = self._store.folder(request.folder)
        stored = series.find(request.key) if series else None
        if series is None or stored is None or series.bucket != request.bucket:
            raise refusal("NoSuchKey", request)
        sent = bucket_faults.object_with_fault(fault, series, stored)
        headers = [
            *([("etag", sent.etag)] if sent.etag else []),
            ("last-modified", _LAST_MODIFIED[0]),
            ("accept-ranges", "bytes"),
            *sent.headers,
        ]
        kind = "application/dicom" if request.key.endswith(".dcm") else "binary/octet-stream"
        status, body = 200, sent.body
        wanted = request.headers.get("range")
        if wanted and not (fault and fault.kind == "range_ignored"):
            start, stop = _bounds(wanted, len(body), request)
            headers.append(("content-range", f"bytes {start}-{stop - 1}/{len(body)}"))
            shift = 1 if fault and fault.kind == "range_shifted" else 0
            status, body = 206, (body + bytes(shift))[start + shift : stop + shift]
        return Reply([body], status, kind, tuple(headers))


def refusal(code: str, request: BucketRequest, retry_after: str = "") -> RequestRefused:
    """Return the refusal with an error of S3."""
    status, message = _MESSAGES[code]
    text = (
        f"{_XML}<Error><Code>{code}</Code><Message>{escape(message)}</Message>"
        f"<BucketName>{escape(request.bucket)}</BucketName><Key>{escape(request.key)}</Key>"
        "<RequestId>SANDBOX</RequestId><HostId>sandbox</HostId></Error>"
    )
    headers = (("retry-after", retry_after),) if retry_after else ()
    return RequestRefused(Reply([text.encode()], status, "application/xml", headers))


def _item(series: StoredObjects | StoredFiles, stored: StoredObject) -> Item:
    return Item(stored.key, series.size(stored), f'"{series.etag(stored)}"', series, stored)


def _listing_text(
    request: BucketRequest, page: bucket_faults.Page, limit: int, prefix: str, delimiter: str
) -> str:
    folders: dict[str, None] = {}
    contents = []
    for item in page.items:
        end = item.key.find(delimiter, len(prefix)) if delimiter else -1
        if end >= 0:
            folders[item.key[: end + len(delimiter)]] = None
            continue
        etag = f"<ETag>{escape(item.etag, {chr(34): '&quot;'})}</ETag>" if item.etag else ""
        contents.append(
            f"<Contents><Key>{escape(item.key)}</Key><LastModified>{_LAST_MODIFIED[1]}"
            f"</LastModified>{etag}<Size>{item.size}</Size>"
            "<StorageClass>INTELLIGENT_TIERING</StorageClass></Contents>"
        )
    token = page.token
    sent = request.parameters.get("continuation-token", "")
    return (
        f'{_XML}{page.prolog}<ListBucketResult xmlns="{_NAMESPACE}">'
        f"<Name>{request.bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
        + (f"<Delimiter>{escape(delimiter)}</Delimiter>" if delimiter else "")
        + (f"<ContinuationToken>{escape(sent)}</ContinuationToken>" if sent else "")
        + (f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else "")
        + f"<KeyCount>{len(contents) + len(folders)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
        f"<IsTruncated>{str(page.is_truncated).lower()}</IsTruncated>"
        + "".join(contents)
        + "".join(
            f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders
        )
        + "</ListBucketResult>"
    )


def _xml(text: str) -> Reply:
    return Reply([text.encode()], content_type="application/xml")


def _encoded(key: str) -> str:
    return base64.b64encode(f"after {key}".encode()).decode()


def _decoded(token: str, request: BucketRequest) -> str:
    try:
        return base64.b64decode(token, validate=True).decode().removeprefix("after ")
    except (binascii.Error, UnicodeDecodeError):
        raise refusal("InvalidArgument", request) from None


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default


def _bounds(wanted: str, size: int, request: BucketRequest) -> tuple[int, int]:
    """Return the first byte of a range, and the one behind its last."""
    found = _RANGE.fullmatch(wanted)
    if found is None or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1 if last else size, size)
    if start >= stop:
        raise refusal("InvalidRange", request)
    return start, stop
