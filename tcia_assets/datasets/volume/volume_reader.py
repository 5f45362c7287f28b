"""A Series' zip -> its volume.

What belongs here: the order of the steps, and which objects are images at all. What does not: each
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcia_assets.datasets.volume.arrays import Slice, Volume, Voxels, ras
from tcia_assets.datasets.volume.attributes import read_int, read_text
from tcia_assets.datasets.volume.findings import Finding, NoVolume, make_finding
from tcia_assets.datasets.volume.frames import Frame, read_frames
from tcia_assets.datasets.volume.pixels import Stored, Undecodable, rescaled, stored
from tcia_assets.datasets.volume.series_zip import DicomObject, archive
from tcia_assets.datasets.volume.slice_geometry import Stack, plane_of, stacked
from tcia_assets.datasets.volume.suv import NoFactor, suv_factor

# Secondary Capture Image Storage; its multi-frame kinds lie below it.
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def read_volume(
    path: Path, *, image_count: int | None = None, least_slices: int = 3, workers: int = 2
) -> Volume:
    """The volume of a CT, MR or PT Series, from its zip as the archive served it.

    CT is in Hounsfield units and PT in SUV by body weight where the headers allow; all else is what
    slope and intercept give. Voxels are int16 where that is exact, else float32. Each object that
    is not in the volume is in a finding, by its SOPInstanceUID.

    Args:
        path: the zip.
        image_count: how many objects the archive says that the Series has.
        least_slices: with fewer there is a finding.
        workers: threads that inflate.

    Raises:
        NoVolume: no array can be made; its `findings` say why.
        BadArchive: the zip is damaged.
        MissingExtra: the pixels need a decoder that is not installed.
        OSError: the zip cannot be read.

    """
    with archive(path, workers=workers) as opened:
        members, found = opened.members()
        if image_count is not None and image_count != len(opened.entries):
            detail = f"{len(opened.entries)}, not {image_count}"
            numbers = {"objects": len(opened.entries), "image_count": image_count}
            found.append(make_finding("count_unlike_image_count", detail, **numbers))
        images, others = _images(members)
        each = [frame for member in images for frame in read_frames(member)]
        stack, more = stacked(each, least_slices=least_slices)
        found += others + more
        if stack is None:
            raise NoVolume(_series_uid(members), tuple(found))
        try:
            values = stored(opened, stack.frames)
        except Undecodable as error:
            raise NoVolume(_series_uid(members), (*found, error.finding)) from error
    return _volume(stack, values, found)


def _images(members: Sequence[DicomObject]) -> tuple[list[DicomObject], list[Finding]]:
    left_out: dict[str, list[DicomObject]] = {"secondary_capture": [], "not_greyscale": []}
    images = []
    for member in members:
        if _is_secondary_capture(member):
            left_out["secondary_capture"].append(member)
        elif read_int(member.header, "SamplesPerPixel", 1) != 1:
            left_out["not_greyscale"].append(member)
        else:
            images.append(member)
    found = [
        make_finding(code, "", [_uid(member) for member in those], objects=len(those))
        for code, those in left_out.items()
        if those
    ]
    return images, found


def _volume(stack: Stack, values: Stored, found: list[Finding]) -> Volume:
    header = stack.frames[0].dicom_object.header
    modality = read_text(header, "Modality")
    factor, units, more = _units(stack.frames, modality)
    slopes = [frame.slope * factor for frame in stack.frames]
    intercepts = [frame.intercept * factor for frame in stack.frames]
    voxels = rescaled(values, slopes, intercepts)
    found += more + _flat(values, voxels)
    return Volume(
        voxels=voxels,
        affine=ras(stack.affine_lps),
        series_instance_uid=read_text(header, "SeriesInstanceUID"),
        frame_of_reference_uid=read_text(header, "FrameOfReferenceUID"),
        modality=modality,
        units=units,
        slices=tuple(_slice(frame) for frame in stack.frames),
        findings=tuple(found),
    )


def _units(frames_: Sequence[Frame], modality: str) -> tuple[float, str, list[Finding]]:
    """What rescaled values are multiplied by, the unit that they then have, and what is amiss."""
    if modality == "PT":
        try:
            return suv_factor([frame.dicom_object.header for frame in frames_]), "SUVbw", []
        except NoFactor as error:
            units = read_text(frames_[0].dicom_object.header, "Units") or "unknown"
            detail = f"{error}; the unit is {units}"
            return 1.0, "stored", [make_finding("pet_without_suv_factors", detail)]
    # A scanner scales each PET slice on its own; elsewhere it is odd.
    scales = {(frame.slope, frame.intercept) for frame in frames_}
    mixed = [make_finding("mixed_rescale", scales=len(scales))] if len(scales) > 1 else []
    return 1.0, "HU" if modality == "CT" and _is_hounsfield(frames_[0]) else "stored", mixed


def _is_hounsfield(frame: Frame) -> bool:
    return frame.rescale_type in {"", "HU"}


def _flat(values: Stored, voxels: Voxels) -> list[Finding]:
    """Each slice of one value, and all of the same."""
    firsts = voxels[:, 0, 0]
    if (values.lowest != values.highest).any() or (firsts != firsts[0]).any():
        return []
    return [make_finding("zero_variance", f"{firsts[0]}", value=float(firsts[0]))]


def _slice(frame: Frame) -> Slice:
    x, y, z = plane_of(frame).position
    return Slice(frame.sop_instance_uid, (x, y, z))


def _series_uid(members: Sequence[DicomObject]) -> str:
    return read_text(members[0].header, "SeriesInstanceUID") if members else ""


def _is_secondary_capture(member: DicomObject) -> bool:
    sop_class = read_text(member.header, "SOPClassUID")
    return sop_class == _SECONDARY_CAPTURE or sop_class.startswith(f"{_SECONDARY_CAPTURE}.")


def _uid(member: DicomObject) -> str:
    return read_text(member.header, "SOPInstanceUID")
