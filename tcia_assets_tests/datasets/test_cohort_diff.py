"""The difference between two cohorts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tcia_assets.datasets.cohort_diff import CohortDiff
from tcia_assets.datasets.cohort_lock import freeze_cohort
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_cohorts import declared, images
from tcia_assets_tests.datasets.warehouse_edits import set_column


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lung_ct.lock.json"


def test_a_later_query_lists_changes_and_changes_nothing(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    before, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    kept = lock.read_bytes()
    first, second, *_ = images(before)
    set_column(fetched_warehouse, "PatientAge", "099Y", first)
    set_column(fetched_warehouse, "withdrawn_at", datetime.now(UTC), second)
    same, changes = freeze_cohort(declared(), fetched_warehouse, lock)
    assert lock.read_bytes() == kept
    assert same.text == before.text
    assert second in changes.removed
    assert len(changes.removed) == 2  # with its mask
    assert changes.changed is not None and changes.changed[first]["PatientAge"][1] == "099Y"
    assert f"- Series {second}" in str(changes)
    assert f"~ Series {first}: PatientAge" in str(changes)
    assert len(changes.pairs_removed) == 1

    now, _ = freeze_cohort(declared(), fetched_warehouse, lock, update=True)
    assert lock.read_text() == now.text != before.text
    assert freeze_cohort(declared(), fetched_warehouse, lock)[1] == CohortDiff(changed={})
