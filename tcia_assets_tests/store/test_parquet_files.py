"""The bytes of a partition's file follow from its rows alone, and it is read as it was declared."""

from __future__ import annotations

import random
import re
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.catalog import INDEXED_ZIPS, PATIENTS
from tcia_assets.errors import DataError
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.tables import patients


def test_a_file_describes_its_rows_and_their_key(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    said = pq.read_schema(path)
    assert said.equals(PATIENTS.schema, check_metadata=True)
    assert said.metadata[b"key"] == b"Collection,PatientID"


def test_only_files_of_many_rows_are_compressed_with_zstd(warehouse: Warehouse) -> None:
    for count, codec in ((2_047, "SNAPPY"), (2_048, "ZSTD")):
        rows = patients("a", [f"{i:05}" for i in range(count)])
        written = pq.read_metadata(warehouse.write(PATIENTS, rows, "a").path)
        assert {written.row_group(0).column(i).compression for i in range(3)} == {codec}


def test_numbers_that_seldom_repeat_have_no_dictionary(warehouse: Warehouse) -> None:
    rows = {"SeriesInstanceUID": ["1.2"], "Collection": ["a"], "uid_numbers": [list(range(999))]}
    counts = {name: [1] for name in INDEXED_ZIPS.column_names if name.endswith("_count")}
    path = warehouse.write(INDEXED_ZIPS, conform(INDEXED_ZIPS, pa.table(rows | counts)), "a").path
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    plain = [c.path_in_schema for c in columns if not c.has_dictionary_page]
    assert plain == ["uid_numbers.list.element"]


def test_the_bytes_follow_from_the_rows_alone(warehouse: Warehouse) -> None:
    names = [f"{i:05}" for i in range(20_000)]
    whole = patients("a", names)
    path = warehouse.write(PATIENTS, whole, "a").path
    cuts = sorted(random.Random(1).sample(range(20_000), 40))
    chunks = [whole.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, 20_000], strict=True)]
    cut = pa.concat_tables(chunks).replace_schema_metadata({"other": "metadata"})
    assert not warehouse.write(PATIENTS, cut, "a").changed
    other = Warehouse(path.parent)
    assert other.write(PATIENTS, cut, "a").path.read_bytes() == path.read_bytes()


def test_the_error_for_a_damaged_file_has_its_path(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    path.write_bytes(path.read_bytes()[:-9])
    for act in (warehouse.read, partial(warehouse.row_count, key="a")):
        with pytest.raises(DataError, match=re.escape(str(path))):
            act(PATIENTS)


def test_old_files_have_nulls_in_columns_that_were_added(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("new", ["p1"]), "new")
    old = warehouse.path(PATIENTS, "old")
    old.parent.mkdir()
    dropped = patients("old", ["p0"]).drop_columns(["PatientSex", "PatientBirthDate"])
    gone = dropped.append_column("NoLongerDeclared", pa.array(["x"]))
    pq.write_table(gone.select(gone.column_names[::-1]), old)
    read = warehouse.read(PATIENTS)
    assert read.schema.equals(PATIENTS.schema, check_metadata=True)
    assert read["PatientSex"].to_pylist() == ["F", None]
    asked = warehouse.query("FROM patients ORDER BY PatientID")
    assert asked.to_pylist() == read.sort_by("PatientID").to_pylist()
    assert asked.column_names == list(PATIENTS.column_names)
