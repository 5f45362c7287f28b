"""A warehouse reads, writes and queries partitions, alone and among many processes."""

from __future__ import annotations

import pickle
import re
import shutil
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets import catalog
from tcia_assets.catalog import COLLECTIONS, PATIENTS
from tcia_assets.errors import (
    BadValue,
    Busy,
    DataError,
    StorageError,
    TciaError,
    UnknownName,
    UsageError,
)
from tcia_assets.spec import Table
from tcia_assets.store import sql
from tcia_assets.store.conform import conform, empty
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.disks import read_only
from tcia_assets_tests.examples import examples
from tcia_assets_tests.store.child_processes import (
    ask_until,
    running,
    write_rounds,
)
from tcia_assets_tests.store.tables import (
    AWKWARD_KEYS,
    collections,
    damage,
    files,
    patients,
    rounds,
)
from tcia_assets_tests.store.test_conform import valid_rows


def test_the_result_of_a_write_describes_the_file(warehouse: Warehouse) -> None:
    written = warehouse.write(PATIENTS, patients("4D-Lung", ["p1", "p2"]), "4D-Lung")
    assert written.path == warehouse.path(PATIENTS, "4D-Lung")
    assert written.bytes_on_disk == written.path.stat().st_size
    assert (written.rows, written.changed) == (2, True)
    assert warehouse.row_count(PATIENTS, "4D-Lung") == 2
    assert warehouse.row_count(PATIENTS, "not there") == 0


def test_writing_twice_changes_nothing(warehouse: Warehouse) -> None:
    rows = patients("a", ["p1", "p2"])
    path = warehouse.write(PATIENTS, rows, "a").path
    before = path.stat()
    assert not warehouse.write(PATIENTS, rows, "a").changed
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_no_rows_are_a_partition_too(warehouse: Warehouse) -> None:
    assert warehouse.write(PATIENTS, empty(PATIENTS), "a").rows == 0
    assert warehouse.has(PATIENTS, "a")
    assert warehouse.read(PATIENTS, ["a"]).num_rows == 0


def test_a_table_is_read_whole_or_by_partitions(warehouse: Warehouse) -> None:
    for key in ("b", "a", "c"):
        warehouse.write(PATIENTS, patients(key, [f"{key}1", f"{key}2"]), key)
    assert warehouse.read(PATIENTS)["PatientID"].to_pylist() == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert warehouse.read(PATIENTS, ["c", "a"])["PatientID"].to_pylist() == ["c1", "c2", "a1", "a2"]
    assert warehouse.read(PATIENTS, []).equals(empty(PATIENTS))
    warehouse.write(COLLECTIONS, collections("a", "b"))
    assert warehouse.read(COLLECTIONS).equals(collections("a", "b"))


def test_reading_an_empty_warehouse_gives_no_rows(warehouse: Warehouse) -> None:
    for table in catalog.TABLES:
        assert warehouse.read(table).equals(empty(table), check_metadata=True)


def test_the_error_for_a_missing_partition_suggests_near_ones(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("4D-Lung", ["p"]), "4D-Lung")
    with pytest.raises(UnknownName, match=r"patients '4D Lung'; did you mean '4D-Lung'"):
        warehouse.read(PATIENTS, ["4D-Lung", "4D Lung"])


@pytest.mark.parametrize("damage", ["the end", "a page"])
def test_the_error_of_a_query_over_a_damaged_file_has_its_path_and_the_remedy(
    warehouse: Warehouse, damage: str
) -> None:
    path = warehouse.write(PATIENTS, patients("a", [f"p{n}" for n in range(99)]), "a").path
    whole = path.read_bytes()
    broken = whole[:-9] if damage == "the end" else whole[:4] + bytes(400) + whole[404:]
    path.write_bytes(broken)

    with pytest.raises(DataError, match=f"{re.escape(str(path))} .*; restore it from a copy, or"):
        warehouse.query("FROM patients")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(tmp_path_factory.mktemp("shared"))


@pytest.mark.parametrize("table", catalog.TABLES, ids=lambda t: t.name)
@settings(max_examples=examples(8), deadline=None)
@given(key=st.text(min_size=1, max_size=9).filter(lambda k: k not in {".", ".."}), draw=st.data())
def test_every_valid_table_comes_back_equal_from_parquet_and_from_duckdb(
    shared: Warehouse, table: Table, key: str, draw: st.DataObject
) -> None:
    rows = draw.draw(
        valid_rows(table, **({table.partitioned_by: key} if table.partitioned_by else {}))
    )
    key = key if table.partitioned_by else ""
    shared.write(table, rows, key)
    read = shared.read(table, [key])
    assert read.equals(rows, check_metadata=True)
    where = f"WHERE {table.partitioned_by} = $1" if table.partitioned_by else ""
    asked = shared.query(
        f"FROM {sql.identifier(table.name)} {where}", [key] if table.partitioned_by else None
    )
    assert conform(table, asked).equals(rows)
    assert not shared.write(table, read, key).changed


