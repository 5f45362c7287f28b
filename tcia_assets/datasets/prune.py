"""Find and remove old versions of datasets, and find the Series that datasets need."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tcia_assets.datasets import version_publishing, versions
from tcia_assets.datasets.cohort_lock import cohort_lock_path, read_lock
from tcia_assets.datasets.samples import CHANNELS, series_of_images
from tcia_assets.datasets.versions import Version
from tcia_assets.store.files import storage_errors
from tcia_assets.store.warehouse import Warehouse


def old_versions(root: Path, keep: int) -> list[Version]:
    """Return the versions of all datasets but the newest of each, and the one `latest` is.

    Args:
        root: The data folder.
        keep: How many of each dataset stay.
    """
    found = []
    for name in versions.dataset_names(root):
        latest = versions.latest(root, name)
        older = versions.list_versions(root, name)[:-keep]
        found += [version for version in older if version.folder.name != latest]
    return found


def series_in_use(warehouse: Warehouse, removed: Collection[Version] = ()) -> dict[str, str]:
    """Return the Series of all versions and of frozen cohorts, each with the dataset's name.

    Args:
        warehouse: Where the datasets are.
        removed: Versions that do not count, because they are removed.

    Raises:
        CohortMoved: The lock file of a cohort is damaged.
        DataError: A version is damaged.
    """
    used: dict[str, str] = {}
    gone = {version.folder for version in removed}
    for folder in sorted((warehouse.root / "datasets").glob("*/")):
        name = folder.name
        lock = cohort_lock_path(warehouse, name)
        if lock.is_file():
            frozen = read_lock(lock, name).series["SeriesInstanceUID"].to_pylist()
            used |= dict.fromkeys(frozen, name)
        for version in versions.list_versions(warehouse.root, name):
            if version.folder not in gone:
                used |= dict.fromkeys(_series_of(version), f"{name}/{version.version}")
    return used


def _series_of(version: Version) -> set[str]:
    samples = version.samples
    columns = {"SeriesInstanceUID", "target_series_instance_uids", CHANNELS}
    used: set[str] = set()
    for row in samples.select([n for n in samples.column_names if n in columns]).to_pylist():
        used |= {*series_of_images(row), *row["target_series_instance_uids"]}
    return used


def remove_version(version: Version, warehouse: Warehouse) -> None:
    """Remove a version; a build of its dataset waits.

    Raises:
        Busy: A build has worked on the dataset for ten minutes.
        StorageError: A file cannot be removed; run it again.
    """
    with version_publishing.hold_dataset(version.name, warehouse), storage_errors(version.folder):
        version_publishing.remove_leftovers(version.folder.parent)
        version_publishing.remove(version.folder)


def remove_leftovers(warehouse: Warehouse) -> None:
    """Complete the removals of versions that were killed."""
    for name in versions.dataset_names(warehouse.root):
        with version_publishing.hold_dataset(name, warehouse):
            version_publishing.remove_leftovers(versions.dataset_folder(warehouse.root, name))
