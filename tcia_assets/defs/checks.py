"""What a person should look at after a refresh, as asset checks; SQL over the warehouse.

What belongs here: facts that may be odd without being wrong. What must never land raises before it
is written (`conform.py`, `snapshot.py`): a check comes after, and does not protect what is stored.
Checks look at all partitions at once, for Dagster keeps no history of a check by partition.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.names import Names
from tcia_assets.errors import TciaError
from tcia_assets.spec import Parent, Table
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse

_EXAMPLES = 10
# A Collection that loses more of its rows than this at once has hardly been edited by hand.
_COLLAPSE = 0.1
_STALE_S = 50 * 3600
_EVENTS = 1000
_TWIN_DAYS = 30
_FROM_EVENTS = {
    "rows_kept": "No partition lists a tenth less than before.",
    "refreshed_lately": "No partition is older than two days and two hours.",
}


@dataclass(frozen=True)
class Question:
    """A check: SQL for the rows that contradict it, and what it means if there are any."""

    name: str
    about: str
    sql: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN


def questions(table: Table) -> list[Question]:
    """The checks that a table's declaration implies, and those that tie it to other tables."""
    implied = [_keys_unique(table), *(_parents_exist(table, parent) for parent in table.parents)]
    return implied + _ACROSS.get(table.name, [])


def specs(table: Table, names: Names) -> list[dg.AssetCheckSpec]:
    """The checks of a table's asset."""
    asked = [(q.name, q.about) for q in questions(table)]
    return [
        dg.AssetCheckSpec(name, asset=names.key(table), description=about)
        for name, about in [*asked, *_FROM_EVENTS.items()]
    ]


def results(
    table: Table, names: Names, warehouse: Warehouse, instance: dg.DagsterInstance
) -> Iterator[dg.AssetCheckResult]:
    """What the checks of a table say now; one that cannot be answered has failed."""
    key = names.key(table)
    with warehouse.shared_connection():
        answers = [_answer(question, key, warehouse) for question in questions(table)]
    yield from answers
    newest = _newest_events(key, instance)
    yield _rows_kept(key, newest)
    yield _refreshed_lately(key, newest)


def _answer(question: Question, key: dg.AssetKey, warehouse: Warehouse) -> dg.AssetCheckResult:
    try:
        against = warehouse.query(question.sql)
    except TciaError as error:
        problem = f"{error}; if a file is damaged, delete it and refresh its Collection"
        return dg.AssetCheckResult(
            passed=False, check_name=question.name, asset_key=key, description=problem
        )
    examples = against.slice(0, _EXAMPLES).to_pylist()
    return dg.AssetCheckResult(
        passed=not against.num_rows,
        check_name=question.name,
        asset_key=key,
        severity=question.severity,
        metadata={"contradicting_rows": against.num_rows, "examples": _shown(examples)},
    )


def _shown(rows: list[dict[str, Any]]) -> dg.MetadataValue:
    return dg.MetadataValue.json([{k: str(v) for k, v in row.items()} for row in rows])


_Events = dict[str, tuple[float, dg.AssetMaterialization]]


def _newest_events(key: dg.AssetKey, instance: dg.DagsterInstance) -> _Events:
    """The newest materialization of each partition and when it was, of the last thousand."""
    newest: _Events = {}
    for record in instance.fetch_materializations(key, limit=_EVENTS).records:
        event = record.asset_materialization
        if event is not None:
            newest.setdefault(str(event.partition), (record.timestamp, event))
    return newest


def _rows_kept(key: dg.AssetKey, newest: _Events) -> dg.AssetCheckResult:
    """Compares what the newest events say was listed before and after."""
    counts = {partition: _counts(event) for partition, (_, event) in newest.items()}
    collapsed = {
        partition: {"before": before, "now": now}
        for partition, (before, now) in counts.items()
        if now < before * (1 - _COLLAPSE)
    }
    return dg.AssetCheckResult(
        passed=not collapsed,
        check_name="rows_kept",
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"collapsed": dg.MetadataValue.json(collapsed), "partitions": len(newest)},
    )


def _counts(event: dg.AssetMaterialization) -> tuple[int, int]:
    # Rows of `series` are never removed; what it lists may be.
    return _count(event, "listed_before", "rows_before"), _count(
        event, "listed", "dagster/partition_row_count", "dagster/row_count"
    )


def _refreshed_lately(key: dg.AssetKey, newest: _Events) -> dg.AssetCheckResult:
    """Dagster's freshness is by asset: one Collection of today hides another of last month."""
    now = time.time()
    old = {
        partition: round((now - at) / 3600)
        for partition, (at, _) in newest.items()
        if now - at > _STALE_S
    }
    return dg.AssetCheckResult(
        passed=not old,
        check_name="refreshed_lately",
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"hours_ago": dg.MetadataValue.json(old), "partitions": len(newest)},
    )


