"""Leaks that the cohort shows are reported before any volume is made."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tcia_assets.catalog import IMAGES
from tcia_assets.datasets.build import build, make_samples
from tcia_assets.datasets.cohort_leaks import find_cohort_leaks
from tcia_assets.datasets.sample_table import build_table
from tcia_assets.errors import DatasetRefused
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.datasets.conftest import STORE
from tcia_assets_tests.datasets.example_builds import (
    NO_TARGET,
    built,
    declared,
    frozen,
    images,
    qc,
    rows,
)
from tcia_assets_tests.datasets.warehouse_edits import set_column


def refused(warehouse: Warehouse) -> DatasetRefused:
    """Return why the dataset is refused, after a check that no volume was made."""
    declaration = declared(NO_TARGET)
    cohort = frozen(declaration, warehouse, update=True)
    for make in (build, make_samples):
        with pytest.raises(DatasetRefused, match="in several splits") as caught:
            make(declaration, cohort, warehouse)
    assert not list((warehouse.root / STORE).iterdir())
    return caught.value


def test_a_study_in_two_splits_names_its_patients_and_series(fetched_warehouse: Warehouse) -> None:
    uids = images(fetched_warehouse)
    set_column(fetched_warehouse, "StudyInstanceUID", "1.2.77", *uids)
    (reason,) = refused(fetched_warehouse).reasons
    assert reason.startswith("StudyInstanceUID '1.2.77': 5 samples in test, train, val: test has")
    assert all(f"Series {uid}" in reason for uid in uids)
    assert reason.count("Patient LCTSC-") == 5


def test_a_frame_of_reference_in_two_splits_is_seen_in_the_headers(
    fetched_warehouse: Warehouse,
) -> None:
    table = fetched_warehouse.read(IMAGES, [SMALL])
    place = table.schema.get_field_index("FrameOfReferenceUID")
    same = pa.array(["1.2.88"] * table.num_rows, table.schema.field(place).type)
    table = table.set_column(place, table.schema.field(place), same)
    fetched_warehouse.write(IMAGES, conform(IMAGES, table), SMALL)
    reasons = refused(fetched_warehouse).reasons
    assert [reason.split(" ")[0] for reason in reasons] == ["FrameOfReferenceUID"]


def test_what_is_dropped_leaks_nothing(stocked_warehouse: Warehouse) -> None:
    uids = images(stocked_warehouse)
    set_column(stocked_warehouse, "StudyInstanceUID", "1.2.77", *uids)
    few = "  dtype: int16\n", "  dtype: int16\n  least_slices: 1000\n"
    declaration = declared(NO_TARGET, few, qc("too_few_slices", "keep"))
    with pytest.raises(DatasetRefused, match="in several splits"):
        built(declaration, stocked_warehouse, update=True)
    only = "collections: [LCTSC]\n  modalities: [CT]", f"series: [{uids[0]}]"
    kept = built(declared(NO_TARGET, only), stocked_warehouse, update=True)
    assert rows(kept)[uids[0]]["state"] == "kept"


def test_an_image_without_a_class_leaks_nothing(fetched_warehouse: Warehouse) -> None:
    uids = images(fetched_warehouse)
    set_column(fetched_warehouse, "StudyInstanceUID", "1.2.77", *uids)
    section = (
        "target: none\nclasses: {column: c, sql: \"SELECT '%s' AS SeriesInstanceUID, 'x' AS c\"}"
    )
    declaration = declared((NO_TARGET[0], section % uids[0]))
    cohort = frozen(declaration, fetched_warehouse, update=True)
    samples = build_table(declaration, cohort, {}).to_pylist()
    assert find_cohort_leaks(declaration, cohort, fetched_warehouse, samples, uids) == []
