"""Find the Collections that need a run: new at the source, or with images to fetch.

Each reason has a digest that stays the same while the difference does. Requesting runs is the
business of `defs/sensors.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets import catalog
from tcia_assets.images.plan import SAME_BYTES
from tcia_assets.metadata.fingerprints import fingerprints
from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.single_series import partial_collections
from tcia_assets.sources import Source
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse

# A failure, as in an outage, is no verdict on the Series: it is tried again after one hour, then
# after two more, and so on, and in the end once a day.
_IS_DUE_AGAIN = """(
    a.status = 'failed' AND a.fetched_at + INTERVAL 1 HOUR * least(a.attempts, 24) <= $now
)"""


@dataclass(frozen=True)
class RunReason:
    """Why a Collection needs a run.

    Attributes:
        collection: The Collection.
        series: Number of Series concerned; 0 if unknown.
        digest: Identifies the reason: equal as long as nothing changes.
    """

    collection: str
    series: int
    digest: str


@dataclass(frozen=True)
class RecentReleases:
    """What the source has released lately.

    Attributes:
        since: The first day that was requested.
        released: Number of Series released since then.
        reasons: The Collections with released Series that are not stored as they are now.
    """

    since: date
    released: int
    reasons: list[RunReason]


def find_changed_series(
    source: Source, warehouse: Warehouse, collections: list[str]
) -> RecentReleases | None:
    """Find Collections with Series that were released lately and are not stored as they are now.

    One request, from `overlap_days` before the day up to which the Collections are mirrored. That
    day follows from what is stored, so a tick that is killed loses nothing.

    Args:
        source: The source to ask.
        warehouse: The warehouse.
        collections: The mirrored Collections.

    Returns:
        None if nothing is stored yet, or the source offers no such request.

    Raises:
        ForeignRows: A row was released before the requested day. The server read the day
            differently, so rows may be missing too.
        RemoteError: The source failed.
    """
    until = last_seen_day(source, warehouse, collections)
    if until is None:
        return None
    since = until - timedelta(days=source.settings.overlap_days)
    reply = source.changed_since(since)
    if reply is None:
        return None
    by_collection: dict[str, list[str]] = {}
    for collection, uid, version in _differences(reply.table, warehouse):
        by_collection.setdefault(collection, []).append(f"{uid} {version}")
    states = _history_states(warehouse) if by_collection else {}
    reasons = [
        RunReason(collection, len(series), _digest(series, states.get(collection)))
        for collection, series in sorted(by_collection.items())
    ]
    return RecentReleases(since, reply.table.num_rows, reasons)


def find_never_refreshed(collections: Iterable[str], warehouse: Warehouse) -> list[RunReason]:
    """Find Collections that were never compared with a listing; some may be partial.

    The digest changes once a day: one attempt a day for each, so that a Collection that always
    fails does not cause a run at each tick.
    """
    today = datetime.now(UTC).date().isoformat()
    compared = set(warehouse.keys(catalog.SERIES)) - partial_collections(warehouse)
    return [RunReason(name, 0, f"first {today}") for name in collections if name not in compared]


def find_other_releases(
    release: str, collections: Iterable[str], warehouse: Warehouse
) -> list[RunReason]:
    """Find Collections whose newest listing is not from this release; "" for a server.

    So a change from one source to another is found too. The digest differs after each comparison.
    """
    rows = warehouse.query(
        "SELECT Collection, max(taken_at)::VARCHAR AS taken_at, "
        "coalesce(arg_max({'of': release}, taken_at)['of'], '') AS release "
        f"FROM {catalog.SNAPSHOTS.name} GROUP BY Collection"
    ).to_pylist()
    wanted = set(collections)
    return [
        RunReason(row["Collection"], 0, short_digest([release, row["release"], row["taken_at"]]))
        for row in rows
        if row["Collection"] in wanted and row["release"] != release
    ]


def find_images_to_fetch(selection: Selection, warehouse: Warehouse) -> list[RunReason]:
    """Find Collections with selected Series that are to be tried now, as `pending_images` does.

    None in quiet hours. A run that these have ended may have fetched nothing, so the digests differ
    after them.
    """
    now, quiet = datetime.now(UTC), selection.quiet_hours
    if selection.quiet_note(now):
        return []
    pending = pending_images(selection, warehouse, now)
    states = _history_states(warehouse) if pending else {}
    since = [quiet.last_end(now).isoformat()] if quiet else []
    return [
        RunReason(collection, count, _digest([digest, *since], states.get(collection)))
        for collection, count, digest in pending
    ]


def pending_images(
    selection: Selection, warehouse: Warehouse, now: datetime
) -> list[tuple[str, int, str]]:
    """Count the selected Series to try now, by Collection.

    These are the Series not tried yet as they are, and those whose last failure is long enough ago.

    Returns:
        Collection, number of Series, and a digest of their UIDs, fingerprints and failed attempts
        in any order. It is computed in the database: there may be as many as there are Series.
    """
    rows = warehouse.query(
        f"""
        WITH wanted AS (
            SELECT *, {catalog.OF_FOLDER} AS of_folder FROM current_series
            WHERE missing_since IS NULL AND ({selection.predicate})
        ),
        -- An inner join: DuckDB compares each pair of rows for an anti join with such a condition.
        settled AS (
            SELECT s.SeriesInstanceUID FROM wanted AS s
            JOIN image_archives AS a ON a.SeriesInstanceUID = s.SeriesInstanceUID
            WHERE (s.fingerprint = a.fingerprint AND NOT {_IS_DUE_AGAIN})
                OR (a.status = 'complete' AND {SAME_BYTES})
        )
        SELECT s.Collection, count(*) AS pending,
               bit_xor(md5_number(concat_ws(
                   ' ', s.SeriesInstanceUID, s.fingerprint, f.attempts
               )))::VARCHAR AS digest
        FROM wanted AS s ANTI JOIN settled AS a ON a.SeriesInstanceUID = s.SeriesInstanceUID
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


