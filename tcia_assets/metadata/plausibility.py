"""Judge whether a listing is plausible, and record it in `snapshots`.

What follows from a verdict for the rows of `series` is in `listing.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import MAX_PLAUSIBLE_LOSS, SNAPSHOTS
from tcia_assets.metadata.absence import WithdrawalPolicy
from tcia_assets.store.warehouse import Warehouse

_MAX_KEPT = 400
_BURST = timedelta(hours=1)
# Clocks of two machines differ by less. What is later was recorded before a clock was set back.
_MAX_CLOCK_SKEW = timedelta(hours=1)

_Row = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Whether Series that a listing lacks count as missing; `reason` is "" if nothing is odd."""

    plausible: bool
    reason: str = ""


def judge(
    listed: int,
    until_now: int,
    lost: int,
    earlier: pa.Table,
    at: datetime,
    policy: WithdrawalPolicy,
) -> Verdict:
    """Judge a listing that may lack too many Series to be plausible.

    Such a listing is believed once listings have lacked as many for as long, and as often, as it
    takes to withdraw a single Series.

    Args:
        listed: Number of Series that it lists.
        until_now: Number of Series that were listed until now.
        lost: Number of these that it lacks.
        earlier: The Collection's rows of `snapshots`.
        at: When it was requested.
        policy: When a single Series is withdrawn.
    """
    # A single Series may always go, even if the Collection has few.
    if lost <= max(1, until_now * MAX_PLAUSIBLE_LOSS):
        return Verdict(plausible=True)
    what = f"it lacks {lost} of the {until_now} Series listed until then"
    seen = _count_spaced([at, *_similar_before(listed, earlier)], policy.gap)
    if seen >= policy.listings:
        return Verdict(plausible=True, reason=f"{what}, and so did those before it")
    problem = f"{what}: {seen} of {policy.listings} such listings, {policy.hours} h apart"
    return Verdict(plausible=False, reason=problem)


def _similar_before(listed: int, earlier: pa.Table) -> Iterator[datetime]:
    """Yield the instants of the last listings that were implausible too and about as long."""
    tolerance = max(1, listed * MAX_PLAUSIBLE_LOSS)
    for row in reversed(earlier.sort_by("taken_at").to_pylist()):
        if row["plausible"] or abs(row["listed"] - listed) > tolerance:
            return
        yield row["taken_at"]


def _count_spaced(newest_first: Sequence[datetime], gap: timedelta) -> int:
    """Count instants, each at least the gap after the one counted before."""
    counted: list[datetime] = []
    for instant in reversed(newest_first):
        if not counted or instant - counted[-1] >= gap:
            counted.append(instant)
    return len(counted)


def past_listings(warehouse: Warehouse, collection: str, now: datetime) -> pa.Table:
    """Read a Collection's rows of `snapshots`, the oldest first.

    Listings of the future, recorded before a clock was set back, are left out: they would be the
    newest ones for years.
    """
    return _without_future(warehouse.read_or_empty(SNAPSHOTS, collection), now)


def _without_future(rows: pa.Table, now: datetime) -> pa.Table:
    latest = pa.scalar(now + _MAX_CLOCK_SKEW, rows["taken_at"].type)
    return rows.filter(pc.less_equal(rows["taken_at"], latest))


def record_listing(row: _Row, warehouse: Warehouse) -> None:
    """Record a listing as a row of `snapshots`, once all that follows from it is written.

    At most 400 of a Collection are kept. One without changes is replaced by the next within the
    hour, so that frequent refreshes do not displace the listings of the last week.
    """
    with warehouse.update(SNAPSHOTS, row["Collection"]) as partition:
        earlier = _without_future(partition.rows, row["taken_at"]).to_pylist()
        kept = [each for each in earlier if each["taken_at"] != row["taken_at"]]
        if len(kept) > 1 and _is_replaced(kept[-2], kept[-1], row):
            kept.pop()
        rows = [*kept, row][-_MAX_KEPT:]
        partition.rows = pa.Table.from_pylist(rows, schema=SNAPSHOTS.schema)


def _is_replaced(before: _Row, last: _Row, row: _Row) -> bool:
    showed_nothing = not last["changes"] and last["plausible"] == row["plausible"]
    return showed_nothing and row["taken_at"] - before["taken_at"] < _BURST


def last_compared(warehouse: Warehouse, now: datetime) -> dict[str, datetime]:
    """Return when each Collection was last compared with a listing, if it ever was."""
    rows = warehouse.query(
        f"SELECT Collection, max(taken_at) AS taken_at FROM {SNAPSHOTS.name} "
        "WHERE taken_at <= $latest GROUP BY Collection",
        {"latest": now + _MAX_CLOCK_SKEW},
    )
    return dict(zip(rows["Collection"].to_pylist(), rows["taken_at"].to_pylist(), strict=True))
