"""The page of a Series."""

from __future__ import annotations

from tcia_assets.pages.series import SeriesFacts, read_series
from tcia_assets.pages.series_page import Shown, alt_of, heading_of, name_slice, series_page
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.pages.conftest import HOSTILE
from tcia_assets_tests.pages.html import Page


def facts_of(warehouse: Warehouse) -> SeriesFacts:
    return next(iter(read_series(warehouse, SMALL).values()))


def test_the_page_has_proof_history_and_a_way_to_the_files(mirror: Warehouse) -> None:
    facts = facts_of(mirror)
    page = Page(series_page(facts, SMALL, SMALL, Shown()))
    for text in (facts.uid, facts.zip.sha256, "verified by md5", "fetched", "Lesion"):
        assert text in page.text
    assert f"tcia-assets export --series {facts.uid} --to dicom" in page.text
    assert f"../../collections/{SMALL}.html" in page.links
    assert page.open == []


def test_a_series_that_cannot_be_shown_says_why(mirror: Warehouse) -> None:
    shown = Shown(why="its pixels cannot be decoded", advice="pip install something")
    page = Page(series_page(facts_of(mirror), SMALL, SMALL, shown))
    assert "its pixels cannot be decoded" in page.text and "pip install something" in page.text
    assert not page.all("img")


def test_hostile_values_are_shown_as_text(mirror: Warehouse) -> None:
    facts = facts_of(mirror)
    facts.row |= {"SeriesDescription": HOSTILE, "LicenseURI": "javascript:alert(1)"}
    facts.archive["error"] = HOSTILE
    facts.targets[0]["target_name"] = HOSTILE
    source = series_page(facts, SMALL, SMALL, Shown())
    page = Page(source)
    assert "<script>alert" not in source and len(page.all("script")) == 1
    assert not page.all("img") and not any("javascript" in link for link in page.links)


def test_a_picture_is_described_by_what_it_shows(mirror: Warehouse) -> None:
    facts = facts_of(mirror)
    facts.row |= {"Modality": "CT", "BodyPartExamined": "LUNG", "SeriesDescription": "Thorax 1.0"}
    described = "Computed tomography of lung, Thorax 1.0"
    assert alt_of(facts, "slice 4 of 9") == f"{described}, slice 4 of 9"
    assert alt_of(facts, "") == described
    page = Page(series_page(facts, SMALL, SMALL, Shown(picture="a.jpg", slice_name="slice 4 of 9")))
    assert [image["alt"] for image in page.all("img")] == [f"{described}, slice 4 of 9"]
    facts.row |= {"SeriesDescription": None, "BodyPartExamined": None}
    assert alt_of(facts, name_slice(1, 2)) == "Computed tomography, slice 1 of 2"


def test_a_series_without_a_description_is_called_by_its_modality(mirror: Warehouse) -> None:
    facts = facts_of(mirror)
    facts.row["SeriesDescription"] = " "
    assert heading_of(facts) == "Radiotherapy structures (contours)"
