"""A dataset of two-dimensional images: from a folder of DICOM to what training code reads."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tcia_assets import load_dataset
from tcia_assets.datasets import cohort_lock
from tcia_assets.datasets.build import BuildResult, build
from tcia_assets.datasets.cohort_lock import cohort_lock_path
from tcia_assets.datasets.declaration import parse_declaration
from tcia_assets.datasets.pack import Publication, pack
from tcia_assets.images.headers import image_rows
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import contents
from tcia_assets_tests.datasets.formats.test_webdataset import left_open, read_shards
from tcia_assets_tests.datasets.frame.objects import frame_object
from tcia_assets_tests.dicom_folder import write_series
from tcia_assets_tests.metadata.test_imports import NAME, import_once

PATIENTS = 6
DECLARED = """\
title: Breasts
cohort: {collections: [Mine]}
frames: {}
classes: {csv: findings.csv, column: finding}
split: {salt: "2", fractions: {train: 0.5, test: 0.5}, stratify: [class_name]}
formats: [webdataset, huggingface, monai, croissant, imagefolder]
"""


@pytest.fixture(scope="module")
def breasts_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with mammograms, radiographs and an inverted cine of six Patients."""
    root, folder = tmp_path_factory.mktemp("breasts"), tmp_path_factory.mktemp("dicom")
    for number in range(PATIENTS):
        shared: dict[str, Any] = {"PatientID": f"P{number}", "StudyInstanceUID": f"1.2.{number}"}
        view = {"SeriesDescription": "RCC" if number % 2 else "LMLO"}
        write_series(folder, f"1.2.{number}.1", 2, Modality="MG", **shared, **view)
        write_series(folder, f"1.2.{number}.2", 1, Modality="DX", **shared)
    cine = np.arange(5 * 20 * 30, dtype=np.uint16).reshape(5, 20, 30)
    made = frame_object(
        cine,
        Modality="XA",
        PatientID="P0",
        StudyInstanceUID="1.2.0",
        SeriesInstanceUID="1.2.0.3",
        PhotometricInterpretation="MONOCHROME1",
        BurnedInAnnotation="YES",
    )
    made.save_as(folder / "cine.dcm", enforce_file_format=True)
    warehouse = Warehouse(root)
    import_once(folder, warehouse)
    image_rows.index_images(NAME, warehouse)
    lines = [f"P{n},{'benign' if n % 2 else 'malignant'}" for n in range(PATIENTS)]
    (root / "findings.csv").write_text("\n".join(["PatientID,finding", *lines, ""]))
    return root


def with_monai_alone(frames: str) -> str:
    """Return the declaration with other settings of frames, in one format."""
    lines = DECLARED.replace("frames: {}", f"frames: {{{frames}}}").splitlines(keepends=True)
    return "".join(lines[:-1]) + "formats: [monai]\n"


def built(root: Path, text: str = DECLARED) -> BuildResult:
    warehouse = Warehouse(root)
    declaration = parse_declaration(text, "breasts", folder=root)
    lock = cohort_lock_path(warehouse, declaration.name)
    cohort, _ = cohort_lock.freeze_cohort(declaration, warehouse, lock, update=True)
    return build(declaration, cohort, warehouse, workers=1)


@pytest.fixture(scope="module")
def breasts(breasts_root: Path) -> BuildResult:
    return built(breasts_root)


def test_each_image_is_a_sample_that_says_what_it_shows(breasts: BuildResult) -> None:
    rows = breasts.samples.to_pylist()
    assert Counter(row["Modality"] for row in rows) == {"MG": 12, "DX": 6, "XA": 1}
    mammogram = next(row for row in rows if row["sample"] == "1.2.1.1-0002")
    assert (mammogram["ViewPosition"], mammogram["ImageLaterality"]) == ("CC", "R")
    assert mammogram["PatientOrientation"] == "L\\F" and mammogram["frame"] is None
    assert mammogram["shown_by"] == "window 1024/2048 of the header"
    assert mammogram["spacing"][:2] == pytest.approx([5.0, 5.0], rel=0.2)
    cine = next(row for row in rows if row["Modality"] == "XA")
    assert (cine["frame"], cine["volume"], cine["spacing"]) == (3, "frame 3", None)
    assert cine["shown_by"] == "whole range, 1200 to 1799, inverted"
    codes = {finding["code"] for finding in cine["findings"]}
    assert codes == {"without_spacing", "other_frames", "inverted", "burned_in_annotation"}


