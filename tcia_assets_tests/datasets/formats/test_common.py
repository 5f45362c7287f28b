"""What the formats share: roles of splits, batches, metadata of a row."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from tcia_assets.datasets.formats.common import KeptSamples, batches, row_metadata, split_role
from tcia_assets_tests.datasets.example_dataset import KEPT, example_info


@pytest.mark.parametrize(
    ("split", "role"),
    [
        ("val", "training"),
        ("validation", "validation"),
        ("Dev", "validation"),
        ("test", "test"),
        ("external", "test"),
    ],
)
def test_the_first_split_is_for_training_and_names_decide_the_others(split: str, role: str) -> None:
    info = example_info(splits=("val", "validation", "Dev", "test", "external"))
    assert split_role(split, info) == role


def test_batches_keep_the_order_and_the_limit() -> None:
    rows = [{"image_bytes": size, "label_bytes": None} for size in (4, 5, 20, 1, 1)]
    sizes = [[row["image_bytes"] for row in batch] for batch in batches(rows, 10)]
    assert sizes == [[4, 5], [20], [1, 1]]
    assert list(batches([], 10)) == []


def test_metadata_is_json_without_nulls_and_files(samples: pa.Table) -> None:
    kept = KeptSamples.of(samples)
    assert [row["SeriesInstanceUID"] for row in kept.rows] == [member.uid for member in KEPT]
    for row in kept.rows:
        metadata = json.loads(json.dumps(row_metadata(row)))
        assert None not in metadata.values()
        assert not {"state", "reasons", "image", "label"} & metadata.keys()
        assert metadata["label_voxels"].keys() == {"lung", "tumour"}
        assert metadata["findings"][0]["numbers"] == {"degrees": 3.5}
