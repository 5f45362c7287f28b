"""What a Collection publishes, and how to cite it."""

from __future__ import annotations

from tcia_assets.pages.collections import read_collections
from tcia_assets.pages.publications import read_publications
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.pages.conftest import describe, series_row, write_series


def test_the_collections_own_publication_comes_first(empty_mirror: Warehouse) -> None:
    write_series(
        empty_mirror,
        *(
            series_row(
                n, analysis_result_id="Masks", DataDescriptionURI="https://doi.org/10.5281/m"
            )
            for n in (1, 2)
        ),
        series_row(3, DataDescriptionURI="https://doi.org/10.7937/Lungs"),
    )
    describe(empty_mirror, "Lungs", cancer_types="Lung Cancer, Non-Cancer", citation="Doe (2020).")
    [facts] = read_collections(empty_mirror, ["Lungs"])
    assert [each.series for each in facts.publications] == [1, 2]
    assert facts.title == "Lungs of many"
    assert facts.publications[0].citation == "Doe (2020)."
    assert facts.cancer_types == ("Lung Cancer", "Non-Cancer")


def test_a_description_that_no_series_names_is_kept(empty_mirror: Warehouse) -> None:
    write_series(empty_mirror, series_row(1))
    describe(empty_mirror, "Lungs", description="Many lungs.")
    found = read_publications(empty_mirror, ["Lungs"])["Lungs"]
    [publication] = found["publications"]
    assert (publication.description, publication.series) == ("Many lungs.", 0)
    assert publication.url == "https://doi.org/10.7937/lungs"
    assert found["bibtex"] == ""


def test_what_a_third_party_derived_comes_after_the_images(empty_mirror: Warehouse) -> None:
    masks = {"DataDescriptionURI": "https://doi.org/10.7937/Masks", "ThirdPartyAnalysis": "YES"}
    images = {"DataDescriptionURI": "https://doi.org/10.7937/Lungs", "ThirdPartyAnalysis": "NO"}
    write_series(
        empty_mirror,
        *(series_row(n, Modality="SEG", **masks) for n in (1, 2, 3)),
        *(series_row(n, **images) for n in (4, 5)),
    )
    found = read_publications(empty_mirror, ["Lungs"])["Lungs"]["publications"]
    assert [each.doi for each in found] == ["10.7937/lungs", "10.7937/masks"]
    headings = [each.heading for each in found]
    assert headings == ["Images: 2 CT", "Segmentations by others: 3 SEG"]
