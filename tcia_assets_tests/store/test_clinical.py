"""Clinical tables have columns and views of their own."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.errors import UsageError
from tcia_assets.store.clinical import clinical_views, remove_clinical, write_clinical
from tcia_assets.store.warehouse import Warehouse

ROWS = pa.table({"Collection": ["A"], "PatientID": ["P1"], "stage": ["II"]})


def test_a_table_is_a_view_as_soon_as_it_is_written(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    assert warehouse.query("FROM series").num_rows == 0
    assert write_clinical(tmp_path, "a_clinical", ROWS)
    assert not write_clinical(tmp_path, "a_clinical", ROWS)
    assert warehouse.query("SELECT stage FROM clinical_a_clinical").to_pylist() == [{"stage": "II"}]
    assert Warehouse(tmp_path).query("FROM clinical_a_clinical").equals(ROWS)


def test_the_file_of_views_has_it_too(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.ensure_views()
    write_clinical(tmp_path, "a_clinical", ROWS)
    warehouse.ensure_views()
    with warehouse.connect() as connection:
        assert connection.execute("SELECT stage FROM clinical_a_clinical").fetchall() == [("II",)]


def test_a_table_that_is_removed_has_no_view(tmp_path: Path) -> None:
    write_clinical(tmp_path, "a_clinical", ROWS)
    assert list(clinical_views(tmp_path)) == ["clinical_a_clinical"]
    remove_clinical(tmp_path, "a_clinical")
    remove_clinical(tmp_path, "../series")
    assert clinical_views(tmp_path) == {}
    assert Warehouse(tmp_path).query("FROM clinical_tables").num_rows == 0


def test_a_damaged_file_costs_its_own_view_only(tmp_path: Path) -> None:
    write_clinical(tmp_path, "good", ROWS)
    write_clinical(tmp_path, "bad", ROWS)
    clinical_views(tmp_path)["clinical_bad"].write_bytes(b"PAR1")
    warehouse = Warehouse(tmp_path)
    assert warehouse.query("FROM clinical_good").equals(ROWS)
    with pytest.raises(UsageError, match="clinical_bad"):
        warehouse.query("FROM clinical_bad")


@pytest.mark.parametrize("name", ["", "../x", "A", "_x", "x" * 101])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        write_clinical(tmp_path, name, ROWS)


def test_damage_and_loss_are_found_by_the_digest(tmp_path: Path) -> None:
    for name in ("good", "bad", "gone"):
        write_clinical(tmp_path, name, ROWS)
    write_clinical(tmp_path, "bad", ROWS.slice(0, 0))
    assert Warehouse(tmp_path).verify().problems == []
    files = clinical_views(tmp_path)
    files["clinical_bad"].write_bytes(b"PAR1")
    files["clinical_gone"].unlink()
    remove_clinical(tmp_path, "good")
    found = Warehouse(tmp_path).verify()
    assert found.partitions == 2
    bad, gone = found.problems
    assert "bad/part-0.parquet: it was changed" in bad and "`tcia-assets clinical`" in bad
    assert "gone/part-0.parquet: it is gone" in gone
