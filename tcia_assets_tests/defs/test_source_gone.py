"""The day NBIA ends: one failed check, one alarm, and the mirror goes on with another source."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.defs import schedules
from tcia_assets.defs.names import Names
from tcia_assets.defs.source_gone import gone_alarm
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.source_outage import find_outage
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.idc.index_files import write_index
from tcia_assets.sources import open_source
from tcia_assets_tests.conftest import IMPATIENT, SMALL, Dagster, settings_for
from tcia_assets_tests.defs.sensor_ticks import launch, tick, tick_at

DAY = dt.timedelta(days=1)
GOODBYES = {
    "410": Fault("status", times=0, status=410, body="Gone"),
    "page": Fault("html", times=0),
    "nothing": Fault("reset", times=0),
}


@pytest.fixture
def now() -> dt.datetime:
    """A time later than what the test refreshes."""
    return dt.datetime.now(dt.UTC) + DAY


def skip_text(answer: dg.SensorResult) -> str:
    return str(answer.skip_reason.skip_message) if answer.skip_reason else ""


# `metadata/test_source_outage` has which errors count.
@pytest.mark.parametrize(
    "goodbye", ["410", *(pytest.param(n, marks=pytest.mark.slow) for n in ("page", "nothing"))]
)
def test_a_source_that_is_gone_is_one_failed_check_and_no_failed_tick(
    dagster: Dagster, goodbye: str, now: dt.datetime
) -> None:
    dagster.start_refreshed()
    before = dagster.warehouse.read(catalog.SERIES)
    dagster.sandbox.faults.add(GOODBYES[goodbye])
    cursor, evaluations, texts = None, [], []
    for days in (0, 13, 14, 15, 30):
        answer = tick_at(dagster, cursor, now + days * DAY)
        cursor = answer.cursor
        evaluations += [(days, event) for event in answer.asset_events]
        texts.append(skip_text(answer))
    [(days, check)] = evaluations
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert (days, check.passed, check.severity) == (14, False, dg.AssetCheckSeverity.ERROR)
    assert "TCIA_SOURCE=idc" in str(check.description)
    assert "gone" not in texts[1]
    assert "counts as gone" in texts[-1]
    assert dagster.warehouse.read(catalog.SERIES).equals(before)

    dagster.sandbox.faults.clear()
    answer = tick_at(dagster, cursor, now + 31 * DAY)
    [back] = answer.asset_events
    assert isinstance(back, dg.AssetCheckEvaluation)
    assert back.passed
    assert find_outage(dagster.warehouse, dagster.resource().settings, now) is None


def test_it_is_remembered_since_when_without_the_cursor(dagster: Dagster, now: dt.datetime) -> None:
    dagster.start_refreshed()
    dagster.sandbox.faults.add(GOODBYES["410"])
    tick_at(dagster, None, now)
    assert len(tick_at(dagster, None, now + 20 * DAY).asset_events) == 1


def test_while_the_source_is_gone_no_comparison_is_due(dagster: Dagster, now: dt.datetime) -> None:
    dagster.start_refreshed()
    dagster.sandbox.faults.add(GOODBYES["410"])
    tick_at(dagster, None, now)
    with dagster.resource().yield_for_execution(
        dg.build_init_resource_context(instance=dagster.instance)
    ) as tcia:
        answer = schedules.compare_tick(dagster.instance, tcia, Names(), now + 20 * DAY)
    assert isinstance(answer, dg.SkipReason)
    assert "counts as gone" in str(answer.skip_message)


def test_each_outage_has_one_alarm(dagster: Dagster, now: dt.datetime) -> None:
    dagster.sandbox.faults.add(GOODBYES["410"])
    tick_at(dagster, None, now - 20 * DAY)
    sensor, cursor = gone_alarm(Names()), None
    for _ in range(2):
        context = dg.build_sensor_context(
            instance=dagster.instance, cursor=cursor, resources={"tcia": dagster.resource()}
        )
        with context:
            answer = sensor.evaluate_tick(context)
        assert "counts as gone" in str(answer.skip_message)
        cursor = answer.cursor
    assert cursor is not None
    assert dt.datetime.fromisoformat(cursor) == now - 20 * DAY


@pytest.mark.slow
def test_the_mirror_goes_on_with_the_imaging_data_commons(
    dagster: Dagster, tmp_path: Path, now: dt.datetime
) -> None:
    sandbox, warehouse = dagster.sandbox, dagster.warehouse
    dagster.start_refreshed()
    with open_source(settings_for(sandbox, dagster.data_dir), pacing=IMPATIENT) as nbia:
        contours = FetchSession(Selection(collections=(SMALL,), modalities=("RTSTRUCT",)))
        fetch_images(SMALL, contours, nbia, warehouse)
    index = write_index(sandbox.archive, tmp_path / "index")
    for endpoint in ("getCollectionValues", "getSeries", "getImage", "getUpdatedSeries"):
        sandbox.faults.add(replace(GOODBYES["410"], endpoint=endpoint))
    tick_at(dagster, None, now)
    tick_at(dagster, None, now + 20 * DAY)

    chosen = {"source": "idc", "idc_index": str(index), "idc_base_url": sandbox.idc_base_url}
    answer = tick(dagster, **chosen)
    # One run over all Collections, although none of them has a difference that is known.
    assert isinstance(answer, dg.SensorResult)
    assert [request.job_name for request in answer.run_requests or []] == ["tcia_refresh"]
    assert tick(dagster, **chosen).run_requests == answer.run_requests
    dagster.collections(**chosen)
    launch(dagster, answer, ["series"], **chosen)
    again = tick(dagster, **chosen)
    # Only the zips are still to be read.
    assert isinstance(again, dg.SensorResult)
    assert [request.job_name for request in again.run_requests or []] == ["tcia_images"]
    assert warehouse.query("FROM series_changes WHERE event = 'missing'").num_rows == 0

    with open_source(dagster.resource(**chosen).settings, pacing=IMPATIENT) as idc:
        fetch_images(SMALL, FetchSession(Selection(collections=(SMALL,))), idc, warehouse)
    manifest = warehouse.read(catalog.IMAGE_ARCHIVES, [SMALL]).to_pylist()
    assert {row["status"] for row in manifest} == {"complete"}
    assert {row["source"].partition("-")[0] for row in manifest} == {"nbia", "idc"}
    # Nothing of it is in the way of a return.
    sandbox.faults.clear()
    back = tick(dagster)
    assert isinstance(back, dg.SensorResult)
    assert [request.job_name for request in back.run_requests or []] == ["tcia_refresh"]


def test_nothing_of_a_release_is_due_while_it_is_the_same(
    dagster: Dagster, idc_index: Path, now: dt.datetime
) -> None:
    chosen = {"source": "idc", "idc_index": str(idc_index)}
    first = tick(dagster, **chosen)
    # Reading a release takes longer than a tick may: a run lists its Collections.
    assert isinstance(first, dg.SensorResult)
    assert [request.job_name for request in first.run_requests or []] == ["tcia_list_collections"]
    dagster.collections(**chosen)
    launch(dagster, tick(dagster, **chosen), ["series"], **chosen)

    def compare(days: int) -> list[dg.RunRequest] | dg.SkipReason:
        resource, instance = dagster.resource(**chosen), dagster.instance
        context = dg.build_init_resource_context(instance=instance)
        with resource.yield_for_execution(context) as tcia:
            return schedules.compare_tick(instance, tcia, Names(), now + days * DAY)

    answer = compare(3)
    assert isinstance(answer, dg.SkipReason)
    assert "all Collections were compared with release 25.0.5" in str(answer.skip_message)
    chosen["idc_scope"] = "all"
    assert isinstance(compare(3), list)
