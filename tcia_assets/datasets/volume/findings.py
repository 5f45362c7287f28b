"""Findings: problems of a volume or of its labels, with a code, numbers and the objects concerned.

Every code is declared here once. What happens to a sample with findings is decided by the `qc`
settings of its dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tcia_assets.errors import DataError

ZERO_VARIANCE = "zero_variance"
FRAME_CODES: Mapping[str, str] = {
    "other_frames": "further frames of an object are left out, as `frames.choose` says",
    "without_spacing": "the header has no spacing; it is unknown in the table, and 1 mm in NIfTI",
    "detector_spacing": "the spacing is that on the detector or film; in the patient it is smaller",
    "burned_in_annotation": "texts are burned into the pixels, and may identify the Patient or "
    "tell the class",
    "for_processing": "raw values of a detector, which no viewer shows as they are",
    "converted_image": "made by conversion (secondary capture): values and spacing may not be "
    "those of the detector",
    "colour": "a colour image",
    "inverted": "low values are meant to be shown white (MONOCHROME1); pixels are inverted, so "
    "that higher is brighter",
}
"""Codes of two-dimensional images only."""
FINDING_CODES: Mapping[str, str] = {
    # Objects that are left out of a volume.
    "unreadable_object": "an object with an unreadable header is left out",
    "secondary_capture": "a secondary capture is left out",
    "not_greyscale": "a colour image is left out",
    "without_geometry": "images without position, orientation or spacing are left out",
    "foreign_objects": "objects of a different Series or Modality are left out",
    "mixed_orientation": "slices with a different orientation are left out",
    "mixed_size": "slices with different Rows or Columns are left out",
    "mixed_spacing": "slices with a different pixel spacing are left out",
    "mixed_frame_of_reference": "slices of a different frame of reference are left out",
    "incomplete_volume": "slices that probably belong to the volume are left out: they are turned "
    "by a small angle, or are many",
    "duplicate_position": "further slices at the same position are left out",
    "several_volumes": "the Series has several volumes, and `volume.choose` does not name one",
    "other_volumes": "further volumes of the Series are left out, as `volume.choose` says",
    "volume_not_found": "the Series has no volume that `volume.choose` names",
    # Channels of a case.
    "channel_other_frame": "a channel is in a different frame of reference than the reference",
    "channel_partly_outside": "a part of the grid lies outside a channel, and has its lowest value",
    "channel_outside": "a channel has nothing on the grid of the case",
    # The part of the grid that is written.
    "nothing_to_crop_to": "nothing is there to crop to, as `volume.crop` says: all is written",
    "labels_cut_off": "a part of the labels lies outside `volume.size`, and is cut off",
    "padded_to_size": "the grid is smaller than `volume.size`, and was padded",
    # Positions of the slices.
    "missing_slice": "a step between slices is more than 1.5 times the median",
    "uneven_spacing": "slices lie off the even grid of the affine",
    "misplaced_slices": "slices lie more than half a voxel off the grid of the affine, or closer "
    "than half a step",
    "gantry_tilt": "slices are shifted against each other: the affine has a shear",
    "overlapping_slices": "slices are thicker than the step between them",
    "interleaved_slices": "slices lie between each other, by their numbers (without any, by an "
    "attribute) or in uneven steps: probably several acquisitions, which cannot be told apart",
    "too_few_slices": "fewer slices than required",
    "count_unlike_image_count": "the number of objects differs from ImageCount",
    # Values of the voxels.
    "mixed_rescale": "slope and intercept differ between slices; each was applied",
    "not_hounsfield": "voxels of a CT are not in Hounsfield units",
    "implausible_hounsfield": "values that no CT has, as of signed pixels declared unsigned",
    "pixel_padding": "padding below the values of air was set to that of air, -1024 HU",
    "padding_like_tissue": "padding along the edges has values of tissue, and is as stored",
    "pet_without_suv_factors": "voxels are not SUV: the header lacks what SUV needs",
    "not_in_declared_unit": "voxels are not in the unit that `volume.units` declares",
    "implausible_suv": "SUV that no scan has: a weight or a dose in the header is wrong",
    "values_beyond_dtype": "values that are wrong anyway do not fit into the declared dtype",
    "monochrome1": "low values are meant to be shown white (MONOCHROME1); voxels are as stored",
    ZERO_VARIANCE: "all voxels have the same value",
    "no_slices": "no slice is left",
    "undecodable_pixels": "pixels of a slice cannot be read",
    # Labels.
    "not_a_mask": "an object that is neither SEG nor RTSTRUCT is left out",
    "unreadable_mask": "unreadable parts of a SEG or RTSTRUCT are left out",
    "other_frame_of_reference": "labels are in a different frame of reference",
    "ambiguous_numbers": "segments or ROIs of one object share a number: what belongs to which is "
    "not known, and they are left out",
    "labels_of_other_volumes": "frames or contours of other volumes of the Series are left out",
    "labels_not_of_volume": "the Series has several volumes, and labels refer to images of "
    "others only",
    "volume_of_labels_unknown": "the Series has several volumes, and labels do not show to which "
    "they belong",
    "frames_off_grid": "SEG frames that are off the image's grid are left out",
    "contours_between_slices": "contours between slices went to the nearest slice",
    "overlapping_contours": "contours of one ROI that overlap in a plane were united",
    "thin_walls": "between nested contours of one ROI is a wall of about a pixel: the inner one, "
    "taken as a hole, may be the outer one drawn again",
    "label_gaps": "slices between drawn ones have no label",
    "label_gaps_filled": "slices between drawn ones have labels made from these",
    "thick_frames": "a structure in a single SEG frame has a label in one slice, though the frame "
    "covers several",
    "several_readers": "several readers, or the same one again, drew one label at one place",
    "contours_off_plane": "contours that are not parallel to the slices are left out",
    "contours_not_closed": "points and open lines, which enclose nothing, are left out",
    "mask_outside_volume": "a part of the labels lies outside the volume",
    "overlapping_labels": "voxels in several labels have the one of highest priority",
    "unmatched_names": "segments or ROIs that match no label are left out",
    "target_missing": "a label has no voxels",
    "empty_mask": "no label has any voxels",
    **FRAME_CODES,
}
"""Each code with its meaning."""

WRONG_VALUES = frozenset(
    {
        *("implausible_hounsfield", "implausible_suv", "not_hounsfield"),
        *("pet_without_suv_factors", "not_in_declared_unit"),
    }
)
"""Codes of values that are not in the unit of their Modality."""

IMPOSSIBLE = frozenset(
    {"no_slices", "undecodable_pixels", "values_beyond_dtype", "volume_not_found"}
)
"""Codes with which no volume is returned under any `qc` policy."""


@dataclass(frozen=True)
class Finding:
    """One problem: its code, a line of text, numbers, and the objects concerned.

    `sop_instance_uids` are sorted. An object without a UID is listed by its name in the zip.
    """

    code: str
    message: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    sop_instance_uids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.code not in FINDING_CODES:
            raise ValueError(f"unknown finding code {self.code!r}")


def count_findings(count: int, image_count: int | None) -> list[Finding]:
    """Return a finding if a Series has another number of objects than the source reports."""
    if image_count is None or image_count == count:
        return []
    numbers = {"objects": count, "image_count": image_count}
    return [make_finding("count_unlike_image_count", f"{count}, not {image_count}", **numbers)]


def make_finding(
    code: str, detail: str = "", uids: Iterable[str] = (), /, **numbers: float
) -> Finding:
    """Return a finding whose message is the meaning of its code, followed by the detail.

    Args:
        code: A key of `FINDING_CODES`.
        detail: What is special about this case; unprintable characters are escaped.
        uids: The objects concerned, in any order.
        **numbers: Counts, and lengths with their unit in the name.
    """
    meaning = FINDING_CODES[code]
    message = f"{meaning}: {detail}" if detail else meaning
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    return Finding(code, printable, numbers, tuple(sorted(set(uids))))


class NoVolume(DataError):
    """A Series cannot become a volume; `findings` has the reasons and everything else found."""

    def __init__(self, series_instance_uid: str, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        reasons = [found.message for found in findings if found.code in IMPOSSIBLE]
        super().__init__("; ".join(reasons), table="volume", key=series_instance_uid)
