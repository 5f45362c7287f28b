"""The samples of a Series of two-dimensional images: a file and a row for each chosen frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tcia_assets.datasets.frame.display import Display, to_display
from tcia_assets.datasets.frame.frame_reader import FrameImage, read_images
from tcia_assets.datasets.frame.png import write_png
from tcia_assets.datasets.frame_settings import DISPLAY, PNG, FrameSettings
from tcia_assets.datasets.sample_job import SampleJob
from tcia_assets.datasets.sample_rows import finding_row
from tcia_assets.datasets.sample_store import ENDING, IMAGE, sample_path
from tcia_assets.datasets.samples import name_sample
from tcia_assets.datasets.volume.arrays import Volume, Voxels
from tcia_assets.datasets.volume.attributes import read_text
from tcia_assets.datasets.volume.findings import Finding, NoVolume, make_finding
from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.store.files import sha256_of

Row = dict[str, Any]

_STORED = "stored"
# The share of each colour in the brightness of a pixel (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])


def write_frames(path: Path, job: SampleJob, folder: Path) -> Iterator[Row]:
    """Write the chosen frames of a Series, and yield the row of each.

    A Series without any, and each object whose pixels cannot be read, has a row without a file.
    Samples are numbered, because most Series have several images.

    Args:
        path: The zip.
        job: The Series, and how its frames are written.
        folder: Where the files are written, each named as its sample is.

    Raises:
        BadArchive, MissingExtra, OSError: see `frame_reader.read_images`.
    """
    settings = job.frames or FrameSettings()
    try:
        images = read_images(path, settings.choose, image_count=job.image_count)
        for number, image in enumerate(images, start=1):
            row: Row = {"sample": name_sample(job.series_instance_uid, number)}
            if isinstance(image, NoVolume):
                yield row | {"findings": _rows(image.findings)}
            else:
                yield row | _write(image, settings, folder, row["sample"])
    except NoVolume as error:
        sample = name_sample(job.series_instance_uid)
        yield {"sample": sample, "findings": _rows(error.findings)}


def _rows(findings: Iterable[Finding]) -> list[Row]:
    return [finding_row(finding) for finding in findings]


def _write(image: FrameImage, settings: FrameSettings, folder: Path, sample: str) -> Row:
    """Write the file of a frame, and return its row."""
    path = sample_path(folder, IMAGE, sample, settings.ending)
    if settings.file == PNG:
        made, pixels = _write_png(image, settings, path)
    else:
        made, pixels = _write_nifti(image, path)
    about, height, width = image.about, *pixels.shape[:2]
    findings = (*image.findings, *_value_findings(image, settings))
    return {
        "volume": f"frame {image.number}" if image.number else None,
        "SOPInstanceUID": image.sop_instance_uid,
        "frame": image.number or None,
        "ViewPosition": about.view or None,
        "ImageLaterality": about.laterality or None,
        "PatientOrientation": about.orientation or None,
        "pixel_sha256": image.pixel_sha256,
        "decoder": image.decoder or None,
        "shape": [width, height, 1],
        "spacing": [*about.spacing, 1.0] if about.spacing else None,
        "affine": _affine(image).ravel().tolist() if about.spacing else None,
        "dtype": pixels.dtype.name,
        "least": float(pixels.min()),
        "greatest": float(pixels.max()),
        "image_bytes": path.stat().st_size,
        "image_sha256": sha256_of(path),
        ENDING: settings.ending,
        **made,
        "findings": _rows(findings),
    }


def _write_png(image: FrameImage, settings: FrameSettings, path: Path) -> tuple[Row, Voxels]:
    if image.is_colour:
        display = Display(image.values, "colours")
    else:
        display = to_display(image.values, image.header, settings.window, settings.bits)
    write_png(path, display.pixels, image.about.spacing)
    return {"units": DISPLAY, "shown_by": display.shown_by}, display.pixels


def _write_nifti(image: FrameImage, path: Path) -> tuple[Row, Voxels]:
    values = image.values
    if image.is_colour:
        values = np.rint(values @ _LUMA).astype(np.uint8)
    volume = Volume(values[None], _affine(image), "", "", "", _STORED)
    write_nifti(path, volume, is_placed=False)
    return {"units": _STORED, "shown_by": None}, values


def _affine(image: FrameImage) -> Any:
    """Return the affine of an image that has no place in the patient: x to the left, y down."""
    x, y = image.about.spacing or (1.0, 1.0)
    return np.diag([-x, -y, 1.0, 1.0])


def _value_findings(image: FrameImage, settings: FrameSettings) -> Iterator[Finding]:
    uids = [image.sop_instance_uid]
    if image.is_colour:
        how = "RGB" if settings.file == PNG else "its brightness"
        yield make_finding("colour", f"written as {how}", uids)
    elif read_text(image.header, "PhotometricInterpretation") == "MONOCHROME1":
        yield make_finding("inverted" if settings.file == PNG else "monochrome1", "", uids)
