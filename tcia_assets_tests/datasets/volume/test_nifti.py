"""A NIfTI file has everything that a volume has, and always the same bytes."""

from __future__ import annotations

import gzip
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcia_assets.datasets.volume.arrays import Labels, Volume
from tcia_assets.datasets.volume.nifti import nifti_header, write_nifti
from tcia_assets.datasets.volume.regrid import reorient
from tcia_assets.errors import StorageError, UsageError
from tcia_assets_tests.datasets.volume.synthetic import noise, rotation_matrix
from tcia_assets_tests.examples import examples

AFFINE = np.array([[-0.7, 0, 0, 12.5], [0, -0.8, 0, -4], [0, 0, 2.5, 100.25], [0, 0, 0, 1.0]])


def volume(voxels: Any, affine: Any = AFFINE) -> Volume:
    return Volume(voxels, affine, "1.2", "1.3", "CT", "HU")


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint8, np.uint16])
def test_nibabel_reads_the_written_file(tmp_path: Path, ending: str, dtype: Any) -> None:
    voxels = noise((5, 6, 7), 0, 250, dtype)
    size = write_nifti(tmp_path / f"a.{ending}", volume(voxels))
    assert size == (tmp_path / f"a.{ending}").stat().st_size
    image = nibabel.load(tmp_path / f"a.{ending}")
    assert np.array_equal(np.asanyarray(image.dataobj), voxels.T)
    assert image.get_data_dtype() == dtype
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    header = image.header
    assert header.get_xyzt_units()[0] == "mm"
    assert header.get_zooms() == pytest.approx((0.7, 0.8, 2.5))
    assert header.get_slope_inter() in {(1.0, 0.0), (None, None)}
    assert header.get_sform(coded=True)[1] == header.get_qform(coded=True)[1] == 1


