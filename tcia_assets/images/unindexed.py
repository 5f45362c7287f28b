"""Find zips to read: those that an interrupted run left, and those read for too few columns.

A fetch stores zips first and reads them afterwards, so a run that is killed or fails can leave
such zips. What makes a zip unindexed is in `catalog.UNINDEXED_ZIPS`; the next run of the
Collection completes it. It also finds the zips of Series that moved to another Collection, while
tables still have rows of them in the one that they left.

After a new version of this package, `images` may have columns that its rows were not read for. Such
zips are outdated; each run reads some of them again.
"""

from __future__ import annotations

from collections.abc import Mapping

from tcia_assets.catalog import HEADER_VERSION, IMAGES, INDEXED_ZIPS, UNINDEXED_ZIPS
from tcia_assets.errors import StorageError
from tcia_assets.images.journal import has_dead_journal
from tcia_assets.images.run_reasons import RunReason, short_digest
from tcia_assets.images.zip_files import collections_with_work, work_folder
from tcia_assets.store.clean_queries import CleanQueries
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted

_UID = "SeriesInstanceUID"
# The check of the same query: what one has found clean, the other need not ask again.
_CHECK = next(check for check in IMAGES.checks if check.sql == UNINDEXED_ZIPS)
_NAME = f"{IMAGES.name}.{_CHECK.name}"
_OUTDATED = """
    SELECT Collection, count(*) AS zips FROM indexed_zips
    WHERE object_count > 0 AND header_version IS DISTINCT FROM $version
    GROUP BY Collection ORDER BY Collection
"""


def count_unindexed(warehouse: Warehouse) -> dict[str, int]:
    """Return the number of unindexed zips of each Collection that has any.

    The rows in the journal of a killed run are not in the manifest yet; such a Collection counts
    at least one.
    """
    return {reason.collection: reason.series for reason in find_unindexed(warehouse)}


def find_unindexed(warehouse: Warehouse) -> list[RunReason]:
    """Return the Collections with unindexed zips, as reasons for a run, by name.

    The digest of a reason stays the same until a run changes what is missing.
    """
    missing: dict[str, dict[str, str]] = {}
    for row in _unindexed_rows(warehouse):
        missing.setdefault(row["Collection"], {})[row[_UID]] = row["problem"]
    for collection in warehouse.keys(INDEXED_ZIPS):
        if lost := _find_lost(collection, warehouse):
            missing.setdefault(collection, {}).update(dict.fromkeys(lost, f"not in {IMAGES.name}"))
    for collection in collections_with_work(warehouse):
        if has_dead_journal(work_folder(collection, warehouse)):
            missing.setdefault(collection, {"": "journal"})
    return [
        RunReason(collection, len(lacks), "unindexed " + short_digest(map(" ".join, lacks.items())))
        for collection, lacks in sorted(missing.items())
    ]


def is_all_indexed(warehouse: Warehouse) -> bool:
    """Return whether no zip was unindexed when the tables were as they are now; none is read."""
    return CleanQueries(warehouse).is_clean(_NAME, _CHECK.ordered_sql)


def _unindexed_rows(warehouse: Warehouse) -> list[dict[str, str]]:
    """Return the rows of `UNINDEXED_ZIPS`, sorted; while no table changes, none is read again."""
    try:
        rows = CleanQueries(warehouse).find(_NAME, _CHECK.ordered_sql)
    except StorageError:  # of a data folder that must not be written to
        rows = warehouse.query(_CHECK.ordered_sql)
    return [] if rows is None else rows.to_pylist()


def _find_lost(collection: str, warehouse: Warehouse) -> list[str]:
    """Return the Series of files of `images` that were removed, to be made again from the zips."""
    images, index = (warehouse.files(table, collection) for table in (IMAGES, INDEXED_ZIPS))
    lost = sorted(set(index.numbers()) - set(images.numbers()))
    return [uid for number in lost for uid in index.read(number, [_UID])[_UID].to_pylist()]


def count_outdated(warehouse: Warehouse) -> dict[str, int]:
    """Return the number of outdated zips of each Collection that has any."""
    rows = warehouse.query(_OUTDATED, {"version": HEADER_VERSION}).to_pylist()
    return {row["Collection"]: row["zips"] for row in rows}


def find_outdated(warehouse: Warehouse) -> list[RunReason]:
    """Return the Collections with outdated zips, as reasons for a run, by name.

    The digest of a reason changes when a run has read some of them.
    """
    return [
        RunReason(collection, zips, f"outdated {HEADER_VERSION} {zips}")
        for collection, zips in count_outdated(warehouse).items()
    ]


def describe_zips_to_read(unindexed: Mapping[str, int], outdated: Mapping[str, int]) -> list[str]:
    """Return a note each about unindexed and outdated zips that the next run reads.

    Args:
        unindexed: What `count_unindexed` returned.
        outdated: What `count_outdated` returned.
    """
    notes = []
    if unindexed:
        notes.append(
            f"{counted(sum(unindexed.values()), 'zip')} in {', '.join(unindexed)} not in all "
            "tables yet, as after an interrupted run or an upgrade: this run completes them"
        )
    if outdated:
        notes.append(
            f"{counted(sum(outdated.values()), 'zip')} in {', '.join(outdated)} read before images "
            "had all its columns: each run reads some of them again, for ten minutes at most"
        )
    return notes
