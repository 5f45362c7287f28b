"""The lock file of a cohort: written, read and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.cohort import (
    FORMAT,
    PAIRS,
    SERIES,
    Cohort,
    CohortDiff,
    WarehouseSnapshot,
    diff_cohorts,
)
from tcia_assets.datasets.cohort_checks import (
    check_holdout,
    check_licenses,
    check_query,
    locked_zips,
)
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.errors import CohortMoved
from tcia_assets.store.files import publish_text
from tcia_assets.store.warehouse import Warehouse


def freeze_cohort(
    declaration: Declaration, warehouse: Warehouse, lock: Path, *, update: bool = False
) -> tuple[Cohort, CohortDiff]:
    """The cohort of the lock file, and what is otherwise if it is asked for again now.

    Where there is no lock file, or `update` is wanted and something is otherwise, the new cohort is
    written and returned. Where nothing is otherwise, the file stays as it is, byte for byte.

    Raises:
        BadDeclaration, LicenseConflict: see `query_cohort`.
        CohortMoved: the lock file is not one of this dataset.
        StorageError: the disk refuses. The lock file is as it was.
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
    """The cohort of the lock file, whose zips are all on disk as they were.

    Raises:
        CohortMoved: there is no such file, the declaration asks another question by now, or a zip
            is not there as it was; says which.
        BadDeclaration: no Series of it has a value that is held out.
        LicenseConflict: the declaration refuses the licence that a Series had.
    """
    cohort = read_lock(lock, declaration.name)
    check_query(declaration, cohort)
    locked_zips(cohort, warehouse)
    check_holdout(declaration, cohort)
    check_licenses(declaration, cohort, warehouse)
    return cohort


def write_lock(cohort: Cohort, lock: Path) -> bool:
    """The lock file holds this cohort, whole; whether it is another file than before.

    Raises:
        StorageError: the disk refuses. The file is as it was.
    """
    return publish_text(lock, cohort.text)


def read_lock(lock: Path, name: str) -> Cohort:
    """The cohort of a lock file of the dataset of that name.

    Raises:
        CohortMoved: it is not there, not readable, of another dataset, or not as it was written.
    """
    try:
        content = json.loads(lock.read_text(encoding="utf-8"))
        told = content.pop("sha256")
        cohort = _cohort(content)
    except FileNotFoundError:
        raise CohortMoved(f"{lock}: there is no such lock file; ask for the cohort first") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CohortMoved(f"{lock}: it is no lock file: {error}") from None
    if cohort.sha256 != told:
        raise CohortMoved(f"{lock}: it has been edited: its Series do not have its sha256")
    if cohort.name != name:
        raise CohortMoved(f"{lock}: it is of the dataset {cohort.name!r}, not of {name!r}")
    return cohort


def _cohort(content: dict[str, Any]) -> Cohort:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}, and {FORMAT} can be read")
    return Cohort(
        str(content["name"]),
        dict(content["question"]),
        WarehouseSnapshot(**content["snapshot"]),
        pa.Table.from_pylist(content["series"], schema=SERIES),
        pa.Table.from_pylist(content["pairs"], schema=PAIRS),
    )
