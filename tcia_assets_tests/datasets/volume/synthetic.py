"""Series, SEGs and RTSTRUCTs of which all is known: where each voxel lies, and its value."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

STUDY, SERIES, FRAME = "1.2.3.1", "1.2.3.1.1", "1.2.3.9"
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
PT, CAPTURE = "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.7"
CLASSES = {"CT": CT, "MR": MR, "PT": PT}

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
# Turned about two axes.
OBLIQUE = (0.939693, 0.342020, 0.0, -0.321394, 0.883022, 0.342020)


@dataclass
class Series:
    """Slices of a box of voxels [z, y, x]; `values` are what is stored."""

    values: Any = field(default_factory=lambda: grain((6, 9, 11)))
    orientation: Sequence[float] = AXIAL
    spacing: tuple[float, float, float] = (0.7, 0.8, 2.5)
    origin: tuple[float, float, float] = (-31.25, 17.5, -120.0)
    modality: str = "CT"
    slopes: Sequence[float] | None = None
    intercepts: Sequence[float] | None = None
    shear: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bits: int = 16
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def normal(self) -> Any:
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def step(self) -> Any:
        return self.normal * self.spacing[2] + np.array(self.shear)

    @property
    def affine_lps(self) -> Any:
        affine = np.eye(4)
        affine[:3, 0] = np.array(self.orientation[:3]) * self.spacing[0]
        affine[:3, 1] = np.array(self.orientation[3:]) * self.spacing[1]
        affine[:3, 2] = self.step
        affine[:3, 3] = self.origin
        return affine

    @property
    def affine(self) -> Any:
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.affine_lps

    @property
    def real(self) -> Any:
        """What rescaling gives."""
        slopes = np.array(self.slopes or [1.0] * len(self.values)).reshape(-1, 1, 1)
        intercepts = np.array(self.intercepts or [0.0] * len(self.values)).reshape(-1, 1, 1)
        return self.values * slopes + intercepts

    def objects(self) -> list[FileDataset]:
        return [self.object(place) for place in range(len(self.values))]

    def object(self, place: int) -> FileDataset:
        made = blank(CLASSES[self.modality], f"{SERIES}.{place + 1}")
        made.Modality = self.modality
        made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.InstanceNumber = place + 1
        made.ImagePositionPatient = list(np.round(np.add(self.origin, place * self.step), 6))
        made.ImageOrientationPatient = list(self.orientation)
        made.PixelSpacing = [self.spacing[1], self.spacing[0]]
        made.SliceThickness = self.spacing[2]
        if self.modality != "MR" or self.slopes:
            made.RescaleSlope = str((self.slopes or [1] * len(self.values))[place])
            made.RescaleIntercept = str((self.intercepts or [0] * len(self.values))[place])
        if self.modality == "CT":
            made.RescaleType = "HU"
        set_pixels(made, self.values[place], self.bits)
        for keyword, value in self.extra.items():
            setattr(made, keyword, value)
        return made


def grain(shape: Sequence[int], low: int = -1000, high: int = 1500, dtype: Any = np.int16) -> Any:
    """Values that differ from voxel to voxel, always the same."""
    return np.random.default_rng(7).integers(low, high, shape).astype(dtype)


def blank(sop_class: str, uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid
    made = FileDataset(None, {}, preamble=bytes(128), file_meta=meta)
    made.SOPClassUID, made.SOPInstanceUID = sop_class, uid
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, SERIES
    made.FrameOfReferenceUID = FRAME
    made.PatientID, made.PatientName = "P", "P^P"
    made.PatientBirthDate = made.PatientSex = made.AccessionNumber = made.StudyID = ""
    made.StudyDate = made.SeriesDate = made.AcquisitionDate = made.ContentDate = "20200101"
    made.StudyTime = made.SeriesTime = made.AcquisitionTime = made.ContentTime = "120000"
    made.ReferringPhysicianName = made.PositionReferenceIndicator = ""
    made.Manufacturer, made.SeriesNumber, made.PatientPosition = "made", 1, "HFS"
    return made


def set_pixels(made: Dataset, image: Any, bits: int = 16) -> None:
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = image.shape[-2:]
    made.BitsAllocated, made.BitsStored, made.HighBit = 8 * image.itemsize, bits, bits - 1
    made.PixelRepresentation = int(image.dtype.kind == "i")
    made.add_new(0x7FE00010, "OW" if image.itemsize > 1 else "OB", image.tobytes())


def content(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def zipped(
    path: Path, objects: Iterable[Dataset | bytes], *, shuffled: bool = True, stored: bool = False
) -> Path:
    """A zip as the archive sends it: names say nothing of the slices' order."""
    files = [each if isinstance(each, bytes) else content(each) for each in objects]
    order = np.random.default_rng(3).permutation(len(files)) if shuffled else range(len(files))
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("LICENSE", "CC BY 4.0")
        for number, place in enumerate(order):
            archive.writestr(f"{number:08}.dcm", files[place])
    return path


def extracted(path: Path) -> Path:
    """The files of a zip, for those who read folders."""
    folder = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    (folder / "LICENSE").unlink()
    return folder


def codes(thing: Any) -> list[str]:
    return [found.code for found in thing.findings]


def found(thing: Any, code: str) -> Any:
    (one,) = [each for each in thing.findings if each.code == code]
    return one


# --- Labels ---------------------------------------------------------------------------------------


def rtstruct(rois: dict[str, Sequence[Any]], kind: str = "CLOSED_PLANAR") -> FileDataset:
    """Contours by the name of their ROI, each an array of points in LPS millimetres."""
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
            contour.ContourData = [f"{v:.9g}"[:16] for v in np.asarray(points).ravel()]
            drawn.ContourSequence.append(contour)
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(drawn)
    return made


def circle(
    series: Series, place: float, centre: tuple[float, float], radius: float, points: int = 720
) -> Any:
    """A circle around a pixel (x, y) of a slice, in LPS millimetres; the radius is in pixels."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
    columns = np.stack([x, y, np.full(points, float(place)), np.ones(points)])
    return (series.affine_lps @ columns)[:3].T