def test_a_query_works_when_what_was_in_its_way_is_gone(tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "targets").write_text("where a folder should be")
    warehouse = Warehouse(tmp_path)
    for _ in range(2):
        with pytest.raises(StorageError):
            warehouse.query("FROM series")
    (tmp_path / "warehouse" / "targets").unlink()
    assert warehouse.query("FROM series").num_rows == 0


def test_a_folder_that_was_removed_can_be_queried_as_an_empty_one(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    assert warehouse.query("FROM patients").num_rows == 1
    shutil.rmtree(warehouse.root)
    assert warehouse.query("FROM patients").num_rows == 0


def test_a_pickled_warehouse_has_no_connection(warehouse: Warehouse) -> None:
    warehouse.query("FROM series")
    copy = pickle.loads(pickle.dumps(warehouse))
    assert copy.root == warehouse.root
    assert copy.query("FROM series").num_rows == 0


def test_any_key_can_be_queried_and_stays_text(warehouse: Warehouse) -> None:
    for key in AWKWARD_KEYS:
        warehouse.write(PATIENTS, patients(key, ["p"]), key)
    asked = warehouse.query("SELECT Collection FROM patients ORDER BY Collection")
    assert asked["Collection"].to_pylist() == sorted(AWKWARD_KEYS)
    for key in AWKWARD_KEYS:
        found = warehouse.query("FROM patients WHERE Collection = $key", {"key": key})
        assert found.num_rows == 1


def test_rows_of_some_partitions_are_selected_without_a_look_at_others(
    warehouse: Warehouse,
) -> None:
    keys = ["a [1]", "b's", "c", "d"]
    for key in keys:
        warehouse.write(PATIENTS, patients(key, [f"of {key}"]), key)
    earlier = warehouse.path(PATIENTS, "b's").parent
    earlier.rename(earlier.with_name(f"Collection={earlier.name}"))
    warehouse.path(PATIENTS, "d").write_bytes(b"damaged")
    for chosen in (keys[:1], keys[1:3], keys[:3]):
        select = warehouse.select_from(PATIENTS, chosen)
        found = warehouse.query(f"SELECT Collection FROM ({select}) ORDER BY ALL")
        assert found["Collection"].to_pylist() == chosen


def test_a_table_that_does_not_exist_is_never_a_python_variable(warehouse: Warehouse) -> None:
    rows = pa.table({"a": [1]})
    with pytest.raises(UsageError, match="rows does not exist"):
        warehouse.query("FROM rows")
    assert warehouse.query("FROM rows", tables={"rows": rows}).equals(rows)


def test_on_a_read_only_disk_everything_can_be_read_and_nothing_changes(small_disk: Path) -> None:
    warehouse = Warehouse(small_disk)
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    warehouse.ensure_views()
    before = files(small_disk)
    with read_only(small_disk):
        assert warehouse.query("FROM patients").num_rows == 1
        assert warehouse.read(PATIENTS).num_rows == 1
        for rows, key in [(patients("a", ["q"]), "a"), (patients("b", ["q"]), "b")]:
            with pytest.raises(TciaError, match="Read-only file system"):
                warehouse.write(PATIENTS, rows, key)
        with (
            pytest.raises(TciaError, match=r"\.lock cannot be written"),
            warehouse.lock(PATIENTS, "a"),
        ):
            pass
    assert files(small_disk) == before


@pytest.mark.parametrize(
    ("partitions", "writes", "readers_at_once"),
    [(3, 5, 1), pytest.param(10, 14, 3, marks=pytest.mark.slow)],
)
def test_partitions_are_written_at_once_while_readers_query(
    warehouse: Warehouse,
    processes: ForkServerContext,
    partitions: int,
    writes: int,
    readers_at_once: int,
) -> None:
    keys = [f"Collection {number}" for number in range(partitions)]
    stop, failures = processes.Event(), processes.Queue()
    readers = [
        processes.Process(target=ask_until, args=(warehouse.root, stop, failures))
        for _ in range(readers_at_once)
    ]
    writers = [
        processes.Process(target=write_rounds, args=(warehouse.root, key, writes)) for key in keys
    ]
    with running(*readers, *writers):
        for writer in writers:
            writer.join(30)
        stop.set()
        said = [failures.get(timeout=20) for _ in readers]
        for child in (*readers, *writers):
            child.join(20)
            assert child.exitcode == 0
    assert all(isinstance(asked, int) and asked for asked in said), said
    assert warehouse.read(PATIENTS).equals(pa.concat_tables([rounds(k, writes - 1) for k in keys]))


def test_an_update_writes_what_was_assigned(warehouse: Warehouse) -> None:
    with warehouse.update(PATIENTS, "a") as partition:
        assert partition.rows.num_rows == 0
        partition.rows = patients("a", ["p2"])
    assert partition.written.changed
    with warehouse.update(PATIENTS, "a") as partition:
        assert partition.read(["PatientID"]).column_names == ["PatientID"]
        # Neither sorted nor unique.
        partition.rows = pa.concat_tables([partition.rows, patients("a", ["p1", "p2"])])
    assert warehouse.read(PATIENTS, ["a"])["PatientID"].to_pylist() == ["p1", "p2"]


def test_an_update_that_fails_or_assigns_nothing_writes_nothing(warehouse: Warehouse) -> None:
    with warehouse.update(PATIENTS, "a") as partition:
        assert partition.rows.num_rows == 0
    assert not warehouse.has(PATIENTS, "a")
    with suppress(ZeroDivisionError), warehouse.update(PATIENTS, "a") as partition:
        partition.rows = patients("a", ["p"])
        raise ZeroDivisionError
    assert not warehouse.has(PATIENTS, "a")
    with pytest.raises(BadValue), warehouse.update(PATIENTS, "a") as partition:
        partition.rows = patients("b", ["p"])
    assert not warehouse.has(PATIENTS, "a")


def test_rows_of_a_damaged_partition_are_not_written_again(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p1", "p2"]), "a").path
    damage(path)
    before = path.read_bytes()

    problem = "it was changed after it was written; restore it from a copy, or delete it and"
    with pytest.raises(DataError, match=problem), warehouse.update(PATIENTS, "a") as partition:
        partition.rows = pa.concat_tables([partition.rows, patients("a", ["p3"])])
    with pytest.raises(DataError, match=problem):
        warehouse.rewrite(PATIENTS, "a")

    assert path.read_bytes() == before
    with warehouse.update(PATIENTS, "a") as partition:
        partition.rows = patients("a", ["p4"])  # all rows are new: that is a repair
    assert warehouse.verify().problems == []


def test_an_update_holds_the_lock_of_the_partition(warehouse: Warehouse) -> None:
    with (
        warehouse.update(PATIENTS, "a"),
        pytest.raises(Busy),
        warehouse.lock(PATIENTS, "a", wait=0.01),
    ):
        pass


def test_reading_one_partition_or_no_rows(warehouse: Warehouse) -> None:
    assert warehouse.read_or_empty(PATIENTS, "a").equals(empty(PATIENTS))
    assert warehouse.read_or_empty(PATIENTS, "a", ["PatientID"]).column_names == ["PatientID"]
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    assert warehouse.read_or_empty(PATIENTS, "a").equals(patients("a", ["p"]))


def test_a_warehouse_that_is_read_only_writes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with pytest.raises(StorageError, match="cannot create views"):
        Warehouse(root, read_only=True).query("FROM patients")
    assert not root.exists()

    writable = Warehouse(root)
    writable.write(PATIENTS, patients("a", ["p1"]), "a")
    writable.ensure_views()
    writable.database.unlink()
    before = sorted(root.rglob("*"))
    assert Warehouse(root, read_only=True).query("FROM patients").num_rows == 1
    assert pickle.loads(pickle.dumps(Warehouse(root, read_only=True))).has(PATIENTS, "a")
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("prefix", ["", "Collection="])
def test_a_key_whose_folder_is_that_of_another_case_replaces_nothing(
    warehouse: Warehouse, prefix: str
) -> None:
    rows = patients("case", ["p1"])
    folder = warehouse.write(PATIENTS, rows, "case").path.parent
    stored = folder.rename(folder.with_name(f"{prefix}case"))
    # As a file system that ignores case: all names lead to one folder.
    for name in {f"{prefix}CASE", f"{prefix}CASE".swapcase()} - {stored.name}:
        stored.with_name(name).symlink_to(stored.name)

    with pytest.raises(StorageError, match="this file system ignores upper case"):
        warehouse.write(PATIENTS, patients("CASE", ["p2"]), "CASE")
    with (
        pytest.raises(StorageError, match="this file system ignores upper case"),
        warehouse.update(PATIENTS, "CASE"),
    ):
        pass
    stored.with_name(f"{prefix}CASE").unlink()
    assert warehouse.read(PATIENTS).equals(rows) and warehouse.keys(PATIENTS) == ["case"]


def test_keys_that_differ_in_case_are_two_partitions(warehouse: Warehouse) -> None:
    for key in ("case", "CASE"):
        warehouse.write(PATIENTS, patients(key, [f"{key}1"]), key)
    assert warehouse.read(PATIENTS)["PatientID"].to_pylist() == ["CASE1", "case1"]
