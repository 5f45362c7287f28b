"""Rebuild the manifest of a Collection from its zips."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import BadArchive
from tcia_assets.images import manifest
from tcia_assets.images.acceptance.rules import Expectation, accept
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.series_task import VerifiedZip
from tcia_assets.images.verify import DamagedZip, check_each, unreadable_message
from tcia_assets.images.zip_files import collection_dir, published_at
from tcia_assets.metadata import attribution
from tcia_assets.progress import ProgressCallback, ignore_progress
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
) -> dict[str, str]:
    """Move manifests that cannot be read to quarantine, before the first of them is rebuilt.

    A DuckDB query about one Collection reads the manifests of all.

    Returns:
        The new path of each, relative to the data root, by Collection.
    """
    paths = {name: manifest.quarantine_unreadable(warehouse, name) for name in collections}
    return {name: path for name, path in paths.items() if path}


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
    return result


def _rebuild(
    collection: str, warehouse: Warehouse, source: str, report: ProgressCallback
) -> RebuildResult:
    paths = sorted((warehouse.root / collection_dir(collection)).glob("*.zip"))
    rows = {row.series_instance_uid: row for row in manifest.read_rows(warehouse, collection)}
    series = _series(collection, warehouse)

    def read(path: Path) -> ManifestRow | DamagedZip:
        return _read_zip(path, collection, rows.get(path.stem), series.get(path.stem, {}), source)

    made = 0
    refused: list[DamagedZip] = []
    changes: list[tuple[ManifestRow | None, ManifestRow]] = []
    written_at = time.monotonic()
    with closing(check_each(read, paths)) as found:
        for done, (path, result) in enumerate(found, start=1):
            if isinstance(result, DamagedZip):
                refused.append(result)
            elif result is not rows.get(path.stem):
                changes.append((rows.get(path.stem), result))
            if time.monotonic() - written_at > _WRITE_EVERY_S:
                made += len(manifest.replace_unchanged(warehouse, collection, changes))
                changes.clear()
                written_at = time.monotonic()
            report(done, len(paths))
    made += len(manifest.replace_unchanged(warehouse, collection, changes))
    if not warehouse.has(IMAGE_ARCHIVES, collection):
        manifest.merge_rows(warehouse, collection, ())
    # A row that another run has written meanwhile counts as kept.
    return RebuildResult(collection, len(paths) - made - len(refused), made, tuple(refused))


def _read_zip(
    path: Path, collection: str, row: ManifestRow | None, series: Mapping[str, Any], source: str
) -> ManifestRow | DamagedZip:
    """Return the row of a zip: `row` itself if it is right, else a new one or the problem."""
    try:
        if not path.is_file():
            return DamagedZip(path.stem, "it is not a file")
        if row is not None and _is_right(row, path):
            return row
        return _make_row(path, collection, series, source)
    except BadArchive as error:
        return DamagedZip(path.stem, error.problem)
    except OSError as error:
        return DamagedZip(path.stem, unreadable_message(error))


def _is_right(row: ManifestRow, path: Path) -> bool:
    is_same_size = row.archive_bytes == path.stat().st_size
    return row.is_complete and is_same_size and row.sha256 == sha256_of(path)


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


def _make_row(path: Path, collection: str, series: Mapping[str, Any], source: str) -> ManifestRow:
    uid = path.stem
    expected = Expectation(uid, series.get("ImageCount"), series.get("image_bytes"))
    proof = accept(path, expected)
    # Another version may have as many images of the same size: only the dates can distinguish them.
    submitted = series.get("submitted_on")
    is_current = submitted is None or submitted < published_at(path).date()
    record = {"SeriesInstanceUID": uid, "Collection": collection, "source": source, "attempts": 0}
    fingerprint = {} if is_current else {"fingerprint": None}
    row = ManifestRow.from_record({**series, **record, **fingerprint})
    return VerifiedZip.at(path, proof).describe_in(row, published_at(path))
