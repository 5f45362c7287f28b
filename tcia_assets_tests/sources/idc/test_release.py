"""Where an index release is found, and what is refused as one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.catalog import IDC_INDEX
from tcia_assets.errors import UsageError
from tcia_assets.sources.idc.release import check_columns, release_of
from tcia_assets_tests.sources.idc.index_files import series, write_index


def test_the_release_is_what_the_file_says(tmp_path: Path) -> None:
    assert release_of(write_index(tmp_path, release="24.1.0")) == "24.1.0"


def test_files_that_name_no_release_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not say which release it is of"):
        release_of(write_index(tmp_path, release=""))


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (write_index(tmp_path) / "idc_index.parquet").write_bytes(b"<html>")
    with pytest.raises(UsageError, match="cannot be used"):
        release_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("instanceCount", pa.array([["7"]])),
        ("instanceCount", pa.array(["7"])),
        ("crdc_series_uuid", pa.array([["of a list"]])),
        ("PatientID", pa.array([{"value": "P1"}])),
        ("Modality", pa.array([b"CT"])),
    ],
)
def test_a_column_of_another_type_is_refused(tmp_path: Path, name: str, column: pa.Array) -> None:
    path = write_index(tmp_path, [series(1)]) / "idc_index.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.set_column(rows.schema.get_field_index(name), name, column), path)
    with pytest.raises(UsageError, match=f"release 25.0.5 .*idc_index.parquet .*'{name}'"):
        check_columns(path, IDC_INDEX, tmp_path, "25.0.5")


def test_days_and_columns_without_a_value_are_accepted(tmp_path: Path) -> None:
    path = write_index(tmp_path, [series(1)]) / "idc_index.parquet"
    rows = pq.read_table(path)
    for name, column in (
        ("StudyDate", pa.array([date(2026, 1, 1)])),
        ("SeriesNumber", pa.array([7])),
        ("StudyDescription", pa.nulls(1)),
    ):
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    pq.write_table(rows, path)
    check_columns(path, IDC_INDEX, tmp_path, "25.0.5")
