"""The endpoints of whole Collections: descriptions, and series lists for TCIA's downloader."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from html import escape
from typing import Any

from tcia_assets.sandbox.api_request import ApiRequest
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.reply import Reply, text_reply
from tcia_assets.sandbox.reply_formats import Value
from tcia_assets.sandbox.series_index import HIDDEN, VISIBLE
from tcia_assets.store import sql

_DESCRIPTIONS = """
    SELECT Collection, min(DataDescriptionURI) AS uri,
        (hash(Collection) % 1000000007)::BIGINT AS id,
        epoch_ms(min(MaxSubmissionTimestamp)) AS written,
        count(DISTINCT PatientID) AS patients, count(DISTINCT StudyInstanceUID) AS studies,
        count(*) AS series, string_agg(DISTINCT Modality, ', ' ORDER BY Modality) AS modalities,
        string_agg(DISTINCT BodyPartExamined, ', ' ORDER BY BodyPartExamined) AS body_parts
    FROM archive.series {} GROUP BY Collection ORDER BY Collection
"""
# As curators write: entities, blanks that do not break, and links.
_DESCRIPTION = """\
<p><strong>{Collection}</strong> has {patients:,}&nbsp;patients, {studies:,}&nbsp;Studies and \
{series:,}&nbsp;Series of {modalities}. Its metadata are real; its images are synthetic &amp; made \
by a sandbox archive.</p>
<ul><li>Body parts: {body_parts}</li>
<li>Data citation: <a href="{uri}">{Collection}</a></li></ul>
"""
# NBIA's codes of visibility, as far as the sandbox has such Series; 13 means all.
_VISIBILITIES = {"1": (VISIBLE,), "0": (HIDDEN,), "13": (VISIBLE, HIDDEN)}
_SERIES_LIST = """\
downloadServerUrl=http://{host}/nbia-download/servlet/DownloadServlet
includeAnnotation={annotation}
noOfrRetry=4
databasketId={name}
manifestVersion=3.0
ListOfSeriesToDownload=
"""


class CollectionHandlers:
    """The handlers of the endpoints of whole Collections."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def descriptions(self, request: ApiRequest) -> list[tuple[Value, ...]]:
        """Return a row for each visible Collection, or only for the requested one."""
        requested = request.values.get("Collection", "")
        names = ", ".join(map(sql.literal, self._archive.matching_collections(requested)))
        if requested and not names:
            return []
        where = f"WHERE Collection IN ({names})" if requested else ""
        return [
            (
                row["Collection"],
                _description(row),
                row["uri"],
                row["id"],
                row["written"],
                "sandbox",
                1,
            )
            for row in self._archive.rows(_DESCRIPTIONS.format(where))
        ]

    def series_list(self, request: ApiRequest, _fault: Fault | None) -> Reply:
        """Return the UIDs of a Collection's Series in the file format of TCIA's downloader."""
        collection = request.values.get("Collection", "null")
        now = dt.datetime.now(dt.UTC)
        annotation = (request.values.get("includeAnnotation") or "true").lower() == "true"
        head = _SERIES_LIST.format(
            host=request.headers.get("host", ""),
            annotation="true" if annotation else "false",
            name=f"{collection}-{now:%Y-%m-%d_%H-%M}.tcia",
        )
        uids = self._uids(collection, request.values.get("visibility") or "1")
        lines = "".join(f"{uid}\n" for uid in uids)
        return text_reply(head + lines, content_type="application/x-nbia-manifest-file")

    def _uids(self, collection: str, visibility: str) -> list[str]:
        names = ", ".join(map(sql.literal, self._archive.matching_collections(collection)))
        states = ", ".join(map(sql.literal, _VISIBILITIES.get(visibility, ())))
        if not names or not states:
            return []
        rows = self._archive.rows(
            "SELECT SeriesInstanceUID AS uid FROM archive.everything "
            f"WHERE Collection IN ({names}) AND state IN ({states}) ORDER BY row_number"
        )
        return [row["uid"] for row in rows]


def _description(row: Mapping[str, Any]) -> str:
    shown = {name: "none" if value is None else value for name, value in row.items()}
    texts = {name: escape(v) if isinstance(v, str) else v for name, v in shown.items()}
    return _DESCRIPTION.format_map(texts)
