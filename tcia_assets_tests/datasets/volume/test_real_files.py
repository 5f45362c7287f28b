"""Real files have the voxels and positions that pydicom, SimpleITK and highdicom read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.pixels import apply_rescale

from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.real_files import REAL, SERIES
from tcia_assets_tests.datasets.volume.synthetic import extracted, finding_codes, write_zip
from tcia_assets_tests.datasets.volume.test_agreement import by_dcm2niix, lps_affine, same

SINGLE = [
    name
    for name in (
        "693_J2KI.dcm",
        "693_J2KR.dcm",
        "693_UNCI.dcm",
        "CT_small.dcm",
        "J2K_pixelrep_mismatch.dcm",
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
        "MR-SIEMENS-DICOM-WithOverlays.dcm",
        "MR2_J2KI.dcm",
        "MR2_UNCR.dcm",
        "bad_sequence.dcm",
        "examples_overlay.dcm",
        "explicit_VR-UN.dcm",
    )
    if name in REAL
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SINGLE)
def test_a_real_image_has_the_voxels_and_the_plane_that_others_read(
    tmp_path: Path, name: str
) -> None:
    path = REAL[name]
    volume = read_volume(write_zip(tmp_path / "a.zip", [path.read_bytes()]), least_slices=1)
    dataset = pydicom.dcmread(path)
    by_pydicom = apply_rescale(dataset.pixel_array, dataset)
    image = SimpleITK.ReadImage(str(path))
    # From -3024 HU, and what lossy compression made of it, to air.
    is_padded = name.startswith("693_")
    for other in (by_pydicom[None], SimpleITK.GetArrayFromImage(image)):
        expected = np.where(other < -2024, -1024, other) if is_padded else other
        np.testing.assert_allclose(volume.voxels, expected, rtol=1e-6)
    # A single slice has no distance to the next one: others invent it differently.
    own, theirs = volume.affine_lps[:, [0, 1, 3]], lps_affine(image)[:, [0, 1, 3]]
    if name != "J2K_pixelrep_mismatch.dcm":  # its cosines are not normalised
        np.testing.assert_allclose(own, theirs, atol=1e-4)
    assert finding_codes(volume) == (["pixel_padding"] if is_padded else [])


def zipped(folder: Path, name: str) -> Path:
    files = [path.read_bytes() for path in sorted((SERIES / name).iterdir())]
    return write_zip(folder / "a.zip", files)


def test_a_real_series_is_the_volume_of_dcm2niix(tmp_path: Path) -> None:
    path = zipped(tmp_path, "98892001/CT5N")
    volume = read_volume(path)
    theirs = by_dcm2niix(extracted(path))
    assert volume.units == "HU"
    same(nibabel.Nifti1Image(volume.voxels.T, volume.affine), theirs)


def test_a_real_gap_is_a_finding_where_dcm2niix_takes_the_first_step_for_all(
    tmp_path: Path,
) -> None:
    path = zipped(tmp_path, "77654033/CT2")
    volume = read_volume(path)
    theirs = by_dcm2niix(extracted(path))
    assert finding_codes(volume) == ["missing_slice"]
    ours = nibabel.Nifti1Image(volume.voxels.T, volume.affine)
    turned = [np.asanyarray(nibabel.as_closest_canonical(each).dataobj) for each in (ours, theirs)]
    assert np.array_equal(*turned)
    assert (volume.spacing[2], theirs.affine[2, 2]) == pytest.approx((205 / 3, 202.5), abs=1e-3)


@pytest.mark.skipif("eCT_Supplemental.dcm" not in REAL, reason="it needs pydicom-data")
def test_a_real_perfusion_map_is_no_hounsfield_units(tmp_path: Path) -> None:
    path = REAL["eCT_Supplemental.dcm"]
    volume = read_volume(write_zip(tmp_path / "a.zip", [path.read_bytes()]), least_slices=1)
    assert (volume.units, finding_codes(volume)) == ("stored", ["not_hounsfield"])
    by_highdicom = highdicom.imread(path).get_volume(apply_real_world_transform=False)
    assert_same_at_each_corner(volume, by_highdicom)


def assert_same_at_each_corner(volume: Any, theirs: Any) -> None:
    """Compare with a volume of highdicom, by the patient coordinates of its corners."""
    last = np.array(theirs.array.shape) - 1
    corners = np.array([[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * last
    for corner, point in zip(corners, theirs.map_indices_to_reference(corners), strict=True):
        place = np.linalg.inv(volume.affine_lps) @ [*point, 1]
        x, y, z = np.rint(place[:3]).astype(int)
        np.testing.assert_allclose(place[:3], [x, y, z], atol=1e-3)
        assert volume.voxels[z, y, x] == pytest.approx(theirs.array[tuple(corner)], rel=1e-6)
