"""The zips of SEG and RTSTRUCT Series -> the labels of one volume.

What belongs here: which objects are read, and what they have in common. What does not: how each
kind says where a label lies.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tcia_assets.datasets.volume import dicom_seg, rtstruct
from tcia_assets.datasets.volume.arrays import Labels, Volume
from tcia_assets.datasets.volume.attributes import read_text
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.label_grid import LabelGrid
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip, archive


def read_labels(
    paths: Sequence[Path],
    volume: Volume,
    targets: LabelPatterns,
    *,
    sop_instance_uids: Collection[str] | None = None,
    least_fraction: float = 0.5,
) -> Labels:
    """The labels of a volume from all SEG and RTSTRUCT objects of these zips.

    They lie on the volume's grid, as uint8, or uint16 with more than 255 labels. What several
    segments claim has the label of the first priority.

    Args:
        paths: the zips; their order does not matter.
        volume: as `read_volume` gave it.
        targets: which names are which label.
        sop_instance_uids: the objects that count; all by default.
        least_fraction: of a fractional SEG's maximum, from which on a voxel is labelled.

    Raises:
        UsageError: the volume was turned or resampled.
        BadArchive, MissingExtra, OSError: see `read_volume`.

    """
    canvas = LabelGrid(volume, targets)
    unmatched: list[str] = []
    found: list[Finding] = []
    for path in sorted(paths):
        with archive(path) as opened:
            members, amiss = opened.members()
            found += amiss
            for member in members:
                uid = read_text(member.header, "SOPInstanceUID")
                if sop_instance_uids is None or uid in sop_instance_uids:
                    names, more = _put(canvas, opened, member, least_fraction)
                    unmatched += names
                    found += more
    return canvas.labels(unmatched, found)


def _put(
    canvas: LabelGrid, opened: SeriesZip, member: DicomObject, least_fraction: float
) -> tuple[list[str], list[Finding]]:
    header = member.header
    sop_class, uid = read_text(header, "SOPClassUID"), read_text(header, "SOPInstanceUID")
    if sop_class in dicom_seg.SOP_CLASSES:
        said = {read_text(header, "FrameOfReferenceUID")} - {""}
        names, found = dicom_seg.put_segmentation(
            canvas, opened, member, least_fraction=least_fraction
        )
    elif sop_class == rtstruct.SOP_CLASS:
        said = rtstruct.frames_of_reference(header)
        names, found = rtstruct.put_contours(canvas, header)
    else:
        return [], [make_finding("not_a_mask", f"SOP class {sop_class}", [uid])]
    if others := said - {canvas.volume.frame_of_reference_uid}:
        found.insert(0, make_finding("other_frame_of_reference", ", ".join(sorted(others)), [uid]))
    return names, found
