"""Data folders with five small CTs: from NBIA, and from the IDC with what others derived."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import (
    COLLECTION_DESCRIPTIONS,
    IMAGE_ARCHIVES,
    REFERENCES,
    SERIES,
    TARGETS,
)
from tcia_assets.datasets.build import BuildResult, build
from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.headers import image_rows, references
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox import series_rows
from tcia_assets.settings import Settings
from tcia_assets.sources import open_source
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL
from tcia_assets_tests.datasets.example_builds import frozen
from tcia_assets_tests.repository import ROOT

EXAMPLE = ROOT / "datasets" / "lung_ct_by_model.yaml"
ANALYSIS = "sandbox_model_segmentations"


def small_catalogue() -> pa.Table:
    """Return the metadata of the small Collection, with CTs of ten images each."""
    rows = series_rows.load()
    rows = rows.filter(pc.equal(rows["Collection"], SMALL))
    counts = pc.min_element_wise(rows["ImageCount"], 10)
    return rows.set_column(rows.schema.get_field_index("ImageCount"), "ImageCount", counts)


def mirror(settings: Settings) -> Warehouse:
    """Fetch and index all that the source lists of the small Collection."""
    warehouse, now = Warehouse(Path(settings.data_dir)), datetime.now(UTC)
    with open_source(settings, pacing=IMPATIENT) as source:
        for table in (SERIES, COLLECTION_DESCRIPTIONS):
            refresh(table, SMALL, source, warehouse, now, ProbeBudget(0))
        everything = FetchSession(Selection(collections=(SMALL,)))
        fetch_images(SMALL, everything, source, warehouse)
    image_rows.index_images(SMALL, warehouse)
    references.index_references(SMALL, warehouse)
    return warehouse


def built(declaration: Declaration, warehouse: Warehouse) -> BuildResult:
    """Build a declaration; one process is enough for five small volumes."""
    return build(declaration, frozen(declaration, warehouse), warehouse, workers=1)


def add_mask_of(warehouse: Warehouse, uid: str, analysis: str | None) -> None:
    """Add a mask by another analysis: equal to one that is there, but for its UID.

    With None it is the Collection's own.
    """
    for table in (SERIES, IMAGE_ARCHIVES, REFERENCES, TARGETS):
        rows = warehouse.read(table, [SMALL]).to_pylist()
        copies = [
            row | {"SeriesInstanceUID": f"{uid}.1"}
            for row in rows
            if row["SeriesInstanceUID"] == uid
        ]
        if table is SERIES:
            copies = [row | {"analysis_result_id": analysis} for row in copies]
        made = pa.Table.from_pylist(rows + copies, table.schema)
        warehouse.write(table, conform(table, made), SMALL)


@cache
def declared(*changes: tuple[str, str]) -> Declaration:
    """Return the example declaration with replaced texts."""
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_declaration(text, EXAMPLE.stem)


WHERE = EXAMPLE.read_text().split("  kind: SEG\n")[1].split("  labels:")[0]
