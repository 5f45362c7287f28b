"""Jobs: which assets they materialize, and that they run in one process."""

from __future__ import annotations

import dagster as dg
import pytest

from tcia_assets import build_definitions

METADATA = {
    "body_part_values",
    "collection_descriptions",
    "collections",
    "manufacturer_values",
    "modality_values",
    "patients",
    "series",
    "series_sizes",
    "studies",
}
IMAGES = {"image_archives", "images", "references", "targets"}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions()


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("tcia_list_collections", {"collections"}),
        ("tcia_refresh", METADATA),
        ("tcia_images", IMAGES),
        ("tcia_update", METADATA | IMAGES),
        ("tcia_refresh_shared_lists", {"shared_lists"}),
    ],
)
def test_a_job_materializes_its_tables(
    definitions: dg.Definitions, name: str, tables: set[str]
) -> None:
    job = definitions.resolve_job_def(name)
    keys = job.asset_layer.selected_asset_keys

    assert {key.path[-1] for key in keys} == tables
    assert job.executor_def is dg.in_process_executor
    assert job.tags["tcia"] == name and job.description
