"""One sample: what is written is what its row says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.cohort import LockedZip
from tcia_assets.datasets.loading import load_dataset
from tcia_assets.datasets.sample_files import make_samples
from tcia_assets.datasets.sample_job import SampleJob
from tcia_assets.datasets.sample_store import IMAGE, read_samples, sample_path
from tcia_assets.datasets.volume.label_grid import LabelChoices
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.errors import BadValue
from tcia_assets.store.archives.folder import FolderArchives
from tcia_assets.store.files import sha256_of
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import (
    NO_TARGET,
    built,
    codes,
    declared,
    rows,
    sampled,
)
from tcia_assets_tests.datasets.volume.synthetic_volumes import values_of, volume, zipped


def test_what_is_written_is_what_its_row_says(stocked_warehouse: Warehouse) -> None:
    import nibabel

    changes = (
        ("spacing: native", "spacing: [9, 9, 10]"),
        (
            "  dtype: int16\n",
            "  dtype: uint8\n  window: [-1000, 400]\n",
        ),
    )
    result = built(declared(*changes), stocked_warehouse)
    for row in rows(result).values():
        image = nibabel.load(result.folder / row["image"])
        labels = nibabel.load(result.folder / row["label"])
        values, mask = np.asanyarray(image.dataobj), np.asanyarray(labels.dataobj)
        assert list(values.shape) == list(mask.shape) == row["shape"]
        assert values.dtype == np.uint8 and row["dtype"] == "uint8"
        assert (values.min(), values.max()) == (row["least"], row["greatest"])
        assert row["least"] == 0 and row["greatest"] > 100
        assert row["spacing"] == pytest.approx([9, 9, 10])
        assert row["label_readers"] is None
        assert np.allclose(image.affine, np.reshape(row["affine"], (4, 4)), atol=1e-4)
        assert np.allclose(image.affine, labels.affine)
        tally = Counter(mask.ravel().tolist())
        names = dict(enumerate(declared().target.labels, start=1))
        assert {names[n]: tally[n] for n in names} == dict(row["label_voxels"])
    assert "SimpleITK" in result.version.content["made_with"]


def test_labels_of_each_reader_have_a_fourth_axis(stocked_warehouse: Warehouse) -> None:
    result = built(declared(("  priority:", "  readers: each\n  priority:")), stocked_warehouse)
    for sample in load_dataset(result.folder):
        assert sample.labels is not None
        assert sample.labels.shape == (1, *sample.voxels.shape)
        ((uid,),) = sample.row["label_readers"]
        assert uid


def test_pixels_are_hashed_as_they_were_read(stocked_warehouse: Warehouse) -> None:
    plain, other = (
        sampled(declared(NO_TARGET, ("  dtype: int16\n", f"  dtype: {dtype}\n")), stocked_warehouse)
        for dtype in ("int16", "float32")
    )
    assert len(plain) == 5
    for uid in plain:
        assert plain[uid]["pixel_sha256"] == other[uid]["pixel_sha256"]
        assert plain[uid]["image_sha256"] != other[uid]["image_sha256"]


# --- One Series -----------------------------------------------------------------------------------


def job(path: Path, **settings: Any) -> SampleJob:
    """Return the job of a zip without masks."""
    sha256 = sha256_of(path)
    return SampleJob(
        series_instance_uid="1.2",
        zip=LockedZip(FolderArchives(path.parent), path.name, sha256, sha256),
        image_count=None,
        masks=(),
        volume=VolumeSettings.model_validate(settings),
        choices=LabelChoices(),
        labels=(),
        priority=(),
        made_with={},
    )


def two_volumes(folder: Path) -> Path:
    """Write a Series of two echoes."""
    return zipped(folder, *(volume(n, EchoTime=str(5 + n)) for n in (0, 1)))


def test_each_volume_of_a_series_can_be_a_sample(tmp_path: Path) -> None:
    import nibabel

    made = job(two_volumes(tmp_path), choose="all")
    rows_ = make_samples(made, tmp_path / "store")
    assert [(row["sample"], row["volume"]) for row in rows_] == [
        ("1.2-0001", "EchoTime 5"),
        ("1.2-0002", "EchoTime 6"),
    ]
    for number, row in enumerate(rows_):
        path = sample_path(tmp_path / "store" / made.key, IMAGE, row["sample"])
        assert np.array_equal(np.asanyarray(nibabel.load(path).dataobj).T, values_of(number))
        assert codes(row) == []
    assert read_samples(tmp_path / "store", made.key) == rows_


def test_a_series_of_several_volumes_has_a_finding_without_a_choice(tmp_path: Path) -> None:
    path = two_volumes(tmp_path)
    (row,) = make_samples(job(path), tmp_path / "store")
    assert (row["sample"], codes(row)) == ("1.2", ["several_volumes"])
    (row,) = make_samples(job(path, choose={"echo": "2"}), tmp_path / "store")
    assert (row["sample"], row["volume"]) == ("1.2", "EchoTime 6")
    assert codes(row) == ["other_volumes"]
    (row,) = make_samples(job(path, choose={"echo": "3"}), tmp_path / "store")
    assert (row["sample"], codes(row)) == ("1.2", ["volume_not_found"])


def test_the_choice_the_decoder_and_the_code_are_part_of_the_key(tmp_path: Path) -> None:
    path = two_volumes(tmp_path)
    other = replace(job(path), made_with={"decoders": "pillow (JPEG2000)"})
    newer = replace(job(path), code="that of another commit")
    keys = {job(path).key, job(path, choose="first").key, job(path, choose={"b": "0"}).key}
    assert len({*keys, other.key, newer.key}) == 5


def test_a_window_is_the_range_of_the_dtype(stocked_warehouse: Warehouse) -> None:
    changes = NO_TARGET, ("  dtype: int16\n", "  dtype: float32\n  window: [-1000, 0]\n")
    for row in sampled(declared(*changes), stocked_warehouse).values():
        assert (row["least"], row["greatest"]) == (0.0, 1.0)


def test_values_that_do_not_fit_into_the_dtype_are_refused(tmp_path: Path) -> None:
    objects = volume(0, RescaleSlope="100", RescaleIntercept="0")
    with pytest.raises(BadValue, match="do not fit into int16: declare a window"):
        make_samples(job(zipped(tmp_path, objects), dtype="int16"), tmp_path / "store")


def test_wrong_values_that_do_not_fit_into_the_dtype_are_dropped(tmp_path: Path) -> None:
    objects = volume(0, modality="CT", RescaleSlope="100")
    (row,) = make_samples(job(zipped(tmp_path, objects), dtype="int16"), tmp_path / "store")
    assert codes(row) == ["implausible_hounsfield", "values_beyond_dtype"]
    assert "image_bytes" not in row
