"""Synthetic Series with known positions and values of all voxels."""

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
# Rotated about two axes.
OBLIQUE = (0.939693, 0.342020, 0.0, -0.321394, 0.883022, 0.342020)


@dataclass
class Series:
    """Slices of a box of voxels; `values` [z, y, x] are the stored ones."""

    values: Any = field(default_factory=lambda: noise((6, 9, 11)))
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
        """The rescaled values."""
        slopes = np.array(self.slopes or [1.0] * len(self.values)).reshape(-1, 1, 1)
        intercepts = np.array(self.intercepts or [0.0] * len(self.values)).reshape(-1, 1, 1)
        return self.values * slopes + intercepts

    def objects(self) -> list[FileDataset]:
        return [self.object(place) for place in range(len(self.values))]

    def object(self, place: int) -> FileDataset:
        dataset = blank(CLASSES[self.modality], f"{SERIES}.{place + 1}")
        dataset.Modality = self.modality
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.InstanceNumber = place + 1
        dataset.ImagePositionPatient = list(np.round(np.add(self.origin, place * self.step), 6))
        dataset.ImageOrientationPatient = list(self.orientation)
        dataset.PixelSpacing = [self.spacing[1], self.spacing[0]]
        dataset.SliceThickness = self.spacing[2]
        if self.modality != "MR" or self.slopes:
            dataset.RescaleSlope = str((self.slopes or [1] * len(self.values))[place])
            dataset.RescaleIntercept = str((self.intercepts or [0] * len(self.values))[place])
        if self.modality == "CT":
            dataset.RescaleType = "HU"
        set_pixels(dataset, self.values[place], self.bits)
        for keyword, value in self.extra.items():
            setattr(dataset, keyword, value)
        return dataset


def noise(shape: Sequence[int], low: int = -1000, high: int = 1500, dtype: Any = np.int16) -> Any:
    """Return values that differ from voxel to voxel, the same in every call."""
    return np.random.default_rng(7).integers(low, high, shape).astype(dtype)


def blank(sop_class: str, uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid
    dataset = FileDataset(None, {}, preamble=bytes(128), file_meta=meta)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.FrameOfReferenceUID = FRAME
    dataset.PatientID, dataset.PatientName = "P", "P^P"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.StudyID = ""
    for event in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{event}Date", "20200101")
        setattr(dataset, f"{event}Time", "120000")
    dataset.ReferringPhysicianName = dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer, dataset.SeriesNumber, dataset.PatientPosition = "Synthetic", 1, "HFS"
    return dataset


def set_pixels(dataset: Dataset, image: Any, bits: int = 16) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * image.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(image.dtype.kind == "i")
    dataset.add_new(0x7FE00010, "OW" if image.itemsize > 1 else "OB", image.tobytes())


def content(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def write_zip(
    path: Path, objects: Iterable[Dataset | bytes], *, shuffled: bool = True, stored: bool = False
) -> Path:
    """Write a zip as a source sends it: names do not follow the order of the slices."""
    files = [each if isinstance(each, bytes) else content(each) for each in objects]
    order = np.random.default_rng(3).permutation(len(files)) if shuffled else range(len(files))
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("LICENSE", "CC BY 4.0")
        for number, place in enumerate(order):
            archive.writestr(f"{number:08}.dcm", files[place])
    return path


def extracted(path: Path) -> Path:
    """Extract a zip, for tools that read folders."""
    folder = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    (folder / "LICENSE").unlink()
    return folder


def finding_codes(thing: Any) -> list[str]:
    return [found.code for found in thing.findings]


def one_finding(thing: Any, code: str) -> Any:
    (one,) = [each for each in thing.findings if each.code == code]
    return one


def rotation_matrix(q: Any) -> Any:
    """Return the rotation of a quaternion of any length."""
    a, b, c, d = q / np.linalg.norm(q)
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


def enhance(dataset: pydicom.Dataset, frames: int) -> None:
    """Add functional groups that put each frame at a position of its own."""
    shared, orientation, measures = (pydicom.Dataset() for _ in range(3))
    orientation.ImageOrientationPatient = list(OBLIQUE)
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.7], 2.5
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    series = Series(orientation=OBLIQUE)
    dataset.PerFrameFunctionalGroupsSequence = []
    for place in range(frames):
        own, position = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = list(np.round(series.origin + place * series.step, 6))
        own.PlanePositionSequence = [position]
        dataset.PerFrameFunctionalGroupsSequence.append(own)
