"""Parquet files for Hugging Face, read back by datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.datasets import card, formats
from tcia_assets.datasets.formats import huggingface
from tcia_assets.datasets.formats.common import KeptSamples
from tcia_assets.errors import UsageError
from tcia_assets_tests.datasets.example_dataset import (
    AFFINE,
    KEPT,
    SPLITS,
    ExampleSample,
    build,
    example_info,
    labels_of,
    voxels_of,
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    return datasets


def test_hugging_face_loads_the_folder_by_the_card(
    tmp_path: Path, samples: pa.Table, hub: Any
) -> None:
    root = tmp_path / "dataset"
    samples = build(root)
    chosen = example_info(settings={"formats": ["huggingface"]})
    formats.write("huggingface", root, samples, chosen)
    card.write_card(root, samples, chosen)
    loaded = hub.load_dataset(str(root), cache_dir=str(tmp_path / "cache"))
    assert {split: list(rows["SeriesInstanceUID"]) for split, rows in loaded.items()} == SPLITS
    rows = loaded["train"].cast_column("image", hub.Nifti()).cast_column("label", hub.Nifti())
    for row in rows:
        member = next(m for m in KEPT if m.uid == row["SeriesInstanceUID"])
        assert np.array_equal(np.asanyarray(row["image"].dataobj).T, voxels_of(member))
        assert np.array_equal(np.asanyarray(row["label"].dataobj).T, labels_of(member))
        np.testing.assert_allclose(row["image"].affine, AFFINE, atol=1e-6)
        assert row["fold"] == member.fold
        assert row["label_voxels"]["tumour"] == np.count_nonzero(labels_of(member) == 2)
        assert row["findings"][0]["code"] == "gantry_tilt"
    assert "state" not in rows.column_names


def test_parquet_is_divided_into_shards(tmp_path: Path, samples: pa.Table) -> None:
    huggingface.write(tmp_path, KeptSamples.of(samples), example_info(), max_bytes=1)
    folder = tmp_path / "huggingface" / "data"
    shards = sorted(folder.glob("train-*"))
    assert [path.name for path in shards] == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    uids = [pq.read_table(path)["SeriesInstanceUID"][0].as_py() for path in shards]
    assert uids == SPLITS["train"]


def test_without_a_target_there_are_no_labels(tmp_path: Path) -> None:
    samples = build(tmp_path, labelled=False)
    formats.write("huggingface", tmp_path, samples, example_info(labels={}))
    schema = pq.read_schema(tmp_path / "huggingface" / "data" / "val-00000-of-00001.parquet")
    assert "image" in schema.names
    assert not {"label", "label_voxels"} & set(schema.names)


def test_the_name_of_a_split_has_no_hyphen(tmp_path: Path) -> None:
    samples = build(tmp_path, (ExampleSample(1, "site-a", "A"), ExampleSample(2, "rest", "B")))
    formats.write(
        "huggingface", tmp_path, samples, example_info(folds=0, splits=("rest", "site-a"))
    )
    names = sorted(path.name for path in (tmp_path / "huggingface" / "data").iterdir())
    assert names == ["rest-00000-of-00001.parquet", "site_a-00000-of-00001.parquet"]
    with pytest.raises(UsageError, match="site-a, site_a have the same name"):
        formats.write("huggingface", tmp_path, samples, example_info(splits=("site-a", "site_a")))
