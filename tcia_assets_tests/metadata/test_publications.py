"""Publications are found by the DOIs of Series, however these are written."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS
from tcia_assets.metadata.publications import add_publications, read_publications
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse

WRITTEN = "https://doi.org/10.5281/ZENODO.1"
TITLE, CITATION = "Lungs of all", "Doe, J. (2026). Lungs of all."


def describe(warehouse: Warehouse, collection: str, *rows: dict[str, Any]) -> None:
    table = COLLECTION_DESCRIPTIONS
    full = [dict.fromkeys(table.column_names) | row | {"Collection": collection} for row in rows]
    warehouse.write(table, conform(table, pa.Table.from_pylist(full, table.schema)), collection)


def test_an_analysis_of_several_collections_is_one_publication(warehouse: Warehouse) -> None:
    row = {"doi": "10.5281/zenodo.1", "title": TITLE, "citation": CITATION}
    for collection in ("A", "B"):
        describe(warehouse, collection, row)
    found = read_publications(warehouse, [WRITTEN, f" {WRITTEN.lower()}", None, "no DOI"])
    assert found.to_pylist() == [row]


def test_a_citation_is_not_lost_to_an_address_that_sorts_before_it(warehouse: Warehouse) -> None:
    citation = "van Doe, J. (2026). Lungs. https://doi.org/10.5281/zenodo.1"
    describe(warehouse, "A", {"doi": "10.5281/zenodo.1", "citation": WRITTEN})
    describe(warehouse, "B", {"doi": "10.5281/zenodo.1", "title": TITLE, "citation": citation})
    (found,) = read_publications(warehouse, [WRITTEN]).to_pylist()

    assert found["citation"] == citation


def test_a_description_without_a_title_and_an_empty_table_are_no_publications(
    warehouse: Warehouse,
) -> None:
    assert read_publications(warehouse, [WRITTEN]).num_rows == 0
    describe(warehouse, "A", {"doi": "10.5281/zenodo.1", "citation": WRITTEN})
    assert read_publications(warehouse, [WRITTEN]).num_rows == 0


def test_rows_get_the_publication_of_their_doi(warehouse: Warehouse) -> None:
    describe(warehouse, "A", {"doi": "10.5281/zenodo.1", "title": TITLE, "citation": CITATION})
    table = pa.table({"DataDescriptionURI": [WRITTEN, None, "https://doi.org/10.7937/x"]})
    added = add_publications(table, read_publications(warehouse, [WRITTEN]))
    assert added["title"].to_pylist() == [TITLE, None, None]
    assert added["citation"].to_pylist() == [CITATION, None, None]
