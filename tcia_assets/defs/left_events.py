"""Events of the images of Collections that Series left, whose zips went to another one.

A run fetches images of some Collections, and takes zips over from others that need not be in it:
one that was renamed is not listed any more, and has no runs of its own.
"""

from collections.abc import Sequence
from typing import Any

from tcia_assets import catalog
from tcia_assets.defs.events import PartitionEvent, stored_facts
from tcia_assets.images.manifest import ManifestTotals, count_manifest
from tcia_assets.images.manifest_row import STATUSES
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse


def with_events_of(
    left: Sequence[str],
    keys: Sequence[str],
    tables: Sequence[Table],
    warehouse: Warehouse,
    good: Sequence[PartitionEvent],
) -> list[PartitionEvent]:
    """Return the events of a run with those of Collections that Series left.

    Args:
        left: The Collections that Series left for one of the run.
        keys: The Collections of the run; one of them that failed has no event.
        tables: The tables of the run.
        warehouse: Where they are stored.
        good: The events of what succeeded.
    """
    events = {(each.table, each.key): each for each in good}
    for name in left:
        for table in tables:
            known = events.get((table, name))
            has_failed = known is None and name in keys
            if warehouse.has(table, name) and not has_failed:
                known = known or PartitionEvent(table, name, {})
                facts = {**known.facts, **image_facts(table, name, warehouse)}
                events[table, name] = known._replace(facts=facts)
    return [*events.values()]


def image_facts(table: Table, key: str, warehouse: Warehouse) -> dict[str, Any]:
    """Return the metadata of a partition of an image table as it is stored."""
    if table is catalog.IMAGE_ARCHIVES:
        return manifest_facts(count_manifest(warehouse, key))
    return stored_facts(warehouse, table, key)


def manifest_facts(totals: ManifestTotals) -> dict[str, Any]:
    """Return the metadata of a manifest as it is stored."""
    return {
        "dagster/partition_row_count": totals.rows,
        **{status: totals.statuses[status] for status in STATUSES},
        "bytes_on_disk": totals.bytes_on_disk,
    }
