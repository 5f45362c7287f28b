"""Each partition is a file whose path follows from table and key, and that other tools read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import quote

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from tcia_assets.catalog import COLLECTIONS, PATIENTS, SHARED_LISTS
from tcia_assets.errors import (
    BadValue,
    DataError,
    UsageError,
)
from tcia_assets.store import sql
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.tables import (
    AWKWARD_KEYS,
    collections,
    files,
    patients,
)


def test_a_partition_has_its_documented_path(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    folder = tmp_path.resolve() / "warehouse"
    path = folder / "patients" / "CT%20Lymph%20Nodes" / "part-0.parquet"
    assert warehouse.path(PATIENTS, "CT Lymph Nodes") == path
    path = folder / "shared_lists" / "a%2Fb" / "part-0.parquet"
    assert warehouse.path(SHARED_LISTS, "a/b") == path
    assert warehouse.path(COLLECTIONS) == folder / "collections" / "part-0.parquet"


@pytest.mark.parametrize("key", ["", ".", "..", "\ud800", "ü" * 200])
def test_a_key_that_cannot_be_a_folder_is_refused(warehouse: Warehouse, key: str) -> None:
    for act in (warehouse.path, warehouse.has, partial(warehouse.write, rows=patients("a", "p"))):
        with pytest.raises(UsageError):
            act(PATIENTS, key=key)


def test_the_longest_key_is_written_and_a_longer_one_refused(warehouse: Warehouse) -> None:
    longest = "a" * (255 - len("Collection=.lock"))
    assert warehouse.write(PATIENTS, patients(longest, ["p"]), longest).changed
    assert warehouse.keys(PATIENTS) == [longest]
    with pytest.raises(UsageError, match="too long"):
        warehouse.path(PATIENTS, f"{longest}a")


def test_a_key_for_a_table_without_partitions_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(UsageError, match="collections has no partitions, so none called 'a'"):
        warehouse.write(COLLECTIONS, collections("a"), "a")


def test_keys_come_back_as_they_were(warehouse: Warehouse) -> None:
    assert warehouse.keys(PATIENTS) == []
    for key in AWKWARD_KEYS:
        warehouse.write(PATIENTS, patients(key, ["p"]), key)
    assert warehouse.keys(PATIENTS) == sorted(AWKWARD_KEYS)
    assert all(warehouse.has(PATIENTS, key) for key in AWKWARD_KEYS)
    assert not warehouse.has(PATIENTS, "4d-lung")
    assert warehouse.keys(COLLECTIONS) == []


def test_folders_that_are_not_partitions_are_not_keys(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    table = warehouse.path(PATIENTS, "a").parent.parent
    for name in (
        "Collection=empty",
        "Collection=",
        "Collection=..",
        "other=a",
        "_x",
        "Collection=%zz",
    ):
        (table / name).mkdir()
    copied = table / "CT Lymph Nodes"  # not as we would write it
    copied.mkdir()
    (copied / "part-0.parquet").write_bytes(warehouse.path(PATIENTS, "a").read_bytes())
    assert warehouse.keys(PATIENTS) == ["a"]


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (patients("b", ["p1"]), BadValue),
        (patients("a", ["p1"]).drop_columns(["PatientSex"]), DataError),
        (patients("a", ["p2", "p1"]).take([1, 0]), DataError),
        (pa.concat_tables([patients("a", ["p1"])] * 2), DataError),
    ],
)
def test_rows_of_another_partition_are_refused(
    warehouse: Warehouse, rows: pa.Table, error: type
) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p0"]), "a").path
    before = files(warehouse.root)
    with pytest.raises(error, match="patients"):
        warehouse.write(PATIENTS, rows, "a")
    assert files(warehouse.root) == before
    assert [p.name for p in path.parent.iterdir()] == ["part-0.parquet"]


def test_other_tools_read_the_folders(warehouse: Warehouse) -> None:
    warehouse.ensure_views()
    for key in AWKWARD_KEYS:
        warehouse.write(PATIENTS, patients(key, ["p"]), key)
    folder = warehouse.root / "warehouse" / "patients"
    draft = warehouse.path(PATIENTS, "4711").with_name(".part-0.parquet.0.draft")
    draft.write_bytes(b"half a file")
    for dataset in (
        pyarrow.dataset.dataset(folder),
        pyarrow.dataset.dataset(folder, partitioning="hive"),
    ):
        table = dataset.to_table()
        table = pa.Table.from_arrays(table.columns, schema=PATIENTS.schema)
        assert conform(PATIENTS, table).equals(warehouse.read(PATIENTS))
    with closing(sql.connect()) as connection:
        globbed = sql.literal(f"{folder}/*/part-0.parquet")
        asked = sql.fetch_table(connection, f"FROM read_parquet({globbed}) ORDER BY Collection")
    assert conform(PATIENTS, asked).equals(warehouse.read(PATIENTS))


def test_a_numeric_key_is_text_for_pyarrow_too(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("4711", ["p"]), "4711").path
    assert pq.read_table(path)["Collection"].to_pylist() == ["4711"]


# --- The layout -----------------------------------------------------------------------------------


def make_old(warehouse: Warehouse, key: str) -> Path:
    """Give a partition the folder that the first layout had."""
    new = warehouse.path(PATIENTS, key).parent
    return new.rename(new.with_name(f"Collection={quote(key, safe='')}"))


def test_a_folder_of_the_first_layout_is_read_and_renamed_when_it_is_written(
    warehouse: Warehouse,
) -> None:
    for key in ("a", "b c"):
        warehouse.write(PATIENTS, patients(key, ["p"]), key)
        old = make_old(warehouse, key)
        assert warehouse.path(PATIENTS, key) == old / "part-0.parquet"
    assert warehouse.keys(PATIENTS) == ["a", "b c"]
    assert warehouse.read(PATIENTS).num_rows == warehouse.query("FROM patients").num_rows == 2
    warehouse.write(PATIENTS, patients("b c", ["p", "q"]), "b c")

    assert not old.exists()
    assert warehouse.keys(PATIENTS) == ["a", "b c"]
    assert warehouse.read(PATIENTS).num_rows == warehouse.query("FROM patients").num_rows == 3


def test_migrate_renames_all_folders_of_the_first_layout(warehouse: Warehouse) -> None:
    for key in AWKWARD_KEYS:
        warehouse.write(PATIENTS, patients(key, ["p"]), key)
        make_old(warehouse, key)

    assert warehouse.migrate(dry_run=True) == len(AWKWARD_KEYS)
    assert warehouse.migrate() == len(AWKWARD_KEYS)
    assert warehouse.migrate() == 0
    assert warehouse.keys(PATIENTS) == sorted(AWKWARD_KEYS)
    assert warehouse.query("FROM patients").num_rows == len(AWKWARD_KEYS)


def test_a_folder_of_a_later_layout_is_refused(warehouse: Warehouse) -> None:
    warehouse.write(COLLECTIONS, collections("a"))
    version = warehouse.root / "warehouse" / "VERSION"
    assert version.read_text() == "3\n"
    version.write_text("4\n")
    with pytest.raises(UsageError, match="layout 4; this one knows up to 3"):
        Warehouse(warehouse.root)


def with_duckdb(folder: str) -> list[str]:
    rows = duckdb.sql(f"SELECT Collection FROM '{folder}/**/*.parquet'").fetchall()
    return [name for (name,) in rows]


READERS: dict[str, Callable[[str], list[str]]] = {
    "pandas": lambda folder: pd.read_parquet(folder)["Collection"].tolist(),
    "polars": lambda folder: pl.scan_parquet(folder).collect()["Collection"].to_list(),
    "pyarrow": lambda folder: pads.dataset(folder).to_table()["Collection"].to_pylist(),
    "duckdb": with_duckdb,
}


@pytest.mark.parametrize("reader", READERS)
def test_other_readers_read_the_folder_of_a_table_plainly(
    warehouse: Warehouse, reader: str
) -> None:
    keys = {*AWKWARD_KEYS, "_hidden", ".hidden"}
    for key in keys:
        warehouse.write(PATIENTS, patients(key, ["p", "q"]), key)
    warehouse.ensure_views()
    folder = warehouse.root / "warehouse" / "patients"

    assert sorted(READERS[reader](str(folder))) == sorted(key for key in keys for _ in "pq")
