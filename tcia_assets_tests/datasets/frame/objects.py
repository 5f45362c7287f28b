"""DICOM objects of one or more frames, with any header."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SERIES = "1.2.3"
DX, US = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.6.1"


def frame_object(pixels: Any, number: int = 1, **header: Any) -> Dataset:
    """Return an object with these pixels, [y, x], [frame, y, x], or [.., 3] for RGB."""
    pixels = np.asarray(pixels)
    is_colour = pixels.shape[-1] == 3 and pixels.dtype == np.uint8 and pixels.ndim > 2
    shape = pixels.shape[:-1] if is_colour else pixels.shape
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = {
        "SOPClassUID": DX,
        "SOPInstanceUID": generate_uid(entropy_srcs=[str(number), str(pixels.shape)]),
        "SeriesInstanceUID": SERIES,
        "Modality": "DX",
        "InstanceNumber": number,
        "Rows": shape[-2],
        "Columns": shape[-1],
        "SamplesPerPixel": 3 if is_colour else 1,
        "PhotometricInterpretation": "RGB" if is_colour else "MONOCHROME2",
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize,
        "HighBit": 8 * pixels.dtype.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **({"PlanarConfiguration": 0} if is_colour else {}),
        **({"NumberOfFrames": shape[0]} if len(shape) > 2 else {}),
    }
    for name, value in (values | header).items():
        setattr(made, name, value)
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OB" if pixels.dtype == np.uint8 else "OW"
    return made


def zip_of(path: Path, *objects: Dataset | Path) -> Path:
    """Write the zip of a Series, of objects or of files."""
    with zipfile.ZipFile(path, "w") as file:
        for number, each in enumerate(objects):
            name = f"{number:03}.dcm"
            if isinstance(each, Path):
                file.write(each, name)
                continue
            content = io.BytesIO()
            pydicom.dcmwrite(content, each, enforce_file_format=True)
            file.writestr(name, content.getvalue())
    return path


def real_file(name: str) -> Path:
    """Return a file that comes with pydicom."""
    return Path(str(pydicom.data.get_testdata_file(name, download=False)))
