"""What is on disk is whole, whatever happens to those who write it, and anybody can read it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets import catalog
from tcia_assets.catalog import COLLECTIONS, PATIENTS, SERIES, SERIES_SIZES, SHARED_LISTS
from tcia_assets.errors import (
    BadValue,
    DataError,
    StorageError,
    TciaError,
    UnknownName,
    UsageError,
)
from tcia_assets.metadata.listing import mark_moved, mark_withdrawn, merge
from tcia_assets.spec import Table
from tcia_assets.store import sql
from tcia_assets.store.conform import conform, empty
from tcia_assets.store.files import publish
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.test_conform import valid_rows

AWKWARD_KEYS = [
    "4711",
    "4D-Lung",
    "CT Lymph Nodes",
    "a/b",
    "../up",
    "100%",
    "k=v",
    "x'y",
    '"quoted"',
    "Ünïcode",
    "😀",
    "*?[a]",
    "back\\slash",
    "new\nline",
    "_schema",
    ".hidden",
    "...",
]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


def patients(key: str, names: Any, sex: str = "F") -> pa.Table:
    rows = pa.table({"PatientID": pa.array(list(names), pa.string())})
    return conform(PATIENTS, rows, Collection=key, PatientSex=sex)


def collections(*names: str) -> pa.Table:
    return conform(COLLECTIONS, pa.table({"Collection": list(names)}))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- Paths and keys -----------------------------------------------------------------------------


def test_a_partition_is_where_the_contract_says(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    folder = tmp_path.resolve() / "warehouse"
    path = folder / "patients" / "Collection=CT%20Lymph%20Nodes" / "part-0.parquet"
    assert warehouse.path(PATIENTS, "CT Lymph Nodes") == path
    path = folder / "shared_lists" / "list_name=a%2Fb" / "part-0.parquet"
    assert warehouse.path(SHARED_LISTS, "a/b") == path
    assert warehouse.path(COLLECTIONS) == folder / "collections" / "part-0.parquet"


@pytest.mark.parametrize("key", ["", ".", "..", "\ud800", "ü" * 200])
def test_a_key_that_cannot_be_a_folder_is_refused(warehouse: Warehouse, key: str) -> None:
    for act in (warehouse.path, warehouse.has, partial(warehouse.write, rows=patients("a", "p"))):
        with pytest.raises(UsageError):
            act(PATIENTS, key=key)


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


def test_folders_that_are_no_partitions_are_not_keys(warehouse: Warehouse) -> None:
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
    copied = table / "Collection=CT Lymph Nodes"  # not as we would write it
    copied.mkdir()
    (copied / "part-0.parquet").write_bytes(warehouse.path(PATIENTS, "a").read_bytes())
    assert warehouse.keys(PATIENTS) == ["a"]


# --- Writing ------------------------------------------------------------------------------------


def test_writing_tells_what_is_on_disk_now(warehouse: Warehouse) -> None:
    written = warehouse.write(PATIENTS, patients("4D-Lung", ["p1", "p2"]), "4D-Lung")
    assert written.path == warehouse.path(PATIENTS, "4D-Lung")
    assert written.bytes_on_disk == written.path.stat().st_size
    assert (written.rows, written.changed) == (2, True)
    assert warehouse.rows(PATIENTS, "4D-Lung") == 2
    assert warehouse.rows(PATIENTS, "not there") == 0


def test_a_file_says_what_its_rows_are_and_how_they_are_told_apart(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    said = pq.read_schema(path)
    assert said.equals(PATIENTS.schema, check_metadata=True)
    assert said.metadata[b"key"] == b"Collection,PatientID"
    codecs = pq.ParquetFile(path).metadata.row_group(0).column(0).compression
    assert codecs == "ZSTD"


def test_writing_twice_changes_nothing(warehouse: Warehouse) -> None:
    rows = patients("a", ["p1", "p2"])
    path = warehouse.write(PATIENTS, rows, "a").path
    before = path.stat()
    assert not warehouse.write(PATIENTS, rows, "a").changed
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns


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


def test_no_rows_are_a_partition_too(warehouse: Warehouse) -> None:
    assert warehouse.write(PATIENTS, empty(PATIENTS), "a").rows == 0
    assert warehouse.has(PATIENTS, "a")
    assert warehouse.read(PATIENTS, ["a"]).num_rows == 0


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (patients("b", ["p1"]), BadValue),
        (patients("a", ["p1"]).drop_columns(["PatientSex"]), DataError),
        (patients("a", ["p2", "p1"]).take([1, 0]), DataError),
        (pa.concat_tables([patients("a", ["p1"])] * 2), DataError),
    ],
)
def test_what_is_not_this_partition_never_lands(
    warehouse: Warehouse, rows: pa.Table, error: type
) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p0"]), "a").path
    before = files(warehouse.root)
    with pytest.raises(error, match="patients"):
        warehouse.write(PATIENTS, rows, "a")
    assert files(warehouse.root) == before
    assert [p.name for p in path.parent.iterdir()] == ["part-0.parquet"]


def test_a_crashed_writers_draft_is_removed_by_the_next_one(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    path.with_name(".part-0.parquet.0123456789abcdef.draft").write_bytes(b"PAR1 cut")
    warehouse.write(PATIENTS, patients("a", ["q"]), "a")
    assert [p.name for p in path.parent.iterdir()] == ["part-0.parquet"]


def test_a_living_writers_draft_survives_and_the_last_one_wins(warehouse: Warehouse) -> None:
    slow = patients("a", ["slow"])
    path = warehouse.path(PATIENTS, "a")

    def write_slowly(draft: Path) -> None:
        warehouse.write(PATIENTS, patients("a", ["quick"]), "a")
        assert warehouse.read(PATIENTS)["PatientID"].to_pylist() == ["quick"]
        pq.write_table(slow, draft)

    assert publish(path, write_slowly)
    assert warehouse.read(PATIENTS)["PatientID"].to_pylist() == ["slow"]
    assert [p.name for p in path.parent.iterdir()] == ["part-0.parquet"]


def test_a_failing_write_leaves_nothing_behind(warehouse: Warehouse) -> None:
    def fail(draft: Path) -> None:
        draft.write_bytes(b"half")
        raise KeyboardInterrupt

    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    before = files(warehouse.root)
    with pytest.raises(KeyboardInterrupt):
        publish(path, fail)
    assert files(warehouse.root) == before


# --- Reading ------------------------------------------------------------------------------------


def test_a_table_is_read_whole_or_by_partitions(warehouse: Warehouse) -> None:
    for key in ("b", "a", "c"):
        warehouse.write(PATIENTS, patients(key, [f"{key}1", f"{key}2"]), key)
    assert warehouse.read(PATIENTS)["PatientID"].to_pylist() == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert warehouse.read(PATIENTS, ["c", "a"])["PatientID"].to_pylist() == ["c1", "c2", "a1", "a2"]
    assert warehouse.read(PATIENTS, []).equals(empty(PATIENTS))
    warehouse.write(COLLECTIONS, collections("a", "b"))
    assert warehouse.read(COLLECTIONS).equals(collections("a", "b"))


def test_reading_before_anything_is_there_gives_no_rows(warehouse: Warehouse) -> None:
    for table in catalog.TABLES:
        assert warehouse.read(table).equals(empty(table), check_metadata=True)


def test_a_partition_that_is_not_there_is_told_with_near_ones(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("4D-Lung", ["p"]), "4D-Lung")
    with pytest.raises(UnknownName, match=r"patients .* '4D Lung'; did you mean '4D-Lung'"):
        warehouse.read(PATIENTS, ["4D-Lung", "4D Lung"])


def test_a_damaged_file_is_told_with_its_path(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    path.write_bytes(path.read_bytes()[:-9])
    for act in (warehouse.read, partial(warehouse.rows, key="a")):
        with pytest.raises(DataError, match=re.escape(str(path))):
            act(PATIENTS)


@pytest.mark.parametrize("damage", ["the end", "a page"])
def test_a_question_over_a_damaged_file_tells_its_path_and_the_cure(
    warehouse: Warehouse, damage: str
) -> None:
    path = warehouse.write(PATIENTS, patients("a", [f"p{n}" for n in range(99)]), "a").path
    whole = path.read_bytes()
    broken = whole[:-9] if damage == "the end" else whole[:4] + bytes(400) + whole[404:]
    path.write_bytes(broken)

    with pytest.raises(DataError, match=f"{re.escape(str(path))} .*; restore it from a copy, or"):
        warehouse.query("FROM patients")


def test_a_mistake_in_a_statement_is_the_statements(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="Nothing"):
        warehouse.query('SELECT "Nothing" FROM collections')


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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(tmp_path_factory.mktemp("shared"))


@pytest.mark.parametrize("table", catalog.TABLES, ids=lambda t: t.name)
@settings(max_examples=8, deadline=None)
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


# --- Views --------------------------------------------------------------------------------------


def test_views_are_there_before_the_first_file(warehouse: Warehouse) -> None:
    for table in catalog.TABLES:
        asked = warehouse.query(f"FROM {sql.identifier(table.name)}")
        assert asked.num_rows == 0
        assert asked.schema.names == list(table.column_names)
        assert asked.schema.types == table.schema.types
    assert warehouse.query("FROM current_series").schema.names == list(SERIES.column_names)


def test_views_see_the_first_file_without_being_made_again(warehouse: Warehouse) -> None:
    with closing(warehouse.connect()) as connection:
        assert sql.fetch_table(connection, "FROM patients").num_rows == 0
        warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
        assert sql.fetch_table(connection, "FROM patients").num_rows == 1
        warehouse.write(PATIENTS, patients("b", ["p1", "p2"]), "b")
        assert sql.fetch_table(connection, "FROM patients").num_rows == 3


def test_questions_that_share_a_connection_are_answered_as_if_each_had_its_own(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    connect = sql.connect
    monkeypatch.setattr(sql, "connect", lambda: opened.append(1) or connect())
    warehouse.ensure_views()
    opened.clear()
    given, asked = pa.table({"a": [1]}), "SELECT count(*) AS n FROM patients"
    with warehouse.shared_connection():
        assert warehouse.query(asked)["n"].to_pylist() == [0]
        warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
        with warehouse.shared_connection():
            assert warehouse.query(asked)["n"].to_pylist() == [1]
        assert warehouse.query("FROM given", tables={"given": given}).equals(given)
        for statement in ("FROM given", "SELEC 1", "SELECT 1 / a FROM (SELECT 'x'::INT AS a)"):
            with pytest.raises(UsageError):
                warehouse.query(statement)
        with ThreadPoolExecutor(1) as others:
            assert others.submit(warehouse.query, asked).result()["n"].to_pylist() == [1]
        assert len(opened) == 2  # this thread's, and the other's
        warehouse.write(PATIENTS, patients("a", ["p1", "p2"]), "a")
        assert warehouse.query(asked)["n"].to_pylist() == [2]
    assert warehouse.query(asked)["n"].to_pylist() == [2]
    assert len(opened) == 3


def test_questions_that_share_no_connection_that_can_be_opened_fail_each_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "targets").write_text("where a folder should be")
    warehouse = Warehouse(tmp_path)
    with warehouse.shared_connection():
        for _ in range(2):
            with pytest.raises(StorageError):
                warehouse.query("FROM series")
        (tmp_path / "warehouse" / "targets").unlink()
        assert warehouse.query("FROM series").num_rows == 0


def test_a_warehouse_goes_to_other_processes_without_its_connection(warehouse: Warehouse) -> None:
    with warehouse.shared_connection():
        warehouse.query("FROM series")
        copy = pickle.loads(pickle.dumps(warehouse))
        assert copy.root == warehouse.root
        assert copy.query("FROM series").num_rows == 0


def test_any_key_can_be_asked_for_in_sql_and_stays_text(warehouse: Warehouse) -> None:
    for key in AWKWARD_KEYS:
        warehouse.write(PATIENTS, patients(key, ["p"]), key)
    asked = warehouse.query("SELECT Collection FROM patients ORDER BY Collection")
    assert asked["Collection"].to_pylist() == sorted(AWKWARD_KEYS)
    for key in AWKWARD_KEYS:
        found = warehouse.query("FROM patients WHERE Collection = $key", {"key": key})
        assert found.num_rows == 1


def test_series_that_are_withdrawn_or_moved_are_not_current(warehouse: Warehouse) -> None:
    listed = pa.table({"SeriesInstanceUID": ["1", "2", "3"], "Collection": ["a"] * 3})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = mark_withdrawn(merge(empty(SERIES), listed, at=at, source="x").rows, ["2"], at=at)
    warehouse.write(SERIES, mark_moved(rows, {"3": "b"}), "a")
    assert warehouse.query("SELECT count(*) AS n FROM series")["n"].to_pylist() == [3]
    uids = warehouse.query("SELECT SeriesInstanceUID AS uid FROM current_series")["uid"]
    assert uids.to_pylist() == ["1"]


def test_views_say_what_they_hold(warehouse: Warehouse) -> None:
    said = warehouse.query(
        "SELECT comment FROM duckdb_columns() WHERE database_name = 'warehouse' "
        "AND table_name = 'series' AND column_name = 'ImageCount'"
    )
    assert said["comment"].to_pylist() == [SERIES.column("ImageCount").description]


def test_other_peoples_tools_read_the_folders(warehouse: Warehouse) -> None:
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


def test_a_connection_cannot_change_anything(warehouse: Warehouse) -> None:
    with (
        closing(warehouse.connect()) as connection,
        pytest.raises(sql.SqlError, match="read-only"),
    ):
        connection.execute("CREATE TABLE kept (a INT)")


def test_what_duckdb_refuses_is_the_askers_slip(warehouse: Warehouse) -> None:
    for statement, problem in [
        ("SELEC 1", "syntax error"),
        ("FROM serie", "serie does not exist"),
        ("SELECT NoSuchColumn FROM series", "NoSuchColumn"),
        ("DROP VIEW series", "read-only"),
        ("SELECT $1", "parameter"),
    ]:
        with pytest.raises(UsageError, match=problem):
            warehouse.query(statement)


def test_a_table_that_does_not_exist_is_never_a_python_variable(warehouse: Warehouse) -> None:
    rows = pa.table({"a": [1]})
    with pytest.raises(UsageError, match="rows does not exist"):
        warehouse.query("FROM rows")
    assert warehouse.query("FROM rows", tables={"rows": rows}).equals(rows)


def test_a_moved_root_is_asked_where_it_is_now(tmp_path: Path) -> None:
    old = Warehouse(tmp_path / "old")
    old.write(PATIENTS, patients("a", ["kept"]), "a")
    assert old.query("FROM patients").num_rows == 1
    old.root.rename(tmp_path / "new")
    Warehouse(tmp_path / "old").write(PATIENTS, patients("a", ["another"]), "a")
    new = Warehouse(tmp_path / "new")
    assert new.query("FROM patients")["PatientID"].to_pylist() == ["kept"]
    with closing(sql.connect(new.database, read_only=True)) as connection:
        assert sql.fetch_table(connection, "FROM patients")["PatientID"].to_pylist() == ["kept"]


def test_every_way_to_a_root_means_the_same_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    Warehouse(tmp_path / "real").ensure_views()
    before = (tmp_path / "real" / "warehouse.duckdb").stat()
    monkeypatch.chdir(tmp_path)
    Warehouse(tmp_path / "link").ensure_views()
    Warehouse(Path("real")).ensure_views()
    assert (tmp_path / "real" / "warehouse.duckdb").stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    "damage", ["missing", "bytes", "empty", "views of another declaration", "schemas"]
)
def test_views_are_made_again_when_they_are_not_the_right_ones(
    warehouse: Warehouse, damage: str
) -> None:
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    warehouse.ensure_views()
    if damage == "schemas":
        (warehouse.root / "warehouse" / "series" / "_schema.parquet").unlink()
    else:
        warehouse.database.unlink()
    if damage == "bytes":
        warehouse.database.write_bytes(b"no database at all" * 1000)
    if damage == "empty":
        warehouse.database.touch()
    if damage == "views of another declaration":
        with closing(sql.connect(warehouse.database)) as connection:
            connection.execute("CREATE VIEW current_series AS SELECT 1 AS a")
            connection.execute("COMMENT ON VIEW current_series IS 'of yesterday'")
    assert warehouse.query("SELECT PatientID FROM patients").num_rows == 1
    assert warehouse.query("FROM series").num_rows == 0
    assert not [p.name for p in warehouse.root.iterdir() if p.name.endswith(".draft")]


def test_somebody_who_has_the_views_open_disturbs_nobody(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    warehouse.ensure_views()
    with closing(sql.connect(warehouse.database)) as theirs:  # ready to write, in this process
        assert warehouse.query("FROM patients").num_rows == 1
        warehouse.database.unlink()
        assert warehouse.query("FROM patients").num_rows == 1
        assert sql.fetch_table(theirs, "FROM patients").num_rows == 1


@pytest.mark.parametrize(
    "name", ["with space", "we[ir]d", "st*r", "que?", "open[", "x'y", "100%", "Ü😀", "k=v", "{a,b}"]
)
def test_any_root_works(tmp_path: Path, name: str) -> None:
    warehouse = Warehouse(tmp_path / name / "data")
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    assert warehouse.query("FROM patients").num_rows == 1
    assert warehouse.read(PATIENTS).num_rows == 1


def test_a_root_that_duckdb_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="backslash"):
        Warehouse(tmp_path / "back\\slash")


# --- Disks that refuse --------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def test_a_full_disk_leaves_the_partition_as_it_was(small_disk: Path) -> None:
    warehouse = Warehouse(small_disk)
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    before = files(small_disk)
    noise = random.Random(1)
    big = patients("a", sorted(f"{noise.getrandbits(256):x}" for _ in range(40_000)))
    with pytest.raises(TciaError, match=r"part-0\.parquet cannot be written .* No space left"):
        warehouse.write(PATIENTS, big, "a")
    assert files(small_disk) == before
    with pytest.raises(TciaError, match="No space left"):
        warehouse.write(
            PATIENTS, big.set_column(1, "Collection", [["b"] * 40_000]).cast(big.schema), "b"
        )
    assert files(small_disk) == before
    assert warehouse.write(PATIENTS, patients("a", ["q"]), "a").changed


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


def test_a_read_only_root_without_its_views_is_read_all_the_same(small_disk: Path) -> None:
    warehouse = Warehouse(small_disk)
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    warehouse.ensure_views()
    warehouse.database.unlink()
    with read_only(small_disk):
        assert warehouse.query("FROM patients").num_rows == 1
        with pytest.raises(TciaError, match="cannot be written"):
            warehouse.ensure_views()


# --- Many processes -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    # The server is forked before any thread is there, with everything imported: a child costs ms.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@contextmanager
def running(*children: BaseProcess) -> Iterator[None]:
    for child in children:
        child.start()
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.join()


def rounds(key: str, number: int) -> pa.Table:
    """A partition that says of itself whether it is whole."""
    size = (1, 40, 3000, 20_000)[number % 4]
    return patients(key, (f"{i:05} of {size}" for i in range(size)), sex=str(size))


def is_whole(rows: pa.Table) -> bool:
    return rows.num_rows == 0 or set(rows["PatientSex"].to_pylist()) == {str(rows.num_rows)}


def write_for_ever(root: Path, key: str, started: Event) -> None:
    warehouse = Warehouse(root)
    versions = [rounds(key, number) for number in range(4)]
    started.set()
    while True:
        for rows in versions:
            warehouse.write(PATIENTS, rows, key)


def rebuild_for_ever(root: Path, started: Event) -> None:
    """Another version of the package, which wants other views."""
    warehouse = Warehouse(root)
    warehouse._views.__dict__["_stamp"] = "views of another version"
    started.set()
    while True:
        warehouse.ensure_views()


def test_a_killed_writer_leaves_the_old_partition_or_the_new_one(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    chance = random.Random()
    for _ in range(25):
        started = processes.Event()
        child = processes.Process(target=write_for_ever, args=(warehouse.root, "a", started))
        with running(child):
            assert started.wait(20)
            time.sleep(chance.uniform(0, 0.08))
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            assert is_whole(warehouse.read(PATIENTS))
    assert is_whole(warehouse.query("FROM patients"))
    last = rounds("a", 1)
    warehouse.write(PATIENTS, last, "a")
    assert warehouse.read(PATIENTS).equals(last)
    assert [p.name for p in warehouse.path(PATIENTS, "a").parent.iterdir()] == ["part-0.parquet"]


def test_readers_see_whole_partitions_while_writers_are_killed_and_views_rebuilt(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    for _ in range(8):
        started = processes.Event()
        writer = processes.Process(target=write_for_ever, args=(warehouse.root, "a", started))
        rival = processes.Process(target=rebuild_for_ever, args=(warehouse.root, started))
        with running(writer, rival):
            assert started.wait(20)
            for _ in range(5):
                assert is_whole(warehouse.query("SELECT PatientSex FROM patients"))
                assert is_whole(warehouse.read(PATIENTS))
    warehouse.ensure_views()
    assert {p.name for p in warehouse.root.iterdir()} == {"warehouse", "warehouse.duckdb"}


def write_rounds(root: Path, key: str, count: int) -> None:
    warehouse = Warehouse(root)
    for number in range(count):
        warehouse.write(PATIENTS, rounds(key, number), key)


def ask_until(root: Path, stop: Event, failures: Any) -> None:
    warehouse = Warehouse(root)
    counted = """SELECT Collection, count(*) AS n, min(PatientSex) AS least, max(PatientSex) AS most
                 FROM patients GROUP BY Collection"""
    asked = 0
    while not stop.is_set():
        for row in warehouse.query(counted).to_pylist():
            if not str(row["n"]) == row["least"] == row["most"]:
                failures.put(row)
        asked += 1
    failures.put(asked)


def test_ten_partitions_are_written_at_once_while_readers_ask(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    keys = [f"Collection {number}" for number in range(10)]
    stop, failures = processes.Event(), processes.Queue()
    readers = [
        processes.Process(target=ask_until, args=(warehouse.root, stop, failures)) for _ in range(3)
    ]
    writers = [
        processes.Process(target=write_rounds, args=(warehouse.root, key, 14)) for key in keys
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
    assert warehouse.read(PATIENTS).equals(pa.concat_tables([rounds(k, 13) for k in keys]))


def add_series(root: Path, start: int, times: int) -> None:
    """Adds one Series after the other to a partition, each time to what is there."""
    warehouse = Warehouse(root)
    for number in range(start, start + times):
        with warehouse.lock(SERIES, "a", wait=30):
            before = warehouse.read(SERIES, ["a"])
            uids = [*before["SeriesInstanceUID"].to_pylist(), str(number)]
            listed = pa.table({"SeriesInstanceUID": uids, "Collection": ["a"] * len(uids)})
            seen = merge(before, listed, at=datetime.now(UTC), source="x")
            warehouse.write(SERIES, seen.rows, "a")


def test_two_processes_that_change_a_partition_under_its_lock_lose_nothing(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    one = pa.table({"SeriesInstanceUID": ["1"], "Collection": ["a"]})
    first = merge(empty(SERIES), one, at=datetime.now(UTC), source="x")
    warehouse.write(SERIES, first.rows, "a")
    children = [
        processes.Process(target=add_series, args=(warehouse.root, start, 15))
        for start in (100, 200)
    ]
    with running(*children):
        for child in children:
            child.join(30)
            assert child.exitcode == 0
    assert warehouse.read(SERIES, ["a"]).num_rows == 31


def hold(root: Path, held: Event) -> None:
    with Warehouse(root).lock(SERIES_SIZES, "a"):
        held.set()
        time.sleep(60)


def test_a_lock_is_waited_for_and_released_when_its_holder_dies(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    held = processes.Event()
    child = processes.Process(target=hold, args=(warehouse.root, held))
    with running(child):
        assert held.wait(20)
        with (
            pytest.raises(TciaError, match=r"series_sizes of 'a' has been locked .* than 0\.1 s"),
            warehouse.lock(SERIES_SIZES, "a", wait=0.1),
        ):
            pass
        with warehouse.lock(SERIES_SIZES, "b", wait=5), warehouse.lock(SERIES, "a", wait=5):
            pass  # others are free
        warehouse.write(SERIES_SIZES, empty(SERIES_SIZES), "a")  # and so is writing
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        with warehouse.lock(SERIES_SIZES, "a", wait=20):
            pass


def hold_database(database: Path, held: Event) -> None:
    with closing(sql.connect(database)) as connection:
        connection.execute("BEGIN")
        held.set()
        time.sleep(60)


def test_a_process_that_opened_the_views_for_writing_keeps_nobody_out(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    warehouse.ensure_views()
    before = warehouse.database.stat().st_ino
    held = processes.Event()
    with running(processes.Process(target=hold_database, args=(warehouse.database, held))):
        assert held.wait(20)
        assert warehouse.query("FROM patients").num_rows == 0
        replaced = warehouse.database.stat().st_ino
        assert replaced != before
        assert warehouse.query("FROM patients").num_rows == 0
        assert warehouse.database.stat().st_ino == replaced


def test_locks_are_out_of_readers_sight(warehouse: Warehouse) -> None:
    with warehouse.lock(PATIENTS, "a/b"), warehouse.lock(COLLECTIONS):
        assert not (warehouse.root / "warehouse").exists()


def test_an_error_under_a_lock_is_its_own_and_frees_it(warehouse: Warehouse) -> None:
    with pytest.raises(TimeoutError, match="mine"), warehouse.lock(PATIENTS, "a"):
        raise TimeoutError("mine")
    with warehouse.lock(PATIENTS, "a", wait=1):
        pass