def _count(event: dg.AssetMaterialization, *names: str) -> int:
    found = (event.metadata[name].value for name in names if name in event.metadata)
    return int(str(next(found, 0)))


# --- Questions ----------------------------------------------------------------------------------


def _listed(names: tuple[str, ...], prefix: str = "") -> str:
    return ", ".join(prefix + sql.identifier(name) for name in names)


def _keys_unique(table: Table) -> Question:
    keys = _listed(table.key)
    apart = ", apart from what moved" if _follows_series(table) else ""
    # A row whose whole key is null has none: an object that cannot be read.
    given = " OR ".join(f"{sql.identifier(name)} IS NOT NULL" for name in table.key)
    return Question(
        "keys_unique",
        f"No two rows of all partitions have the same {', '.join(table.key)}{apart}.",
        f"SELECT {keys}, count(*) AS rows FROM {_at_home(table)} "
        f"WHERE {given} GROUP BY {keys} HAVING count(*) > 1",
    )


def _at_home(table: Table) -> str:
    """The rows of a table, without those of Series that moved to another Collection."""
    name = sql.identifier(table.name)
    if not _follows_series(table):
        return name
    return (
        f"(SELECT * FROM {name} ANTI JOIN (SELECT Collection, SeriesInstanceUID FROM series "
        "WHERE moved_to IS NOT NULL) USING (Collection, SeriesInstanceUID))"
    )


def _follows_series(table: Table) -> bool:
    return table.key == catalog.SERIES.key and table.partitioned_by == catalog.SERIES.partitioned_by


def _parents_exist(table: Table, parent: Parent) -> Question:
    # What a Collection lists no more needs no Study there.
    listed = "(SELECT * FROM series WHERE missing_since IS NULL)"
    child, same = (
        listed if table is catalog.SERIES else sql.identifier(table.name),
        " AND ".join(f"c.{sql.identifier(n)} = p.{sql.identifier(n)}" for n in parent.on),
    )
    given = " AND ".join(f"c.{sql.identifier(n)} IS NOT NULL" for n in parent.on)
    return Question(
        f"{parent.table}_exist",
        f"Each row has its row in {parent.table}.",
        f"SELECT DISTINCT {_listed(parent.on, 'c.')} FROM {child} AS c "
        f"ANTI JOIN {sql.identifier(parent.table)} AS p ON {same} WHERE {given}",
    )


def _values_occur(table: str, column: str) -> list[Question]:
    # These replies hold nothing of the Collection: a filter that was ignored shows only here.
    return [
        Question(
            "values_occur",
            "Each value occurs in a Series of its Collection.",
            f"SELECT DISTINCT v.Collection, v.{column} FROM {table} AS v ANTI JOIN series AS s "
            f"ON v.Collection = s.Collection AND upper(v.{column}) = upper(s.{column}) "
            f"WHERE v.{column} IS NOT NULL "
            "AND v.Collection IN (SELECT DISTINCT Collection FROM series)",
            dg.AssetCheckSeverity.ERROR,
        )
    ]


