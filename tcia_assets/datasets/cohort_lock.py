"""The lock file of a cohort: written once, then compared with the warehouse.

A cohort is queried once and then locked. Later queries are compared with the lock file and replace
it only on request: a dataset must not change because the source did.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.cohort import (
    CHANNELS,
    FORMAT,
    PAIRS,
    SERIES,
    ClassJoin,
    Cohort,
    WarehouseSnapshot,
)
from tcia_assets.datasets.cohort_checks import check_cohort
from tcia_assets.datasets.cohort_diff import CohortDiff, diff_cohorts
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.versions import dataset_folder
from tcia_assets.errors import CohortMoved
from tcia_assets.metadata.publications import PUBLICATIONS
from tcia_assets.store.files import publish_text
from tcia_assets.store.warehouse import Warehouse


def cohort_lock_path(warehouse: Warehouse, name: str) -> Path:
    """Return the path of the lock file of a dataset's cohort."""
    return dataset_folder(warehouse.root, name) / "cohort.lock.json"


def freeze_cohort(
    declaration: Declaration, warehouse: Warehouse, lock: Path, *, update: bool = False
) -> tuple[Cohort, CohortDiff]:
    """Return the locked cohort, and what differs from it if the warehouse is queried now.

    Without a lock file, the cohort that is queried now is written to it. If it differs and `update`
    is set, the lock file is replaced. If nothing differs, the file is left alone, byte for byte.

    Raises:
        BadDeclaration, LicenseConflict: see `query_cohort`.
        CohortMoved: The lock file belongs to another dataset, or is damaged.
        StorageError: The file cannot be written. The lock file is unchanged.
    """
    now = query_cohort(declaration, warehouse)
    if not lock.exists():
        write_lock(now, lock)
        return now, CohortDiff()
    before = read_lock(lock, declaration.name)
    changes = diff_cohorts(before, now)
    if update and (changes or before.query != now.query):
        write_lock(now, lock)
        return now, changes
    return before, changes


def load_cohort(declaration: Declaration, warehouse: Warehouse, lock: Path) -> Cohort:
    """Return the cohort of a lock file, checked: all its zips are on disk with the same objects.

    Raises:
        CohortMoved: The file is missing or damaged, the declaration's query has changed, or zips
            are missing or changed; names them.
        BadDeclaration: No Series of the cohort has a held-out value.
        LicenseConflict: The declaration refuses the licence that a Series had.
    """
    cohort = read_lock(lock, declaration.name)
    check_cohort(declaration, cohort, warehouse)
    return cohort


def write_lock(cohort: Cohort, lock: Path) -> bool:
    """Write the lock file, and return whether its bytes changed.

    Raises:
        StorageError: The file cannot be written. The file is unchanged.
    """
    return publish_text(lock, cohort.text)


def read_lock(lock: Path, name: str) -> Cohort:
    """Read the lock file of the dataset of that name.

    Raises:
        CohortMoved: The file is missing, damaged, edited, or belongs to another dataset.
    """
    try:
        content = json.loads(lock.read_text(encoding="utf-8"))
        sha256 = content.pop("sha256")
        cohort = _cohort(content)
    except FileNotFoundError:
        raise CohortMoved(f"{lock}: no such lock file; freeze the cohort first") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CohortMoved(f"{lock}: not a lock file of a cohort: {error}") from None
    if cohort.sha256 != sha256:
        raise CohortMoved(f"{lock}: the file was edited: its Series do not match its sha256")
    if cohort.name != name:
        raise CohortMoved(f"{lock}: the file belongs to the dataset {cohort.name!r}, not {name!r}")
    return cohort


def _cohort(content: dict[str, Any]) -> Cohort:
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}; only {FORMAT} can be read")
    return Cohort(
        name=str(content["name"]),
        query=dict(content["question"]),
        snapshot=WarehouseSnapshot(**content["snapshot"]),
        series=pa.Table.from_pylist(content["series"], schema=SERIES),
        pairs=pa.Table.from_pylist(content["pairs"], schema=PAIRS),
        publications=pa.Table.from_pylist(content.get("publications", []), schema=PUBLICATIONS),
        class_join=ClassJoin(**content["class_join"]) if "class_join" in content else None,
        channels=pa.Table.from_pylist(content.get("channels", []), schema=CHANNELS),
        released=content.get("released"),
    )
