"""Each voxel has the value of its place in the patient, whatever is done to the grid.

The images are an analytic field: a value for each point in patient coordinates. So each voxel of a
volume can be checked through its affine alone, without the slices that it came from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.datasets.volume.regrid import reorient, resample
from tcia_assets.datasets.volume.volume_reader import open_volumes
from tcia_assets_tests.datasets.volume.synthetic import SERIES, Series, rotation_matrix, write_zip
from tcia_assets_tests.examples import examples

SIZE = (7, 6, 8)  # z, y, x
STEEPNESS = np.array([3.0, -5.0, 7.0])  # per mm, in LPS
# Stored values are whole numbers, and so are resampled ones.
TOLERANCE = 0.51

directions = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 0.01)
lengths = st.floats(0.4, 4)


def field(points: Any, number: int = 0) -> Any:
    """Return the value of the n-th volume at points in LPS."""
    return points @ STEEPNESS + 1000 * number


def points_of(affine_lps: Any, shape: tuple[int, ...]) -> Any:
    """Return the place of each voxel [z, y, x] in LPS."""
    z, y, x = np.indices(shape)
    return np.stack([x, y, z], axis=-1) @ affine_lps[:3, :3].T + affine_lps[:3, 3]


def series_of(turn: Any, spacing: Any, tilt: float, number: int) -> Series:
    """Return the n-th volume: the field on a turned grid, with slices shifted along y."""
    orientation = np.round(rotation_matrix(np.array(turn))[:, :2].T.ravel(), 9)
    shear = np.round(tilt * orientation[3:], 9)
    grid = Series(
        np.zeros(SIZE, np.int16), orientation, spacing, (-8.0, 5.5, -20.25), "MR", shear=shear
    )
    affine = grid.affine_lps
    grid.values = np.rint(field(points_of(affine, SIZE), number)).astype(np.int16)
    return grid


def objects_of(series: Series, number: int) -> list[Any]:
    objects = series.objects()
    for place, each in enumerate(objects):
        uid = f"{SERIES}.{100 * number + place + 1}"
        each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = uid
        each.EchoTime, each.AcquisitionNumber = str(5 * number + 5), 1
        each.SpacingBetweenSlices = series.spacing[2]
    return objects


@given(turn=directions, spacing=st.tuples(*[lengths] * 3), tilt=st.floats(-1, 1))
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_each_voxel_has_the_value_of_its_place(
    tmp_path: Path, turn: Any, spacing: Any, tilt: float
) -> None:
    spacing = tuple(np.round(spacing, 4))
    made = [series_of(turn, spacing, tilt, number) for number in (0, 1)]
    objects = [each for n, series in enumerate(made) for each in objects_of(series, n)]
    with open_volumes(write_zip(tmp_path / "a.zip", objects)) as volumes:
        read = [volumes.read(place) for place in range(len(volumes.groups))]
    assert len(read) == 2
    for number, volume in enumerate(read):
        assert_in_place(volume, number)
        assert_in_place(reorient(volume, "PIR"), number)
        write_nifti(tmp_path / "a.nii", volume)
        image = nibabel.load(tmp_path / "a.nii")
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
        values = np.asanyarray(image.dataobj).T
        # Affines in NIfTI files have single precision.
        np.testing.assert_allclose(
            values, field(points_of(lps, values.shape), number), atol=TOLERANCE + 0.05
        )


@pytest.mark.parametrize("tilt", [0.0, 0.5])
@pytest.mark.parametrize("orientation", [None, "RAS"])
def test_resampled_voxels_have_the_value_of_their_place(
    tmp_path: Path, tilt: float, orientation: str | None
) -> None:
    series = series_of((0.9, 0.2, -0.1, 0.3), (0.9, 1.1, 2.0), tilt, 0)
    with open_volumes(write_zip(tmp_path / "a.zip", objects_of(series, 0))) as volumes:
        volume = volumes.read(0)
    placed = resample(volume, (0.8, 0.7, 1.3), orientation)
    points = points_of(placed.affine_lps, placed.voxels.shape)
    homogeneous = np.concatenate([points, np.ones((*points.shape[:3], 1))], axis=-1)
    indices = (homogeneous @ np.linalg.inv(volume.affine_lps).T)[..., :3]
    inside = ((indices >= 0) & (indices <= np.array(SIZE[::-1]) - 1)).all(axis=-1)
    assert inside.mean() > 0.3
    error = np.abs(placed.voxels - field(points))[inside]
    assert error.max() < 2 * TOLERANCE
    assert (placed.voxels[~inside & (indices < -1).any(axis=-1)] == volume.voxels.min()).all()


def assert_in_place(volume: Any, number: int) -> None:
    """Compare each voxel with the field."""
    expected = field(points_of(volume.affine_lps, volume.voxels.shape), number)
    np.testing.assert_allclose(volume.voxels, expected, atol=TOLERANCE)
