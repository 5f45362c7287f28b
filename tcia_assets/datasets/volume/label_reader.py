"""Read the labels of a volume from zips of SEG and RTSTRUCT Series."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tcia_assets.datasets.volume import dicom_seg, rtstruct
from tcia_assets.datasets.volume.arrays import Labels, Volume
from tcia_assets.datasets.volume.attributes import read_text
from tcia_assets.datasets.volume.findings import make_finding
from tcia_assets.datasets.volume.label_grid import LabelChoices, LabelGrid
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip, open_series_zip

_DEFAULTS = LabelChoices()


def read_labels(
    paths: Sequence[Path],
    volume: Volume,
    patterns: LabelPatterns,
    *,
    sop_instance_uids: Collection[str] | None = None,
    choices: LabelChoices = _DEFAULTS,
) -> Labels:
    """Read the labels of a volume from all SEG and RTSTRUCT objects of some zips.

    They have the volume's grid, in uint8, or in uint16 if there are more than 255 labels. Where
    several segments overlap, the label of the highest priority wins. Voxels of a fractional SEG
    have a label from half of its maximum on.

    Args:
        paths: The zips, in any order.
        volume: As `read_volume` returned it.
        patterns: Which names of segments and ROIs are which label.
        sop_instance_uids: Only use these objects; None uses all.
        choices: What is between drawn slices, and how several readers are combined.

    Raises:
        UsageError: The volume was reoriented or resampled.
        BadArchive, MissingExtra, OSError: See `read_volume`.
    """
    grid = LabelGrid(volume, patterns)
    for path in sorted(paths):
        with open_series_zip(path) as series_zip:
            dicom_objects, unreadable = series_zip.read_headers()
            grid.findings += unreadable
            for each in dicom_objects:
                uid = read_text(each.header, "SOPInstanceUID")
                if sop_instance_uids is None or uid in sop_instance_uids:
                    _set_labels(grid, series_zip, each)
    return grid.to_labels(choices)


def _set_labels(grid: LabelGrid, series_zip: SeriesZip, dicom_object: DicomObject) -> None:
    """Set all labels of an object."""
    header = dicom_object.header
    sop_class, uid = read_text(header, "SOPClassUID"), read_text(header, "SOPInstanceUID")
    if sop_class in dicom_seg.SOP_CLASSES:
        _check_frames_of_reference(grid, uid, {read_text(header, "FrameOfReferenceUID")} - {""})
        dicom_seg.set_segments(grid, series_zip, dicom_object)
    elif sop_class == rtstruct.SOP_CLASS:
        _check_frames_of_reference(grid, uid, rtstruct.frames_of_reference(header))
        rtstruct.set_rois(grid, header)
    else:
        grid.findings.append(make_finding("not_a_mask", f"SOP class {sop_class}", [uid]))


def _check_frames_of_reference(grid: LabelGrid, uid: str, found: set[str]) -> None:
    if others := found - {grid.volume.frame_of_reference_uid}:
        detail = ", ".join(sorted(others))
        grid.findings.append(make_finding("other_frame_of_reference", detail, [uid]))
