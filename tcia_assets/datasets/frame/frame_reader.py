"""Read the frames of a Series from its zip, one after the other.

Memory is that of a few frames, however many an object has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array

from tcia_assets.datasets.frame.frame_choice import chosen_frames
from tcia_assets.datasets.frame.frame_header import FrameHeader, read_frame_header
from tcia_assets.datasets.volume.arrays import Voxels, sha256_of_values
from tcia_assets.datasets.volume.attributes import read_int, read_text
from tcia_assets.datasets.volume.decoders import decoder_of
from tcia_assets.datasets.volume.findings import Finding, NoVolume, count_findings, make_finding
from tcia_assets.datasets.volume.frames import read_frames
from tcia_assets.datasets.volume.pixels import (
    MAX_REASON_LENGTH,
    UndecodablePixels,
    read_pixels,
    rescale,
    undecodable,
)
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip, open_series_zip

_BYTES_AT_ONCE = 64 << 20
_PALETTE = "PALETTE COLOR"


@dataclass(frozen=True, eq=False)
class FrameImage:
    """A frame of an object.

    Attributes:
        values: Real values [y, x], or for a colour image RGB [y, x, 3] of 8 bits.
        header: Of its object.
        about: What that says.
        number: The number of the frame, from 1; 0 for the only one of its object.
        pixel_sha256: Hash of shape, dtype and stored values.
        decoder: The library that decompressed the pixels; "" without compression.
        findings: What may be wrong with it.
    """

    values: Voxels
    header: Dataset
    about: FrameHeader
    number: int
    pixel_sha256: str
    decoder: str
    findings: tuple[Finding, ...]

    @property
    def is_colour(self) -> bool:
        """Whether the values are RGB."""
        return self.values.ndim > 2  # noqa: PLR2004 - rows and columns

    @property
    def sop_instance_uid(self) -> str:
        """The UID of its object."""
        return read_text(self.header, "SOPInstanceUID")


def read_images(
    path: Path, pick: str, *, image_count: int | None = None
) -> Iterator[FrameImage | NoVolume]:
    """Yield the chosen frames of a Series, in the order of InstanceNumbers and UIDs.

    Args:
        path: The zip.
        pick: Which frames of an object with several; see `frame_choice.PICKS`.
        image_count: The number of objects that the source reports for the Series.

    Yields:
        Each frame, or the error of an object whose pixels cannot be read.

    Raises:
        NoVolume: The Series has no object with pixels.
        BadArchive: The zip is damaged.
        MissingExtra: The pixels need a decoder that is not installed.
        OSError: The zip cannot be read.
    """
    with open_series_zip(path) as series_zip:
        found, findings = series_zip.read_headers()
        findings += count_findings(len(series_zip.entries), image_count)
        objects = sorted(filter(_has_pixels, found), key=_order)
        if not objects:
            uid = read_text(found[0].header, "SeriesInstanceUID") if found else ""
            raise NoVolume(uid, (*findings, make_finding("no_slices", slices=0)))
        for each in objects:
            yield from _read_object(series_zip, each, pick, tuple(findings))


def _has_pixels(each: DicomObject) -> bool:
    return read_int(each.header, "Rows", 0) > 0 and read_int(each.header, "Columns", 0) > 0


def _order(each: DicomObject) -> tuple[int, str]:
    return read_int(each.header, "InstanceNumber", 0), read_text(each.header, "SOPInstanceUID")


def _read_object(
    series_zip: SeriesZip, each: DicomObject, pick: str, of_series: tuple[Finding, ...]
) -> Iterator[FrameImage | NoVolume]:
    header, about = each.header, read_frame_header(each.header)
    count = max(read_int(header, "NumberOfFrames", 1), 1)
    chosen = chosen_frames(count, pick)
    findings = [*of_series, *about.findings]
    if len(chosen) < count:
        detail = f"{len(chosen)} of {count}"
        uids = [read_text(header, "SOPInstanceUID")]
        findings.append(make_finding("other_frames", detail, uids, frames=count))
    try:
        for index, stored, values in _read_values(series_zip, each, chosen):
            constant = _constant_findings(values)
            yield FrameImage(
                values=values,
                header=header,
                about=about,
                number=index + 1 if count > 1 else 0,
                pixel_sha256=sha256_of_values(stored),
                decoder=decoder_of(each),
                findings=(*findings, *constant),
            )
    except UndecodablePixels as error:
        uid = read_text(header, "SeriesInstanceUID")
        yield NoVolume(uid, (*findings, error.finding))


def _constant_findings(values: Voxels) -> list[Finding]:
    least = values.min()
    return [] if least != values.max() else [make_finding("zero_variance", f"{least:g}")]


# --- Pixels ---------------------------------------------------------------------------------------


def _read_values(
    series_zip: SeriesZip, each: DicomObject, chosen: Sequence[int]
) -> Iterator[tuple[int, Voxels, Voxels]]:
    """Yield number, stored values and real values of each chosen frame."""
    header = each.header
    samples = read_int(header, "SamplesPerPixel", 1)
    allocated = max(read_int(header, "BitsAllocated", 8) // 8, 1)
    frame_bytes = read_int(header, "Rows", 1) * read_int(header, "Columns", 1) * samples * allocated
    at_once = max(_BYTES_AT_ONCE // max(frame_bytes, 1), 1)
    is_palette = read_text(header, "PhotometricInterpretation") == _PALETTE
    if samples > 1 or is_palette:
        pairs = _read_colour(series_zip, each, chosen)
    else:
        pairs = _read_grey(series_zip, each, chosen, at_once)
    for index, pair in zip(chosen, pairs, strict=True):
        yield index, *pair


def _read_grey(
    series_zip: SeriesZip, each: DicomObject, chosen: Sequence[int], at_once: int
) -> Iterator[tuple[Voxels, Voxels]]:
    wanted = set(chosen)
    found = [frame for frame in read_frames(each) if frame.index in wanted]
    for start in range(0, len(found), at_once):
        frames = found[start : start + at_once]
        pixels = read_pixels(series_zip, frames)
        stored = pixels.voxels.copy()
        if each.header.get("ModalityLUTSequence"):
            values = np.stack([apply_modality_lut(image, each.header) for image in stored])
        else:
            values = rescale(pixels, (f.slope for f in frames), (f.intercept for f in frames))
        yield from zip(stored, values, strict=True)


def _read_colour(
    series_zip: SeriesZip, each: DicomObject, chosen: Sequence[int]
) -> Iterator[tuple[Voxels, Voxels]]:
    dataset, decoder = series_zip.read_dataset(each), decoder_of(each)
    for index in chosen:
        try:
            image = pixel_array(dataset, index=index, decoding_plugin=decoder)
            rgb = _to_rgb(image, dataset)
        except Exception as error:
            # Decoders raise nearly any exception on damaged pixels.
            uid = read_text(each.header, "SOPInstanceUID")
            raise undecodable(uid, str(error)[:MAX_REASON_LENGTH]) from error
        yield rgb, rgb


def _to_rgb(image: Any, dataset: Dataset) -> Voxels:
    """Return 8 bits a colour; pydicom has converted other colour spaces to RGB."""
    if read_text(dataset, "PhotometricInterpretation") == _PALETTE:
        image = apply_color_lut(image, dataset)[..., :3]
    if image.ndim != 3 or image.shape[-1] != 3:  # noqa: PLR2004 - red, green, blue
        raise ValueError(f"colours of shape {image.shape}")
    if image.dtype == np.uint8:
        return np.asarray(image)
    bits = 8 * image.dtype.itemsize
    return np.asarray(image >> (bits - 8), np.uint8)
