"""The image Series that a derived object refers to, and the structures delineated in it.

SEG, RTSTRUCT and RTDOSE share it.
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

_ASSUMED_SLICES = 60  # of an unknown Series
SOP_CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}


@dataclass(frozen=True)
class Structure:
    """A segmented tissue, and its codes in SEG and RTSTRUCT."""

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
    """The Series that an object refers to, or a substitute to which it does not refer."""

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
        """Return a reference to a slice, as a sequence; empty if the Series is unknown."""
        if self.source is None:
            return []
        return [
            dataset(
                ReferencedSOPClassUID=SOP_CLASSES[str(self.source["Modality"])],
                ReferencedSOPInstanceUID=self._uids[index],
            )
        ]


def _has_slices(row: Row) -> bool:
    # A reference needs a valid UID.
    referable = element_values.uid(row.get("SeriesInstanceUID")) is not None
    return referable and row.get("Modality") in SOP_CLASSES and grid_of(row).count > 0
