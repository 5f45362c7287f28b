"""Read the volume of a Series from its zip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcia_assets.datasets.volume.arrays import Slice, Volume, Voxels, swap_lps_ras
from tcia_assets.datasets.volume.attributes import read_int, read_text
from tcia_assets.datasets.volume.findings import Finding, NoVolume, make_finding
from tcia_assets.datasets.volume.frames import Frame, read_frames
from tcia_assets.datasets.volume.pixels import StoredPixels, UndecodablePixels, read_pixels, rescale
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip, open_series_zip
from tcia_assets.datasets.volume.slice_geometry import SliceStack, plane_of, stack_frames
from tcia_assets.datasets.volume.suv import NoSuvFactor, suv_factor

# Secondary Capture Image Storage; its multi-frame variants have this prefix.
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def read_volume(
    path: Path, *, image_count: int | None = None, least_slices: int = 3, workers: int = 2
) -> Volume:
    """Read the volume of a CT, MR or PT Series from its zip.

    CT is in Hounsfield units and PT in SUV by body weight if the headers allow it; other values are
    what slope and intercept give. Voxels are int16 where that is exact, else float32. Objects that
    are not in the volume are listed in findings by their SOPInstanceUID.

    Args:
        path: The zip.
        image_count: The number of objects that the source reports for the Series.
        least_slices: Fewer slices give a finding.
        workers: Number of threads that decompress.

    Raises:
        NoVolume: The Series cannot become a volume; `findings` has the reasons.
        BadArchive: The zip is damaged.
        MissingExtra: The pixels need a decoder that is not installed.
        OSError: The zip cannot be read.
    """
    with open_series_zip(path, workers=workers) as series_zip:
        dicom_objects, findings = series_zip.read_headers()
        findings += _count_findings(series_zip, image_count)
        images, left_out = _select_images(dicom_objects)
        frames = [frame for image in images for frame in read_frames(image)]
        stack, geometry = stack_frames(frames, least_slices=least_slices)
        findings += left_out + geometry
        if stack is None:
            raise NoVolume(_series_uid(dicom_objects), tuple(findings))
        try:
            pixels = read_pixels(series_zip, stack.frames)
        except UndecodablePixels as error:
            raise NoVolume(_series_uid(dicom_objects), (*findings, error.finding)) from error
    return _to_volume(stack, pixels, findings)


def _count_findings(series_zip: SeriesZip, image_count: int | None) -> list[Finding]:
    count = len(series_zip.entries)
    if image_count is None or image_count == count:
        return []
    numbers = {"objects": count, "image_count": image_count}
    return [make_finding("count_unlike_image_count", f"{count}, not {image_count}", **numbers)]


def _select_images(found: Sequence[DicomObject]) -> tuple[list[DicomObject], list[Finding]]:
    """Return the objects that may be slices, and a finding for each kind of the others."""
    left_out: dict[str, list[DicomObject]] = {"secondary_capture": [], "not_greyscale": []}
    images = []
    for each in found:
        if _is_secondary_capture(each):
            left_out["secondary_capture"].append(each)
        elif read_int(each.header, "SamplesPerPixel", 1) != 1:
            left_out["not_greyscale"].append(each)
        else:
            images.append(each)
    findings = [
        make_finding(code, "", map(_uid_of, those), objects=len(those))
        for code, those in left_out.items()
        if those
    ]
    return images, findings


def _uid_of(dicom_object: DicomObject) -> str:
    return read_text(dicom_object.header, "SOPInstanceUID")


def _is_secondary_capture(dicom_object: DicomObject) -> bool:
    sop_class = read_text(dicom_object.header, "SOPClassUID")
    return sop_class == _SECONDARY_CAPTURE or sop_class.startswith(f"{_SECONDARY_CAPTURE}.")


def _to_volume(stack: SliceStack, pixels: StoredPixels, findings: list[Finding]) -> Volume:
    header = stack.frames[0].dicom_object.header
    modality = read_text(header, "Modality")
    factor, units, scale_findings = _scale(stack.frames, modality)
    slopes = [frame.slope * factor for frame in stack.frames]
    intercepts = [frame.intercept * factor for frame in stack.frames]
    voxels = rescale(pixels, slopes, intercepts)
    return Volume(
        voxels=voxels,
        affine=swap_lps_ras(stack.affine_lps),
        series_instance_uid=read_text(header, "SeriesInstanceUID"),
        frame_of_reference_uid=read_text(header, "FrameOfReferenceUID"),
        modality=modality,
        units=units,
        slices=tuple(_slice_of(frame) for frame in stack.frames),
        findings=(*findings, *scale_findings, *_variance_findings(pixels, voxels)),
    )


def _scale(frames: Sequence[Frame], modality: str) -> tuple[float, str, list[Finding]]:
    """Return a factor for rescaled values, their unit after it, and findings."""
    if modality == "PT":
        try:
            return suv_factor([frame.dicom_object.header for frame in frames]), "SUVbw", []
        except NoSuvFactor as error:
            units = read_text(frames[0].dicom_object.header, "Units") or "unknown"
            detail = f"{error}; the unit is {units}"
            return 1.0, "stored", [make_finding("pet_without_suv_factors", detail)]
    # PET scanners scale each slice separately; in other modalities that is unusual.
    scales = {(frame.slope, frame.intercept) for frame in frames}
    mixed = [make_finding("mixed_rescale", scales=len(scales))] if len(scales) > 1 else []
    is_hounsfield = modality == "CT" and frames[0].rescale_type in {"", "HU"}
    return 1.0, "HU" if is_hounsfield else "stored", mixed


def _variance_findings(pixels: StoredPixels, voxels: Voxels) -> list[Finding]:
    """Return a finding if each slice has one value, and all slices the same."""
    firsts = voxels[:, 0, 0]
    if (pixels.lowest != pixels.highest).any() or (firsts != firsts[0]).any():
        return []
    return [make_finding("zero_variance", f"{firsts[0]}", value=float(firsts[0]))]


def _slice_of(frame: Frame) -> Slice:
    x, y, z = plane_of(frame).position
    return Slice(frame.sop_instance_uid, (x, y, z))


def _series_uid(dicom_objects: Sequence[DicomObject]) -> str:
    return read_text(dicom_objects[0].header, "SeriesInstanceUID") if dicom_objects else ""
