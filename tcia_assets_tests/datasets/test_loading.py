"""A built dataset is read back as arrays, split by split."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import tcia_assets
from tcia_assets.errors import StorageError, UnknownName, UsageError
from tcia_assets.extras import install_command
from tcia_assets_tests.datasets.example_dataset import (
    AFFINE,
    KEPT,
    LABELS,
    build,
    labels_of,
    voxels_of,
)
from tcia_assets_tests.repository import ROOT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    build(tmp_path)
    return tmp_path


def uids(samples: Any) -> list[str]:
    return [row["SeriesInstanceUID"] for row in samples.rows]


def test_a_table_of_an_earlier_version_is_read_without_its_newest_column(root: Path) -> None:
    table = pq.read_table(root / "samples.parquet")
    pq.write_table(table.drop_columns(["label_readers"]), root / "samples.parquet")
    assert tcia_assets.load_dataset(root)[0].row["label_readers"] is None


def test_a_sample_is_read_back_as_written(root: Path) -> None:
    samples = tcia_assets.load_dataset(root)
    assert len(samples) == len(KEPT)
    assert dict(samples.labels) == LABELS
    for sample, member in zip(samples, KEPT, strict=True):
        assert sample.series_instance_uid == member.uid
        assert sample.voxels.dtype == np.int16
        assert np.array_equal(sample.voxels, voxels_of(member))
        assert sample.labels is not None and np.array_equal(sample.labels, labels_of(member))
        assert np.array_equal(sample.affine, AFFINE)
        assert sample.spacing == pytest.approx((0.8, 0.8, 2.5))
        assert (sample.row["patient"], sample.row["Collection"]) == (
            member.patient,
            member.collection,
        )


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_split_is_loaded_alone(root: Path, part: str) -> None:
    samples = tcia_assets.load_dataset(str(root), part)
    assert uids(samples) == [member.uid for member in KEPT if member.part == part]


@pytest.mark.parametrize("fold", [0, 1])
def test_a_fold_divides_its_split_by_patients(root: Path, fold: int) -> None:
    left = tcia_assets.load_dataset(root, "train", fold=fold)
    held = tcia_assets.load_dataset(root, "train", fold=fold, held_out=True)
    assert uids(held) == [member.uid for member in KEPT if member.fold == fold]
    assert sorted(uids(left) + uids(held)) == uids(tcia_assets.load_dataset(root, "train"))
    patients = [{row["patient"] for row in side.rows} for side in (left, held)]
    assert patients[0].isdisjoint(patients[1])


def test_voxels_are_writeable_and_contiguous_for_torch(root: Path) -> None:
    voxels = tcia_assets.load_dataset(root)[0].voxels
    assert voxels.flags.writeable and voxels.flags.c_contiguous


def test_without_a_target_labels_are_none(tmp_path: Path) -> None:
    build(tmp_path, labelled=False)
    samples = tcia_assets.load_dataset(tmp_path)
    assert samples[0].labels is None
    assert samples.labels == {}


def test_samples_are_a_sequence_that_can_be_pickled(root: Path) -> None:
    samples = pickle.loads(pickle.dumps(tcia_assets.load_dataset(root)))
    assert np.array_equal(samples[-1].voxels, voxels_of(KEPT[-1]))
    assert uids(samples[1:3]) == [member.uid for member in KEPT[1:3]]
    with pytest.raises(IndexError):
        samples[len(KEPT)]


def test_the_folder_of_a_dataset_loads_its_latest_version(tmp_path: Path) -> None:
    build(tmp_path / "abc123")
    (tmp_path / "latest").symlink_to("abc123")
    assert len(tcia_assets.load_dataset(tmp_path)) == len(KEPT)


def test_errors_name_valid_values(root: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'train'"):
        tcia_assets.load_dataset(root, "training")
    with pytest.raises(UsageError, match="has no fold 2; valid: 0, 1"):
        tcia_assets.load_dataset(root, "train", fold=2)
    with pytest.raises(UsageError, match="this split has no folds"):
        tcia_assets.load_dataset(root, "val", fold=0)
    with pytest.raises(UsageError, match="held_out needs a fold"):
        tcia_assets.load_dataset(root, "train", held_out=True)
    with pytest.raises(UsageError, match=r".*images is not the folder of a dataset"):
        tcia_assets.load_dataset(root / "images")


def test_a_damaged_file_is_named(root: Path) -> None:
    image = root / "images" / f"{KEPT[0].uid}.nii.gz"
    image.write_bytes(image.read_bytes()[:-4000])
    (root / "labels" / f"{KEPT[1].uid}.nii.gz").unlink()
    samples = tcia_assets.load_dataset(root)
    with pytest.raises(StorageError, match=rf"{KEPT[0].uid}.nii.gz cannot be read"):
        samples[0]
    with pytest.raises(StorageError, match=rf"labels/{KEPT[1].uid}.nii.gz cannot be read"):
        samples[1]


def test_the_package_needs_no_numpy_until_a_dataset_is_loaded() -> None:
    code = "import sys, tcia_assets; assert not {'numpy', 'nibabel', 'dagster'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("missing", "extra"),
    [("numpy", "datasets"), pytest.param("pydicom", "datasets", marks=pytest.mark.slow)],
)
def test_without_the_extra_an_error_names_it(missing: str, extra: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
import tcia_assets
from tcia_assets.errors import MissingExtra
try:
    tcia_assets.load_dataset
except MissingExtra as error:
    from tcia_assets.extras import install_command
    assert install_command({extra!r}) in str(error), error
else:
    raise SystemExit("it loads")
from tcia_assets.cli import main
main(["dataset", "build", "datasets/lung_ct.yaml"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert install_command(extra) in done.stderr and done.stderr.count("\n") == 1


def test_a_version_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    build(tmp_path)
    path = tmp_path / "samples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["sample", "volume", "decoder"]), path)
    loaded = tcia_assets.load_dataset(tmp_path)
    assert [sample.name for sample in loaded] == [member.uid for member in KEPT]
