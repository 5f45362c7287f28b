"""nnU-Net v2 raw, by nnU-Net's own verifier and by its rules."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pytest

from tcia_assets.datasets import formats
from tcia_assets.datasets.formats import nnunet
from tcia_assets.errors import UsageError
from tcia_assets_tests.datasets.example_dataset import (
    AFFINE,
    KEPT,
    MEMBERS,
    SPLITS,
    TITLE,
    ExampleSample,
    build,
    example_info,
    from_torch,
)
from tcia_assets_tests.datasets.formats.written import written

# For readers that need torch, which the tests' environment lacks: see docs/datasets.md.
heavy = pytest.mark.filterwarnings("ignore")


def nnunet_folder(root: Path) -> Path:
    (folder,) = (root / "nnunet").iterdir()
    return folder


def cases(folder: Path, ending: str) -> list[str]:
    return sorted(path.name.removesuffix(ending) for path in folder.iterdir())


def test_the_rules_of_the_verifier_hold(tmp_path: Path, samples: pa.Table) -> None:
    # nnunetv2 itself needs torch: these are the rules of its `verify_dataset_integrity`.
    formats.write("nnunet", tmp_path, samples, example_info())
    folder = nnunet_folder(tmp_path)
    assert folder.name == f"Dataset{nnunet.number('lung_ct')}_lung_ct"
    about = written(folder, "dataset.json")
    assert about["channel_names"] == {"0": "CT"}
    assert about["labels"] == {"background": 0, "lung": 1, "tumour": 2}
    assert about["file_ending"] == ".nii.gz"
    assert about["description"] == TITLE
    assert about["parts"] == SPLITS
    images = cases(folder / "imagesTr", "_0000.nii.gz")
    assert images == cases(folder / "labelsTr", ".nii.gz") == SPLITS["train"]
    assert about["numTraining"] == len(images)
    for member in KEPT:
        end = "Tr" if member.part == "train" else "Ts"
        image = nibabel.load(folder / f"images{end}" / f"{member.uid}_0000.nii.gz")
        label = nibabel.load(folder / f"labels{end}" / f"{member.uid}.nii.gz")
        assert image.shape == label.shape
        np.testing.assert_allclose(image.affine, label.affine)
        assert set(np.unique(np.asanyarray(label.dataobj))) == {0, 1, 2}


TILTED = AFFINE + 0.4 * np.outer([0, 1, 0, 0], [0, 0, 1, 0])


@heavy
@pytest.mark.parametrize("affine", [AFFINE, TILTED], ids=["straight", "tilted"])
def test_the_verifier_of_nnunet_accepts_the_folder(tmp_path: Path, affine: Any) -> None:
    from_torch("nnunetv2")
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    formats.write("nnunet", tmp_path, build(tmp_path, affine=affine), example_info())
    verify_dataset_integrity(str(nnunet_folder(tmp_path)), 1)
    (nnunet_folder(tmp_path) / "labelsTr" / f"{SPLITS['train'][0]}.nii.gz").unlink()
    with pytest.raises(AssertionError, match="not all training cases have a label"):
        verify_dataset_integrity(str(nnunet_folder(tmp_path)), 1)


def test_folds_of_nnunet_are_those_of_the_split(tmp_path: Path, samples: pa.Table) -> None:
    formats.write("nnunet", tmp_path, samples, example_info())
    splits = written(nnunet_folder(tmp_path), "splits_final.json")
    fold_of = {member.uid: member.fold for member in KEPT if member.part == "train"}
    assert splits == [
        {
            "train": [uid for uid, fold in fold_of.items() if fold != held],
            "val": [uid for uid, fold in fold_of.items() if fold == held],
        }
        for held in (0, 1)
    ]


def test_without_folds_nnunet_validates_on_the_split_for_validation(tmp_path: Path) -> None:
    formats.write("nnunet", tmp_path, build(tmp_path), example_info(folds=0))
    folder = nnunet_folder(tmp_path)
    both = sorted(SPLITS["train"] + SPLITS["val"])
    assert cases(folder / "imagesTr", "_0000.nii.gz") == both
    assert cases(folder / "imagesTs", "_0000.nii.gz") == SPLITS["test"]
    assert written(folder, "dataset.json")["numTraining"] == len(both)
    split = {"train": SPLITS["train"], "val": SPLITS["val"]}
    assert written(folder, "splits_final.json") == [split]


@pytest.mark.parametrize("folds", [0, 2], ids=["no folds", "all in one fold"])
def test_no_patient_is_on_both_sides_of_a_fold(tmp_path: Path, folds: int) -> None:
    fold = 1 if folds else None
    members = tuple(
        ExampleSample(10 * n + m, "train", f"P{n}", fold) for n in range(7) for m in range(2)
    )
    samples = build(tmp_path, members)
    formats.write("nnunet", tmp_path, samples, example_info(folds=folds, splits=("train", "test")))
    splits = written(nnunet_folder(tmp_path), "splits_final.json")
    patient = {member.uid: member.patient for member in members}
    assert len(splits) == 5
    held = [patient[uid] for split in splits for uid in split["val"]]
    assert sorted(held) == sorted(member.patient for member in members)
    for split in splits:
        assert not {patient[u] for u in split["train"]} & {patient[u] for u in split["val"]}
        assert len(split["train"]) + len(split["val"]) == len(members)


def test_nnunet_reads_a_gantry_tilt_by_nibabel(tmp_path: Path) -> None:
    formats.write("nnunet", tmp_path, build(tmp_path, affine=TILTED), example_info())
    about = written(nnunet_folder(tmp_path), "dataset.json")
    assert about["overwrite_image_reader_writer"] == "NibabelIO"


def test_several_modalities_are_not_normalized_as_ct(tmp_path: Path) -> None:
    members = (ExampleSample(1, "train", "A", 0), ExampleSample(2, "train", "B", 1, modality="MR"))
    formats.write("nnunet", tmp_path, build(tmp_path, members), example_info())
    about = written(nnunet_folder(tmp_path), "dataset.json")
    assert about["channel_names"] == {"0": "CT and MR"}


def test_nnunet_needs_labels_to_train_with(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"3 have none: {SPLITS['train'][0]}, .*without_target"):
        formats.write("nnunet", tmp_path, build(tmp_path, labelled=False), example_info())
    tests_only = tuple(member for member in MEMBERS if member.part != "train")
    with pytest.raises(UsageError, match="no sample of train is kept"):
        formats.write("nnunet", tmp_path, build(tmp_path, tests_only), example_info())


def test_files_are_linked_or_copied(
    tmp_path: Path, samples: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = SPLITS["train"][0]
    source = tmp_path / "images" / f"{uid}.nii.gz"
    formats.write("nnunet", tmp_path, samples, example_info())
    target = nnunet_folder(tmp_path) / "imagesTr" / f"{uid}_0000.nii.gz"
    assert target.samefile(source)

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links on this disk")

    monkeypatch.setattr(os, "link", refuse)
    formats.write("nnunet", tmp_path, samples, example_info())
    assert not target.samefile(source)
    assert target.read_bytes() == source.read_bytes()
