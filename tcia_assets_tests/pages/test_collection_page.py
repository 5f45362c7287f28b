"""The page of a Collection."""

from __future__ import annotations

from tcia_assets.pages.collection_facts import CollectionFacts
from tcia_assets.pages.collection_page import Thumbnail, collection_page
from tcia_assets.pages.collections import read_collections
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.pages.conftest import HOSTILE, describe, series_row, write_series
from tcia_assets_tests.pages.html import Page


def facts_of(warehouse: Warehouse, name: str) -> CollectionFacts:
    [facts] = read_collections(warehouse, [name])
    return facts


def test_the_page_has_licence_citation_and_the_way_to_its_series(mirror: Warehouse) -> None:
    page = Page(collection_page(facts_of(mirror, SMALL), SMALL, []))
    assert "CC BY 3.0" in page.text and "Credit the authors" in page.text
    assert "@misc{" in page.text
    assert f"tcia-assets fetch {SMALL}" in page.text
    assert "https://doi.org/10.7937/k9/tcia.2017.3r3fvz08" in page.links
    [table] = [each for each in page.all("div") if each.get("id") == "table"]
    assert table["data-rows"] == f"../collections/{SMALL}.rows.js"


def test_thumbnails_lead_to_their_series(mirror: Warehouse) -> None:
    one = Thumbnail("series/X/1.2.html", "pictures/ab/ab.jpg", "CT", "10 images", "A slice")
    page = Page(collection_page(facts_of(mirror, SMALL), SMALL, [one]))
    [image] = page.all("img")
    assert (image["src"], image["alt"]) == ("../pictures/ab/ab.jpg", "A slice")
    assert "../series/X/1.2.html" in page.links


def test_without_images_the_page_says_how_to_have_them(empty_mirror: Warehouse) -> None:
    write_series(empty_mirror, series_row(1))
    page = Page(collection_page(facts_of(empty_mirror, "Lungs"), "Lungs", []))
    assert "no images of this Collection are on disk" in page.text
    assert "tcia-assets fetch Lungs --max-series 20" in page.text


def test_hostile_texts_are_shown_as_text(empty_mirror: Warehouse) -> None:
    odd = {"Modality": HOSTILE, "BodyPartExamined": HOSTILE, "Manufacturer": HOSTILE}
    uris = {"LicenseURI": "javascript:alert(1)", "DataDescriptionURI": "javascript:alert(2)"}
    write_series(empty_mirror, series_row(1, LicenseName=HOSTILE, **odd, **uris))
    describe(
        empty_mirror,
        "Lungs",
        **dict.fromkeys(("title", "description", "citation", "cancer_types", "status"), HOSTILE),
    )
    source = collection_page(facts_of(empty_mirror, "Lungs"), "Lungs", [])
    page = Page(source)
    assert "<script>alert" not in source
    assert len(page.all("script")) == 2 and not page.all("img")
    assert "<script>alert(1)</script>" in page.text and "{{ 7 * 7 }}" in page.text
    assert not any("javascript" in link for link in page.links)


def test_lists_and_addresses_of_a_description_are_html(empty_mirror: Warehouse) -> None:
    write_series(empty_mirror, series_row(1))
    text = "Many lungs, see https://example.org/lungs.\n- Body parts: <LUNG>\n- Modalities: CT"
    describe(empty_mirror, "Lungs", description=text)
    source = collection_page(facts_of(empty_mirror, "Lungs"), "Lungs", [])
    assert "<ul><li>Body parts: &lt;LUNG&gt;</li><li>Modalities: CT</li></ul>" in source
    assert "https://example.org/lungs" in Page(source).links


def test_a_partial_collection_names_the_command_that_completes_it(empty_mirror: Warehouse) -> None:
    write_series(empty_mirror, series_row(1, "Many Lungs"))
    facts = facts_of(empty_mirror, "Many Lungs")
    whole = facts.model_copy(update={"status": facts.status | {"is_partial": False}})
    command = "tcia-assets refresh 'Many Lungs'"
    assert facts.status["is_partial"]
    assert command in Page(collection_page(facts, "Many-Lungs", [])).text
    assert command not in Page(collection_page(whole, "Many-Lungs", [])).text
