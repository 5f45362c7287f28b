"""What must be cited, and what the source does not state, in all three files."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tcia_assets.metadata.attribution import render_files
from tcia_assets.metadata.citations import Origin
from tcia_assets_tests.metadata.attribution_files import (
    BY3,
    BY3_URI,
    FULL,
    NC4,
    card,
    cells,
    entries,
    table,
)


def test_the_files_name_what_the_source_does_not_state() -> None:
    made = render_files("Images of two", FULL)
    assert "states no licence for 3 Series: ask TCIA" in made["LICENSES.md"]
    assert "states no DOI for 4 Series: name" in made["LICENSES.md"]
    abstract = card(made["CITATION.cff"])["abstract"]
    assert "; no licence stated for 3 Series; no DOI stated for 4 Series." in abstract
    assert "% It states no licence for 3 Series.\n% It states no DOI for 4" in made["CITATIONS.bib"]
    whole = render_files("x", FULL.filter(pa.compute.equal(FULL["LicenseName"], NC4)))
    assert not [text for text in whole.values() if "no licence" in text or "no DOI" in text]


@pytest.mark.parametrize(
    ("told", "kind", "value"),
    [
        ("https://doi.org/10.7937/abc", "doi", "10.7937/abc"),
        ("HTTP://dx.doi.org/10.7937/abc", "doi", "10.7937/abc"),
        ("doi.org/10.7937/abc", "doi", "10.7937/abc"),
        ("doi:10.7937/abc", "doi", "10.7937/abc"),
        ("10.1000.10/a[1]\\b_c", "doi", "10.1000.10/a[1]\\b_c"),
        ("https://doi.org/10.7937/a b", "other", "https://doi.org/10.7937/a b"),
        ("https://doi.org/", "url", "https://doi.org/"),
        ("https://x.org/10.7937/abc", "url", "https://x.org/10.7937/abc"),
        ("javascript:alert(1)", "other", "javascript:alert(1)"),
        ("https://x.org/}\\input{/etc/passwd}", "other", "https://x.org/}\\input{/etc/passwd}"),
    ],
)
def test_a_text_that_is_not_a_doi_stays_as_it_is(told: str, kind: str, value: str) -> None:
    made = render_files("t", table(("LCTSC", BY3, BY3_URI, told, 1, 1)))
    [identifier] = card(made["CITATION.cff"])["identifiers"]
    assert (identifier["type"], identifier["value"]) == (kind, value)
    [entry] = entries(made["CITATIONS.bib"]).values()
    assert ("url" in entry) == (kind != "other")
    if kind == "other":
        assert entry["note"].startswith(f"{value}. 1 Series")
    assert cells(made["LICENSES.md"])[0][2] == value


@pytest.mark.parametrize(
    ("citation", "authors"),
    [
        ("Doe, J., & Roe, B. R. (2026). Lungs [Data set]. Zenodo.", "Doe, J., & Roe, B. R."),
        ("Ann Doe, & Bob Roe. (2023). Lungs. Zenodo.", "Ann Doe, & Bob Roe"),
        ("Doe J, et al. (2023, May). Lungs.", "Doe J, et al."),
        ("Lungs, by many people, 2023", ""),
        ("https://doi.org/10.5281/zenodo.1", ""),
    ],
)
def test_the_authors_are_those_of_the_citation(citation: str, authors: str) -> None:
    uri = "https://doi.org/10.5281/zenodo.1"
    rows = table(("LCTSC", BY3, BY3_URI, uri, 2, 10, "Lungs", citation, "model_x"))
    made = render_files("t", rows)
    [reference] = card(made["CITATION.cff"])["references"]
    assert reference["authors"] == [{"name": authors or "Zenodo"}]
    assert (reference["title"], reference["publisher"]) == ("Lungs", {"name": "Zenodo"})
    assert "2 Series made by the analysis model_x" in reference["notes"]
    [entry] = entries(made["CITATIONS.bib"]).values()
    assert entry["publisher"] == "Zenodo"


def test_an_analysis_without_a_title_is_not_taken_for_the_archives_own() -> None:
    rows = table(("LCTSC", BY3, BY3_URI, "https://doi.org/10.9999/x", 2, 10, None, None, "model_x"))
    made = render_files("t", rows)
    [reference] = card(made["CITATION.cff"])["references"]
    assert reference["title"] == "model_x (10.9999/x)"
    assert "publisher" not in reference
    own = table(
        ("LCTSC", BY3, BY3_URI, "https://doi.org/10.7937/x", 2, 10, None, None, "readers_x")
    )
    [reference] = card(render_files("t", own)["CITATION.cff"])["references"]
    assert reference["publisher"]["name"] == "The Cancer Imaging Archive"


@pytest.mark.parametrize(
    ("imported_from", "origin", "advice"),
    [
        ([], Origin.TCIA, "TCIA"),
        ([None, None], Origin.TCIA, "TCIA"),
        (["local-folder@localhost"], Origin.FOLDER, "whoever owns the data"),
        ([None, "local-folder@localhost"], Origin.BOTH, "TCIA, or whoever owns the data,"),
    ],
)
def test_the_origin_is_that_of_all_series(
    imported_from: list[str | None], origin: Origin, advice: str
) -> None:
    found = Origin.of(imported_from)
    assert (found, found.advice) == (origin, advice)
    assert found.has_tcia == (found != "a folder that was imported")


@pytest.mark.parametrize(
    ("origin", "names_tcia"), [(Origin.FOLDER, False), (Origin.BOTH, True), (Origin.TCIA, True)]
)
def test_the_files_name_tcia_only_where_series_are_from_there(
    origin: Origin, *, names_tcia: bool
) -> None:
    made = render_files("Images", table(("Mine", None, None, None, 3, 9)), origin=origin)
    for text in made.values():
        assert ("Cancer Imaging" in text or "cancerimagingarchive" in text) == names_tcia
    assert f"ask {origin.advice} before you use" in made["LICENSES.md"]
    assert ("imported" in made["LICENSES.md"]) == (origin is not Origin.TCIA)
    assert card(made["CITATION.cff"])["authors"]
