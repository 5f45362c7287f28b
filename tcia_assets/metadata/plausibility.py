"""How far a listing of a Collection can be believed: the table `snapshots`, and its verdicts.

What does not belong here: what follows for the rows (`listing.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import SERIES, SNAPSHOTS, STUDIES
from tcia_assets.metadata.listing import Patience, Snapshot
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse

# More than a tenth gone at once is hardly an edit by hand; of a few Series one is more than that.
_TOLERANCE = 0.1
_KEPT = 400
_BURST = timedelta(hours=1)
# Clocks of two machines differ by less. What is later was noted by one that has been set back.
_SKEW = timedelta(hours=1)
_STUDY = STUDIES.key[1]
_UID = SERIES.key[0]

_Row = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Whether what a list lacks counts as missing; `reason` is in words, "" if nothing is odd."""

    plausible: bool
    reason: str = ""


def judge(
    listed: int, until_now: int, lost: int, earlier: pa.Table, at: datetime, patience: Patience
) -> Verdict:
    """What a list of so many Series is worth, which lacks `lost` of those listed `until_now`.

    One that lacks too many is believed when lists have lacked them for as long as, and as often as,
    it takes to withdraw a single Series. `earlier` are the Collection's rows of `snapshots`.
    """
    if lost <= max(1, until_now * _TOLERANCE):
        return Verdict(plausible=True)
    what = f"it lacks {lost} of the {until_now} Series listed until then"
    seen = _spread([at, *_alike_before(listed, earlier)], patience.gap)
    if seen >= patience.snapshots:
        return Verdict(plausible=True, reason=f"{what}, and so did those before it")
    problem = f"{what}: {seen} of {patience.snapshots} such lists, {patience.hours} h apart"
    return Verdict(plausible=False, reason=problem)


def _alike_before(listed: int, earlier: pa.Table) -> Iterator[datetime]:
    """When the lists were made, the newest first, that were as implausible and about as long."""
    most = max(1, listed * _TOLERANCE)
    for row in reversed(earlier.sort_by("taken_at").to_pylist()):
        if row["plausible"] or abs(row["listed"] - listed) > most:
            return
        yield row["taken_at"]


def _spread(newest_first: Sequence[datetime], gap: timedelta) -> int:
    """How many of these instants lie so far apart."""
    counted: list[datetime] = []
    for instant in reversed(newest_first):
        if not counted or instant - counted[-1] >= gap:
            counted.append(instant)
    return len(counted)


def snapshots(warehouse: Warehouse, collection: str, now: datetime) -> pa.Table:
    """The lists of a Collection that were compared so far, the oldest first.

    Without those of the future: they would be the newest ones for years.
    """
    rows = warehouse.read_or_empty(SNAPSHOTS, collection)
    latest = pa.scalar(now + _SKEW, rows["taken_at"].type)
    return rows.filter(pc.less_equal(rows["taken_at"], latest))


def note(
    collection: str,
    seen: Snapshot,
    verdict: Verdict,
    *,
    at: datetime,
    listed: int,
    lost: int,
    changes: int,
    newest_release: date | None,
    source: str,
    warehouse: Warehouse,
) -> None:
    """Keeps that a list was compared, as the last thing that a comparison does.

    At most 400 of a Collection are kept. One that showed nothing gives way to the next within the
    hour, so that however often is asked, they reach back for a week.
    """
    earlier = snapshots(warehouse, collection, at)
    row: _Row = {
        "Collection": collection,
        "taken_at": at,
        "snapshot": seen.name,
        "listed": listed,
        "lost": lost,
        "plausible": verdict.plausible,
        "reason": verdict.reason or None,
        "changes": changes,
        "newest_release": newest_release,
        "source": source,
    }
    kept = [each for each in earlier.to_pylist() if each["taken_at"] != at]
    if len(kept) > 1 and _gives_way(kept[-2], kept[-1], row):
        kept.pop()
    rows = pa.Table.from_pylist([*kept, row][-_KEPT:], schema=SNAPSHOTS.schema)
    warehouse.write(SNAPSHOTS, conform(SNAPSHOTS, rows), collection)


def _gives_way(before: _Row, last: _Row, row: _Row) -> bool:
    showed_nothing = not last["changes"] and last["plausible"] == row["plausible"]
    return showed_nothing and row["taken_at"] - before["taken_at"] < _BURST


def last_compared(warehouse: Warehouse, now: datetime) -> dict[str, datetime]:
    """When each Collection was last compared; those that never were are not in it."""
    rows = warehouse.query(
        f"SELECT Collection, max(taken_at) AS taken_at FROM {SNAPSHOTS.name} "
        "WHERE taken_at <= $latest GROUP BY Collection",
        {"latest": now + _SKEW},
    )
    return dict(zip(rows["Collection"].to_pylist(), rows["taken_at"].to_pylist(), strict=True))
