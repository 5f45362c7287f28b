"""What is new at the archive, compared with the warehouse. Knows nothing of Dagster.

What belongs here: which Collections differ, and a mark that stays the same while the difference
does. What does not: requesting runs (`defs/sensors.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets import catalog
from tcia_assets.images import pending_images
from tcia_assets.metadata import listing
from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.metadata.selection import Selection
from tcia_assets.sources import Source
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse


@dataclass(frozen=True)
class News:
    """Why a Collection should be refreshed; `mark` tells this reason from others."""

    collection: str
    series: int
    mark: str


def newest_release(warehouse: Warehouse) -> date | None:
    """The newest release date that is stored, but none of the future."""
    today = datetime.now(UTC).date()
    found = warehouse.query("SELECT max(DateReleased) AS newest FROM series")["newest"][0].as_py()
    return None if found is None else min(found, today)


def seen_until(source: Source, warehouse: Warehouse, collections: list[str]) -> date | None:
    """The day up to which these Collections have been seen; None where nothing is stored.

    That of the newest stored release. Some Collections of many may have had their last one years
    ago, and all that the others released since would be asked for at each tick. So with an
    allow-list it is at least the day on which the one that was compared earliest was compared:
    whole, so with all that had been released.
    """
    newest = newest_release(warehouse)
    if newest is None or not source.settings.collections:
        return newest
    stored = set(warehouse.keys(catalog.SERIES))
    compared = last_compared(warehouse, datetime.now(UTC))
    mine = [compared.get(name) for name in collections if name in stored]
    instants = [at for at in mine if at is not None]
    if not instants or len(instants) < len(mine):
        return newest
    return max(newest, min(instants).astimezone(UTC).date())


@dataclass(frozen=True)
class Lately:
    """What was `released` after the day `since`, and the `news` in it by Collection."""

    since: date
    released: int
    news: list[News]


def changed_series(source: Source, warehouse: Warehouse, collections: list[str]) -> Lately | None:
    """Collections with Series that were released lately and are not stored as they are now.

    Asks once, from `overlap_days` before the day up to which the mirrored `collections` have been
    seen: it is from what is stored that the question follows, so a tick that dies loses nothing.
    No row, as zero bytes or as
    a 500 that says so, is no news. None where it cannot be asked: nothing is stored, or the
    archive's dialect has no such question.

    Raises:
        ForeignRows: a row was released before the day that was asked for: the server understood
            another one, and who knows what is not among the rows.
        RemoteError: the archive cannot be asked.
    """
    until = seen_until(source, warehouse, collections)
    if until is None:
        return None
    since = until - timedelta(days=source.settings.overlap_days)
    reply = source.changed_since(since)
    if reply is None:
        return None
    updated = reply.table
    differ = _differences(updated, warehouse)
    by_collection: dict[str, list[str]] = {}
    for collection, uid, version in differ:
        by_collection.setdefault(collection, []).append(f"{uid} {version}")
    stands = _stands(warehouse) if by_collection else {}
    news = [
        News(collection, len(series), _mark(series, stands.get(collection)))
        for collection, series in sorted(by_collection.items())
    ]
    return Lately(since, updated.num_rows, news)


def never_refreshed(collections: Iterable[str], warehouse: Warehouse) -> list[News]:
    """Collections without a stored partition; one try a day each, or a broken one would flood."""
    today = datetime.now(UTC).date().isoformat()
    stored = set(warehouse.keys(catalog.SERIES))
    return [News(name, 0, f"first {today}") for name in collections if name not in stored]


def images_to_fetch(selection: Selection, warehouse: Warehouse) -> list[News]:
    """Collections with selected Series that were never tried, or changed or failed since."""
    pending = pending_images(selection, warehouse, datetime.now(UTC))
    stands = _stands(warehouse) if pending else {}
    return [
        News(collection, count, _mark([digest], stands.get(collection)))
        for collection, count, digest in pending
    ]


def _stands(warehouse: Warehouse) -> dict[str, str]:
    """How far the history of each Collection's Series has come: never twice the same.

    The number of events as well as the newest, for a clock may be set back.
    """
    found = warehouse.query(
        "SELECT Collection, count(*) || ' until ' || max(seen_at) AS stand FROM series_changes "
        "WHERE number IS NOT NULL GROUP BY Collection"
    )
    return dict(zip(found["Collection"].to_pylist(), found["stand"].to_pylist(), strict=True))


def _differences(updated: pa.Table, warehouse: Warehouse) -> list[tuple[str, str, str]]:
    """Collection, UID and a text of all compared columns, of the rows that are not stored so."""
    # Most rows are of the overlap and as they were, which the fingerprint tells alone where the
    # dialect sends every column. So of 530,000 stored Series two columns are read, not thirty.
    rows = _unlike(updated, listing.fingerprints(updated), warehouse)
    if not rows.num_rows:
        return []
    compared = [c for c in catalog.FINGERPRINT_COLUMNS if c in rows.column_names]
    same = " AND ".join(
        f"u.{sql.identifier(c)} IS NOT DISTINCT FROM s.{sql.identifier(c)}" for c in compared
    )
    version = "concat_ws('|', " + ", ".join(f"u.{sql.identifier(c)}" for c in compared) + ")"
    differ = warehouse.query(
        f"SELECT u.Collection, u.SeriesInstanceUID, {version} AS version FROM updated AS u "
        f"ANTI JOIN (SELECT * FROM series WHERE missing_since IS NULL AND {_within(rows)}) AS s "
        f"ON u.SeriesInstanceUID = s.SeriesInstanceUID AND {same} "
        # A row without a Collection belongs to no partition that could be refreshed.
        "WHERE u.Collection IS NOT NULL ORDER BY ALL",
        tables={"updated": rows},
    )
    return [tuple(row.values()) for row in differ.to_pylist()]


def _unlike(updated: pa.Table, prints: pa.Table, warehouse: Warehouse) -> pa.Table:
    """The rows whose fingerprint is not the stored one, or that are not listed."""
    found = warehouse.query(
        "SELECT p.SeriesInstanceUID FROM prints AS p ANTI JOIN "
        f"(SELECT * FROM series WHERE missing_since IS NULL AND {_within(updated)}) AS s "
        "USING (SeriesInstanceUID, fingerprint)",
        tables={"prints": prints},
    )
    uids = found["SeriesInstanceUID"].combine_chunks()
    return updated.filter(pc.is_in(updated["SeriesInstanceUID"], value_set=uids))


def _within(rows: pa.Table) -> str:
    """Names the rows' Collections one by one: so DuckDB opens only their partitions."""
    names = ", ".join(map(sql.literal, rows["Collection"].unique().drop_null().to_pylist()))
    return f"Collection IN ({names or 'NULL'})"


def _mark(facts: list[str], stand: str | None) -> str:
    # With what is stored in it: a Series that changes from 1 to 2 and back differs each time.
    text = "\n".join([str(stand), *facts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
