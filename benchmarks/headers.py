"""Reading DICOM headers and references: this package against pydicom.

Makes an RTSTRUCT of many points, one of many contours, a SEG of many frames and an SR, each in a
deflated zip. Reads what they refer to in processes of their own: with `referenced_objects.read`,
and with `pydicom.dcmread(stop_before_pixels=True)` and a walk over its sequences. Then reads the
columns of `images` from the first 16 KB of a CT, with `dicom.read_header` and with pydicom's
`specific_tags`. Prints processor time and the growth of peak memory (RSS). Needs Linux.

    .venv/bin/python benchmarks/headers.py
"""

from __future__ import annotations

import argparse
import io
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tcia_assets.catalog import IMAGES
from tcia_assets.formats.identity import identify
from tcia_assets.images.headers import dicom, referenced_objects
from tcia_assets.sandbox import phantom

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SERIES = {"SeriesInstanceUID": "1.2.3.1", "StudyInstanceUID": "1.2.3", "PatientID": "A"}
HEAD_BYTES = 1 << 14
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--child", nargs=2, metavar=("READER", "ZIP"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(READERS[arguments.child[0]], Path(arguments.child[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, make in OBJECTS.items():
            path = Path(folder) / f"{name}.zip"
            size = write_zip(path, make())
            for reader in READERS:
                child = [sys.executable, __file__, "--child", reader, str(path)]
                result = subprocess.run(child, check=True, capture_output=True, text=True).stdout
                print(f"{name:30} {size >> 10:7} KB  {reader:12} {result.strip()}", flush=True)
    compare_headers()


# --- References ---------------------------------------------------------------------------------


def read_with_pydicom(stream: Any) -> set[str]:
    """Return the UIDs that an object refers to: less than `referenced_objects.read` returns."""
    return walk(pydicom.dcmread(stream, stop_before_pixels=True))


def walk(dataset: Dataset) -> set[str]:
    names = ("SeriesInstanceUID", "ReferencedSOPInstanceUID", "FrameOfReferenceUID")
    uids = {str(dataset[name].value) for name in names if name in dataset}
    for tag in list(dataset.keys()):
        # Without converting the values of elements that are not sequences.
        if dataset.get_item(tag).VR == "SQ":
            for item in dataset[tag].value:
                uids |= walk(item)
    return uids


READERS: dict[str, Callable[[Any], Any]] = {
    "tcia_assets": referenced_objects.read,
    "pydicom": read_with_pydicom,
}


def measure(read: Callable[[Any], Any], path: Path) -> None:
    before, seconds = peak_kilobytes(), []
    for _ in range(ROUNDS):
        started = time.process_time()
        with zipfile.ZipFile(path) as zip_file, zip_file.open("1.dcm") as stream:
            read(stream)
        seconds.append(time.process_time() - started)
    print(f"{min(seconds):7.3f} s  {peak_kilobytes() - before >> 10:4} MB")


def peak_kilobytes() -> int:
    # Not getrusage, whose maximum a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0])


# --- Headers ------------------------------------------------------------------------------------


def compare_headers() -> None:
    columns = SERIES | {"Collection": "LCTSC", "Modality": "CT", "ImageCount": 20}
    contents = [content for _, content in phantom.objects(columns)]
    heads, size = [content[:HEAD_BYTES] for content in contents], len(contents[0])
    names = [column.name for column in IMAGES.columns if column.tag]
    uids = ["SOPInstanceUID", "SeriesInstanceUID"]

    def pydicom_values(head: bytes, names: list[str]) -> None:
        dataset = pydicom.dcmread(
            io.BytesIO(head), stop_before_pixels=True, specific_tags=list(names)
        )
        for name in names:
            dataset.get(name)

    readers: dict[str, Callable[[bytes], object]] = {
        "a row of images, tcia_assets": lambda head: dicom.read_header(head, size),
        "a row of images, pydicom": lambda head: pydicom_values(head, names),
        "both UIDs, tcia_assets": identify,
        "both UIDs, pydicom": lambda head: pydicom_values(head, uids),
    }
    for what, read in readers.items():
        seconds = []
        for _ in range(ROUNDS * 5):
            started = time.process_time()
            for head in heads:
                read(head)
            seconds.append((time.process_time() - started) / len(heads))
        print(f"{what:30} {1000 * min(seconds):.3f} ms")


