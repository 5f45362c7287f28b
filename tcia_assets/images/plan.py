"""What to fetch of a Collection: the selection, compared with the manifest and the disk."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tcia_assets.errors import UsageError
from tcia_assets.images.acceptance import Expectation
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.warehouse import Warehouse

Row = dict[str, Any]

STATUSES = ("complete", "incomplete", "unavailable", "failed")

# A zip is seldom larger than what it holds; this covers LICENSE, MD5 list and directory.
_SPARE_BYTES = 1 << 30
# What the archive has sent so often as something else, it will send again.
MOST_ATTEMPTS = 5
# What failed, such as in an outage, says nothing of the Series: it is tried again after an hour,
# after two more, and so on, in the end once a day.
_IS_DUE_AGAIN = """(
    a.status = 'failed' AND a.fetched_at + INTERVAL 1 HOUR * least(a.attempts, 24) <= $now
)"""

# The archive tells the day of the newest submission, in a time zone of its own: a Series that was
# fetched within a day of it may have been submitted once more since, with the same count and size.
# It is fetched again, once, when such a day is over.
_IS_SETTLED = "coalesce(s.MaxSubmissionTimestamp::DATE + 1 < a.fetched_at::DATE, true)"
_MAY_BE_SETTLED = f"({_IS_SETTLED} OR a.fetched_at::DATE + 1 >= $today)"
# Whether the zip `a` holds what the Series `s` is now. A fingerprint also changes with a licence, a
# description or the dialect that is asked; none of these is a reason to fetch the bytes again.
SAME_BYTES = """(
    a.fingerprint = s.fingerprint OR (
        a.image_count = s.ImageCount
        AND coalesce(a.image_bytes = s.FileSize, true)
        AND coalesce(s.MaxSubmissionTimestamp::DATE < a.fetched_at::DATE, true)
    )
)"""


@dataclass(frozen=True)
class Shard:
    """Part `index` of the `count` parts into which plans are split, by hash of the Series' UID."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UsageError(
                f"shard {self.index} of {self.count}: it must be one of 0 to {self.count - 1}"
            )

    def holds(self, series_instance_uid: str) -> bool:
        digest = hashlib.sha256(series_instance_uid.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


@dataclass(frozen=True)
class Wanted:
    """A Series that is selected and not on disk as the archive now describes it.

    `why` is "new", "changed" (its bytes at the archive, for certain or perhaps), "lost" (its zip,
    here) or "again". `submitted_on` is the day of its newest submission, where the archive tells.
    """

    series_instance_uid: str
    image_count: int | None
    image_bytes: int | None
    fingerprint: str
    license_name: str | None
    description_uri: str | None
    attempts: int
    why: str
    submitted_on: date | None = None

    @property
    def expected(self) -> Expectation:
        return Expectation(self.series_instance_uid, self.image_count, self.image_bytes)


@dataclass
class RunBudget:
    """What one run may still fetch, over all its Collections; each plan takes its part of it.

    `deadline` is a time of `time.monotonic()` after which no Series is begun. `failed_in_a_row`
    counts Series that failed for the archive's sake, the last of all, without one that came.
    """

    series: int
    bytes: int
    deadline: float = float("inf")
    failed_in_a_row: int = 0
    is_untouched: bool = True

    @classmethod
    def of(cls, selection: Selection) -> RunBudget:
        """The budget that is shared just now, or else a new one that begins now."""
        if _shared:
            return _shared[-1]
        minutes = selection.max_minutes_per_run
        deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
        return cls(selection.max_series_per_run, selection.max_bytes_per_run, deadline)

    def take(self, wanted: Sequence[Wanted]) -> int:
        """How many of the wanted fit, which are then taken off.

        One of a run at least, or a Series that is larger than all its bytes would never come.
        """
        for place, each in enumerate(wanted):
            size = each.image_bytes or 0
            if self.series < 1 or (size > self.bytes and not self.is_untouched):
                return place
            self.is_untouched = False
            self.series -= 1
            self.bytes -= size
        return len(wanted)


# A Dagster step cannot be handed an object from outside; one call may need several runs of it.
_shared: list[RunBudget] = []


@contextmanager
def shared_budget(selection: Selection) -> Iterator[RunBudget]:
    """While this lasts, all runs in this process have one budget together."""
    _shared.append(RunBudget.of(selection))
    try:
        yield _shared[-1]
    finally:
        _shared.pop()


@dataclass(frozen=True)
class Plan:
    """What a run will fetch of a Collection and what not.

    `later` is over the run's budget; `given_up` came as something else too often to try again;
    `complete` are on disk as they are now. `denied` are left out for their licence; of `unlicensed`
    the archive tells none, and they are in unless only some licences are allowed.
    """

    collection: str
    now: tuple[Wanted, ...]
    later: tuple[Wanted, ...]
    complete: int
    given_up: tuple[Wanted, ...] = ()
    denied: int = 0
    unlicensed: int = 0

    @property
    def bytes_now(self) -> int:
        """Bytes to fetch at most, as far as the archive told sizes; zips are mostly smaller."""
        return sum(w.image_bytes or 0 for w in self.now)

    @property
    def bytes_later(self) -> int:
        return sum(w.image_bytes or 0 for w in self.later)

    @property
    def is_about_something(self) -> bool:
        """Whether any Series of the Collection is selected, or would be."""
        return bool(self.now or self.later or self.complete or self.given_up or self.denied)

    @property
    def sizes_unknown(self) -> int:
        """Series to fetch whose size the archive did not tell."""
        return sum(w.image_bytes is None for w in self.now)

    @property
    def why(self) -> Counter[str]:
        """How many are fetched for which reason."""
        return Counter(w.why for w in self.now)


def plan(
    collection: str,
    selection: Selection,
    warehouse: Warehouse,
    *,
    shard: Shard = Shard(),
    retry: bool = False,
    budget: RunBudget | None = None,
) -> Plan:
    """Compares the selection with the manifest and the disk; small Series first.

    `retry` takes also those that were given up. What is planned for now is taken off the `budget`;
    without one, this plan is a run of its own.
    """
    asked = [r for r in _selected(collection, selection, warehouse) if shard.holds(r["uid"])]
    rows = [row for row in asked if row["chosen"]]
    there = {row["uid"] for row in rows if row["complete"] and _lies_whole(warehouse.root, row)}
    # What the newest list lacks cannot be had; it stays as it is until it is back or withdrawn.
    wanted = [_wanted(row) for row in rows if row["uid"] not in there and not row["is_missing"]]
    hopeless = set() if retry else {row["uid"] for row in rows if _is_hopeless(row)}
    wanted, given_up = _parted(wanted, hopeless)
    fits = (budget or RunBudget.of(selection)).take(wanted)
    return Plan(
        collection,
        tuple(wanted[:fits]),
        tuple(wanted[fits:]),
        len(there),
        tuple(given_up),
        sum(row["denied"] for row in asked),
        sum(row["unlicensed"] for row in asked),
    )


def concerned(selection: Selection, warehouse: Warehouse) -> list[str]:
    """The Collections of which Series are selected, or would be with another licence; sorted.

    One question, where a plan of each Collection that is known would be one each.
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


def pending_images(
    selection: Selection, warehouse: Warehouse, now: datetime
) -> list[tuple[str, int, str]]:
    """Selected Series to be tried now: Collection, how many, and a digest of which.

    They are those not yet tried as they are, and those whose last try failed long enough ago. The
    digest is of their UIDs, fingerprints and failed attempts in any order: made in the database,
    for they may be all Series that there are.
    """
    rows = warehouse.query(
        f"""
        SELECT s.Collection, count(*) AS pending,
               bit_xor(md5_number(concat_ws(
                   ' ', s.SeriesInstanceUID, s.fingerprint, f.attempts
               )))::VARCHAR AS digest
        FROM (SELECT * FROM current_series WHERE missing_since IS NULL
              AND ({selection.predicate})) AS s
        ANTI JOIN image_archives AS a
        ON s.SeriesInstanceUID = a.SeriesInstanceUID
        AND ((s.fingerprint = a.fingerprint AND NOT {_IS_DUE_AGAIN})
             OR (a.status = 'complete' AND {SAME_BYTES}))
        LEFT JOIN (
            SELECT SeriesInstanceUID, max(attempts) AS attempts FROM image_archives
            WHERE status = 'failed' GROUP BY SeriesInstanceUID
        ) AS f ON s.SeriesInstanceUID = f.SeriesInstanceUID
        GROUP BY s.Collection ORDER BY s.Collection
        """,
        {"now": now},
        tables=selection.tables,
    )
    return [tuple(row.values()) for row in rows.to_pylist()]


def brought_along(collection: str, warehouse: Warehouse) -> dict[str, list[str]]:
    """By UID, where the zip lies of a Series that came from there and whose bytes are as they were.

    One that was submitted anew since its zip was fetched is not among them: with the same count
    and size, nothing in the old zip would show that it is the old one.
    """
    rows = warehouse.query(
        f"""
        SELECT s.SeriesInstanceUID AS uid, list(a.Collection ORDER BY a.Collection) AS places
        FROM (SELECT * FROM series WHERE Collection = $collection) AS s
        JOIN (SELECT * FROM series WHERE moved_to = $collection) AS earlier
        ON earlier.SeriesInstanceUID = s.SeriesInstanceUID
        JOIN image_archives AS a
        ON a.SeriesInstanceUID = s.SeriesInstanceUID AND a.Collection = earlier.Collection
        WHERE a.status = 'complete' AND {SAME_BYTES}
        GROUP BY s.SeriesInstanceUID
        """,
        {"collection": collection},
    )
    return dict(zip(rows["uid"].to_pylist(), rows["places"].to_pylist(), strict=True))


def demand_space(plans: Sequence[Plan], root: Path) -> None:
    """Raises UsageError, with the numbers, where the disk cannot hold what is planned."""
    root.mkdir(parents=True, exist_ok=True)
    free, wanted = shutil.disk_usage(root).free, sum(plan.bytes_now for plan in plans)
    if wanted and wanted + _SPARE_BYTES > free:
        names = ", ".join(plan.collection for plan in plans if plan.now)
        unknown = sum(plan.sizes_unknown for plan in plans)
        beside = f" and {unknown} of them of unknown size" if unknown else ""
        advice = "select less, or set max_bytes_per_run"
        if free < _SPARE_BYTES:
            advice = "not even these are free, so nothing is fetched: make room"
        raise UsageError(
            f"{names}: {sum(len(p.now) for p in plans)} Series of {_size(wanted)}{beside} do not "
            f"fit: {_size(free)} are free at {root}, and {_size(_SPARE_BYTES)} are kept free; "
            f"{advice}"
        )


def _size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - a thousand of a unit is one of the next
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _selected(collection: str, selection: Selection, warehouse: Warehouse) -> list[Row]:
    """Each selected Series with what the manifest says of it."""
    rows: list[Row] = warehouse.query(
        f"""
        SELECT s.SeriesInstanceUID AS uid, s.ImageCount AS image_count,
               coalesce(s.FileSize, z.TotalSizeInBytes) AS image_bytes, s.fingerprint,
               s.MaxSubmissionTimestamp::DATE AS submitted_on, s.LicenseName AS license_name,
               s.DataDescriptionURI AS description_uri,
               s.chosen, s.denied, s.unlicensed, s.missing_since IS NOT NULL AS is_missing,
               a.status, a.path, a.archive_bytes, a.attempts,
               coalesce(a.fingerprint = s.fingerprint, false) AS is_same,
               coalesce(
                   a.status = 'complete' AND {SAME_BYTES} AND {_MAY_BE_SETTLED}, false
               ) AS complete
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
        ORDER BY image_bytes NULLS LAST, uid
        """,
        {"collection": collection, "today": datetime.now(UTC).date()},
        tables=selection.tables,
    ).to_pylist()
    return rows


def _lies_whole(root: Path, row: Row) -> bool:
    path = root / str(row["path"])
    return path.is_file() and path.stat().st_size == row["archive_bytes"]


def _is_hopeless(row: Row) -> bool:
    """Whether the archive has answered often enough, always with something else."""
    refused = row["status"] in {"incomplete", "unavailable"} and row["is_same"]
    return refused and row["attempts"] >= MOST_ATTEMPTS


def _wanted(row: Row) -> Wanted:
    return Wanted(
        row["uid"],
        row["image_count"],
        row["image_bytes"],
        row["fingerprint"],
        row["license_name"],
        row["description_uri"],
        row["attempts"] if row["is_same"] else 0,
        _why(row),
        row["submitted_on"],
    )


def _why(row: Row) -> str:
    if row["complete"]:
        return "lost"
    if row["status"] is None:
        return "new"
    if row["status"] == "complete" or (row["path"] and not row["is_same"]):
        return "changed"
    return "again"


def _parted(wanted: list[Wanted], hopeless: set[str]) -> tuple[list[Wanted], list[Wanted]]:
    return (
        [w for w in wanted if w.series_instance_uid not in hopeless],
        [w for w in wanted if w.series_instance_uid in hopeless],
    )
