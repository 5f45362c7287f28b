"""Read the facts of Collections from the warehouse.

All Collections whose tables have changed are queried together: a query over all of them takes about
as long as one over a single one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from tcia_assets.images.status import collection_status
from tcia_assets.metadata.selection import Selection
from tcia_assets.pages.collection_facts import (
    CollectionFacts,
    Day,
    People,
    Share,
    add_days,
    merge_shares,
)
from tcia_assets.pages.publications import read_publications
from tcia_assets.store.warehouse import Warehouse

_Row = dict[str, Any]


def read_collections(
    warehouse: Warehouse, names: Sequence[str], selection: Selection | None = None
) -> list[CollectionFacts]:
    """Return the facts of Collections, in their order.

    Args:
        warehouse: Where they are.
        names: The Collections; each has Series in the warehouse.
        selection: What counts as selected in `status`.
    """
    if not names:
        return []
    reader = _Reader(warehouse, names)
    # The largest query first: what it leaves in use is enough for the others.
    sizes = {row["Collection"]: row["series"] for row in reader.rows(_SIZES)}
    states = {row["Collection"]: row for row in _states(warehouse, sizes, selection)}
    totals = {row["Collection"]: row for row in reader.rows(_TOTALS)}
    shares, people, days = _shares(reader), reader.grouped(_PEOPLE), _days(reader)
    published, unreadable = read_publications(warehouse, names), reader.grouped(_UNREADABLE)
    return [
        CollectionFacts(
            name=name,
            **{k: v for k, v in totals.get(name, {}).items() if k != "Collection"},
            status=states.get(name, {}),
            shares=shares[name],
            people=tuple(People(**row) for row in people[name]),
            days=tuple(days[name]),
            **published.get(name, {}),
            unreadable=sum(row["values"] for row in unreadable[name]),
        )
        for name in names
    ]


class _Reader:
    """Queries over some Collections, which the statements have as `$names`."""

    def __init__(self, warehouse: Warehouse, names: Sequence[str]) -> None:
        self.warehouse, self.names = warehouse, list(names)

    def table(self, statement: str) -> pa.Table:
        return self.warehouse.query(statement, {"names": self.names})

    def rows(self, statement: str) -> list[_Row]:
        found: list[_Row] = self.table(statement).to_pylist()
        return found

    def grouped(self, statement: str) -> dict[str, list[_Row]]:
        """Return the rows of each Collection, without that column."""
        groups: dict[str, list[_Row]] = defaultdict(list)
        for row in self.rows(statement):
            groups[row.pop("Collection")].append(row)
        return groups


_SIZES = """
    SELECT Collection, count(*) AS series FROM series WHERE list_contains($names, Collection)
    GROUP BY ALL
"""

_TOTALS = """
    SELECT s.Collection, count(DISTINCT s.PatientID) AS patients,
        count(DISTINCT s.StudyInstanceUID) AS studies, count(*) AS series,
        coalesce(sum(s.ImageCount), 0)::BIGINT AS images,
        coalesce(sum(s.FileSize), 0)::BIGINT AS bytes,
        count(a.path) AS on_disk, coalesce(sum(a.archive_bytes), 0)::BIGINT AS bytes_on_disk
    FROM (SELECT * FROM current_series WHERE list_contains($names, Collection)) AS s
    LEFT JOIN (SELECT * FROM image_archives WHERE path NOTNULL) AS a
        ON a.Collection = s.Collection AND a.SeriesInstanceUID = s.SeriesInstanceUID
    GROUP BY s.Collection
"""

# One scan for all kinds of shares. A value is never null here, so of the columns that are grouped
# by, the one that is not null is the kind's.
_SHARES = """
    SELECT Collection, coalesce(
            CASE WHEN modality NOTNULL THEN 'modality' END,
            CASE WHEN body_part NOTNULL THEN 'body_part' END,
            CASE WHEN license NOTNULL THEN 'license' END,
            CASE WHEN maker NOTNULL THEN 'maker' END,
            CASE WHEN year NOTNULL THEN 'year' END, 'released') AS kind,
        coalesce(modality, body_part, license, maker, year, released) AS value,
        count(*) AS series, count(DISTINCT PatientID) AS patients
    FROM (
        SELECT Collection, PatientID,
            upper(coalesce(trim(Modality), '')) AS modality,
            upper(coalesce(trim(BodyPartExamined), '')) AS body_part,
            coalesce(trim(LicenseName), trim(LicenseURI), '') AS license,
            coalesce(trim(Manufacturer), '') AS maker,
            coalesce(year(coalesce(StudyDate, SeriesDate))::VARCHAR, '') AS year,
            coalesce(year(DateReleased)::VARCHAR, '') AS released
        FROM current_series WHERE list_contains($names, Collection)
    )
    GROUP BY GROUPING SETS (
        (Collection, modality), (Collection, body_part), (Collection, license),
        (Collection, maker), (Collection, year), (Collection, released)
    )
    ORDER BY series DESC, value
