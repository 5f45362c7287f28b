"""Other tools read the same voxels at the same positions from the same DICOM objects."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel
import numpy as np
import pytest
import SimpleITK

from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    Series,
    extracted,
    noise,
    write_zip,
)

BOX = noise((7, 12, 16))
SERIES = {
    "axial": Series(BOX, intercepts=[-24] * 7),
    "sagittal": Series(BOX, orientation=SAGITTAL),
    "coronal": Series(BOX, orientation=CORONAL),
    "oblique": Series(BOX, orientation=OBLIQUE),
    "flipped": Series(BOX, orientation=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
    "downwards": Series(BOX, orientation=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
    "negative slope": Series(BOX, slopes=[-2] * 7, intercepts=[100] * 7),
    "slope of each slice": Series(
        noise((7, 12, 16), 0, 30000, np.uint16),
        slopes=[0.5, 1.25, 2, 3, 0.125, 7, 1],
        modality="PT",
    ),
    "unsigned": Series(noise((7, 12, 16), 0, 65535, np.uint16), modality="MR", slopes=[1] * 7),
    "magnetic resonance": Series(noise((7, 12, 16), 0, 4000, np.uint16), modality="MR", bits=12),
}


def by_dcm2niix(folder: Path) -> Any:
    out = folder.with_name("converted")
    out.mkdir()
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "out", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    # It also writes a tilted volume without its tilt, and an uneven one with even steps.
    (only,) = [path for path in out.glob("*.nii") if not {"Tilt", "Eq"} & {*path.stem.split("_")}]
    return nibabel.load(only)


def same(ours: Any, theirs: Any) -> None:
    ours, theirs = (nibabel.as_closest_canonical(each) for each in (ours, theirs))
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    np.testing.assert_allclose(ours.get_fdata(), theirs.get_fdata(), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", SERIES)
def test_dcm2niix_writes_the_same_volume(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "a.zip", SERIES[name].objects())
    write_nifti(tmp_path / "ours.nii", read_volume(path))
    same(nibabel.load(tmp_path / "ours.nii"), by_dcm2niix(extracted(path)))


@pytest.mark.parametrize("name", SERIES)
def test_simpleitk_reads_the_same_volume(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "a.zip", SERIES[name].objects())
    volume = read_volume(path)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(extracted(path))))
    image = reader.Execute()
    theirs = lps_affine(image)
    found = nibabel.Nifti1Image(volume.voxels.T.astype(float), volume.affine_lps)
    voxels = SimpleITK.GetArrayFromImage(image).T.astype(float)
    same(found, nibabel.Nifti1Image(voxels, theirs))
    # The written file has the same geometry, by its qform or sform.
    write_nifti(tmp_path / "ours.nii.gz", volume)
    again = SimpleITK.ReadImage(str(tmp_path / "ours.nii.gz"))
    np.testing.assert_allclose(lps_affine(again), volume.affine_lps, atol=1e-4)
    assert np.array_equal(SimpleITK.GetArrayFromImage(again), volume.voxels)


def lps_affine(image: Any) -> Any:
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine


def test_dcm2niix_agrees_except_for_the_tilt_in_the_affine(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", Series(BOX, shear=(0.0, 0.6, 0.0)).objects())
    volume = read_volume(path)
    straight = volume.affine.copy()
    assert straight[1, 2] == pytest.approx(-0.6)
    straight[1, 2] = 0
    same(nibabel.Nifti1Image(volume.voxels.T, straight), by_dcm2niix(extracted(path)))


def test_axial_slices_have_axes_lps_in_the_written_file(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", Series(BOX, orientation=AXIAL).objects())
    write_nifti(tmp_path / "ours.nii", read_volume(path))
    assert nibabel.aff2axcodes(nibabel.load(tmp_path / "ours.nii").affine) == ("L", "P", "S")
