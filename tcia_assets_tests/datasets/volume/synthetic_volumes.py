"""Series of several volumes: each with values of its own, in objects with consistent UIDs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import EnhancedMRImageStorage

from tcia_assets_tests.datasets.volume import synthetic
from tcia_assets_tests.datasets.volume.synthetic import SERIES, Series, noise, write_zip

SHAPE = (6, 5, 4)
PER_VOLUME = 100


def values_of(number: int, slices: int = SHAPE[0]) -> Any:
    """Return the values of the n-th volume, from 0."""
    return noise((slices, *SHAPE[1:]), 0, 900) + np.int16(1000 * number)


def volume(number: int, slices: int = SHAPE[0], **attributes: Any) -> list[Any]:
    """Return the slices of the n-th volume; each attribute is one value, or one for each slice."""
    more = {key: attributes.pop(key) for key in ("origin", "spacing") if key in attributes}
    modality = attributes.pop("modality", "MR")
    series = Series(values_of(number, slices), modality=modality, **more)
    objects = series.objects()
    for place, each in enumerate(objects):
        uid = f"{SERIES}.{number * PER_VOLUME + place + 1}"
        each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = uid
        each.InstanceNumber = number * PER_VOLUME + place + 1
        for keyword, value in attributes.items():
            setattr(each, keyword, value[place] if isinstance(value, _Each) else value)
    return objects


class _Each(list[Any]):
    """A value for each slice."""


def each(*values: Any) -> Any:
    """Mark values as one for each slice."""
    return _Each(values)


def zipped(folder: Path, *volumes: list[Any]) -> Path:
    """Write the objects of some volumes as one Series."""
    return write_zip(folder / "a.zip", [each for objects in volumes for each in objects])


def enhanced(*volumes: dict[str, Any]) -> Any:
    """Return an enhanced MR object with the frames of several volumes, the slices one by one.

    Each volume is a mapping from the sequence of a functional group to its attributes.
    """
    made = synthetic.blank(EnhancedMRImageStorage, "1.2.8")
    values = [values_of(number) for number in range(len(volumes))]
    frames = np.stack([each[z] for z in range(SHAPE[0]) for each in values])
    made.Modality, made.NumberOfFrames = "MR", len(frames)
    synthetic.set_pixels(made, frames)
    synthetic.enhance(made, len(frames))
    for index, own in enumerate(made.PerFrameFunctionalGroupsSequence):
        place, number = divmod(index, len(volumes))
        series = Series(orientation=synthetic.OBLIQUE)
        position = list(np.round(series.origin + place * series.step, 6))
        own.PlanePositionSequence[0].ImagePositionPatient = position
        for sequence, attributes in volumes[number].items():
            item = pydicom.Dataset()
            for keyword, value in attributes.items():
                setattr(item, keyword, value)
            setattr(own, sequence, [item])
    return made
