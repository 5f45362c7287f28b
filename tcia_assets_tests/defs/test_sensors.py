"""The sensor: few runs, none twice, none lost. Called directly, its runs executed for real."""

from __future__ import annotations

import datetime as dt
import os
import socket
import subprocess
import sys

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.defs import active_runs, sensors
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import range_tags
from tcia_assets.defs.run_process import PROCESS_TAG
from tcia_assets.defs.sensor_pause import Pause
from tcia_assets.errors import ForeignRows
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster

INTERVAL = dt.timedelta(minutes=5)
NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


def tick(dagster: Dagster, **chosen: object) -> dg.SensorResult | dg.SkipReason:
    """What the sensor answers now; the partitions that it asks for are added, as Dagster does."""
    resource = dagster.resource(**chosen)
    with resource.yield_for_execution(dg.build_init_resource_context()) as tcia:
        answer = sensors.tick(dagster.instance, tcia, Names())
    if isinstance(answer, dg.SensorResult):
        for request in answer.dynamic_partitions_requests or []:
            dagster.instance.add_dynamic_partitions(
                "tcia_collections", list(request.partition_keys)
            )
    return answer


def launch(dagster: Dagster, answer: dg.SensorResult | dg.SkipReason, **chosen: object) -> None:
    """Executes the requested runs, as Dagster's daemon would."""
    assert isinstance(answer, dg.SensorResult)
    for request in answer.run_requests or []:
        first, last = _keys(request)
        ops = request.run_config.get("ops")
        assert dagster.run(str(request.job_name), first, last, ops=ops, **chosen).success


def _keys(request: dg.RunRequest) -> tuple[str, str]:
    if request.partition_key:
        return request.partition_key, request.partition_key
    tags = request.tags
    return (
        tags["dagster/asset_partition_range_start"],
        tags["dagster/asset_partition_range_end"],
    )


def caught_up(dagster: Dagster, **chosen: object) -> None:
    if (
        not dagster.instance.get_dynamic_partitions("tcia_collections")
        and "collections" not in chosen
    ):
        dagster.start_refreshed()
    else:
        launch(dagster, tick(dagster, **chosen), **chosen)


def test_a_first_tick_adds_all_collections_and_refreshes_them_in_one_run(dagster: Dagster) -> None:
    answer = tick(dagster)

    assert isinstance(answer, dg.SensorResult)
    [request] = answer.run_requests or []
    assert request.job_name == "tcia_refresh"
    assert dagster.instance.get_dynamic_partitions("tcia_collections") == dagster.listed()
    launch(dagster, answer)
    assert dagster.warehouse.read(catalog.SERIES).num_rows == 842


def test_where_nothing_changed_a_tick_says_what_it_looked_at(dagster: Dagster) -> None:
    caught_up(dagster)
    answer = tick(dagster)

    assert isinstance(answer, dg.SkipReason)
    assert "compared 8 Collections" in str(answer.skip_message)


def test_a_released_series_is_noticed_and_only_its_collection_is_refreshed(
    dagster: Dagster,
) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=2)
    caught_up(dagster)
    assert isinstance(tick(dagster), dg.SkipReason)
    dagster.sandbox.archive.release(held)
    answer = tick(dagster)

    assert isinstance(answer, dg.SensorResult)
    assert [(r.job_name, r.partition_key) for r in answer.run_requests or []] == [
        ("tcia_update", SMALL)
    ]
    launch(dagster, answer)
    stored = dagster.warehouse.read(catalog.SERIES, [SMALL])["SeriesInstanceUID"].to_pylist()
    assert set(held) <= set(stored)
    assert isinstance(tick(dagster), dg.SkipReason)


