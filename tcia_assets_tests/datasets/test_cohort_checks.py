"""Whether a cohort still fits its declaration and the zips on disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES
from tcia_assets.datasets.cohort import Cohort
from tcia_assets.datasets.cohort_lock import freeze_cohort, load_cohort
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets.errors import BadDeclaration, CohortMoved, LicenseConflict
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.datasets.example_cohorts import EXAMPLE, declared, images
from tcia_assets_tests.datasets.warehouse_edits import (
    refetch,
    replace_zip,
    set_column,
    zip_of,
    zip_without,
)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lung_ct.lock.json"


def test_a_holdout_value_that_no_image_has_is_an_error(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    frozen, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    text = EXAMPLE.read_text()

    def holding_out(value: str) -> Declaration:
        said = f"  holdout: {{part: test, column: Manufacturer, values: [{value}]}}\n  folds: 5\n"
        return parse_declaration(text.replace("  folds: 5\n", said), "lung_ct")

    assert load_cohort(holding_out("SIEMENS"), fetched_warehouse, lock).sha256 == frozen.sha256
    for asked in (query_cohort, lambda how, of: load_cohort(how, of, lock)):
        with pytest.raises(BadDeclaration, match="'Siemens'; did you mean 'SIEMENS'") as caught:
            asked(holding_out("Siemens"), fetched_warehouse)
        assert caught.value.key == "split.holdout.values"
    with pytest.raises(BadDeclaration, match="'None'"):  # a missing value is not the value 'None'
        query_cohort(holding_out("None"), fetched_warehouse)


def test_licences_that_conflict_are_refused_with_the_series(fetched_warehouse: Warehouse) -> None:
    with pytest.raises(LicenseConflict) as caught:
        query_cohort(declared(deny="  deny: [CC BY 3.0]\n"), fetched_warehouse)
    assert len(caught.value.series) == 10
    assert min(caught.value.series) in str(caught.value)
    assert "Creative Commons Attribution 3.0" in str(caught.value)


def test_the_licence_of_one_mask_is_enough_for_a_conflict(
    fetched_warehouse: Warehouse, example_cohort: Cohort
) -> None:
    mask = example_cohort.pairs["target_series_instance_uid"][0].as_py()
    set_column(fetched_warehouse, "LicenseName", "CC BY-NC 4.0", mask)
    with pytest.raises(LicenseConflict) as caught:
        query_cohort(declared(), fetched_warehouse)
    assert caught.value.series == {mask: "CC BY-NC 4.0"}


def test_a_missing_licence_is_not_an_allowed_one(
    fetched_warehouse: Warehouse, example_cohort: Cohort
) -> None:
    allowed = declared(deny="  allow: [CC BY]\n")
    assert query_cohort(allowed, fetched_warehouse).series.equals(example_cohort.series)
    first = images(example_cohort)[0]
    for column in ("LicenseName", "LicenseURI"):
        set_column(fetched_warehouse, column, None, first)
    with pytest.raises(LicenseConflict) as caught:
        query_cohort(allowed, fetched_warehouse)
    assert caught.value.series == {first: "no licence"}
    assert query_cohort(declared(), fetched_warehouse).series.num_rows == 10


def test_a_locked_cohort_needs_the_same_query_and_the_same_zips(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    with pytest.raises(CohortMoved, match="no such lock file"):
        load_cohort(declared(), fetched_warehouse, lock)
    frozen, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    with pytest.raises(CohortMoved, match="has changed since its cohort"):
        load_cohort(declared(where="  where: Modality = 'CT'\n"), fetched_warehouse, lock)
    with pytest.raises(LicenseConflict):
        load_cohort(declared(deny="  deny: [CC BY]\n"), fetched_warehouse, lock)
    first, second, *_ = images(frozen)
    rows = fetched_warehouse.read(IMAGE_ARCHIVES, [SMALL]).to_pylist()
    for row in rows:
        if row["SeriesInstanceUID"] == first:
            row["sha256"] = "0" * 64
    left = [row for row in rows if row["SeriesInstanceUID"] != second]
    fetched_warehouse.write(
        IMAGE_ARCHIVES,
        conform(IMAGE_ARCHIVES, pa.Table.from_pylist(left, schema=IMAGE_ARCHIVES.schema)),
        SMALL,
    )
    with pytest.raises(CohortMoved) as caught:
        load_cohort(declared(), fetched_warehouse, lock)
    assert f"{first} (changed)" in str(caught.value)
    assert f"{second} (missing)" in str(caught.value)
    assert "build with --update to take the revision, or put back the earlier zips" in str(
        caught.value
    )
    assert "can be fetched again (`tcia-assets fetch`), unless" in str(caught.value)


def test_a_series_that_is_fetched_again_is_unchanged(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    frozen, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    text, uid = lock.read_text(), images(frozen)[0]
    before = zip_of(fetched_warehouse, uid).read_bytes()
    refetch(fetched_warehouse, *frozen.series["SeriesInstanceUID"].to_pylist())
    assert zip_of(fetched_warehouse, uid).read_bytes() != before
    again, changes = freeze_cohort(declared(), fetched_warehouse, lock, update=True)
    assert not changes
    assert (again.sha256, lock.read_text()) == (frozen.sha256, text)
    assert query_cohort(declared(), fetched_warehouse).sha256 == frozen.sha256
    assert load_cohort(declared(), fetched_warehouse, lock).sha256 == frozen.sha256


def test_without_hashes_of_objects_the_zip_must_be_the_same(
    fetched_warehouse: Warehouse, example_cohort: Cohort, lock: Path
) -> None:
    uid = images(example_cohort)[0]
    rows = fetched_warehouse.read(IMAGES, [SMALL])
    left = pa.array([each != uid for each in rows["SeriesInstanceUID"].to_pylist()])
    fetched_warehouse.write(IMAGES, rows.filter(left), SMALL)
    frozen, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    row = next(r for r in frozen.series.to_pylist() if r["SeriesInstanceUID"] == uid)
    assert row["content_md5"] is None and row["archive_sha256"]
    replace_zip(
        fetched_warehouse,
        uid,
        zip_without(zip_of(fetched_warehouse, uid), lambda place: place == 0),
    )
    with pytest.raises(CohortMoved, match=f"{uid} .changed."):
        load_cohort(declared(), fetched_warehouse, lock)
    _, changes = freeze_cohort(declared(), fetched_warehouse, lock)
    assert set((changes.changed or {})[uid]) == {"archive_sha256"}
