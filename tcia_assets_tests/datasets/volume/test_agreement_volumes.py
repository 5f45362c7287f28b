"""dcm2niix and highdicom find the same volumes in a Series, with the same voxels and positions."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import dcm2niix
import highdicom
import nibabel
import numpy as np
import pytest
from highdicom import legacy

from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    content,
    extracted,
    finding_codes,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_volumes import values_of, volume, zipped
from tcia_assets_tests.datasets.volume.test_agreement import SERIES as BOXES
from tcia_assets_tests.datasets.volume.test_real_files import assert_same_at_each_corner
from tcia_assets_tests.datasets.volume.test_volume_groups import DISTINCT, all_volumes

CONVERTED = {
    "CT": legacy.LegacyConvertedEnhancedCTImage,
    "MR": legacy.LegacyConvertedEnhancedMRImage,
    "PT": legacy.LegacyConvertedEnhancedPETImage,
}
BOX_OF = {"CT": "oblique", "MR": "magnetic resonance", "PT": "slope of each slice"}


def canonical(voxels: Any, affine: Any) -> tuple[Any, Any]:
    """Return voxels and affine with axes that rise to the right, to the front and upwards."""
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels, affine))
    return np.asanyarray(image.dataobj), image.affine


def by_dcm2niix(folder: Path) -> list[tuple[Any, Any]]:
    """Return the volumes that dcm2niix writes, each of a series of volumes by itself."""
    out = folder.with_name("converted")
    out.mkdir()
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "%s_%e_%t", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    volumes = []
    for path in sorted(out.glob("*.nii")):
        image = nibabel.load(path)
        voxels = np.asanyarray(image.dataobj)
        series = voxels if voxels.ndim == 4 else voxels[..., None]
        volumes += [
            canonical(series[..., place], image.affine) for place in range(series.shape[-1])
        ]
    return volumes


@pytest.mark.parametrize("name", DISTINCT)
def test_dcm2niix_writes_the_same_volumes(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path, *(volume(n, **more) for n, more in enumerate(DISTINCT[name])))
    ours = [canonical(each.voxels.T, each.affine) for each in all_volumes(path)]
    theirs = by_dcm2niix(extracted(path))
    assert len(ours) == len(theirs)
    for voxels, affine in ours:
        (equal,) = [other for other in theirs if np.array_equal(voxels, other[0])]
        np.testing.assert_allclose(affine, equal[1], atol=1e-3)


@pytest.mark.parametrize("name", BOXES)
def test_highdicom_reads_the_same_volume(tmp_path: Path, name: str) -> None:
    objects = BOXES[name].objects()
    found = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert_same_at_each_corner(found, highdicom.get_volume_from_series(objects))


@pytest.mark.parametrize("modality", CONVERTED)
def test_a_series_that_highdicom_converts_to_one_object_is_the_same_volume(
    tmp_path: Path, modality: str
) -> None:
    series: Series = BOXES[BOX_OF[modality]]
    plain = read_volume(write_zip(tmp_path / "a.zip", series.objects()))
    made = CONVERTED[modality](series.objects(), "1.2.55", 1, "1.2.66", 1)
    found = read_volume(write_zip(tmp_path / "b.zip", [content(made)]))
    assert np.array_equal(found.voxels, plain.voxels)
    np.testing.assert_allclose(found.affine, plain.affine, atol=1e-6)
    assert (found.units, finding_codes(found)) == (plain.units, finding_codes(plain))


@pytest.mark.parametrize("name", DISTINCT)
def test_volumes_that_highdicom_converts_to_one_object_are_divided_again(
    tmp_path: Path, name: str
) -> None:
    objects = [each for n, more in enumerate(DISTINCT[name]) for each in volume(n, **more)]
    made = legacy.LegacyConvertedEnhancedMRImage(objects, "1.2.55", 1, "1.2.66", 1)
    found = all_volumes(write_zip(tmp_path / "a.zip", [content(made)]))
    assert len(found) == len(DISTINCT[name])
    assert all(np.array_equal(each.voxels, values_of(n)) for n, each in enumerate(found))
