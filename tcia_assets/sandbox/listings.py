"""What the archive tells of whole Collections: descriptions, and manifests for a downloader.

What belongs here: their words and lines. What does not: rows of Patients, Studies and Series
(`questions.py`), and how rows are written (`replies.py`).
"""

from __future__ import annotations

import datetime as dt

from tcia_assets.sandbox.asked import Asked
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.index import HIDDEN, VISIBLE
from tcia_assets.sandbox.refusals import Answer, text_answer
from tcia_assets.sandbox.replies import Value
from tcia_assets.sandbox.state import Archive
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


class Listings:
    """What the archive tells of its Collections."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def descriptions(self, asked: Asked) -> list[tuple[Value, ...]]:
        """A row for each visible Collection, or for the one asked for."""
        wanted = asked.values.get("Collection", "")
        names = self._archive.collections_called(wanted)
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

    def manifest(self, asked: Asked, _fault: Fault | None) -> Answer:
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
        return text_answer(head + lines, content_type="application/x-nbia-manifest-file")

    def _uids(self, collection: str, visibility: str) -> list[str]:
        names = ", ".join(map(sql.literal, self._archive.collections_called(collection)))
        fates = ", ".join(map(sql.literal, _VISIBILITIES.get(visibility, ())))
        if not names or not fates:
            return []
        rows = self._archive.rows(
            "SELECT SeriesInstanceUID AS uid FROM archive.everything "
            f"WHERE Collection IN ({names}) AND fate IN ({fates}) ORDER BY place"
        )
        return [row["uid"] for row in rows]
