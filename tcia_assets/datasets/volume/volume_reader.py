"""Read the volumes of a Series from its zip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from tcia_assets.datasets.volume import intensities
from tcia_assets.datasets.volume.arrays import Slice, Volume, swap_lps_ras
from tcia_assets.datasets.volume.attributes import read_int, read_text
from tcia_assets.datasets.volume.decoders import decoders_of
from tcia_assets.datasets.volume.findings import Finding, NoVolume, count_findings, make_finding
from tcia_assets.datasets.volume.frames import Frame, plane_of, read_frames
from tcia_assets.datasets.volume.pixels import UndecodablePixels, read_pixels
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip, open_series_zip
from tcia_assets.datasets.volume.slice_geometry import SliceStack, stack_frames
from tcia_assets.datasets.volume.volume_choice import ALL, LARGEST, VolumeChoice
from tcia_assets.datasets.volume.volume_groups import VolumeGroup, find_volumes

# Secondary Capture Image Storage; its multi-frame variants have this prefix.
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MAX_NAMED = 10


@dataclass(frozen=True)
class SeriesVolumes:
    """The volumes of an open Series, of which none is read yet.

    `groups` are all its volumes, `chosen` the numbers, from 0, of those to read, and `findings` is
    what was found about the Series as a whole.
    """

    series_zip: SeriesZip
    series_instance_uid: str
    groups: tuple[VolumeGroup, ...]
    chosen: tuple[int, ...]
    findings: tuple[Finding, ...]
    least_slices: int

    def read(self, place: int, units: Mapping[str, str] = MappingProxyType({})) -> Volume:
        """Read a volume.

        Args:
            place: Its number, from 0.
            units: By Modality, where they are not the defaults of `intensities.UNITS`.

        Raises:
            NoVolume: Its pixels cannot be read.
            BadArchive: The zip is damaged.
            MissingExtra: The pixels need a decoder that is not installed.
        """
        group = self.groups[place]
        stack, geometry = stack_frames(group.frames, least_slices=self.least_slices)
        findings = (*self.findings, *geometry)
        try:
            pixels = read_pixels(self.series_zip, stack.frames)
        except UndecodablePixels as error:
            raise NoVolume(self.series_instance_uid, (*findings, error.finding)) from error
        series = [frame for each in self.groups for frame in each.frames]
        real = intensities.apply(stack.frames, pixels, series, units)
        volume = _to_volume(stack, real, findings)
        is_only = len(self.groups) == 1
        return replace(volume, number=0 if is_only else place + 1, name=group.name)


@contextmanager
def open_volumes(
    path: Path,
    choice: VolumeChoice | None = None,
    *,
    image_count: int | None = None,
    least_slices: int = 3,
    workers: int = 2,
) -> Iterator[SeriesVolumes]:
    """Open the volumes of a CT, MR or PT Series; read them while the zip is open.

    A Series has several volumes if it has several times, b-values, echoes or acquisitions: see
    `volume_groups`. Without a choice, and if a choice leaves several, the largest of them is chosen
    and the finding `several_volumes` names them.

    Args:
        path: The zip.
        choice: Which volumes to choose.
        image_count: The number of objects that the source reports for the Series.
        least_slices: Fewer slices give a finding.
        workers: Number of threads that decompress.

    Raises:
        NoVolume: The Series has no volume, or not the one to choose; `findings` has the reasons.
        BadArchive: The zip is damaged.
        OSError: The zip cannot be read.
    """
    with open_series_zip(path, workers=workers) as series_zip:
        dicom_objects, findings = series_zip.read_headers()
        findings += count_findings(len(series_zip.entries), image_count)
        images, left_out = _select_images(dicom_objects)
        groups, misfits = find_volumes(frame for image in images for frame in read_frames(image))
        findings += left_out + misfits
        uid = read_text(dicom_objects[0].header, "SeriesInstanceUID") if dicom_objects else ""
        if not groups:
            raise NoVolume(uid, (*findings, make_finding("no_slices", slices=0)))
        chosen, found = _choose(groups, choice)
        if not chosen:
            raise NoVolume(uid, (*findings, *found))
        yield SeriesVolumes(
            series_zip, uid, tuple(groups), chosen, (*findings, *found), least_slices
        )


def read_volume(
    path: Path,
    choice: VolumeChoice | None = None,
    *,
    image_count: int | None = None,
    least_slices: int = 3,
    workers: int = 2,
) -> Volume:
    """Read the volume of a CT, MR or PT Series from its zip, or the first of those chosen.

    CT is in Hounsfield units and PT in SUV by body weight if the headers allow it; other values are
    what slope and intercept give. Voxels are int16 where that is exact, else float32. Objects that
    are not in the volume are listed in findings by their SOPInstanceUID.

    Args:
        path: The zip.
        choice: Which one, if the Series has several volumes; see `open_volumes`.
        image_count: The number of objects that the source reports for the Series.
        least_slices: Fewer slices give a finding.
        workers: Number of threads that decompress.

    Raises:
        NoVolume: The Series cannot become a volume; `findings` has the reasons.
        BadArchive: The zip is damaged.
        MissingExtra: The pixels need a decoder that is not installed.
        OSError: The zip cannot be read.
    """
    with open_volumes(
        path, choice, image_count=image_count, least_slices=least_slices, workers=workers
    ) as volumes:
        return volumes.read(volumes.chosen[0])


# --- Which objects, and which volumes -------------------------------------------------------------


def _select_images(found: Sequence[DicomObject]) -> tuple[list[DicomObject], list[Finding]]:
    """Return the objects that may be slices, and a finding for each kind of the others."""
    left_out: dict[str, list[DicomObject]] = {"secondary_capture": [], "not_greyscale": []}
    images = []
    for each in found:
        if _is_secondary_capture(each):
            left_out["secondary_capture"].append(each)
        elif not _is_greyscale(each):
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


def _is_greyscale(dicom_object: DicomObject) -> bool:
    header = dicom_object.header
    is_palette = read_text(header, "PhotometricInterpretation") == "PALETTE COLOR"
    return read_int(header, "SamplesPerPixel", 1) == 1 and not is_palette


def _choose(
    groups: Sequence[VolumeGroup], choice: VolumeChoice | None
) -> tuple[tuple[int, ...], list[Finding]]:
    """Return the places of the chosen volumes, and findings about the choice."""
    selected = choice.select(groups) if choice else tuple(groups)
    if not selected:
        detail = f"{choice}; it has {_names(groups)}"
        return (), [make_finding("volume_not_found", detail, volumes=len(groups))]
    findings = []
    if len(selected) > 1 and not (choice and choice.pick == ALL):
        detail = f"{len(selected)} of {len(groups)}: {_names(selected)}"
        findings.append(make_finding("several_volumes", detail, volumes=len(selected)))
        selected = VolumeChoice(pick=LARGEST).select(selected)
    if choice and len(selected) < len(groups):
        others = [group for group in groups if group not in selected]
        findings.append(make_finding("other_volumes", _names(others), volumes=len(others)))
    return tuple(place for place, group in enumerate(groups) if group in selected), findings


def _names(groups: Sequence[VolumeGroup]) -> str:
    names = [f"{group.name or 'one'} ({len(group.frames)} slices)" for group in groups]
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return "; ".join(names[:_MAX_NAMED]) + more


# --- The volume -----------------------------------------------------------------------------------


def _to_volume(
    stack: SliceStack, real: intensities.Intensities, findings: tuple[Finding, ...]
) -> Volume:
    header = stack.frames[0].dicom_object.header
    return Volume(
        voxels=real.voxels,
        affine=swap_lps_ras(stack.affine_lps),
        series_instance_uid=read_text(header, "SeriesInstanceUID"),
        frame_of_reference_uid=read_text(header, "FrameOfReferenceUID"),
        modality=read_text(header, "Modality"),
        units=real.units,
        slices=tuple(_slice_of(frame) for frame in stack.frames),
        findings=(*findings, *real.findings),
        decoder=decoders_of(frame.dicom_object for frame in stack.frames),
    )


def _slice_of(frame: Frame) -> Slice:
    x, y, z = plane_of(frame).position
    return Slice(frame.sop_instance_uid, (x, y, z))
