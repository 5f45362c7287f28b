"""The hourly comparison: each Collection once a day, never more at once than that needs."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets import catalog
from tcia_assets.defs import schedules
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import range_tags
from tcia_assets.defs.schedules import compare_tick, due_now
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.metadata.refresh import refresh as refresh_table
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sources import open_source
from tcia_assets_tests.conftest import SMALL, Dagster, settings_for
from tcia_assets_tests.defs.sensor_ticks import first_and_last
from tcia_assets_tests.examples import examples

NOW = datetime(2026, 11, 24, 10, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def tick(dagster: Dagster, now: datetime) -> list[tuple[str, str]] | str:
    """The ranges that are asked for now, or why there are none."""
    with dagster.resource().yield_for_execution(
        dg.build_init_resource_context(instance=dagster.instance)
    ) as tcia:
        answer = compare_tick(dagster.instance, tcia, Names(), now)
    if isinstance(answer, dg.SkipReason):
        return str(answer.skip_message)
    start, end = range_tags("start", "end")
    return [(request.tags[start], request.tags[end]) for request in answer]


def refresh(dagster: Dagster, first: str, last: str) -> None:
    keys = dagster.instance.get_dynamic_partitions("tcia_collections")
    with open_source(settings_for(dagster.sandbox, dagster.data_dir)) as source:
        for key in keys[keys.index(first) : keys.index(last) + 1]:
            refresh_table(
                catalog.SERIES, key, source, dagster.warehouse, datetime.now(UTC), ProbeBudget(0)
            )


# --- Which, and when ------------------------------------------------------------------------------


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(1, 200), st.sampled_from(["together", "spread"]), st.integers(0, 19))
def test_each_is_compared_once_a_day_and_in_time(total: int, last: str, minutes: int) -> None:
    keys = [f"c{number:03}" for number in range(total)]
    # Either all in one run, or spread over the day as these ticks do it.
    share = -(-total // 23)
    ago = [
        timedelta(0) if last == "together" else (place // share) * HOUR for place in range(total)
    ]
    compared = dict(zip(keys, (NOW - each for each in ago), strict=True))
    often: Counter[str] = Counter()
    for hour in range(1, 73):
        now = NOW + hour * HOUR
        due = due_now(keys, compared, now, of=total)
        assert len(due) <= max(50, share)
        assert len(due) <= share, "as few at once as do it"
        often.update(due)
        # A run takes its time.
        compared |= dict.fromkeys(due, now + timedelta(minutes=minutes))
        assert all(now - at <= 24 * HOUR for at in compared.values())
    assert set(often) == set(keys)
    assert max(often.values()) <= 4


def test_what_was_never_compared_is_due_at_once_but_not_all_at_once() -> None:
    keys = [f"c{number:03}" for number in range(120)]
    assert due_now(keys, {}, NOW, of=120) == keys[:50]
    assert due_now(keys[:3], {"c001": NOW}, NOW, of=3) == ["c000", "c002"]


def test_what_was_compared_lately_is_not_compared_again() -> None:
    assert due_now(["a", "b"], {"a": NOW, "b": NOW - 20 * HOUR}, NOW, of=2) == []
    assert due_now(["a", "b"], {"a": NOW, "b": NOW - 23.5 * HOUR}, NOW, of=2) == ["b"]
    assert due_now([], {}, NOW, of=0) == []


# --- What is asked for ----------------------------------------------------------------------------


def test_a_first_tick_asks_for_all_in_one_run_and_the_next_for_none(dagster: Dagster) -> None:
    assert "no Collection is known yet" in tick(dagster, NOW)
    keys = dagster.start_listed()
    now = datetime.now(UTC)
    assert tick(dagster, now) == [(keys[0], keys[-1])]
    refresh(dagster, keys[0], keys[-1])
    assert sorted(last_compared(dagster.warehouse, now + HOUR)) == sorted(keys)
    assert f"{len(keys)} Collections, 0 of them in other runs" in tick(dagster, now + HOUR)
    # A day later they come one by one, the first ones first.
    assert tick(dagster, now + 17 * HOUR) == [(keys[0], keys[0])]


def test_collections_at_work_or_listed_no_more_are_left_out(dagster: Dagster) -> None:
    keys = dagster.start_listed()
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    dagster.instance.create_run_for_job(job, tags={"dagster/partition": keys[2]})
    asked = tick(dagster, datetime.now(UTC))
    assert asked == [(keys[0], keys[1]), (keys[3], keys[-1])]
    dagster.sandbox.archive.withdraw(collection=keys[-1])
    assert dagster.run("tcia_list_collections").success
    assert tick(dagster, datetime.now(UTC))[-1] == (keys[3], keys[-2])


def test_a_comparison_that_failed_is_asked_for_again(dagster: Dagster) -> None:
    dagster.start_listed()
    dagster.sandbox.faults.add(Fault("html", "getSeries", times=0, collection=SMALL))
    result = dagster.run("tcia_refresh", SMALL, tables=["series"], raise_on_error=False)
    assert not result.success
    assert not dagster.warehouse.has(catalog.SNAPSHOTS, SMALL)
    keys = list(dagster.instance.get_dynamic_partitions("tcia_collections"))
    assert tick(dagster, datetime.now(UTC)) == [(keys[0], keys[-1])]


def test_what_fails_each_time_does_not_hold_up_the_others(
    dagster: Dagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = dagster.start_listed()
    monkeypatch.setattr(schedules, "_MAX_RUNS_PER_TICK", 2)
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    failing = [keys[0], keys[2]]
    for key in failing:
        tags = range_tags(key, key)
        status = dg.DagsterRunStatus.FAILURE
        dagster.instance.create_run_for_job(job, tags=tags, status=status)
    for key in (keys[1], keys[4], keys[6]):
        refresh(dagster, key, key)

    now = datetime.now(UTC)
    # The ranges that are left are 0, 2 to 3, 5 and 7.
    assert tick(dagster, now) == [(keys[2], keys[3]), (keys[5], keys[5])]
    for key in (keys[3], keys[5], keys[7]):
        refresh(dagster, key, key)
    assert tick(dagster, now) == [(keys[0], keys[0]), (keys[2], keys[2])]


def test_the_schedule_itself_is_off_and_has_a_key_of_its_own_each_hour(
    dagster: Dagster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dagster.start_listed()
    definitions = dagster.definitions()
    [schedule] = [s for s in definitions.schedules or [] if s.name == "tcia_compare"]
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    # A schedule's context wants an instance that lies on disk.
    home = str(tmp_path_factory.mktemp("home"))
    found = set()
    with dg.DagsterInstance.local_temp(home) as instance:
        instance.add_dynamic_partitions("tcia_collections", dagster.listed())
        for hour in range(2):
            with dg.build_schedule_context(
                instance=instance,
                resources={"tcia": dagster.resource()},
                scheduled_execution_time=NOW + hour * HOUR,
            ) as context:
                [request] = schedule.evaluate_tick(context).run_requests or []
                found.add(request.run_key)
    assert len(found) == 2


def test_nightly_schedules_request_one_run_or_one_for_each_shard(
    dagster: Dagster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # A schedule's context wants an instance that lies on disk.
    home = str(tmp_path_factory.mktemp("home"))
    with dg.DagsterInstance.local_temp(home) as instance:
        instance.add_dynamic_partitions("tcia_collections", ["a", "b", "c"])
        at = datetime(2026, 11, 24, 2, tzinfo=UTC)
        chosen = dagster.resource(image_selection="{modalities: [CT], shards: 3}")
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, resources={"tcia": chosen}
        ) as context:
            schedules = dagster.definitions().schedules or []
            names = ("tcia_refresh_nightly", "tcia_images_nightly")
            nightly = [s for s in schedules if s.name in names]
            asked = {s.name: s.evaluate_tick(context).run_requests or [] for s in nightly}
        quiet = dagster.resource(
            image_selection='{modalities: [CT], quiet_hours: {from: "01:30", to: "03:00"}}'
        )
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, resources={"tcia": quiet}
        ) as context:
            skipped = {s.name: s.evaluate_tick(context).skip_message for s in nightly}

    assert skipped["tcia_refresh_nightly"] is None
    assert "no images are fetched until 2026-11-24 03:00" in str(skipped["tcia_images_nightly"])
    assert {name: len(requests) for name, requests in asked.items()} == {
        "tcia_refresh_nightly": 1,
        "tcia_images_nightly": 3,
    }
    requests = [request for found in asked.values() for request in found]
    assert {first_and_last(request) for request in requests} == {("a", "c")}
    assert len({request.run_key for request in requests}) == 4
