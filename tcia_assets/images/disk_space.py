"""Check that the disk can hold what is planned."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tcia_assets.errors import UsageError
from tcia_assets.images.plan import FetchPlan
from tcia_assets.units import format_bytes

# Kept free. Few zips are larger than the objects in them; this covers LICENSE, MD5 list and
# directory.
SPARE_BYTES = 1 << 30


def check_disk_space(plans: Sequence[FetchPlan], root: Path) -> None:
    """Raise UsageError, with the sizes, if the disk cannot hold what is planned.

    Args:
        plans: The plans of one run.
        root: The data root; it is created.
    """
    root.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(root).free, sum(plan.bytes_now for plan in plans)
    if not needed or needed + SPARE_BYTES <= free:
        return
    names = ", ".join(plan.collection for plan in plans if plan.now)
    series = sum(len(plan.now) for plan in plans)
    unknown = sum(plan.sizes_unknown for plan in plans)
    beside = f" and {unknown} of them of unknown size" if unknown else ""
    advice = "select less, or set max_bytes_per_run"
    if free < SPARE_BYTES:
        advice = "not even these are free, so nothing is fetched: make room"
    raise UsageError(
        f"{names}: {series} Series of {format_bytes(needed)}{beside} do not fit: "
        f"{format_bytes(free)} are free at {root}, and {format_bytes(SPARE_BYTES)} are kept free; "
        f"{advice}"
    )