# --- The day up to which Collections are mirrored -------------------------------------------------


def last_seen_day(source: Source, warehouse: Warehouse, collections: list[str]) -> date | None:
    """Return the day up to which these Collections are mirrored; None if nothing is stored.

    It is the newest stored release date. The last release of a few Collections may be years ago,
    and every tick would request all releases of others since then. So if the settings name the
    Collections, it is at least the day of the earliest comparison with their complete listings.
    """
    newest = newest_release_date(warehouse)
    if newest is None or not source.settings.collections:
        return newest
    stored = set(warehouse.keys(catalog.SERIES))
    compared = last_compared(warehouse, datetime.now(UTC))
    times = [compared.get(name) for name in collections if name in stored]
    known = [at for at in times if at is not None]
    if not known or len(known) < len(times):
        return newest
    return max(newest, min(known).astimezone(UTC).date())


def newest_release_date(warehouse: Warehouse) -> date | None:
    """Return the newest release date in listings, at most today; None if nothing is stored.

    A Series that was stored alone says nothing about others that were released before it.
    """
    today = datetime.now(UTC).date()
    newest = f"SELECT max(DateReleased) AS newest FROM {catalog.COMPARED_SERIES}"
    found = warehouse.query(newest)["newest"][0].as_py()
    return None if found is None else min(found, today)


# --- Differences ----------------------------------------------------------------------------------


def _differences(updated: pa.Table, warehouse: Warehouse) -> list[tuple[str, str, str]]:
    """Return Collection, UID and all compared columns as text, of rows that are not stored so."""
    # Most rows are in the overlap and unchanged, which the fingerprint alone shows if the dialect
    # sends every column: two columns of all stored Series are read for them in place of thirty.
    rows = _without_stored(updated, fingerprints(updated), warehouse)
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


def _without_stored(updated: pa.Table, fingerprints: pa.Table, warehouse: Warehouse) -> pa.Table:
    """Return the rows whose fingerprint is not the stored one, or that are not listed."""
    found = warehouse.query(
        "SELECT p.SeriesInstanceUID FROM prints AS p ANTI JOIN "
        f"(SELECT * FROM series WHERE missing_since IS NULL AND {_within(updated)}) AS s "
        "USING (SeriesInstanceUID, fingerprint)",
        tables={"prints": fingerprints},
    )
    uids = found["SeriesInstanceUID"].combine_chunks()
    return updated.filter(pc.is_in(updated["SeriesInstanceUID"], value_set=uids))


def _within(rows: pa.Table) -> str:
    """Return SQL that names the rows' Collections, so that DuckDB opens only their partitions."""
    names = ", ".join(map(sql.literal, rows["Collection"].unique().drop_null().to_pylist()))
    return f"Collection IN ({names or 'NULL'})"


def _history_states(warehouse: Warehouse) -> dict[str, str]:
    """Return, by Collection, how far the change history has come; it is never the same twice.

    It has the number of events as well as the newest time, as a clock may be set back.
    """
    found = warehouse.query(
        "SELECT Collection, count(*) || ' until ' || max(seen_at) AS state FROM series_changes "
        "WHERE number IS NOT NULL GROUP BY Collection"
    )
    return dict(zip(found["Collection"].to_pylist(), found["state"].to_pylist(), strict=True))


def _digest(facts: list[str], state: str | None) -> str:
    # With the state of the history: a Series that changes from 1 to 2 and back differs each time.
    return short_digest([str(state), *facts])


def short_digest(texts: Iterable[str]) -> str:
    """Return a short digest of texts in their order, for a reason or a run key."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
