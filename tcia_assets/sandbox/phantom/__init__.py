"""The DICOM objects that the sandbox serves: headers from real rows, pixels of a phantom.

Pure functions make the Part-10 files of a Series from its row in the catalogue.

The same row gives the same bytes on every machine. Every object of a Series has the size
`object_bytes`, so that the size of a Series is known without making it.

    element_values     valid DICOM values from values of the catalogue
    anatomy            ellipsoids in patient coordinates, their sections and projections
    header             the elements that all objects have in common
    pixels             the format of pixels, and their position in the patient
    volumes            CT, MR, PT: slices through the anatomy
    projections        CR, DX, MG, XA and others: one projection per object
    referenced_series  the image Series that a SEG, RTSTRUCT or RTDOSE refers to
    segmentation       SEG
    radiotherapy       RTSTRUCT, RTDOSE, RTPLAN
    documents          SR, REG
    modalities         how each modality is made, and how large
    part10             files of a fixed size from datasets
"""

from __future__ import annotations

from collections.abc import Iterator

from tcia_assets.sandbox.phantom.element_values import count
from tcia_assets.sandbox.phantom.header import Row, Submission, common_header, sop_instance_uids
from tcia_assets.sandbox.phantom.modalities import MODALITIES, modality_of
from tcia_assets.sandbox.phantom.part10 import ContentTooLarge, Template

__all__ = [
    "MODALITIES",
    "ContentTooLarge",
    "SeriesFiles",
    "object_bytes",
    "objects",
    "sop_class_uid",
    "sop_instance_uids",
]


def object_bytes(modality: str | None) -> int:
    """Return the bytes of every object of a Series of this modality.

    >>> object_bytes("CT")
    12288
    """
    return modality_of(modality).object_bytes


def sop_class_uid(modality: str | None) -> str:
    """Return the SOP class of every object of a Series of this modality.

    >>> sop_class_uid("CT")
    '1.2.840.10008.5.1.4.1.1.2'
    """
    return modality_of(modality).sop_class


class SeriesFiles:
    """The DICOM objects of a Series, by their number from 0; each is made when it is asked for.

    Args:
        series: A row of the catalogue; null values are left out of the header, or empty.
        source: The row of the CT, MR or PT Series to which a SEG, RTSTRUCT or RTDOSE refers.
            Without it the object has the same content but no references.
        revision: A different number gives different pixels under the same UIDs, like a
            re-submission.

    Attributes:
        uids: The SOPInstanceUID of each.
    """

    def __init__(self, series: Row, source: Row | None = None, revision: int = 0) -> None:
        kind = modality_of(series.get("Modality"))
        header = common_header(series, kind.sop_class, revision)
        self._recipe = kind.recipe(header, Submission(series, source, revision))
        self._template = Template(self._recipe.header, kind.object_bytes)
        self.uids = sop_instance_uids(
            str(series["SeriesInstanceUID"]), count(series.get("ImageCount"))
        )

    def file(self, index: int) -> bytes:
        """Return the file of an object.

        Raises:
            ContentTooLarge: It does not fit into its `object_bytes`.
        """
        own = self._recipe.instance(index)
        own.SOPInstanceUID = self.uids[index]
        own.InstanceNumber = index + 1
        return self._template.file(own)


def objects(
    series: Row, source: Row | None = None, revision: int = 0
) -> Iterator[tuple[str, bytes]]:
    """Yield the SOPInstanceUID and the file of each object of a Series.

    Args and errors are those of `SeriesFiles`.
    """
    files = SeriesFiles(series, source, revision)
    for index, uid in enumerate(files.uids):
        yield uid, files.file(index)
