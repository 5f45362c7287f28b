"""What may be amiss with a volume or its labels: codes, and findings with numbers.

What belongs here: the vocabulary, each code written once. What does not: looking for them (the
modules that read), and what becomes of a sample that has them (its declaration's policy).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tcia_assets.errors import DataError, escape_unprintable


@dataclass(frozen=True)
class FindingCode:
    """A kind of finding; where it `makes_impossible` there is no array, whatever the policy."""

    name: str
    meaning: str
    makes_impossible: bool = False


_ALL = (
    # What is left out of a volume.
    FindingCode("unreadable_object", "an object whose header cannot be read is left out"),
    FindingCode("secondary_capture", "a secondary capture is left out"),
    FindingCode("not_greyscale", "an object in colour is left out"),
    FindingCode("without_geometry", "an image without position, orientation or spacing is omitted"),
    FindingCode("mixed_orientation", "slices of another orientation (a localizer) are left out"),
    FindingCode("mixed_size", "slices with other rows or columns are left out"),
    FindingCode("mixed_spacing", "slices with another pixel spacing are left out"),
    FindingCode("mixed_frame_of_reference", "slices of another frame of reference are left out"),
    FindingCode("duplicate_position", "slices at a position that another has are left out"),
    # How the slices lie.
    FindingCode("missing_slice", "a step between slices is more than 1.5 times the median"),
    FindingCode("uneven_spacing", "slices lie off the even grid that the affine describes"),
    FindingCode("gantry_tilt", "the slices are shifted against each other: the affine has a shear"),
    FindingCode("too_few_slices", "fewer slices than asked for"),
    FindingCode("count_unlike_image_count", "another number of objects than ImageCount says"),
    # What the voxels are.
    FindingCode("mixed_rescale", "slices have their own slope and intercept; each was applied"),
    FindingCode("pet_without_suv_factors", "voxels are not SUV: the header lacks what it needs"),
    FindingCode("zero_variance", "all voxels have one value"),
    FindingCode("no_slices", "no slice is left", makes_impossible=True),
    FindingCode("undecodable_pixels", "pixels of a slice cannot be read", makes_impossible=True),
    # Labels.
    FindingCode("not_a_mask", "an object that is neither SEG nor RTSTRUCT is left out"),
    FindingCode("unreadable_mask", "a part of a SEG or RTSTRUCT cannot be read, and is left out"),
    FindingCode("other_frame_of_reference", "labels have a different frame of reference"),
    FindingCode("frames_off_grid", "SEG frames off the grid of the image are left out"),
    FindingCode("contours_between_slices", "contours lie between slices; each went to its nearest"),
    FindingCode("contours_off_plane", "contours that are not parallel to the slices are left out"),
    FindingCode("contours_not_closed", "points and open lines have no inside; they are left out"),
    FindingCode("mask_outside_volume", "a part of the labels lies outside the volume"),
    FindingCode("overlapping_labels", "voxels claimed by several labels"),
    FindingCode("unmatched_names", "segments or ROIs that no target names are left out"),
    FindingCode("target_missing", "a target has no voxel, though others have"),
    FindingCode("empty_mask", "no voxel has a label"),
)
FINDING_CODES: Mapping[str, FindingCode] = {code.name: code for code in _ALL}


@dataclass(frozen=True)
class Finding:
    """One thing amiss: its code, a line for a person, numbers, and the objects that it is about.

    `sop_instance_uids` are sorted; where an object has none, its name in the zip stands there.
    """

    code: str
    message: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    sop_instance_uids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.code not in FINDING_CODES:
            raise ValueError(f"no finding has the code {self.code!r}")

    @property
    def makes_impossible(self) -> bool:
        return FINDING_CODES[self.code].makes_impossible


def make_finding(
    code: str, detail: str = "", uids: Iterable[str] = (), /, **numbers: float
) -> Finding:
    """A finding whose message is the meaning of its code and what is special here."""
    meaning = FINDING_CODES[code].meaning
    message = f"{meaning}: {detail}" if detail else meaning
    return Finding(code, escape_unprintable(message), numbers, tuple(sorted(set(uids))))


class NoVolume(DataError):
    """A Series of which no array can be made; `findings` has why, and all else that was found."""

    def __init__(self, series_instance_uid: str, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        why = [found.message for found in findings if found.makes_impossible]
        super().__init__("; ".join(why), table="volume", key=series_instance_uid)
