"""Which old runs are ours, and which hold what no later run does."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from tcia_assets.defs import old_runs
from tcia_assets.defs.old_runs import NewestEvents, Ours, find_old_runs
from tcia_assets_tests.conftest import QUIET

KEY, MIRROR = dg.AssetKey(["tcia", "series"]), dg.AssetKey(["tcia", "mirror"])


@dg.asset(key=KEY, check_specs=[dg.AssetCheckSpec("fine", asset=KEY)])
def series() -> dg.MaterializeResult:  # type: ignore[type-arg]
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset(key=KEY, check_specs=[dg.AssetCheckSpec("fine", asset=KEY)])
def failing() -> dg.MaterializeResult:  # type: ignore[type-arg]
    raise RuntimeError("the source does not answer")


@dg.asset
def theirs() -> None: ...


@dg.op
def summed_up(context: dg.OpExecutionContext) -> None:
    context.log_event(dg.AssetMaterialization(MIRROR))


@dg.job(tags={"tcia": "tcia_refresh"})
def tcia_refresh() -> None:
    summed_up()


@dg.job(tags={"tcia": "tcia_nlst_refresh"})
def tcia_nlst_refresh() -> None:
    summed_up()


def made(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> str:
    job = dg.Definitions(assets=[series, theirs]).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[each.key for each in assets],
        run_config={"loggers": QUIET},
    ).run_id


def run(instance: dg.DagsterInstance, job: dg.JobDefinition = tcia_refresh) -> str:
    return job.execute_in_process(instance=instance, run_config={"loggers": QUIET}).run_id


def test_runs_of_our_jobs_and_of_our_assets_alone_are_ours() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        ours = [made(instance, series), run(instance)]
        others = [made(instance, series, theirs), run(instance, tcia_nlst_refresh)]
        of_us, now = Ours(("tcia_refresh",), frozenset({KEY, MIRROR})), datetime.now(UTC)

        found = find_old_runs(instance, of_us, now + timedelta(minutes=1))
        assert {each.run_id for each in found} == set(ours)
        assert list(find_old_runs(instance, of_us, now - timedelta(days=1))) == []
        everything = find_old_runs(instance, None, now + timedelta(minutes=1))
        assert {each.run_id for each in everything} == {*ours, *others}


def test_each_run_may_be_deleted_while_the_next_are_sought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(old_runs, "_PAGE", 5)
    with dg.DagsterInstance.ephemeral() as instance:
        runs = [instance.create_run_for_job(tcia_refresh) for _ in range(12)]
        for each in runs:
            instance.report_run_canceled(each)
        later = datetime.now(UTC) + timedelta(minutes=1)
        for each in find_old_runs(instance, None, later):
            instance.delete_run(each.run_id)

        assert instance.get_runs_count() == 0


def test_a_run_is_kept_for_the_newest_event_of_a_partition_a_check_or_a_week() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first, second = made(instance, series), made(instance, series)
        weekly, between, newest = (run(instance) for _ in range(3))
        events = NewestEvents(instance, MIRROR)

        assert [events.why_kept(each) for each in (first, second)] == ["", "newest materialization"]
        assert [events.why_kept(each) for each in (weekly, between, newest)] == [
            "first of a week",
            "",
            "newest materialization",
        ]
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
        assert NewestEvents(instance, MIRROR).why_kept(second) == "newest result of a check"
        check = dg.AssetCheckEvaluation(asset_key=KEY, check_name="fine", passed=True)
        instance.report_runless_asset_event(check)
        assert NewestEvents(instance, MIRROR).why_kept(second) == ""


def test_the_newest_result_of_a_check_is_kept_though_later_runs_failed_before_it() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        found = made(instance, series)
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
        job = dg.Definitions(assets=[failing]).resolve_implicit_global_asset_job_def()
        failed = job.execute_in_process(
            instance=instance, run_config={"loggers": QUIET}, raise_on_error=False
        )
        events = NewestEvents(instance, MIRROR)

        assert not failed.success and events.why_kept(failed.run_id) == ""
        assert events.why_kept(found) == "newest result of a check"
