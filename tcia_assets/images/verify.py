"""Check whether the zips on disk are still those that were verified when they were fetched."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tcia_assets.errors import TciaError
from tcia_assets.images import manifest
from tcia_assets.images.fetch_events import find_fetches
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.plan import IS_LOST
from tcia_assets.images.store_loss import require_store
from tcia_assets.images.zip_check import check_each, seems_missing, size_problem, zip_problem
from tcia_assets.images.zip_files import name_at, stored_zips
from tcia_assets.images.zip_parts import (
    PartRead,
    Subset,
    ZipPart,
    list_parts,
    record_reads,
    rows_of_parts,
)
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.warehouse import Warehouse

# What a killed check has read in this time is read again.
_WRITE_EVERY_S = 60.0


@dataclass(frozen=True)
class DamagedZip:
    """A Series whose zip does not match the manifest, and why."""

    series_instance_uid: str
    problem: str


@dataclass(frozen=True)
class VerifyResult:
    """What a check of zips found.

    Attributes:
        checked: Number of zips checked.
        checked_bytes: Their bytes.
        damaged: The damaged ones.
        left: Number of zips that were to be checked when the time was over.
        restored: Number of zips that had been found damaged, and are complete again.
    """

    checked: int
    checked_bytes: int
    damaged: tuple[DamagedZip, ...]
    left: int
    restored: int = 0


def verify_zips(
    collection: str,
    warehouse: Warehouse,
    *,
    deep: bool = False,
    quick: bool = False,
    subset: Subset | None = None,
    until: float = math.inf,
    accept_loss: bool = False,
    report: ProgressCallback = ignore_progress,
) -> VerifyResult:
    """Compare the zips of a Collection with their manifest: see `verify_parts`.

    Args:
        collection: The Collection.
        warehouse: The warehouse.
        deep: Also inflate each zip and verify it as after a download.
        quick: Compare names and sizes only, with one list of the store; no zip is read.
        subset: Check only these zips.
        until: Time of `time.monotonic()` after which no zip is begun.
        accept_loss: Mark zips also if the whole store is gone.
        report: Called with the number of bytes checked and their total.
    """
    parts = list_parts(warehouse, [collection], subset)
    sizes = None
    if quick:
        sizes = {zip_.name: zip_.size_bytes for zip_ in stored_zips(collection, warehouse)}
    return verify_parts(
        parts,
        warehouse,
        deep=deep,
        sizes=sizes,
        until=until,
        accept_loss=accept_loss,
        report=report,
    )


def verify_parts(
    parts: Sequence[ZipPart],
    warehouse: Warehouse,
    *,
    deep: bool = False,
    sizes: Mapping[str, int] | None = None,
    until: float = math.inf,
    accept_loss: bool = False,
    report: ProgressCallback = ignore_progress,
) -> VerifyResult:
    """Compare zips with their manifest: presence, size and SHA-256.

    The row of a damaged zip that was complete becomes `failed`, so that the next fetch replaces the
    zip; other rows of damaged zips stay. One that was found damaged before and is as it was when it
    was fetched, also inside, is complete again: a disk or a server may have failed for an hour. A
    Series that another run fetches meanwhile is left alone.
    When all zips of a part were read, that is recorded; a killed check keeps what it had read, but
    for the last minute.

    Args:
        parts: What to check, in this order.
        warehouse: The warehouse.
        deep: Also inflate each zip and verify it as after a download.
        sizes: The size of each file in the store, by name. If it is given, only names and sizes are
            compared, and no zip counts as read.
        until: Time of `time.monotonic()` after which no zip is begun.
        accept_loss: Mark zips also if the whole store is gone.
        report: Called with the number of bytes checked and their total.

    Raises:
        StorageError: The store of zips fails, or is gone, or what was found cannot be written.
    """
    reading = _Reading(warehouse, records=sizes is None, accept_loss=accept_loss)
    total, zips = sum(part.bytes for part in parts), sum(part.zips for part in parts)

    def check(each: tuple[ZipPart, ManifestRow]) -> str | None:
        _, row = each
        if time.monotonic() > until:
            return None
        if sizes and (size := sizes.get(name_at(row.path or ""))) is not None:
            return size_problem(row, size)
        return zip_problem(row, warehouse.archives, deep=deep or _was_damaged(row))

    try:
        for batch in rows_of_parts(parts, warehouse):
            reading.begin(batch)
            with closing(check_each(check, batch)) as found:
                for (part, row), problem in found:
                    if problem is None:
                        return reading.result(zips)
                    reading.add(part, row, problem)
                    report(reading.bytes, total)
    finally:
        reading.write()
    return reading.result(zips)


class _Reading:
    """What a check has found so far, written every minute and at the end.

    Args:
        warehouse: Where it is written.
        records: Whether zips count as read.
        accept_loss: Whether the store need not be there.
    """

    def __init__(self, warehouse: Warehouse, *, records: bool, accept_loss: bool) -> None:
        self._warehouse, self._records = warehouse, records
        self._accepts_loss, self._is_missing = accept_loss, False
        self._began = datetime.now(UTC)
        self._remaining: Counter[ZipPart] = Counter()
        self._reads: dict[ZipPart, PartRead] = {}
        self._changes: list[tuple[ManifestRow, ManifestRow]] = []
        self._problems: dict[str, str] = {}
        self._damaged: list[DamagedZip] = []
        self._whole: list[ManifestRow] = []
        self._restored = 0
        self._next_write = time.monotonic() + _WRITE_EVERY_S
        self.zips = self.bytes = 0

    def begin(self, batch: Sequence[tuple[ZipPart, ManifestRow]]) -> None:
        """Begin with these zips, which are all of their parts."""
        self._began = datetime.now(UTC)
        self._remaining = Counter(part for part, _ in batch)

    def add(self, part: ZipPart, row: ManifestRow, problem: str) -> None:
        """Add a zip that was read."""
        size = row.archive_bytes or 0
        self.zips, self.bytes = self.zips + 1, self.bytes + size
        read = self._reads.get(part, PartRead(part, self._began, 0, 0, 0))
        self._reads[part] = PartRead(
            part, read.read_at, read.zips + 1, read.bytes + size, read.damaged + bool(problem)
        )
        self._remaining[part] -= 1
        # A row that is not complete is not marked, and its zip may be known to be lost.
        self._is_missing |= row.is_complete and seems_missing(problem)
        if problem:
            self._problems[row.series_instance_uid] = problem
            self._changes.append((row, _mark_damaged(row, problem)))
        elif self._records and _was_damaged(row):
            self._whole.append(row)
        if time.monotonic() > self._next_write:
            self.write()

    def write(self) -> None:
        """Mark damaged zips, then record the parts that were read to their end.

        Raises:
            StorageError: The store itself is gone; nothing is written, now or later.
        """
        if self._is_missing and not self._accepts_loss:
            self._is_missing = False
            self._require_store()  # each time: a disk may be gone since the last one
        for name in sorted({new.collection for _, new in self._changes}):
            mine = [change for change in self._changes if change[1].collection == name]
            for row in manifest.replace_unchanged(self._warehouse, name, mine):
                uid = row.series_instance_uid
                self._damaged.append(DamagedZip(uid, self._problems[uid]))
        self._changes.clear()
        self._restored += _restore(self._whole, self._warehouse)
        self._whole.clear()
        finished = [part for part in self._reads if not self._remaining[part]]
        reads = [self._reads.pop(part) for part in finished]
        if self._records:
            record_reads(reads, self._warehouse)
        self._next_write = time.monotonic() + _WRITE_EVERY_S

    def _require_store(self) -> None:
        """Check that the store is there; if not, forget what was found, which it explains."""
        try:
            require_store(self._warehouse)
        except TciaError:
            self._changes.clear()
            self._whole.clear()
            self._reads.clear()
            raise

    def result(self, planned: int) -> VerifyResult:
        """Write, and return what was found of so many planned zips."""
        self.write()
        left = max(0, planned - self.zips)
        return VerifyResult(self.zips, self.bytes, tuple(self._damaged), left, self._restored)


def find_known_damage(warehouse: Warehouse) -> list[DamagedZip]:
    """Return the zips, of all Collections, that were found damaged and not fetched again since.

    Raises:
        DataError: A manifest is damaged.
    """
    rows = warehouse.query(
        "SELECT SeriesInstanceUID, error FROM image_archives AS a "
        f"WHERE {IS_LOST} AND path IS NOT NULL ORDER BY ALL"
    )
    return [DamagedZip(row["SeriesInstanceUID"], row["error"]) for row in rows.to_pylist()]


def find_strays(collection: str, warehouse: Warehouse) -> list[str]:
    """Return, sorted, the file names of zips of a Collection that no row of the manifest names."""
    paths = manifest.read_manifest(warehouse, collection, ["path"])["path"].drop_null()
    listed = set(map(name_at, paths.to_pylist()))
    strays = [zip_.name for zip_ in stored_zips(collection, warehouse) if zip_.name not in listed]
    return [name.rpartition("/")[2] for name in strays]


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


def _was_damaged(row: ManifestRow) -> bool:
    """Return whether a check has found this zip damaged; see `plan.IS_LOST`."""
    return row.status == "failed" and row.attempts == 0


def _restore(rows: Sequence[ManifestRow], warehouse: Warehouse) -> int:
    """Make rows complete again, as of their fetch, if the history has it; return their number."""
    restored = 0
    for name in sorted({row.collection for row in rows}):
        mine = [row for row in rows if row.collection == name]
        times = find_fetches(name, warehouse, [row.series_instance_uid for row in mine])
        changes = [
            (row, replace(row, status="complete", error=None, fetched_at=at))
            for row in mine
            if (at := times.get((row.series_instance_uid, row.sha256 or "")))
        ]
        restored += len(manifest.replace_unchanged(warehouse, name, changes))
    return restored
