"""What is published in Collections: descriptions, licences, and how to cite them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tcia_assets.metadata.attribution import with_descriptions
from tcia_assets.metadata.citation_files import citations_bib
from tcia_assets.metadata.citations import Attribution, Citation
from tcia_assets.metadata.publications import Use, read_uses
from tcia_assets.pages import display
from tcia_assets.pages.series import MASKS
from tcia_assets.sources.doi import doi_key
from tcia_assets.store.warehouse import Warehouse

_Row = dict[str, Any]


class Publication(BaseModel):
    """A publication of data to be cited; see `citations.Citation`, and `read_uses` for `own`."""

    model_config = ConfigDict(frozen=True)

    doi: str
    url: str
    title: str
    citation: str
    series: int
    licenses: tuple[tuple[str, str], ...]
    analyses: tuple[str, ...]
    description: str
    own: int = 0
    modalities: tuple[tuple[str, int], ...] = ()

    @property
    def heading(self) -> str:
        """What it describes: "Images: 47 CT", or "Segmentations by others: 90 SEG"."""
        are_masks = all(name in MASKS for name, _ in self.modalities)
        kind = "Segmentations" if are_masks else "Images" if self.own else "Results"
        counts = ", ".join(f"{display.number(series)} {name}" for name, series in self.modalities)
        return f"{kind}{'' if self.own else ' by others'}: {counts}"


_CITED = """
    SELECT Collection, nullif(trim(LicenseName), '') AS LicenseName,
        nullif(trim(LicenseURI), '') AS LicenseURI,
        nullif(trim(DataDescriptionURI), '') AS DataDescriptionURI, analysis_result_id,
        count(*)::BIGINT AS series, coalesce(sum(FileSize), 0)::BIGINT AS bytes
    FROM current_series WHERE list_contains($names, Collection) GROUP BY ALL ORDER BY ALL
"""
_DESCRIBED = """
    SELECT Collection, doi, title, description, cancer_types, tumor_locations, species, program,
        status, updated_on
    FROM collection_descriptions WHERE list_contains($names, Collection) ORDER BY Collection, doi
"""
_ABOUT = ("cancer_types", "tumor_locations", "species", "program", "status", "updated_on")


def read_publications(warehouse: Warehouse, names: Sequence[str]) -> dict[str, _Row]:
    """Return by Collection its `publications`, the main one first, `bibtex` and `about`.

    Args:
        warehouse: Where they are described.
        names: The Collections; one without publications and descriptions is left out.
    """
    parameters = {"names": list(names)}
    cited = with_descriptions(warehouse.query(_CITED, parameters), warehouse)
    described: dict[str, list[_Row]] = defaultdict(list)
    for row in warehouse.query(_DESCRIBED, parameters).to_pylist():
        described[row["Collection"]].append(row)
    uses = read_uses(warehouse, names)
    rows: dict[str, list[_Row]] = defaultdict(list)
    for row in cited.to_pylist():
        rows[row["Collection"]].append(row)
    found = {}
    for name in {*rows, *described}:
        attribution = Attribution.of(name, pa.Table.from_pylist(rows[name], cited.schema))
        own = {doi: use for (collection, doi), use in uses.items() if collection == name}
        ordered = sorted(attribution.citations, key=lambda each: _rank(each, own))
        texts = {each["doi"]: each for each in described[name]}
        found[name] = {
            "publications": _all_publications(ordered, attribution, texts, own),
            "bibtex": citations_bib(attribution) if ordered else "",
            "about": _about(ordered, described[name]),
        }
    return found


def _rank(citation: Citation, uses: Mapping[str, Use]) -> tuple[int, int, str]:
    """Return by what publications are sorted: most of the Collection's own Series, then of all."""
    return -_use(citation, uses).own, -citation.series, citation.uri


def _use(citation: Citation, uses: Mapping[str, Use]) -> Use:
    return uses.get(doi_key(citation.uri), Use())


def _all_publications(
    citations: list[Citation],
    attribution: Attribution,
    texts: dict[str, _Row],
    uses: Mapping[str, Use],
) -> tuple[Publication, ...]:
    cited = [_publication(each, attribution, texts, _use(each, uses)) for each in citations]
    known = {each.doi for each in cited}
    # One that no Series names still describes the Collection.
    others = [
        Publication(
            doi=doi,
            url=f"https://doi.org/{doi}" if doi else "",
            title=text["title"] or "",
            citation="",
            series=0,
            licenses=(),
            analyses=(),
            description=text["description"] or "",
        )
        for doi, text in texts.items()
        if doi not in known
    ]
    return (*cited, *others)


def _publication(
    citation: Citation, attribution: Attribution, texts: dict[str, _Row], use: Use
) -> Publication:
    key = doi_key(citation.uri)
    licenses = {
        (row["LicenseName"] or "", row["LicenseURI"] or "")
        for row in attribution.rows
        if doi_key(row["DataDescriptionURI"]) == key
    }
    return Publication(
        doi=key,
        url=citation.url,
        title=citation.published_title,
        citation=citation.text or _plain_citation(citation),
        series=citation.series,
        licenses=tuple(sorted(licenses)),
        analyses=citation.analyses,
        description=texts.get(key, {}).get("description") or "",
        own=use.own,
        modalities=tuple(use.modalities.items()),
    )


def _plain_citation(citation: Citation) -> str:
    """Return a citation of what is known, where the source has no text."""
    parts = [citation.title, citation.publisher, citation.url or citation.uri]
    return ". ".join(dict.fromkeys(each for each in parts if each)) + "."


def _about(citations: list[Citation], described: list[_Row]) -> dict[str, str]:
    """Return what the description of the main publication states, filled up by the others."""
    main = doi_key(citations[0].uri) if citations else ""
    ordered = sorted(described, key=lambda row: row["doi"] != main)
    about = {}
    for name in _ABOUT:
        value: date | str | None = next((row[name] for row in ordered if row[name]), None)
        if value is not None:
            about[name] = str(value)
    return about
