"""A listing that comes again: what is kept of it, and the record of it when it is the same.

Nothing is compared then, and only `snapshots` gets a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.metadata import attribution, listing, plausibility
from tcia_assets.metadata.known_replies import KnownReply
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sources import Source, SourceRows
from tcia_assets.store.warehouse import Warehouse


def facts_to_keep(
    record: Mapping[str, Any], facts: Mapping[str, int | bool | str]
) -> dict[str, Any]:
    """Return what is kept with a listing: its record and its counts, if it comes again.

    Args:
        record: Its row of `snapshots`.
        facts: The counts of the refresh that compared it.
    """
    nothing_new = dict.fromkeys(
        ("new", "changed", "reappeared", "events", "due", "asked_singly"), 0
    )
    newest = record["newest_release"]
    return {
        "listing": listing.content_of(record["snapshot"]),
        "newest_release": newest and newest.isoformat(),
        "counts": {**facts, **nothing_new, "listed_before": facts["listed"]},
    }


def record_again(
    key: str,
    known: KnownReply,
    reply: SourceRows,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
) -> RefreshResult:
    """Record a listing that is the one before.

    Args:
        key: The Collection.
        known: The listing before, with what `facts_to_keep` returned.
        reply: The reply that is known.
        source: Where it comes from.
        warehouse: Where listings are recorded.
        at: The time of the refresh, with a time zone.

    Raises:
        StorageError: The record cannot be written.
    """
    facts, counts = known.facts, known.facts["counts"]
    newest = facts["newest_release"]
    record = {
        "Collection": key,
        "taken_at": at,
        "snapshot": listing.listing_id(at, facts["listing"]),
        "listed": counts["listed"],
        "lost": 0,
        "plausible": True,
        "reason": None,
        "newest_release": newest and date.fromisoformat(newest),
        "source": source.name,
        "release": source.release or None,
        "changes": 0,
    }
    plausibility.record_listing(record, warehouse)
    if warehouse.has(IMAGE_ARCHIVES, key):
        attribution.write_collection(key, warehouse)
    return known.result(reply, counts, counts["listed"])
