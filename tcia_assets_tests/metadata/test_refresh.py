"""A refresh stores what the source sends, and nothing if anything fails."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import (
    COLLECTIONS,
    PATIENTS,
    SERIES,
    SERIES_SIZES,
    SHARED_LISTS,
    STUDIES,
)
from tcia_assets.errors import RemoteError, UnknownName, UnknownReply
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import BY_COLLECTION, IMPATIENT, SMALL, settings_for
from tcia_assets_tests.sources.scripted import Scripted, answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMPARED = [SMALL, "RIDER Lung CT", "VICTRE"]
MADE_HERE = {
    "source",
    "fingerprint",
    "first_seen_at",
    "listed_since",
    "changed_at",
    "fetched_at",
}


def test_a_refreshed_partition_is_stored_with_its_cost(
    source: Source, warehouse: Warehouse
) -> None:
    first = refresh(PATIENTS, SMALL, source, warehouse, NOW, ProbeBudget(0))
    assert (first.table, first.key, first.rows_before) == (PATIENTS, SMALL, 0)
    assert first.written.rows == warehouse.row_count(PATIENTS, SMALL) > 0
    assert first.cost.requests >= 1 and first.cost.size_bytes > 0 and first.seconds > 0
    second = refresh(PATIENTS, SMALL, source, warehouse, NOW, ProbeBudget(0))
    assert (second.rows_before, second.written.changed) == (first.written.rows, False)


def refreshed_in(dialect: str, sandbox: Sandbox, root: Path) -> Warehouse:
    """Refresh all tables of the Collections that are compared, and the sizes of one of them."""
    warehouse = Warehouse(root)
    sized = ProbeBudget(20)
    with open_source(settings_for(sandbox, root, dialect), pacing=IMPATIENT) as source:
        refresh(COLLECTIONS, "", source, warehouse, NOW, ProbeBudget(0))
        for key in COMPARED:
            for table in BY_COLLECTION:
                budget = sized if key == SMALL else ProbeBudget(0)
                refresh(table, key, source, warehouse, NOW, budget)
    return warehouse


@pytest.mark.parametrize(
    "dialect",
    [
        "bindaas-v4",  # it differs most
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("nbia-v1", "nbia-v2", "bindaas-v3")),
    ],
)
def test_every_dialect_gives_the_same_tables_apart_from_columns_that_it_lacks(
    sandbox: Sandbox, tmp_path: Path, dialect: str
) -> None:
    one = refreshed_in("nbia-v4", sandbox, tmp_path / "nbia-v4")
    other = refreshed_in(dialect, sandbox, tmp_path / dialect)

    for table in (COLLECTIONS, *BY_COLLECTION):
        ours, theirs = one.read(table), other.read(table)
        assert ours.num_rows
        for column in table.column_names:
            if column in MADE_HERE or theirs[column].null_count == len(theirs):
                continue
            if ours[column].null_count == len(ours):
                continue
            expected, found = (
                _comparable(ours[column], dialect),
                _comparable(theirs[column], dialect),
            )
            assert found == expected, (table.name, column)


def _comparable(column: pa.ChunkedArray, dialect: str) -> list[object]:
    values = column.to_pylist()
    if pa.types.is_timestamp(column.type):  # nbia-v4 tells the day only
        return [v and v.date() for v in values]
    if pa.types.is_string(column.type):  # nbia-v4 upper-cases the lists of values
        return sorted(str(v).casefold() for v in values)
    return values


def test_what_is_stored_is_what_the_archive_holds(
    source: Source, warehouse: Warehouse, sandbox: Sandbox
) -> None:
    names = [SMALL, "VICTRE"]
    for table in (SERIES, STUDIES, SERIES_SIZES):
        for key in names:
            refresh(table, key, source, warehouse, NOW, ProbeBudget(1000))
    rows = sandbox.archive.rows(
        "SELECT count(*) AS n FROM archive.series WHERE Collection IN (?, ?)", names
    )

    counted = warehouse.query(
        "SELECT (SELECT count(*) FROM series)::BIGINT AS series, "
        "(SELECT sum(SeriesCount) FROM studies)::BIGINT AS counted, "
        "(SELECT count(*) FROM series_sizes WHERE TotalSizeInBytes IS NOT NULL)::BIGINT AS sized"
    ).to_pylist()
    assert counted == [dict.fromkeys(("series", "counted", "sized"), rows[0]["n"])]


def test_a_failed_refresh_leaves_the_partition_unchanged(
    source: Source, warehouse: Warehouse, sandbox: Sandbox
) -> None:
    path = refresh(COLLECTIONS, "", source, warehouse, NOW, ProbeBudget(0)).written.path
    before = path.read_bytes()
    sandbox.faults.add(Fault("empty", "getCollectionValues", times=0))
    with pytest.raises(RemoteError):
        refresh(COLLECTIONS, "", source, warehouse, NOW, ProbeBudget(0))
    assert path.read_bytes() == before


def test_a_shared_list_without_rows_is_unknown_unless_it_is_stored(
    source: Source, warehouse: Warehouse
) -> None:
    with pytest.raises(UnknownName, match=r"shared list \(or it is empty\).*'nothing'"):
        refresh(SHARED_LISTS, "nothing", source, warehouse, NOW, ProbeBudget(0))
    rows = SHARED_LISTS.schema.empty_table()
    warehouse.write(SHARED_LISTS, rows, "nothing")
    with pytest.raises(UnknownReply):
        refresh(SHARED_LISTS, "nothing", source, warehouse, NOW, ProbeBudget(0))


@pytest.mark.parametrize(
    "sent", ["2011-07-22", "2011-07-22 00:00:00.0", "2011-07-22 00:00:00", "07-22-2011"]
)
def test_a_study_of_bindaas_may_have_a_time_of_day_behind_its_date(
    sent: str, tmp_path: Path, warehouse: Warehouse
) -> None:
    row = {
        "StudyInstanceUID": "1.2",
        "Collection": "A",
        "StudyDate": sent,
        "StudyDescription": {"an": "object"},
    }
    with Scripted(answer(json.dumps([row]))) as server:
        settings = Settings(
            dialect="bindaas-v4", base_url=f"{server.url}/services/v4", data_dir=str(tmp_path)
        )
        with open_source(settings, pacing=IMPATIENT) as source:
            done = refresh(STUDIES, "A", source, warehouse, NOW, ProbeBudget(0))
    [stored] = warehouse.read(STUDIES, ["A"]).to_pylist()
    assert stored["StudyDate"] == date(2011, 7, 22)
    assert (stored["StudyDescription"], done.unreadable) == (None, 1)
    assert '{"an":"object"}' in done.unreadable_example
