"""The channels of a case are on one grid, each in its own units, and what is uncertain is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tcia_assets.datasets.cohort import LockedZip
from tcia_assets.datasets.sample_files import make_samples
from tcia_assets.datasets.sample_job import Channel, SampleJob
from tcia_assets.datasets.sample_store import IMAGE, channel_kind, read_samples, sample_path
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.store.archives.folder import FolderArchives
from tcia_assets.store.files import sha256_of
from tcia_assets_tests.datasets.example_builds import codes
from tcia_assets_tests.datasets.volume.synthetic import Series, write_zip
from tcia_assets_tests.datasets.volume.synthetic_volumes import volume, zipped

PET = {
    "Units": "BQML",
    "CorrectedImage": ["ATTN", "DECY"],
    "DecayCorrection": "ADMIN",
    "PatientWeight": "70",
}


def field(series: Series) -> Series:
    """Return a Series whose values are linear in patient coordinates, so that they are known."""
    z, y, x = np.indices(series.values.shape)
    points = np.stack([x, y, z, np.ones_like(x)], axis=-1) @ series.affine.T
    series.values = np.rint(points[..., :3] @ [1.0, 2.0, 3.0]).astype(np.int16)
    return series


def locked(path: Path) -> LockedZip:
    sha256 = sha256_of(path)
    return LockedZip(FolderArchives(path.parent), path.name, sha256, sha256)


def channel(name: str, path: Path | None, *, is_reference: bool = False, **own: Any) -> Channel:
    zip_ = locked(path) if path else None
    uid = f"1.2.{name}" if path else ""
    return Channel(name, uid, zip_, None, VolumeSettings.model_validate(own), is_reference)


def job(*channels: Channel) -> SampleJob:
    (reference,) = [each for each in channels if each.is_reference]
    assert reference.zip
    fields = {"masks": (), "labels": (), "priority": (), "made_with": {}, "image_count": None}
    return SampleJob("1.2", reference.zip, volume=reference.volume, channels=channels, **fields)


def made(tmp_path: Path, *channels: Channel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row of a case, and its images by channel."""
    case = job(*channels)
    store = tmp_path / "store"
    (row,) = make_samples(case, store)
    assert read_samples(store, case.key) == [row]
    images = {
        each["name"]: nibabel.load(
            sample_path(
                store / case.key,
                IMAGE if each["is_reference"] else channel_kind(each["name"]),
                row["sample"],
            )
        )
        for each in row.get("channels", ())
    }
    return row, images


def ct_and_pet(tmp_path: Path, **pet: Any) -> tuple[Path, Path]:
    ct = field(Series(np.zeros((8, 20, 20)), origin=(-30, -40, -50), spacing=(2, 2, 3)))
    coarse = {"origin": (-38, -48, -56), "spacing": (5.0, 5.0, 6.0), "modality": "PT"}
    shown = field(Series(np.zeros((8, 12, 12)), **(coarse | pet)))
    return write_zip(tmp_path / "ct.zip", ct.objects()), write_zip(
        tmp_path / "pet.zip", shown.objects()
    )


def test_a_channel_is_where_it_was_on_the_grid_of_the_reference(tmp_path: Path) -> None:
    ct, pet = ct_and_pet(tmp_path)
    settings: dict[str, Any] = {"orientation": "RAS", "dtype": "float32"}
    channels = (channel("ct", ct, is_reference=True, **settings), channel("pet", pet, **settings))
    row, images = made(tmp_path, *channels)
    for image in images.values():
        assert image.shape == images["ct"].shape and np.allclose(image.affine, images["ct"].affine)
        points = np.indices(image.shape).reshape(3, -1).T @ image.affine[:3, :3].T
        expected = (points + image.affine[:3, 3]) @ [1.0, 2.0, 3.0]
        # Stored values are rounded.
        assert np.abs(image.get_fdata().ravel() - expected).max() <= 0.51
    assert [each["name"] for each in row["channels"]] == ["ct", "pet"]
    assert [each["units"] for each in row["channels"]] == ["HU", "stored"]
    assert row["pixel_sha256"] == row["channels"][0]["pixel_sha256"]


def test_resampled_values_are_rounded_once_into_the_declared_dtype(tmp_path: Path) -> None:
    ct, _ = ct_and_pet(tmp_path)
    spacing = ["1.3", "1.7", "2.3"]

    def written(**settings: Any) -> Any:
        reference = channel("ct", ct, is_reference=True, spacing=spacing, **settings)
        row, images = made(tmp_path, reference)
        assert row["channels"][0]["dtype"] == images["ct"].get_data_dtype().name
        return np.asanyarray(images["ct"].dataobj)

    exact = written(dtype="float32")
    assert (exact != np.rint(exact)).mean() > 0.5, "values between two voxels are no integers"
    native = written()
    assert native.dtype == np.int16 and np.array_equal(native, np.rint(exact))
    windowed = [np.rint((np.clip(each, -100, 0) + 100.0) * 2.55) for each in (exact, native)]
    assert np.array_equal(written(dtype="uint8", window=["-100", "0"]), windowed[0])
    assert not np.array_equal(windowed[1], windowed[0]), "values rounded before would be others"