@given(
    turn=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 0.01),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
    mirrored=st.booleans(),
)
@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_qform_and_sform_agree(
    tmp_path: Path, turn: Any, spacing: Any, origin: Any, *, mirrored: bool
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = rotation_matrix(np.array(turn)) * np.array(spacing)
    affine[:3, 2] *= -1 if mirrored else 1
    affine[:3, 3] = origin
    write_nifti(tmp_path / "a.nii", volume(noise((2, 2, 2)), affine))
    header = nibabel.load(tmp_path / "a.nii").header
    np.testing.assert_allclose(header.get_sform(), affine, atol=1e-4)
    # Near half a turn, float32 leaves the fourth component of the quaternion uncertain by 6e-4.
    np.testing.assert_allclose(header.get_qform(), affine, atol=1.3e-3 * max(spacing))


def test_a_shear_is_stored_in_the_sform_only(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[1, 2] = 0.5
    write_nifti(tmp_path / "a.nii", volume(noise((2, 2, 2)), sheared))
    header = nibabel.load(tmp_path / "a.nii").header
    assert header.get_qform(coded=True) == (None, 0)
    np.testing.assert_allclose(header.get_sform(), sheared, atol=1e-6)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_equal_volumes_give_equal_bytes(tmp_path: Path, ending: str) -> None:
    voxels = noise((5, 60, 70))
    write_nifti(tmp_path / f"a.{ending}", volume(voxels))
    # A different layout in memory, byte order and file name.
    other = np.asfortranarray(voxels).astype(">i2")
    write_nifti(tmp_path / f"b.{ending}", volume(other))
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_without_isal_zlib_writes_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voxels = noise((5, 60, 70))
    write_nifti(tmp_path / "a.nii.gz", volume(voxels))
    monkeypatch.setitem(sys.modules, "isal", None)
    write_nifti(tmp_path / "b.nii.gz", volume(voxels))
    a, b = ((tmp_path / name).read_bytes() for name in ("a.nii.gz", "b.nii.gz"))
    assert gzip.decompress(a) == gzip.decompress(b)
    # Neither a file name nor a time in the header.
    assert a[3:8] == b[3:8] == bytes(5)


@pytest.mark.parametrize(
    ("axis", "quaternion"),
    [
        ((1, 0, 0), (1, 0, 0)),
        ((0, 0, 1), (0, 0, 1)),
        ((-1, 1, 1), (3**-0.5, -(3**-0.5), -(3**-0.5))),
        ((0, -3, 4), (0, 0.6, -0.8)),
    ],
)
@pytest.mark.parametrize("rounding", [0, 1e-15, -1e-15])
def test_the_quaternion_of_a_half_turn_has_one_sign(
    axis: Any, quaternion: Any, rounding: float
) -> None:
    """Rounding errors differ between processors; the header must not."""
    unit = np.array(axis) / np.linalg.norm(axis)
    affine = np.eye(4)
    affine[:3, :3] = 2 * np.outer(unit, unit) - np.eye(3) + rounding * np.arange(9).reshape(3, 3)
    header = nifti_header(noise((2, 2, 2)), affine)
    found = [float(header[f"quatern_{name}"]) for name in "bcd"]
    assert found == pytest.approx(quaternion, abs=1e-6)
    assert not any(np.signbit(value) for value in found if value == 0)


def test_reoriented_volumes_are_written_in_their_orientation(tmp_path: Path) -> None:
    turned = reorient(volume(noise((5, 6, 7))), "RAS")
    write_nifti(tmp_path / "a.nii.gz", turned)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    assert np.array_equal(np.asanyarray(image.dataobj), turned.voxels.T)


def test_labels_can_be_written(tmp_path: Path) -> None:
    labels = Labels(noise((3, 4, 5), 0, 3, np.uint8), AFFINE, {1: "a", 2: "b"})
    write_nifti(tmp_path / "a.nii.gz", labels)
    assert np.array_equal(nibabel.load(tmp_path / "a.nii.gz").dataobj, labels.voxels.T)


def test_labels_of_each_reader_are_written_along_a_fourth_axis(tmp_path: Path) -> None:
    voxels = noise((2, 3, 4, 5), 0, 3, np.uint8)
    write_nifti(tmp_path / "a.nii", Labels(voxels, AFFINE, {1: "a", 2: "b"}))
    image = nibabel.load(tmp_path / "a.nii")
    assert image.shape == (5, 4, 3, 2)
    assert np.array_equal(np.asanyarray(image.dataobj).T, voxels)
    write_nifti(tmp_path / "b.nii", Labels(voxels[:1], AFFINE, {1: "a", 2: "b"}))
    assert nibabel.load(tmp_path / "b.nii").shape == (5, 4, 3, 1)


def test_writing_takes_no_second_volume_of_memory(tmp_path: Path) -> None:
    voxels = noise((64, 128, 128))
    write_nifti(tmp_path / "a.nii.gz", volume(voxels))
    tracemalloc.start()
    write_nifti(tmp_path / "a.nii.gz", volume(voxels))
    write_nifti(tmp_path / "a.nii", volume(voxels))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < voxels.nbytes / 4


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    write_nifti(path, volume(noise((3, 4, 5))))
    before = path.read_bytes()

    class Broken(np.ndarray):
        def __iter__(self) -> Any:
            raise OSError("the disk is full")

    with pytest.raises(StorageError, match="full"):
        write_nifti(path, volume(noise((3, 4, 6)).view(Broken)))
    assert [each.name for each in tmp_path.iterdir()] == ["a.nii"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "voxels"),
    [
        ("a.gz", noise((2, 2, 2))),
        ("a.nii", noise((2, 2, 2)).astype(bool)),
        ("a.nii", noise((2, 2))),
        ("a.nii", np.broadcast_to(np.int16(0), (1, 1, 40000))),
    ],
)
def test_images_and_names_that_do_not_fit_nifti_are_refused(
    tmp_path: Path, name: str, voxels: Any
) -> None:
    with pytest.raises(UsageError):
        write_nifti(tmp_path / name, volume(voxels))
    assert list(tmp_path.iterdir()) == []
