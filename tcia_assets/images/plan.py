"""Plan what to fetch of a Collection: compare the selection with the manifest.

The manifest is trusted: no zip is looked for. `verify` looks, and marks the row of a zip that is
lost or damaged, which the next plan then takes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pyarrow as pa

from tcia_assets.catalog import IMAGE_ARCHIVES, OF_FOLDER
from tcia_assets.images.pending import PendingList
from tcia_assets.images.run_limits import FetchBudget, Shard
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.conform import count_true
from tcia_assets.store.warehouse import Warehouse

_UID = "series_instance_uid"
_Version = tuple[tuple[int, int, int], ...]

# In the SQL below, `s` is the row of a Series in `series`, with OF_FOLDER as `of_folder`: a join
# holds a flag where it would hold the name of the source. `a` is the row in `image_archives`.

# A Series that was refused this many times, unchanged, is given up.
MAX_ATTEMPTS = 5
IS_GIVEN_UP = f"""coalesce(
    a.status IN ('incomplete', 'unavailable') AND a.attempts >= {MAX_ATTEMPTS}
    AND a.fingerprint = s.fingerprint, false
)"""


def _day(instant: str) -> str:
    """Return SQL for the number of an instant's day (UTC); a cast to DATE takes ten times as long.

    >>> _day("fetched_at")
    '(epoch_us(fetched_at) // 86400000000)'
    """
    return f"(epoch_us({instant}) // 86400000000)"


# The source provides the day of the last submission, in a time zone of its own. A Series that was
# fetched within a day of it may have been submitted once more since, with the same count and size:
# it is fetched again, once, when that day is over.
_SUBMITTED_ON, _FETCHED_ON = _day("s.MaxSubmissionTimestamp"), _day("a.fetched_at")
_IS_SETTLED = f"coalesce({_SUBMITTED_ON} + 1 < {_FETCHED_ON}, true)"
_MAY_BE_SETTLED = f"({_IS_SETTLED} OR {_FETCHED_ON} + 1 >= $today)"

# `verify` marks a zip that is lost or damaged so; a fetch that failed has counted its attempt.
IS_LOST = "a.status = 'failed' AND a.attempts = 0"

# Whether the zip `a` has the bytes that the Series `s` has now. A fingerprint also changes with a
# licence, a description or the dialect in use, which is no reason to fetch the bytes again. That of
# a folder's Series changes with its files only.
SAME_BYTES = f"""(
    a.fingerprint = s.fingerprint OR (
        NOT s.of_folder
        AND a.image_count = s.ImageCount
        AND coalesce(a.image_bytes = s.FileSize, true)
        AND coalesce(a.crdc_series_uuid = s.crdc_series_uuid, true)
        AND coalesce({_SUBMITTED_ON} < {_FETCHED_ON}, true)
    )
)"""

# SQL for what a Series and a complete zip of it share unless its fingerprint has changed: a join by
# this number takes a fifth of the memory of one by texts, and few Series are left for that one.
VERSION = "hash(Collection, SeriesInstanceUID, fingerprint)"


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
    now: PendingList
    later: PendingList
    complete: int
    given_up: PendingList = field(default_factory=PendingList)
    denied: int = 0
    unlicensed: int = 0
    manifest_version: _Version = field(default=(), compare=False)

    @property
    def bytes_now(self) -> int:
        """Bytes to fetch at most, without Series of unknown size; most zips are smaller."""
        return self.now.total_bytes

    @property
    def bytes_later(self) -> int:
        """Bytes that exceed the run's budget."""
        return self.later.total_bytes

    @property
    def has_selected_series(self) -> bool:
        """Whether any Series of the Collection is selected, or excluded only by licence."""
        return bool(self.now or self.later or self.complete or self.given_up or self.denied)

    @property
    def sizes_unknown(self) -> int:
        """Number of Series to fetch whose size is unknown."""
        return int(self.now.sizes.null_count)

    @property
    def reasons(self) -> Counter[str]:
        """Number of Series to fetch by `PendingSeries.reason`."""
        return self.now.reasons

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
    from_folder: bool = False,
) -> FetchPlan:
    """Compare the selection with the manifest, for one Collection.

    Args:
        collection: The Collection.
        selection: What is selected.
        warehouse: The warehouse.
        shard: The part of the Collection to plan.
        retry: Also plan Series that were given up.
        budget: What the run may still fetch; what is planned for now is taken from it. By default
            the budget of a run with this Collection only.
        from_folder: Whether a folder is the source. Its Series are planned then, and no others.
    """
    version = _manifest_version(collection, warehouse)
    compared = _Comparison(collection, selection, warehouse, shard, from_folder)
    counts, incomplete = compared.counts(), compared.incomplete(retry=retry)
    selected = counts.pop("selected")
    absent, given_up = (count_true(incomplete[name]) for name in ("is_absent", "is_given_up"))
    pending = PendingList(incomplete[absent + given_up :])
    budget = budget or FetchBudget.for_selection(selection)
    fits = budget.take(pending.sizes.to_pylist())
    return FetchPlan(
        collection,
        now=pending[:fits],
        later=pending[fits:],
        # A refresh may have removed Series between the two queries.
        complete=max(0, selected - incomplete.num_rows),
        given_up=PendingList(incomplete[absent : absent + given_up]),
        **counts,
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


def _manifest_version(collection: str, warehouse: Warehouse) -> _Version:
    """Return what identifies the files of the manifest; each write makes a new file."""
    stats = [path.stat() for path in warehouse.files(IMAGE_ARCHIVES, collection).paths()]
    return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


@dataclass(frozen=True)
class _Comparison:
    """The selected Series of a Collection, compared with its manifest; in the database.

    Of what is complete only the number leaves it: it may be 200,000 Series, and one to fetch.
    """

    collection: str
    selection: Selection
    warehouse: Warehouse
    shard: Shard
    from_folder: bool

    def counts(self) -> dict[str, int]:
        """Return how many Series are selected, denied and without a licence."""
        selection = self.selection
        [row] = self._query(
            f"""
            SELECT count(*) FILTER ({selection.predicate}) AS selected,
                   count(*) FILTER ({selection.denied}) AS denied,
                   count(*) FILTER ({selection.unlicensed}) AS unlicensed
            FROM current_series WHERE Collection = $collection AND {self.shard.condition}
            """
        ).to_pylist()
        return dict(row)

    def incomplete(self, *, retry: bool) -> pa.Table:
        """Return the selected Series that are not complete.

        Those come first that are missing from the newest listing, or that only another kind of
        source has: they cannot be fetched, and their zips stay. Then those that are given up, none
        with `retry`; then those to fetch. Of each, small ones are first.
        """
        today = (datetime.now(UTC).date() - date(1970, 1, 1)).days
        return self._query(
            f"""
            WITH candidates AS MATERIALIZED ({self._candidates}), compared AS ({self._sql})
            SELECT c.* EXCLUDE (complete, is_same, is_refused),
                   is_refused AND NOT is_absent AND {not retry} AS is_given_up,
                   coalesce(FileSize, z.TotalSizeInBytes) AS image_bytes
            FROM (FROM compared WHERE NOT complete) AS c
            LEFT JOIN (SELECT * FROM series_sizes WHERE Collection = $collection) AS z
            ON z.SeriesInstanceUID = c.{_UID} AND z.fingerprint = c.fingerprint
            ORDER BY is_absent DESC, is_given_up DESC, image_bytes NULLS LAST, {_UID}
            """,
            today=today,
        )

    def _query(self, statement: str, **parameters: object) -> pa.Table:
        parameters["collection"] = self.collection
        return self.warehouse.query(statement, parameters, tables=self.selection.tables)

    @property
    def _sql(self) -> str:
        return f"""
            SELECT s.SeriesInstanceUID AS {_UID}, s.ImageCount AS image_count, s.FileSize,
                   s.fingerprint, s.MaxSubmissionTimestamp::DATE AS submitted_on,
                   s.LicenseName AS license_name, s.DataDescriptionURI AS description_uri,
                   s.crdc_series_uuid,
                   s.missing_since IS NOT NULL OR s.of_folder <> {self.from_folder} AS is_absent,
                   {IS_GIVEN_UP} AS is_refused,
                   coalesce(a.fingerprint = s.fingerprint, false) AS is_same,
                   CASE WHEN is_same THEN a.attempts ELSE 0 END AS attempts,
                   coalesce(
                       a.status = 'complete' AND {SAME_BYTES}
                       AND (s.of_folder OR {_MAY_BE_SETTLED}), false
                   ) AS complete,
                   CASE WHEN a.status IS NULL THEN 'new' WHEN is_same AND {IS_LOST} THEN 'lost'
                        WHEN a.status = 'complete' OR (a.path <> '' AND NOT is_same) THEN 'changed'
                        ELSE 'again' END AS reason
            FROM (FROM ({self._selected}) SEMI JOIN candidates USING (SeriesInstanceUID)) AS s
            LEFT JOIN (
                SELECT * FROM image_archives SEMI JOIN candidates USING (SeriesInstanceUID)
                WHERE Collection = $collection
            ) AS a ON a.SeriesInstanceUID = s.SeriesInstanceUID
        """

    @property
    def _candidates(self) -> str:
        """SQL for the selected Series that may not be complete: all that are not, and no others.

        None is left out but those whose complete zip has their fingerprint and cannot be outdated.
        """
        return f"""
            SELECT s.SeriesInstanceUID
            FROM (SELECT *, {VERSION} AS version FROM ({self._selected})) AS s
            LEFT JOIN (
                SELECT {VERSION} AS version, fetched_at FROM image_archives
                WHERE Collection = $collection AND status = 'complete' AND fingerprint NOTNULL
            ) AS a ON a.version = s.version
            WHERE a.version IS NULL OR NOT (s.of_folder OR {_MAY_BE_SETTLED})
        """

    @property
    def _selected(self) -> str:
        return f"""
            SELECT *, {OF_FOLDER} AS of_folder FROM (
                SELECT * FROM current_series WHERE Collection = $collection
                AND ({self.selection.predicate}) AND {self.shard.condition}
            )
        """
