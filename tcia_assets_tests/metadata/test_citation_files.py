"""CITATION.cff and CITATIONS.bib name each DOI once, and are read by other programs."""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.metadata.attribution import render_files
from tcia_assets.metadata.citations import POLICY
from tcia_assets_tests.metadata.attribution_files import (
    BY3,
    BY3_URI,
    DOI,
    FULL,
    card,
    entries,
    table,
)


def test_a_citation_file_names_each_doi_once() -> None:
    read = card(render_files("Images of two", FULL)["CITATION.cff"])
    assert (read["type"], read["title"]) == ("dataset", "Images of two")
    assert read["authors"][0]["name"] == "The Cancer Imaging Archive"
    assert POLICY in read["message"]
    assert "license" not in read
    by_url = {each["url"]: each for each in read["references"]}
    assert list(by_url) == [
        "https://doi.org/10.7937/abc",
        f"https://doi.org/{DOI}",
        "https://wiki.example.org/x",
    ]
    merged = by_url[f"https://doi.org/{DOI}"]
    assert (merged["doi"], merged["license"]) == (DOI, "CC-BY-3.0")
    assert merged["title"] == "LCTSC (The Cancer Imaging Archive)"
    assert merged["notes"].startswith(f"1,202 Series; licence: {BY3}. ")
    assert "lists no authors" in merged["notes"]
    other = by_url["https://wiki.example.org/x"]
    assert not {"doi", "license"} & other.keys()
    assert "licence: not stated for 3 Series." in other["notes"]
    assert [each["type"] for each in read["identifiers"]] == ["doi", "doi", "url"]


def test_a_licence_shared_by_all_is_the_licence_of_the_file() -> None:
    one = table(("LCTSC", BY3, BY3_URI, f"https://doi.org/{DOI}", 2, 10))
    assert card(render_files("t", one)["CITATION.cff"])["license"] == "CC-BY-3.0"
    partly = pa.concat_tables([one, table(("LCTSC", None, None, f"https://doi.org/{DOI}", 2, 10))])
    read = card(render_files("t", partly)["CITATION.cff"])
    assert "license" not in read and "license" not in read["references"][0]


def test_nothing_to_cite_is_a_citation_file_without_references() -> None:
    made = render_files("t", table(("LCTSC", None, None, None, 2, 10)))
    assert "references" not in card(made["CITATION.cff"])
    assert entries(made["CITATIONS.bib"]) == {}


def test_a_bibliography_names_each_doi_once() -> None:
    read = entries(render_files("Images of two", FULL)["CITATIONS.bib"])
    assert list(read) == [
        "tcia-10-7937-abc",
        "tcia-10-7937-K9-TCIA-2017-3r3fvz08",
        "tcia-https-wiki-example-org-x",
    ]
    assert read["tcia-10-7937-K9-TCIA-2017-3r3fvz08"] == {
        "title": "LCTSC (The Cancer Imaging Archive)",
        "author": "The Cancer Imaging Archive",
        "publisher": "The Cancer Imaging Archive",
        "note": f"1,202 Series; licence: {BY3}.",
        "doi": DOI,
        "url": f"https://doi.org/{DOI}",
    }


def test_keys_that_would_be_equal_get_numbers() -> None:
    dois = ["10.7937/a-b", "10.7937/a.b", "10.7937/A(b"]
    rows = [("LCTSC", BY3, BY3_URI, f"https://doi.org/{doi}", 1, 1) for doi in dois]
    read = entries(render_files("t", table(*rows))["CITATIONS.bib"])
    assert [entry["doi"] for entry in read.values()] == sorted(dois, key=str.lower)
    assert len({key.lower() for key in read}) == 3
