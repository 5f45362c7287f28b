"""Old versions of datasets are found and removed; what datasets need is known."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.datasets import version_publishing, versions
from tcia_assets.datasets.cohort_lock import cohort_lock_path
from tcia_assets.datasets.prune import (
    old_versions,
    remove_leftovers,
    remove_version,
    series_in_use,
)
from tcia_assets.datasets.samples import KEPT, SAMPLES
from tcia_assets.errors import CohortMoved
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import NO_TARGET, declared, frozen

NAME = "lung_ct"
IMAGES, TARGETS = ["1.1", "1.2"], ["2.1"]


def published(warehouse: Warehouse, age: int, *targets: str) -> versions.Version:
    """Publish a version with nothing but its table of samples, this many seconds ago."""
    folder = versions.dataset_folder(warehouse.root, NAME)
    draft = folder / ".draft"
    draft.mkdir(parents=True)
    lists: dict[str, list[str]] = {"reasons": [], "target_series_instance_uids": list(targets)}
    rows = [
        {"SeriesInstanceUID": uid, "state": KEPT, "findings": [], **lists} for uid in sorted(IMAGES)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLES), draft / versions.INDEX)
    content = {"name": NAME, "settings": {}}
    version = version_publishing.publish(draft, folder, content, versions.list_files(draft))
    at = version.made_at.timestamp() - age
    os.utime(version.folder / versions.LOCK, (at, at))
    return version


@pytest.fixture
def two_versions(warehouse: Warehouse) -> list[str]:
    """The names of two versions, the older one first."""
    return [published(warehouse, 1000, *TARGETS).version, published(warehouse, 0).version]


def names(found: list[versions.Version]) -> list[str]:
    return [version.version for version in found]


def test_the_newest_versions_and_the_latest_stay(
    warehouse: Warehouse, two_versions: list[str]
) -> None:
    root = warehouse.root
    assert names(old_versions(root, 1)) == two_versions[:1]
    assert names(old_versions(root, 2)) == names(old_versions(root, 9)) == []
    link = versions.dataset_folder(root, NAME) / versions.LATEST
    link.unlink()
    link.symlink_to(two_versions[0])
    assert names(old_versions(root, 1)) == []


def test_a_version_is_removed_whole_and_the_others_are_unchanged(
    warehouse: Warehouse, two_versions: list[str]
) -> None:
    root = warehouse.root
    [old] = old_versions(root, 1)
    # What a kill in the middle of a removal leaves.
    leftover = old.folder.with_name(".removed")
    leftover.mkdir()
    (leftover / "file").write_bytes(b"x")
    remove_leftovers(warehouse)
    assert not leftover.exists()
    remove_version(old, warehouse)

    assert names(versions.list_versions(root, NAME)) == two_versions[1:]
    assert not old.folder.exists()
    assert versions.verify(versions.find(root, NAME)).problems == ()


def test_the_series_of_versions_are_in_use(warehouse: Warehouse, two_versions: list[str]) -> None:
    used = series_in_use(warehouse)
    without_old = series_in_use(warehouse, old_versions(warehouse.root, 1))

    assert used.keys() == {*IMAGES, *TARGETS}
    assert set(used.values()) == {f"{NAME}/{version}" for version in two_versions}
    assert without_old.keys() == set(IMAGES)


def test_the_series_of_a_frozen_cohort_are_in_use(fetched_warehouse: Warehouse) -> None:
    cohort = frozen(declared(NO_TARGET), fetched_warehouse)
    wanted = cohort.series["SeriesInstanceUID"].to_pylist()
    assert series_in_use(fetched_warehouse) == dict.fromkeys(wanted, NAME)
    cohort_lock_path(fetched_warehouse, NAME).write_text("{}")
    with pytest.raises(CohortMoved, match="not a lock file"):
        series_in_use(fetched_warehouse)
