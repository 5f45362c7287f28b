"""What a derived object lies on: its source's slices, and the parts that it delineates there.

What belongs here: what SEG, RTSTRUCT and RTDOSE share. What does not: how each writes it down.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from tcia_assets.sandbox.phantom import element_values
from tcia_assets.sandbox.phantom.anatomy import BODY, LESION, Grid, anatomy
from tcia_assets.sandbox.phantom.header import Row, Submission, dataset, sop_instance_uids
from tcia_assets.sandbox.phantom.pixels import grid_of

_ASSUMED_SLICES = 60  # of a source that is not known
SOP_CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}


@dataclass(frozen=True)
class Structure:
    """A tissue that is segmented, and how SEG and RTSTRUCT speak of it."""

    number: int
    tissue: str
    label: str
    category: tuple[str, str, str]
    type: tuple[str, str, str]
    interpreted: str
    color: tuple[int, int, int]


STRUCTURES = (
    Structure(
        1,
        BODY,
        "Body",
        ("123037004", "SCT", "Anatomical Structure"),
        ("38266002", "SCT", "Entire body"),
        "EXTERNAL",
        (0, 200, 0),
    ),
    Structure(
        2,
        LESION,
        "Lesion",
        ("49755003", "SCT", "Morphologically Altered Structure"),
        ("52988006", "SCT", "Lesion"),
        "GTV",
        (255, 0, 0),
    ),
)


class ReferencedSeries:
    """The Series that an object lies on, or one that stands in for it and is never referred to."""

    def __init__(self, submission: Submission) -> None:
        source = submission.source
        usable = source if source is not None and _has_slices(source) else None
        self.row = submission.series if usable is None else usable
        self.grid = Grid.of("", _ASSUMED_SLICES) if usable is None else grid_of(usable)
        self.ellipsoids = anatomy(str(self.row.get("PatientID")), submission.revision)
        self.source = usable
        uid = str(self.row.get("SeriesInstanceUID"))
        self._uids = [] if usable is None else sop_instance_uids(uid, self.grid.count)

    def reference(self, index: int) -> list[Dataset]:
        """A sequence of the object that a slice is; empty where the source is not known."""
        if self.source is None:
            return []
        return [
            dataset(
                ReferencedSOPClassUID=SOP_CLASSES[str(self.source["Modality"])],
                ReferencedSOPInstanceUID=self._uids[index],
            )
        ]


def _has_slices(row: Row) -> bool:
    # a Series without a valid UID cannot be referred to
    referable = element_values.uid(row.get("SeriesInstanceUID")) is not None
    return referable and row.get("Modality") in SOP_CLASSES and grid_of(row).count > 0
