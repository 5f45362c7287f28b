"""A dataset with two channels: T1 and a fluid-sensitive MR of the same Study."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import IMAGES
from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse

SARCOMA = "Soft-tissue-Sarcoma"
ENDS = ("382100", "652109", "756934", "411448")
MR_STUDIES = f"right(StudyInstanceUID, 6) IN {ENDS}"
T1, FLUID = "SeriesDescription ILIKE '%t1%'", "SeriesDescription NOT ILIKE '%t1%'"
YAML = f"""
title: Sarcomas
cohort:
  collections: [{SARCOMA}]
  where: "{MR_STUDIES}"
channels:
  t1: {{where: "Modality = 'MR' AND {T1}"}}
  fluid: {{where: "Modality = 'MR' AND {FLUID}"}}
target:
  kind: RTSTRUCT
  labels: {{body: Body, lesion: Lesion}}
  priority: [lesion]
split:
  fractions: {{train: 0.5, test: 0.5}}
  salt: "1"
volume: {{spacing: [9, 9, 12], orientation: RAS}}
formats: [nifti]
"""


@cache
def declared(*changes: tuple[str, str]) -> Declaration:
    """Return the dataset with replaced texts."""
    text = YAML
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_declaration(text, "sarcomas")


def series_of(warehouse: Warehouse, where: str) -> list[str]:
    """Return the UIDs of MR Series on disk, sorted by Study."""
    found = warehouse.query(
        f"SELECT SeriesInstanceUID AS uid FROM series WHERE {MR_STUDIES} AND Modality = 'MR' "
        f"AND {where} ORDER BY StudyInstanceUID"
    )
    return list(found["uid"].to_pylist())


def set_rows(
    warehouse: Warehouse, uid: str, values: Mapping[str, Any], table: Table = IMAGES
) -> None:
    """Set columns of the rows of a Series."""
    rows = warehouse.read(table, [SARCOMA])
    is_it = [each == uid for each in rows["SeriesInstanceUID"].to_pylist()]
    for name, value in values.items():
        index = rows.schema.get_field_index(name)
        column = [
            value if chosen else old
            for chosen, old in zip(is_it, rows[name].to_pylist(), strict=True)
        ]
        rows = rows.set_column(index, rows.schema.field(index), pa.array(column, rows[name].type))
    warehouse.write(table, conform(table, rows), SARCOMA)