def test_a_revised_series_is_fetched_again_and_no_other(dagster: Dagster) -> None:
    chosen = {"image_selection": f"{{collections: [{SMALL}], modalities: [RTSTRUCT]}}"}
    caught_up(dagster, **chosen)
    caught_up(dagster, **chosen)
    [revised, *_] = dagster.uids(SMALL, "RTSTRUCT")
    today = dt.datetime.now(dt.UTC).date()
    dagster.sandbox.archive.revise([revised])
    dagster.sandbox.archive.hold([revised])
    dagster.sandbox.archive.release([revised], day=today)
    before = dagster.sandbox.requests["getImage"]
    caught_up(dagster, **chosen)

    assert dagster.sandbox.requests["getImage"] == before + 1
    assert isinstance(tick(dagster, **chosen), dg.SkipReason)


def test_one_change_has_one_run_key_however_often_the_sensor_looks(dagster: Dagster) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)
    answers = [tick(dagster) for _ in range(3)]

    assert all(isinstance(a, dg.SensorResult) for a in answers)
    assert len({r.run_key for a in answers for r in a.run_requests}) == 1  # type: ignore[union-attr]


def test_what_was_tried_in_vain_does_not_take_the_place_of_others(dagster: Dagster) -> None:
    archive = dagster.sandbox.archive
    held = [uid for name in dagster.listed() for uid in archive.hold(collection=name, count=1)]
    caught_up(dagster)
    archive.release(held)
    first, second, third = (failed(dagster, tick(dagster)) for _ in range(3))

    assert len(first) == 5
    assert sorted(first + second) == dagster.listed()
    assert not third
    assert "8 differ, but a run for them is active or was already requested" in str(tick(dagster))


def test_what_failed_is_asked_for_again_an_hour_later_but_not_for_ever(
    dagster: Dagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)
    assert failed(dagster, tick(dagster)) == [SMALL]
    assert isinstance(tick(dagster), dg.SkipReason)
    monkeypatch.setattr(active_runs, "_RETRY_AFTER", dt.timedelta(0))

    assert [failed(dagster, tick(dagster)) for _ in range(5)] == [[SMALL]] * 3 + [[]] * 2


def failed(dagster: Dagster, answer: dg.SensorResult | dg.SkipReason) -> list[str]:
    """Keeps a failed run for each request, as the daemon would; the Collections of these."""
    requests = answer.run_requests or [] if isinstance(answer, dg.SensorResult) else []
    for request in requests:
        job = dagster.definitions().resolve_job_def(str(request.job_name))
        tags = {
            "dagster/run_key": str(request.run_key),
            "dagster/sensor_name": "tcia_new_series",
            "dagster/partition": str(request.partition_key),
        }
        status = dg.DagsterRunStatus.FAILURE
        dagster.instance.create_run_for_job(job, tags=tags, status=status)
    return [str(request.partition_key) for request in requests]


def test_a_change_that_goes_and_comes_again_has_another_run_key(dagster: Dagster) -> None:
    archive = dagster.sandbox.archive
    [uid] = archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    found = []
    for day in (1, 2, 1, 2):
        archive.hold([uid])
        archive.release([uid], day=dt.date(2026, 10, day))
        answer = tick(dagster)
        assert isinstance(answer, dg.SensorResult)
        found += [r.run_key for r in answer.run_requests or []]
        launch(dagster, answer)

    assert len(found) == len(set(found)) == 4


def test_images_that_are_wanted_again_have_another_run_key(dagster: Dagster) -> None:
    chosen = {"image_selection": f"{{collections: [{SMALL}], modalities: [RTSTRUCT]}}"}
    archive = dagster.sandbox.archive
    caught_up(dagster, **chosen)
    [uid, *_] = dagster.uids(SMALL, "RTSTRUCT")
    found = []
    for _ in range(3):
        answer = tick(dagster, **chosen)
        assert isinstance(answer, dg.SensorResult)
        found += [request.run_key for request in answer.run_requests or []]
        # It goes and comes again as it was, and no run has fetched anything in between.
        archive.hide([uid])
        assert dagster.run("tcia_refresh", SMALL).success
        archive.show([uid])
        assert dagster.run("tcia_refresh", SMALL).success
    assert len(set(found)) == 3


