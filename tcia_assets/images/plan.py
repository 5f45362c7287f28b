"""Plan what to fetch of a Collection: compare the selection with the manifest and the disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from typing import Any

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.images.acceptance.rules import Expectation
from tcia_assets.images.run_limits import FetchBudget, Shard
from tcia_assets.images.zip_files import name_at
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.archives import Archives
from tcia_assets.store.warehouse import Warehouse

_Record = dict[str, Any]
_UID = "series_instance_uid"

# In the SQL below, `s` is the row of a Series in `series`, and `a` the one in `image_archives`.

# A Series that was refused this many times, unchanged, is given up.
MAX_ATTEMPTS = 5
IS_GIVEN_UP = f"""coalesce(
    a.status IN ('incomplete', 'unavailable') AND a.attempts >= {MAX_ATTEMPTS}
    AND a.fingerprint = s.fingerprint, false
)"""

# The source provides the day of the last submission, in a time zone of its own. A Series that was
# fetched within a day of it may have been submitted once more since, with the same count and size:
# it is fetched again, once, when that day is over.
_IS_SETTLED = "coalesce(s.MaxSubmissionTimestamp::DATE + 1 < a.fetched_at::DATE, true)"
_MAY_BE_SETTLED = f"({_IS_SETTLED} OR a.fetched_at::DATE + 1 >= $today)"

# Whether the zip `a` has the bytes that the Series `s` has now. A fingerprint also changes with a
# licence, a description or the dialect in use, which is no reason to fetch the bytes again.
SAME_BYTES = """(
    a.fingerprint = s.fingerprint OR (
        a.image_count = s.ImageCount
        AND coalesce(a.image_bytes = s.FileSize, true)
        AND coalesce(a.crdc_series_uuid = s.crdc_series_uuid, true)
        AND coalesce(s.MaxSubmissionTimestamp::DATE < a.fetched_at::DATE, true)
    )
)"""


@dataclass(frozen=True)
class PendingSeries:
    """A selected Series that is not on disk as the source now describes it.

    Attributes:
        series_instance_uid: Its UID.
        image_count: Number of its objects; None if unknown.
        image_bytes: Bytes of its objects; None if unknown.
        fingerprint: Fingerprint of its row in `series`.
        license_name: Its licence.
        description_uri: Its DataDescriptionURI.
        attempts: How often it was tried, unchanged, without success.
        reason: "new", "changed" (its bytes at the source, certainly or possibly), "lost" (its zip
            on disk) or "again" (it failed before).
        submitted_on: The day of its last submission; None if unknown.
        crdc_series_uuid: Its version in the Imaging Data Commons; None if unknown.
    """

    series_instance_uid: str
    image_count: int | None
    image_bytes: int | None
    fingerprint: str
    license_name: str | None
    description_uri: str | None
    attempts: int
    reason: str
    submitted_on: date | None = None
    crdc_series_uuid: str | None = None

    @property
    def expected(self) -> Expectation:
        """What its zip must hold."""
        return Expectation(self.series_instance_uid, self.image_count, self.image_bytes)


@dataclass(frozen=True)
class FetchPlan:
    """What a run fetches of a Collection.

    Attributes:
        collection: The Collection.
        now: Series to fetch, small ones first.
        later: Series that exceed the run's budget.
        complete: Number of selected Series on disk as they are now.
        given_up: Series that were refused too often to be tried again.
        denied: Number of Series left out because of their licence.
        unlicensed: Number of Series whose licence is unknown. They are selected unless only some
            licences are allowed.
        manifest_version: The version of the manifest that was compared; see `is_current`.
    """

    collection: str
    now: tuple[PendingSeries, ...]
    later: tuple[PendingSeries, ...]
    complete: int
    given_up: tuple[PendingSeries, ...] = ()
    denied: int = 0
    unlicensed: int = 0
    manifest_version: tuple[int, ...] | None = field(default=None, compare=False)

    @property
    def bytes_now(self) -> int:
        """Bytes to fetch at most, without Series of unknown size; most zips are smaller."""
        return sum(series.image_bytes or 0 for series in self.now)

    @property
    def bytes_later(self) -> int:
        """Bytes that exceed the run's budget."""
        return sum(series.image_bytes or 0 for series in self.later)

    @property
    def has_selected_series(self) -> bool:
        """Whether any Series of the Collection is selected, or excluded only by licence."""
        return bool(self.now or self.later or self.complete or self.given_up or self.denied)

    @property
    def sizes_unknown(self) -> int:
        """Number of Series to fetch whose size is unknown."""
        return sum(series.image_bytes is None for series in self.now)

    @property
    def reasons(self) -> Counter[str]:
        """Number of Series to fetch by `PendingSeries.reason`."""
        return Counter(series.reason for series in self.now)

    def is_current(self, warehouse: Warehouse) -> bool:
        """Return whether the manifest is unchanged since the plan was made."""
        return self.manifest_version == _manifest_version(self.collection, warehouse)


