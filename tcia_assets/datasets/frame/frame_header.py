"""What the header of a two-dimensional image says beside its pixels: spacing, view, laterality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.attributes import (
    first_item,
    read_number,
    read_numbers,
    read_text,
    read_texts,
)
from tcia_assets.datasets.volume.findings import Finding, make_finding

# Of one pixel on the detector or film, which is larger than in the patient.
_ON_DETECTOR = ("ImagerPixelSpacing", "NominalScannedPixelSpacing")
_CENTIMETRES, _MM_PER_CM = 3, 10.0
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Views that mammography writes as codes only: SNOMED CT, and the older SNOMED RT.
_VIEW_CODES: Mapping[str, str] = {
    **dict.fromkeys(("399162004", "R-10242"), "CC"),
    **dict.fromkeys(("399368009", "R-10226"), "MLO"),
    **dict.fromkeys(("399260004", "R-10224"), "ML"),
    **dict.fromkeys(("399352003", "R-10228"), "LM"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399067008", "R-10214"), "PA"),
}


@dataclass(frozen=True)
class FrameHeader:
    """What the header of an object says of each of its frames.

    Attributes:
        spacing: Millimetres from column to column and from row to row; None if it is not known.
        view: ViewPosition, or the code of the view; "" without either.
        laterality: ImageLaterality, or Laterality: L, R, B or U; "" without either.
        orientation: PatientOrientation: the directions of rows and columns, with a backslash.
        findings: What may be wrong with the object.
    """

    spacing: tuple[float, float] | None
    view: str
    laterality: str
    orientation: str
    findings: tuple[Finding, ...]


def read_frame_header(header: Dataset) -> FrameHeader:
    """Read the header of an object."""
    spacing, is_of_detector = _read_spacing(header)
    uid = read_text(header, "SOPInstanceUID")
    codes = _codes(header, spacing, is_of_detector=is_of_detector)
    return FrameHeader(
        spacing=spacing,
        view=read_text(header, "ViewPosition") or _coded_view(header),
        laterality=read_text(header, "ImageLaterality") or read_text(header, "Laterality"),
        orientation="\\".join(read_texts(header, "PatientOrientation")),
        findings=tuple(make_finding(code, detail, [uid]) for code, detail in codes),
    )


def _codes(
    header: Dataset, spacing: tuple[float, float] | None, *, is_of_detector: bool
) -> Iterator[tuple[str, str]]:
    if spacing is None:
        yield "without_spacing", ""
    elif is_of_detector:
        yield "detector_spacing", f"{spacing[0]:g} by {spacing[1]:g} mm"
    if read_text(header, "BurnedInAnnotation").upper() == "YES":
        yield "burned_in_annotation", ""
    if read_text(header, "PresentationIntentType").upper() == "FOR PROCESSING":
        yield "for_processing", ""
    if read_text(header, "SOPClassUID").startswith(_SECONDARY_CAPTURE):
        yield "converted_image", read_text(header, "ConversionType")


def _read_spacing(header: Dataset) -> tuple[tuple[float, float] | None, bool]:
    """Return the spacing, and whether it is that of the detector."""
    if (spacing := _positive(header, "PixelSpacing")) is not None:
        return spacing, False
    if (spacing := _ultrasound_spacing(header)) is not None:
        return spacing, False
    found = (_positive(header, keyword) for keyword in _ON_DETECTOR)
    return next((each for each in found if each is not None), None), True


def _positive(header: Dataset, keyword: str) -> tuple[float, float] | None:
    spacing = read_numbers(header, keyword, 2)
    if spacing is None or min(spacing) <= 0:
        return None
    return spacing[1], spacing[0]  # DICOM has that of rows first


def _ultrasound_spacing(header: Dataset) -> tuple[float, float] | None:
    """Return the spacing in the regions of tissue, if all have the same."""
    found = set()
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        units = {read_number(region, f"PhysicalUnits{axis}Direction") for axis in "XY"}
        if units == {_CENTIMETRES}:
            x, y = (abs(read_number(region, f"PhysicalDelta{axis}") or 0) for axis in "XY")
            found.add((x * _MM_PER_CM, y * _MM_PER_CM))
    (spacing,) = found if len(found) == 1 else (None,)
    return spacing if spacing is not None and min(spacing) > 0 else None


def _coded_view(header: Dataset) -> str:
    code = first_item(header, "ViewCodeSequence")
    if code is None:
        return ""
    return _VIEW_CODES.get(read_text(code, "CodeValue")) or read_text(code, "CodeMeaning")
