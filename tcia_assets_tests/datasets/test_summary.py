"""The numbers of the card are those of the samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets.datasets.summary import NEGATIVE, TITLES, summarize
from tcia_assets_tests.datasets.example_dataset import (
    KEPT,
    ExampleSample,
    build,
    labels_of,
)


@pytest.fixture
def samples(tmp_path: Path) -> pa.Table:
    return build(tmp_path)


def test_the_numbers_are_those_of_the_samples(samples: pa.Table) -> None:
    numbers = summarize(samples, ("train", "val", "test"))
    assert set(numbers) == set(TITLES)
    assert [(r["split"], r["patients"], r["kept"], r["dropped"]) for r in numbers["parts"]] == [
        ("train", 2, 3, 0),
        ("val", 1, 1, 0),
        ("test", 1, 1, 1),
        ("none", 0, 0, 1),
    ]
    total = sum(pc.sum(samples[f"{kind}_bytes"]).as_py() for kind in ("image", "label"))
    assert sum(int(record["bytes"]) for record in numbers["parts"]) == total
    assert [(r["the value"], r["in total"]) for r in numbers["ages"]] == [
        ("0-17", 1),
        ("18-39", 1),
        ("60-79", 2),
        ("not given", 1),
    ]
    voxels = sum(np.count_nonzero(labels_of(member) == 2) for member in KEPT)
    assert {"label": "tumour", "samples with it": 5, "voxels": voxels} in numbers["labels"]
    assert numbers["quality"] == [
        {"code": "gantry_tilt", "policy": "keep", "samples": 7, "kept": 5, "dropped": 2},
        {"code": "missing_slice", "policy": "drop", "samples": 2, "kept": 0, "dropped": 2},
    ]


def test_an_empty_split_is_shown(tmp_path: Path) -> None:
    numbers = summarize(build(tmp_path, (ExampleSample(1, "train", "A", 0),)), ("train", "test"))
    assert [(r["split"], r["kept"]) for r in numbers["parts"]] == [("train", 1), ("test", 0)]


@pytest.mark.parametrize(
    ("age", "group"),
    [
        ("000Y", "0-17"),
        ("017Y", "0-17"),
        ("018Y", "18-39"),
        ("010D", "0-17"),
        ("020W", "0-17"),
        ("300M", "18-39"),
        ("080Y", "80 and more"),
        (None, "not given"),
        ("  ", "not given"),
        ("sixty", "sixty"),
    ],
)
def test_ages_are_grouped_by_years(tmp_path: Path, age: str | None, group: str) -> None:
    numbers = summarize(build(tmp_path, (ExampleSample(1, "train", "A", 0, age=age),)))
    assert [record["the value"] for record in numbers["ages"]] == [group]


def test_samples_whose_masks_are_empty_are_counted_as_negatives(samples: pa.Table) -> None:
    assert not [each for each in summarize(samples)["labels"] if each["label"] == NEGATIVE]
    rows = samples.to_pylist()
    kept = [row for row in rows if row["state"] == "kept"]
    for row in kept[:2]:
        row["label_voxels"] = [(name, 0) for name, _ in row["label_voxels"]]
    edited = samples.from_pylist(rows, schema=samples.schema)
    last = summarize(edited)["labels"][-1]
    assert last == {"label": NEGATIVE, "samples with it": 2, "voxels": 0}