def plan_collection(
    collection: str,
    selection: Selection,
    warehouse: Warehouse,
    *,
    shard: Shard = Shard(),  # noqa: B008 - frozen
    retry: bool = False,
    budget: FetchBudget | None = None,
) -> FetchPlan:
    """Compare the selection with the manifest and the disk, for one Collection.

    Args:
        collection: The Collection.
        selection: What is selected.
        warehouse: The warehouse.
        shard: The part of the Collection to plan.
        retry: Also plan Series that were given up.
        budget: What the run may still fetch; what is planned for now is taken from it. By default
            the budget of a run with this Collection only.
    """
    version = _manifest_version(collection, warehouse)
    records = [r for r in _selected(collection, selection, warehouse) if shard.contains(r[_UID])]
    chosen = [record for record in records if record["chosen"]]
    on_disk = {r[_UID] for r in chosen if r["complete"] and _is_on_disk(warehouse.archives, r)}
    # A Series that is missing from the newest listing cannot be fetched; its zip stays.
    needed = [r for r in chosen if r[_UID] not in on_disk and not r["is_missing"]]
    given_up = [_pending(r) for r in needed if r["is_given_up"] and not retry]
    pending = [_pending(r) for r in needed if retry or not r["is_given_up"]]
    budget = budget or FetchBudget.for_selection(selection)
    fits = budget.take([series.image_bytes for series in pending])
    return FetchPlan(
        collection,
        now=tuple(pending[:fits]),
        later=tuple(pending[fits:]),
        complete=len(on_disk),
        given_up=tuple(given_up),
        denied=sum(record["denied"] for record in records),
        unlicensed=sum(record["unlicensed"] for record in records),
        manifest_version=version,
    )


def selected_collections(selection: Selection, warehouse: Warehouse) -> list[str]:
    """Return, sorted, Collections with Series that are selected or excluded only by licence.

    One query, where plans of all known Collections would be one each.
    """
    rows = warehouse.query(
        f"""
        SELECT DISTINCT Collection FROM current_series
        WHERE coalesce({selection.predicate}, false) OR coalesce({selection.denied}, false)
        ORDER BY Collection
        """,
        tables=selection.tables,
    )
    found: list[str] = rows["Collection"].to_pylist()
    return found


def _manifest_version(collection: str, warehouse: Warehouse) -> tuple[int, ...] | None:
    """Return what identifies the file of the manifest; each write makes a new file."""
    try:
        stat = warehouse.path(IMAGE_ARCHIVES, collection).stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _selected(collection: str, selection: Selection, warehouse: Warehouse) -> list[_Record]:
    """Return each selected Series with its row in the manifest, small Series first."""
    records: list[_Record] = warehouse.query(
        f"""
        SELECT s.SeriesInstanceUID AS {_UID}, s.ImageCount AS image_count,
               coalesce(s.FileSize, z.TotalSizeInBytes) AS image_bytes, s.fingerprint,
               s.MaxSubmissionTimestamp::DATE AS submitted_on, s.LicenseName AS license_name,
               s.DataDescriptionURI AS description_uri, s.crdc_series_uuid,
               s.chosen, s.denied, s.unlicensed, s.missing_since IS NOT NULL AS is_missing,
               a.path, a.archive_bytes, {IS_GIVEN_UP} AS is_given_up,
               coalesce(a.fingerprint = s.fingerprint, false) AS is_same,
               CASE WHEN is_same THEN a.attempts ELSE 0 END AS attempts,
               coalesce(
                   a.status = 'complete' AND {SAME_BYTES} AND {_MAY_BE_SETTLED}, false
               ) AS complete,
               CASE WHEN complete THEN 'lost' WHEN a.status IS NULL THEN 'new'
                    WHEN a.status = 'complete' OR (a.path <> '' AND NOT is_same) THEN 'changed'
                    ELSE 'again' END AS reason
        FROM (SELECT * FROM (
            SELECT *, coalesce({selection.predicate}, false) AS chosen,
                   coalesce({selection.denied}, false) AS denied,
                   coalesce({selection.unlicensed}, false) AS unlicensed
            FROM current_series WHERE Collection = $collection
        ) WHERE chosen OR denied OR unlicensed) AS s
        LEFT JOIN (SELECT * FROM series_sizes WHERE Collection = $collection) AS z
        ON z.SeriesInstanceUID = s.SeriesInstanceUID AND z.fingerprint = s.fingerprint
        LEFT JOIN (SELECT * FROM image_archives WHERE Collection = $collection) AS a
        ON a.SeriesInstanceUID = s.SeriesInstanceUID
        ORDER BY image_bytes NULLS LAST, {_UID}
        """,
        {"collection": collection, "today": datetime.now(UTC).date()},
        tables=selection.tables,
    ).to_pylist()
    return records


def _is_on_disk(archives: Archives, record: _Record) -> bool:
    try:
        stored = archives.head(name_at(record["path"]))
    except FileNotFoundError:
        return False
    return bool(stored.size_bytes == record["archive_bytes"])


def _pending(record: _Record) -> PendingSeries:
    return PendingSeries(**{each.name: record[each.name] for each in fields(PendingSeries)})