_ACROSS: dict[str, list[Question]] = {
    "modality_values": _values_occur("modality_values", "Modality"),
    "body_part_values": _values_occur("body_part_values", "BodyPartExamined"),
    "manufacturer_values": _values_occur("manufacturer_values", "Manufacturer"),
    "collections": [
        Question(
            "collections_still_listed",
            "Each Collection that has Series is still listed by the archive.",
            "SELECT DISTINCT Collection FROM current_series "
            "WHERE Collection NOT IN (SELECT Collection FROM collections)",
        ),
        Question(
            "collections_kept",
            "The archive lists no less than nine tenths of the Collections that have Series here.",
            "SELECT * FROM (SELECT count(*) AS stored, "
            "count(*) FILTER (Collection NOT IN (SELECT Collection FROM collections)) AS gone "
            "FROM (SELECT DISTINCT Collection FROM current_series)) "
            # Of a few Collections, one is more than a tenth.
            f"WHERE gone > greatest(1, stored * {_COLLAPSE})",
            dg.AssetCheckSeverity.ERROR,
        ),
    ],
    "series": [
        Question(
            "series_count_agrees",
            "Studies count as many Series as are listed for them.",
            "SELECT Collection, StudyInstanceUID, SeriesCount, listed FROM studies JOIN "
            "(SELECT Collection, StudyInstanceUID, count(*) AS listed FROM series "
            "WHERE missing_since IS NULL GROUP BY ALL) USING (Collection, StudyInstanceUID) "
            "WHERE SeriesCount <> listed",
        ),
        Question(
            "none_missing",
            "The newest snapshots list every Series that earlier ones did.",
            "SELECT Collection, SeriesInstanceUID, missing_since FROM series "
            "WHERE missing_since IS NOT NULL AND withdrawn_at IS NULL AND moved_to IS NULL",
        ),
        Question(
            "lists_plausible",
            "The newest list of each Collection lacks no more than can be believed.",
            "SELECT Collection, newest.* FROM (SELECT Collection, arg_max({"
            "'taken_at': taken_at, 'listed': listed, 'lost': lost, 'reason': reason, "
            "'plausible': plausible}, taken_at) AS newest FROM snapshots GROUP BY Collection) "
            "WHERE NOT newest.plausible",
        ),
        # A server that was left behind answers plausible lists; but in them time goes back.
        Question(
            "releases_not_older",
            "The newest list of each Collection tells no older newest release than is stored.",
            "SELECT Collection, taken_at, listed.newest_release AS listed, stored FROM "
            "(SELECT Collection, max(taken_at) AS taken_at, arg_max({'newest_release': "
            "newest_release}, taken_at) AS listed FROM snapshots GROUP BY Collection) JOIN "
            "(SELECT Collection, max(DateReleased) AS stored FROM current_series "
            "GROUP BY Collection) USING (Collection) WHERE listed.newest_release < stored",
        ),
        Question(
            "submissions_not_older",
            f"Within {_TWIN_DAYS} days, no Series' newest submission went back to an earlier one.",
            "SELECT Collection, SeriesInstanceUID, newest.* FROM "
            "(SELECT Collection, SeriesInstanceUID, arg_max({'seen_at': seen_at, "
            "'before': (before->>'MaxSubmissionTimestamp')::TIMESTAMPTZ, "
            "'after': (after->>'MaxSubmissionTimestamp')::TIMESTAMPTZ}, number) AS newest "
            "FROM series_changes WHERE list_contains(changed_columns, 'MaxSubmissionTimestamp') "
            f"AND seen_at > now() - INTERVAL {_TWIN_DAYS} DAY "
            "GROUP BY Collection, SeriesInstanceUID) "
            # Dialects differ in whether they tell the hour.
            "WHERE newest.after::DATE < newest.before::DATE",
        ),
        Question(
            "history_whole",
            "The history has all events that the Series count.",
            "SELECT Collection, counted, told FROM "
            "(SELECT Collection, sum(changes)::BIGINT AS counted FROM series GROUP BY ALL) "
            "LEFT JOIN (SELECT Collection, count(number) AS told FROM series_changes GROUP BY ALL) "
            "USING (Collection) WHERE counted IS DISTINCT FROM coalesce(told, 0)",
        ),
        Question(
            "licences_known",
            "Each Series has a licence, where the dialect tells licences.",
            "SELECT Collection, count(*) AS series FROM current_series WHERE LicenseName IS NULL "
            "AND source LIKE 'nbia-%' GROUP BY Collection",
        ),
    ],
    "series_sizes": [
        Question(
            "sizes_agree",
            "getSeriesSize and getSeries tell the same bytes and counts of a Series.",
            "SELECT SeriesInstanceUID, TotalSizeInBytes, FileSize, ObjectCount, ImageCount "
            "FROM series_sizes JOIN series USING (SeriesInstanceUID, fingerprint) "
            "WHERE TotalSizeInBytes <> FileSize OR ObjectCount <> ImageCount",
        ),
        Question(
            "sizes_known",
            "The archive knows the size of each Series that it was asked for.",
            "SELECT Collection, SeriesInstanceUID FROM series_sizes WHERE TotalSizeInBytes IS NULL",
        ),
    ],
    "image_archives": [
        Question(
            "archives_complete",
            "Each Series that was to be fetched is on disk and proven.",
            "SELECT Collection, SeriesInstanceUID, status, error FROM image_archives "
            "WHERE status <> 'complete'",
        )
    ],
    "references": [
        Question(
            "references_readable",
            "Each object about images can be read to where its pixels begin.",
            "SELECT DISTINCT Collection, SeriesInstanceUID, entry_name, error "
            'FROM "references" WHERE error IS NOT NULL',
        ),
        Question(
            "masks_refer",
            "Each SEG and RTSTRUCT names what it lies on.",
            "SELECT Collection, SeriesInstanceUID, entry_name "
            "FROM \"references\" WHERE Modality IN ('SEG', 'RTSTRUCT') "
            "AND how IS NULL AND error IS NULL",
        ),
    ],
    "targets": [
        Question(
            "targets_named",
            "Each segment and ROI has a name.",
            "SELECT Collection, SeriesInstanceUID, entry_name, target_place FROM targets "
            "WHERE target_name IS NULL",
        )
    ],
}
