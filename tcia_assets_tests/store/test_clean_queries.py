"""A query that found nothing is not run again before one of its tables has another file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import PATIENTS, STUDIES
from tcia_assets.errors import Stopped
from tcia_assets.store.clean_queries import CleanQueries
from tcia_assets.store.warehouse import Warehouse

NAMELESS = "SELECT * FROM patients WHERE PatientName = 'nobody'"


def write_patient(warehouse: Warehouse, key: str, name: str) -> None:
    with warehouse.update(PATIENTS, key) as partition:
        partition.rows = pa.table({"PatientID": ["1"], "Collection": [key], "PatientName": [name]})


def clean_file(warehouse: Warehouse) -> Path:
    return warehouse.root / "warehouse" / ".clean" / "nameless"


def find(warehouse: Warehouse) -> list[str]:
    """The Collections of the rows that are found; it is a new process's look each time."""
    rows = CleanQueries(warehouse).find("nameless", NAMELESS)
    return rows["Collection"].to_pylist() if rows else []


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path)
    write_patient(warehouse, "A", "somebody")
    return warehouse


def test_a_query_runs_again_when_a_partition_was_written(warehouse: Warehouse) -> None:
    assert find(warehouse) == []
    kept = clean_file(warehouse).stat().st_mtime_ns
    assert find(warehouse) == []
    write_patient(warehouse, "B", "nobody")
    assert find(warehouse) == find(warehouse) == ["B"]
    write_patient(warehouse, "B", "somebody")
    assert find(warehouse) == []
    assert clean_file(warehouse).stat().st_mtime_ns > kept


def test_a_clean_query_is_not_run(warehouse: Warehouse) -> None:
    assert find(warehouse) == []
    warehouse.stop()  # any query raises an error now
    assert find(warehouse) == []
    warehouse.path(PATIENTS, "A").touch()
    with pytest.raises(Stopped):
        find(warehouse)


def test_the_files_of_other_tables_do_not_matter(warehouse: Warehouse) -> None:
    assert find(warehouse) == []
    kept = clean_file(warehouse).stat().st_mtime_ns
    rows = {"StudyInstanceUID": ["1.2"], "PatientID": ["1"], "Collection": ["A"]}
    with warehouse.update(STUDIES, "A") as partition:
        partition.rows = pa.table(rows)
    assert find(warehouse) == []
    assert clean_file(warehouse).stat().st_mtime_ns == kept


def test_another_query_of_the_same_name_is_run(warehouse: Warehouse) -> None:
    assert find(warehouse) == []
    rows = CleanQueries(warehouse).find("nameless", "SELECT * FROM patients")
    assert rows is not None and rows.num_rows == 1


def test_what_is_written_during_a_query_is_looked_at_by_the_next(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = warehouse.query

    def slow(statement: str) -> pa.Table:
        rows = query(statement)
        write_patient(warehouse, "B", "nobody")
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(warehouse, "query", slow)
        assert find(warehouse) == []
    assert find(warehouse) == ["B"]