"""

_PEOPLE = """
    WITH ages AS (
        SELECT Collection, PatientID, upper(nullif(trim(PatientSex), '')) AS sex,
            TRY_CAST(regexp_extract(PatientAge, '^([0-9]{3})[DWMY]$', 1) AS INTEGER)
                / CASE right(PatientAge, 1) WHEN 'Y' THEN 1 WHEN 'M' THEN 12 WHEN 'W' THEN 52
                  ELSE 365 END AS age
        FROM current_series WHERE list_contains($names, Collection) AND PatientID NOTNULL
    ), each AS (
        SELECT Collection, PatientID, coalesce(max(sex), '') AS sex, min(age) AS age
        FROM ages GROUP BY ALL
    )
    SELECT Collection, if(sex IN ('F', 'M', 'O'), sex, '') AS sex,
        (floor(age / 10) * 10)::INTEGER AS decade, count(*) AS patients
    FROM each GROUP BY ALL ORDER BY Collection, sex, decade
"""

_DAYS = """
    WITH known AS (
        SELECT Collection, PatientID, first_seen_at::DATE AS day FROM current_series
        WHERE list_contains($names, Collection)
    ), gone AS (
        SELECT Collection, first_seen_at::DATE AS day, withdrawn_at::DATE AS left_on FROM series
        WHERE list_contains($names, Collection) AND withdrawn_at NOTNULL AND moved_to IS NULL
    )
    SELECT Collection, day, count(*) AS series, 0 AS patients, 0 AS fetched, 0 AS bytes_fetched
    FROM known GROUP BY ALL
    UNION ALL SELECT Collection, day, count(*), 0, 0, 0 FROM gone GROUP BY ALL
    UNION ALL SELECT Collection, left_on, -count(*), 0, 0, 0 FROM gone GROUP BY ALL
    UNION ALL SELECT Collection, day, 0, count(*), 0, 0 FROM (
        SELECT Collection, PatientID, min(day) AS day FROM known GROUP BY ALL
    ) GROUP BY ALL
    UNION ALL SELECT Collection, fetched_at::DATE, 0, 0, count(*),
        coalesce(sum(archive_bytes), 0)::BIGINT
    FROM image_archives
    WHERE list_contains($names, Collection) AND path NOTNULL AND fetched_at NOTNULL GROUP BY ALL
"""

_UNREADABLE = """
    SELECT Collection, count(*) AS values FROM unreadable_values
    WHERE list_contains($names, Collection) GROUP BY ALL
"""


def _states(
    warehouse: Warehouse, sizes: dict[str, int], selection: Selection | None
) -> Iterator[_Row]:
    """Yield the status of each Collection; `sizes` has the number of Series of each."""
    for names in _batches(sizes):
        for row in collection_status(warehouse, names, selection).to_pylist():
            # When it was compared changes with each refresh, and alone is no reason to write a page
            # again.
            yield {name: value for name, value in row.items() if name not in _NOT_KEPT}


def _batches(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Yield names in batches of so many Series that a query over them takes little memory."""
    batch: list[str] = []
    total = 0
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        if batch and total + size > _BATCH_SERIES:
            yield batch
            batch, total = [], 0
        batch.append(name)
        total += size
    if batch:
        yield batch


_BATCH_SERIES = 100_000
_NOT_KEPT = ("compared_at",)


def _shares(reader: _Reader) -> dict[str, dict[str, tuple[Share, ...]]]:
    found: dict[str, dict[str, tuple[Share, ...]]] = defaultdict(dict)
    for name, rows in reader.grouped(_SHARES).items():
        kinds: dict[str, list[Share]] = defaultdict(list)
        for row in rows:
            kinds[row.pop("kind")].append(Share(**row))
        found[name] = {kind: merge_shares(shares) for kind, shares in kinds.items()}
    return found


def _days(reader: _Reader) -> dict[str, list[Day]]:
    found: dict[str, list[Day]] = defaultdict(list)
    for name, rows in reader.grouped(_DAYS).items():
        found[name] = add_days(Day(**row) for row in rows)
    return found
