"""SEG and RTSTRUCT objects with known labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes as sr_codes
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from tcia_assets.datasets.volume.arrays import Slice, Volume
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    FRAME,
    SERIES,
    Series,
    blank,
    write_zip,
)

_CONTOUR_DATA = Tag("ContourData")
# An odd number of pixels, so that frames of one bit each do not end with a byte.
SHAPE = (6, 33, 35)
TWO = LabelPatterns.compile({"tumour": "(?i)gtv.*", "lung": "Lung.*"})


def masks(*shape: int) -> Any:
    """Return two boxes as segments, [z, y, x, segment]."""
    made = np.zeros((*(shape or SHAPE), 2), np.uint8)
    made[1:4, 2:5, 3:8, 0] = 1
    made[3:6, 4:9, 0:5, 1] = 1
    return made


def expected(mask: Any) -> Any:
    """Return the labels of the masks: the first one wins."""
    return np.where(mask[..., 0] > 0, 1, np.where(mask[..., 1] > 0, 2, 0))


def seg(
    sources: list[Any],
    mask: Any,
    kind: str = "BINARY",
    syntax: Any = ExplicitVRLittleEndian,
    **more: Any,
) -> Any:
    described = [
        highdicom.seg.SegmentDescription(
            number,
            name,
            sr_codes.SCT.Tissue,
            sr_codes.SCT.Tissue,
            SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(("GTV-1", "Lung_L"), start=1)
    ]
    made = highdicom.seg.Segmentation(
        sources,
        mask,
        SegmentationTypeValues[kind],
        described,
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        "made",
        "made",
        "1",
        "1",
        # It writes no deflated objects, though pydicom does.
        transfer_syntax_uid=ExplicitVRLittleEndian if syntax.is_deflated else syntax,
        max_fractional_value=200,
        **more,
    )
    made.file_meta.TransferSyntaxUID = syntax
    return made


def place_seg(tmp_path: Path, series: Series, made: Any, targets: Any = TWO, **more: Any) -> Any:
    volume = read_volume(write_zip(tmp_path / "ct.zip", series.objects()))
    return read_labels([write_zip(tmp_path / "seg.zip", [made])], volume, targets, **more)


def volume_of(series: Series) -> Volume:
    """Return the volume that a Series gives, without writing it."""
    positions = [series.origin + place * series.step for place in range(len(series.values))]
    slices = tuple(Slice("1.2", tuple(map(float, position))) for position in positions)
    return Volume(series.values, series.affine, SERIES, FRAME, "CT", "HU", slices)


def rtstruct(rois: dict[str, Sequence[Any]], kind: str = "CLOSED_PLANAR") -> FileDataset:
    """Return an RTSTRUCT.

    Args:
        rois: Contours by ROI name, each an array of points in LPS millimetres.
        kind: ContourGeometricType.
    """
    made = blank("1.2.840.10008.5.1.4.1.1.481.3", f"{SERIES}.481")
    made.Modality = "RTSTRUCT"
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, FRAME
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType = kind
            contour.NumberOfContourPoints = len(points)
            contour[_CONTOUR_DATA] = _decimals(points)
            drawn.ContourSequence.append(contour)
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(drawn)
    return made


def _decimals(points: Any) -> RawDataElement:
    # As bytes: pydicom makes an object of each number, which takes most of the time of an RTSTRUCT.
    text = "\\".join(f"{value:.9g}"[:16] for value in np.asarray(points).ravel())
    value = (text + " " * (len(text) % 2)).encode()
    flags = {"is_implicit_VR": False, "is_little_endian": True}
    return RawDataElement(_CONTOUR_DATA, "DS", len(value), value, 0, **flags)


def circle(
    series: Series, place: float, centre: tuple[float, float], radius: float, points: int = 720
) -> Any:
    """Return a circle around a pixel (x, y) of a slice, as points in LPS millimetres.

    The radius is in pixels.
    """
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
    columns = np.stack([x, y, np.full(points, float(place)), np.ones(points)])
    return (series.affine_lps @ columns)[:3].T
