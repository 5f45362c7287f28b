"""Find and remove zips that are not selected, and what lies in quarantine.

Of a zip, the row of the manifest goes first, then the file, then what tables made from it have. A
killed run leaves a zip without a row, or tables with too many rows; the next one finds both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tcia_assets.catalog import IMAGE_ARCHIVES, OF_FOLDER
from tcia_assets.errors import Busy, StorageError
from tcia_assets.images import manifest
from tcia_assets.images.checksums import removing_lines, write_checksums
from tcia_assets.images.journal import has_living_journal
from tcia_assets.images.rows_without_zip import remove_rows_without_zip
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.zip_files import claim, series_of, stored_zips, work_folder
from tcia_assets.metadata import attribution
from tcia_assets.metadata.selection import Selection
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.warehouse import Warehouse

# Each zip of a batch is claimed while the manifest is written once, and a claim is an open file.
_BATCH = 100


@dataclass(frozen=True)
class RemovableZip:
    """A zip in the store that may be removed."""

    collection: str
    series_instance_uid: str
    bytes: int


@dataclass(frozen=True)
class QuarantinedFile:
    """A file in quarantine.

    Attributes:
        path: Its path.
        collection: Its Collection; "" if it belongs to none.
        series_instance_uid: Its Series; "" if it belongs to none.
        bytes: Its size.
    """

    path: Path
    collection: str
    series_instance_uid: str
    bytes: int


@dataclass(frozen=True)
class UnselectedZips:
    """The zips on disk that a selection does not select.

    Attributes:
        removable: Those that can be removed: the source still has them.
        needed: Those that datasets need, with the name of one of these.
        irreplaceable: Those that the source does not list any more, or that are from a folder. They
            are always kept.
    """

    removable: tuple[RemovableZip, ...]
    needed: tuple[tuple[RemovableZip, str], ...]
    irreplaceable: tuple[RemovableZip, ...]


# --- Finding --------------------------------------------------------------------------------------


def find_unselected(
    selection: Selection, warehouse: Warehouse, used: Mapping[str, str]
) -> UnselectedZips:
    """Find the zips on disk that a selection does not select.

    A zip whose Series is not known, and those of a Collection whose manifest is lost, are left out.

    Args:
        selection: What stays.
        warehouse: Where to look.
        used: Series that datasets need, with the name of one of these.

    Raises:
        UsageError: The selection cannot be used.
    """
    series = _series(selection, warehouse)
    removable, needed, irreplaceable = [], [], []
    for collection in warehouse.keys(IMAGE_ARCHIVES):
        for file in _zips_of(collection, warehouse):
            state = series.get((collection, file.series_instance_uid))
            if state is None or state["is_selected"]:
                continue
            if not state["is_listed"]:
                irreplaceable.append(file)
            elif user := used.get(file.series_instance_uid):
                needed.append((file, user))
            else:
                removable.append(file)
    return UnselectedZips(tuple(removable), tuple(needed), tuple(irreplaceable))


def _series(selection: Selection, warehouse: Warehouse) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what is known of each Series, by Collection and UID.

    One that moved is not listed, and one from a folder by no server.
    """
    rows = warehouse.query(
        f"""
        SELECT Collection, SeriesInstanceUID, coalesce({selection.predicate}, false) AS is_selected,
            missing_since IS NULL AND moved_to IS NULL AND NOT {OF_FOLDER} AS is_listed
        FROM series
        """,
        tables=selection.tables,
    ).to_pylist()
    return {(row["Collection"], row["SeriesInstanceUID"]): row for row in rows}


def _zips_of(collection: str, warehouse: Warehouse) -> Iterator[RemovableZip]:
    for stored in stored_zips(collection, warehouse):
        yield RemovableZip(collection, series_of(stored), stored.size_bytes)


def find_quarantined(warehouse: Warehouse) -> list[QuarantinedFile]:
    """Return the files in quarantine: refused zips with their reasons, and damaged manifests."""
    folder = warehouse.root / "quarantine"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        QuarantinedFile(
            path, unquote(path.relative_to(folder).parts[0]), path.stem, path.stat().st_size
        )
        for path in files
    ]


# --- Removing -------------------------------------------------------------------------------------


def remove_zips(
    zips: Sequence[RemovableZip],
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
) -> int:
    """Remove zips, their rows in the manifest, and what other tables have of them.

    Run it also without zips: it completes what a killed run left.

    Args:
        zips: From `find_unselected`.
        warehouse: Where they are.
        report: Called with the number of zips done and their total.

    Returns:
        The number of zips removed. Those of a Collection into which a run is fetching stay.

    Raises:
        DataError: The journal of a killed run is damaged.
        StorageError: A file cannot be removed or written; run it again.
    """
    done = removed = 0
    by_collection: dict[str, list[RemovableZip]] = {}
    for file in zips:
        by_collection.setdefault(file.collection, []).append(file)
    # Without its manifest, all zips of a Collection would seem to be gone from the tables.
    for collection in warehouse.keys(IMAGE_ARCHIVES):
        mine = by_collection.get(collection, [])
        with suppress(Busy), _without_fetch(collection, warehouse):
            if mine:
                # Otherwise the next fetch would merge the rows of a killed run, without their zips.
                manifest.ManifestWriter(warehouse, collection).close()
            for begin in range(0, len(mine), _BATCH):
                removed += _remove_batch(collection, mine[begin : begin + _BATCH], warehouse)
                report(done + min(begin + _BATCH, len(mine)), len(zips))
            _follow_manifest(collection, warehouse)
        done += len(mine)
        report(done, len(zips))
    return removed


@contextmanager
def _without_fetch(collection: str, warehouse: Warehouse) -> Iterator[None]:
    """Keep fetches of a Collection waiting.

    Raises:
        Busy: A run is fetching into it.
    """
    with warehouse.lock(IMAGE_ARCHIVES, collection, part=f"fetch-{Shard()}", wait=0.0):
        if has_living_journal(work_folder(collection, warehouse)):
            raise Busy(f"a run is fetching images of {collection!r}")
        yield


def _remove_batch(collection: str, batch: Sequence[RemovableZip], warehouse: Warehouse) -> int:
    folder = work_folder(collection, warehouse)
    with ExitStack() as claims:
        mine = []
        for file in batch:
            with suppress(Busy):
                claims.enter_context(claim(folder / f"{file.series_instance_uid}.zip"))
                mine.append(file.series_instance_uid)
        with _removing(folder), removing_lines(collection, warehouse):
            manifest.remove_series(warehouse, collection, mine)
    return len(mine)


def _follow_manifest(collection: str, warehouse: Warehouse) -> None:
    """Remove the rows and licences of zips that are not in the manifest any more."""
    remove_rows_without_zip(collection, warehouse)
    attribution.write_collection(collection, warehouse)
    write_checksums(collection, warehouse)


def remove_quarantined(
    files: Sequence[QuarantinedFile],
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
) -> int:
    """Remove files in quarantine; those that a fetch is working on stay.

    Returns:
        The number of files removed.

    Raises:
        StorageError: A file cannot be removed.
    """
    removed = 0
    for done, file in enumerate(files, start=1):
        with suppress(Busy), _removing(file.path):
            folder = work_folder(file.collection, warehouse)
            with claim(folder / f"{file.series_instance_uid}.zip"):
                file.path.unlink(missing_ok=True)
            removed += 1
            with suppress(OSError):
                file.path.parent.rmdir()  # not empty before the last one
        report(done, len(files))
    return removed


@contextmanager
def _removing(path: Path) -> Iterator[None]:
    """Raise StorageError for an OSError of the body."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be removed: {error.strerror or error}") from error
