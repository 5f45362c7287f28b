"""A dataset whose target is a class: from a clinical table to what training code reads."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets import load_dataset
from tcia_assets.datasets import cohort_lock
from tcia_assets.datasets.build import build
from tcia_assets.datasets.cohort_lock import cohort_lock_path
from tcia_assets.errors import CohortMoved
from tcia_assets.store.clinical import write_clinical
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import NO_TARGET, built, declared, frozen
from tcia_assets_tests.datasets.formats.test_webdataset import left_open, read_shards

CLASSES = """\
target: none

classes:
  table: clinical_lctsc
  column: stage
  names: {early: "[12].?", late: "[34].?"}
"""
DECLARED = (
    (NO_TARGET[0], CLASSES),
    ('salt: "2001"', 'salt: "2001"\n  stratify: [class_name]'),
    ("fractions: {train: 0.6, val: 0.2, test: 0.2}", "fractions: {train: 1/2, test: 1/2}"),
)
FORMATS = ("formats: [nifti]", "formats: [nifti, monai, webdataset, huggingface, croissant]")
STAGES = ("1", "1b", "2", "3", "unknown")


def _with_stages(warehouse: Warehouse, *stages: str) -> list[str]:
    """Store a clinical table with a stage for each Patient, and one more Patient."""
    found = warehouse.query("SELECT DISTINCT PatientID AS p FROM series ORDER BY p")
    patients = found["p"].to_pylist()
    rows = {
        "Collection": ["LCTSC"] * 6,
        "PatientID": [*patients, "of no image"],
        "stage": [*stages, "4"],
    }
    write_clinical(warehouse.root, "lctsc", pa.table(rows))
    return patients


@left_open
def test_each_format_has_the_class_of_each_sample(stocked_warehouse: Warehouse) -> None:
    patients = _with_stages(stocked_warehouse, *STAGES)
    result = built(declared(*DECLARED, FORMATS), stocked_warehouse)

    expected = dict(zip(patients, ("early", "early", "early", "late"), strict=False))
    samples = load_dataset(result.folder)
    assert {s.row["PatientID"]: s.class_name for s in samples} == expected
    assert samples.classes == {0: "early", 1: "late"}
    assert {s.class_index for s in samples if s.class_name == "late"} == {1}
    dropped = result.samples.filter(pa.compute.equal(result.samples["state"], "dropped"))
    assert dropped["reasons"].to_pylist() == [["without_class"]]
    assert "unknown" in dropped["findings"].to_pylist()[0][-1]["message"]

    listed = json.loads((result.folder / "monai/datalist.json").read_text())
    labels = {e["patient"]: e["label"] for e in listed["training"] + listed["test"]}
    assert labels == {patient: int(name == "late") for patient, name in expected.items()}
    assert listed["classes"] == {"0": "early", "1": "late"}
    shards = [
        s for part in ("train", "test") for s in read_shards(result.folder / "webdataset", part)
    ]
    assert {json.loads(s["json"])["PatientID"]: int(s["cls"]) for s in shards} == labels
    files = sorted((result.folder / "huggingface/data").glob("*.parquet"))
    rows = pa.concat_tables(map(pq.read_table, files)).select(["PatientID", "class_index"])
    assert {row["PatientID"]: row["class_index"] for row in rows.to_pylist()} == labels
    card = (result.folder / "README.md").read_text()
    assert "`early` and `late`, numbered from 0" in card and "6 values" in card
    assert "| Classes | train | test | in total |" in card
    assert "image-classification" in card


def test_classes_are_frozen_with_the_cohort(stocked_warehouse: Warehouse) -> None:
    _with_stages(stocked_warehouse, *STAGES)
    declaration = declared(*DECLARED)
    first = built(declaration, stocked_warehouse)
    _with_stages(stocked_warehouse, "3", *STAGES[1:])
    lock = cohort_lock_path(stocked_warehouse, "lung_ct")
    again = build(
        declaration,
        cohort_lock.load_cohort(declaration, stocked_warehouse, lock),
        stocked_warehouse,
    )
    assert again.version.version == first.version.version
    _, changes = cohort_lock.freeze_cohort(declaration, stocked_warehouse, lock)
    assert [*changes.changed.values()] == [{"class_value": ("1", "3")}]
    updated = frozen(declaration, stocked_warehouse, update=True)
    assert updated.sha256 != first.version.content["cohort"]["sha256"]
    with pytest.raises(CohortMoved, match="has changed since"):
        build(declared(NO_TARGET), updated, stocked_warehouse)


@pytest.mark.slow
def test_splits_are_even_by_class(stocked_warehouse: Warehouse) -> None:
    _with_stages(stocked_warehouse, "1", "1", "3", "3", "2")
    samples = built(declared(*DECLARED), stocked_warehouse).samples.to_pylist()
    late = sorted(row["part"] for row in samples if row["class_name"] == "late")
    assert late == ["test", "train"]


@pytest.mark.slow
def test_labels_and_classes_can_stand_beside_each_other(stocked_warehouse: Warehouse) -> None:
    _with_stages(stocked_warehouse, *STAGES)
    section = CLASSES.removeprefix("target: none\n")
    both = declared(("\nvolume:", f"{section}\nvolume:"))
    result = built(both, stocked_warehouse)
    [first, *_] = load_dataset(result.folder)
    assert first.labels is not None and first.class_name == "early"