@pytest.mark.parametrize("tags", [{"dagster/partition": SMALL}, range_tags(SMALL, "VICTRE")])
def test_no_run_is_requested_for_a_collection_that_a_run_works_on(
    dagster: Dagster, tags: dict[str, str]
) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    run = dagster.instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert isinstance(tick(dagster), dg.SkipReason)
    dagster.instance.delete_run(run.run_id)

    assert isinstance(tick(dagster), dg.SensorResult)


def test_a_run_that_somebody_starts_in_the_ui_for_an_asset_of_ours_counts_too(
    dagster: Dagster,
) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)
    assert isinstance(tick(dagster), dg.SensorResult)
    job = dagster.definitions().resolve_implicit_global_asset_job_def()
    dagster.instance.create_run_for_job(
        job,
        tags={"dagster/partition": SMALL},
        status=dg.DagsterRunStatus.STARTED,
        asset_selection={dg.AssetKey(["tcia", "series"])},
    )

    assert isinstance(tick(dagster), dg.SkipReason)


def test_images_that_are_selected_and_not_here_are_asked_for_once(dagster: Dagster) -> None:
    chosen = {"image_selection": f"{{collections: [{SMALL}], modalities: [RTSTRUCT]}}"}
    caught_up(dagster, **chosen)
    answer = tick(dagster, **chosen)

    assert isinstance(answer, dg.SensorResult)
    assert [(r.job_name, r.partition_key) for r in answer.run_requests or []] == [
        ("tcia_images", SMALL)
    ]
    launch(dagster, answer, **chosen)
    assert isinstance(tick(dagster, **chosen), dg.SkipReason)


def test_no_more_than_five_collections_wait_for_their_images_at_a_time(dagster: Dagster) -> None:
    chosen = {"image_selection": "{where: 'true'}"}
    caught_up(dagster, **chosen)
    job = dagster.definitions().resolve_job_def("tcia_images")
    waiting: list[dg.DagsterRun] = []
    asked = []
    for finished in (0, 0, 2):
        for _ in range(finished):
            dagster.instance.delete_run(waiting.pop().run_id)
        answer = tick(dagster, **chosen)
        requests = answer.run_requests or [] if isinstance(answer, dg.SensorResult) else []
        waiting += [
            dagster.instance.create_run_for_job(
                job, tags={"dagster/partition": str(each.partition_key)}
            )
            for each in requests
        ]
        asked.append(len(requests))

    assert asked == [5, 0, 2]


def test_shards_are_runs_of_their_own_which_together_fetch_all(dagster: Dagster) -> None:
    chosen = {"image_selection": f"{{collections: [{SMALL}], modalities: [RTSTRUCT], shards: 2}}"}
    caught_up(dagster, **chosen)
    answer = tick(dagster, **chosen)

    assert isinstance(answer, dg.SensorResult)
    requests = answer.run_requests or []
    assert [(r.job_name, r.partition_key) for r in requests] == [("tcia_images", SMALL)] * 2
    assert len({r.run_key for r in requests}) == 2
    launch(dagster, answer, **chosen)
    series = dagster.uids(SMALL, "RTSTRUCT")
    rows = dagster.warehouse.read(catalog.IMAGE_ARCHIVES).to_pylist()
    assert sorted(r["SeriesInstanceUID"] for r in rows if r["status"] == "complete") == series
    assert isinstance(tick(dagster, **chosen), dg.SkipReason)


def test_of_a_changed_series_shards_fetch_only_what_one_run_has_refreshed(
    dagster: Dagster,
) -> None:
    chosen = {"image_selection": f"{{collections: [{SMALL}], modalities: [RTSTRUCT], shards: 2}}"}
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster, **chosen)
    launch(dagster, tick(dagster, **chosen), **chosen)
    dagster.sandbox.archive.release(held)
    answer = tick(dagster, **chosen)

    assert isinstance(answer, dg.SensorResult)
    assert [r.job_name for r in answer.run_requests or []] == ["tcia_refresh"]