def test_samples_are_read_with_their_classes_and_no_patient_is_in_two_splits(
    breasts: BuildResult, tmp_path: Path
) -> None:
    patients: dict[str, set[str]] = {}
    for split in ("train", "test"):
        samples = load_dataset(breasts.folder, split)
        patients[split] = {each.row["PatientID"] for each in samples}
        assert samples.classes == {0: "benign", 1: "malignant"}
        for each in samples:
            is_benign = int(each.row["PatientID"][1:]) % 2
            assert each.class_name == ("benign" if is_benign else "malignant")
            assert each.voxels.dtype == np.uint8 and each.voxels.ndim == 2
            assert math.isnan(each.spacing[0]) == (each.row["Modality"] == "XA")
    assert not patients["train"] & patients["test"]
    card = (breasts.folder / "README.md").read_text()
    archive = tmp_path / "breasts.zip"
    packed = pack(breasts.version, archive, Publication(date(2026, 11, 27)))
    assert "19 images made from" in packed.metadata.read_text()
    assert "19 images of 6 Patients" in card and "| benign |" in card
    assert "as PNG" in card and "burned_in_annotation" in card


def test_the_same_inputs_give_the_same_bytes(breasts: BuildResult, breasts_root: Path) -> None:
    # A build of other settings removes what it does not use, so that samples are made again.
    made = built(breasts_root)
    again = built(breasts_root)
    assert (again.made, again.reused) == (0, 13)
    for each in (made, again):
        assert contents(each.folder) == contents(breasts.folder)
        assert each.version.content == breasts.version.content


@left_open
def test_each_format_is_read_back_by_its_own_library(
    breasts: BuildResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    folder = breasts.folder
    rows = {row["sample"]: row for row in breasts.samples.to_pylist()}

    def pixels(row: dict[str, Any]) -> Any:
        return np.asarray(Image.open(folder / row["image"]))

    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(folder / "imagefolder"), cache_dir=str(tmp_path / "cache")
    )
    assert sorted(loaded) == ["test", "train"]
    for row in [*loaded["train"], *loaded["test"]]:
        wanted = rows.pop(row["sample"])
        assert (np.asarray(row["image"]) == pixels(wanted)).all()
        assert (row["label"], row["ViewPosition"]) == (
            wanted["class_name"],
            wanted["ViewPosition"],
        )
    assert not rows

    for row in breasts.samples.to_pylist():
        rows[row["sample"].replace(".", "_")] = row
    shards = [s for part in ("train", "test") for s in read_shards(folder / "webdataset", part)]
    for shard in shards:
        row = rows.pop(shard["__key__"])
        assert shard["image.png"] == (folder / row["image"]).read_bytes()
        assert int(shard["cls"]) == row["class_index"]
    assert not rows

    files = {s: str(f) for s in ("train", "test") for f in folder.glob(f"huggingface/data/{s}-*")}
    hub = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    for row in hub["train"].cast_column("image", datasets.Image()):
        assert row["image"].size == tuple(row["shape"][:2])
    assert pq.read_schema(files["train"]).field("ImageLaterality")
    items = json.loads((folder / "monai/datalist.json").read_text())
    assert items["tensorImageSize"] == "2D" and len(items["training"]) + len(items["test"]) == 19
    assert (folder / "monai" / items["training"][0]["image"]).resolve().is_file()
    croissant = json.loads((folder / "croissant.json").read_text())
    assert croissant["distribution"][1]["includes"] == "images/*.png"


def test_every_frame_with_sixteen_bits(breasts_root: Path) -> None:
    text = with_monai_alone("bits: 16, window: full, choose: all")
    result = built(breasts_root, text)
    cines = [each for each in load_dataset(result.folder) if each.row["Modality"] == "XA"]
    assert [each.row["frame"] for each in cines] == [1, 2, 3, 4, 5]
    assert {each.voxels.dtype.name for each in cines} == {"uint16"}
    # MONOCHROME1: the first value of a frame is the lowest, and is shown white.
    assert {int(each.voxels[0, 0]) for each in cines} == {65535}


def test_nifti_has_real_values_and_the_spacing_but_no_place(breasts_root: Path) -> None:
    text = with_monai_alone("file: nifti")
    result = built(breasts_root, text)
    for sample in load_dataset(result.folder):
        image = nibabel.Nifti1Image.from_filename(result.folder / sample.row["image"])
        assert (image.header["sform_code"], image.header["qform_code"]) == (0, 0)
        wanted = sample.row["spacing"] or [1, 1, 1]
        assert image.header.get_zooms() == pytest.approx(wanted, rel=1e-6)
        if sample.row["Modality"] == "XA":
            assert int(sample.voxels[0, 0, 0]) == 1200  # as stored: frame 3 of 600 pixels each
            assert "monochrome1" in {each["code"] for each in sample.row["findings"]}
