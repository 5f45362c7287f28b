"""Check that the disk can hold what is planned."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from heapq import nlargest
from itertools import chain

from tcia_assets.errors import UsageError
from tcia_assets.images.plan import FetchPlan
from tcia_assets.images.series_task import series_at_once
from tcia_assets.images.zip_files import parts_bytes, work_folder
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import format_bytes

# Kept free. Few zips are larger than the objects in them; this covers LICENSE, MD5 list and
# directory.
SPARE_BYTES = 1 << 30


def check_disk_space(
    plans: Sequence[FetchPlan], warehouse: Warehouse, settings: Settings | None = None
) -> None:
    """Raise UsageError, with the sizes, if the disk cannot hold what is planned.

    Args:
        plans: The plans of one run.
        warehouse: Where the zips go; the folder for them is created.
        settings: The settings of the fetch: where images come from decides how much is needed.
    """
    folder = warehouse.archives.work_folder("")
    folder.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(folder).free, sum(plan.bytes_now for plan in plans)
    if settings is not None and settings.packs_zips:
        needed = max(0, needed + _largest_bytes(plans, settings) - _parts_bytes(plans, warehouse))
    if settings is not None and warehouse.archives.is_shared:
        # Zips go on from here; what is kept of them is limited.
        needed = min(needed, settings.cache_bytes) + _largest_bytes(plans, settings)
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
        f"{format_bytes(free)} are free at {folder}, and {format_bytes(SPARE_BYTES)} are kept "
        f"free; {advice}"
    )


def _largest_bytes(plans: Sequence[FetchPlan], settings: Settings) -> int:
    """Return the bytes of the largest Series: objects are there twice until a zip is whole."""
    sizes = chain.from_iterable(plan.now.sizes.drop_null().to_pylist() for plan in plans)
    return sum(nlargest(series_at_once(settings), sizes))


def _parts_bytes(plans: Sequence[FetchPlan], warehouse: Warehouse) -> int:
    """Return the bytes that earlier runs have received of Series that are not complete."""
    return sum(parts_bytes(work_folder(plan.collection, warehouse)) for plan in plans)
