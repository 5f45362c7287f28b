"""nnU-Net v2 raw: the input of `nnUNetv2_plan_and_preprocess`.

It is the folder `nnunet/Dataset###_<name>/`, which nnU-Net finds with `nnUNet_raw=<root>/nnunet`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, Role, Row, split_role, write_json
from tcia_assets.datasets.samples import image_files, sample_name
from tcia_assets.datasets.split import hash_position
from tcia_assets.datasets.volume.arrays import is_sheared
from tcia_assets.errors import UsageError
from tcia_assets.store.files import link_or_copy

_ENDING = ".nii.gz"
# Lower numbers belong to the Decathlon, and to datasets that people number by hand.
_FIRST_NUMBER, _NUMBERS = 100, 900
_CT = "CT"
# nnU-Net's own number of folds.
_FOLDS = 5
_MAX_SHOWN = 10

_Split = dict[str, list[str]]


def number(name: str) -> int:
    """Return the number of a dataset, from 100 to 999: a hash of its name.

    Only the folder's name holds it: if another dataset has the number, rename the folder.
    """
    return _FIRST_NUMBER + hash_position("nnunet", name) * _NUMBERS // (1 << 64)


def write(root: Path, kept: KeptSamples, info: DatasetInfo) -> None:
    """Write cases, `dataset.json`, and `splits_final.json` for copying to `nnUNet_preprocessed`.

    A case is named as its sample (see `samples.name_sample`). `imagesTr` holds the first split and,
    without folds, the split for validation (see `common.split_role`); `imagesTs` holds all others,
    with `labelsTs` where there are labels. `parts` in `dataset.json` lists the cases of each split.

    `splits_final.json` holds the folds; without folds, one split into training and validation; if
    there is no split for validation, five folds, or as many as there are Patients. A fold with an
    empty side is left out. Without this file nnU-Net would divide cases, and could put one Patient
    on both sides.

    Raises:
        UsageError: A case for training has no label, or there is no case for training.
    """
    folder = root / "nnunet" / f"Dataset{number(info.name):03}_{info.name}"
    splits = _splits(kept, info)
    training = {sample_name(row): row for row in kept.rows if _is_training(row, info)}
    _check_labels(training.values(), info)
    for row in kept.rows:
        _link(root, folder, row, "Tr" if sample_name(row) in training else "Ts")
    write_json(folder / "dataset.json", _dataset_json(kept, info, len(training)))
    if splits:
        write_json(folder / "splits_final.json", splits)


def _is_training(row: Row, info: DatasetInfo) -> bool:
    role = split_role(row["part"], info)
    return role is Role.TRAINING or (role is Role.VALIDATION and not info.folds)


def _check_labels(training: Iterable[Row], info: DatasetInfo) -> None:
    rows = list(training)
    if not rows:
        problem = f"no sample of {info.splits[0]} is kept, so that there is nothing to train with"
        raise UsageError(f"nnunet: {problem}")
    unlabelled = [sample_name(row) for row in rows if not row["label"]]
    if unlabelled:
        left = len(unlabelled) - _MAX_SHOWN
        more = f" and {left} more" if left > 0 else ""
        raise UsageError(
            f"nnunet needs a label for each image in training; {len(unlabelled)} have none: "
            f"{', '.join(unlabelled[:_MAX_SHOWN])}{more}; set 'without_target: drop' under qc"
        )


def _link(root: Path, folder: Path, row: Row, end: str) -> None:
    uid = sample_name(row)
    for channel, image in enumerate(image_files(row).values()):
        path = folder / f"images{end}" / f"{uid}_{channel:04}{_ENDING}"
        link_or_copy(root / image["image"], path)
    if row["label"]:
        link_or_copy(root / row["label"], folder / f"labels{end}" / f"{uid}{_ENDING}")


def _dataset_json(kept: KeptSamples, info: DatasetInfo, training: int) -> dict[str, Any]:
    content = {
        "channel_names": _channel_names(kept),
        "labels": {"background": 0, **{name: n for n, name in sorted(info.labels.items())}},
        "numTraining": training,
        "file_ending": _ENDING,
        "name": info.name,
        "description": info.title,
        "reference": info.policy,
        "licence": "see LICENSES.md",
        "parts": {split: _uids(kept.in_split(split)) for split in info.splits},
    }
    if any(is_sheared(np.array(row["affine"]).reshape(4, 4)) for row in kept.rows):
        # SimpleITK, nnU-Net's default reader, refuses an affine with a shear.
        content["overwrite_image_reader_writer"] = "NibabelIO"
    return content


def _channel_names(kept: KeptSamples) -> dict[str, str]:
    """Return the name of each channel: nnU-Net normalizes `CT` by the voxels of all cases."""
    names = {}
    for number, (channel, modalities) in enumerate(kept.modalities_of_channels.items()):
        shown = " and ".join(sorted(modalities))
        names[str(number)] = channel if channel and shown != _CT else shown
    return names


# --- splits_final.json ----------------------------------------------------------------------------


def _splits(kept: KeptSamples, info: DatasetInfo) -> list[_Split]:
    training, validation = (
        [row for row in kept.rows if split_role(row["part"], info) is role]
        for role in (Role.TRAINING, Role.VALIDATION)
    )
    if info.folds:
        declared = _folds(training, {row["patient"]: row["fold"] for row in training})
        if declared:
            return declared
    elif training and validation:
        return [{"train": _uids(training), "val": _uids(validation)}]
    return _folds(training, _deal({row["patient"] for row in training}))


def _deal(patients: set[str]) -> dict[str, int]:
    """Deal Patients out to folds in the order of their hashes, so that no fold is empty."""
    ordered = sorted(patients, key=lambda patient: (hash_position("nnunet", patient), patient))
    return {patient: position % _FOLDS for position, patient in enumerate(ordered)}


def _folds(rows: list[Row], fold_of: dict[str, int]) -> list[_Split]:
    folds = []
    for fold in sorted(set(fold_of.values())):
        training = [row for row in rows if fold_of[row["patient"]] != fold]
        validation = [row for row in rows if fold_of[row["patient"]] == fold]
        if training and validation:
            folds.append({"train": _uids(training), "val": _uids(validation)})
    return folds


def _uids(rows: Iterable[Row]) -> list[str]:
    return [sample_name(row) for row in rows]