def looked(dagster: Dagster, cursor: str | None, now: dt.datetime) -> dg.SensorResult:
    """What the sensor answers at that time, with the cursor that its last answer had."""
    resource = dagster.resource()
    with resource.yield_for_execution(dg.build_init_resource_context()) as tcia:
        return sensors.tick_or_pause(
            dagster.instance, tcia, Names(), Pause.from_cursor(cursor), now, INTERVAL.seconds
        )


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
        answer = looked(dagster, cursor, now)
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
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.faults.add(Fault("html", times=0))
    first = looked(dagster, None, NOON)
    second = looked(dagster, first.cursor, NOON + INTERVAL)
    assert "2 times in a row" in str(second.skip_reason)
    dagster.sandbox.faults.clear()
    dagster.sandbox.archive.release(held)
    assert "2 times in a row" in str(looked(dagster, second.cursor, NOON + 2 * INTERVAL))
    third = looked(dagster, second.cursor, NOON + 3 * INTERVAL)

    assert [r.partition_key for r in third.run_requests or []] == [SMALL]
    assert looked(dagster, third.cursor, NOON + 3 * INTERVAL).run_requests


def test_the_archive_is_left_alone_for_as_long_as_it_asks_within_the_hour(
    dagster: Dagster,
) -> None:
    caught_up(dagster)
    for asks, minutes in (("1800", 30), ("86400", 60)):
        dagster.sandbox.faults.add(Fault("status", status=503, retry_after=asks))
        pause = Pause.from_cursor(looked(dagster, None, NOON).cursor)
        assert pause is not None
        assert pause.is_active(NOON + dt.timedelta(minutes=minutes - 1), INTERVAL)
        assert not pause.is_active(NOON + dt.timedelta(minutes=minutes), INTERVAL)
        assert not pause.is_active(NOON - dt.timedelta(days=1), INTERVAL), "the clock was set back"


_NAIVE = '{"failures": 1, "since": "2026-11-24", "until": "2026-11-24", "why": ""}'


@pytest.mark.parametrize("cursor", [None, "", "{}", "2020-01-05", "[1]", '{"failures": 1}', _NAIVE])
def test_any_other_cursor_is_no_pause(cursor: str | None) -> None:
    assert Pause.from_cursor(cursor) is None


def test_the_sensor_keeps_its_pause_in_dagsters_cursor(dagster: Dagster) -> None:
    caught_up(dagster)
    dagster.sandbox.faults.add(Fault("status", status=503))
    found = dagster.definitions().sensors or []
    [sensor] = [sensor for sensor in found if sensor.name == "tcia_new_series"]
    cursor = None
    for said in ("status 503", "status 503", "compared 8 Collections"):
        with dg.build_sensor_context(
            instance=dagster.instance, resources={"tcia": dagster.resource()}, cursor=cursor
        ) as context:
            answer = sensor.evaluate_tick(context)
        assert said in str(answer.skip_message)
        # The second time the pause was not over. A person who wants an answer deletes the cursor.
        cursor = answer.cursor if cursor is None else None


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
        looked(dagster, None, NOON)


@pytest.mark.parametrize("dialect", ["nbia-v4", "nbia-v1"])
@pytest.mark.parametrize("days", [30, 400])
def test_a_tick_asks_from_so_many_days_before_the_newest_release_in_the_dialects_own_form(
    dagster: Dagster, dialect: str, days: int
) -> None:
    launch(dagster, tick(dagster, dialect=dialect), dialect=dialect)
    newest = max(filter(None, dagster.warehouse.read(catalog.SERIES)["DateReleased"].to_pylist()))
    since = newest - dt.timedelta(days=days)
    dagster.sandbox.requests.clear()
    answer = tick(dagster, dialect=dialect, overlap_days=days)

    [question] = [r for r in dagster.sandbox.requests.last if r.endpoint == "getUpdatedSeries"]
    assert question.parameters["fromDate"] == since.strftime(
        "%m-%d-%Y" if dialect == "nbia-v4" else "%d/%m/%Y"
    )
    assert f"released after {since}" in str(answer.skip_message)  # type: ignore[union-attr]


@pytest.mark.parametrize("dialect", ["nbia-v1", "bindaas-v4"])
def test_dialects_that_tell_less_are_watched_all_the_same(dagster: Dagster, dialect: str) -> None:
    launch(dagster, tick(dagster, dialect=dialect), dialect=dialect)

    assert isinstance(tick(dagster, dialect=dialect), dg.SkipReason)


