"""The endpoints of images: zips, single objects, and their MD5s.

Images that are not public are refused. The entries of a zip are made in `series_zip.py`, the
objects in `phantom`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.api_request import ApiRequest
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.queries import build_query
from tcia_assets.sandbox.reply import (
    Reply,
    RequestRefused,
    json_reply,
    not_public,
    server_error,
    text_reply,
)
from tcia_assets.sandbox.series_index import VISIBLE, SeriesFacts
from tcia_assets.sandbox.series_zip import SeriesZip

_MAX_REMEMBERED_OBJECTS = 200_000
_LEVELS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")


class ImageHandlers:
    """The handlers of the endpoints of images."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._hashes: dict[tuple[int, int, int], str] = {}
        self._hash_lock = threading.Lock()  # the server too computes one hash at a time
        # A SOPInstanceUID does not contain its Series, so the ones that were sent are remembered.
        self._series_of: dict[str, str] = {}
        self._series_of_lock = threading.Lock()

    def remember_objects(self, series_uid: str, sop_instance_uids: Iterable[str]) -> None:
        """Remember the Series of these objects, so that later requests for them are found."""
        with self._series_of_lock:
            self._series_of.update(dict.fromkeys(sop_instance_uids, series_uid))
            while len(self._series_of) > _MAX_REMEMBERED_OBJECTS:
                del self._series_of[next(iter(self._series_of))]

    def zip(self, request: ApiRequest, fault: Fault | None) -> Reply:
        """Return the zip of a Series.

        Raises:
            RequestRefused: The Series is not public, or the client does not accept a zip.
        """
        if not _accepts_zip(request.headers.get("accept", "*/*")):
            raise RequestRefused(server_error("HTTP 406 Not Acceptable"))
        uid, served = request.series_uid, request.served
        series = self._public(uid)
        if series is None and served.is_bindaas:
            return Reply()
        if series is None:
            raise RequestRefused(not_public(served, uid))
        self.remember_objects(uid, phantom.sop_instance_uids(uid, series.image_count))
        count = [("imageCount", str(series.image_count))] if served.is_bindaas else []
        return Reply(
            self._series_zip(request, series).chunks(self._archive.objects(series), fault),
            content_type="application/octet-stream",
            headers=(("content-disposition", f'attachment; filename="{uid}.zip"'), *count),
            is_streamed=True,
        )

    def _series_zip(self, request: ApiRequest, series: SeriesFacts) -> SeriesZip:
        name, values = request.served.endpoint.name, request.values
        has_license = name == "getImage" and not request.served.is_bindaas
        return SeriesZip(
            series.image_count,
            license=_license_text(self._archive.row(series.row_number)) if has_license else None,
            with_md5=name == "getImageWithMD5Hash"
            or values.get("IncludeMD5") == "Yes"
            or values.get("MD5Verification", "").lower() == "true",
            new_names=name == "getDCMImage" or values.get("NewFileNames") == "Yes",
            seed=request.number,
        )

    def single(self, request: ApiRequest, _fault: Fault | None) -> Reply:
        """Return one object.

        Raises:
            RequestRefused: It is not public.
        """
        uid = request.sop_instance_uid
        content = self._object(request.series_uid, uid)
        if content is not None:
            headers = (("content-disposition", f"attachment; filename={uid}.dcm"),)
            return Reply([content], content_type="application/dicom", headers=headers)
        if request.served.is_bindaas:
            error = "java.lang.IndexOutOfBoundsException: Index: 0, Size: 0"
            return json_reply({"errorMessage": error})
        raise RequestRefused(server_error())

    def md5(self, request: ApiRequest, _fault: Fault | None) -> Reply:
        """Return the MD5 of one object, or an empty reply for an unknown one."""
        uid = request.sop_instance_uid
        content = self._object(self._series_of.get(uid, ""), uid)
        return Reply() if content is None else text_reply(_md5(content))

    def _object(self, series_uid: str, sop_instance_uid: str) -> bytes | None:
        series = self._public(series_uid)
        objects = self._archive.objects(series) if series else iter(())
        return next((content for uid, content in objects if uid == sop_instance_uid), None)

    def _public(self, series_uid: str) -> SeriesFacts | None:
        series = self._archive.find(series_uid)
        return series if series and series.state == VISIBLE else None

    def md5_hierarchy(self, request: ApiRequest, _fault: Fault | None) -> Reply:
        """Return the hash over the MD5s of a Series, a Study, a Patient or a Collection."""
        with self._hash_lock:
            return text_reply(self._md5_hierarchy(request))

    def _md5_hierarchy(self, request: ApiRequest) -> str:
        values = request.values
        if "SeriesInstanceUID" in values:
            series = self._archive.find(request.series_uid)  # hidden Series too
            return self._series_hash(series) if series else ""
        query = build_query(self._archive, request.served, values, request.number)
        rows = self._archive.rows(
            f"SELECT {', '.join(_LEVELS)} FROM archive.series "
            f"WHERE {' AND '.join(query.conditions) or 'FALSE'} ORDER BY ALL"
        )
        level = next((n for n in reversed(_LEVELS) if n in values), None)
        below = _LEVELS[_LEVELS.index(level) + 1 :] if level else _LEVELS
        return self._combined_hash(rows, below) if rows else ""

    def _combined_hash(self, rows: Iterable[dict[str, Any]], levels: Sequence[str]) -> str:
        """Return the hash over the hashes of the first level, each made from the next levels."""
        level, *below = levels
        if not below:
            found = (self._archive.find(row[level]) for row in rows)
            return _hash_of_hashes(self._series_hash(series) for series in found if series)
        groups = groupby(rows, key=lambda row: row[level])
        return _hash_of_hashes(self._combined_hash(group, below) for _, group in groups)

    def _series_hash(self, series: SeriesFacts) -> str:
        key = (series.row_number, series.revision, series.image_count)
        if key not in self._hashes:
            md5s = (_md5(content) for _, content in self._archive.objects(series))
            self._hashes[key] = _hash_of_hashes(md5s)
        return self._hashes[key]


def _hash_of_hashes(hashes: Iterable[str]) -> str:
    return _md5("".join(sorted(hashes)).encode())


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _accepts_zip(accept: str) -> bool:
    kinds = {each.split(";")[0].strip() for each in accept.split(",")}
    return bool(kinds & {"*/*", "application/*", "application/octet-stream"})


def _license_text(row: dict[str, Any]) -> str:
    name, uri = row["LicenseName"] or "Not Specified", row["LicenseURI"] or ""
    return (
        f"The Series {row['SeriesInstanceUID']} belongs to the Collection {row['Collection']}.\n"
        f"License: {name}\n{uri}\n"
        f"Please cite {row['DataDescriptionURI'] or row['Collection']}.\n\n"
        "Served by a sandbox archive: its images are synthetic phantoms, not TCIA's.\n"
    )
