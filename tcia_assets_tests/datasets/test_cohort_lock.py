"""The lock file: read back as written, changed only on request, never edited by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tcia_assets.datasets.cohort import Cohort, hash_cohort
from tcia_assets.datasets.cohort_lock import freeze_cohort, load_cohort
from tcia_assets.datasets.declaration import parse_declaration
from tcia_assets.errors import CohortMoved
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_cohorts import EXAMPLE, declared
from tcia_assets_tests.datasets.warehouse_edits import (
    set_column,
)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lung_ct.lock.json"


def test_a_lock_file_is_read_back_as_written(fetched_warehouse: Warehouse, lock: Path) -> None:
    asked, changes = freeze_cohort(declared(), fetched_warehouse, lock)
    assert not changes
    again = load_cohort(declared(), fetched_warehouse, lock)
    assert again.text == asked.text == lock.read_text()
    assert again.series.equals(asked.series) and again.pairs.equals(asked.pairs)


def test_a_change_outside_the_cohort_leaves_the_lock_file_alone(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    text = EXAMPLE.read_text().replace(
        "  modalities: [CT]\n", "  modalities: [CT]\n  where: PatientID NOT LIKE '%nobody%'\n"
    )
    text = (
        text.replace("target:", "target: none\nx:").split("\nx:")[0]
        + text[text.index("\nsplit:") :]
    )
    declaration = parse_declaration(text, "lung_ct")
    freeze_cohort(declaration, fetched_warehouse, lock)
    kept = lock.read_bytes()
    masks = fetched_warehouse.query(
        "SELECT SeriesInstanceUID AS uid FROM series WHERE Modality = 'RTSTRUCT'"
    )
    set_column(fetched_warehouse, "fingerprint", "another", masks["uid"][0].as_py())
    _, changes = freeze_cohort(declaration, fetched_warehouse, lock, update=True)
    assert not changes
    assert lock.read_bytes() == kept


def test_the_same_objects_as_another_source_describes_them_are_no_change(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    freeze_cohort(declared(), fetched_warehouse, lock)
    row = fetched_warehouse.query(
        "SELECT SeriesInstanceUID AS uid, DataDescriptionURI AS doi FROM series "
        "WHERE Modality = 'CT'"
    ).to_pylist()[0]
    set_column(fetched_warehouse, "fingerprint", "another", row["uid"])
    set_column(fetched_warehouse, "DataDescriptionURI", row["doi"].lower(), row["uid"])
    _, changes = freeze_cohort(declared(), fetched_warehouse, lock)

    assert not changes


def test_a_lock_file_of_an_earlier_version_has_no_day_of_release(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    frozen, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    assert frozen.released and frozen.released[:2] == "20"
    content = json.loads(lock.read_text())
    del content["released"], content["sha256"]
    lock.write_text(json.dumps({**content, "sha256": hash_cohort(content)}))
    before, changes = freeze_cohort(declared(), fetched_warehouse, lock)
    assert before.released is None and not changes


def test_an_edited_lock_file_is_refused(
    fetched_warehouse: Warehouse, example_cohort: Cohort, lock: Path
) -> None:
    content = json.loads(example_cohort.text)
    del content["series"][0]
    for spoiled in (
        json.dumps(content),
        "{}",
        "[]",
        "no JSON",
        json.dumps(content | {"format": 2}),
    ):
        lock.write_text(spoiled)
        with pytest.raises(CohortMoved, match=r"edited|not a lock file"):
            load_cohort(declared(), fetched_warehouse, lock)
    other = parse_declaration(EXAMPLE.read_text(), "other")
    lock.write_text(example_cohort.text)
    with pytest.raises(CohortMoved, match="belongs to the dataset 'lung_ct'"):
        freeze_cohort(other, fetched_warehouse, lock)
