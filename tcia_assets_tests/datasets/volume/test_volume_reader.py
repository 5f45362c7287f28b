"""A Series zip becomes the volume that its headers describe, voxel by voxel."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcia_assets.datasets.volume.findings import NoVolume
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume import synthetic
from tcia_assets_tests.datasets.volume.synthetic import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    Series,
    finding_codes,
    noise,
    rotation_matrix,
    write_zip,
)
from tcia_assets_tests.examples import examples


def read(tmp_path: Path, series: Series, **more: Any) -> Any:
    return read_volume(write_zip(tmp_path / "a.zip", series.objects()), **more)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, OBLIQUE])
def test_voxels_and_affine_match_the_headers(tmp_path: Path, orientation: Any) -> None:
    series = Series(orientation=orientation, intercepts=[-24] * 6)
    volume = read(tmp_path, series)
    assert np.array_equal(volume.voxels, series.real)
    assert volume.voxels.dtype == np.int16 and volume.voxels.flags.c_contiguous
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-5)
    np.testing.assert_allclose(volume.affine_lps, series.affine_lps, atol=1e-5)
    assert volume.spacing == pytest.approx(series.spacing, abs=1e-5)
    assert (volume.units, volume.modality, finding_codes(volume)) == ("HU", "CT", [])
    assert volume.series_instance_uid == synthetic.SERIES
    assert volume.frame_of_reference_uid == synthetic.FRAME


@given(
    turn=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 0.01),
    spacing=st.tuples(*[st.floats(0.2, 6)] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
    order=st.permutations(range(4)),
)
@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_each_voxel_is_at_the_position_in_its_header(
    tmp_path: Path, turn: Any, spacing: Any, origin: Any, order: list[int]
) -> None:
    rotation = rotation_matrix(np.array(turn))
    orientation = np.round(rotation[:, :2].T.ravel(), 9)
    origin = np.round(origin, 3)
    series = Series(noise((4, 3, 5)), orientation, tuple(np.round(spacing, 4)), origin)
    objects = [series.object(place) for place in order]
    volume = read_volume(write_zip(tmp_path / "a.zip", objects, shuffled=False))
    for slice_, image in zip(objects, (series.values[place] for place in order), strict=True):
        position = np.array(slice_.ImagePositionPatient, dtype=float)
        for row, column in [(0, 0), (2, 4), (1, 3)]:
            # PS3.3 C.7.6.2.1.1.
            point = (
                position
                + np.array(orientation[:3]) * series.spacing[0] * column
                + np.array(orientation[3:]) * series.spacing[1] * row
            )
            x, y, z, _ = np.linalg.inv(volume.affine_lps) @ [*point, 1]
            np.testing.assert_allclose([x, y], [column, row], atol=1e-3)
            assert abs(z - round(z)) < 1e-3
            assert volume.voxels[round(z), row, column] == image[row, column]
    assert np.linalg.det(volume.affine_lps[:3, :3]) > 0


def test_memory_stays_below_two_and_a_half_volumes(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", Series(noise((60, 128, 128))).objects())
    del_me = read_volume(path, workers=1)
    size = del_me.voxels.nbytes
    del del_me
    tracemalloc.start()
    volume = read_volume(path, workers=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert volume.voxels.nbytes == size
    # The headers of such small slices are as large as their pixels.
    assert peak < 2.5 * size + 60 * 20_000


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(tmp_path: Path, workers: int) -> None:
    series = Series(noise((9, 8, 7)))
    assert np.array_equal(read(tmp_path, series, workers=workers).voxels, series.values)


# --- Findings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("mixed_size", lambda each: synthetic.set_pixels(each, noise((3, 3)))),
        ("mixed_spacing", lambda each: setattr(each, "PixelSpacing", [0.9, 0.7])),
        ("mixed_frame_of_reference", lambda each: setattr(each, "FrameOfReferenceUID", "1.2")),
        ("secondary_capture", lambda each: setattr(each, "SOPClassUID", synthetic.CAPTURE)),
        ("without_geometry", lambda each: delattr(each, "ImagePositionPatient")),
        ("not_greyscale", lambda each: setattr(each, "SamplesPerPixel", 3)),
    ],
)
def test_an_image_that_differs_is_left_out(tmp_path: Path, code: str, change: Any) -> None:
    series = Series()
    objects = series.objects()
    change(objects[-1])
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert np.array_equal(volume.voxels, series.values[:-1])
    assert finding_codes(volume) == [code]
    assert volume.findings[0].sop_instance_uids == (objects[-1].SOPInstanceUID,)


def test_few_slices_and_a_different_count_are_reported(tmp_path: Path) -> None:
    volume = read(tmp_path, Series(noise((2, 4, 4))), image_count=3)
    assert finding_codes(volume) == ["count_unlike_image_count", "too_few_slices"]
    assert volume.findings[0].numbers == {"objects": 2, "image_count": 3}


def test_a_volume_with_one_value_is_reported(tmp_path: Path) -> None:
    volume = read(tmp_path, Series(np.full((4, 3, 3), 7, np.int16)))
    assert finding_codes(volume) == ["zero_variance"]
    assert volume.findings[0].numbers == {"value": 7}


def test_a_series_without_slices_raises_with_the_reason(tmp_path: Path) -> None:
    objects = Series().objects()
    for each in objects:
        each.SOPClassUID = synthetic.CAPTURE
    with pytest.raises(NoVolume, match="no slice is left") as caught:
        read_volume(write_zip(tmp_path / "a.zip", objects))
    assert finding_codes(caught.value) == ["secondary_capture", "no_slices"]
    assert len(caught.value.findings[0].sop_instance_uids) == 6


def test_a_missing_extra_is_named() -> None:
    import subprocess
    import sys

    program = "import sys; sys.modules['pydicom'] = None; import tcia_assets.datasets.volume"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "MissingExtra" in done.stderr
    assert "pip install 'nibabel" in done.stderr
