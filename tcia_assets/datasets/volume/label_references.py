"""Which volume of a Series labels belong to, where the Series has several.

Frames of a SEG and contours of an RTSTRUCT may refer to the images on which they were drawn. If
some of an object refer to images of the volume, the others belong to other volumes. A SEG with a
frame for each time would otherwise be the union of all times, at each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.arrays import Volume
from tcia_assets.datasets.volume.attributes import read_text
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import FunctionalGroups

References = frozenset[str]
Item = TypeVar("Item")


def references_of_frame(groups: FunctionalGroups) -> References:
    """Return the SOPInstanceUIDs of the images of which a frame was derived."""
    derivations = groups.own.get("DerivationImageSequence") or groups.shared.get(
        "DerivationImageSequence"
    )
    items = (item.get("SourceImageSequence") or [] for item in derivations or [])
    return _uids(image for images in items for image in images)


def references_of_contour(contour: Dataset) -> References:
    """Return the SOPInstanceUIDs of the images on which a contour was drawn."""
    return _uids(contour.get("ContourImageSequence") or [])


def select_own(
    volume: Volume,
    items: Sequence[Item],
    references_of: Callable[[Item], References],
    sop_instance_uid: str,
) -> tuple[list[Item], list[Finding]]:
    """Return the frames or contours of an object that belong to a volume, and findings about them.

    All belong to the only volume of a Series, whatever they refer to. All are used, too, if none
    refers to the volume, or if its images are one object, which a reference does not divide.

    Args:
        volume: As `read_volume` returned it.
        items: Frames or contours.
        references_of: The references of one.
        sop_instance_uid: Of the object.
    """
    if not volume.number or not items:
        return list(items), []
    images = {each.sop_instance_uid for each in volume.slices}
    is_one_object = len(images) == 1 < len(volume.slices)
    references = [frozenset() if is_one_object else references_of(item) for item in items]
    unknown = sum(not each for each in references)
    others = sum(bool(each) and not each & images for each in references)
    has_own = any(each & images for each in references)
    codes = {
        "volume_of_labels_unknown": unknown,
        "labels_of_other_volumes" if has_own else "labels_not_of_volume": others,
    }
    findings = [
        make_finding(
            code, f"{count} of {len(items)} frames or contours", [sop_instance_uid], items=count
        )
        for code, count in codes.items()
        if count
    ]
    own = [
        item
        for item, each in zip(items, references, strict=True)
        if not has_own or not each or each & images
    ]
    return own, findings


def _uids(items: Iterable[Dataset]) -> References:
    return frozenset(read_text(item, "ReferencedSOPInstanceUID") for item in items) - {""}
