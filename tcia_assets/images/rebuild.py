"""Rebuild the manifest of a Collection from its zips."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import BadArchive
from tcia_assets.images import manifest
from tcia_assets.images.acceptance.rules import Expectation, accept
from tcia_assets.images.checksums import write_checksums
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.series_task import VerifiedZip
from tcia_assets.images.verify import DamagedZip
from tcia_assets.images.zip_check import check_each, unreadable_message
from tcia_assets.images.zip_files import series_of, stored_zips
from tcia_assets.metadata import attribution
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.archives import Archives, StoredFile
from tcia_assets.store.files import sha256_of
from tcia_assets.store.warehouse import Warehouse

# Rows are written this often, so that a killed rebuild keeps most of them.
_WRITE_EVERY_S = 5.0


@dataclass(frozen=True)
class RebuildResult:
    """What was made of a Collection's zips.

    Attributes:
        collection: The Collection.
        kept: Number of zips whose row was right.
        made: Number of rows made.
        refused: The zips without a row, and why.
    """

    collection: str
    kept: int
    made: int
    refused: tuple[DamagedZip, ...]


def quarantine_unreadable_manifests(
    collections: Sequence[str], warehouse: Warehouse
) -> dict[str, list[str]]:
    """Move manifests that cannot be read to quarantine, before the first of them is rebuilt.

    A DuckDB query about one Collection reads the manifests of all.

    Returns:
        The new paths of their files, relative to the data root, by Collection.
    """
    paths = {name: manifest.quarantine_unreadable(warehouse, name) for name in collections}
    return {name: moved for name, moved in paths.items() if moved}


def rebuild_manifest(
    collection: str,
    warehouse: Warehouse,
    source: str,
    *,
    report: ProgressCallback = ignore_progress,
) -> RebuildResult:
    """Make the rows that the manifest of a Collection lacks from its zips, verified again.

    Expected counts and sizes are those of the `series` table: the zip of a Series that has changed
    since is refused, and the next fetch replaces it.

    Args:
        collection: The Collection.
        warehouse: The warehouse.
        source: The `source` of new rows.
        report: Called with the number of zips read and their total.

    Raises:
        Busy: A fetch has worked on the Collection for ten minutes.
        DataError: The manifest cannot be read; see `quarantine_unreadable_manifests`.
        StorageError: The file cannot be written. Rows made before are kept.
    """
    with warehouse.lock(IMAGE_ARCHIVES, collection, part=f"fetch-{Shard()}"):
        result = _rebuild(collection, warehouse, source, report)
        attribution.write_collection(collection, warehouse)
        write_checksums(collection, warehouse)
    return result


def _rebuild(
    collection: str, warehouse: Warehouse, source: str, report: ProgressCallback
) -> RebuildResult:
    zips = stored_zips(collection, warehouse)
    rows = {row.series_instance_uid: row for row in manifest.read_rows(warehouse, collection)}
    series = _series(collection, warehouse)

    def read(zip_: StoredFile) -> ManifestRow | DamagedZip:
        uid = series_of(zip_)
        record = {"SeriesInstanceUID": uid, "Collection": collection, "source": source}
        record = series.get(uid, {}) | record
        return _read_zip(zip_, warehouse.archives, rows.get(uid), record)

    made = 0
    refused: list[DamagedZip] = []
    changes: list[tuple[ManifestRow | None, ManifestRow]] = []
    written_at = time.monotonic()
    with closing(check_each(read, zips)) as found:
        for done, (zip_, result) in enumerate(found, start=1):
            if isinstance(result, DamagedZip):
                refused.append(result)
            elif result is not (row := rows.get(series_of(zip_))):
                changes.append((row, result))
            if time.monotonic() - written_at > _WRITE_EVERY_S:
                made += len(manifest.replace_unchanged(warehouse, collection, changes))
                changes.clear()
                written_at = time.monotonic()
            report(done, len(zips))
    made += len(manifest.replace_unchanged(warehouse, collection, changes))
    if not warehouse.has(IMAGE_ARCHIVES, collection):
        manifest.merge_rows(warehouse, collection, ())
    # A row that another run has written meanwhile counts as kept.
    return RebuildResult(collection, len(zips) - made - len(refused), made, tuple(refused))


def _read_zip(
    zip_: StoredFile, archives: Archives, row: ManifestRow | None, record: Mapping[str, Any]
) -> ManifestRow | DamagedZip:
    """Return the row of a zip: `row` itself if it is right, else a new one or the problem."""
    try:
        published_at = archives.head(zip_.name).published_at
        with archives.copy(zip_.name) as path:
            sha256 = sha256_of(path)
            if row is not None and _is_right(row, zip_, sha256):
                return row
            return _make_row(path, sha256, published_at, record)
    except BadArchive as error:
        return DamagedZip(series_of(zip_), error.problem)
    except (FileNotFoundError, IsADirectoryError):
        return DamagedZip(series_of(zip_), "it is not a file")
    except OSError as error:
        return DamagedZip(series_of(zip_), unreadable_message(error))


def _is_right(row: ManifestRow, zip_: StoredFile, sha256: str) -> bool:
    return row.is_complete and (row.archive_bytes, row.sha256) == (zip_.size_bytes, sha256)


def _series(collection: str, warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    rows = warehouse.query(
        "SELECT s.SeriesInstanceUID, s.ImageCount, s.fingerprint, s.LicenseName AS license_name, "
        "s.MaxSubmissionTimestamp::DATE AS submitted_on, "
        "s.DataDescriptionURI, coalesce(s.FileSize, z.TotalSizeInBytes) AS image_bytes "
        "FROM series AS s LEFT JOIN series_sizes AS z "
        "ON z.SeriesInstanceUID = s.SeriesInstanceUID AND z.fingerprint = s.fingerprint "
        "WHERE s.Collection = $collection",
        {"collection": collection},
    )
    return {row["SeriesInstanceUID"]: row for row in rows.to_pylist()}


def _make_row(
    path: Path, sha256: str, published_at: datetime, series: Mapping[str, Any]
) -> ManifestRow:
    uid = series["SeriesInstanceUID"]
    expected = Expectation(uid, series.get("ImageCount"), series.get("image_bytes"))
    proof = accept(path, expected)
    # Another version may have as many images of the same size: only the dates can distinguish them.
    submitted = series.get("submitted_on")
    is_current = submitted is None or submitted < published_at.date()
    fingerprint = {} if is_current else {"fingerprint": None}
    row = ManifestRow.from_record({**series, "attempts": 0, **fingerprint})
    return VerifiedZip.at(path, proof, sha256).describe_in(row, published_at)
