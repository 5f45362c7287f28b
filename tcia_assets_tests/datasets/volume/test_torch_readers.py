"""MONAI and TorchIO read a written volume with the same voxels at the same places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.example_dataset import from_torch
from tcia_assets_tests.datasets.volume.synthetic import OBLIQUE, SAGITTAL, Series, noise, write_zip

BOX = noise((7, 12, 16))
SERIES = {
    "axial": Series(BOX, intercepts=[-24] * 7),
    "sagittal": Series(BOX, orientation=SAGITTAL),
    "oblique": Series(BOX, orientation=OBLIQUE),
    "tilted": Series(BOX, shear=(0.0, 0.6, 0.0)),
}


def written(folder: Path, name: str) -> tuple[Any, Path]:
    volume = read_volume(write_zip(folder / "a.zip", SERIES[name].objects()))
    path = folder / "a.nii.gz"
    write_nifti(path, volume)
    return volume, path


@pytest.mark.parametrize("name", SERIES)
def test_monai_reads_a_volume_at_its_place(tmp_path: Path, name: str) -> None:
    from_torch("monai")
    from monai.transforms import LoadImage

    volume, path = written(tmp_path, name)
    image = LoadImage(image_only=True)(path)
    assert np.array_equal(np.asarray(image), volume.voxels.T)
    np.testing.assert_allclose(np.asarray(image.affine), volume.affine, atol=1e-4)


# It reads an affine with a shear by nibabel, after SimpleITK has refused it.
@pytest.mark.filterwarnings("ignore:Error loading image with SimpleITK")
@pytest.mark.parametrize("name", SERIES)
def test_torchio_reads_a_volume_at_its_place(tmp_path: Path, name: str) -> None:
    from_torch("torchio")
    import torchio

    volume, path = written(tmp_path, name)
    image = torchio.ScalarImage(path)
    assert np.array_equal(image.data[0].numpy(), volume.voxels.T)
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-4)
