"""A small synthetic dataset, laid out as a build leaves it, for tests of formats, card and loader.

`MEMBERS` are its samples; two of them are dropped. The title is full of characters that are special
in Markdown, YAML, JSON and LaTeX.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.datasets.cohort import SERIES
from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.samples import SAMPLES
from tcia_assets.datasets.volume.arrays import Labels, Volume
from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.datasets.volume.regrid import axis_codes, reorient

TITLE = 'Lungs: "100 %" of \\emph{them} | #1 <b>& [more](x)</b>\n- µ'
LABELS = {1: "lung", 2: "tumour"}
# Axes that rise to the left, to the back and upwards, as a CT has them.
AFFINE = np.array([[-0.8, 0, 0, 20.0], [0, -0.8, 0, 30.0], [0, 0, 2.5, -40.0], [0, 0, 0, 1.0]])
MASK = "1.9.9"


@dataclass(frozen=True)
class ExampleSample:
    number: int
    part: str | None
    patient: str | None
    fold: int | None = None
    is_kept: bool = True
    collection: str = "LCTSC"
    license_name: str | None = "Creative Commons Attribution 3.0 Unported License"
    license_uri: str | None = "https://creativecommons.org/licenses/by/3.0/"
    doi: str | None = "https://doi.org/10.7937/K9/TCIA.2017.3r3fvz08"
    maker: str | None = "SIEMENS"
    sex: str | None = "F"
    age: str | None = "061Y"
    modality: str = "CT"

    @property
    def uid(self) -> str:
        return f"1.3.6.1.4.1.14519.5.2.1.{self.number}"


NON_COMMERCIAL: dict[str, Any] = {
    "license_name": "Creative Commons Attribution-NonCommercial 3.0 Unported License",
    "license_uri": "https://creativecommons.org/licenses/by-nc/3.0/",
    "doi": "https://doi.org/10.7937/K9/TCIA.2015.PF0M9REI",
    "collection": "NSCLC Radiomics | x",
}
MEMBERS = (
    ExampleSample(7, "train", "A", 0),
    ExampleSample(12, "train", "A", 0, maker="GE | MEDICAL", age="009M"),
    ExampleSample(3, "train", "B", 1, sex=None, age=None, maker=None),
    ExampleSample(20, "val", "C", age="038Y", sex="M", **NON_COMMERCIAL),
    ExampleSample(
        5, "test", "D", license_name=None, license_uri=None, doi=None, collection="Untold"
    ),
    ExampleSample(9, "test", "E", is_kept=False),
    ExampleSample(99, None, None, is_kept=False),  # listed by UID, and not in the warehouse
)
KEPT = tuple(sorted((m for m in MEMBERS if m.is_kept), key=lambda member: member.uid))
SPLITS = {
    split: [member.uid for member in KEPT if member.part == split]
    for split in ("train", "val", "test")
}
"""The UIDs of the kept samples of each split, sorted."""


def voxels_of(member: ExampleSample) -> Any:
    """A body in air with two lungs; the patient's right one is larger."""
    z, y, x = np.mgrid[0:8, 0:40, 0:48]
    grain = np.random.default_rng(member.number).integers(-20, 20, z.shape)
    values = np.full(z.shape, -1000)
    values[((x - 24) / 22) ** 2 + ((y - 20) / 16) ** 2 < 1] = 40
    values[_lungs(x, y)] = -800
    return (values + grain).astype(np.int16)


def labels_of(member: ExampleSample) -> Any:
    # The tumour is in the front of the right lung.
    z, y, x = np.mgrid[0:8, 0:40, 0:48]
    labels = np.zeros(z.shape, np.uint8)
    labels[_lungs(x, y)] = 1
    labels[((x - 14) / 3) ** 2 + ((y - 13) / 3) ** 2 + ((z - 4) / 2) ** 2 < 1] = 2
    return labels


def _lungs(x: Any, y: Any) -> Any:
    # x rises to the patient's left: the right lung is at low x.
    right = ((x - 14) / 8) ** 2 + ((y - 19) / 10) ** 2 < 1
    left = ((x - 34) / 6) ** 2 + ((y - 19) / 9) ** 2 < 1
    return right | left


def example_info(*, folds: int = 2, **others: Any) -> DatasetInfo:
    settings = {"formats": ["nifti"], "split": {}, "volume": {}, "target": {}}
    chosen: dict[str, Any] = {
        "name": "lung_ct",
        "title": TITLE,
        "settings": settings,
        "labels": LABELS,
        "splits": ("train", "val", "test"),
        "folds": folds,
        "cohort_sha256": "ab" * 32,
        "made_with": {"tcia_assets": "0.1.0", "numpy": "2.4.6"},
        "masks": masks(),
    }
    return DatasetInfo(**(chosen | others))


