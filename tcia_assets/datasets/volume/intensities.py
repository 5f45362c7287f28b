"""Stored pixels to values with a unit: Hounsfield units, SUV, or what slope and intercept give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.arrays import Voxels
from tcia_assets.datasets.volume.attributes import read_text
from tcia_assets.datasets.volume.findings import ZERO_VARIANCE, Finding, make_finding
from tcia_assets.datasets.volume.frames import Frame
from tcia_assets.datasets.volume.padding import take_out
from tcia_assets.datasets.volume.pixels import StoredPixels, rescale
from tcia_assets.datasets.volume.suv import NoSuvFactor, suv_factor

HOUNSFIELD, SUV, STORED, ACTIVITY = "HU", "SUVbw", "stored", "Bq/ml"
UNITS: Mapping[str, tuple[str, ...]] = {
    "CT": (HOUNSFIELD, STORED),
    "PT": (SUV, ACTIVITY, STORED),
}
"""The units that a Modality may be in, the default first; all others are `stored`."""

# Of the attribute Units.
_ACTIVITY_CODE = "BQML"
# The highest SUV of a scan is far from both: a dose in MBq, or a weight in grams, is not.
_LEAST_SUV, _GREATEST_SUV = 0.1, 1000.0
# Padding that is not declared is above the first, metal in an extended CT scale below the second.
_LEAST_HU, _GREATEST_HU = -8192.0, 32767.0
_FEW = 10


@dataclass(frozen=True)
class Intensities:
    """Voxels [z, y, x], their unit, and findings about both."""

    voxels: Voxels
    units: str
    findings: tuple[Finding, ...]


def apply(
    frames: Sequence[Frame],
    pixels: StoredPixels,
    series: Iterable[Frame],
    units: Mapping[str, str] = MappingProxyType({}),
) -> Intensities:
    """Rescale the pixels of a stack.

    Args:
        frames: The slices.
        pixels: Theirs; they may be overwritten.
        series: The slices of all volumes of the Series: a PET is corrected for decay to the start
            of the whole scan.
        units: The units to use, by Modality, where they are not the defaults of `UNITS`.
    """
    modality = read_text(frames[0].dicom_object.header, "Modality")
    wanted = units.get(modality, UNITS.get(modality, (STORED,))[0])
    factor, unit, findings = _scale(frames, modality, series, wanted)
    slopes = np.array([frame.slope * factor for frame in frames])
    intercepts = np.array([frame.intercept * factor for frame in frames])
    is_hounsfield = unit == HOUNSFIELD
    padding = take_out(frames, pixels, slopes, intercepts, is_hounsfield=is_hounsfield)
    findings += padding.findings
    if is_hounsfield:
        findings += _hounsfield_findings(pixels, slopes, intercepts)
        findings += _offset_findings(frames)
    elif unit == SUV:
        findings += _suv_findings(pixels, slopes, intercepts)
    voxels = rescale(pixels, slopes, intercepts)
    padding.fill(voxels)
    findings += [*_inversion_findings(frames), *_variance_findings(pixels, voxels)]
    return Intensities(voxels, unit, tuple(findings))


def _scale(
    frames: Sequence[Frame], modality: str, series: Iterable[Frame], wanted: str
) -> tuple[float, str, list[Finding]]:
    """Return a factor for rescaled values, their unit after it, and findings."""
    if modality == "PT":
        return _scale_of_pet(frames, series, wanted)
    # PET scanners scale each slice separately; in other modalities that is unusual.
    scales = {(frame.slope, frame.intercept) for frame in frames}
    findings = [make_finding("mixed_rescale", scales=len(scales))] if len(scales) > 1 else []
    if wanted != HOUNSFIELD:
        return 1.0, STORED, findings
    if reasons := sorted({_why_not_hounsfield(frame) for frame in frames} - {""}):
        return 1.0, STORED, [*findings, make_finding("not_hounsfield", ", ".join(reasons))]
    return 1.0, HOUNSFIELD, findings


def _scale_of_pet(
    frames: Sequence[Frame], series: Iterable[Frame], wanted: str
) -> tuple[float, str, list[Finding]]:
    units = sorted({read_text(header, "Units") or "unknown" for header in _headers(frames)})
    if wanted == SUV:
        try:
            return _suv_factor(frames, series), SUV, []
        except NoSuvFactor as error:
            detail = f"{error}; the unit is {units[0]}"
            return 1.0, STORED, [make_finding("pet_without_suv_factors", detail)]
    if wanted == ACTIVITY and units != [_ACTIVITY_CODE]:
        detail = f"{ACTIVITY}; the unit is {', '.join(units)}"
        return 1.0, STORED, [make_finding("not_in_declared_unit", detail)]
    return 1.0, wanted, []


def _suv_factor(frames: Sequence[Frame], series: Iterable[Frame]) -> float:
    if any(frame.rescale_type is None for frame in frames):
        raise NoSuvFactor("RescaleSlope of a slice is missing or 0")
    return suv_factor(_headers(frames), _headers(series))


def _headers(frames: Iterable[Frame]) -> list[Dataset]:
    """Return the header of each object once."""
    return list({id(frame.dicom_object): frame.dicom_object.header for frame in frames}.values())


def _why_not_hounsfield(frame: Frame) -> str:
    """Return why the values of a CT slice are not Hounsfield units; "" if they are."""
    if frame.dicom_object.header.get("ModalityLUTSequence"):
        return "the header has a ModalityLUTSequence"
    if frame.rescale_type is None:
        return "RescaleSlope is missing or 0"
    is_hounsfield = frame.rescale_type.upper() in {"", HOUNSFIELD}
    return "" if is_hounsfield else f"RescaleType is {frame.rescale_type!r}"


def _hounsfield_findings(pixels: StoredPixels, slopes: Voxels, intercepts: Voxels) -> list[Finding]:
    ends = np.array([pixels.lowest * slopes, pixels.highest * slopes]) + intercepts
    outside = 0
    for z in np.flatnonzero((ends < _LEAST_HU).any(axis=0) | (ends > _GREATEST_HU).any(axis=0)):
        values = pixels.voxels[z] * slopes[z] + intercepts[z]
        outside += int(np.count_nonzero((values < _LEAST_HU) | (values > _GREATEST_HU)))
    if outside <= _FEW:
        return []
    least, greatest = float(ends.min()), float(ends.max())
    detail = f"{outside} voxels; they are from {least:g} to {greatest:g}"
    numbers = {"voxels": outside, "least": least, "greatest": greatest}
    return [make_finding("implausible_hounsfield", detail, **numbers)]


def _offset_findings(frames: Sequence[Frame]) -> Iterator[Finding]:
    """Report that no voxel can be below 0 HU, as air and fat are: the intercept was lost."""
    if all(
        frame.dtype is not None
        and frame.dtype.kind == "u"
        and frame.slope > 0
        and frame.intercept >= 0
        for frame in frames
    ):
        detail = "unsigned pixels without a negative RescaleIntercept are never below 0 HU"
        yield make_finding("implausible_hounsfield", detail, least=0.0)


def _suv_findings(pixels: StoredPixels, slopes: Voxels, intercepts: Voxels) -> list[Finding]:
    ends = np.array([pixels.lowest * slopes, pixels.highest * slopes]) + intercepts
    greatest = float(ends.max())
    if _LEAST_SUV <= greatest <= _GREATEST_SUV or not pixels.highest.any():
        return []
    return [make_finding("implausible_suv", f"the highest is {greatest:.6g}", greatest=greatest)]


def _inversion_findings(frames: Sequence[Frame]) -> Iterator[Finding]:
    objects = {frame.sop_instance_uid: frame.dicom_object.header for frame in frames}
    inverted = [
        uid
        for uid, header in objects.items()
        if read_text(header, "PhotometricInterpretation") == "MONOCHROME1"
    ]
    if inverted:
        yield make_finding("monochrome1", "", inverted, objects=len(inverted))


def _variance_findings(pixels: StoredPixels, voxels: Voxels) -> Iterator[Finding]:
    """Yield a finding if each slice has one value, and all slices the same."""
    firsts = voxels[:, 0, 0]
    if (pixels.lowest == pixels.highest).all() and (firsts == firsts[0]).all():
        yield make_finding(ZERO_VARIANCE, f"{firsts[0]}", value=float(firsts[0]))
