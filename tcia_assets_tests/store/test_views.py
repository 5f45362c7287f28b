"""The views are current, read-only, and available whenever the partitions are."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pytest

from tcia_assets import catalog
from tcia_assets.catalog import PATIENTS, SERIES
from tcia_assets.errors import (
    TciaError,
    UsageError,
)
from tcia_assets.metadata.listing import mark_moved, mark_withdrawn, merge
from tcia_assets.store import sql
from tcia_assets.store.conform import empty
from tcia_assets.store.views import Views
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.disks import read_only
from tcia_assets_tests.store.child_processes import (
    hold_database,
    rebuild_for_ever,
    running,
    write_for_ever,
)
from tcia_assets_tests.store.tables import (
    is_whole,
    patients,
)


@pytest.mark.duckdb
def test_views_exist_before_the_first_file(warehouse: Warehouse) -> None:
    for table in catalog.TABLES:
        asked = warehouse.query(f"FROM {sql.identifier(table.name)}")
        assert asked.num_rows == 0
        assert asked.schema.names == list(table.column_names)
        assert asked.schema.types == table.schema.types
    assert warehouse.query("FROM current_series").schema.names == list(SERIES.column_names)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PAR1 and PAR1"])
def test_a_damaged_file_without_rows_is_made_anew(
    warehouse: Warehouse, tmp_path: Path, content: bytes
) -> None:
    """It stopped each query. A process that finds it sound does not read it again."""
    warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
    warehouse.ensure_views()
    copy = Warehouse(tmp_path / "copy")
    shutil.copytree(warehouse.root, copy.root)
    damaged = copy.root / "warehouse" / "patients" / "_schema.parquet"
    damaged.write_bytes(content)
    assert copy.query("FROM patients").num_rows == 1
    with closing(copy.connect()) as connection:
        assert sql.fetch_table(connection, "FROM patients").num_rows == 1
    assert (
        damaged.read_bytes()
        == (warehouse.root / "warehouse" / "patients" / "_schema.parquet").read_bytes()
    )


@pytest.mark.duckdb
def test_views_see_the_first_file_without_a_rebuild(warehouse: Warehouse) -> None:
    with closing(warehouse.connect()) as connection:
        assert sql.fetch_table(connection, "FROM patients").num_rows == 0
        warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
        assert sql.fetch_table(connection, "FROM patients").num_rows == 1
        warehouse.write(PATIENTS, patients("b", ["p1", "p2"]), "b")
        assert sql.fetch_table(connection, "FROM patients").num_rows == 3


@pytest.mark.duckdb
def test_series_that_are_withdrawn_or_moved_are_not_current(warehouse: Warehouse) -> None:
    listed = pa.table({"SeriesInstanceUID": ["1", "2", "3"], "Collection": ["a"] * 3})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = mark_withdrawn(merge(empty(SERIES), listed, at=at, source="x").rows, ["2"], at=at)
    warehouse.write(SERIES, mark_moved(rows, {"3": "b"}), "a")
    assert warehouse.query("SELECT count(*) AS n FROM series")["n"].to_pylist() == [3]
    uids = warehouse.query("SELECT SeriesInstanceUID AS uid FROM current_series")["uid"]
    assert uids.to_pylist() == ["1"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT table_name AS name FROM information_schema.tables",
        "SELECT name FROM (SHOW TABLES)",
        "SELECT name FROM (DESC)",
        "/* all */ SELECT name FROM (DESCRIBE)",
        "PRAGMA show_tables",
        pytest.param(
            "SELECT view_name FROM duckdb_views() "
            "WHERE database_name = 'warehouse' AND NOT internal",
            marks=pytest.mark.duckdb,
        ),
        "SELECT viewname FROM pg_catalog.pg_views",
        "SELECT name FROM sqlite_master",
        "SELECT DISTINCT table_name FROM duckdb_columns() WHERE database_name = 'warehouse'",
    ],
)
def test_a_query_for_what_there_is_finds_all_views(warehouse: Warehouse, statement: str) -> None:
    """A process creates each view when a query first names it."""
    warehouse.query("FROM patients")
    found = set(warehouse.query(statement).column(0).to_pylist())
    assert found >= {table.name for table in catalog.TABLES} | {"current_series"}


@pytest.mark.duckdb
def test_a_query_finds_a_view_however_it_names_it(warehouse: Warehouse) -> None:
    warehouse.query("FROM patients")
    for statement in ('FROM"STUDIES"', "FROM warehouse.main.series", "FROM Series_As_Of(now())"):
        assert warehouse.query(statement).num_rows == 0
    assert warehouse.query("FROM query_table('current_' || 'series')").num_rows == 0
    with pytest.raises(UsageError, match='Did you mean "image_archives'):
        warehouse.query("FROM image_archive")


def test_threads_that_name_the_same_view_first_all_find_it(warehouse: Warehouse) -> None:
    warehouse.query("FROM patients")
    for name in ("series", "studies", "images"):
        with ThreadPoolExecutor(8) as pool:
            asked = list(pool.map(warehouse.query, [f"FROM {name}"] * 8))
        assert [rows.num_rows for rows in asked] == [0] * 8


def test_views_have_comments(warehouse: Warehouse) -> None:
    said = warehouse.query(
        "SELECT comment FROM duckdb_columns() WHERE database_name = 'warehouse' "
        "AND table_name = 'series' AND column_name = 'ImageCount'"
    )
    assert said["comment"].to_pylist() == [SERIES.column("ImageCount").description]


@pytest.mark.duckdb
def test_a_connection_cannot_change_anything(warehouse: Warehouse) -> None:
    with (
        closing(warehouse.connect()) as connection,
        pytest.raises(sql.SqlError, match="read-only"),
    ):
        connection.execute("CREATE TABLE kept (a INT)")


@pytest.mark.parametrize("name", ["data", pytest.param("we[ir]d*?", marks=pytest.mark.duckdb)])
@pytest.mark.parametrize("is_written", [True, False], ids=["views on disk", "views in memory"])
def test_a_connection_opens_no_file_outside_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, is_written: bool
) -> None:
    warehouse = Warehouse(tmp_path / name)
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    outside = tmp_path / "secret.csv"
    outside.write_text("a\nb\n")
    if not is_written:
        monkeypatch.setattr(Views, "_open", lambda _self: None)
    with closing(warehouse.connect()) as connection:
        assert sql.fetch_table(connection, "FROM patients").num_rows == 1
        for statement in (
            f"FROM {sql.literal(str(outside))}",
            f"FROM read_text({sql.literal(str(outside))})",
            f"FROM glob({sql.literal(str(tmp_path / '*'))})",
            f"COPY (SELECT 1) TO {sql.literal(str(tmp_path / 'new.csv'))}",
            f"ATTACH {sql.literal(str(tmp_path / 'new.duckdb'))}",
            "SET enable_external_access = true",
            "SET allowed_directories = ['/']",
        ):
            with pytest.raises(sql.SqlError):
                connection.execute(statement)
    assert {each.name for each in tmp_path.iterdir()} == {name, "secret.csv"}


@pytest.mark.duckdb
def test_the_views_follow_a_moved_root(tmp_path: Path) -> None:
    old = Warehouse(tmp_path / "old")
    old.write(PATIENTS, patients("a", ["kept"]), "a")
    old.ensure_views()
    assert old.query("FROM patients").num_rows == 1
    old.root.rename(tmp_path / "new")
    Warehouse(tmp_path / "old").write(PATIENTS, patients("a", ["another"]), "a")
    new = Warehouse(tmp_path / "new")
    assert new.query("FROM patients")["PatientID"].to_pylist() == ["kept"]
    # A query alone has bound the views of the copy to where they are.
    with closing(sql.connect(new.database, read_only=True)) as connection:
        assert sql.fetch_table(connection, "FROM patients")["PatientID"].to_pylist() == ["kept"]


def test_the_views_are_the_same_by_every_path_to_a_root(
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


DAMAGES = ("missing", "empty", "views of another declaration", "schemas", "a view")
# How DuckDB answers to these is its own affair on each line of it.
MORE_DAMAGES = ("bytes", "a macro")


def damage_views(warehouse: Warehouse, damage: str) -> None:
    if damage == "schemas":
        (warehouse.root / "warehouse" / "series" / "_schema.parquet").unlink()
    elif damage in {"a view", "a macro"}:
        dropped = {"a view": "VIEW patients", "a macro": "MACRO TABLE series_as_of"}[damage]
        with closing(sql.connect(warehouse.database)) as connection:
            connection.execute(f"DROP {dropped}")
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


@pytest.mark.parametrize(
    "damages", [DAMAGES, pytest.param(MORE_DAMAGES, marks=pytest.mark.duckdb)], ids=["some", "more"]
)
def test_views_that_are_not_current_are_rebuilt(
    warehouse: Warehouse, damages: tuple[str, ...]
) -> None:
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    warehouse.ensure_views()
    for damage in damages:
        damage_views(warehouse, damage)
        found = warehouse.query("SELECT PatientID FROM patients")
        assert found.num_rows == 1, damage
        with closing(warehouse.connect()) as connection:
            found = sql.fetch_table(connection, "SELECT PatientID FROM patients")
            assert found.num_rows == 1, damage
            assert sql.fetch_table(connection, "FROM series").num_rows == 0, damage
            assert sql.fetch_table(connection, "FROM series_as_of(now())").num_rows == 0, damage
        with closing(sql.connect(warehouse.database, read_only=True)) as theirs:
            assert sql.fetch_table(theirs, "FROM patients").num_rows == 1, damage
        assert not [p.name for p in warehouse.root.iterdir() if p.name.endswith(".draft")], damage


def test_an_open_connection_does_not_disturb_a_rebuild(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    warehouse.ensure_views()
    with closing(sql.connect(warehouse.database)) as theirs:  # ready to write, in this process
        assert warehouse.query("FROM patients").num_rows == 1
        warehouse.database.unlink()
        warehouse.ensure_views()
        assert warehouse.query("FROM patients").num_rows == 1
        assert sql.fetch_table(theirs, "FROM patients").num_rows == 1


@pytest.mark.parametrize(
    "name",
    [
        *("with space", "we[ir]d", "st*r", "que?", "open[", "x'y", "100%", "Ü😀", "k=v", "{a,b}"),
        pytest.param("{[x'y]*?", marks=pytest.mark.duckdb),
    ],
)
def test_any_root_works(tmp_path: Path, name: str) -> None:
    warehouse = Warehouse(tmp_path / name / "data")
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    assert warehouse.query("FROM patients").num_rows == 1
    assert warehouse.read(PATIENTS).num_rows == 1


def test_a_root_that_duckdb_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="backslash"):
        Warehouse(tmp_path / "back\\slash")


def test_a_read_only_root_without_views_can_be_queried(small_disk: Path) -> None:
    warehouse = Warehouse(small_disk)
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    warehouse.ensure_views()
    warehouse.database.unlink()
    with read_only(small_disk):
        assert warehouse.query("FROM patients").num_rows == 1
        with pytest.raises(TciaError, match="cannot be written"):
            warehouse.ensure_views()


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_readers_see_whole_partitions_while_writers_are_killed_and_views_rebuilt(
    warehouse: Warehouse, processes: ForkServerContext, kills: int
) -> None:
    for _ in range(kills):
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


@pytest.mark.duckdb
def test_a_process_that_opened_the_views_for_writing_blocks_nobody(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    warehouse.ensure_views()
    os.utime(warehouse.database, (0, 0))  # as if another process had written it
    before = warehouse.database.stat().st_ino
    held = processes.Event()
    with running(processes.Process(target=hold_database, args=(warehouse.database, held))):
        assert held.wait(20)
        assert warehouse.query("FROM patients").num_rows == 0
        replaced = warehouse.database.stat().st_ino
        assert replaced != before
        assert warehouse.query("FROM patients").num_rows == 0
        assert warehouse.database.stat().st_ino == replaced