# --- Objects ------------------------------------------------------------------------------------


def dataset(**attributes: Any) -> Dataset:
    made = Dataset()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def header(modality: str, sop_class: str) -> Dataset:
    identity = SERIES | {"SOPClassUID": sop_class, "SOPInstanceUID": "1.2.3.1.1"}
    return dataset(**identity, Modality=modality, FrameOfReferenceUID="1.2.3.4")


def images(count: int) -> list[Dataset]:
    return [
        dataset(ReferencedSOPClassUID=CT_IMAGE, ReferencedSOPInstanceUID=f"1.2.3.5.{n}")
        for n in range(count)
    ]


def rtstruct(rois: int, contours: int, points: int) -> Dataset:
    made, numbers = header("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3"), random.Random(1)
    made.StructureSetROISequence = [
        dataset(ROINumber=n, ROIName=f"ROI {n}", ReferencedFrameOfReferenceUID="1.2.3.4")
        for n in range(rois)
    ]

    def contour(image: Dataset) -> Dataset:
        item = dataset(ContourImageSequence=[image], NumberOfContourPoints=points)
        text = "\\".join(f"{numbers.uniform(-250, 250):.3f}" for _ in range(3 * points))
        item.add(DataElement(0x3006_0050, "DS", text))
        return item

    made.ROIContourSequence = [
        dataset(ContourSequence=[contour(i) for i in images(contours)], ReferencedROINumber=n)
        for n in range(rois)
    ]
    return made


def segmentation(frames: int) -> Dataset:
    made = header("SEG", "1.2.840.10008.5.1.4.1.1.66.4")
    made.SegmentSequence = [dataset(SegmentNumber=1, SegmentLabel="lung")]
    made.PerFrameFunctionalGroupsSequence = [
        dataset(
            DerivationImageSequence=[dataset(SourceImageSequence=[image])],
            FrameContentSequence=[dataset(DimensionIndexValues=[1, n])],
            PlanePositionSequence=[dataset(ImagePositionPatient=[0, 0, n])],
            SegmentIdentificationSequence=[dataset(ReferencedSegmentNumber=1)],
        )
        for n, image in enumerate(images(frames))
    ]
    made.Rows = made.Columns = 512
    made.BitsAllocated = 1
    made.add_new(0x7FE0_0010, "OB", bytes(512 * 512 // 8 * frames))
    return made


def report(measurements: int) -> Dataset:
    made = header("SR", "1.2.840.10008.5.1.4.1.1.88.34")
    made.ContentSequence = [
        dataset(
            ValueType="NUM",
            MeasuredValueSequence=[dataset(NumericValue="1.5")],
            ContentSequence=[dataset(ValueType="IMAGE", ReferencedSOPSequence=[image])],
        )
        for image in images(measurements)
    ]
    return made


OBJECTS: dict[str, Callable[[], Dataset]] = {
    "RTSTRUCT, 1,800 contours": lambda: rtstruct(15, 120, 250),
    "RTSTRUCT, 5,000 contours": lambda: rtstruct(25, 200, 450),
    "RTSTRUCT, 80,000 contours": lambda: rtstruct(40, 2000, 8),
    "SEG, 200 frames": lambda: segmentation(200),
    "SEG, 5,000 frames": lambda: segmentation(5000),
    "SR, 2,000 measurements": lambda: report(2000),
}


def write_zip(path: Path, made: Dataset) -> int:
    """Write the object into a zip, and return its uncompressed size in bytes."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    content = io.BytesIO()
    pydicom.dcmwrite(content, made, enforce_file_format=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip_file:
        zip_file.writestr("1.dcm", content.getvalue())
    return len(content.getvalue())


if __name__ == "__main__":
    main()
