"""The sensor: few runs, none twice, none lost. Called directly, its runs executed for real."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.defs import tick_source
from tcia_assets.errors import ForeignRows
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.sensor_ticks import (
    INTERVAL,
    NOON,
    caught_up,
    launch,
    release_again,
    start_in,
    tick,
    tick_at,
)


def test_a_first_tick_adds_all_collections_and_refreshes_them_in_one_run(dagster: Dagster) -> None:
    answer = tick(dagster)

    assert isinstance(answer, dg.SensorResult)
    [request] = answer.run_requests or []
    assert request.job_name == "tcia_refresh"
    assert dagster.instance.get_dynamic_partitions("tcia_collections") == dagster.listed()
    launch(dagster, answer, tables=["series"])
    assert dagster.warehouse.read(catalog.SERIES).num_rows == 842


def test_where_nothing_changed_a_tick_says_what_it_looked_at(dagster: Dagster) -> None:
    caught_up(dagster)
    answer = tick(dagster)

    assert isinstance(answer, dg.SkipReason)
    assert "compared 8 Collections" in str(answer.skip_message)


def test_a_collection_without_a_name_ends_no_tick(dagster: Dagster) -> None:
    caught_up(dagster)
    dagster.sandbox.faults.add(Fault("null_row", "getCollectionValues"))
    answer = tick(dagster)

    assert isinstance(answer, dg.SkipReason)
    assert "compared 8 Collections" in str(answer.skip_message)
    assert "1 row without a name" in str(answer.skip_message)


def test_a_released_series_is_noticed_and_only_its_collection_is_refreshed(
    dagster: Dagster,
) -> None:
    chosen = {"collections": [SMALL, "VICTRE"]}
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster, **chosen)
    assert isinstance(tick(dagster, **chosen), dg.SkipReason)
    dagster.sandbox.archive.release(held, day=dt.datetime.now(dt.UTC).date())
    answer = tick(dagster, **chosen)

    assert isinstance(answer, dg.SensorResult)
    assert [(r.job_name, r.partition_key) for r in answer.run_requests or []] == [
        ("tcia_update", SMALL)
    ]
    launch(dagster, answer, tables=["series"], **chosen)
    stored = dagster.warehouse.read(catalog.SERIES, [SMALL])["SeriesInstanceUID"].to_pylist()
    assert set(held) <= set(stored)
    assert isinstance(tick(dagster, **chosen), dg.SkipReason)


@pytest.mark.slow  # `test_images` updates a revised one, and the test above notices a released one
def test_a_revised_series_is_fetched_again_and_no_other(dagster: Dagster) -> None:
    chosen = {"image_selection": f"{{collections: [{SMALL}], modalities: [RTSTRUCT]}}"}
    tables = ["image_archives", "images", "references", "targets"]
    caught_up(dagster, **chosen)
    caught_up(dagster, tables, **chosen)
    [revised, *_] = dagster.uids(SMALL, "RTSTRUCT")
    today = dt.datetime.now(dt.UTC).date()
    dagster.sandbox.archive.revise([revised])
    dagster.sandbox.archive.hold([revised])
    dagster.sandbox.archive.release([revised], day=today)
    before = dagster.sandbox.requests["getImage"]
    caught_up(dagster, ["series", *tables], **chosen)

    assert dagster.sandbox.requests["getImage"] == before + 1
    assert isinstance(tick(dagster, **chosen), dg.SkipReason)


def test_an_outage_makes_the_sensor_skip_with_the_reason_and_wait_ever_longer(
    dagster: Dagster,
) -> None:
    caught_up(dagster)
    dagster.sandbox.faults.add(Fault("status", times=0, status=503))
    dagster.sandbox.requests.clear()
    cursor, asked_at = None, []
    for number in range(28):
        now = NOON + number * INTERVAL
        before = len(dagster.sandbox.requests)
        answer = tick_at(dagster, cursor, now)
        cursor = answer.cursor
        assert "status 503" in str(answer.skip_reason)
        assert "since 2026-11-24 12:00:00 UTC" in str(answer.skip_reason)
        if len(dagster.sandbox.requests) > before:
            asked_at.append(number)

    # After 5, 10, 20, 40 minutes, and then each hour: one request each.
    assert asked_at == [0, 1, 3, 7, 15, 27]
    assert len(dagster.sandbox.requests) == len(asked_at)


def test_after_an_outage_what_was_released_in_it_is_fetched_and_ticks_are_as_before(
    dagster: Dagster,
) -> None:
    caught_up(dagster)
    dagster.sandbox.faults.add(Fault("html", times=0))
    first = tick_at(dagster, None, NOON)
    second = tick_at(dagster, first.cursor, NOON + INTERVAL)
    assert "2 times in a row" in str(second.skip_reason)
    dagster.sandbox.faults.clear()
    release_again(dagster, NOON.date())
    assert "2 times in a row" in str(tick_at(dagster, second.cursor, NOON + 2 * INTERVAL))
    third = tick_at(dagster, second.cursor, NOON + 3 * INTERVAL)

    assert [r.partition_key for r in third.run_requests or []] == [SMALL]
    assert tick_at(dagster, third.cursor, NOON + 3 * INTERVAL).run_requests


@pytest.mark.parametrize("kind", ["no_data", "empty"])
def test_no_row_however_it_is_told_changes_nothing(dagster: Dagster, kind: str) -> None:
    caught_up(dagster)
    before = dagster.warehouse.read(catalog.SERIES)
    dagster.sandbox.faults.add(Fault(kind, "getUpdatedSeries", times=0))
    dagster.sandbox.requests.clear()
    answer = tick(dagster)

    assert isinstance(answer, dg.SkipReason)
    assert "0 Series released after" in str(answer.skip_message)
    assert len(dagster.sandbox.requests) == 2
    assert dagster.warehouse.read(catalog.SERIES).equals(before)


def test_rows_older_than_asked_for_are_an_error_and_not_news(dagster: Dagster) -> None:
    caught_up(dagster)
    dagster.sandbox.archive.revise(collection=SMALL)
    dagster.sandbox.faults.add(Fault("ignored_filter", "getUpdatedSeries"))

    with pytest.raises(ForeignRows, match=r"getUpdatedSeries since .* rows do not match"):
        tick_at(dagster, None, NOON)


@pytest.mark.parametrize(("dialect", "days"), [("nbia-v4", 30), ("nbia-v1", 400)])
def test_a_tick_asks_from_so_many_days_before_the_newest_release_in_the_dialects_own_form(
    dagster: Dagster, dialect: str, days: int
) -> None:
    caught_up(dagster) if dialect == "nbia-v4" else start_in(dagster, dialect)
    newest = max(filter(None, dagster.warehouse.read(catalog.SERIES)["DateReleased"].to_pylist()))
    since = newest - dt.timedelta(days=days)
    dagster.sandbox.requests.clear()
    answer = tick(dagster, dialect=dialect, overlap_days=days)

    [question] = [r for r in dagster.sandbox.requests.last if r.endpoint == "getUpdatedSeries"]
    assert question.parameters["fromDate"] == since.strftime(
        "%m-%d-%Y" if dialect == "nbia-v4" else "%d/%m/%Y"
    )
    assert isinstance(answer, dg.SkipReason)
    assert f"released after {since}" in str(answer.skip_message)


def test_a_dialect_that_tells_less_is_watched_all_the_same(dagster: Dagster) -> None:
    start_in(dagster, "bindaas-v4")

    assert isinstance(tick(dagster, dialect="bindaas-v4"), dg.SkipReason)


def test_a_hanging_archive_ends_the_tick_well_before_dagster_does() -> None:
    longest = tick_source._PACING
    a_question = longest.attempts * (longest.connect_timeout_s + longest.read_timeout_s)
    assert 2 * a_question < 60


def test_with_an_allow_list_a_tick_asks_from_before_the_earliest_comparison(
    dagster: Dagster,
) -> None:
    chosen = {"collections": [SMALL, "VICTRE"]}
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster, **chosen)
    # Of these two the newest release is of years ago, and not theirs is all that came since.
    since = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=30)
    said = str(tick(dagster, **chosen))
    assert f"compared 2 Collections and 0 Series released after {since}: no difference" in said

    dagster.sandbox.archive.release(held, day=since + dt.timedelta(days=1))
    answer = tick(dagster, **chosen)
    assert isinstance(answer, dg.SensorResult)
    assert [r.partition_key for r in answer.run_requests or []] == [SMALL]


def test_what_is_new_in_others_is_no_difference_to_an_allow_list(dagster: Dagster) -> None:
    held = dagster.sandbox.archive.hold(collection="VICTRE", count=1)
    caught_up(dagster, collections=[SMALL])
    dagster.sandbox.archive.release(held)

    said = str(tick(dagster, collections=[SMALL]))
    assert "compared 1 Collections and 1 Series" in said
    assert "no difference" in said


@pytest.mark.slow
def test_a_collection_off_the_allow_list_is_left_alone(dagster: Dagster) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)

    assert isinstance(tick(dagster, collections=["VICTRE"]), dg.SkipReason)


def test_in_quiet_hours_no_images_are_requested(dagster: Dagster) -> None:
    caught_up(dagster)
    now, hour = dt.datetime.now(dt.UTC), dt.timedelta(hours=1)
    times = [f"{each:%H:%M}" for each in (now - hour, now + hour)]
    chosen = f"modalities: [RTSTRUCT], quiet_hours: {{from: '{times[0]}', to: '{times[1]}'}}"
    answer = tick(dagster, image_selection=f"{{{chosen}}}")

    assert isinstance(answer, dg.SkipReason)
    assert "no images are fetched until" in str(answer.skip_message)
    requested = tick(dagster, image_selection="{modalities: [RTSTRUCT]}")
    assert isinstance(requested, dg.SensorResult) and requested.run_requests
