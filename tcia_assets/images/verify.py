"""Check whether the zips on disk are still those that were verified when they were fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from tcia_assets.errors import BadArchive
from tcia_assets.images import manifest
from tcia_assets.images.acceptance.rules import Expectation, Proof, accept
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.zip_files import name_at, stored_zips
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.archives import Archives
from tcia_assets.store.files import sha256_of
from tcia_assets.store.warehouse import Warehouse

T = TypeVar("T")
R = TypeVar("R")

_WORKERS = 2


@dataclass(frozen=True)
class DamagedZip:
    """A Series whose zip does not match the manifest, and why."""

    series_instance_uid: str
    problem: str


@dataclass(frozen=True)
class VerifyResult:
    """What a check of a Collection's zips found.

    Attributes:
        collection: The Collection.
        checked: Number of zips checked.
        checked_bytes: Their bytes.
        damaged: The damaged ones.
        strays: File names of zips that no row of the manifest names.
    """

    collection: str
    checked: int
    checked_bytes: int
    damaged: tuple[DamagedZip, ...]
    strays: tuple[str, ...]


def verify_zips(
    collection: str,
    warehouse: Warehouse,
    *,
    deep: bool = False,
    quick: bool = False,
    sample: int | None = None,
    just_fetched: frozenset[str] = frozenset(),
    report: ProgressCallback = ignore_progress,
) -> VerifyResult:
    """Compare the zips of a Collection with their manifest: presence, size and SHA-256.

    The row of a damaged zip that was complete becomes `failed`, so that the next fetch replaces the
    zip; other rows of damaged zips stay. A Series that another run fetches meanwhile is left alone.

    Args:
        collection: The Collection.
        warehouse: The warehouse.
        deep: Also inflate each zip and verify it as after a download.
        quick: Compare names and sizes only, with one list of the store; no zip is read.
        sample: Check only this many zips, different ones each day.
        just_fetched: UIDs to leave out: the caller has just verified them.
        report: Called with the number of zips checked and their total.
    """
    rows = [row for row in manifest.read_rows(warehouse, collection) if row.path]
    older = [row for row in rows if row.series_instance_uid not in just_fetched]
    chosen = older if sample is None else daily_sample(older, sample)
    problems: dict[str, str] = {}
    changes: list[tuple[ManifestRow | None, ManifestRow]] = []

    stored = {zip_.name: zip_.size_bytes for zip_ in stored_zips(collection, warehouse)}

    def check(row: ManifestRow) -> str:
        name = name_at(row.path or "")
        if quick and name in stored:
            return _size_problem(row, stored[name])
        return _problem(row, warehouse.archives, deep=deep)

    with closing(check_each(check, chosen)) as found:
        for done, (row, problem) in enumerate(found, start=1):
            if problem:
                problems[row.series_instance_uid] = problem
                changes.append((row, _mark_damaged(row, problem)))
            report(done, len(chosen))
    written = manifest.replace_unchanged(warehouse, collection, changes)
    damaged = [row.series_instance_uid for row in written]
    return VerifyResult(
        collection,
        len(chosen),
        sum(row.archive_bytes or 0 for row in chosen),
        tuple(DamagedZip(uid, problems[uid]) for uid in damaged),
        _strays(stored, rows),
    )


def _strays(stored: Iterable[str], rows: Sequence[ManifestRow]) -> tuple[str, ...]:
    listed = {name_at(row.path) for row in rows if row.path}
    return tuple(name.rpartition("/")[2] for name in stored if name not in listed)


def check_each(check: Callable[[T], R], items: Sequence[T]) -> Generator[tuple[T, R]]:
    """Yield each item, in order, with the result of a check that runs in threads.

    When the generator is closed, no further check is started.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            yield from zip(items, pool.map(check, items), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def daily_sample(rows: Sequence[ManifestRow], size: int) -> list[ManifestRow]:
    """Return `size` rows: the same throughout a day (UTC), different ones the next day."""
    today = datetime.now(UTC).date().isoformat()

    def rank(row: ManifestRow) -> bytes:
        return hashlib.sha256(f"{today} {row.series_instance_uid}".encode()).digest()

    return sorted(rows, key=rank)[:size]


def accept_again(row: ManifestRow, path: Path) -> Proof:
    """Verify a zip as after its download.

    Raises:
        BadArchive: It is refused.
    """
    expected = Expectation(row.series_instance_uid, row.image_count, row.image_bytes)
    return accept(path, expected)


def unreadable_message(error: OSError) -> str:
    """Return the problem of a zip that the disk does not return."""
    return f"its zip cannot be read: {error.strerror or error}"


def _problem(row: ManifestRow, archives: Archives, *, deep: bool) -> str:
    """Return what is wrong with a zip; "" if nothing is."""
    try:
        return _difference(row, archives, deep=deep)
    except FileNotFoundError:
        return f"its zip is gone: {row.path}"
    except BadArchive as error:
        return error.problem
    except OSError as error:
        return unreadable_message(error)


def _difference(row: ManifestRow, archives: Archives, *, deep: bool) -> str:
    name = name_at(row.path or "")
    if problem := _size_problem(row, archives.head(name).size_bytes):
        return problem
    if not deep:
        return _changed(row, archives.sha256(name))
    with archives.copy(name) as path:
        if problem := _changed(row, sha256_of(path)):
            return problem
        accept_again(row, path)
    return ""


def _size_problem(row: ManifestRow, size: int) -> str:
    if size == row.archive_bytes:
        return ""
    return f"its zip has {size} bytes where {row.archive_bytes} were verified"


def _changed(row: ManifestRow, sha256: str) -> str:
    if sha256 == row.sha256:
        return ""
    return "its zip has changed since it was verified: its SHA-256 differs"


def _mark_damaged(row: ManifestRow, problem: str) -> ManifestRow:
    """Return the new row of a damaged zip; a row with another verdict stays as it is."""
    if not row.is_complete:
        return row
    return replace(
        row,
        status="failed",
        error=f"{problem}; fetch its Collection to replace it",
        fetched_at=datetime.now(UTC),
    )
