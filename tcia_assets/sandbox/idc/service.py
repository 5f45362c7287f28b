"""What the IDC serves over HTTP: its buckets and its index files; which paths are whose."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.parquet as pq

from tcia_assets.errors import UnknownName
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.idc import clinical, index_files
from tcia_assets.sandbox.idc.buckets import BucketRequest, Buckets, refusal
from tcia_assets.sandbox.idc.releases import Releases
from tcia_assets.sandbox.idc.stored_objects import Store
from tcia_assets.sandbox.reply import Reply

DIALECT = "idc"  # in faults and in the log
INDEX_BUCKET = "idc-index-data-artifacts"
INDEX_FOLDER = "release_artifacts"
_PREFIX = "/idc-"


def is_for_idc(path: str) -> bool:
    """Return whether a path is that of a bucket: all are named alike."""
    return path.startswith(_PREFIX)


@dataclass(frozen=True)
class IdcRequest:
    """A request, and what faults and the log need to know of it.

    Args:
        request: What is asked for.
        endpoint: "list", "object", "index" or "clinical".
        returns: As of `Endpoint`: "listing", "object" or "file".
        values: The Series, its Collection and the object.
    """

    request: BucketRequest
    endpoint: str
    returns: str
    values: Mapping[str, str]


class IdcService:
    """The handlers of the IDC."""

    def __init__(self, releases: Releases) -> None:
        self._releases = releases
        self._buckets = Buckets(Store(releases))
        self._files: dict[tuple[int, str, str], bytes] = {}
        self._lock = threading.Lock()

    def read(
        self, path: str, parameters: Mapping[str, str], headers: Mapping[str, str]
    ) -> IdcRequest:
        """Return what a request is about."""
        bucket, _, key = path.removeprefix("/").partition("/")
        request = BucketRequest(bucket, key, parameters, headers)
        if bucket == INDEX_BUCKET:
            return IdcRequest(request, "index", "file", {})
        values = self._buckets.values(request)
        endpoint, returns = ("object", "object") if key else ("list", "listing")
        if bucket == clinical.BUCKET:
            endpoint = "clinical"
        return IdcRequest(request, endpoint, returns, values)

    def handle(self, method: str, sent: IdcRequest, fault: Fault | None) -> Reply:
        """Return the reply.

        Raises:
            RequestRefused: There is nothing under the path, or the request is wrong.
        """
        if method not in {"GET", "HEAD"}:
            raise refusal("MethodNotAllowed", sent.request)
        if sent.endpoint == "index":
            return self._index_file(sent.request, fault)
        return self._buckets.handle(sent.request, fault)

    # --- Index files ----------------------------------------------------------------------------

    def _index_file(self, request: BucketRequest, fault: Fault | None) -> Reply:
        release, _, rest = request.key.partition("/")
        folder, _, file = rest.partition("/")
        name, _, extension = file.partition(".")
        if folder != INDEX_FOLDER or extension not in {"parquet", "parquet.sha256"}:
            raise refusal("NoSuchKey", request)
        try:
            body = self._file("" if release == "current" else release, name, fault)
        except UnknownName:
            raise refusal("NoSuchKey", request) from None
        if extension == "parquet":
            return Reply([body], content_type="application/octet-stream")
        is_wrong = fault is not None and fault.kind == "index_wrong_sha"
        digest = hashlib.sha256(body + (b"?" if is_wrong else b"")).hexdigest()
        return Reply([f"{digest}  {name}.parquet\n".encode()], content_type="text/plain")

    def _file(self, release: str, name: str, fault: Fault | None) -> bytes:
        with self._lock:
            key = (self._releases.state, release or self._releases.release, name)
            if key not in self._files:
                self._files = {
                    each: body for each, body in self._files.items() if each[0] == key[0]
                }
                self._files[key] = self._written(release, name, None)
            body = self._files[key]
        if fault and fault.kind == "index_renamed_column":
            return self._written(release, name, fault)
        return body[: len(body) // 2] if fault and fault.kind == "index_truncated" else body

    def _written(self, release: str, name: str, fault: Fault | None) -> bytes:
        table = index_files.table(self._releases, name, release)
        if fault:
            table = table.rename_columns(
                [fault.value if each == fault.column else each for each in table.column_names]
            )
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        return buffer.getvalue()
