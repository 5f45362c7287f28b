"""What the archive tells of whole Collections: descriptions, and manifests for a downloader.

What belongs here: their words and lines. What does not: rows of Patients, Studies and Series
(`queries.py`), and how rows are written (`reply_formats.py`).
"""

from __future__ import annotations

import datetime as dt

from tcia_assets.sandbox.api_request import ApiRequest
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.reply import Reply, text_reply
from tcia_assets.sandbox.reply_formats import Value
from tcia_assets.sandbox.series_index import HIDDEN, VISIBLE
from tcia_assets.store import sql

_DESCRIBED = """
    SELECT Collection, min(DataDescriptionURI) AS uri,
        row_number() OVER (ORDER BY Collection) AS id,
        epoch_ms(min(MaxSubmissionTimestamp)) AS written
    FROM archive.series GROUP BY Collection ORDER BY Collection
"""
# The archive's codes, and what the sandbox has of them: 13 stands for all.
_VISIBILITIES = {"1": (VISIBLE,), "0": (HIDDEN,), "13": (VISIBLE, HIDDEN)}
_MANIFEST = """\
downloadServerUrl=http://{host}/nbia-download/servlet/DownloadServlet
includeAnnotation={annotation}
noOfrRetry=4
databasketId={name}
manifestVersion=3.0
ListOfSeriesToDownload=
"""


class CollectionHandlers:
    """What the archive tells of its Collections."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def descriptions(self, asked: ApiRequest) -> list[tuple[Value, ...]]:
        """A row for each visible Collection, or for the one asked for."""
        wanted = asked.values.get("Collection", "")
        names = self._archive.matching_collections(wanted)
        return [
            (
                row["Collection"],
                f"<p>{row['Collection']}, served by a sandbox archive of synthetic images.</p>",
                row["uri"],
                row["id"],
                row["written"],
                "sandbox",
                1,
            )
            for row in self._archive.rows(_DESCRIBED)
            if not wanted or row["Collection"] in names
        ]

    def manifest(self, asked: ApiRequest, _fault: Fault | None) -> Reply:
        """The UIDs of a Collection's Series, below what TCIA's downloader wants to know."""
        wanted = asked.values.get("Collection", "null")
        now = dt.datetime.now(dt.UTC)
        annotation = (asked.values.get("includeAnnotation") or "true").lower() == "true"
        head = _MANIFEST.format(
            host=asked.headers.get("host", ""),
            annotation="true" if annotation else "false",
            name=f"{wanted}-{now:%Y-%m-%d_%H-%M}.tcia",
        )
        uids = self._uids(wanted, asked.values.get("visibility") or "1")
        lines = "".join(f"{uid}\n" for uid in uids)
        return text_reply(head + lines, content_type="application/x-nbia-manifest-file")

    def _uids(self, collection: str, visibility: str) -> list[str]:
        names = ", ".join(map(sql.literal, self._archive.matching_collections(collection)))
        fates = ", ".join(map(sql.literal, _VISIBILITIES.get(visibility, ())))
        if not names or not fates:
            return []
        rows = self._archive.rows(
            "SELECT SeriesInstanceUID AS uid FROM archive.everything "
            f"WHERE Collection IN ({names}) AND fate IN ({fates}) ORDER BY place"
        )
        return [row["uid"] for row in rows]
