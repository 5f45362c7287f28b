"""Labels of one volume of a Series are not those of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tcia_assets.datasets.quality import DEFAULT_POLICIES, DROP
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.volume_choice import VolumeChoice
from tcia_assets.datasets.volume.volume_reader import open_volumes, read_volume
from tcia_assets_tests.datasets.volume.synthetic import Series, finding_codes, noise, write_zip
from tcia_assets_tests.datasets.volume.synthetic_labels import circle, rtstruct, seg
from tcia_assets_tests.datasets.volume.synthetic_volumes import volume, zipped

GTV = LabelPatterns.compile({"tumour": "GTV.*"})
SIZE = (4, 20, 24)


@pytest.fixture
def times() -> list[list[Any]]:
    """Return the objects of two times."""
    made = []
    for time in (1, 2):
        objects = volume(time, SIZE[0], TemporalPositionIdentifier=time)
        for place, each in enumerate(objects):
            each.Rows, each.Columns = SIZE[1:]
            each.PixelData = noise(SIZE, 0, 900, np.uint16)[place].tobytes()
        made.append(objects)
    return made


def refer(items: list[Any], images: list[Any]) -> None:
    """Let contours refer to images, one to each."""
    for contour, image in zip(items, images, strict=True):
        item = Dataset()
        item.ReferencedSOPClassUID = image.SOPClassUID
        item.ReferencedSOPInstanceUID = image.SOPInstanceUID
        contour.ContourImageSequence = [item]


def drawn(shifts: list[float], images: list[list[Any]]) -> Any:
    """Return an RTSTRUCT with a disc for each time, which refers to the images of that time."""
    series = Series(noise(SIZE))
    contours = [circle(series, z, (8 + by, 10), 4) for by in shifts for z in range(SIZE[0])]
    made = rtstruct({"GTV": contours})
    refer(made.ROIContourSequence[0].ContourSequence, [each for some in images for each in some])
    return made


def labels_of(tmp_path: Path, times: list[Any], made: Any) -> list[Any]:
    path = write_zip(tmp_path / "labels.zip", [made])
    with open_volumes(zipped(tmp_path, *times), VolumeChoice(pick="all")) as volumes:
        return [read_labels([path], volumes.read(place), GTV) for place in volumes.chosen]


def test_each_time_has_the_contours_that_refer_to_it(tmp_path: Path, times: list[Any]) -> None:
    first, second = labels_of(tmp_path, times, drawn([0, 8], times))
    assert finding_codes(first) == finding_codes(second) == ["labels_of_other_volumes"]
    assert np.array_equal(np.roll(first.voxels, 8, axis=2), second.voxels)


def test_labels_of_one_time_are_not_those_of_another(tmp_path: Path, times: list[Any]) -> None:
    first, second = labels_of(tmp_path, times, drawn([0], times[:1]))
    assert finding_codes(first) == []
    assert finding_codes(second) == ["labels_not_of_volume"]
    assert DEFAULT_POLICIES["labels_not_of_volume"] == DROP
    assert np.array_equal(first.voxels, second.voxels)


def test_labels_without_references_may_be_of_any_time(tmp_path: Path, times: list[Any]) -> None:
    made = drawn([0], times[:1])
    for contour in made.ROIContourSequence[0].ContourSequence:
        del contour.ContourImageSequence
    for labels in labels_of(tmp_path, times, made):
        assert finding_codes(labels) == ["volume_of_labels_unknown"]


def test_frames_refer_to_images_too(tmp_path: Path, times: list[Any]) -> None:
    mask = np.zeros((*SIZE, 2), np.uint8)
    mask[:, 4:9, 5:9, 0] = 1
    first, second = labels_of(tmp_path, times, seg(times[1], mask))
    assert "labels_not_of_volume" in finding_codes(first)
    assert "labels_not_of_volume" not in finding_codes(second)
    assert second.counts[1] == mask.sum()


def test_labels_of_the_only_volume_may_refer_to_other_series(tmp_path: Path, times: Any) -> None:
    path = write_zip(tmp_path / "labels.zip", [drawn([0], times[1:])])
    assert finding_codes(read_labels([path], read_volume(zipped(tmp_path, times[0])), GTV)) == []