def test_all_channels_are_cut_to_the_same_voxels(tmp_path: Path) -> None:
    ct, pet = ct_and_pet(tmp_path)
    settings: dict[str, Any] = {"dtype": "float32", "size": ["9", "24", "5"]}
    channels = (channel("ct", ct, is_reference=True, **settings), channel("pet", pet, **settings))
    row, images = made(tmp_path, *channels)
    assert row["shape"] == [9, 24, 5] and "padded_to_size" in codes(row)
    for image in images.values():
        assert image.shape == (9, 24, 5) and np.allclose(image.affine, images["ct"].affine)
        places = np.indices(image.shape).reshape(3, -1)
        points = image.affine[:3, :3] @ places + image.affine[:3, 3:]
        inside = (places[1] >= 2) & (places[1] < 22)
        error = np.abs(image.get_fdata().ravel() - [1.0, 2.0, 3.0] @ points)
        assert error[inside].max() <= 0.51, "what was there is where it was"
    padding = images["ct"].get_fdata()[:, :2]
    assert (padding == row["least"]).all(), "what was not there has the lowest value"


def test_the_grid_may_be_that_of_another_channel(tmp_path: Path) -> None:
    ct, pet = ct_and_pet(tmp_path)
    row, images = made(
        tmp_path, channel("ct", ct, is_reference=True, grid="pet"), channel("pet", pet, grid="pet")
    )
    assert images["ct"].shape == images["pet"].shape == (12, 12, 8)
    assert row["spacing"] == pytest.approx([5, 5, 6])
    assert "channel_partly_outside" in codes(row), "the CT does not reach to the edges of the PET"
    cut = {"grid": "pet", "size": ["4", "4", "3"]}
    channels = (channel("ct", ct, is_reference=True, **cut), channel("pet", pet, **cut))
    inside = "the middle of the PET is inside the CT"
    assert "channel_partly_outside" not in codes(made(tmp_path, *channels)[0]), inside


def test_each_channel_has_its_own_units_window_and_dtype(tmp_path: Path) -> None:
    tracer = __import__("pydicom").Dataset()
    tracer.RadionuclideTotalDose = "70000"
    ct, pet = ct_and_pet(
        tmp_path, extra={**PET, "RadiopharmaceuticalInformationSequence": [tracer]}
    )
    row, images = made(
        tmp_path,
        channel("ct", ct, is_reference=True, dtype="uint8", window=["-500", "500"]),
        channel("pet", pet, dtype="float32"),
    )
    about = {each["name"]: each for each in row["channels"]}
    assert (about["ct"]["units"], about["pet"]["units"]) == ("HU", "SUVbw")
    assert images["ct"].get_data_dtype() == np.uint8
    assert images["pet"].get_data_dtype() == np.float32


def test_b_values_of_one_series_are_channels(tmp_path: Path) -> None:
    path = zipped(tmp_path, *(volume(n, DiffusionBValue=float(b)) for n, b in enumerate((0, 800))))
    b0, b800 = ({"choose": {"b": b}} for b in ("0", "800"))
    row, images = made(
        tmp_path, channel("b0", path, is_reference=True, **b0), channel("b800", path, **b800)
    )
    assert [each["volume"] for each in row["channels"]] == [
        "DiffusionBValue 0",
        "DiffusionBValue 800",
    ]
    assert np.array_equal(images["b800"].get_fdata(), images["b0"].get_fdata() + 1000)
    lost = channel("b500", path, choose={"b": "500"})
    row, images = made(tmp_path, channel("b0", path, is_reference=True, **b0), lost)
    assert not images and "volume_not_found" in codes(row)
    assert any("channel 'b500': " in finding["message"] for finding in row["findings"])


def test_a_missing_channel_of_zeros_has_no_series_and_no_hash(tmp_path: Path) -> None:
    ct, _ = ct_and_pet(tmp_path)
    row, images = made(tmp_path, channel("ct", ct, is_reference=True), channel("pet", None))
    zeros = row["channels"][1]
    assert zeros["SeriesInstanceUID"] is None and "pixel_sha256" not in zeros
    assert (zeros["least"], zeros["greatest"]) == (0, 0)
    assert images["pet"].shape == images["ct"].shape


def test_a_channel_elsewhere_or_in_another_frame_of_reference_is_said(tmp_path: Path) -> None:
    ct, pet = ct_and_pet(tmp_path, origin=(500, 0, 0), extra={"FrameOfReferenceUID": "1.2.3.8"})
    row, _ = made(tmp_path, channel("ct", ct, is_reference=True), channel("pet", pet))
    assert {"channel_outside", "channel_other_frame"} <= {*codes(row)}


def test_a_case_is_not_reused_when_a_channel_changes_or_is_cut(tmp_path: Path) -> None:
    ct, pet = ct_and_pet(tmp_path)
    first = job(channel("ct", ct, is_reference=True), channel("pet", pet))
    assert job(channel("ct", ct, is_reference=True), channel("pet", None)).key != first.key
    assert job(channel("ct", ct, is_reference=True), channel("p", pet)).key != first.key
    make_samples(first, tmp_path / "store")
    sample_path(tmp_path / "store" / first.key, channel_kind("pet"), "1.2").write_bytes(b"")
    assert read_samples(tmp_path / "store", first.key) is None
