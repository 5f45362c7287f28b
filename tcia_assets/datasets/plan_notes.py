"""What a plan shows that may be a mistake, and what to do, as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from tcia_assets.datasets.plan import DatasetPlan
from tcia_assets.datasets.plan_channels import channel_notes
from tcia_assets.units import counted, format_bytes

_MOST_LEAKS = 10


def plan_notes(plan: DatasetPlan) -> list[str]:
    """Return the notes about a plan; leaks, for which a build is refused, are the last."""
    return [
        *_images(plan),
        *channel_notes(plan.channels),
        *_names(plan),
        *_splits(plan),
        *_leaks(plan),
    ]


def _images(plan: DatasetPlan) -> Iterator[str]:
    if plan.to_fetch or plan.masks_to_fetch:
        masks = (
            f", and {plan.masks_to_fetch:,} masks in their Studies "
            f"({format_bytes(plan.masks_to_fetch_bytes)}), whose pairs are known once they are here"
            if plan.masks_to_fetch
            else ""
        )
        yield f"{plan.to_fetch:,} Series are not on disk{masks}: `tcia-assets fetch` them"
    if plan.images_without_mask:
        yield (
            f"{counted(plan.images_without_mask, 'image')} without a paired mask on disk: "
            "`without_target` drops them unless `qc` says else"
        )
    if plan.built_bytes > plan.free_bytes:
        yield "the disk may be too small for it"


def _names(plan: DatasetPlan) -> Iterator[str]:
    if plan.unlabelled:
        verbs = ("matches", "gives") if plan.unlabelled == 1 else ("match", "give")
        names = counted(plan.unlabelled, "name")
        yield f"{names} of segments {verbs[0]} no label, and {verbs[1]} background"
    if plan.unmatched_labels:
        named = ", ".join(map(repr, plan.unmatched_labels))
        is_one = len(plan.unmatched_labels) == 1
        found = f"label {named} matches" if is_one else f"labels {named} match"
        yield f"{found} no name of segments, so that no voxel gets {'it' if is_one else 'them'}"
    if plan.classes.get(""):
        yield f"{counted(plan.classes[''], 'image')} without a class: `without_class`"


def _splits(plan: DatasetPlan) -> Iterator[str]:
    for each in plan.splits:
        if not each.patients:
            advice = "try a larger fraction, a different `salt` or `stratify`"
            yield f"split {each.split!r} has no Patient: {advice}"


def _leaks(plan: DatasetPlan) -> Iterator[str]:
    for leak in plan.leaks[:_MOST_LEAKS]:
        yield f"in several splits, so that a build is refused: {leak}"
    if (hidden := len(plan.leaks) - _MOST_LEAKS) > 0:
        yield f"and {hidden:,} more leaks"
