"""Run requests of the sensor: none twice, none lost, few at a time."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.defs import active_runs
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.image_runs import ALL_TABLES
from tcia_assets_tests.defs.sensor_ticks import (
    caught_up,
    launch,
    release_again,
    tick,
)


def test_one_change_has_one_run_key_in_all_ticks(dagster: Dagster) -> None:
    caught_up(dagster)
    release_again(dagster, dt.datetime.now(dt.UTC).date())
    answers = [tick(dagster) for _ in range(3)]

    assert all(isinstance(a, dg.SensorResult) for a in answers)
    assert len({r.run_key for a in answers for r in a.run_requests}) == 1  # type: ignore[union-attr]


@pytest.mark.slow
def test_requests_with_a_run_already_do_not_count_towards_the_limit(dagster: Dagster) -> None:
    archive = dagster.sandbox.archive
    held = [uid for name in dagster.listed() for uid in archive.hold(collection=name, count=1)]
    caught_up(dagster)
    archive.release(held)
    first, second, third = (failed(dagster, tick(dagster)) for _ in range(3))

    assert len(first) == 5
    assert sorted(first + second) == dagster.listed()
    assert not third
    assert "8 differ, but a run for them is active or was already requested" in str(tick(dagster))


@pytest.mark.slow
def test_a_failed_run_is_requested_again_after_an_hour_three_times(
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


@pytest.mark.slow
def test_a_change_that_is_undone_and_made_again_has_a_new_run_key(dagster: Dagster) -> None:
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
        launch(dagster, answer, tables=["series"])

    assert len(found) == len(set(found)) == 4


@pytest.mark.slow
def test_images_selected_again_have_a_new_run_key(dagster: Dagster) -> None:
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
        assert dagster.run("tcia_refresh", SMALL, tables=["series"]).success
        archive.show([uid])
        assert dagster.run("tcia_refresh", SMALL, tables=["series"]).success
    assert len(set(found)) == 3


def test_selected_images_that_are_not_on_disk_are_requested_once(dagster: Dagster) -> None:
    chosen = {"image_selection": f"{{collections: [{SMALL}], modalities: [RTSTRUCT]}}"}
    caught_up(dagster, **chosen)
    answer = tick(dagster, **chosen)

    assert isinstance(answer, dg.SensorResult)
    assert [(r.job_name, r.partition_key) for r in answer.run_requests or []] == [
        ("tcia_images", SMALL)
    ]
    launch(dagster, answer, tables=ALL_TABLES, **chosen)
    assert isinstance(tick(dagster, **chosen), dg.SkipReason)


def test_at_most_five_collections_wait_for_their_images(dagster: Dagster) -> None:
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


@pytest.mark.slow
def test_each_shard_is_a_run_and_together_they_fetch_all(dagster: Dagster) -> None:
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


@pytest.mark.slow
def test_with_shards_a_change_is_refreshed_before_its_images_are_fetched(
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
