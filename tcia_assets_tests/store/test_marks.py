"""A mark counts only for the code, the context and the files that it was written for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import PATIENTS, SERIES
from tcia_assets.store import marks
from tcia_assets.store.marks import Mark, code_digest, mark_path
from tcia_assets.store.warehouse import Warehouse

FACTS = {"digest": "abc", "rows": 1}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path)
    with warehouse.update(PATIENTS, "A") as partition:
        partition.rows = pa.table({"PatientID": ["1"], "Collection": ["A"]})
    return warehouse


def mark(warehouse: Warehouse, context: str = "nbia") -> Mark:
    return Mark(PATIENTS, "A", (PATIENTS,), (SERIES,), warehouse, context)


def test_a_mark_counts_as_long_as_its_files_are_the_same(warehouse: Warehouse) -> None:
    assert mark(warehouse).read() == {}
    mark(warehouse).write(FACTS)
    assert mark(warehouse).read() == FACTS
    assert mark(warehouse, "idc").read() == {}
    path = warehouse.path(PATIENTS, "A")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"x" + whole[-8:])
    assert mark(warehouse).read() == {}
    path.write_bytes(whole)
    assert mark(warehouse).read() == FACTS
    path.unlink()
    assert mark(warehouse).read() == {}


def test_a_file_that_is_damaged_before_the_mark_is_written_makes_it_void(
    warehouse: Warehouse,
) -> None:
    begun, path = mark(warehouse), warehouse.path(PATIENTS, "A")
    path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    begun.write(FACTS)
    assert mark(warehouse).read() == {}


def test_a_file_that_was_not_there_makes_a_mark_void(warehouse: Warehouse) -> None:
    mark(warehouse).write(FACTS)
    path = warehouse.path(SERIES, "A")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"anything")
    assert mark(warehouse).read() == {}


def test_no_mark_is_written_for_an_input_that_changed_meanwhile(warehouse: Warehouse) -> None:
    begun = mark(warehouse)
    path = warehouse.path(SERIES, "A")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"anything")
    begun.write(FACTS)
    assert mark(warehouse).read() == {}
    mark(warehouse).write(FACTS)
    assert mark(warehouse).read() == FACTS


def test_a_removed_or_torn_mark_is_none(warehouse: Warehouse) -> None:
    mark(warehouse).remove()
    mark(warehouse).write(FACTS)
    path = mark_path(warehouse.root, PATIENTS, "A")
    whole = path.read_text()
    for torn in ("", whole[:-1], "[]", "{}", "null"):
        path.write_text(torn)
        assert mark(warehouse).read() == {}
    mark(warehouse).remove()
    assert not path.exists()


def test_other_code_makes_a_mark_void(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark(warehouse).write(FACTS)
    package = tmp_path / "package"
    (package / "store").mkdir(parents=True)
    (package / "store" / "conform.py").write_text("changed = True")
    monkeypatch.setattr(marks, "_PACKAGE", package)
    code_digest.cache_clear()
    try:
        assert mark(warehouse).read() == {}
    finally:
        monkeypatch.undo()
        code_digest.cache_clear()
    assert mark(warehouse).read() == FACTS
