"""Findings: problems of a volume or of its labels, with a code, numbers and the objects concerned.

Every code is declared here once. What happens to a sample with findings is decided by the `qc`
settings of its dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tcia_assets.errors import DataError


@dataclass(frozen=True)
class FindingCode:
    """A kind of finding; if it `makes_impossible`, no volume is returned under any `qc` policy."""

    name: str
    meaning: str
    makes_impossible: bool = False


_ALL = (
    # Objects that are left out of a volume.
    FindingCode("unreadable_object", "an object with an unreadable header is left out"),
    FindingCode("secondary_capture", "a secondary capture is left out"),
    FindingCode("not_greyscale", "a colour image is left out"),
    FindingCode("without_geometry", "images without position, orientation or spacing are left out"),
    FindingCode("mixed_orientation", "slices with a different orientation are left out"),
    FindingCode("mixed_size", "slices with different Rows or Columns are left out"),
    FindingCode("mixed_spacing", "slices with a different pixel spacing are left out"),
    FindingCode(
        "mixed_frame_of_reference", "slices of a different frame of reference are left out"
    ),
    FindingCode("duplicate_position", "further slices at the same position are left out"),
    # Positions of the slices.
    FindingCode("missing_slice", "a step between slices is more than 1.5 times the median"),
    FindingCode("uneven_spacing", "slices lie off the even grid of the affine"),
    FindingCode("gantry_tilt", "slices are shifted against each other: the affine has a shear"),
    FindingCode("too_few_slices", "fewer slices than required"),
    FindingCode("count_unlike_image_count", "the number of objects differs from ImageCount"),
    # Values of the voxels.
    FindingCode("mixed_rescale", "slope and intercept differ between slices; each was applied"),
    FindingCode("pet_without_suv_factors", "voxels are not SUV: the header lacks what SUV needs"),
    FindingCode("zero_variance", "all voxels have the same value"),
    FindingCode("no_slices", "no slice is left", makes_impossible=True),
    FindingCode("undecodable_pixels", "pixels of a slice cannot be read", makes_impossible=True),
    # Labels.
    FindingCode("not_a_mask", "an object that is neither SEG nor RTSTRUCT is left out"),
    FindingCode("unreadable_mask", "unreadable parts of a SEG or RTSTRUCT are left out"),
    FindingCode("other_frame_of_reference", "labels are in a different frame of reference"),
    FindingCode("frames_off_grid", "SEG frames that are off the image's grid are left out"),
    FindingCode("contours_between_slices", "contours between slices went to the nearest slice"),
    FindingCode("contours_off_plane", "contours that are not parallel to the slices are left out"),
    FindingCode(
        "contours_not_closed", "points and open lines, which enclose nothing, are left out"
    ),
    FindingCode("mask_outside_volume", "a part of the labels lies outside the volume"),
    FindingCode("overlapping_labels", "voxels in several labels have the one of highest priority"),
    FindingCode("unmatched_names", "segments or ROIs that match no label are left out"),
    FindingCode("target_missing", "a label has no voxels"),
    FindingCode("empty_mask", "no label has any voxels"),
)
FINDING_CODES: Mapping[str, FindingCode] = {code.name: code for code in _ALL}


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

    @property
    def makes_impossible(self) -> bool:
        return FINDING_CODES[self.code].makes_impossible


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
    meaning = FINDING_CODES[code].meaning
    message = f"{meaning}: {detail}" if detail else meaning
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    return Finding(code, printable, numbers, tuple(sorted(set(uids))))


class NoVolume(DataError):
    """A Series cannot become a volume; `findings` has the reasons and everything else found."""

    def __init__(self, series_instance_uid: str, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        reasons = [found.message for found in findings if found.makes_impossible]
        super().__init__("; ".join(reasons), table="volume", key=series_instance_uid)
