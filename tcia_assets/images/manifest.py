"""The manifest of a Collection: the partition of `image_archives`, and how runs add rows to it.

Each run appends its rows to a journal of its own, which needs no lock, and merges them into the
partition every few seconds. The journal of a killed run is merged by the next run, and so are the
rows of other machines that share the store of zips.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import DataError, StorageError
from tcia_assets.images.journal import Journal, is_tidy, take_over_dead_journals
from tcia_assets.images.manifest_row import UID, ManifestRow, from_table, to_table
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.shared_rows import merge_shared_rows, share_rows
from tcia_assets.images.zip_files import quarantine_path, work_folder, zip_name
from tcia_assets.store import digests
from tcia_assets.store.partition_files import PartitionFiles
from tcia_assets.store.series_parts import SeriesParts
from tcia_assets.store.warehouse import Warehouse

# The time between two merges is this many times as long as a merge takes, which grows with the
# number of rows in the partition; but within these bounds. Readers see a row within a minute.
_MERGE_PAUSE_FACTOR = 40.0
_MIN_MERGE_PAUSE_S = 5.0
_MAX_MERGE_PAUSE_S = 55.0


class ManifestWriter:
    """What one run adds to the manifest of a Collection; close it, however the run ends.

    Attributes:
        added: The Series of which the manifest may have rows that nothing was made from yet: those
            of this run; None for any, as after a kill, or when other machines have added some.

    Raises:
        DataError: The journal of a killed run, or the partition, is damaged.
        StorageError: The file cannot be written.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        collection: str,
        shard: Shard = Shard(),  # noqa: B008 - frozen
    ) -> None:
        self._warehouse, self._collection, self._shard = warehouse, collection, shard
        folder = work_folder(collection, warehouse)
        take_over_dead_journals(folder, self._merge_of_killed_run)
        has_others = merge_rows_of_others(warehouse, collection, shard)
        self.added: set[str] | None = None if has_others or not is_tidy(folder) else set()
        self._journal = Journal(folder)
        self._unmerged: dict[str, ManifestRow] = {}
        self._next_merge = time.monotonic() + _MIN_MERGE_PAUSE_S

    def add(self, row: ManifestRow) -> None:
        """Add a row: to the journal at once, to the partition with the next merge.

        Raises:
            StorageError: The file cannot be written.
        """
        # First: after an interrupt in between, `close` would remove the journal without its row.
        self._unmerged[row.series_instance_uid] = row
        if self.added is not None:
            self.added.add(row.series_instance_uid)
        self._journal.append(row)
        if time.monotonic() > self._next_merge:
            self.merge()

    def close(self, follow: Callable[[set[str] | None], object] = bool) -> None:
        """Merge all rows into the partition, which is created even if there are none.

        Those that other machines have passed meanwhile are merged too.

        Args:
            follow: Called with `added` when all rows are merged, to make what follows from them;
                by default nothing is.

        Raises:
            StorageError: The file cannot be written; the journal stays, and the next run merges it.
        """
        try:
            self.merge()
            if merge_rows_of_others(self._warehouse, self._collection, self._shard):
                self.added = None
            follow(self.added)
            # Last: whoever finds it knows that what follows from its rows may be missing.
            self._journal.remove()
        finally:
            self._journal.close()

    def _merge_of_killed_run(self, rows: list[ManifestRow]) -> None:
        share_rows(self._warehouse.archives, self._collection, rows)
        merge_rows(self._warehouse, self._collection, rows)

    def merge(self) -> None:
        """Merge the rows that were added since; `add` does it now and then."""
        started = time.monotonic()
        # First: a kill in between repeats this, which changes nothing.
        share_rows(self._warehouse.archives, self._collection, self._unmerged.values())
        # Fetched by this run, so they are the newest, even if the clock was set back.
        merge_rows(self._warehouse, self._collection, self._unmerged.values(), over_newer=True)
        self._unmerged.clear()
        ended = time.monotonic()
        pause = min(_MERGE_PAUSE_FACTOR * (ended - started), _MAX_MERGE_PAUSE_S)
        self._next_merge = ended + max(pause, _MIN_MERGE_PAUSE_S)


# --- Reading --------------------------------------------------------------------------------------


