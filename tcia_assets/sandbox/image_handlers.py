"""The endpoints that give bytes: zips, single objects, and the hashes of both.

What belongs here: who may have which object, and what the archive says to the others. What does
not: the entries of a zip (`series_zip.py`), the making of an object (`phantom`).
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
from tcia_assets.sandbox.series_index import VISIBLE, Facts
from tcia_assets.sandbox.series_zip import SeriesZip

_MOST_TOLD = 200_000
_LEVELS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")


class ImageHandlers:
    """The archive's images, for those who may have them."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._hashes: dict[tuple[int, int, int], str] = {}
        self._hashing = threading.Lock()  # the server, too, makes one hash at a time
        # A SOPInstanceUID does not say its Series: these are the ones that were told to somebody.
        self._series_of: dict[str, str] = {}
        self._telling = threading.Lock()

    def tell(self, series: str, uids: Iterable[str]) -> None:
        """Remember whose objects these are: somebody is about to learn of them."""
        with self._telling:
            self._series_of.update(dict.fromkeys(uids, series))
            while len(self._series_of) > _MOST_TOLD:
                del self._series_of[next(iter(self._series_of))]

    def package(self, asked: ApiRequest, fault: Fault | None) -> Reply:
        """The zip of a Series."""
        if not _takes_bytes(asked.headers.get("accept", "*/*")):
            raise RequestRefused(server_error("HTTP 406 Not Acceptable"))
        facts = self._public(asked.series)
        is_bindaas = asked.dialect.server == "bindaas"
        if facts is None and is_bindaas:
            return Reply()
        if facts is None:
            raise RequestRefused(not_public(asked.dialect, asked.endpoint, asked.series))
        self.tell(asked.series, phantom.sop_instance_uids(asked.series, facts.image_count))
        count = [("imageCount", str(facts.image_count))] if is_bindaas else []
        name = f'attachment; filename="{asked.series}.zip"'
        return Reply(
            self._package(asked, facts).zip(self._archive.objects(facts), fault),
            content_type="application/octet-stream",
            headers=(("content-disposition", name), *count),
            is_streamed=True,
        )

    def _package(self, asked: ApiRequest, facts: Facts) -> SeriesZip:
        name, values = asked.endpoint.name, asked.values
        has_license = name == "getImage" and asked.dialect.server != "bindaas"
        return SeriesZip(
            facts.image_count,
            license=_license(self._archive.row(facts.place)) if has_license else None,
            with_md5=name == "getImageWithMD5Hash"
            or values.get("IncludeMD5") == "Yes"
            or values.get("MD5Verification", "").lower() == "true",
            new_names=name == "getDCMImage" or values.get("NewFileNames") == "Yes",
            seed=asked.number,
        )

    def single(self, asked: ApiRequest, _fault: Fault | None) -> Reply:
        """One object."""
        content = self._object(asked.series, asked.sop)
        if content is not None:
            name = f"attachment; filename={asked.sop}.dcm"
            headers = (("content-disposition", name),)
            return Reply([content], content_type="application/dicom", headers=headers)
        if asked.dialect.server == "bindaas":
            error = "java.lang.IndexOutOfBoundsException: SeriesIndex: 0, Size: 0"
            return json_reply({"errorMessage": error})
        raise RequestRefused(server_error())

    def md5(self, asked: ApiRequest, _fault: Fault | None) -> Reply:
        """The MD5 of one object; nothing where it is unknown."""
        content = self._object(self._series_of.get(asked.sop, ""), asked.sop)
        return Reply() if content is None else text_reply(_md5(content))

    def _object(self, series: str, sop: str) -> bytes | None:
        facts = self._public(series)
        objects = self._archive.objects(facts) if facts else iter(())
        return next((content for uid, content in objects if uid == sop), None)

    def _public(self, series: str) -> Facts | None:
        facts = self._archive.facts(series)
        return facts if facts and facts.fate == VISIBLE else None

    def hierarchy(self, asked: ApiRequest, _fault: Fault | None) -> Reply:
        """The hash over the images of a Series, a Study, a Patient or a Collection."""
        with self._hashing:
            return text_reply(self._hierarchy(asked))

    def _hierarchy(self, asked: ApiRequest) -> str:
        if "SeriesInstanceUID" in asked.values:
            facts = self._archive.facts(asked.series)  # hidden ones, too
            return self._of_series(facts) if facts else ""
        question = build_query(
            self._archive, asked.dialect, asked.endpoint, asked.values, asked.number
        )
        rows = self._archive.rows(
            f"SELECT {', '.join(_LEVELS)} FROM archive.series "
            f"WHERE {' AND '.join(question.conditions) or 'FALSE'} ORDER BY ALL"
        )
        above = next((n for n in reversed(_LEVELS) if n in asked.values), None)
        below = _LEVELS[_LEVELS.index(above) + 1 :] if above else _LEVELS
        return self._combined(rows, below) if rows else ""

    def _combined(self, rows: Iterable[dict[str, Any]], levels: Sequence[str]) -> str:
        """The hash over the hashes of the first level, each of which covers the next ones."""
        level, *below = levels
        if not below:
            known = (self._archive.facts(row[level]) for row in rows)
            return _over(self._of_series(facts) for facts in known if facts)
        groups = groupby(rows, key=lambda row: row[level])
        return _over(self._combined(group, below) for _, group in groups)

    def _of_series(self, facts: Facts) -> str:
        key = (facts.place, facts.revision, facts.image_count)
        if key not in self._hashes:
            self._hashes[key] = _over(_md5(content) for _, content in self._archive.objects(facts))
        return self._hashes[key]


def _over(hashes: Iterable[str]) -> str:
    return _md5("".join(sorted(hashes)).encode())


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _takes_bytes(accept: str) -> bool:
    kinds = {each.split(";")[0].strip() for each in accept.split(",")}
    return bool(kinds & {"*/*", "application/*", "application/octet-stream"})


def _license(row: dict[str, Any]) -> str:
    name, uri = row["LicenseName"] or "Not Specified", row["LicenseURI"] or ""
    return (
        f"The Series {row['SeriesInstanceUID']} belongs to the Collection {row['Collection']}.\n"
        f"License: {name}\n{uri}\n"
        f"Please cite {row['DataDescriptionURI'] or row['Collection']}.\n\n"
        "Served by a sandbox archive: its images are synthetic phantoms, not TCIA's.\n"
    )
