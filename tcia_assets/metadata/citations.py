"""What must be cited for a set of Series: DOIs, their licences, and what the source does not state.

The files that are written from this are in `license_file.py` and `citation_files.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from tcia_assets.catalog import TCIA_DOI
from tcia_assets.metadata.licenses import short_license
from tcia_assets.metadata.markdown import is_plain_url, one_line
from tcia_assets.sources.doi import doi_of

POLICY = "https://www.cancerimagingarchive.net/data-usage-policies-and-restrictions/"
ARCHIVE = "The Cancer Imaging Archive"
ARCHIVE_URL = "https://www.cancerimagingarchive.net"


class Origin(StrEnum):
    """Where Series are from, as texts name it."""

    TCIA = ARCHIVE
    FOLDER = "a folder that was imported"
    BOTH = f"{ARCHIVE} and folders that were imported"

    @classmethod
    def of(cls, imported_from: Iterable[object]) -> Origin:
        """Return the origin of Series.

        Args:
            imported_from: For each of them, or of their Collections, what is true if it was
                imported, such as the folder.
        """
        is_imported = {bool(each) for each in imported_from}
        if is_imported == {True}:
            return cls.FOLDER
        return cls.BOTH if True in is_imported else cls.TCIA

    @property
    def has_tcia(self) -> bool:
        """Whether TCIA has some of the Series."""
        return self is not Origin.FOLDER

    @property
    def advice(self) -> str:
        """Whom to ask about Series without a licence."""
        owner = "whoever owns the data"
        return {Origin.TCIA: "TCIA", Origin.FOLDER: owner}.get(self, f"TCIA, or {owner},")


SCHEMA = pa.schema(
    [
        pa.field("Collection", pa.string(), nullable=False),
        pa.field("LicenseName", pa.string()),
        pa.field("LicenseURI", pa.string()),
        pa.field("DataDescriptionURI", pa.string()),
        pa.field("series", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("citation", pa.string()),
        pa.field("analysis_result_id", pa.string()),
    ]
)
"""Licences and DOIs, with the number of Series and bytes.