def test_the_nightly_schedules_ask_for_one_run_over_all_collections_or_one_a_shard(
    dagster: Dagster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # A schedule's context wants an instance that lies on disk.
    home = str(tmp_path_factory.mktemp("home"))
    with dg.DagsterInstance.local_temp(home) as instance:
        instance.add_dynamic_partitions("tcia_collections", ["a", "b", "c"])
        at = dt.datetime(2026, 11, 24, 2, tzinfo=dt.UTC)
        chosen = dagster.resource(image_selection="{modalities: [CT], shards: 3}")
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, resources={"tcia": chosen}
        ) as context:
            schedules = dagster.definitions().schedules or []
            nightly = [s for s in schedules if s.name.endswith("_nightly")]
            asked = {s.name: s.evaluate_tick(context).run_requests or [] for s in nightly}

    assert {name: len(requests) for name, requests in asked.items()} == {
        "tcia_refresh_nightly": 1,
        "tcia_images_nightly": 3,
    }
    requests = [request for found in asked.values() for request in found]
    assert {_keys(request) for request in requests} == {("a", "c")}
    assert len({request.run_key for request in requests}) == 4


def killed(dagster: Dagster) -> None:
    """A run that Dagster takes for started, and whose process is gone."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    dead = {PROCESS_TAG: f"{socket.gethostname()}:{child.pid}", "dagster/partition": SMALL}
    dagster.instance.create_run_for_job(job, tags=dead, status=dg.DagsterRunStatus.STARTED)


def test_a_killed_run_does_not_silence_the_sensor_and_its_key_is_not_used_again(
    dagster: Dagster,
) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)
    keys = []
    for _ in range(6):
        for _ in range(2):
            answer = tick(dagster)
            assert isinstance(answer, dg.SensorResult)
            [request] = answer.run_requests or []
            keys.append(request.run_key)
        killed(dagster)

    # The run itself, and three more: what kills each of them is not tried forever.
    assert len(set(keys)) == 4
    assert keys[0] == keys[1] != keys[2] == keys[3]


@pytest.mark.parametrize(
    ("status", "killed"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, 0),
        (dg.DagsterRunStatus.STARTING, 1),
        (dg.DagsterRunStatus.STARTED, 1),
    ],
)
def test_a_run_that_says_nothing_for_long_is_dead_unless_it_waits_for_its_turn(
    dagster: Dagster, monkeypatch: pytest.MonkeyPatch, status: dg.DagsterRunStatus, killed: int
) -> None:
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    elsewhere = {PROCESS_TAG: "another-machine:1", "dagster/partition": SMALL}
    dagster.instance.create_run_for_job(job, tags=elsewhere, status=status)
    assert active_runs.find_runs(dagster.instance, Names(), [SMALL]).running == {SMALL}
    monkeypatch.setattr(active_runs, "_MAX_SILENCE_S", -1.0)

    found = active_runs.find_runs(dagster.instance, Names(), [SMALL])
    assert found.killed[SMALL] == killed
    assert found.running == (set() if killed else {SMALL})


def test_each_run_says_which_process_it_lives_in(dagster: Dagster) -> None:
    chosen = {"image_selection": f"{{collections: [{SMALL}], modalities: [RTSTRUCT]}}"}
    launch(dagster, tick(dagster, **chosen), **chosen)
    caught_up(dagster, **chosen)

    runs = dagster.instance.get_runs()
    assert {run.job_name for run in runs} == {"tcia_refresh", "tcia_images"}
    here = f"{socket.gethostname()}:{os.getpid()}"
    assert {run.tags[PROCESS_TAG] for run in runs} == {here}


def test_a_hanging_archive_ends_the_tick_well_before_dagster_does() -> None:
    longest = sensors._TICK_PACING
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


def test_a_collection_off_the_allow_list_is_left_alone(dagster: Dagster) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)

    assert isinstance(tick(dagster, collections=["VICTRE"]), dg.SkipReason)
