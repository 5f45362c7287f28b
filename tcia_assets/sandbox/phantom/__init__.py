"""The DICOM objects that the sandbox archive serves: real header facts, pixels of a phantom.

What belongs here: from one row of the catalogue to the Part-10 files of its Series, as pure
functions. What does not: which rows there are, zips, HTTP, faults.

The same row gives the same bytes, on each machine and in each run. Every object of a Series has the
size that `object_bytes` names, so that the archive knows a Series' size without making it.

    values        what the catalogue says -> what DICOM lets stand in an element
    anatomy       ellipsoids in patient coordinates, their sections and projections
    header        what all objects have in common
    pixels        the format of pixels, and where they lie in the patient
    volumes       CT, MR, PT: slices through the anatomy
    projections   CR, DX, MG, XA and the like: one picture an object
    ground        what a derived object lies on, and the parts that it delineates
    segmentation  SEG
    radiotherapy  RTSTRUCT, RTDOSE, RTPLAN
    documents     SR, REG
    recipes       which modality is made how, and how large
    part10        datasets -> bytes of one size
"""

from __future__ import annotations

from collections.abc import Iterator

from tcia_assets.sandbox.phantom.element_values import count
from tcia_assets.sandbox.phantom.header import Row, Submission, common, sop_instance_uids
from tcia_assets.sandbox.phantom.modalities import modality_of
from tcia_assets.sandbox.phantom.part10 import ContentTooLarge, Template

__all__ = ["ContentTooLarge", "object_bytes", "objects", "sop_class_uid", "sop_instance_uids"]


def object_bytes(modality: str | None) -> int:
    """The size of every object of a Series of that modality.

    >>> object_bytes("CT")
    12288
    """
    return modality_of(modality).object_bytes


def sop_class_uid(modality: str | None) -> str:
    """The SOP class of every object of a Series of that modality.

    >>> sop_class_uid("CT")
    '1.2.840.10008.5.1.4.1.1.2'
    """
    return modality_of(modality).sop_class


def objects(
    series: Row, source: Row | None = None, revision: int = 0
) -> Iterator[tuple[str, bytes]]:
    """Each object of a Series: its SOPInstanceUID and its file, whole.

    Args:
        series: a row of the catalogue; what is null in it is left out of the header, or empty.
        source: the row of the CT, MR or PT Series that a SEG, RTSTRUCT or RTDOSE lies on. Without
            it the object has the same content but refers to no image.
        revision: another number gives other pixels under the same UIDs, as a re-submission does.

    Raises:
        ContentTooLarge: an object does not fit into its `object_bytes`.

    """
    kind = modality_of(series.get("Modality"))
    header = common(series, kind.sop_class, revision)
    recipe = kind.recipe(header, Submission(series, source, revision))
    template = Template(recipe.header, kind.object_bytes)
    uids = sop_instance_uids(str(series["SeriesInstanceUID"]), count(series.get("ImageCount")))
    for index, uid in enumerate(uids):
        own = recipe.instance(index)
        own.SOPInstanceUID = uid
        own.InstanceNumber = index + 1
        yield uid, template.file(own)
