"""The events of a run, with and without failures."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.defs.events import INTERRUPTED, failure_reasons
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import BY_COLLECTION, QUIET, SMALL, Dagster


def test_a_run_records_one_event_for_each_partition(
    dagster: Dagster,
) -> None:
    names = [table.name for table in BY_COLLECTION]
    keys = dagster.collections(collections=[SMALL, "VICTRE"])
    assert dagster.run("tcia_refresh", *keys, tables=names).success

    for table in BY_COLLECTION:
        events = dagster.events(table.name)
        assert sorted(str(e.partition) for e in events) == sorted(keys)
        for event in events:
            stored = dagster.warehouse.read(table, [str(event.partition)]).num_rows
            facts = {name: value.value for name, value in event.metadata.items()}
            assert facts["dagster/partition_row_count"] == stored
            assert facts["unclaimed_wire_fields"] == "none"
            if table is not catalog.SERIES_SIZES:  # whose questions were bounded
                assert facts["requests"] >= 1 and facts["received_bytes"] > 0


@pytest.mark.parametrize("kind", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
def test_a_step_that_ctrl_c_ended_was_interrupted(kind: type[BaseException]) -> None:
    @dg.op
    def interrupted() -> None:
        raise ValueError from kind()

    @dg.job
    def interrupted_job() -> None:
        interrupted()

    result = interrupted_job.execute_in_process(raise_on_error=False)

    assert list(failure_reasons(result.filter_events(lambda e: e.is_step_failure))) == [INTERRUPTED]


def test_a_failing_collection_fails_alone_and_the_others_are_recorded(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    bad = keys[3]
    stored = dagster.warehouse.path(catalog.SERIES, bad)
    before = stored.read_bytes()
    dagster.sandbox.archive.revise(collection=bad, count=1)
    dagster.sandbox.faults.add(Fault("html", "getSeries", times=0, collection=bad))
    tables = [catalog.SERIES, catalog.PATIENTS]
    names = [table.name for table in tables]
    result = dagster.run("tcia_refresh", keys[0], keys[-1], tables=names, raise_on_error=False)

    assert not result.success
    assert stored.read_bytes() == before
    # No run says what it plans for each partition: that would be most of its events.
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    assert len(keys) * len(tables) > 10
    assert not dagster.instance.all_logs(result.run_id, of_type=planned)
    for table in tables:
        lasting = [str(e.partition) for e in dagster.events(table.name)]
        expected = [k for k in keys if (table, k) != (catalog.SERIES, bad)]
        assert sorted(lasting) == sorted(expected)
    [failure] = [e for e in result.all_events if e.is_step_failure]
    said = str(failure.step_failure_data.user_failure_data.description)
    assert f"series of {bad!r}" in said and "<html>" in said


# --- Runs that people start -----------------------------------------------------------------------


def materialize(
    dagster: Dagster, *names: str, more: Sequence[dg.AssetsDefinition] = (), **tags: str
) -> dg.ExecuteInProcessResult:
    """Run these assets for the small Collection, as "Materialize" in Dagster's UI does."""
    definitions = dagster.definitions()
    if more:
        definitions = dg.Definitions.merge(definitions, dg.Definitions(assets=more))
    selected = [dg.AssetKey(["tcia", name]) for name in names] + [each.key for each in more]
    return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=dagster.instance,
        partition_key=SMALL,
        asset_selection=selected,
        tags=tags,
        run_config={"loggers": QUIET},
    )


def test_a_person_may_materialize_what_has_not_changed(dagster: Dagster) -> None:
    dagster.start_refreshed()
    assert [materialize(dagster, "patients").success for _ in range(2)] == [True, True]

    assert len(dagster.events("patients")) == 1
    assert dagster.instance.get_materialized_partitions(dg.AssetKey(["tcia", "patients"]))


def test_a_backfill_gets_an_event_for_each_partition_without_which_it_would_fail(
    dagster: Dagster,
) -> None:
    dagster.start_refreshed()
    materialize(dagster, "patients")
    materialize(dagster, "patients", **{"dagster/backfill": "abc"})
    assert len(dagster.events("patients")) == 2
    dagster.run("tcia_refresh", SMALL, tables=["patients"])
    assert len(dagster.events("patients")) == 2


@pytest.mark.parametrize(
    "tags", [{}, pytest.param({"dagster/backfill": "abc"}, marks=pytest.mark.slow)]
)
def test_a_partition_that_becomes_again_what_it_was_has_an_event_of_that(
    dagster: Dagster, tags: dict[str, str]
) -> None:
    def newest() -> str:
        return str(dagster.events("patients")[-1].metadata["digest"].value)

    dagster.start_refreshed()
    archive = dagster.sandbox.archive
    dagster.run("tcia_refresh", SMALL, tables=["patients"])
    first = newest()
    patient = dagster.warehouse.read(catalog.PATIENTS, [SMALL])["PatientID"][0].as_py()
    mine = "SELECT SeriesInstanceUID AS uid FROM archive.series WHERE PatientID = ?"
    uids = [row["uid"] for row in archive.rows(mine, [patient])]
    archive.hold(uids=uids)
    materialize(dagster, "patients", **tags)
    assert newest() == dagster.warehouse.files(catalog.PATIENTS, SMALL).digest() != first
    archive.release(uids=uids)
    for _ in range(2):
        dagster.run("tcia_refresh", SMALL, tables=["patients"])
        assert newest() == first and len(dagster.events("patients")) == 3


def test_an_asset_that_is_materialized_together_with_one_that_has_not_changed_is_made(
    dagster: Dagster,
) -> None:
    partitions = dg.DynamicPartitionsDefinition(name="tcia_collections")

    @dg.asset(deps=[["tcia", "patients"]], partitions_def=partitions)
    def cards() -> None: ...

    dagster.start_refreshed()
    materialize(dagster, "patients")
    result = materialize(dagster, "patients", more=[cards])

    assert [e.asset_key.path[-1] for e in result.asset_materializations_for_node("cards")] == [
        "cards"
    ]


def test_what_follows_a_table_by_its_condition_is_made_when_that_has_changed(
    dagster: Dagster,
) -> None:
    partitions = dg.DynamicPartitionsDefinition(name="tcia_collections")

    @dg.asset(
        deps=[["tcia", "series"]],
        partitions_def=partitions,
        automation_condition=dg.AutomationCondition.any_deps_updated(),
    )
    def cards() -> None: ...

    dagster.start_refreshed()
    definitions = dg.Definitions.merge(dagster.definitions(), dg.Definitions(assets=[cards]))
    cursor = None

    def requested_after_refresh() -> int:
        nonlocal cursor
        dagster.run("tcia_refresh", SMALL, tables=["series"])
        found = dg.evaluate_automation_conditions(
            definitions, dagster.instance, dg.AssetSelection.assets("cards"), cursor=cursor
        )
        cursor = found.cursor
        return found.total_requested

    requested_after_refresh()  # the first evaluation sees what is there
    assert requested_after_refresh() == 0
    dagster.sandbox.archive.revise(collection=SMALL, count=1)
    assert [requested_after_refresh(), requested_after_refresh()] == [1, 0]
