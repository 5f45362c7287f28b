"""nnU-Net v2 raw: what `nnUNetv2_plan_and_preprocess` begins with.

What belongs here: `nnunet/Dataset###_<name>/`, to be found through `nnUNet_raw=<root>/nnunet`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import (
    TEST,
    TRAINING,
    VALIDATION,
    KeptSamples,
    Row,
    split_role,
    write_json,
)
from tcia_assets.datasets.split import hash_position
from tcia_assets.errors import UsageError
from tcia_assets.store.files import link_or_copy

_ENDING = ".nii.gz"
# Below are the numbers of the Decathlon, and of what people number by hand.
_FIRST, _NUMBERS = 100, 900
# As many as nnU-Net itself makes.
_FOLDS = 5
_MOST_SHOWN = 10
# Of two axes at right angles, the largest cosine.
_RIGHT_ANGLE = 1e-4


def number(name: str) -> int:
    """The number of a dataset, from 100 to 999, by the hash of its name: always the same.

    Nothing in the folder tells it but the folder's name: if it is taken, rename the folder.
    """
    return _FIRST + hash_position("nnunet", name) * _NUMBERS // (1 << 64)


def write(root: Path, kept: KeptSamples, info: DatasetInfo) -> None:
    """Cases, `dataset.json` and `splits_final.json`, to be copied to `nnUNet_preprocessed`.

    A case is called by its SeriesInstanceUID. `imagesTr` has the first part, and that for
    validation unless there are folds (see `common.split_role`); `imagesTs` all others, with
    `labelsTs` where there are labels. `dataset.json` tells under `parts` which case is in which.

    `splits_final.json` has the folds; else one split, of the first part and that for validation;
    else five folds (or as many as there are Patients), since nnU-Net would make its own by case and
    not by Patient. A fold of which either side is empty, is none.

    Raises:
        UsageError: a case to train with has no label, or there is none at all.
    """
    folder = root / "nnunet" / f"Dataset{number(info.name):03}_{info.name}"
    splits = _splits(kept, info)
    trained = _cases([row for row in kept.rows if _is_trained(row, info)])
    _demand_labels(trained.values(), info)
    for row in kept.rows:
        end = "Tr" if row["SeriesInstanceUID"] in trained else "Ts"
        _place(root, folder, row, end)
    write_json(folder / "dataset.json", _about(kept, info, len(trained)))
    if splits:
        write_json(folder / "splits_final.json", splits)


def _is_trained(row: Row, info: DatasetInfo) -> bool:
    use = split_role(row["part"], info)
    return use == TRAINING or (use == VALIDATION and not info.folds)


def _cases(rows: Iterable[Row]) -> dict[str, Row]:
    return {row["SeriesInstanceUID"]: row for row in rows}


def _demand_labels(rows: Iterable[Row], info: DatasetInfo) -> None:
    trained = list(rows)
    if not trained:
        raise UsageError(f"nnunet: no sample is kept in {info.splits[0]}: there is none to train")
    bare = [row["SeriesInstanceUID"] for row in trained if not row["label"]]
    if bare:
        left = len(bare) - _MOST_SHOWN
        more = f" and {left} more" if left > 0 else ""
        raise UsageError(
            f"nnunet needs a label for each image to train with; {len(bare)} have none: "
            f"{', '.join(bare[:_MOST_SHOWN])}{more}; say 'without_target: drop' under qc"
        )


def _place(root: Path, folder: Path, row: Row, end: str) -> None:
    uid = row["SeriesInstanceUID"]
    link_or_copy(root / row["image"], folder / f"images{end}" / f"{uid}_0000{_ENDING}")
    if row["label"]:
        link_or_copy(root / row["label"], folder / f"labels{end}" / f"{uid}{_ENDING}")


def _about(kept: KeptSamples, info: DatasetInfo, trained: int) -> dict[str, Any]:
    numbered = sorted(info.labels.items())
    about = {
        "channel_names": {"0": _channel(kept)},
        "labels": {"background": 0, **{name: label for label, name in numbered}},
        "numTraining": trained,
        "file_ending": _ENDING,
        "name": info.name,
        "description": info.title,
        "reference": info.policy,
        "licence": "see LICENSES.md",
        "parts": {
            part: [row["SeriesInstanceUID"] for row in kept.in_split(part)] for part in info.splits
        },
    }
    if any(_is_sheared(row) for row in kept.rows):
        # SimpleITK, which nnU-Net takes by default, refuses such an affine.
        about["overwrite_image_reader_writer"] = "NibabelIO"
    return about


def _channel(kept: KeptSamples) -> str:
    """The name by which nnU-Net chooses how to normalize: `CT` by the whole dataset's voxels."""
    names = kept.modalities
    return names[0] if len(names) == 1 else " and ".join(names)


def _is_sheared(row: Row) -> bool:
    matrix = np.array(row["affine"]).reshape(4, 4)[:3, :3]
    axes = matrix / np.linalg.norm(matrix, axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _RIGHT_ANGLE)


# --- Splits ---------------------------------------------------------------------------------------


def _splits(kept: KeptSamples, info: DatasetInfo) -> list[dict[str, list[str]]]:
    uses = {part: split_role(part, info) for part in info.splits}
    training = [row for row in kept.rows if uses.get(row["part"], TEST) == TRAINING]
    validation = [row for row in kept.rows if uses.get(row["part"], TEST) == VALIDATION]
    if info.folds:
        declared = _folds(training, {row["patient"]: row["fold"] for row in training})
        if declared:
            return declared
    elif training and validation:
        return [{"train": list(_cases(training)), "val": list(_cases(validation))}]
    return _folds(training, _dealt({row["patient"] for row in training}))


def _dealt(patients: set[str]) -> dict[str, int]:
    """Folds of Patients in the order of their hashes, so that none is empty."""
    ordered = sorted(patients, key=lambda patient: (hash_position("nnunet", patient), patient))
    return {patient: place % _FOLDS for place, patient in enumerate(ordered)}


def _folds(rows: list[Row], fold_of: dict[str, int]) -> list[dict[str, list[str]]]:
    made = []
    for fold in sorted(set(fold_of.values())):
        left = [row for row in rows if fold_of[row["patient"]] != fold]
        held = [row for row in rows if fold_of[row["patient"]] == fold]
        if left and held:
            made.append({"train": list(_cases(left)), "val": list(_cases(held))})
    return made
