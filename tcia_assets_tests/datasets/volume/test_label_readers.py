"""Drawings of one structure by several readers are found, and combined as the user chooses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.volume.label_grid import LabelChoices
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    finding_codes,
    noise,
    one_finding,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_labels import circle, rtstruct

SHAPE = (5, 40, 44)
SERIES = Series(noise(SHAPE), spacing=(1.0, 1.0, 2.5))
TUMOUR = LabelPatterns.compile({"tumour": "(?i)gtv.*", "lung": "Lung"})

Discs = dict[str, tuple[float, float, float]]
# Three readers of one tumour: x, y and radius.
THREE: Sequence[Discs] = (
    {"GTV": (20.3, 18.2, 9.0)},
    {"GTV": (22.3, 18.2, 9.0)},
    {"GTV": (27.3, 20.2, 7.0)},
)


def disc(x: float, y: float, radius: float) -> Any:
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def read(
    tmp_path: Path, objects: Sequence[Discs], readers: str = "union", dates: Sequence[str] = ()
) -> Any:
    """Read objects with a disc in slice 2 for each ROI."""
    volume = read_volume(write_zip(tmp_path / "ct.zip", SERIES.objects()))
    paths = []
    for number, rois in enumerate(objects, start=1):
        made = rtstruct(
            {name: [circle(SERIES, 2, each[:2], each[2])] for name, each in rois.items()}
        )
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        made.StructureSetDate = dates[number - 1] if dates else ""
        paths.append(write_zip(tmp_path / f"{number}.zip", [made]))
    return read_labels(paths, volume, TUMOUR, choices=LabelChoices(readers=readers))


def votes() -> Any:
    return np.sum([disc(*rois["GTV"]) for rois in THREE], axis=0)


def test_several_readers_are_united_and_reported(tmp_path: Path) -> None:
    labels = read(tmp_path, THREE)
    assert np.array_equal(labels.voxels[2] == 1, votes() > 0)
    found = one_finding(labels, "several_readers")
    assert found.sop_instance_uids == ("1.2.1", "1.2.2", "1.2.3")
    assert found.numbers == {
        "label": 1,
        "readers": 3,
        "structures": 1,
        "voxels_of_all": (votes() == 3).sum(),
        "voxels_of_any": (votes() > 0).sum(),
    }


def test_the_majority_needs_more_than_half(tmp_path: Path) -> None:
    assert np.array_equal(read(tmp_path, THREE, "majority").voxels[2] == 1, votes() >= 2)
    two = np.sum([disc(*rois["GTV"]) for rois in THREE[:2]], axis=0)
    assert np.array_equal(read(tmp_path, THREE[:2], "majority").voxels[2] == 1, two == 2)


def test_staple_gives_more_weight_to_readers_who_agree(tmp_path: Path) -> None:
    labels = read(tmp_path, [*THREE[:1] * 3, THREE[2]], "staple")
    assert np.array_equal(labels.voxels[2] == 1, disc(*THREE[0]["GTV"]))
    same = read(tmp_path, THREE[:1] * 3, "staple")
    assert np.array_equal(same.voxels[2] == 1, disc(*THREE[0]["GTV"]))


def test_the_first_reader_drew_first(tmp_path: Path) -> None:
    labels = read(tmp_path, THREE, "first", dates=("", "20200103", "20200102"))
    assert np.array_equal(labels.voxels[2] == 1, disc(*THREE[2]["GTV"]))
    labels = read(tmp_path, THREE, "first")
    assert np.array_equal(labels.voxels[2] == 1, disc(*THREE[0]["GTV"]))


def test_each_reader_has_labels_along_a_fourth_axis(tmp_path: Path) -> None:
    labels = read(tmp_path, THREE, "each")
    assert labels.voxels.shape == (3, *SHAPE)
    assert labels.readers == (("1.2.1",), ("1.2.2",), ("1.2.3",))
    for layer, rois in zip(labels.voxels, THREE, strict=True):
        assert np.array_equal(layer[2] == 1, disc(*rois["GTV"]))
    assert labels.counts[1] == votes().sum()
    alone = read(tmp_path, THREE[:1], "each")
    assert (alone.voxels.shape, alone.readers) == ((1, *SHAPE), (("1.2.1",),))


@pytest.mark.parametrize("readers", ["union", "first", "majority", "staple"])
def test_two_tumours_are_not_two_readers(tmp_path: Path, readers: str) -> None:
    apart = [{"GTV-1": (10.3, 10.2, 5.0)}, {"GTV-2": (30.3, 28.2, 6.0)}]
    labels = read(tmp_path, apart, readers)
    both = disc(*apart[0]["GTV-1"]) | disc(*apart[1]["GTV-2"])
    assert np.array_equal(labels.voxels[2] == 1, both)
    assert finding_codes(labels) == ["target_missing"]


def test_an_object_for_each_tumour_and_reader_gives_a_layer_for_each_reader(
    tmp_path: Path,
) -> None:
    """As LIDC-IDRI has it: an object for each nodule and reader, and no name of the reader."""
    first, second = (10.3, 10.2, 5.0), (30.3, 28.2, 6.0)
    moved = [{"GTV": (x + shift, y, r)} for x, y, r in (first, second) for shift in (0, 1, 2)]
    labels = read(tmp_path, moved, "each")
    assert labels.voxels.shape == (3, *SHAPE)
    for layer in labels.voxels:
        assert layer[2, 10, 10] == layer[2, 28, 31] == 1
    agreed = read(tmp_path, moved, "majority")
    assert np.array_equal(agreed.voxels[2] == 1, disc(11.3, 10.2, 5) | disc(31.3, 28.2, 6))
    assert one_finding(agreed, "several_readers").numbers["structures"] == 2


def test_readers_in_one_object_are_told_apart_by_how_much_they_overlap(tmp_path: Path) -> None:
    """As NSCLC-Radiomics-Interobserver1 has it: an ROI for each reader."""
    rois = {f"GTV-{n}": discs["GTV"] for n, discs in enumerate(THREE)}
    labels = read(tmp_path, [rois], "majority")
    assert np.array_equal(labels.voxels[2] == 1, votes() >= 2)
    assert one_finding(labels, "several_readers").numbers["readers"] == 3
    touching = {"GTV-p": (12.3, 18.2, 8.0), "GTV-n": (24.3, 18.2, 6.0)}
    labels = read(tmp_path, [touching], "majority")
    both = disc(*touching["GTV-p"]) | disc(*touching["GTV-n"])
    assert np.array_equal(labels.voxels[2] == 1, both)
    assert finding_codes(labels) == ["target_missing"]


def test_tumours_that_touch_do_not_vote_against_each_other(tmp_path: Path) -> None:
    touching = {"GTV-p": (12.3, 18.2, 8.0), "GTV-n": (24.3, 18.2, 6.0)}
    moved = {name: (x + 1, y, r) for name, (x, y, r) in touching.items()}
    labels = read(tmp_path, [touching, moved], "majority")
    unions = [disc(*rois["GTV-p"]) | disc(*rois["GTV-n"]) for rois in (touching, moved)]
    assert np.array_equal(labels.voxels[2] == 1, unions[0] & unions[1])


def test_labels_are_combined_before_priority_decides(tmp_path: Path) -> None:
    objects = [{"GTV": (20.3, 18.2, 5.0), "Lung": (20.3, 18.2, 12.0)}, {"Lung": (22.3, 18.2, 12.0)}]
    labels = read(tmp_path, objects, "majority")
    lung = disc(*objects[0]["Lung"]) & disc(*objects[1]["Lung"])
    tumour = disc(*objects[0]["GTV"])
    assert np.array_equal(labels.voxels[2], np.where(tumour, 1, np.where(lung, 2, 0)))
    assert one_finding(labels, "overlapping_labels").numbers == {"voxels": (tumour & lung).sum()}