def read_manifest(
    warehouse: Warehouse, collection: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the manifest of a Collection, or some of its columns; no rows if there is none."""
    return warehouse.read_or_empty(IMAGE_ARCHIVES, collection, columns)


def read_rows(warehouse: Warehouse, collection: str) -> list[ManifestRow]:
    """Return the manifest of a Collection as rows."""
    return from_table(read_manifest(warehouse, collection))


def read_rows_of(
    warehouse: Warehouse, collection: str, uids: pa.ChunkedArray
) -> dict[str, ManifestRow]:
    """Return the rows of these Series, by UID.

    Call it in the thread that may be interrupted, before other threads start: the first call
    imports modules of Arrow, and an interrupt in the middle of an import can leave the import
    lock held for all threads.
    """
    rows = warehouse.query(
        f"SELECT a.* FROM image_archives AS a SEMI JOIN wanted USING ({UID}) "
        "WHERE a.Collection = $collection",
        {"collection": collection},
        tables={"wanted": pa.table({UID: uids})},
    )
    return {row.series_instance_uid: row for row in from_table(rows)}


@dataclass(frozen=True)
class ManifestTotals:
    """What is in the manifest of a Collection.

    Attributes:
        rows: Number of rows.
        statuses: Number of rows by status.
        bytes_on_disk: Bytes of all zips.
    """

    rows: int
    statuses: Counter[str]
    bytes_on_disk: int


def count_manifest(warehouse: Warehouse, collection: str) -> ManifestTotals:
    """Return the totals of a Collection; two columns are read."""
    table = read_manifest(warehouse, collection, ["status", "archive_bytes"])
    counts = table["status"].value_counts().to_pylist()
    statuses = Counter({each["values"]: each["counts"] for each in counts})
    return ManifestTotals(table.num_rows, statuses, pc.sum(table["archive_bytes"]).as_py() or 0)


def read_complete(warehouse: Warehouse, collection: str, columns: Sequence[str]) -> pa.Table:
    """Return some columns of the complete rows; for a large Collection all columns take seconds."""
    rows = read_manifest(warehouse, collection, [*columns, "status"])
    return rows.filter(pc.equal(rows["status"], "complete")).select(columns)


# --- Writing --------------------------------------------------------------------------------------


def merge_rows(
    warehouse: Warehouse, collection: str, rows: Iterable[ManifestRow], *, over_newer: bool = False
) -> None:
    """Write rows in place of older rows of the same Series.

    Args:
        warehouse: The warehouse.
        collection: The Collection.
        rows: The rows; the partition is created even if there are none.
        over_newer: Replace newer rows as well. The rows of a killed run must not: other runs may
            have written since.
    """
    rows = list(rows)
    with _parts(warehouse, collection) as parts:
        newest = {} if over_newer else _select(parts, [row.series_instance_uid for row in rows])
        for row in rows:
            other = newest.get(row.series_instance_uid)
            if over_newer or other is None or other.fetched_at <= row.fetched_at:
                newest[row.series_instance_uid] = row
        parts.replace(to_table(newest.values()))


def merge_rows_of_others(
    warehouse: Warehouse,
    collection: str,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> bool:
    """Merge the rows that other machines have passed to this warehouse; see `shared_rows`.

    Returns:
        Whether there were any.

    Raises:
        DataError: One of their files is damaged.
        StorageError: The store of zips fails, or a file cannot be written.
    """
    return merge_shared_rows(
        warehouse.archives, collection, shard, lambda rows: merge_rows(warehouse, collection, rows)
    )


def replace_unchanged(
    warehouse: Warehouse, collection: str, changes: Iterable[tuple[ManifestRow | None, ManifestRow]]
) -> list[ManifestRow]:
    """Replace rows that are still as they were read; a Series fetched since then keeps its row.

    Args:
        warehouse: The warehouse.
        collection: The Collection.
        changes: Pairs of the row that was read, or None where there was none, and the new row.

    Returns:
        The new rows that were written.
    """
    changes = list(changes)
    if not changes:
        return []
    with _parts(warehouse, collection) as parts:
        stored = _select(parts, [new.series_instance_uid for _, new in changes])
        written = [new for old, new in changes if old == stored.get(new.series_instance_uid)]
        parts.replace(to_table(written))
    return written


def remove_series(warehouse: Warehouse, collection: str, uids: Iterable[str]) -> None:
    """Remove the rows of Series, then their zips; a kill in between leaves zips without a row."""
    removed = set(uids)
    with _parts(warehouse, collection) as parts:
        parts.replace(to_table(()), gone=removed)
    for uid in removed:
        warehouse.archives.delete(zip_name(collection, uid))


def quarantine_unreadable(warehouse: Warehouse, collection: str) -> list[str]:
    """Move the files of a manifest that cannot be read to quarantine.

    Returns:
        Their new paths, relative to the data root.

    Raises:
        StorageError: A file cannot be written.
    """
    files = warehouse.files(IMAGE_ARCHIVES, collection)
    with warehouse.lock(IMAGE_ARCHIVES, collection):
        return [
            _quarantine(files, number, warehouse.root)
            for number in files.numbers()
            if not _is_readable(files, number)
        ]


def _quarantine(files: PartitionFiles, number: int, root: Path) -> str:
    path = files.path(number)
    name = f"manifest-{secrets.token_hex(8)}-{path.name}"
    target = str(Path(quarantine_path(files.key, "")).with_name(name))
    try:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        path.replace(root / target)
        digests.remove(files.digest_path(number))
    except OSError as error:
        raise StorageError(f"{path} cannot be moved to {target}: {error.strerror}") from error
    return target


def _is_readable(files: PartitionFiles, number: int) -> bool:
    try:
        files.read_to_rewrite(number)
    except DataError:
        return False
    except OSError as error:
        if error.errno:
            path = files.path(number)
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        # Arrow raises OSError without a number for pages that it cannot decompress.
        return False
    return True


@contextmanager
def _parts(warehouse: Warehouse, collection: str) -> Iterator[SeriesParts]:
    """Hold the lock of a manifest, and provide its files."""
    with warehouse.lock(IMAGE_ARCHIVES, collection):
        yield SeriesParts(warehouse.files(IMAGE_ARCHIVES, collection))


def _select(parts: SeriesParts, uids: Iterable[str]) -> dict[str, ManifestRow]:
    return {row.series_instance_uid: row for row in from_table(parts.read_series(uids))}
