"""LICENSES.md states each licence and DOI with its Series, and what is not stated."""

from __future__ import annotations

from hypothesis import given, settings

from tcia_assets.metadata.attribution import render_files
from tcia_assets.metadata.citations import POLICY
from tcia_assets_tests.metadata.attribution_files import (
    BY3,
    BY3_URI,
    DOI,
    FULL,
    HOSTILE,
    NC4,
    card,
    cells,
    entries,
    links,
    table,
)


def test_each_licence_and_doi_is_listed_with_its_series() -> None:
    text = render_files("Images of two", FULL)["LICENSES.md"]
    assert text.startswith("# Licences: Images of two\n\n1,210 Series, 5,040 bytes as zips, from [")
    assert cells(text) == [
        ["4D-Lung", f"{BY3} (see the wiki)", "not stated", "4", "10"],
        ["4D-Lung", "not stated", "https://wiki.example.org/x", "3", "10"],
        ["LCTSC", NC4, "10.7937/abc", "1", "10"],
        ["LCTSC", BY3, DOI, "1,200", "5,000"],
        ["LCTSC", BY3, DOI.lower(), "2", "10"],
    ]
    assert links(text) == [
        "https://www.cancerimagingarchive.net",
        "https://wiki.example.org/x",
        "https://doi.org/10.7937/abc",
        BY3_URI,
        f"https://doi.org/{DOI}",
        BY3_URI,
        f"https://doi.org/{DOI.lower()}",
        POLICY,
    ]


def test_what_analyses_made_is_listed_with_its_citation() -> None:
    uri = "https://doi.org/10.5281/zenodo.1"
    text = render_files(
        "t", table(("LCTSC", BY3, BY3_URI, uri, 2, 10, "T", "Doe (2026)", "model_x"))
    )
    text = text["LICENSES.md"]
    assert "(https://www.cancerimagingarchive.net) and from analyses of its images." in text
    assert "2 Series made by the analysis model\\_x" in text
    assert "Cite as: Doe (2026)" in text
    assert "analyses" not in render_files("t", FULL)["LICENSES.md"]


@settings(deadline=None)
@given(
    HOSTILE.map(lambda text: "https://doi.org/10.7937/" + text)
    | HOSTILE.map("https://x.org/".__add__)
)
def test_only_a_plain_address_becomes_a_link(told: str) -> None:
    made = render_files("t", table(("c", "l", told, told, 1, 2)))
    card(made["CITATION.cff"])
    [entry] = entries(made["CITATIONS.bib"]).values()
    for link in {*links(made["LICENSES.md"]), entry.get("url", "")}:
        assert not set(link) & set(" \n<>{}\\\"'`|[]^")
    assert made["CITATIONS.bib"].count("{") == made["CITATIONS.bib"].count("}")
