"""The sensor: few runs, none twice, none lost. Called directly, its runs executed for real."""

from __future__ import annotations

import datetime as dt
import socket
import subprocess
import sys

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.defs import sensors
from tcia_assets.defs.busy import PROCESS_TAG
from tcia_assets.defs.jobs import range_tags
from tcia_assets.defs.names import Names
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster


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
    assert "looked at 8 Collections" in str(answer.skip_message)


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


def test_an_outage_makes_the_sensor_skip_with_the_reason(dagster: Dagster) -> None:
    caught_up(dagster)
    dagster.sandbox.faults.add(Fault("status", times=0, status=503))
    sensors = dagster.definitions().sensors or []
    [sensor] = [sensor for sensor in sensors if sensor.name == "tcia_new_series"]
    resources = {"tcia": dagster.resource()}
    with dg.build_sensor_context(instance=dagster.instance, resources=resources) as context:
        answer = sensor.evaluate_tick(context)

    assert not answer.run_requests
    assert "status 503" in str(answer.skip_message)


def test_a_day_without_news_told_by_a_500_is_no_failure(dagster: Dagster) -> None:
    caught_up(dagster)
    dagster.sandbox.faults.add(Fault("no_data", "getUpdatedSeries"))
    answer = tick(dagster)

    assert isinstance(answer, dg.SkipReason)
    assert "looked at" in str(answer.skip_message)


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


def test_a_killed_run_does_not_silence_the_sensor(dagster: Dagster) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    dead = {PROCESS_TAG: f"{socket.gethostname()}:{child.pid}", "dagster/partition": SMALL}
    dagster.instance.create_run_for_job(job, tags=dead, status=dg.DagsterRunStatus.STARTED)

    assert isinstance(tick(dagster), dg.SensorResult)


def test_a_hanging_archive_ends_the_tick_well_before_dagster_does() -> None:
    longest = sensors._IN_A_HURRY
    a_question = longest.attempts * (longest.connect_timeout_s + longest.read_timeout_s)
    assert 2 * a_question < 60


def test_a_collection_off_the_allow_list_is_left_alone(dagster: Dagster) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)

    assert isinstance(tick(dagster, collections=["VICTRE"]), dg.SkipReason)
