"""Count absences: rows of `series` that a listing lacks, and when they may be withdrawn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.store.conform import count_true, replace_column


@dataclass(frozen=True)
class WithdrawalPolicy:
    """When a missing Series may be withdrawn: after this many listings without it, hours apart."""

    listings: int = 3
    hours: int = 20

    @classmethod
    def of_release(cls) -> WithdrawalPolicy:
        """Return the policy for a source with releases: each is a complete list, so one will do."""
        return cls(listings=1, hours=0)

    @property
    def gap(self) -> timedelta:
        """The least time between two listings that both count."""
        return timedelta(hours=self.hours)


DEFAULT_POLICY = WithdrawalPolicy()


def count_absence(unlisted: pa.Table, now: pa.Scalar, policy: WithdrawalPolicy) -> pa.Table:
    """Return the rows of Series that are not listed, with this absence counted."""
    times = pc.fill_null(unlisted["missing_snapshots"], 0)
    counted_at = unlisted["missing_counted_at"]
    gap = pa.scalar(policy.gap, pa.duration("us"))
    # Counted no further than needed, so that rows absent for long do not change with each listing;
    # and not again within the gap, so that a dozen listings of one bad hour count once.
    waits = pc.or_(
        pc.greater_equal(times, policy.listings),
        pc.fill_null(pc.greater(pc.add(counted_at, gap), now), fill_value=False),
    )
    settled = pc.or_(pc.is_valid(unlisted["withdrawn_at"]), pc.is_valid(unlisted["moved_to"]))
    stays = pc.or_(waits, pc.and_(settled, pc.is_valid(unlisted["missing_since"])))
    ours = {
        "missing_since": pc.fill_null(unlisted["missing_since"], now),
        "missing_snapshots": pc.if_else(stays, times, pc.add(times, 1)),
        # After the clock was set back, an instant in the future would prevent all counting.
        "missing_counted_at": pc.if_else(
            pc.or_kleene(pc.invert(stays), pc.greater(counted_at, now)), now, counted_at
        ),
    }
    for name, values in ours.items():
        unlisted = replace_column(unlisted, name, values)
    return unlisted


def is_due(absent: pa.Table, policy: WithdrawalPolicy) -> pa.ChunkedArray:
    """Return which rows only await a probe: absent often enough, not withdrawn, not moved."""
    enough = pc.greater_equal(absent["missing_snapshots"], policy.listings)
    undecided = pc.and_(pc.is_null(absent["withdrawn_at"]), pc.is_null(absent["moved_to"]))
    return pc.and_(enough, undecided)


def absent_counts(absent: pa.Table) -> dict[str, int]:
    """Return how many of the rows, which a listing lacks, are moved, withdrawn and missing."""
    has_moved = pc.is_valid(absent["moved_to"])
    is_withdrawn = pc.and_(pc.is_valid(absent["withdrawn_at"]), pc.invert(has_moved))
    counts = {"moved": count_true(has_moved), "withdrawn": count_true(is_withdrawn)}
    # A Series that a listing lacks which only adds is not missing.
    is_gone = count_true(pc.or_(pc.is_valid(absent["missing_since"]), has_moved))
    return counts | {"missing": is_gone - sum(counts.values())}
