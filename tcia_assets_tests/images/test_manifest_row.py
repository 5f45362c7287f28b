"""A manifest row has the columns of its table, and is the same after Arrow and JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.images.manifest_row import ManifestRow, from_table, to_table
from tcia_assets_tests.images.many import row

COMPLETE = ManifestRow(
    series_instance_uid="1.2",
    collection="LCTSC",
    status="complete",
    path="archives/LCTSC/1.2.zip",
    archive_bytes=10,
    image_count=1,
    image_bytes=20,
    sha256="0" * 64,
    verified_by="md5",
    fingerprint="f",
    crdc_series_uuid=None,
    license_name="CC BY 4.0",
    data_description_uri="https://doi.org/1",
    source="nbia-v4@localhost",
    fetched_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    attempts=0,
    error=None,
)


def test_the_fields_are_the_columns_of_the_table_in_their_order() -> None:
    names = [field.name.replace("_", "") for field in fields(ManifestRow)]
    assert names == [name.replace("_", "").lower() for name in IMAGE_ARCHIVES.column_names]


def test_a_field_that_may_be_none_is_a_column_that_may_be_null() -> None:
    required = {column.name for column in IMAGE_ARCHIVES.columns if column.required}
    never_none = {
        column
        for field, column in zip(fields(ManifestRow), IMAGE_ARCHIVES.column_names, strict=True)
        if "None" not in str(field.type)
    }
    assert required <= never_none


@pytest.mark.parametrize("made", [COMPLETE, row("1.2"), row("1.3", "unavailable", path="x.zip")])
def test_a_row_is_the_same_after_arrow_and_after_json(made: ManifestRow) -> None:
    assert from_table(to_table([made])) == [made]
    assert ManifestRow.from_json(made.to_json()) == made
    assert ManifestRow.from_record(made.to_record()) == made


def test_the_records_of_rows_have_the_names_of_the_columns() -> None:
    assert to_table([COMPLETE]).to_pylist() == [COMPLETE.to_record()]
    assert to_table([]).schema == IMAGE_ARCHIVES.schema


def test_a_line_of_an_older_version_without_its_null_columns_is_read() -> None:
    record = json.loads(row("1.2").to_json())
    short = {name: value for name, value in record.items() if value is not None}
    assert len(short) < len(record)
    assert ManifestRow.from_json(json.dumps(short)) == row("1.2")