`analysis_result_id` is null for the Collection's own data; `title` and `citation` are those of the
publication, null where the source has none.
"""

# Who distributes the data with a DOI that starts so.
_PUBLISHERS = {TCIA_DOI: ARCHIVE, "10.5281/zenodo.": "Zenodo"}
# A citation in APA style: authors, then the year.
_AUTHORS = re.compile(r"(.{1,1000}?) *[(](?:19|20)[0-9]{2}[a-z]?[^()]{0,20}[)]")
_SPDX = re.compile(r"cc-by(-nc)?(-nd|-sa)?-([12][.]0|2[.]5|3[.]0|4[.]0)|cc0-1[.]0")


@dataclass(frozen=True)
class Citation:
    """A publication of data that must be cited.

    Attributes:
        uri: Its DataDescriptionURI: mostly a DOI.
        collections: The Collections whose Series it describes, sorted.
        licenses: Their licences by name, or by address if they have no name.
        series: Number of Series.
        unlicensed: Number of these for which no licence is stated.
        published_title: The title of the publication; "" if the source has none.
        text: How to cite it, in the words of its publisher; "" if the source has none.
        analyses: The analyses that made them, by analysis_result_id; sorted.
    """

    uri: str
    collections: tuple[str, ...]
    licenses: tuple[str, ...]
    series: int
    unlicensed: int
    published_title: str = ""
    text: str = ""
    analyses: tuple[str, ...] = ()

    @property
    def doi(self) -> str:
        """The DOI; "" if there is none."""
        return doi_of(self.uri)

    @property
    def url(self) -> str:
        """Its address; "" if there is none."""
        return doi_url(self.doi) or (self.uri if is_plain_url(self.uri) else "")

    @property
    def title(self) -> str:
        """The title of the publication; without one, the names of the Collections."""
        return self.published_title or f"{self.about} ({self.publisher or self.doi})"

    @property
    def about(self) -> str:
        """The names of the analyses that made the data, or else of the Collections."""
        return ", ".join(self.analyses or self.collections)

    @property
    def publisher(self) -> str:
        """Who distributes the data: the archive, or, of analyses by others, whom the DOI shows."""
        doi = self.doi.lower()
        known = (name for start, name in _PUBLISHERS.items() if doi.startswith(start))
        return next(known, "" if self.doi and self.analyses else ARCHIVE)

    @property
    def authors(self) -> str:
        """The authors as the citation names them; "" if it names none."""
        match = _AUTHORS.match(self.text)
        # A dot after a word ends the list; one after a letter belongs to initials.
        return re.sub("(?<=[a-z]{2})(?<!et al)[.]$", "", match[1]) if match else ""

    @property
    def notes(self) -> str:
        """How many Series under which licences."""
        gap = f"not stated for {count_of_series(self.unlicensed)}"
        licenses = [*self.licenses, *([gap] if self.unlicensed else [])]
        made_by = f" made by the analysis {', '.join(self.analyses)}" if self.analyses else ""
        return f"{count_of_series(self.series)}{made_by}; licence: {'; '.join(licenses)}."

    @property
    def spdx(self) -> str:
        """The SPDX identifier of the licence; "" if there are several, or if SPDX has none."""
        return spdx_of(self.licenses) if not self.unlicensed else ""


@dataclass(frozen=True)
class Attribution:
    """A table of attribution as its files show it: sorted, each text on one line.

    Attributes:
        title: What the data are.
        rows: The rows of the table, with the columns of `SCHEMA`.
        form: The form of the data that the bytes are counted of, such as "as zips".
        origin: Where the data are from.
    """

    title: str
    rows: tuple[dict[str, Any], ...]
    form: str
    origin: Origin = Origin.TCIA

    @classmethod
    def of(
        cls, title: str, table: pa.Table, form: str = "", origin: Origin = Origin.TCIA
    ) -> Attribution:
        """Prepare a table; equal tables, in any order, give equal results."""
        rows = [{k: one_line(v) for k, v in row.items()} for row in table.to_pylist()]
        rows.sort(key=lambda row: [str(row[name]) for name in SCHEMA.names])
        return cls(one_line(title), tuple(rows), form, origin)

    def total(self, unit: str = "series") -> int:
        """Return the number of Series or bytes."""
        return sum(row[unit] for row in self.rows)

    @property
    def from_whom(self) -> str:
        """Where the data are from, in words: also whether from analyses by others."""
        is_derived = any(row["analysis_result_id"] for row in self.rows)
        return f"from {self.origin}{' and from analyses of its images' if is_derived else ''}"

    def gaps(self) -> Iterator[tuple[str, int, str]]:
        """Yield what the source does not state, for how many Series, and what to do about it."""
        unlicensed = sum(row["series"] for row in self.rows if not license_of(row))
        if unlicensed:
            advice = f"ask {self.origin.advice} before you use or redistribute these data."
            yield "licence", unlicensed, advice
        without_doi = sum(row["series"] for row in self.rows if not row["DataDescriptionURI"])
        if without_doi:
            yield "DOI", without_doi, "name the Collection where you cite these."

    @property
    def citations(self) -> list[Citation]:
        """Each DOI once, however it is written; sorted."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            if uri := row["DataDescriptionURI"]:
                # DOIs do not distinguish case.
                groups.setdefault(doi_of(uri).lower() or uri, []).append(row)
        return [citation_of(rows) for _, rows in sorted(groups.items())]


def doi_url(doi: str) -> str:
    """Return the address of a DOI; "" for none."""
    # Escaped, because a DOI may contain brackets and backslashes.
    return f"https://doi.org/{quote(doi, safe=':/_;-.()')}" if doi else ""


def citation_of(rows: list[dict[str, Any]]) -> Citation:
    """Return the citation for rows that have the same DOI."""
    return Citation(
        uri=rows[0]["DataDescriptionURI"],
        collections=tuple(sorted({row["Collection"] for row in rows})),
        licenses=tuple(sorted({license_of(row) for row in rows} - {""})),
        series=sum(row["series"] for row in rows),
        unlicensed=sum(row["series"] for row in rows if not license_of(row)),
        analyses=tuple(sorted({row["analysis_result_id"] or "" for row in rows} - {""})),
        published_title=_first(rows, "title"),
        text=_first(rows, "citation"),
    )


def _first(rows: list[dict[str, Any]], name: str) -> str:
    return min((row[name] for row in rows if row.get(name)), default="")


def license_of(row: dict[str, Any]) -> str:
    """Return the licence of a row by its name, or by its address; "" if it has none."""
    return row["LicenseName"] or row["LicenseURI"] or ""


def spdx_of(licenses: tuple[str, ...]) -> str:
    """Return the SPDX identifier of licences that are the same; "" if there is none."""
    shorts = {short_license(name) for name in licenses}
    short = shorts.pop() if len(shorts) == 1 else ""
    return short.upper() if _SPDX.fullmatch(short) else ""


def count_of_series(number: int) -> str:
    """Return a number of Series as text."""
    return f"{number:,} Series"
