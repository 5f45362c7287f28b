"""Fetch the selected Series of a Collection: plan, download in parallel, record each result."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tcia_assets.catalog import IMAGE_ARCHIVES, OF_FOLDER
from tcia_assets.errors import Busy
from tcia_assets.images import manifest
from tcia_assets.images.checksums import is_written, removing_lines, write_checksums
from tcia_assets.images.disk_space import check_disk_space
from tcia_assets.images.fetch_events import record_new_zips
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.manifest import ManifestTotals, count_manifest
from tcia_assets.images.manifest_row import UID, ManifestRow
from tcia_assets.images.plan import SAME_BYTES, FetchPlan
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.shared_rows import collections_with_shared_rows
from tcia_assets.images.workers import FetchProgress, FetchWorkers
from tcia_assets.images.zip_files import series_of, stored_zips, tidy, work_folder
from tcia_assets.metadata import attribution, moves
from tcia_assets.settings import Settings
from tcia_assets.sources import Source
from tcia_assets.store.files import check_case
from tcia_assets.store.warehouse import Warehouse


@dataclass(frozen=True)
class FetchResult:
    """What a fetch of a Collection did.

    Attributes:
        plan: The plan that it followed.
        recorded: Number of manifest rows that it added, by status.
        fetched: The Series that are complete by them.
        new_zips: Those of them whose zips nobody has read yet; None if there may be others, as
            after a kill.
        not_started: Number of planned Series that were not started: the run's minutes were over,
            quiet hours began, or another run is working on them.
        received_bytes: Bytes of zips received.
        totals: What is in the manifest now.
    """

    plan: FetchPlan
    recorded: Counter[str]
    fetched: frozenset[str]
    new_zips: frozenset[str] | None
    not_started: int
    received_bytes: int
    totals: ManifestTotals


class FetchListener:
    """What a fetch calls, in the thread of its caller; override what is needed."""

    def on_wait(self) -> None:
        """Handle a wait for another run that works on the same part."""

    def on_plan(self, plan: FetchPlan) -> None:
        """Handle the plan, before anything is fetched."""

    def on_progress(self, progress: FetchProgress) -> None:
        """Handle progress; called often."""

    def on_row(self, row: ManifestRow) -> None:
        """Handle a row that was recorded."""

    def on_cache_filling(self) -> None:
        """Read what is to be read of the zips that were recorded, before they leave the cache.

        Called when they fill half of it, where zips are in a store that is no folder.
        """


def fetch_images(
    collection: str,
    session: FetchSession,
    source: Source,
    warehouse: Warehouse,
    listener: FetchListener = FetchListener(),  # noqa: B008 - without state
    fallbacks: Sequence[Source] = (),
) -> FetchResult:
    """Fetch the selected Series of a Collection that are not on disk.

    A Series that cannot be fetched gets a row with the reason; it is not an exception.

    Args:
        collection: The Collection.
        session: What is selected, and how much of it is fetched; shared by several Collections.
        source: Where it is fetched from.
        warehouse: The warehouse.
        listener: Its methods are called while the fetch runs.
        fallbacks: Further sources, each for Series that those before it fail to provide.

    Raises:
        UsageError: The disk cannot hold the plan. Nothing was fetched.
        StorageError: The file cannot be written, or the Collection's folder would be that of
            another one. What was complete is recorded.
        ArchiveBroken: The source is down. What was complete is recorded.
        Busy: Another run has worked on the same part for ten minutes.
    """
    sources = [each.of(collection) for each in (source, *fallbacks)]
    # The archives may be on another file system than the warehouse.
    check_case(work_folder(collection, warehouse))
    with _exclusive(collection, warehouse, session.shard, listener):
        writer = manifest.ManifestWriter(warehouse, collection, session.shard)
        try:
            # Checked under the lock: a plan made before another run's fetch would repeat it.
            plan = session.plan(collection, warehouse)
            earlier = _zips_before_move(collection, warehouse)
            listener.on_plan(plan)
            check_disk_space([plan], warehouse, source.settings)
            tidy(work_folder(collection, warehouse))
            known = manifest.read_rows_of(warehouse, collection, plan.now.tried())
            most = _max_unread_bytes(warehouse, source.settings)
            workers = FetchWorkers(plan, sources, warehouse, known, earlier, session.budget, most)
            recorded, fetched, unread = _record_rows(workers, writer, listener)
        finally:
            shard = session.shard
            writer.close(lambda added: _follow_manifest(collection, warehouse, added, shard))
    not_started = len(plan.now) - recorded.total()
    session.count_not_started(not_started)
    received, totals = workers.progress.received_bytes, count_manifest(warehouse, collection)
    complete, new_zips = frozenset(fetched), None if writer.added is None else frozenset(unread)
    return FetchResult(plan, recorded, complete, new_zips, not_started, received, totals)


def finish_interrupted(collection: str, warehouse: Warehouse) -> None:
    """Record what killed runs have fetched of a Collection; nothing is fetched.

    Raises:
        DataError: The journal of a killed run, or the manifest, is damaged.
        StorageError: A file cannot be written.
    """
    writer = manifest.ManifestWriter(warehouse, collection)
    writer.close(lambda added: _follow_manifest(collection, warehouse, added))


def record_fetches_of_others(warehouse: Warehouse) -> None:
    """Record what other machines have fetched that share the store of zips.

    Raises:
        DataError: What one of them has passed is damaged.
        StorageError: The store fails, or a file cannot be written.
    """
    for collection in collections_with_shared_rows(warehouse.archives):
        if manifest.merge_rows_of_others(warehouse, collection):
            _follow_manifest(collection, warehouse)


def _max_unread_bytes(warehouse: Warehouse, settings: Settings) -> float:
    """Return how many bytes of zips may be fetched before what is in them is read."""
    is_limited = warehouse.archives.is_shared and settings.cache_bytes
    return settings.cache_bytes / 2 if is_limited else math.inf


def _follow_manifest(
    collection: str,
    warehouse: Warehouse,
    added: set[str] | None = None,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> None:
    """Bring up to date what follows from the manifest: history, moved zips, licence files.

    Args:
        collection: The Collection.
        warehouse: The warehouse.
        added: The Series whose rows are new; None if it may be any.
        shard: The part of it that was fetched.
    """
    record_new_zips(collection, warehouse, added)
    _remove_zips_left_behind(collection, warehouse)
    if shard.is_part and warehouse.archives.is_shared:
        return  # these files are about the whole, which only other machines may have
    attribution.write_collection(collection, warehouse)
    write_checksums(collection, warehouse, added)


def _record_rows(
    workers: FetchWorkers,
    writer: manifest.ManifestWriter,
    listener: FetchListener,
) -> tuple[Counter[str], set[str], set[str]]:
    """Run the workers and record each row; after an error, also the rows that had arrived.

    Args:
        workers: The workers.
        writer: Records the rows.
        listener: Is called for each row, and when zips are to be read before others are fetched.

    Returns:
        The number of rows by status, the Series that are complete, and those of them whose zips
        the listener has not read.
    """
    recorded, fetched, unread = Counter[str](), set[str](), set[str]()
    arriving = workers.run(listener.on_progress)
    try:
        for row in arriving:
            writer.add(row)
            recorded[row.status] += 1
            if row.is_complete:
                fetched.add(row.series_instance_uid)
                unread.add(row.series_instance_uid)
            listener.on_row(row)
            if workers.must_be_read:
                writer.merge()
                listener.on_cache_filling()
                workers.mark_read()
                unread.clear()
    except BaseException as error:
        workers.stop_after(error)
        raise
    finally:
        # Close now: at garbage collection this would block on the threads.
        arriving.close()
        for row in workers.unread_rows():
            writer.add(row)
    return recorded, fetched, unread


@contextmanager
def _exclusive(
    collection: str, warehouse: Warehouse, shard: Shard, listener: FetchListener
) -> Iterator[None]:
    """Hold the lock on this part of a Collection; wait for another run if necessary."""
    part = f"fetch-{shard}"
    with ExitStack() as stack:
        try:
            stack.enter_context(warehouse.lock(IMAGE_ARCHIVES, collection, part=part, wait=0.0))
        except Busy:
            listener.on_wait()
            stack.enter_context(warehouse.lock(IMAGE_ARCHIVES, collection, part=part))
        yield


# --- Series that moved from one Collection to another ---------------------------------------------


def _zips_before_move(collection: str, warehouse: Warehouse) -> dict[str, list[str]]:
    """Find complete zips of Series that moved to a Collection, in the Collections that they left.

    A Series that was submitted again since its zip was fetched is left out: with the same count and
    size, nothing in the zip would show that it is old.

    Returns:
        The Collections with a zip, by UID.
    """
    rows = warehouse.query(
        f"""
        SELECT s.SeriesInstanceUID AS uid, list(a.Collection ORDER BY a.Collection) AS collections
        FROM (
            SELECT *, {OF_FOLDER} AS of_folder FROM series WHERE Collection = $collection
        ) AS s
        JOIN (SELECT * FROM series WHERE moved_to = $collection AND {moves.ZIPS_MOVE}) AS earlier
        ON earlier.SeriesInstanceUID = s.SeriesInstanceUID
        JOIN image_archives AS a
        ON a.SeriesInstanceUID = s.SeriesInstanceUID AND a.Collection = earlier.Collection
        WHERE a.status = 'complete' AND {SAME_BYTES}
        GROUP BY s.SeriesInstanceUID
        """,
        {"collection": collection},
    )
    return dict(zip(rows["uid"].to_pylist(), rows["collections"].to_pylist(), strict=True))


def _remove_zips_left_behind(collection: str, warehouse: Warehouse) -> None:
    """Remove the zips of Series that are complete here from the Collections that they left."""
    moved = moves.moved_series(collection, warehouse)
    if not moved:
        return
    complete = set(manifest.read_complete(warehouse, collection, [UID])[UID].to_pylist())
    for name, uids in moved.items():
        left = complete.intersection(uids)
        if left and (still_there := left & _stored_series(name, warehouse)):
            with removing_lines(name, warehouse):
                manifest.remove_series(warehouse, name, still_there)
            write_checksums(name, warehouse)
        elif left and not is_written(name, warehouse):
            write_checksums(name, warehouse)  # a run was killed before it did


def _stored_series(collection: str, warehouse: Warehouse) -> set[str]:
    """Return the Series with a row or a zip: a kill while they are removed leaves only the zip."""
    rows = manifest.read_manifest(warehouse, collection, [UID])[UID].to_pylist()
    return {*rows, *(series_of(each) for each in stored_zips(collection, warehouse))}