def masks() -> pa.Table:
    drawn = {
        "SeriesInstanceUID": MASK,
        "role": "target",
        "state": "fetched",
        "Collection": "Drawn by Others",
        "LicenseName": "CC BY 4.0",
        "LicenseURI": "https://creativecommons.org/licenses/by/4.0/",
        "DataDescriptionURI": "https://doi.org/10.7937/drawn",
    }
    return pa.Table.from_pylist([drawn], SERIES)


def derived_masks(**columns: Any) -> pa.Table:
    """The masks, with other values in these columns."""
    rows = [row | columns for row in masks().to_pylist()]
    return pa.Table.from_pylist(rows, SERIES)


def build(
    root: Path,
    members: tuple[ExampleSample, ...] = MEMBERS,
    *,
    labelled: bool = True,
    affine: Any = AFFINE,
    orientation: str = "LPS",
) -> pa.Table:
    """Write the dataset, with axes that rise to these ends, and return its table of samples."""
    for folder in ("images", "labels") if labelled else ("images",):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows = [_row(root, member, affine, orientation, labelled=labelled) for member in members]
    rows.sort(key=lambda row: row["SeriesInstanceUID"])
    samples = pa.Table.from_pylist(rows, SAMPLES)
    pq.write_table(samples, root / "samples.parquet")
    return samples


def _row(
    root: Path, member: ExampleSample, affine: Any, orientation: str, *, labelled: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "SeriesInstanceUID": member.uid,
        "sample": member.uid,
        "state": "kept" if member.is_kept else "dropped",
        "reasons": [] if member.is_kept else ["missing_slice"],
        "findings": _findings(member),
        "patient": member.patient,
        "part": member.part,
        "fold": member.fold,
        "PatientID": member.patient,
        "StudyInstanceUID": f"1.2.{member.patient}",
        "Collection": member.collection,
        "Modality": member.modality,
        "Manufacturer": member.maker,
        "PatientSex": member.sex,
        "PatientAge": member.age,
        "LicenseName": member.license_name,
        "LicenseURI": member.license_uri,
        "DataDescriptionURI": member.doi,
        "ImageCount": 8,
        "target_series_instance_uids": [MASK] if labelled else [],
    }
    return (
        row | _files(root, member, affine, orientation, labelled=labelled)
        if member.is_kept
        else row
    )


def _findings(member: ExampleSample) -> list[dict[str, Any]]:
    told = {"sop_instance_uids": ["1.2.3"], "message": "a step | of 5 mm"}
    tilted = {"code": "gantry_tilt", "policy": "keep", "numbers": {"degrees": 3.5}, **told}
    missing = {"code": "missing_slice", "policy": "drop", "numbers": {"gaps": 1.0}, **told}
    return [tilted] if member.is_kept else [tilted, missing]


def _files(
    root: Path, member: ExampleSample, affine: Any, orientation: str, *, labelled: bool
) -> dict[str, Any]:
    voxels = voxels_of(member)
    laid = Volume(voxels, affine, member.uid, "1.3", member.modality, "HU")
    volume = reorient(laid, orientation)
    made: dict[str, Any] = {
        "shape": list(volume.voxels.T.shape),
        "spacing": list(volume.spacing),
        "affine": volume.affine.ravel().tolist(),
        "axes": axis_codes(volume.affine),
        "dtype": "int16",
        "units": "HU",
        "least": float(voxels.min()),
        "greatest": float(voxels.max()),
        "pixel_sha256": hashlib.sha256(voxels.tobytes()).hexdigest(),
    }
    made |= _written(root, "image", f"images/{member.uid}.nii.gz", volume)
    if labelled:
        drawn = Labels(labels_of(member), affine, LABELS).on_grid(labels_of(member), affine)
        labels = reorient(drawn, orientation)
        made |= _written(root, "label", f"labels/{member.uid}.nii.gz", labels)
        counts = {LABELS[label]: count for label, count in labels.counts.items()}
        made["label_voxels"] = counts
    return made


def _written(root: Path, kind: str, path: str, image: Volume | Labels) -> dict[str, Any]:
    size = write_nifti(root / path, image)
    digest = hashlib.sha256((root / path).read_bytes()).hexdigest()
    return {kind: path, f"{kind}_bytes": size, f"{kind}_sha256": digest}


def from_torch(name: str) -> None:
    """Skip the test if a reader that needs torch is missing; `make torch-readers` installs it.

    There the test must not be skipped.
    """
    if os.environ.get("TORCH_READERS"):
        importlib.import_module(name)
    else:
        pytest.importorskip(name, reason="it needs torch: make torch-readers")
