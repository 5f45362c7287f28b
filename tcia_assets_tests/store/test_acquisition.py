"""`series_acquisition` has one row a Series, with what all its objects share."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import ACQUISITION_COLUMNS, IMAGES, SERIES
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse


def store(warehouse: Warehouse, *objects: dict[str, Any], collection: str = "a") -> None:
    rows = [
        {"SOPInstanceUID": f"1.{n}", "SeriesInstanceUID": "1", "entry_name": f"{n}.dcm"} | each
        for n, each in enumerate(objects)
    ]
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(IMAGES.schema))).drop_columns(
        ["Collection"]
    )
    warehouse.write(IMAGES, conform(IMAGES, table, Collection=collection), collection)


def acquired(warehouse: Warehouse, columns: str = "*") -> list[dict[str, Any]]:
    statement = f"SELECT {columns} FROM series_acquisition ORDER BY SeriesInstanceUID"
    return list(warehouse.query(statement).to_pylist())


def test_a_value_that_all_objects_share_is_that_of_the_series(warehouse: Warehouse) -> None:
    same = {
        "KVP": 120.0,
        "Modality": "CT",
        "PixelSpacing": [0.5, 0.5],
        "AcquisitionDate": date(2004, 3, 3),
    }
    store(warehouse, same, same)
    [row] = acquired(warehouse)
    assert (row["SeriesInstanceUID"], row["Collection"], row["object_count"]) == ("1", "a", 2)
    assert {name: row[name] for name in same} == same
    assert {row[f"{name}_count"] for name in same} == {1}
    assert (row["KVP_min"], row["KVP_max"]) == (120.0, 120.0)


@pytest.mark.duckdb
def test_values_that_differ_leave_null_with_their_range_and_number(warehouse: Warehouse) -> None:
    store(
        warehouse,
        {"KVP": 80.0, "ConvolutionKernel": "B30f", "PixelSpacing": [0.5, 0.5]},
        {"KVP": 140.0, "ConvolutionKernel": "B70f", "PixelSpacing": [0.5, 0.6]},
        {"KVP": None, "ConvolutionKernel": "B30f"},
    )
    [row] = acquired(warehouse)
    assert [row[f"KVP{end}"] for end in ("", "_min", "_max", "_count")] == [None, 80.0, 140.0, 2]
    assert [row[f"ConvolutionKernel{end}"] for end in ("", "_count")] == [None, 2]
    assert [row[f"PixelSpacing{end}"] for end in ("", "_count")] == [None, 2]


def test_an_attribute_without_any_value_is_null_and_counted_zero(warehouse: Warehouse) -> None:
    store(warehouse, {})
    [row] = acquired(warehouse)
    for column in ACQUISITION_COLUMNS:
        assert (row[column.name], row[f"{column.name}_count"]) == (None, 0)


def test_series_of_all_collections_have_a_row_each(warehouse: Warehouse) -> None:
    store(warehouse, {}, {"SeriesInstanceUID": "2"})
    other = {"SeriesInstanceUID": "3", "SOPInstanceUID": "9"}
    store(warehouse, other, other | {"SOPInstanceUID": "8"}, collection="b")
    counts = [(row["Collection"], row["object_count"]) for row in acquired(warehouse)]
    assert counts == [("a", 1), ("a", 1), ("b", 2)]


def test_only_numbers_and_dates_have_a_range(warehouse: Warehouse) -> None:
    names = set(warehouse.query("FROM series_acquisition LIMIT 0").schema.names)
    assert {"KVP_min", "Rows_max", "AcquisitionDate_min", "patient_age_years_max"} <= names
    assert not {"Modality_min", "PixelSpacing_min", "ImageType_max"} & names
    assert not {"SOPInstanceUID", "InstanceNumber", "ImagePositionPatient"} & names


def test_it_joins_with_series(warehouse: Warehouse) -> None:
    store(warehouse, {"Modality": "CT"})
    listed = pa.table({"SeriesInstanceUID": ["1"], "Modality": ["CT"]})
    constants = dict.fromkeys(
        ("first_seen_at", "changed_at"), pa.scalar(0, pa.timestamp("us", "UTC")).as_py()
    )
    rows = conform(SERIES, listed, Collection="a", missing_snapshots=0, **constants)
    warehouse.write(SERIES, rows, "a")
    statement = (
        "SELECT s.Modality, a.object_count FROM current_series AS s "
        "JOIN series_acquisition AS a USING (SeriesInstanceUID)"
    )
    assert warehouse.query(statement).to_pylist() == [{"Modality": "CT", "object_count": 1}]
