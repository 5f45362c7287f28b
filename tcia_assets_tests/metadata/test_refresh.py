"""A refresh stores what the source sends, and nothing if anything fails."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tcia_assets.catalog import COLLECTIONS, PATIENTS, SHARED_LISTS, STUDIES
from tcia_assets.errors import RemoteError, UnknownName, UnknownReply
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL
from tcia_assets_tests.sources.scripted import Scripted, answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_refreshed_partition_is_stored_with_its_cost(
    source: Source, warehouse: Warehouse
) -> None:
    first = refresh(PATIENTS, SMALL, source, warehouse, NOW, ProbeBudget(0))
    assert (first.table, first.key, first.rows_before) == (PATIENTS, SMALL, 0)
    assert first.written.rows == warehouse.row_count(PATIENTS, SMALL) > 0
    assert first.cost.requests >= 1 and first.cost.size_bytes > 0 and first.seconds > 0
    second = refresh(PATIENTS, SMALL, source, warehouse, NOW, ProbeBudget(0))
    assert (second.rows_before, second.written.changed) == (first.written.rows, False)


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
