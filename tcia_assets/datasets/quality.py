"""The codes of what may be wrong with a sample, and what becomes of a sample that has one.

`volume` finds what may be wrong; `sample_table.py` applies the policies.
"""

from __future__ import annotations

from collections.abc import Mapping

from tcia_assets.datasets.volume.findings import (
    FINDING_CODES,
    FRAME_CODES,
    IMPOSSIBLE,
    WRONG_VALUES,
)

NOT_FETCHED, WITHOUT_TARGET, WITHOUT_CLASS = "not_fetched", "without_target", "without_class"
CHANNEL_MISSING, CHANNEL_ZEROS = "channel_missing", "channel_zeros"
CHANNEL_BY_TIME, CHANNEL_AMBIGUOUS = "channel_by_time", "channel_ambiguous"
CHANNEL_OTHER_FRAME = "channel_other_frame"
SAMPLE_CODES: Mapping[str, str] = {
    NOT_FETCHED: "the images of the Series are not on disk",
    WITHOUT_TARGET: "no SEG or RTSTRUCT is paired with the Series",
    WITHOUT_CLASS: "no class is known for the Series",
    CHANNEL_MISSING: "a channel of the case has no Series",
    CHANNEL_ZEROS: "a channel without a Series is written as zeros, as `missing` says",
    CHANNEL_BY_TIME: "of several Series for a channel, the one acquired nearest in time to the "
    "reference is taken",
    CHANNEL_AMBIGUOUS: "several Series fit a channel, and no time distinguishes them",
    **FINDING_CODES,
}
"""Each code with its meaning: those of a sample, and those of `volume.findings`."""

CHANNEL_CODES = frozenset(code for code in SAMPLE_CODES if code.startswith("channel_"))
"""The codes that only a dataset with channels has."""

CUT_CODES = frozenset({"nothing_to_crop_to", "labels_cut_off", "padded_to_size"})
"""The codes that only a dataset with `volume.crop` or `volume.size` has."""

UNIT_CODES = frozenset({"not_in_declared_unit"})
"""The codes that only a dataset with `volume.units` has."""

CODES_OF_FRAMES = frozenset(FRAME_CODES)
"""The codes that only a dataset of two-dimensional images has."""

DROP, KEEP, FAIL = "drop", "keep", "fail"
POLICIES = {
    DROP: "the sample is left out; its row gives the reason",
    KEEP: "the sample is in the dataset; its row lists the finding",
    FAIL: "the dataset is not built",
}

_DROPPED = frozenset(
    {
        NOT_FETCHED,
        WITHOUT_TARGET,
        WITHOUT_CLASS,
        CHANNEL_MISSING,
        CHANNEL_AMBIGUOUS,
        CHANNEL_OTHER_FRAME,
        "channel_outside",
        "unreadable_object",
        "mixed_frame_of_reference",
        "empty_mask",
    }
    | {"duplicate_position", "missing_slice", "too_few_slices", "count_unlike_image_count"}
    | {"zero_variance", "unreadable_mask", "frames_off_grid", "other_frame_of_reference"}
    | {"contours_off_plane", "several_volumes", "interleaved_slices", "incomplete_volume"}
    | {"misplaced_slices", "ambiguous_numbers", "padding_like_tissue", "thin_walls"}
    | {"labels_not_of_volume", "foreign_objects"}
    | IMPOSSIBLE
    | WRONG_VALUES
)
DEFAULT_POLICIES: Mapping[str, str] = {
    code: DROP if code in _DROPPED else KEEP for code in SAMPLE_CODES
}
"""The policy of each code where `qc` does not name it."""


def has_nothing_to_keep(code: str) -> bool:
    """Return whether a sample with this code has no volume, so that it cannot be kept."""
    return code in (NOT_FETCHED, CHANNEL_MISSING) or code in IMPOSSIBLE
